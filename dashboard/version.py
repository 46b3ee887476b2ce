"""The version of this program, stated once."""

__version__ = "0.1.0"
