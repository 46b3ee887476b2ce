"""Lines beside plain Hugging Face: the page's and `plot_attention_lines` draw exactly its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dashboard import capture_run, plot_attention_lines
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.errors import RunShapeError
from dashboard.views.attention.lines import VIEW
from tests.support.tiny_models import eager_twin, tiny, words

pytestmark = pytest.mark.integration


def outputs_of(name: str, count: int = 9) -> tuple[Any, list[str], Any]:
    """(the loaded model, the pieces of a text, the attentions of Hugging Face alone)."""
    loaded = tiny(name)
    ids = loaded.tokenizer(words(count), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        outputs = eager_twin(name, loaded)(input_ids=ids, output_attentions=True)
    return loaded, loaded.tokenizer.convert_ids_to_tokens(ids[0].tolist()), outputs.attentions


def curves(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "lines" and trace.x[0] is not None]


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "deberta_v2"])
@pytest.mark.parametrize("direction", ["to", "from"])
def test_the_pages_lines_are_hugging_faces_weights(name: str, direction: str) -> None:
    loaded, _pieces, attentions = outputs_of(name)
    run = capture_run(loaded, words(9))
    options = {"way": direction, "least": 0.05, "off": "", "show": "figure"}
    spec: Any = VIEW.draw(Context(run, Selection(run.key, 4, 1, 0, heads=((0, 1),)), options))
    drawn = {(head, query, key): weight for head, query, key, weight in spec["layout"]["meta"]["lines"]["drawn"]}
    wanted = {}
    for index, (layer, head) in enumerate([(1, 0), (0, 1)]):
        weights = attentions[layer][0, head].numpy()
        chosen = weights[4] if direction == "to" else weights[:, 4]
        for far, weight in enumerate(chosen.tolist()):
            if weight >= 0.05:
                wanted[(index, 4, far) if direction == "to" else (index, far, 4)] = weight
    assert drawn == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_plain_outputs_are_drawn(name: str) -> None:
    _loaded, pieces, attentions = outputs_of(name)
    figure = plot_attention_lines(attentions, pieces, [(1, 0), (-1, 1)], token_idx=4, least=0.1)
    weights = np.concatenate([attentions[1][0, 0, 4].numpy(), attentions[-1][0, 1, 4].numpy()])
    allowed = np.tile(np.arange(len(pieces)) <= 4, 2) if name == "gpt2" else np.ones(len(weights), dtype=bool)
    assert len(curves(figure)) == int((weights >= 0.1).sum())
    assert [trace.line.width for trace in curves(figure)] == pytest.approx(
        [max(1.0, 13 * weight) for weight in sorted(weights[weights >= 0.1].tolist())]
    )
    left = weights[(weights < 0.1) & allowed]
    assert f"{len(left)} of {int(allowed.sum())} weights left out (weight below 0.1): sum {left.sum():.3f}" in str(
        figure.layout.title.text
    )
    assert "var(--" not in figure.to_json()
    every = plot_attention_lines(attentions, pieces, [(0, 0)], direction="all", least=0)
    pairs = len(pieces) * (len(pieces) + 1) // 2 if name == "gpt2" else len(pieces) ** 2
    assert len(curves(every)) == pairs


def test_what_does_not_fit_is_a_named_error() -> None:
    _loaded, pieces, attentions = outputs_of("gpt2")
    for wrong, found in (
        ({"heads": [(9, 0)]}, "no head 0 in layer 9"),
        ({"heads": []}, "No head is given"),
        ({"token_idx": 40}, "no token 40"),
        ({"token_idx": -40}, "no token -40"),
        ({"direction": "up"}, "choose one of these: to, from, all"),
        ({"tokens": pieces[:-1]}, "tokens; pass"),
    ):
        with pytest.raises(RunShapeError, match=found):
            plot_attention_lines(**{"attentions": attentions, "tokens": pieces, "heads": [(0, 0)], **wrong})  # type: ignore[arg-type]
