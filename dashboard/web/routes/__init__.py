"""Plain routes beside Dash's: figures, runs, exports and a visitor's history."""
