"""Plain routes besides Dash's: figures, runs, exports and a visitor's history."""
