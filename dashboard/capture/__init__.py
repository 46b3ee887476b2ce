"""Loads models and captures runs: the forward pass, attention, statistics. With `compute`, the only place for torch."""
