"""One head's attention as a heatmap: queries as rows, keys as columns, colour on a square-root scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.aggregates import SHARE, rolled_out
from dashboard.contracts.streams import check
from dashboard.contracts.token import Token
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.labels import name_chosen
from dashboard.figures.pixels import grey_uri, held, packed, pooled
from dashboard.figures.spec import Spec, typed
from dashboard.figures.text import ISOLATE, escape, isolated
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, LIGHT, TOKEN_FONT, axis, base_layout, in_theme
from dashboard.figures.tokens import axis_names, labels_of

ALL_LABELS_UP_TO = 26  # tokens up to which all labels fit on a phone
# tokens up to which Plotly draws the page's heatmap; above, the page draws the cells as pixels itself
LARGEST_CELLS = 128
LARGEST_HEATMAP = 256  # tokens up to which a heatmap is exported as one; above, it becomes an image
LARGEST_PICTURE = 640  # rows and columns of that image: its pixels on a screen, so that none is lost to scaling
PLOT_PIXELS = 480  # between the margins of a notebook's heatmap
AXIS_TITLE = {"font": {"size": 11}, "standoff": 4}
LEGEND_WEIGHTS = (0, 0.0625, 0.25, 0.5625, 1)
GAPS_UP_TO = 40  # tokens up to which cells have gaps between them
POSITIONS_ABOVE = 80  # tokens above which columns carry only positions
LABEL_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
Marked = tuple[int | None, int | None] | tuple[int | None, int | None, int | None]  # rows and columns: `attention_map`
NOTHING: Marked = (None, None)
Positions = tuple[Sequence[int] | None, Sequence[int] | None]  # of rows and columns in the text; None: their index


def shades(weights: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """(query, key) uint8: 1 … 255 for weights 0 … 1 on a square-root scale; 0 if a key is masked or the weight not
    finite.
    """
    finite = np.isfinite(weights)
    known = weights if finite.all() else np.where(finite, weights, 0)
    shade = np.clip(np.round(1 + 254 * np.sqrt(np.clip(known, 0, 1))), 1, 255).astype(np.uint8)
    shown = finite if allowed is None else finite & allowed
    return shade if shown.all() else np.where(shown, shade, 0).astype(np.uint8)


def colour_scale() -> list[list[Any]]:
    """Plotly's colour scale for `shades`: 0 is transparent."""
    step = 1 / 255
    count = len(COLOURS.weights)
    stops = [[step + (1 - step) * i / (count - 1), colour] for i, colour in enumerate(COLOURS.weights)]
    return [[0, "rgba(0,0,0,0)"], [step * 0.999, "rgba(0,0,0,0)"], *stops]


def attention_map(
    weights: np.ndarray,
    queries: Sequence[Token | str],
    keys: Sequence[Token | str],
    allowed: np.ndarray | None = None,
    selected: Marked = NOTHING,
    positions: Positions = (None, None),
) -> go.Figure:
    """The page's heatmap of one head, with labels, exact values on hover, and frames.

    Args:
        weights: (query, key) float, each 0 … 1.
        queries, keys: one label per row, and one per column.
        allowed: (query, key) bool, the pairs that the model's mask allows; the others stay empty.
        selected: the selected token's row, which is framed, and the second token's column and row, which have dashed
            frames; of two numbers, the last is both.
        positions: of the rows and of the columns in the text, where they are not 0, 1, 2 …

    Raises:
        RunShapeError: weights and tokens do not match.
    """
    weights = np.asarray(weights)
    _check_shape(weights, queries, keys)
    shade = shades(weights, allowed)
    spec = attention_cells(shade, queries, keys, largest=max(shade.shape))
    names = [
        np.array([escape(isolated(label)) for label in labels], dtype=object)
        for labels in (labels_of(queries), labels_of(keys))
    ]
    rows, columns = np.broadcast_to(names[0][:, None], weights.shape), np.broadcast_to(names[1][None, :], weights.shape)
    exact, form = weights.astype(object), ":.6g"
    if not np.isfinite(weights).all():
        exact, form = np.where(np.isfinite(weights), np.char.mod("%.6g", weights), "not finite").astype(object), ""
    at, (y, x) = _told(positions, weights.shape)
    hover = {
        "hoverinfo": None,
        "customdata": np.stack([columns, rows, exact, *at], axis=-1),
        # for files and notebooks; the page's own tooltip is in assets/overlays/matrix.js
        "hovertemplate": f"%{{customdata[1]}} (%{{{y}}}) attends to %{{customdata[0]}} (%{{{x}}})<br>"
        f"weight <b>%{{customdata[2]{form}}}</b><extra></extra>",
    }
    [cells] = spec["data"]
    return _labelled({**spec, "data": [{**cells, **hover, "z": shade}]}, queries, keys, selected, allowed, positions)


