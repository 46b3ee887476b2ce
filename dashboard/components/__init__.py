"""This program's Dash components, one Python class each; their browser code is in assets/."""
