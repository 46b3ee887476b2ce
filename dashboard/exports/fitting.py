"""Re-layout of a figure for the width of a printed column: type keeps its size, so less of it fits.

The steps depend on what a figure has (a colour bar, cells, ticks with text, points with labels), so views need not know
about print. Cells keep their aspect ratio and never grow; everything else takes the available width.
"""

from __future__ import annotations

import html
import math
import re
import textwrap
from typing import Any

import plotly.graph_objects as go

from dashboard.exports.point_labels import LINE, NARROW, label_points, plot_size, text_width
from dashboard.figures.attention import LABEL_STEPS
from dashboard.figures.labels import name_chosen
from dashboard.figures.text import BIDI_CONTROLS, escape, isolated
from dashboard.figures.theme import CHARACTER_WIDTH, TOKEN_FONT

LEGEND = 52  # pixels of the colour bar, which goes under the figure on a narrow sheet
CHARACTER = 5.9  # width of a character of TEXT_FONT at 11 pixels
SLANTED_FROM = 19  # pixels of a column from which its label is slanted, not upright
SHORTEST = 3  # characters that must fit in a cell
LEAST_HEIGHT = 170  # of a plot
ASPECT = 0.72  # height of points and lines, relative to the width
SCENE_TICK = 12  # pixels of a number along an axis of three components, which Plotly draws smaller than asked
WIDEST = 100  # pixels of a token along an axis of a narrow sheet: twelve characters and a position
CHOSEN = "<b style"  # start of the label of the selected and of the second token
TICK = re.compile(r"((?:<b[^>]*>)?)(.*?)((?: \d+)?)((?:</b>)?)", re.S)


def fitted(figure: go.Figure, width: int) -> tuple[go.Figure, str]:
    """The figure, `width` pixels wide, and a sentence on what it had to leave out."""
    figure = go.Figure(figure)
    old = plot_size(figure)
    bar = _colour_bar(figure)
    below = bar is not None and (width < NARROW or text_width(bar.title.text or "", CHARACTER) > max(old[1], 200))
    if below:
        _legend_below(figure, bar)
    if width < NARROW:
        _shorten(figure.layout.xaxis)
        _shorten(figure.layout.yaxis)
    _left_margin(figure)
    plot = _resized(figure, old, width)
    _slant(figure, plot)
    for name, pixels in zip(("xaxis", "yaxis"), plot, strict=True):
        _thin(figure.layout[name], pixels)
    if below:
        bar.len = min(180, plot[0])
    left_out = _cell_texts(figure, plot)
    label_points(figure)
    _notes(figure, width)
    return figure, left_out


def _colour_bar(figure: go.Figure) -> Any:
    for trace in figure.data:
        if trace.type == "heatmap" and trace.showscale is not False:
            return trace.colorbar
        if trace.type == "scatter" and trace.marker.showscale:
            return trace.marker.colorbar
    return None


def _legend_below(figure: go.Figure, bar: Any) -> None:
    title = {"text": bar.title.text, "font": {"size": 11}, "side": "top"}
    bar.update(orientation="h", x=0, xanchor="left", y=0, yanchor="top", lenmode="pixels", xpad=0, ypad=10)
    bar.update(title=title, thickness=10)
    margin = figure.layout.margin
    margin.update(r=8, b=(margin.b or 0) + LEGEND)


def _shorten(axis: Any) -> None:
    """Cut tokens that are wider than `WIDEST`, but keep their positions if they have them."""
    if axis.ticktext and axis.tickfont.family == TOKEN_FONT:
        texts = []
        for text in axis.ticktext:
            start, plain, position, end = TICK.fullmatch(text).groups()  # type: ignore[union-attr]
            texts.append(f"{start}{_cut(plain, WIDEST - text_width(position))}{position}{end}")
        axis.ticktext = texts


def _left_margin(figure: go.Figure) -> None:
    """Make room for row labels that are wider than the figure assumed."""
    axis, margin = figure.layout.yaxis, figure.layout.margin
    if axis.ticktext and axis.tickfont.family == TOKEN_FONT:
        longest = max(map(text_width, axis.ticktext))
        margin.l = max(margin.l, math.ceil(longest) + (38 if axis.title.text else 14))


def _is_cells(figure: go.Figure) -> bool:
    return bool(figure.layout.images) or any(trace.type == "heatmap" for trace in figure.data)


def _resized(figure: go.Figure, old: tuple[float, float], width: int) -> tuple[float, float]:
    """Set width, height and right margin; return the plot's own width and height."""
    layout, margin = figure.layout, figure.layout.margin
    room = width - margin.l - margin.r
    across, down = old
    if any(trace.type == "scatter3d" for trace in figure.data):
        across, down = room, max(LEAST_HEIGHT, min(down, ASPECT * room))
        for side in (layout.scene.xaxis, layout.scene.yaxis, layout.scene.zaxis):
            side.update(tickfont={"size": SCENE_TICK}, nticks=5)
    elif _is_cells(figure):
        across, down = _cells(figure, old, room)
        margin.r = width - margin.l - across
    elif any(trace.type == "bar" for trace in figure.data) or layout.yaxis.showticklabels is False:
        across = room  # rows with labels of their own keep their height
    else:
        across, down = room, max(LEAST_HEIGHT, min(down, ASPECT * room))
    layout.update(width=width, height=margin.t + down + margin.b)
    return across, down