def _told(positions: Positions, shape: tuple[int, ...]) -> tuple[list[np.ndarray], tuple[str, str]]:
    """(query, key) arrays of the positions of each cell's query and key, and where a hover text finds the two."""
    if positions[0] is None or positions[1] is None:
        return [], ("y", "x")
    queries, keys = (np.array([int(at) for at in side], dtype=object) for side in positions if side is not None)
    found = [np.broadcast_to(queries[:, None], shape), np.broadcast_to(keys[None, :], shape)]
    return found, ("customdata[3]", "customdata[4]")


def attention_cells(
    shade: np.ndarray, queries: Sequence[Token | str], keys: Sequence[Token | str], largest: int = LARGEST_CELLS
) -> Spec:
    """The page's heatmap, for which the page draws labels, hover and frames itself (assets/overlays/matrix.js).

    Args:
        shade: (query, key) uint8, from `shades`. queries, keys: as in `attention_map`.
        largest: tokens up to which Plotly draws the cells.

    Returns:
        Plain data, with the number of queries and of keys under `layout.meta.shape`: a heatmap; above `largest` tokens
        only axes, and under `layout.meta.cells` the shades, which assets/overlays/cells.js turns into pixels: a pixel
        that covers several cells shows the largest.

    Raises:
        RunShapeError: shades and tokens do not match.
    """
    _check_shape(shade, queries, keys)
    spec = _frame(queries, keys)
    meta: dict[str, Any] = {"shape": list(shade.shape)}
    if max(shade.shape) <= largest:
        spec["data"] = [{**_cells(shade), "hoverinfo": "none"}]
    else:
        meta["cells"] = {"shades": packed(shade)}
    spec["layout"]["meta"] = meta
    return spec


def attention_picture(
    shade: np.ndarray,
    queries: Sequence[Token | str],
    keys: Sequence[Token | str],
    selected: Marked = NOTHING,
    pixels: int | None = None,
    positions: Positions = (None, None),
) -> go.Figure:
    """The heatmap of a long text as one image, with labels and frames but without exact values on hover.

    Args:
        shade: (query, key) uint8, from `shades`; above `pixels` (`LARGEST_PICTURE`) tokens a pixel shows the largest of
            the weights that it covers, and the figure says so.
        queries, keys, selected, positions: as in `attention_map`.

    Raises:
        RunShapeError: shades and tokens do not match.
    """
    _check_shape(shade, queries, keys)
    pixels = pixels or LARGEST_PICTURE
    figure = _labelled(_frame(queries, keys), queries, keys, selected, shade > 0, positions)
    image = _picture(pooled(shade, pixels))
    figure.add_layout_image({**image, "sizex": len(keys), "sizey": len(queries)})
    if max(shade.shape) > pixels:
        rows, columns = (held(count, pixels) for count in shade.shape)
        words = f"Each pixel shows the largest of up to {rows} × {columns} weights"
        figure.add_annotation(
            text=words, xref="paper", yref="paper", x=0, y=0, yshift=-4, xanchor="left", yanchor="top", showarrow=False
        )
        figure.update_layout(margin={"b": 26})
    return figure


def weight_legend(figure: go.Figure) -> None:
    """Add the colour legend for `shades`."""
    figure.add_trace(legend_trace())


def legend_trace() -> dict[str, Any]:
    """The colour legend for `shades`, in real weights, as a trace without points."""
    bar = {
        "title": {"text": "weight", "font": {"size": 11}},
        "thickness": 12,
        "len": 180,
        "lenmode": "pixels",
        "y": 1,
        "yanchor": "top",
        "outlinewidth": 0,
        "ticks": "",
        "tickvals": [1 + 254 * weight**0.5 for weight in LEGEND_WEIGHTS],
        "ticktext": ["0", "0.06", "0.25", "0.56", "1"],
    }
    return shade_legend(bar)


def shade_legend(bar: dict[str, Any]) -> dict[str, Any]:
    """A colour bar of the shades 1 … 255, as a trace without points.

    Args:
        bar: Plotly's `colorbar`, with ticks in shades.
    """
    scale = [[i / (len(COLOURS.weights) - 1), colour] for i, colour in enumerate(COLOURS.weights)]
    marker = {"color": [1], "colorscale": scale, "cmin": 1, "cmax": 255, "showscale": True, "colorbar": bar}
    return {"type": "scatter", "x": [None], "y": [None], "mode": "markers", "marker": marker, "hoverinfo": "skip"}


