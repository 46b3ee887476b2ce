"""What is said of two tokens and of paths, beside plain Hugging Face in float32 eager and numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dashboard import capture_run
from dashboard.analysis.prediction import shared_candidates
from dashboard.analysis.projection import states_at, trajectories
from dashboard.analysis.similarity import similarity
from tests.support.bundled_models import bundled_model

pytestmark = pytest.mark.integration


def test_paths_and_likeness_are_those_of_hugging_faces_hidden_states() -> None:
    # its last hidden state is past no final norm, so all layers are Hugging Face's own
    loaded = bundled_model("minilm-l6")
    run = capture_run(loaded, "The bank raised its rates. We sat on the river bank.")
    loaded.model.set_attn_implementation("eager")
    with torch.inference_mode():
        outputs = loaded.model(**loaded.tokenizer(run.text, return_tensors="pt"), output_hidden_states=True)
    states = np.stack([layer[0].numpy() for layer in outputs.hidden_states]).astype(np.float64)

    one, other = (i for i, token in enumerate(run.tokens) if token.text == "bank")
    for layer in range(-1, run.model.layers):
        a, b = states[layer + 1, one], states[layer + 1, other]
        found = similarity(states_at(run.main, layer), one, other)
        assert found.cosine == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-5)
        assert found.distance == pytest.approx(np.sqrt(((a - b) ** 2).sum()), rel=1e-4)

    flat = states.reshape(-1, states.shape[2])
    _left, sizes, directions = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    paths = trajectories(run.main, "keep", "centred")
    np.testing.assert_allclose(paths.explained[:3], (sizes**2 / (sizes**2).sum())[:3], atol=1e-5)
    wanted = ((flat - flat.mean(axis=0)) @ directions[:3].T).reshape(*states.shape[:2], 3)
    for component in range(3):
        sign = np.sign((wanted[..., component] * paths.coordinates[..., component]).sum())
        np.testing.assert_allclose(paths.coordinates[..., component], sign * wanted[..., component], atol=2e-3)


def test_differences_of_two_positions_are_those_of_hugging_faces_probabilities() -> None:
    loaded = bundled_model("smollm2-135m")
    run = capture_run(loaded, "When Mary and John went to the shops, John gave a bottle of milk to Mary.")
    loaded.model.set_attn_implementation("eager")
    with torch.inference_mode():
        logits = loaded.model(**loaded.tokenizer(run.text, return_tensors="pt")).logits[0]
    chances = torch.softmax(logits.double(), dim=-1).numpy()
    found = shared_candidates(run.prediction(15, "given"), run.prediction(9, "given"), 10)
    assert [row.id for row in found] == list(np.argsort(-np.maximum(chances[15], chances[9]))[:10])
    for row in found:
        low, high = row.difference
        assert low - 1e-4 <= chances[15, row.id] - chances[9, row.id] <= high + 1e-4
        for chance, position in ((row.one, 15), (row.other, 9)):
            if chance.known:
                assert chance.probability == pytest.approx(chances[position, row.id], abs=1e-4)
