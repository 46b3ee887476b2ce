"""What leaves the page as a file: figures, tables, runs and the report, each with where it comes from.

Everything here is made of a run and a view state alone, without Dash, Flask and torch: routes and shell call it.
"""