def name_selected(
    figure: go.Figure,
    queries: Sequence[Token | str],
    keys: Sequence[Token | str],
    selected: Marked,
    positions: Positions = (None, None),
) -> None:
    """Label the selected row, and the second token's row and column, in bold, even where other labels are skipped."""
    token, other, row = _three(selected)
    rows = ((row if row != token else None, COLOURS.ink), (token, COLOURS.selected))
    columns = ((other, COLOURS.ink),)
    sides = (
        (figure.layout.yaxis, queries, rows, False, positions[0]),
        (figure.layout.xaxis, keys, columns, len(keys) > POSITIONS_ABOVE, positions[1]),
    )
    for side, tokens, marks, positions_only, given in sides:
        names, places = axis_names(labels_of(tokens), positions=given), range(len(tokens)) if given is None else given
        chosen = [
            (at, f'<b style="color:{colour}">{places[at] if positions_only else escape(names[at])}</b>')
            for at, colour in marks
            if at is not None and at < len(tokens)  # the second token may be a key only
        ]
        name_chosen(side, chosen, 0.7 * label_step(len(tokens)))


def _check_shape(matrix: np.ndarray, queries: Sequence[Token | str], keys: Sequence[Token | str]) -> None:
    if matrix.shape != (len(queries), len(keys)):
        count = (
            f"{len(queries)} tokens" if len(queries) == len(keys) else f"{len(queries)} queries and {len(keys)} keys"
        )
        raise RunShapeError(
            f"The attention weights have shape {matrix.shape}, but there are {count}; pass a (query, key) matrix for "
            "these tokens."
        )


def _cells(shade: np.ndarray) -> dict[str, Any]:
    gap = 1 if max(shade.shape) <= GAPS_UP_TO else 0
    shared = {"type": "heatmap", "showscale": False, "zmin": 0, "zmax": 255, "xgap": gap, "ygap": gap}
    return {**shared, "z": typed(shade), "colorscale": colour_scale()}


def _frame(queries: Sequence[Token | str], keys: Sequence[Token | str]) -> Spec:
    """Empty axes of queries and keys, without labels."""
    rows, columns = len(queries), len(keys)
    zooms = max(rows, columns) > POSITIONS_ABOVE
    shared = {"constrain": "domain", "showticklabels": False, "fixedrange": not zooms}
    x = axis(range=[-0.5, columns - 0.5], side="top", constraintoward="left", **shared)
    y = axis(range=[rows - 0.5, -0.5], scaleanchor="x", constraintoward="top", **shared)
    margin = _margin(labels_of(queries), labels_of(keys), _longest_on_page)
    layout = {"xaxis": x, "yaxis": y, "margin": margin, "dragmode": "zoom" if zooms else False}
    nothing = {"type": "scatter", "x": [None], "y": [None], "hoverinfo": "skip"}
    return {"data": [nothing], "layout": {**base_layout(), **layout}}


def _labelled(
    spec: Spec,
    queries: Sequence[Token | str],
    keys: Sequence[Token | str],
    selected: Marked,
    allowed: np.ndarray | None,
    positions: Positions,
) -> go.Figure:
    """The page's figure plus what the page draws itself: labels, axis names, frames."""
    names, columns = (labels_of(queries), labels_of(keys)), len(keys)
    layout = {name: value for name, value in spec["layout"].items() if name != "meta"}
    x = _ticks(names[1], positions[1], positions_only=columns > POSITIONS_ABOVE)
    x |= {"tickangle": -45 if columns <= 24 else -90}
    x |= {"title": {**AXIS_TITLE, "text": "key", "standoff": 8}, "showticklabels": True}
    y = _ticks(names[0], positions[0]) | {"title": {**AXIS_TITLE, "text": "query"}, "showticklabels": True}
    margin = _margin(*names, _longest)
    layout |= {
        "xaxis": {**layout["xaxis"], **x},
        "yaxis": {**layout["yaxis"], **y},
        "margin": {**margin, "l": margin["l"] + 24, "t": margin["t"] + 24},  # for the axis names
        "shapes": _frames(selected, (len(queries), columns), allowed),
    }
    return go.Figure({"data": spec["data"], "layout": layout})


