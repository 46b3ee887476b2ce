"""Attention of several heads beside plain Hugging Face attentions, and the derived result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dashboard import aggregate_attention
from dashboard.analysis.attention_reading import Aids, read_attention
from dashboard.capture.capture import capture_run
from dashboard.compute.deriving import derive
from dashboard.contracts.job import Progress
from dashboard.errors import BadRequestError
from tests.support.tiny_models import eager_twin, tiny, words

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_aggregates_of_hugging_faces_own_attentions(name: str) -> None:
    loaded = tiny(name)
    run, model = capture_run(loaded, words(9)), eager_twin(name, loaded)
    ids = torch.tensor([[token.id for token in run.tokens]])
    with torch.inference_mode():
        found = model(input_ids=ids, output_attentions=True).attentions
    layers = torch.cat(found).double().numpy()  # (layer, head, query, key)
    last, attention = run.model.layers - 1, run.attention_of()
    rolled, same = np.eye(len(run)), {"rtol": 1e-4, "atol": 1e-6}
    for layer in layers:
        mixed = 0.5 * layer.mean(axis=0) + 0.5 * np.eye(len(run))
        rolled = mixed / mixed.sum(axis=1, keepdims=True) @ rolled
    for of, wanted in (
        ("mean", layers[last].mean(axis=0)),
        ("max", layers[last].max(axis=0)),
        ("mean-all", layers.mean(axis=(0, 1))),
        ("max-all", layers.max(axis=(0, 1))),
        ("rollout", rolled),
    ):
        np.testing.assert_allclose(read_attention(attention, last, None, of).weights(), wanted, **same)  # type: ignore[arg-type]
        rest = wanted[1:, 1:] / wanted[1:, 1:].sum(axis=1, keepdims=True)
        aids = Aids(first=True, sums=True)
        np.testing.assert_allclose(read_attention(attention, last, None, of, aids=aids).weights(), rest, **same)  # type: ignore[arg-type]
    for of, layer, wanted in (
        ("mean", last, layers[last].mean(axis=0)),
        ("max", None, layers.max(axis=(0, 1))),
        ("rollout", None, rolled),
    ):
        np.testing.assert_allclose(aggregate_attention(found, of, layer), wanted, **same)  # type: ignore[arg-type]
    told: list[Progress] = []
    derived = derive(loaded, run, "attention-aggregate", told.append, of="rollout", layer=last, share=0.5)
    np.testing.assert_allclose(derived, rolled, **same)
    assert [one.done for one in told] == list(range(1, run.model.layers * run.model.heads + 1))
    largest = derive(loaded, run, "attention-aggregate", of="max-all", layer=0, share=0.5)
    np.testing.assert_allclose(largest, layers.max(axis=(0, 1)), **same)
    with pytest.raises(BadRequestError, match="Only a rollout"):
        derive(loaded, run, "attention-aggregate", of="mean-all", layer=last, share=0.25)
