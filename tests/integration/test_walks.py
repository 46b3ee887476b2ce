"""docs/walks.md: every number and claim, computed with plain Hugging Face in float32 eager; where its links lead."""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import torch

from dashboard import derive
from dashboard.catalog.examples import EXAMPLES
from dashboard.contracts.request import RunRequest
from dashboard.views import all_views
from tests.integration.test_claims import ROOT, Reading, percent, reading, run_of
from tests.support.bundled_models import bundled_model

pytestmark = pytest.mark.integration
TEXT = (ROOT / "docs" / "walks.md").read_text(encoding="utf-8")
WALKS = {part.split("\n", 1)[0]: " ".join(part.split()) for part in TEXT.split("\n## ")[1:]}
ATOMS, NAME = WALKS["Which atom came from which?"], WALKS["Which heads read the name?"]
PROBE = WALKS["What does an induction head do?"]
TO, MARY, AGAIN = 15, 1, 16


@cache
def without() -> np.ndarray:
    """(layer, head): the probability of the second ` Mary` with each head's output set to zero."""
    plain = reading(0)
    return plain.without_each(TO, int(plain.ids[AGAIN]))


def strongest(scores: np.ndarray, count: int) -> list[tuple[int, int]]:
    order = np.argsort(-scores, axis=None)[:count]
    return [(int(layer), int(head)) for layer, head in zip(*np.unravel_index(order, scores.shape), strict=True)]


def row(layer: int, head: int) -> str:
    """A row of the tables of heads."""
    plain = reading(0)
    left = without()[layer, head]
    difference = 100 * (left - plain.probability(TO, int(plain.ids[AGAIN])))
    change = f"{difference:+.1f}".replace("-", "−")
    return f"| {layer}.{head} | {plain.attentions[layer, head, TO, MARY]:.3f} | {percent(left)} ({change}) |"


def test_each_link_opens_a_run_of_its_text_at_its_place() -> None:
    links = re.findall(r"\((http://127\.0\.0\.1:8050/[^)]+)\)", TEXT)
    assert len(links) >= 5
    runs = {run_of(index).key: run_of(index) for index in range(len(EXAMPLES))}
    views = {view.name for view in all_views()}
    for link in links:
        parts = urlsplit(link)
        place, carried = parse_qs(parts.query), parse_qs(parts.fragment)
        run = runs[place["run"][0]]
        assert carried == {"text": [run.text], "model": [run.model.name]}
        assert RunRequest(run.model.name, run.text) == run.request, "what pressing Run would make of it"
        assert int(place["layer"][0]) < run.model.layers
        assert max(int(place[name][0]) for name in ("token", "second")) < len(run.tokens)
        assert set(place.get("attention", ["attention"])) <= views


def test_atoms_and_their_origin() -> None:
    plain, run = reading(3), run_of(3)
    texts = [token.text for token in run.tokens]
    arrow = texts.index(">>")
    atoms = [i for i in range(arrow + 1, len(texts) - 1) if texts[i].isalpha()]
    found = {atom: plain.weights(10, 5, atom) for atom in atoms}
    rows = re.findall(r"\| `(\w+)` \((\d+)\) \| `(\w+)` \((\d+)\) \| (\d\.\d+) \|", ATOMS)
    assert rows == [
        (texts[atom], str(atom), texts[to.argmax()], str(to.argmax()), f"{to.max():.3f}") for atom, to in found.items()
    ]
    origins = [int(to.argmax()) for to in found.values()]
    assert all(texts[origin] == texts[atom] and origin < arrow for atom, origin in zip(atoms, origins, strict=True))
    assert len(set(origins)) == len(atoms)
    fluorines = [i for i in range(arrow) if texts[i] == "F"]
    assert (fluorines, [i for i in fluorines if i not in origins]) == ([17, 26], [26])
    assert texts[42] == "("
    assert texts[plain.weights(10, 5, 42).argmax()] == "[CLS]"