def _cells(figure: go.Figure, old: tuple[float, float], room: float) -> tuple[float, float]:
    if not (figure.layout.xaxis.range and figure.layout.yaxis.range):
        return min(room, old[0]), old[1]
    columns, rows = _span(figure.layout.xaxis), _span(figure.layout.yaxis)
    side = min(old[0] / columns, room / columns)
    if figure.layout.yaxis.scaleanchor:  # square, however much room there was
        side = min(side, old[1] / rows)
        return side * columns, side * rows
    if figure.layout.images or any(trace.type == "heatmap" and trace.showscale is not False for trace in figure.data):
        return side * columns, old[1] * side * columns / old[0]  # all heads
    return side * columns, old[1]  # a row carries a layer's name, so it keeps its height


def _span(axis: Any) -> float:
    return abs(float(axis.range[1]) - float(axis.range[0]))


def _slant(figure: go.Figure, plot: tuple[float, float]) -> None:
    """Slant column labels at −45° if columns are wide enough and no label crosses the page's edge; else set them
    upright."""
    axis, layout, margin = figure.layout.xaxis, figure.layout, figure.layout.margin
    if not axis.ticktext or not axis.tickangle or axis.range is None:
        return
    pixel = plot[0] / _span(axis)
    widths = [text_width(text) for text in axis.ticktext]
    over = max(
        0.71 * wide - (float(axis.range[1]) - at) * pixel for at, wide in zip(axis.tickvals, widths, strict=True)
    )
    slanted = pixel >= SLANTED_FROM and over <= margin.r - 4
    axis.tickangle = -45 if slanted else -90
    tall = 0.71 * (max(widths) + 11) if slanted else max(widths)
    top = math.ceil(tall) + 10 + (26 if axis.title.text else 0)
    layout.height += top - margin.t
    margin.t = top


def _thin(axis: Any, pixels: float) -> None:
    """Keep every 2nd, 5th, 10th … label if labels would be too close; bold ones stay and push others out."""
    if axis.tickvals is None or len(axis.tickvals) < 2 or axis.range is None or axis.type in ("log", "category"):
        return
    texts = axis.ticktext or [str(at) for at in axis.tickvals]
    shown = sorted(zip(map(float, axis.tickvals), texts, strict=True))
    pixel = pixels / _span(axis)
    flat = axis.side in (None, "bottom", "top") and not axis.tickangle and axis.plotly_name == "xaxis"
    least = max(text_width(text) for _at, text in shown) + 8 if flat else LINE - 1
    first = 1 if shown[0][1] == "E" else 0  # the embeddings, before layer 0
    gap = shown[1][0] - shown[0][0]
    unit = 1 if gap in LABEL_STEPS or first or CHOSEN in "".join(texts) else gap
    step = unit * next((step for step in LABEL_STEPS if step * unit * pixel >= least), LABEL_STEPS[-1])
    kept = [(at, text) for at, text in shown if _regular(at, step, first) and CHOSEN not in text]
    axis.update(tickvals=[at for at, _text in kept], ticktext=[text for _at, text in kept])
    name_chosen(axis, [(at, str(text)) for at, text in shown if CHOSEN in text], least / pixel)


def _regular(place: float, step: float, first: int) -> bool:
    """Whether a place has a label: every `step`-th from the first on, and always the embeddings before it."""
    return place == 0 or ((place - first) % step == 0 and (place - first >= step or step == 1 or first == 0))


def _cell_texts(figure: go.Figure, plot: tuple[float, float]) -> str:
    """Cut the text in cells to the cells' width; drop it if fewer than `SHORTEST` characters fit."""
    if not any(trace.type == "heatmap" for trace in figure.data) or figure.layout.xaxis.range is None:
        return ""
    step = next(trace.dx or 1 for trace in figure.data if trace.type == "heatmap")
    characters = int((plot[0] / _span(figure.layout.xaxis) * step - 4) / CHARACTER_WIDTH)
    gone = False
    for trace in figure.data:
        if trace.type == "scatter" and trace.mode == "text" and trace.textposition is None:
            gone = gone or characters < SHORTEST
            trace.text = [
                _cut(text, characters * CHARACTER_WIDTH) if characters >= SHORTEST else "" for text in trace.text
            ]
    return "Cells have no room for their tokens at this width." if gone else ""


def _cut(text: str, pixels: float) -> str:
    """`text`, which may be isolated and is escaped, cut to a width."""
    if text_width(text) <= pixels:
        return text
    plain = BIDI_CONTROLS.sub("", html.unescape(text))
    while text_width(plain) > pixels and len(plain) > 2:
        plain = plain.removesuffix("…")[:-1] + "…"
    return escape(isolated(plain))


def _notes(figure: go.Figure, width: int) -> None:
    """Start notes below a plot at the page's edge, and break them into lines if they are too long."""
    margin = figure.layout.margin
    for note in figure.layout.annotations:
        if note.xref != "paper" or note.x != 0 or note.y != 0:
            continue
        lines = textwrap.wrap(note.text, int((width - 24) / CHARACTER))
        note.update(text="<br>".join(lines), xshift=12 - margin.l, align="left")
        more = LINE * (len(lines) - 1)
        below = _colour_bar(figure)
        if below is not None and below.orientation == "h":
            below.ypad = 10 + LINE * len(lines)
            more += LINE
        margin.b += more
        figure.layout.height += more
