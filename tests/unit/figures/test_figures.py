"""Figures by their meaning: what is drawn where, with which number. No pixels, no torch."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard import plot_attention_heatmap, plot_hidden_pca, plot_token_probabilities
from dashboard.analysis.projection import Projection, project
from dashboard.contracts.prediction import TokenProbability
from dashboard.errors import BadRequestError, BadSelectionError, RunShapeError
from dashboard.figures.attention import LARGEST_CELLS, attention_cells, attention_map, colour_scale, label_step, shades
from dashboard.figures.heads import packed_heads
from dashboard.figures.pixels import held, pooled
from dashboard.figures.prediction import page_bars, prediction_bars
from dashboard.figures.space import CHARACTER_WIDTH, PLANE, Space, label_sides, page_points, space_figure
from dashboard.figures.spec import Spec
from dashboard.figures.text import probability_text
from dashboard.figures.theme import COLOURS, DARK, LIGHT, Theme, in_theme
from tests.support.synthetic import FakeTensor, array_of, tokens_of

ASSETS = Path(__file__).parents[3] / "assets"
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<b>",
    "&amp;",
    "</script>",
    '"><svg onload=alert(1)>',
    "&lt;i&gt;",
    "<a href='x'>",
]
RNG = np.random.default_rng(5)


def as_json(figure: go.Figure | Spec) -> dict[str, Any]:
    """As the browser gets it. Plain data is checked by Plotly, and goes out as it is."""
    if isinstance(figure, dict):
        go.Figure(figure)
        return json.loads(json.dumps(figure, cls=PlotlyJSONEncoder))
    return json.loads(figure.to_json())


def weights_of(count: int) -> np.ndarray:
    """(query, key) causal weights whose rows sum to 1."""
    raw = np.tril(RNG.random((count, count)) + 0.01)
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


# attention


def test_shades_by_hand() -> None:
    weights = np.array([[0, 1], [0.25, 0.0625]])
    assert shades(weights).tolist() == [[1, 255], [128, round(1 + 254 / 4)]]
    assert shades(weights, np.array([[True, False], [False, True]])).tolist() == [[1, 0], [0, round(1 + 254 / 4)]]


def test_shades_never_leave_their_range() -> None:
    assert shades(np.array([[-1.0, 1.0000002, 2.0]])).tolist() == [[1, 255, 255]]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_shade_zero_is_transparent_and_the_ends_are_the_palettes(theme: Theme) -> None:
    scale = in_theme({"data": [{"type": "heatmap", "colorscale": colour_scale()}]}, theme).data[0].colorscale
    assert scale[0] == (0, "rgba(0,0,0,0)")
    assert scale[1][0] < 1 / 255
    assert scale[1][1] == "rgba(0,0,0,0)"
    assert (scale[2][0], scale[2][1]) == (pytest.approx(1 / 255), theme.weights[0])
    assert scale[-1] == (pytest.approx(1), theme.weights[-1])


@pytest.mark.parametrize("decorate", [True, False])
def test_the_heatmap_holds_the_shades_with_queries_as_rows(decorate: bool) -> None:
    weights = np.array([[1, 0], [0.25, 0.75]], dtype=np.float32)
    allowed = np.tril(np.ones((2, 2), dtype=bool))
    drawn = (
        attention_map(weights, ["a", "b"], ["a", "b"], allowed)
        if decorate
        else attention_cells(shades(weights, allowed), ["a", "b"], ["a", "b"])
    )
    figure = as_json(drawn)
    [trace] = figure["data"]
    assert trace["type"] == "heatmap"
    assert array_of(trace["z"]).tolist() == [[255, 0], [128, round(1 + 254 * math.sqrt(0.75))]]
    assert (trace["zmin"], trace["zmax"]) == (0, 255)
    layout = figure["layout"]
    assert layout["xaxis"]["range"] == [-0.5, 1.5]
    assert layout["yaxis"]["range"] == [1.5, -0.5], "the first query must be on top"
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"


def test_the_pages_heatmap_goes_out_as_one_typed_array() -> None:
    weights = weights_of(LARGEST_CELLS)
    text = json.dumps(
        attention_cells(shades(weights), ["x"] * LARGEST_CELLS, ["x"] * LARGEST_CELLS), cls=PlotlyJSONEncoder
    )
    z = json.loads(text)["data"][0]["z"]
    assert z["dtype"] == "u1"
    assert len(text) < 1.5 * LARGEST_CELLS**2 + 3000


def test_exact_weights_are_on_hover() -> None:
    weights = weights_of(3)
    figure = attention_map(weights, ["a", "b", "c"], ["a", "b", "c"])
    custom = figure.data[0].customdata
    assert [list(cell) for cell in custom[2]] == [
        ["a", "c", weights[2, 0]],
        ["b", "c", weights[2, 1]],
        ["c", "c", weights[2, 2]],
    ]


def test_selected_row_and_column_are_framed() -> None:
    column, second, row = as_json(attention_map(weights_of(4), list("abcd"), list("abcd"), selected=(2, 1)))["layout"][
        "shapes"
    ]
    assert (row["line"]["color"], second["line"], column["line"]["dash"]) == (COLOURS.selected, column["line"], "dash")
    assert (second["y0"], second["y1"], second["x0"], second["x1"]) == (0.5, 1.5, -0.5, 3.5)
    assert (row["y0"], row["y1"], row["x0"], row["x1"]) == (1.5, 2.5, -0.5, 3.5)
    assert (column["x0"], column["x1"], column["y0"], column["y1"]) == (0.5, 1.5, -0.5, 3.5)
    assert column["line"]["dash"] == "dash"


def test_of_a_long_text_the_page_gets_every_shade_and_no_colour_of_one() -> None:
    count = LARGEST_CELLS + 44
    weights, allowed = weights_of(count), np.tril(np.ones((count, count), dtype=bool))
    figure = as_json(attention_cells(shades(weights, allowed), ["x"] * count, ["x"] * count))
    cells = figure["layout"]["meta"]["cells"]
    found = np.frombuffer(zlib.decompress(base64.b64decode(cells["shades"])), dtype=np.uint8).reshape(count, count)
    np.testing.assert_array_equal(found, shades(weights, allowed))
    assert (figure["layout"]["meta"]["shape"], set(cells)) == ([count, count], {"shades"})
    assert all(trace["type"] != "heatmap" for trace in figure["data"])
    assert "images" not in figure["layout"]


@pytest.mark.parametrize(
    ("cells", "pixels"), [(10, 4), (1649, 640), (641, 640), (640, 640), (3, 640), (7, 1), (4096, 640)]
)
def test_a_pixel_shows_the_largest_of_what_it_holds(cells: int, pixels: int) -> None:
    shade = np.random.default_rng(1).integers(0, 256, size=(min(cells, pixels, 50), cells)).astype(np.uint8)
    found = pooled(shade, pixels)
    size = cells / min(cells, pixels)
    for pixel in range(0, min(cells, pixels), 7):
        first, last = math.floor(pixel * size + 1e-9), math.ceil((pixel + 1) * size - 1e-9)
        np.testing.assert_array_equal(found[:, pixel], shade[:, first:last].max(axis=1))
        assert last - first <= held(cells, pixels)
    assert found.shape == (min(cells, pixels, 50), min(cells, pixels))


def test_no_weight_of_a_long_text_is_lost_in_a_picture() -> None:
    """A diagonal is a small part of its blocks; a mean of them would be 20 times as pale."""
    shade = np.ones((1649, 1649), dtype=np.uint8)
    np.fill_diagonal(shade, 190)
    small = pooled(shade, 640)
    assert (small.max(axis=0) == 190).all()
    assert (small.max(axis=1) == 190).all()
    assert (np.diagonal(small) == 190).all()


@pytest.mark.parametrize(("count", "step"), [(1, 1), (40, 1), (41, 2), (80, 2), (200, 5), (400, 10), (4096, 200)])
def test_labels_keep_their_distance(count: int, step: int) -> None:
    assert label_step(count) == step
    assert step * 520 / count >= 13


def test_many_tokens_carry_positions_on_columns_and_names_on_rows() -> None:
    figure = as_json(attention_map(weights_of(90), [f"t{i}" for i in range(90)], [f"t{i}" for i in range(90)]))
    assert figure["layout"]["xaxis"]["ticktext"][:2] == ["0", "5"]
    assert figure["layout"]["yaxis"]["ticktext"][:2] == ["t0", "t5"]


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (2,), (1, 2, 2)])
def test_weights_that_do_not_fit_the_tokens_are_a_named_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(RunShapeError, match=r"\(query, key\)"):
        attention_map(np.zeros(shape), ["a", "b"], ["a", "b"])


# the grid of heads


def test_all_heads_are_a_mosaic_of_layers_by_heads() -> None:
    thumbnails = np.arange(2 * 3 * 2 * 2, dtype=np.uint8).reshape(2, 3, 2, 2)
    packed = packed_heads(thumbnails)
    assert struct.unpack("<II", packed[:8]) == (6, 4), "width, height"
    pixels = np.frombuffer(zlib.decompress(packed[8:]), np.uint8).reshape(4, 6)
    for layer in range(2):
        for head in range(3):
            block = pixels[2 * layer : 2 * layer + 2, 2 * head : 2 * head + 2]
            np.testing.assert_array_equal(block, thumbnails[layer, head])


# hidden states


def test_points_are_the_projection_and_carry_their_token() -> None:
    states = RNG.normal(size=(5, 6))
    projection = project(states, 3, first="keep")
    [trace] = as_json(page_points(plane(projection)))["data"]
    np.testing.assert_allclose(
        np.stack([array_of(trace["x"]), array_of(trace["y"])], 1), projection.coordinates[:, :2], atol=1e-6
    )
    assert trace["customdata"] == [{"token": i} for i in range(5)]


def plane(projection: Projection) -> Space:
    """The points of one layer."""
    return Space(projection.coordinates[None], projection.explained, 0, False, 2)


def test_a_token_left_out_is_not_drawn_and_the_others_keep_their_index() -> None:
    states = RNG.normal(size=(5, 6))
    figure = as_json(space_figure(plane(project(states, 2, first="leave")), list("abcde"), selected=(0, 2)))
    points, second = figure["data"]
    assert points["customdata"] == [{"token": i} for i in range(1, 5)]
    assert points["hovertext"] == ["b 1", "c 2", "d 3", "e 4"]
    assert second["marker"]["symbol"] == "square-open"
    assert "NaN" not in json.dumps(figure)


def test_axes_carry_their_share_of_variance() -> None:
    projection = project(RNG.normal(size=(9, 4)), 2, first="keep")
    layout = as_json(space_figure(plane(projection), ["x"] * 9))["layout"]
    for axis, share in (("xaxis", projection.explained[0]), ("yaxis", projection.explained[1])):
        assert f"{100 * share:.1f} % of variance" in layout[axis]["title"]["text"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_tokens_can_be_drawn(count: int) -> None:
    figure = space_figure(plane(project(RNG.normal(size=(count, 4)), 2)), ["x"] * count, selected=(0, None))
    assert len(figure.data[0].x) == count


def at(places: list[tuple[float, float]]) -> Space:
    """Tokens at shares of the plane, (0, 0) left and below, and two more in its corners."""
    room = 0.06 / 1.12  # which a figure leaves around the outermost tokens
    coordinates = np.array([*places, (room, room), (1 - room, 1 - room)])
    return Space(coordinates[None], np.array([0.5, 0.5]), 0, False, 2)


def test_labels_stand_where_they_cover_nothing() -> None:
    lengths = [10] * 5 + [0, 0]
    alone = label_sides(at([(0.1, 0.5), (0.97, 0.5), (0.5, 0.2), (0.5, 0.8), (0.3, 0.3)]), lengths, [])
    assert alone[:5] == ["middle right", "middle left", "middle right", "middle right", "middle right"]
    near = 4 * CHARACTER_WIDTH / PLANE[0]
    pair = label_sides(at([(0.5, 0.5), (0.5 + near, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5)]), lengths, [])
    assert pair[:2] == ["middle left", "middle right"]
    assert None in label_sides(at([(0.5, 0.5)] * 5), lengths, [])
    crowd = [(0.5 + i / 200, 0.5 + j / 200) for i in range(-9, 10) for j in range(-9, 10)]
    over = label_sides(at(crowd), [8] * 363, [180, 181])
    assert [over[180], over[181], over[179]] == ["middle right", "middle left", None]


def test_a_label_without_room_leaves_and_the_figure_says_so_but_not_the_selected_ones() -> None:
    space = at([(0.5, 0.5)] * 40)
    figure = space_figure(space, [f"token{i}" for i in range(42)], selected=(38, 39))
    points = figure.data[0]
    shown = [i for i, text in enumerate(points.text) if text]
    assert [list(trace.text) for trace in figure.data[1:]] == [["<b>token38</b>"], ["<b>token39</b>"]]
    assert len(shown) < 10
    assert figure.layout.annotations[0].text == f"{40 - len(shown)} of 42 labels found no room"
    assert points.hovertext[5] == "token5"
    few = space_figure(at([(0.2, 0.2), (0.7, 0.7)]), ["a", "b", "c", "d"])
    assert (list(few.data[0].text), len(few.layout.annotations)) == (["a 0", "b 1", "c 2", "d 3"], 0)


def test_three_components_are_seen_as_on_the_page_and_their_labels_are_read_as_they_are() -> None:
    coordinates = RNG.normal(size=(1, 4, 3))
    space = Space(coordinates, np.array([0.5, 0.3, 0.1]), 0, False, 3)
    figure = space_figure(space, [">>", "<b>", "&amp;", "C"], selected=(0, None))
    camera = figure.layout.scene.camera
    assert camera.projection.type == "orthographic"
    script = (ASSETS / "overlays" / "space.js").read_text(encoding="utf-8")
    start = re.search(r"START = \{ yaw: (\S+), pitch: (\S+),", script)
    assert start is not None
    yaw, pitch = map(float, start.groups())
    towards = np.array([math.sin(yaw) * math.cos(pitch), -math.cos(yaw) * math.cos(pitch), math.sin(pitch)])
    eye = np.array([camera.eye.x, camera.eye.y, camera.eye.z])
    np.testing.assert_allclose(eye / np.linalg.norm(eye), towards, atol=1e-9)
    assert list(figure.data[0].hovertext) == [">>", "<\u2060b>", "&amp;", "C 3"]
    assert list(figure.data[1].text) == ["<b>>></b>"]


# predictions


def candidates_of(probabilities: list[float], texts: list[str] | None = None) -> list[TokenProbability]:
    names = texts or [f"t{i}" for i in range(len(probabilities))]
    return [TokenProbability(i, names[i], p, math.log(p)) for i, p in enumerate(probabilities)]


def test_bars_hold_exact_probabilities_likeliest_on_top() -> None:
    figure = as_json(prediction_bars(candidates_of([0.7, 0.2, 0.0001]), actual=1))
    [bars] = figure["data"]
    np.testing.assert_allclose(array_of(bars["x"]), [70, 20, 0.01])
    assert figure["layout"]["yaxis"]["range"] == [2.5, -0.5]
    assert figure["layout"]["yaxis"]["ticktext"] == ["t0", "<b>t1</b>", "t2"]
    assert [a["text"] for a in figure["layout"]["annotations"]] == [
        "70.0 %",
        "<b>20.0 %</b>",
        "&lt; 0.05 %",
    ]  # as Plotly reads text
    assert [c["probability"] for c in bars["customdata"]] == [0.7, 0.2, 0.0001]
    assert bars["marker"]["color"] == [COLOURS.mark, COLOURS.ink, COLOURS.mark]


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.92713, "92.7 %"),
        (1.0, "100.0 %"),
        (0.0005, "0.1 %"),
        (0.00049, "< 0.05 %"),
        (1e-30, "< 0.05 %"),
        (0.0, "0.0 %"),
    ],
)
def test_probabilities_are_never_rounded_to_nothing(probability: float, text: str) -> None:
    assert probability_text(probability) == text


def test_no_candidates_make_an_empty_figure() -> None:
    assert len(prediction_bars([]).data[0].x) == 0


# nothing in a text is obeyed


def drawn_texts(figure: dict[str, Any]) -> Iterator[str]:
    """Every text of a figure's JSON in which Plotly reads markup; custom data where a template shows them."""
    layout = figure["layout"]
    yield from _strings(layout.get("title"), layout.get("annotations"))
    for name, axis in layout.items():
        if name.startswith(("xaxis", "yaxis")):
            yield from _strings(axis.get("ticktext"), axis.get("title"))
    for trace in figure["data"]:
        yield from _strings(trace.get("text"), trace.get("hovertext"), trace.get("name"), trace.get("hovertemplate"))
        if trace.get("hovertemplate"):
            yield from _strings(trace.get("customdata"))


