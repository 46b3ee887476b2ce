"""Pictures for print: what an address may ask for, and how a figure is laid out for a column."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.errors import BadRequestError
from dashboard.exports.cells import LARGEST_SIDE, MOST_CELLS, vector_cells
from dashboard.exports.figures import names, picture_json, standalone
from dashboard.exports.fitting import fitted
from dashboard.exports.picture_target import DPI, SCREEN, Sheet
from dashboard.exports.point_labels import text_width
from dashboard.exports.provenance import wrapped
from dashboard.figures.attention import attention_map, attention_picture, name_selected
from dashboard.figures.heads import heads_map
from dashboard.figures.labels import spread
from dashboard.figures.theme import LIGHT, in_theme
from dashboard.views import all_views
from dashboard.views.state import ViewState
from tests.support.synthetic import OneRun, made_for

VIEWS = all_views()


def heatmap(count: int, selected: tuple[int | None, int | None] = (None, None)) -> go.Figure:
    weights = np.tril(np.full((count, count), 0.25))
    tokens = [f"t{i}" for i in range(count)]
    figure = attention_map(weights, tokens, tokens, np.tril(np.ones((count, count), dtype=bool)), selected)
    name_selected(figure, tokens, tokens, selected)
    figure, margin = in_theme(figure, LIGHT), figure.layout.margin
    return figure.update_layout(width=margin.l + 640 + margin.r, height=margin.t + 640 + margin.b)


@pytest.mark.parametrize(
    ("query", "sheet"),
    [
        ({}, SCREEN),
        ({"width": "screen", "titled": "1"}, SCREEN),
        ({"width": "85mm"}, Sheet(85)),
        ({"width": "170mm", "titled": "0"}, Sheet(170, titled=False)),
    ],
)
def test_an_address_names_a_sheet(query: dict[str, str], sheet: Sheet) -> None:
    assert Sheet.from_query(query) == sheet


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"width": "84mm"}, "No picture is “84mm” wide. Choose screen, 170mm or 85mm."),
        ({"width": "9" * 500}, f"No picture is “{'9' * 20}” wide. Choose screen, 170mm or 85mm."),
        ({"titled": "yes"}, "titled is “yes”. Give 1 for a picture with title and source, 0 without."),
    ],
)
def test_another_sheet_is_refused_in_a_sentence(query: dict[str, str], said: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        Sheet.from_query(query)
    assert str(refused.value) == said


def test_the_smallest_type_has_six_points() -> None:
    for width in (85, 170):
        pixels = Sheet(width).pixels
        assert pixels is not None
        assert 10 * (width / 25.4 * 72) / pixels >= 6


@pytest.mark.parametrize("width", [85, 170])
@pytest.mark.parametrize("name", names(VIEWS))
def test_every_figure_is_as_wide_as_its_paper(name: str, width: int) -> None:
    run = made_for(name)
    query = {"run": run.key, "token": "3", "layer": "1", "head": "1", "second": "1"}
    found = standalone(name, ViewState.from_query(query, VIEWS), VIEWS, OneRun(run))
    picture: dict[str, Any] = json.loads(picture_json(found, LIGHT, Sheet(width)))
    layout = picture["figure"]["layout"]
    assert (picture["millimetres"], picture["dpi"]) == (width, DPI)
    assert picture["width"] == layout["width"] == Sheet(width).pixels
    assert picture["name"].split("_")[-2] == f"{width}mm"
    bare = json.loads(picture_json(found, LIGHT, Sheet(width, titled=False)))
    assert bare["height"] < picture["height"]
    assert bare["provenance"]["Run"] == run.key
    assert "_bare_" in bare["name"]
    screen = json.loads(picture_json(found, LIGHT))
    assert screen["millimetres"] is None
    assert screen["figure"]["layout"]["height"] == screen["height"]


# layout


def test_cells_stay_square_and_labels_leave_by_twos_fives_and_tens() -> None:
    figure, _left_out = fitted(heatmap(60, (31, 30)), 400)
    margin = figure.layout.margin
    across = figure.layout.width - margin.l - margin.r
    assert across == pytest.approx(figure.layout.height - margin.t - margin.b)
    assert across == pytest.approx(400 - margin.l - 4)
    cell, rows = across / 60, figure.layout.yaxis
    plain = [at for at, text in zip(rows.tickvals, rows.ticktext, strict=True) if "<b" not in text]
    assert plain == [0, 10, 20, 40, 50], "of every 2nd, which are labelled on the screen, every 5th"
    assert 2 * cell < 13
    bold = {text: at for at, text in zip(rows.tickvals, rows.ticktext, strict=True) if "<b" in text}
    apart = dict(zip(("t30", "t31"), sorted(bold.values()), strict=True))
    assert [next(name for name in apart if name in text) for text in sorted(bold, key=bold.get)] == ["t30", "t31"]  # type: ignore[arg-type]
    assert (apart["t31"] - apart["t30"]) * cell == pytest.approx(13)
    assert (apart["t31"] + apart["t30"]) / 2 == pytest.approx(30.5)
    assert figure.layout.xaxis.tickangle == -90


def test_wide_columns_have_slanted_labels() -> None:
    figure, _left_out = fitted(heatmap(12), 800)
    assert figure.layout.xaxis.tickangle == -45
    assert list(figure.layout.xaxis.tickvals) == list(range(12))


def test_labels_are_spread_between_the_ends_of_their_axis() -> None:
    assert spread((4, 9), 3, (-0.5, 20)) == (4, 9)
    assert spread((9, 8), 3, (-0.5, 20)) == (10, 7)
    assert spread((0, 1), 4, (-0.5, 20)) == (-0.5, 3.5)
    assert spread((20, 19), 4, (-0.5, 20.5)) == (20.5, 16.5)


def test_what_is_wide_is_counted_so() -> None:
    assert text_width("abc") == pytest.approx(3 * 6.65)
    assert text_width("<b>&lt;s&gt;</b>") == pytest.approx(3 * 6.65)
    assert text_width("深層") == pytest.approx(23)
    assert wrapped("深層学習 ab", 8) == ["深層学習", "ab"]
    assert wrapped("one two", 4) == ["one", "two"]


# cells


def test_cells_are_described_by_colour_and_what_is_forbidden_is_in_none() -> None:
    [cells], note = vector_cells(heatmap(3))
    assert note == ""
    assert (cells["of"], cells["index"], cells["gap"]) == ("trace", 0, 1)
    assert cells["rows"] == cells["columns"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    # a weight of 1/4 is half-way up the scale: its fifth of nine colours
    assert cells["colours"] == {LIGHT.weights[4]: [0, 3, 4, 6, 7, 8]}


def test_above_64_tokens_the_cells_stay_a_picture() -> None:
    assert vector_cells(heatmap(LARGEST_SIDE))[1] == ""
    cells, note = vector_cells(heatmap(LARGEST_SIDE + 1))
    assert cells == []
    assert note == "The cells are one picture: there are more than 64 in a row or column."
    tokens = [f"t{i}" for i in range(300)]
    picture = attention_picture(np.full((300, 300), 9, dtype=np.uint8), tokens, tokens)
    assert vector_cells(picture) == ([], note)


def test_all_heads_are_cells_until_there_are_too_many() -> None:
    shades = np.zeros((2, 1, 2, 2), dtype=np.uint8)
    shades[0, 0] = [[255, 0], [1, 128]]
    first, second = vector_cells(in_theme(heads_map(shades), LIGHT))[0]
    assert second["colours"] == {}
    assert {colour: len(cells) for colour, cells in first["colours"].items()} == {
        LIGHT.weights[0]: 1,  # the lowest weight
        LIGHT.weights[4]: 1,
        LIGHT.weights[8]: 1,
    }
    assert len(first["columns"]) - 1 == 4  # two cells, and what stands around the head
    many = np.random.default_rng(1).integers(1, 256, size=(10, 12, 32, 32)).astype(np.uint8)
    assert many.size > MOST_CELLS
    assert vector_cells(in_theme(heads_map(many), LIGHT)) == (
        [],
        "The heads are pictures: they have more than 100,000 cells in all.",
    )


def test_a_figure_that_leaves_its_axes_to_plotly_is_laid_out_too() -> None:
    cells = go.Figure(go.Heatmap(z=[[1, 2], [3, 4]]), layout={"width": 700, "height": 400})
    assert fitted(cells, 400)[0].layout.width == 400
    assert vector_cells(cells) == ([], "The cells are one picture.")
    named = {"x": ["a", "b"], "y": [1, 2], "mode": "markers+text", "text": ["one", "two"]}
    points = go.Figure(go.Scatter(named), layout={"width": 700, "height": 400, "xaxis": {"tickvals": ["a", "b"]}})
    figure, left_out = fitted(points, 400)
    assert (figure.layout.width, left_out, list(figure.data[0].text)) == (400, "", ["one", "two"])
    assert vector_cells(points) == ([], "")
