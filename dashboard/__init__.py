"""See what a transformer is doing: attention, hidden states and token predictions, linked."""

__version__ = "0.1.0"
