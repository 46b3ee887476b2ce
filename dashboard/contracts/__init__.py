"""Frozen values that pass between the layers of the design: numpy only, validated on construction."""
