"""`plot_logit_lens` on plain Hugging Face outputs: its last row is the model's own prediction, and no norm is applied
twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dashboard import plot_logit_lens
from dashboard.errors import BadRequestError, BadSelectionError, MissingArrayError, RunShapeError, UnsupportedModelError
from tests.integration.test_logit_lens import HEADS
from tests.support.synthetic import array_of
from tests.support.tiny_models import eager_twin, tiny, words
from tests.unit.figures.test_lens import texts_of

pytestmark = pytest.mark.integration


def outputs_of(name: str) -> tuple[Any, Any, torch.Tensor, Any]:
    """(model, tokenizer, ids, outputs) of Hugging Face alone."""
    loaded = tiny(name)
    model = eager_twin(name, loaded)
    ids = loaded.tokenizer(words(7), return_tensors="pt")["input_ids"]
    return model, loaded.tokenizer, ids, model(input_ids=ids, output_hidden_states=True)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gptj", "deberta_v2"])
def test_cells_are_hugging_faces_own_head_on_its_own_states(name: str) -> None:
    model, tokenizer, ids, outputs = outputs_of(name)
    figure = plot_logit_lens(outputs.hidden_states, model, tokenizer, ids)
    with torch.inference_mode():
        rows = [HEADS[name](model, states[0]) for states in outputs.hidden_states[:-1]]
        probabilities = torch.softmax(torch.stack([*rows, outputs.logits[0]]).double(), dim=-1).numpy()
    cells = figure.data[0]
    np.testing.assert_allclose(array_of(cells.z), 1 + np.round(254 * np.sqrt(probabilities.max(axis=-1))), atol=1)
    pieces = [tokenizer.convert_ids_to_tokens(row) for row in probabilities.argmax(axis=-1).tolist()]
    assert texts_of(figure.to_plotly_json()) == pieces
    assert figure.layout.title.text.startswith("Logit lens")
    assert list(figure.layout.yaxis.ticktext) == ["E", *map(str, range(len(pieces) - 1))]


@pytest.mark.parametrize("name", ["opt", "gemma2", "modernbert", "albert"])
def test_the_last_row_is_the_models_own_prediction(name: str) -> None:
    """Of heads with a projection, a softcap, a norm that the base applies, and one layer that is used three times."""
    model, tokenizer, ids, outputs = outputs_of(name)
    figure = plot_logit_lens(outputs.hidden_states, model, tokenizer, ids[0].tolist(), measure="probability")
    best = outputs.logits[0].argmax(dim=-1).tolist()
    assert texts_of(figure.to_plotly_json())[-1] == tokenizer.convert_ids_to_tokens(best)


def test_the_model_stays_as_it_is() -> None:
    model, tokenizer, ids, outputs = outputs_of("llama")
    model.train()
    figure = plot_logit_lens(
        outputs.hidden_states, model, tokenizer, ids, measure="actual-rank", token_idx=-1, layer=-1
    )
    assert all(module.training for module in model.modules())
    assert any(parameter.requires_grad for parameter in model.parameters())
    frames = figure.layout.shapes
    assert (frames[0].y0, frames[1].x0) == (-0.5, ids.shape[1] - 1.5)


def test_what_does_not_fit_is_a_named_error() -> None:
    model, tokenizer, ids, outputs = outputs_of("llama")
    states = outputs.hidden_states
    with pytest.raises(BadRequestError, match="no measure 'heat'"):
        plot_logit_lens(states, model, tokenizer, ids, measure="heat")
    with pytest.raises(RunShapeError, match="same text"):
        plot_logit_lens(states, model, tokenizer, ids[0, :3])
    with pytest.raises(RunShapeError, match="the embeddings first"):
        plot_logit_lens(states[1:], model, tokenizer, ids)
    with pytest.raises(RunShapeError, match="ids of one text"):
        plot_logit_lens(states, model, tokenizer, torch.tensor([[0.5]]))
    with pytest.raises(BadSelectionError, match="no token 40"):
        plot_logit_lens(states, model, tokenizer, ids, token_idx=40)
    with pytest.raises(BadSelectionError, match="no layer 2"):
        plot_logit_lens(states, model, tokenizer, ids, layer=2)
    with pytest.raises(UnsupportedModelError, match="not a transformers model"):
        plot_logit_lens(states, torch.nn.Linear(2, 2), tokenizer, ids)
    with pytest.raises(MissingArrayError, match="prediction head"):
        plot_logit_lens(states, model.model, tokenizer, ids)
