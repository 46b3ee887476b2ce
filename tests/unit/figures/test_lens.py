"""The logit lens as a figure: what is drawn where, with which number. No torch."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.analysis.lens import MEASURES, largest, measured, strength, ticks
from dashboard.contracts.lens import NAMES, LogitLens
from dashboard.errors import BadSelectionError, RunShapeError
from dashboard.figures.lens import (
    MOST_COLUMNS,
    LensMap,
    framed_lens,
    left_out_text,
    lens_column,
    lens_map,
    value_text,
)
from dashboard.figures.theme import COLOURS, DARK, LIGHT, in_theme
from tests.support.synthetic import array_of

WORDS = ("the", " cat", " sat", "<b>", " on", "\n")


def lens_of(places: int = 3, positions: int = 4, vocabulary: int = 6, causal: bool = True) -> LogitLens:
    """Of random logits, with every number computed one by one; at the last position nothing comes next."""
    rng = np.random.default_rng(places * 100 + positions)
    logprobs = rng.normal(size=(places, positions, vocabulary)) * 2
    logprobs -= np.log(np.exp(logprobs).sum(axis=-1, keepdims=True))
    order = np.argsort(-logprobs, axis=-1)[:, :, :3]
    final, actual = logprobs[-1].argmax(axis=-1), rng.integers(vocabulary, size=positions)
    columns = np.arange(positions)

    def of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mine = logprobs[:, columns, ids]
        return mine.astype(np.float32), (logprobs > mine[:, :, None]).sum(axis=-1).astype(np.int32) + 1

    (final_logprob, final_rank), (actual_logprob, actual_rank) = of(final), of(actual)
    if causal:
        actual_logprob[:, -1], actual_rank[:, -1] = np.nan, 0
    last = logprobs[-1]
    texts = {str(i): WORDS[i % len(WORDS)] + ("" if i < len(WORDS) else str(i)) for i in range(vocabulary)}
    return LogitLens(
        order.astype(np.int32),
        np.take_along_axis(logprobs, order, -1).astype(np.float32),
        -(np.exp(logprobs) * logprobs).sum(axis=-1),
        actual_logprob,
        actual_rank,
        final_logprob,
        final_rank,
        (np.exp(last) * (last - logprobs)).sum(axis=-1),
        np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
    )


def drawn_of(lens: LogitLens, measure: str = "probability", vocabulary: int = 6) -> LensMap:
    return LensMap(lens, MEASURES[measure], vocabulary, [f"t{i}" for i in range(lens.positions)])


def texts_of(spec: Any) -> list[list[str]]:
    """What stands in each cell."""
    rows, columns = array_of(spec["data"][0]["z"]).shape
    found = [[""] * columns for _ in range(rows)]
    for trace in spec["data"]:
        if trace.get("mode") == "text":
            for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True):
                assert found[y][x] == "", "one text a cell"
                found[y][x] = text
    return found


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_the_text_of_a_cell_stands_out_from_it(theme: Any) -> None:
    """At least 4.2 : 1, by the formula of WCAG 2.2."""

    def luminance(hex_code: str) -> float:
        values = [int(hex_code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(
            w * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)
            for w, v in zip((0.2126, 0.7152, 0.0722), values, strict=True)
        )

    spec = in_theme(lens_map(drawn_of(lens_of(places=40, positions=20))), theme).to_plotly_json()
    shades = array_of(spec["data"][0]["z"])
    assert all("" not in row for row in texts_of(spec))
    for trace in spec["data"][1:4]:
        mine = luminance(trace["textfont"]["color"])
        for x, y in zip(trace["x"], trace["y"], strict=True):
            at = (shades[y, x] - 1) / 254 * (len(theme.weights) - 1)
            stop = luminance(theme.weights[round(at)])
            high, low = max(mine, stop), min(mine, stop)
            assert (high + 0.05) / (low + 0.05) > 3.3
            if abs(at - round(at)) < 0.1:
                assert (high + 0.05) / (low + 0.05) > 4.2


def test_strength_by_hand() -> None:
    np.testing.assert_allclose(strength(np.array([0, 0.25, 1.0, np.nan]), "share", 1), [0, 0.5, 1, np.nan])
    np.testing.assert_allclose(strength(np.array([1, 10, 100.0, np.nan]), "rank", 100), [1, 0.5, 0, np.nan])
    np.testing.assert_allclose(strength(np.array([0, 1, 4.0, np.inf]), "nats", 4), [0, 0.25, 1, 1])
    np.testing.assert_allclose(strength(np.array([0, 0.0, np.nan]), "nats", 0), [0, 0, np.nan])
    np.testing.assert_allclose(strength(np.array([1.0, np.nan]), "rank", 1), [1, np.nan])
    assert (ticks("rank", 49_152), ticks("rank", 1), ticks("nats", 4.0)) == (
        [10_000, 1_000, 100, 10, 1],
        [1],
        [0, 1, 2, 3, 4],
    )


def test_measures_are_the_lens_own_numbers() -> None:
    lens = lens_of()
    np.testing.assert_allclose(measured(lens, MEASURES["probability"]), np.exp(lens.top_logprobs[:, :, 0]))
    np.testing.assert_allclose(measured(lens, MEASURES["final-probability"]), np.exp(lens.final_logprob))
    np.testing.assert_array_equal(measured(lens, MEASURES["final-rank"]), lens.final_rank)
    found = measured(lens, MEASURES["actual-rank"])
    assert np.isnan(found[:, -1]).all()
    np.testing.assert_array_equal(found[:, :-1], lens.actual_rank[:, :-1])
    assert np.isnan(measured(lens, MEASURES["actual-probability"])[:, -1]).all()


@pytest.mark.parametrize("measure", list(MEASURES))
def test_the_map_shows_layers_from_the_embeddings_down(measure: str) -> None:
    lens = lens_of()
    spec = lens_map(drawn_of(lens, measure))
    go.Figure(spec)
    cells, values = spec["data"][0], measured(lens, MEASURES[measure])
    most = 6 if measure.endswith("rank") else largest(values)
    strong = strength(values, MEASURES[measure].scale, most)
    expected = np.where(np.isnan(strong), 0, 1 + np.round(254 * np.nan_to_num(strong)))
    np.testing.assert_array_equal(array_of(cells["z"]), expected)
    assert cells["customdata"][0][2] == {"token": 2, "layer": -1}
    assert cells["customdata"][2][0] == {"token": 0, "layer": 1}
    layout = spec["layout"]
    assert layout["meta"] == {"axes": {"x": "token", "y": "layer"}, "first_layer": -1}
    assert (layout["xaxis"]["range"], layout["yaxis"]["range"]) == ([-0.5, 3.5], [2.5, -0.5])
    assert layout["yaxis"]["ticktext"] == ["E", "0", "1"]


def test_a_cell_names_its_likeliest_token_and_hover_gives_the_number() -> None:
    lens = lens_of()
    spec = lens_map(drawn_of(lens, "kl"))
    names = [["the", "·cat", "·sat", "&lt;b&gt;", "·on", "↵"][i] for i in lens.top_ids[1, :, 0]]
    assert texts_of(spec)[1] == names
    hover = spec["data"][0]["hovertext"][1][2]
    probability = math.exp(lens.top_logprobs[1, 2, 0])
    assert hover.startswith(f"t2 (2), after layer 0<br><b>{names[2]}</b> {100 * probability:.1f} %")
    assert hover.endswith(f"KL divergence from the final prediction: {lens.kl[1, 2]:.2f} nats")


def test_cells_without_an_actual_token_are_hatched() -> None:
    [_cells, *_texts, hatched, _legend] = lens_map(drawn_of(lens_of(), "actual-rank"))["data"]
    assert hatched["fillpattern"]["shape"] == "/"
    assert (min(hatched["x"][:5]), max(hatched["x"][:5])) == (2.5, 3.5)
    assert array_of(lens_map(drawn_of(lens_of(), "actual-rank"))["data"][0]["z"])[:, -1].tolist() == [0, 0, 0]
    assert len(lens_map(drawn_of(lens_of(causal=False), "actual-rank"))["data"]) == 5, "nothing to hatch"
    assert len(lens_map(drawn_of(lens_of(), "final-rank"))["data"]) == 5


@pytest.mark.parametrize(
    ("positions", "text", "exact"), [(59, True, True), (60, False, True), (128, False, True), (129, False, False)]
)
def test_many_tokens_carry_no_text_in_their_cells(positions: int, text: bool, exact: bool) -> None:
    traces = lens_map(drawn_of(lens_of(positions=positions)))["data"]
    cells = traces[0]
    assert (any(trace.get("mode") == "text" for trace in traces), "customdata" in cells) == (text, exact)
    assert len(cells["hovertext"][0]) == positions


def test_of_a_long_text_every_nth_token_is_drawn_and_it_says_so() -> None:
    lens = lens_of(places=2, positions=2 * MOST_COLUMNS + 1)
    drawn = drawn_of(lens)
    spec = lens_map(drawn)
    cells = spec["data"][0]
    assert (drawn.step, cells["dx"], array_of(cells["z"]).shape) == (3, 3, (2, 683))
    values = measured(lens, MEASURES["probability"])[:, ::3]
    np.testing.assert_array_equal(array_of(cells["z"]), 1 + np.round(254 * np.sqrt(values)))
    assert left_out_text(drawn) == ["Every 3rd token is drawn: 683 of 2,049."]
    assert left_out_text(drawn_of(lens_of())) == []
    assert len(json.dumps(spec)) < 400_000


def test_a_column_alone_names_token_and_value() -> None:
    lens = lens_of(places=31)
    one = lens.at([2])
    spec = lens_column(LensMap(one, MEASURES["entropy"], 6, ["t2"]), 2)
    go.Figure(spec)
    cells, beside = spec["data"][:2]
    assert beside["y"] == list(range(0, 31, 5))
    assert beside["text"][2].endswith(f"  <b>{lens.entropy[10, 2]:.2f} nats</b>")
    assert cells["customdata"][4] == [{"token": 2, "layer": 3}]
    assert spec["layout"]["meta"] == {"axes": {"y": "layer"}, "first_layer": -1}


def test_the_legend_is_in_real_values() -> None:
    lens = lens_of()
    bar = lens_map(drawn_of(lens, "final-rank", 49_152))["data"][-1]["marker"]["colorbar"]
    assert bar["ticktext"] == ["10,000", "1,000", "100", "10", "1"]
    assert bar["tickvals"][-1] == 255
    assert bar["tickvals"][0] == pytest.approx(1 + 254 * (1 - math.log(10_000) / math.log(49_152)))
    nats = lens_map(drawn_of(lens, "entropy"))["data"][-1]["marker"]["colorbar"]
    assert nats["title"]["text"] == "Entropy (nats)"
    assert (nats["tickvals"][0], nats["tickvals"][-1], nats["ticktext"][-1]) == (1, 255, f"{lens.entropy.max():.3g}")


def test_the_exported_map_frames_column_second_column_and_layer() -> None:
    figure = framed_lens(drawn_of(lens_of()), 1, 3, -1)
    second, layer, token = figure.layout.shapes
    assert (token.x0, token.x1, token.y0, token.y1, token.line.color) == (0.5, 1.5, -0.5, 2.5, COLOURS.selected)
    assert (second.x0, second.x1, second.line.dash) == (2.5, 3.5, "dash")
    assert (layer.x0, layer.x1, layer.y0, layer.y1) == (-0.5, 3.5, -0.5, 0.5)
    assert figure.layout.width
    assert figure.layout.height
    assert list(figure.layout.yaxis.ticktext) == ["0", "1", f'<b style="color:{COLOURS.ink}">E</b>']


@pytest.mark.parametrize(
    ("places", "others"),
    [
        (31, [0, *range(1, 8), *range(9, 31)]),
        (53, [0, *range(1, 8), *range(9, 53)]),
        (97, [0, 3, 5, *range(11, 97, 2)]),  # every 2nd, but for the neighbours of the selected one
    ],
)
def test_the_exported_map_labels_every_layer_that_has_room_and_the_selected_one(places: int, others: list[int]) -> None:
    axis = framed_lens(drawn_of(lens_of(places)), 1, None, 7).layout.yaxis
    labels = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert labels.pop(8) == f'<b style="color:{COLOURS.ink}">7</b>'
    assert labels == {place: str(place - 1) if place else "E" for place in others}


def test_values_in_words() -> None:
    assert value_text(0.927, MEASURES["probability"]) == "92.7 %"
    assert value_text(1204, MEASURES["final-rank"]) == "1,204"
    assert value_text(0.4712, MEASURES["entropy"]) == "0.47 nats"
    assert value_text(math.inf, MEASURES["kl"]) == "∞"
    assert value_text(math.nan, MEASURES["actual-rank"]) == "none"


def test_values_that_are_not_finite_stay_empty() -> None:
    lens = lens_of()
    for name in ("top_logprobs", "entropy", "final_logprob", "actual_logprob", "kl"):
        getattr(lens, name)[1, 1] = np.nan
    for measure in MEASURES:
        assert array_of(lens_map(drawn_of(lens, measure))["data"][0]["z"])[1, 1] == 0


def test_a_lens_of_other_shapes_is_a_named_error() -> None:
    lens = lens_of()
    with pytest.raises(RunShapeError, match="3 tokens for a lens of 4"):
        LensMap(lens, MEASURES["kl"], 6, ["a", "b", "c"])
    with pytest.raises(RunShapeError, match="Run the lens again"):
        LogitLens(
            **{name: getattr(lens, name) for name in NAMES if name != "kl"},
            kl=lens.kl[:, :2],
            vocabulary=lens.vocabulary,
        )
    with pytest.raises(BadSelectionError):
        lens.top(0, 4)
