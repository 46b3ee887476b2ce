"""Frozen values that travel along the arrows of the design: numpy only, validated where they are made."""
