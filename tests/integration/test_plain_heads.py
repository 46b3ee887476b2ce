"""`plot_attention_everywhere` and `plot_head_scores` on plain Hugging Face attentions, beside what a run holds: that is
computed tile by tile from queries and keys."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from dashboard import capture_run, plot_attention_everywhere, plot_head_scores
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.views.attention.everywhere import VIEW
from tests.support.synthetic import array_of
from tests.support.tiny_models import eager_twin, tiny, words

pytestmark = pytest.mark.integration


def cells_of(figure: Any) -> np.ndarray:
    z = json.loads(figure.to_json())["data"][0]["z"]
    return array_of(z) if isinstance(z, dict) else np.array(z, dtype=np.float64)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_plain_outputs_give_what_the_page_shows(name: str) -> None:
    loaded = tiny(name)
    run = capture_run(loaded, f"{words(9)} {words(5)}")
    ids = torch.tensor([[token.id for token in run.tokens]])
    with torch.inference_mode():
        attentions = eager_twin(name, loaded)(input_ids=ids, output_attentions=True).attentions
    for weight in ("pair", "first", "received"):
        selection, options = Selection(run.key, 6, 1, 0, second=2), {"weight": weight, "show": "figure"}
        exported: Any = VIEW.export(Context(run, selection, options))  # type: ignore[misc]
        second = 2 if weight == "pair" else None
        figure = plot_attention_everywhere(attentions, run.tokens, 6, second, weight=weight, layer=1, head=0)  # type: ignore[arg-type]
        assert np.abs(cells_of(figure).astype(int) - cells_of(exported).astype(int)).max() <= 1  # rounded
        frames = [
            [(frame.x0, frame.y0, frame.x1, frame.y1) for frame in one.layout.shapes] for one in (figure, exported)
        ]
        assert frames[0] == frames[1] == [(-0.5, 0.5, 0.5, 1.5)]
    attention = run.attention_of()
    scores = ["previous", "self", "first", "entropy", "distance", "duplicate"]
    for score in [*scores, "induction" if name == "llama" else "next"]:
        found = cells_of(plot_head_scores(attentions, score, ids))
        np.testing.assert_allclose(found, attention.score(score), rtol=1e-4, atol=1e-6, err_msg=score)
