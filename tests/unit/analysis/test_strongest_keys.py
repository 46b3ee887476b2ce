"""The keys that a query attends to most, by hand."""

from __future__ import annotations

import numpy as np

from dashboard.analysis.strongest_keys import strongest_keys


def test_strongest_keys_come_greatest_first_with_exact_weights() -> None:
    weights = np.array([[1.0, 0, 0, 0], [0.25, 0.5, 0.25, 0], [0.4998, 0.0004, 0.0003, 0.4995]], dtype=np.float32)
    assert [(k.token, k.weight) for k in strongest_keys(weights[1])] == [(1, 0.5), (0, 0.25), (2, 0.25)]
    assert [k.token for k in strongest_keys(weights[0])] == [0]
    assert [k.token for k in strongest_keys(weights[2])] == [0, 3]
    assert [k.token for k in strongest_keys(weights[1], count=1)] == [1]