def _strings(*values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _strings(*value.values())
        elif isinstance(value, list):
            yield from _strings(*value)


OURS = ("<b>", "</b>", "<br>", "<extra></extra>")


def obeyed(text: str) -> bool:
    """Whether Plotly would read markup that is not ours in `text`, or an entity that was not written out."""
    for own in OURS:
        text = text.replace(own, "")
    text = text.replace("< 0.05 %", "")
    without = text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "")
    return "<" in text or ">" in text or "&" in without


class Texts:
    """A tokenizer that knows the text of each id."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def decode(self, ids: list[int]) -> str:
        return "".join(self.texts[i] for i in ids)


def hostile_figures() -> dict[str, go.Figure]:
    count = len(HOSTILE)
    tokens, weights = tokens_of(HOSTILE), weights_of(count)
    states = [RNG.normal(size=(count, 6)) for _ in range(3)]
    candidates = candidates_of([1 / count] * count, HOSTILE)
    figures = {
        "heatmap": plot_attention_heatmap(weights, HOSTILE),
        "pca": plot_hidden_pca(states, token_idx=1, tokens=HOSTILE),
        "probabilities": plot_token_probabilities(np.zeros((2, count)), Texts(HOSTILE)),
    }
    points = project(states[0])
    return figures | {
        "heatmap alone": attention_map(weights, tokens, tokens, selected=(0, 1)),
        "heatmap for the page": attention_cells(shades(weights), tokens, tokens),
        "points alone": space_figure(plane(points), tokens, selected=(0, 1)),
        "points for the page": page_points(plane(points)),
        "bars alone": prediction_bars(candidates, actual=0),
        "bars for the page": page_bars(candidates, actual=0),
    }


@pytest.mark.parametrize("name", hostile_figures())
def test_no_text_of_a_figure_is_read_as_markup(name: str) -> None:
    figure = as_json(hostile_figures()[name])
    found = [text for text in drawn_texts(figure) if obeyed(text)]
    assert found == []


@pytest.mark.parametrize("token", [*HOSTILE, "<b>bold</b>", "&lt;"])
def test_a_hostile_token_is_still_shown_whole(token: str) -> None:
    import html

    texts = list(drawn_texts(as_json(plot_token_probabilities([5.0, 0.0], Texts([token, "b"])))))
    assert any(html.unescape(text) == token.replace(" ", "·") for text in texts), texts


def test_the_check_for_markup_sees_it() -> None:
    assert obeyed("<i>x</i>")
    assert obeyed("&nbsp;")
    assert not obeyed("<b>&lt;i&gt;&amp;amp;</b><br>")


# functions of a notebook


LAYERS = [RNG.normal(size=(6, 5)) for _ in range(4)]


def path_of(figure: go.Figure) -> np.ndarray:
    [path] = [trace for trace in figure.data if trace.mode == "lines+markers+text"]
    assert [c["place"] for c in path.customdata] == list(range(4))
    return np.stack([path.x, path.y], 1)


def expected_path(layers: list[np.ndarray], token: int) -> np.ndarray:
    """The token's coordinates in the first two singular directions of all layers' tokens together."""
    stacked = np.concatenate(layers)
    mean = stacked.mean(axis=0)
    right = np.linalg.svd(stacked - mean)[2][:2]
    right *= np.sign(right[np.arange(2), np.abs(right).argmax(axis=1)])[:, None]
    return np.stack([(layer[token] - mean) @ right.T for layer in layers])


@pytest.mark.parametrize(
    "hidden_states",
    [
        LAYERS,
        tuple(layer[None] for layer in LAYERS),
        [FakeTensor(layer) for layer in LAYERS],
        tuple(FakeTensor(layer[None]) for layer in LAYERS),
        np.stack(LAYERS),
        np.stack(LAYERS)[:, None],
        FakeTensor(np.stack(LAYERS)),
    ],
    ids=["arrays", "batch axis", "tensors", "tensors, batch axis", "one array", "one array, batch axis", "one tensor"],
)
def test_hidden_pca_draws_the_tokens_path_in_one_common_basis(hidden_states: Any) -> None:
    figure = plot_hidden_pca(hidden_states, token_idx=1)
    np.testing.assert_allclose(path_of(figure), expected_path(LAYERS, 1), atol=1e-8)
    points = figure.data[0]
    np.testing.assert_allclose([points.x[1], points.y[1]], expected_path(LAYERS, 1)[-1], atol=1e-5)
    assert len(points.x) == 6


def test_hidden_pca_in_three_dimensions_with_a_second_token() -> None:
    figure = plot_hidden_pca(LAYERS, token_idx=1, other_idx=-2, dimensions=3)
    stacked = np.concatenate(LAYERS)
    centred = stacked - stacked.mean(axis=0)
    right = np.linalg.svd(centred, full_matrices=False)[2][:3]
    right *= np.sign(right[np.arange(3), np.abs(right).argmax(axis=1)])[:, None]
    expected = (centred @ right.T).reshape(len(LAYERS), -1, 3)
    paths = [trace for trace in figure.data if trace.mode.startswith("lines+markers")]
    for trace, token in zip(paths, (1, 4), strict=True):
        np.testing.assert_allclose(np.stack([trace.x, trace.y, trace.z], 1), expected[:, token], atol=1e-8)
    with pytest.raises(RunShapeError, match="2 or 3"):
        plot_hidden_pca(LAYERS, dimensions=4)


def test_hidden_pca_counts_from_the_end_like_a_list() -> None:
    np.testing.assert_allclose(path_of(plot_hidden_pca(LAYERS, token_idx=-1)), expected_path(LAYERS, 5), atol=1e-8)


def test_hidden_pca_without_a_token_draws_the_last_layer_alone() -> None:
    figure = plot_hidden_pca(LAYERS)
    assert [trace.mode for trace in figure.data] == ["markers+text"]


def test_hidden_pca_of_one_layer_draws_points() -> None:
    assert [trace.mode for trace in plot_hidden_pca(LAYERS[0], token_idx=1).data] == ["markers+text"] * 2


@pytest.mark.parametrize("huge", [0, 3, 5])
def test_hidden_pca_leaves_a_huge_token_out_and_names_it(huge: int) -> None:
    layers = [layer.copy() for layer in LAYERS]
    layers[2][huge] *= 1000
    figure = plot_hidden_pca(layers, token_idx=1, tokens=["<b>", "a", "b", "c", "d", "e"])
    name = ["&lt;b&gt;", "a", "b", "c", "d", "e"][huge]
    assert f"Left out: {name}\u00a0({huge}): norm" in figure.layout.title.text
    assert "in some layer" in figure.layout.title.text
    assert len(figure.data[0].x) == 5
    kept = [token for token in range(6) if token != huge]
    np.testing.assert_allclose(
        path_of(figure), expected_path([layer[kept] for layer in layers], kept.index(1)), atol=1e-8
    )


def test_hidden_pca_keeps_the_first_token_where_its_path_is_asked_for() -> None:
    layers = [layer.copy() for layer in LAYERS]
    layers[2][0] *= 1000
    figure = plot_hidden_pca(layers, token_idx=0)
    assert "eft out" not in figure.layout.title.text
    assert "Kept: 0\u00a0(0): norm" in figure.layout.title.text
    np.testing.assert_allclose(path_of(figure), expected_path(layers, 0), atol=1e-6)


def test_hidden_pca_names_its_tokens() -> None:
    names = [f"{c} {i}" for i, c in enumerate("abcdef")]
    points, *_paths, mark = plot_hidden_pca(LAYERS, 1, tokens=list("abcdef")).data
    assert (list(points.hovertext), list(mark.text)) == (names, ["<b>b 1</b>"])
    with pytest.raises(RunShapeError, match="5 tokens"):
        plot_hidden_pca(LAYERS, 1, tokens=list("abcde"))


@pytest.mark.parametrize("token", [6, -7])
def test_hidden_pca_of_a_token_that_is_not_there_is_a_named_error(token: int) -> None:
    with pytest.raises(BadSelectionError, match="Choose one of 0 to 5"):
        plot_hidden_pca(LAYERS, token_idx=token)


@pytest.mark.parametrize(
    "hidden_states",
    [[], np.zeros(3), [np.zeros((2, 3)), np.zeros((3, 3))], [np.zeros((2, 4, 3))], np.zeros((2, 2, 4, 3))],
    ids=["nothing", "a vector", "ragged", "two texts", "an array of two texts"],
)
def test_hidden_pca_of_something_else_is_a_named_error(hidden_states: Any) -> None:
    with pytest.raises(RunShapeError, match="one text at a time"):
        plot_hidden_pca(hidden_states, token_idx=1)


LOGITS = RNG.normal(size=(3, 12)) * 4
TOKENIZER = Texts([f"w{i}" for i in range(12)])


@pytest.mark.parametrize(
    "logits",
    [LOGITS, LOGITS[None], LOGITS[-1], FakeTensor(LOGITS), FakeTensor(LOGITS[None]), FakeTensor(LOGITS[-1])],
    ids=["positions", "batch axis", "one position", "tensor", "tensor, batch axis", "tensor, one position"],
)
def test_token_probabilities_are_the_softmax_of_the_last_position(logits: Any) -> None:
    figure = plot_token_probabilities(logits, TOKENIZER)
    probabilities = np.exp(LOGITS[-1]) / np.exp(LOGITS[-1]).sum()
    order = np.argsort(-probabilities)[:10]
    np.testing.assert_allclose(figure.data[0].x, 100 * probabilities[order], rtol=1e-12)
    assert list(figure.layout.yaxis.ticktext) == [f"w{i}" for i in order]


def test_token_probabilities_of_another_position_and_count() -> None:
    figure = plot_token_probabilities(LOGITS, TOKENIZER, position=0, top_k=3)
    probabilities = np.sort(np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum())[::-1]
    np.testing.assert_allclose(figure.data[0].x, 100 * probabilities[:3], rtol=1e-12)
    assert "position 0" in figure.layout.title.text


def test_token_probabilities_of_huge_logits_stay_finite() -> None:
    with pytest.raises(BadRequestError, match="is a NoneType; give the model's tokenizer"):
        plot_token_probabilities(LOGITS, None)
    assert plot_token_probabilities(np.array([1e4, 0.0]), TOKENIZER, top_k=2).data[0].x == (100.0, 0.0)


@pytest.mark.parametrize(
    ("logits", "position"),
    [(np.zeros((2, 3, 4)), -1), (np.zeros((2, 0)), -1), (np.zeros((0, 4)), -1), (LOGITS, 3), (LOGITS, -4)],
)
def test_token_probabilities_of_something_else_are_a_named_error(logits: np.ndarray, position: int) -> None:
    with pytest.raises(RunShapeError):
        plot_token_probabilities(logits, TOKENIZER, position=position)
