"""The web process: the Dash app, its layout and callbacks, the plain routes, and its security."""
