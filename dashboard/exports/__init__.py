"""Exported files: figures, tables, runs and the report, each with its provenance.

This package needs only a run and a view state, not Flask or torch; both the routes and the command line use it.
"""
