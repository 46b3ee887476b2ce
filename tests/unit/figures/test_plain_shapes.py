"""What the plot functions say of outputs that are not what they draw."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import aggregate_attention, plot_attention_everywhere, plot_head_scores
from dashboard.errors import RunShapeError

WEIGHTS = np.full((2, 3, 4, 4), 0.25)


def test_no_attentions() -> None:
    with pytest.raises(RunShapeError, match="output_attentions=True"):
        aggregate_attention(None)
    with pytest.raises(RunShapeError, match="output_attentions=True"):
        plot_head_scores(None, "self")


def test_ids_in_place_of_tokens() -> None:
    with pytest.raises(RunShapeError, match="convert_ids_to_tokens"):
        plot_attention_everywhere(WEIGHTS, [1, 2, 3, 4], 3, 1)


def test_layers_of_two_texts() -> None:
    with pytest.raises(RunShapeError, match=r"\(3, 3, 3\), that of the first layer \(3, 4, 4\)"):
        aggregate_attention([WEIGHTS[0], np.full((3, 3, 3), 1 / 3)])


def test_no_heads() -> None:
    with pytest.raises(RunShapeError, match=r"Attention is \(0, 4, 4\)"):
        aggregate_attention([WEIGHTS[0][:0]])
