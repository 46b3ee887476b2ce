"""One query in every head, against a softmax by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.analysis.everywhere import weights_everywhere
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from tests.support.synthetic import make_run


def by_hand(run: ModelRun, query: int) -> np.ndarray:
    """(layer, head, key): softmax of q·k times the scaling, in float64, from the stored arrays alone."""
    attention, name = run.attention_of(), run.attention_of().kind
    found = np.full((attention.layers, attention.heads, len(run)), np.nan)
    for layer in range(attention.layers):
        queries, keys = (run.arrays[f"{name}/{part}/{layer}"].astype(np.float64) for part in ("query", "key"))
        for head in range(attention.heads):
            scores = keys[head * len(keys) // len(queries)] @ queries[head][query] * attention.recipe(layer).scaling
            there = slice(0, query + 1 if run.model.kind == "causal" else len(run))
            powers = np.exp(scores[there] - scores[there].max())
            found[layer, head, there] = powers / powers.sum()
    return found


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
@pytest.mark.parametrize("query", [0, 3, 5])
def test_every_heads_row_is_a_softmax_by_hand(kind: ModelKind, query: int) -> None:
    run = make_run(kind)
    attention = run.attention_of()
    found = np.stack([weights_everywhere(attention, query, key) for key in range(len(run))], axis=2)
    np.testing.assert_allclose(found, by_hand(run, query), rtol=1e-5)  # NaN where the mask forbids it, in both
    assert np.isnan(found).any() == (kind == "causal" and query < len(run) - 1)