def _margin(queries: list[str], keys: list[str], longest: Callable[[list[str]], int]) -> dict[str, int]:
    """Room for the labels along both axes."""
    side, above = (round(longest(labels) * CHARACTER_WIDTH) + 14 for labels in (queries, keys))
    top = 42 if len(keys) > POSITIONS_ABOVE else round(above * 0.75) + 8
    note = max(len(queries), len(keys)) > ALL_LABELS_UP_TO  # room for the note on skipped labels
    return {"l": side, "r": 4, "t": top, "b": 18 if note else 4}


def _longest(labels: list[str]) -> int:
    """The number of characters in the longest label along an axis."""
    return max(len(name) - 2 * (name[:1] == ISOLATE) for name in axis_names(labels))


def _longest_on_page(labels: list[str]) -> int:
    """The longest label as the page draws it, which adds the position when there are many."""
    if len(labels) <= POSITIONS_ABOVE:
        return _longest(labels)
    return max(min(len(label), 12) for label in labels) + 1 + len(str(len(labels) - 1))


def _ticks(labels: list[str], positions: Sequence[int] | None, positions_only: bool = False) -> dict[str, Any]:
    """As many labels as fit along an axis."""
    shown = list(range(0, len(labels), label_step(len(labels))))
    written, places = axis_names(labels, positions=positions), range(len(labels)) if positions is None else positions
    names = [str(places[i]) if positions_only else escape(written[i]) for i in shown]
    return {"tickvals": shown, "ticktext": names, "tickfont": {"family": TOKEN_FONT, "size": 11}}


def label_step(count: int, pixels: float = 520, least: float = 13) -> int:
    """The step between labelled tokens that keeps labels at least `least` pixels apart."""
    return next((step for step in LABEL_STEPS if step * pixels / count >= least), LABEL_STEPS[-1])


def _three(selected: Marked) -> tuple[int | None, int | None, int | None]:
    """The selected row, the second token's column, and its row."""
    token, other, *more = selected
    return token, other, more[0] if more else other


def _frames(selected: Marked, shape: tuple[int, ...], allowed: np.ndarray | None) -> list[dict[str, Any]]:
    """Frames for the selected token's row, and the second token's row and column, as far as the mask allows."""
    token, other, row = _three(selected)
    allowed = np.ones(shape, dtype=bool) if allowed is None else allowed
    frames = []
    line = {"color": COLOURS.ink, "width": 1.5, "dash": "dash"}
    if other is not None and other < shape[1]:
        first, last = _span(allowed[:, other])
        frames.append(
            {"type": "rect", "x0": other - 0.5, "x1": other + 0.5, "y0": first - 0.5, "y1": last + 0.5, "line": line}
        )
    if row is not None and row < shape[0]:
        frames.append(_row(row, allowed, line))
    if token is not None:
        frames.append(_row(token, allowed, {"color": COLOURS.selected, "width": 2}))
    return frames


def _row(query: int, allowed: np.ndarray, line: dict[str, Any]) -> dict[str, Any]:
    first, last = _span(allowed[query])
    return {"type": "rect", "x0": first - 0.5, "x1": last + 0.5, "y0": query - 0.5, "y1": query + 0.5, "line": line}


def _span(allowed: np.ndarray) -> tuple[int, int]:
    """The first and the last allowed position."""
    places = np.flatnonzero(allowed)
    return (int(places[0]), int(places[-1])) if len(places) else (0, len(allowed) - 1)


def _picture(shade: np.ndarray) -> dict[str, Any]:
    rows, columns = shade.shape
    return {
        "source": grey_uri(shade),
        "xref": "x",
        "yref": "y",
        "x": -0.5,
        "y": -0.5,
        "sizex": columns,
        "sizey": rows,
        "xanchor": "left",
        "yanchor": "top",
        "sizing": "stretch",
        "layer": "below",
    }


