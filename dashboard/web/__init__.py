"""The web process: the Dash app, its layout and callbacks, the plain routes, and what guards them."""
