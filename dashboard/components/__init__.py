"""Dash components of this program: a Python class each; what it does in the browser is in assets/."""
