"""Loading models and capturing runs: forward pass, attention, statistics. Only this and `compute` use torch."""