def plot_attention_heatmap(
    attention_weights: Any, tokens: Sequence[Any], key_tokens: Sequence[Any] | None = None
) -> go.Figure:
    """Draw one head's attention as a heatmap, from plain Hugging Face outputs.

    Args:
        attention_weights: (query, key), as `attentions[layer][batch, head]` or `attentions[layer][head]`; a tensor or
            array; leading axes of length 1 are dropped. Weights that are not finite stay empty, and the title says so.
            Above 480 tokens the figure is an image in which each pixel shows the largest of the weights that it covers.
        tokens: one label per query, as `tokenizer.convert_ids_to_tokens` gives them, or `run.tokens`.
        key_tokens: one label per key, if these differ: `cross_attentions` of an encoder–decoder model.

    Raises:
        RunShapeError: not one head's matrix, or the number of tokens does not match its rows and columns.
    """
    weights = as_array(attention_weights)
    while weights.ndim > 2 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim != 2:
        raise RunShapeError(
            f"The attention weights have shape {weights.shape}; pass one head's (query, key) matrix, such as "
            "attentions[layer][0, head]."
        )
    allowed, queries = None, list(tokens)
    keys = queries if key_tokens is None else list(key_tokens)
    above = np.nan_to_num(np.triu(weights, 1), nan=0.0)
    if key_tokens is None and weights.shape[0] > 1 and not above.any() and np.isfinite(weights).any():
        allowed = np.tril(np.ones(weights.shape, dtype=bool))
    if max(weights.shape) <= PLOT_PIXELS:
        figure = attention_map(weights, queries, keys, allowed)
    else:
        _check_shape(weights, queries, keys)
        figure = attention_picture(shades(weights, allowed), queries, keys, pixels=PLOT_PIXELS)
    words = "Attention from rows (queries) to columns (keys); colour shows √weight" + _not_finite_line(weights)
    title = {"text": words, "font": {"size": 13}, "y": 1, "yanchor": "top", "yref": "container", "pad": {"t": 12}}
    top = figure.layout.margin.t + 42  # the title, the axis name, the labels
    figure.update_layout(title=title, width=640, height=668, margin={"t": top}, paper_bgcolor=COLOURS.surface)
    return in_theme(figure, LIGHT)


def plot_attention_aggregate(
    attentions: Any,
    tokens: Sequence[Any],
    of: str = "rollout",
    layer: int | None = None,
    attention_share: float = SHARE,
) -> go.Figure:
    """Draw the attention of several heads as one heatmap, from plain Hugging Face outputs.

    Args:
        attentions: per layer (head, query, key), as `outputs.attentions` gives them; leading axes of length 1 are
            dropped.
        tokens: as in `plot_attention_heatmap`.
        of: "rollout" (Abnar & Zuidema 2020) from layer 0 through `layer`; "mean" or "max" of the heads of `layer`, or
            of all layers if that is None.
        layer: from 0; None is the last layer for a rollout. attention_share: of a rollout, 0 … 1; the rest is the
            residual stream, half in the paper.

    Raises:
        RunShapeError: not one matrix per head and layer, or the number of tokens does not match.
        BadSelectionError: there is no such layer. BadRequestError: there is no such aggregate.
    """
    if of not in ("rollout", "mean", "max"):
        raise BadRequestError(f"There is no aggregate “{str(of)[:40]}”. Choose rollout, mean or max.")
    layers = [_heads(one) for one in attentions]
    if not layers:
        raise RunShapeError("There is no layer's attention. Call the model with output_attentions=True.")
    check("layer", layer, len(layers))
    last = len(layers) - 1 if layer is None else layer
    if of == "rollout":
        weights = rolled_out((heads.mean(axis=0) for heads in layers[: last + 1]), attention_share)
        words = f"Attention rollout, layers 0 to {last}: {attention_share:.0%} attention, the rest the residual stream"
    else:
        heads = np.concatenate(layers if layer is None else [layers[layer]])
        weights = heads.mean(axis=0) if of == "mean" else heads.max(axis=0)
        how, where = "Mean" if of == "mean" else "Largest", "all layers" if layer is None else f"layer {layer}"
        words = f"{how} weight of {len(heads)} heads, {where}"
    figure = plot_attention_heatmap(weights, tokens)
    figure.update_layout(title={"text": words + _not_finite_line(weights)})
    return figure


def _heads(layer: Any) -> np.ndarray:
    """(head, query, key) float64 of one layer."""
    weights = as_array(layer).astype(np.float64)
    while weights.ndim > 3 and weights.shape[0] == 1:
        weights = weights[0]
    if weights.ndim != 3:
        raise RunShapeError(f"A layer's attention has shape {weights.shape}; pass (head, query, key) of one text.")
    return weights


def _not_finite_line(weights: np.ndarray) -> str:
    bad = int((~np.isfinite(weights)).any(axis=1).sum())
    return f"<br><sub>Empty where weights are not finite (NaN, ∞): {bad} of {len(weights)} rows</sub>" if bad else ""


def as_array(values: Any) -> np.ndarray:
    """`values` as a numpy array of floats; tensors are detached and moved to the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)
