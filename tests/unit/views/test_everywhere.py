"""One weight in every head: which weight, what is said of it, and what cannot be shown."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.figures import text_of
from dashboard.views.attention.everywhere import VIEW, WEIGHT
from tests.support.synthetic import make_parts, make_run


def context(
    run: ModelRun, weight: str = "pair", token: int = 3, second: int | None = 1, whole: bool = False
) -> Context:
    selection = Selection(run.key, token, 1, 0, second=second)
    return Context(run, selection, {"weight": weight, "show": "figure"}, whole=whole)


def shown(found: Context) -> np.ndarray:
    """(layer, head) uint8 of the figure."""
    spec: Any = VIEW.draw(found)
    cells = spec["data"][0]["z"]
    sides = [int(side) for side in cells["shape"].split(", ")]
    return np.frombuffer(base64.b64decode(cells["bdata"]), np.uint8).reshape(sides)


def wanted(run: ModelRun, weight: str, token: int = 3, second: int = 1) -> np.ndarray:
    """(layer, head), out of whole matrices of weights."""
    attention = run.attention_of()
    matrices = np.array(
        [[attention.weights(layer, head) for head in range(attention.heads)] for layer in range(attention.layers)]
    )
    return {
        "pair": matrices[:, :, token, second],
        "back": matrices[:, :, second, token],
        "first": matrices[:, :, token, 0],
        "received": run.arrays[f"{attention.kind}/received"][:, :, token],  # of every head, as it was captured
    }[weight]


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
@pytest.mark.parametrize("weight", [value for value, _label in WEIGHT.choices])
def test_each_cell_is_that_heads_weight(kind: ModelKind, weight: str) -> None:
    run = make_run(kind)
    found, values = context(run, weight), wanted(run, weight)
    if kind == "causal" and weight == "back":
        assert VIEW.draw(found) is None
        assert "No head can attend from" in text_of(VIEW.text(found).message)
        assert "it comes later" in text_of(VIEW.text(found).message)
        return
    np.testing.assert_allclose(shown(found), 1 + 254 * np.sqrt(values), atol=0.51)  # rounded
    footer = text_of(VIEW.text(found).footer)
    assert f"selected 1.0 {values[1, 0]:.3f}" in footer
    layer, head = np.unravel_index(values.argmax(), values.shape)
    best = "" if (layer, head) == (1, 0) else f"{layer}.{head} "
    assert f"{best}{values.max():.3f}" in footer


def test_a_file_has_every_head_in_order_and_the_page_the_largest_first() -> None:
    run = make_run("causal")
    values = wanted(run, "pair")
    places = [(layer, head) for layer in range(values.shape[0]) for head in range(values.shape[1])]
    whole, page = (VIEW.table(context(run, whole=whole)) for whole in (True, False))  # type: ignore[misc]
    assert whole is not None
    assert page is not None
    written = list(whole.rows)
    assert [row[:2] for row in written] == places
    assert [row[2] for row in written] == pytest.approx([values[place] for place in places])
    rows = list(page.rows)
    assert [row[2] for row in rows] == pytest.approx(sorted(values.ravel(), reverse=True))
    assert [rows[i][:2] for i in page.selected] == [(1, 0)]


def test_without_a_second_token_it_says_how_to_choose_one() -> None:
    run = make_run("causal")
    for weight in ("pair", "back"):
        found = context(run, weight, second=None)
        assert VIEW.draw(found) is None
        assert VIEW.table is not None
        assert VIEW.table(found) is None
        assert "Shift-click a second token" in text_of(VIEW.text(found).message)
    assert VIEW.draw(context(run, "first", second=None)) is not None


def test_the_exported_map_is_the_pages_with_the_selected_head_framed() -> None:
    run = make_run("masked")
    found = context(run)
    figure: Any = VIEW.export(found) if VIEW.export else None
    page: Any = VIEW.draw(found)
    assert figure.to_dict()["data"][0]["z"] == page["data"][0]["z"]
    frame = figure.layout.shapes[0]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)


def test_its_title_says_which_weight() -> None:
    run = make_run("causal")
    titles = {weight: text_of(VIEW.text(context(run, weight)).title) for weight in ("pair", "first", "received")}
    assert titles == {
        "pair": "How much ·on (3) attends to ·cat (1) in every head",
        "first": "How much ·on (3) attends to The (0) in every head",
        "received": "How much attention ·on (3) receives in every head",
    }


def windowed() -> ModelRun:
    """A run whose layer 1 reads two tokens back at most, itself included."""
    header, arrays = make_parts("causal")
    header["recipes"]["decoder"][1]["window"] = 2
    return ModelRun(header, arrays)


def test_a_layer_whose_window_forbids_it_has_an_empty_row() -> None:
    found = context(windowed())
    assert (shown(found)[0] > 0).all()
    assert not shown(found)[1].any()
    spec: Any = VIEW.draw(found)
    assert [text.partition("<br>")[2] for text in spec["data"][0]["hovertext"][1]] == ["no weight", "no weight"]
    assert "Empty rows: outside that layer" in text_of(VIEW.text(found).caption)
    assert "selected 1.0 –" in text_of(VIEW.text(found).footer)
    assert text_of(list(VIEW.explain(found)[1])) == "The selected head 1.0 has no weight here."


def test_values_that_are_not_finite_are_not_said_to_be_forbidden() -> None:
    header, arrays = make_parts("causal")
    for layer in range(2):
        arrays[f"decoder/query/{layer}"] = np.full_like(arrays[f"decoder/query/{layer}"], np.nan)
    found = context(ModelRun(header, arrays))
    assert VIEW.draw(found) is None
    assert "not finite" in text_of(VIEW.text(found).message)
    sentences = [text_of(list(sentence)) for sentence in VIEW.explain(found)]
    assert sentences[1:] == ["The weights are not finite here.", "So no head can be compared with another."]


def test_a_single_token_has_no_second_one() -> None:
    header, arrays = make_parts("causal", ["The"])
    found = context(ModelRun(header, arrays), token=0, second=None)
    assert "This text has a single token." in text_of(VIEW.text(found).message)
    assert text_of(list(VIEW.explain(found)[1])).startswith("This text has a single token")


def test_an_explanation_names_the_selected_and_the_largest_weight() -> None:
    run = make_run("causal")
    values = wanted(run, "pair")
    layer, head = np.unravel_index(values.argmax(), values.shape)
    first, own, most = (text_of(list(sentence)) for sentence in VIEW.explain(context(run)))
    assert first == "The model has 2 layers of 2 heads, and each cell is one of these heads."
    attends = f"attends to ·cat (1) with weight {values[1, 0]:.3f}, where 1 would be all of its attention."
    assert own.replace("\u00a0", " ").endswith(attends)
    assert most.startswith(f"The largest is {values.max():.3f}, in head {head} of layer {layer};")


def aided(run: ModelRun, weight: str, token: int = 3, second: int | None = 1, **aids: Any) -> Context:
    options = {"weight": weight, "show": "figure", **aids}
    return Context(run, Selection(run.key, token, 1, 0, second=second), options)


@pytest.mark.parametrize("weight", ["pair", "received"])
def test_reading_aids_hold_here_too(weight: str) -> None:
    run = make_run("causal")
    found = aided(run, weight, token=3, second=1, first=True, sums=True)
    attention, values = run.attention_of(), np.zeros((2, 2))
    for layer in range(2):
        for head in range(2):
            kept = attention.weights(layer, head).astype(np.float64)[1:, 1:]
            kept /= kept.sum(axis=1, keepdims=True)
            values[layer, head] = kept[2, 0] if weight == "pair" else kept[:, 2].mean()
    np.testing.assert_allclose(shown(found), 1 + 254 * np.sqrt(values), atol=0.51)
    caption = text_of(VIEW.text(found).caption)
    assert "The first token left out. Each row adds up to 1 again." in caption
    assert f"selected 1.0 {values[1, 0]:.3f}" in text_of(VIEW.text(found).footer)


def test_what_the_aids_leave_out_is_said() -> None:
    run = make_run("causal")
    gone = aided(run, "first", first=True)
    assert VIEW.draw(gone) is None
    assert text_of(VIEW.text(gone).message).startswith("The (0) is left out. Choose another token")
    assert len(VIEW.explanation(gone)) == 3
    both = aided(make_run("encoder", ("a", " b", "c", " d"), second_at=2), "pair", token=3, second=0, direction="ab")
    assert text_of(VIEW.text(both).message).startswith("·d (3) and a (0) are left out.")


def test_words_are_read_as_one_here_too() -> None:
    header, arrays = make_parts("encoder", ("a", " play", "ing", " on"))
    rows = [[*row] for row in header["tokens"]["encoder"]]
    rows[2][6] = 1
    header["tokens"] = {"encoder": rows}
    run = ModelRun(header, arrays)
    found = aided(run, "pair", token=3, second=2, words=True)
    weights = np.array([[run.attention(layer, head)[3, 1:3].sum() for head in range(2)] for layer in range(2)])
    np.testing.assert_allclose(shown(found), 1 + 254 * np.sqrt(weights), atol=0.51)
    assert "attends to ·playing (1–2) in every head" in text_of(VIEW.text(found).title)


def test_a_weight_that_takes_too_long_with_aids_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.views.attention.everywhere.AT_ONCE", 10)
    run = make_run("causal")
    found = aided(run, "received", first=True)
    assert VIEW.draw(found) is None
    assert "switch the reading aids off" in text_of(VIEW.text(found).message)
    assert VIEW.draw(aided(run, "received")) is not None
    assert VIEW.draw(aided(run, "pair", first=True)) is not None