def test_which_other_heads_find_the_origin() -> None:
    plain, run = reading(3), run_of(3)
    texts = np.array([token.text for token in run.tokens])
    arrow = list(texts).index(">>")
    atoms = [i for i in range(arrow + 1, len(texts) - 1) if texts[i].isalpha()]
    most = plain.attentions[:, :, atoms].argmax(-1)
    finds = ((texts[most] == texts[atoms]) & (most < arrow)).all(-1)
    assert [(int(layer), int(head)) for layer, head in np.argwhere(finds)] == [(layer, 5) for layer in range(5, 11)]
    assert f"each of the {len(atoms)} atoms" in ATOMS
    assert f"no other head among the {finds.size}" in ATOMS
    assert plain.model.config.num_hidden_groups == 1, "one set of weights for all layers"
    assert (plain.attentions[:, :, 45, 6].mean(0).argmax()) == 5, "the column that stands out"


def test_what_the_probe_finds_and_what_its_heads_do_in_a_text() -> None:
    """The scores are computed from the weights of a plain forward on the tokens that the probe read."""
    name, plain = EXAMPLES[1].model, reading(1)
    probe = derive(bundled_model(name), run_of(1), "head-probe")
    length, scores = probe.length, []
    for ids in probe.ids:
        attentions = Reading(name, torch.from_numpy(ids.astype(np.int64))).attentions
        queries = np.arange(len(ids) - length, len(ids))
        scores.append(attentions[:, :, queries, queries - length + 1].mean(-1))
    assert all(np.array_equal(ids[-length:], ids[-2 * length : -length]) for ids in probe.ids)
    assert np.allclose(scores, probe.scores["induction"], atol=1e-3), "the page's own"
    assert f"reads {length} random tokens twice, and does so for three random draws (seeds)" in PROBE
    assert len(scores) == 3
    mean, spread = np.mean(scores, axis=0), np.std(scores, axis=0, ddof=1)
    first = strongest(mean, 8)
    assert (mean > 0.4).sum() == 8, "Eight of the 270"
    assert mean.size == 270
    assert len({frozenset(strongest(one, 5)) for one in scores}) == 1, "the same first five"

    dear = int(plain.ids[12])
    before = plain.probability(11, dear)
    assert f"a probability of {percent(before)}" in PROBE
    changes = {}
    for layer, head in first:
        left = plain.without(layer, head, 11, dear)
        changes[layer, head] = 100 * (left - before)
        change = f"{changes[layer, head]:+.1f}".replace("-", "−")
        score = f"{mean[layer, head]:.3f} ± {spread[layer, head]:.3f}"
        weight = plain.weights(layer, head, 11)[4]
        assert f"| {layer}.{head} | {score} | {weight:.3f} | {percent(left)} ({change}) |" in PROBE
    assert plain.weights(18, 7, 11)[4] < 0.02
    assert max(abs(changes[head]) for head in first[:3]) < 2, "hardly any"
    assert changes[23, 2] == max(changes.values()) > 5


def test_the_heads_that_read_the_name() -> None:
    plain = reading(0)
    name = int(plain.ids[AGAIN])
    assert f"`·Mary` a probability of {percent(plain.probability(TO, name))}" in NAME
    to_mary = plain.attentions[:, :, TO, MARY]
    readers = strongest(to_mary, 8)
    assert (to_mary > 0.3).sum() == len(readers)
    assert (min(layer for layer, _head in readers), max(layer for layer, _head in readers)) == (21, 28)
    assert f"all {to_mary.size} heads" in NAME
    assert " ".join(row(*head) for head in readers) in NAME
    rises = [head for head in readers if without()[head] > plain.probability(TO, name)]
    assert (len(rises), rises[0]) == (3, readers[0]), "three, the strongest reader among them"


def test_a_batch_silences_a_head_a_sequence() -> None:
    plain = reading(0)
    name = int(plain.ids[AGAIN])
    for layer, head in ((0, 0), (1, 3), (23, 8)):
        assert without()[layer, head] == pytest.approx(plain.without(layer, head, TO, name), abs=1e-5)


def test_the_heads_that_make_a_difference() -> None:
    plain = reading(0)
    change = without() - plain.probability(TO, int(plain.ids[AGAIN]))
    three = strongest(-change, 3)
    assert " ".join(row(*head) for head in three) in NAME
    assert max(layer for layer, _head in three) == 1, "the first two layers"
    assert all(plain.attentions[layer, head, TO, MARY] < 0.05 for layer, head in three)
    to_mary = plain.attentions[:, :, TO, MARY]
    assert abs(np.corrcoef(to_mary.ravel(), change.ravel())[0, 1]) < 0.1
