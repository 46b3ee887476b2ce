"""What a classification head says: bars of all labels with exact numbers, or over the tokens where an answer starts and
ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.plain_outputs import as_array
from dashboard.contracts.classes import ENDS, ClassesOf, ClassHead, probabilities, ranked, scale_of
from dashboard.errors import BadRequestError, RunShapeError
from dashboard.figures.attention import POSITIONS_ABOVE, label_step
from dashboard.figures.bar_texts import written
from dashboard.figures.spec import Spec
from dashboard.figures.text import elide, escape, isolated, minus, on_one_line, probability_text
from dashboard.figures.theme import (
    CHARACTER_WIDTH,
    COLOURS,
    LIGHT,
    TOKEN_FONT,
    axis,
    base_layout,
    empty_figure,
    in_theme,
)
from dashboard.figures.tokens import axis_names, distinct

LONGEST = 20  # characters of a label beside its bar
LEAST_ROWS = 6  # rows for which there is room: two bars do not fill the figure
WIDTH = 460  # approximate width of the tokens' axis, in pixels
COLUMNS = (62, 126)  # pixels from the plot to the right edges of the columns of numbers


@dataclass(frozen=True)
class ClassRow:
    """One label: its `name`; `value`, a probability (0 … 1) or the value itself; `other`, the second token's; `best`:
    whether it is the most likely one.
    """

    name: str
    value: float
    other: float | None = None
    best: bool = False


def class_names(labels: Sequence[str], longest: int | None = None) -> list[str]:
    """The model's labels on one line each, cut to `longest` characters; equal ones add their number."""
    return distinct([on_one_line(label) or "∅" for label in labels], range(len(labels)), longest)


def value_text(value: float, shares: bool) -> str:
    """ "92.7 %", or a value with four decimals."""
    return probability_text(value) if shares else minus(f"{value:.4f}")


def class_bars(rows: Sequence[ClassRow], shares: bool, heads: tuple[str, str] = ("", "")) -> Spec:
    """Horizontal bars, the first row on top, as plain data; the page writes names and numbers (figures/bar_texts.py).

    Args:
        shares: whether the values are probabilities. heads: of the columns, if the rows have two values.
    """
    pair = bool(rows) and rows[0].other is not None
    values = [[row.value for row in rows], [row.other or 0.0 for row in rows]][: 1 + pair]
    styles = (
        {"color": [COLOURS.ink if row.best else COLOURS.mark for row in rows], "line": {"width": 0}},
        {"color": "rgba(0,0,0,0)", "line": {"width": 1.25, "color": COLOURS.ink}},
    )
    bars = []
    for place, (column, head, style) in enumerate(zip(values, heads, styles, strict=False)):
        look = {"width": 0.36, "offset": -0.38 if place == 0 else 0.04} if pair else {"width": 0.62}
        told = [_told(row.name, value, shares, head) for row, value in zip(rows, column, strict=True)]
        bars.append(
            {
                "type": "bar",
                "x": [100 * value if shares else value for value in column],
                "y": list(range(len(rows))),
                "orientation": "h",
                "marker": style,
                "customdata": told,
                "hoverinfo": "none",
                **look,
            }
        )
    return {"data": bars, "layout": _bars_layout(rows, values, shares, heads)}


def _told(name: str, value: float, shares: bool, head: str) -> dict[str, Any]:
    """What a bar says on hover, and its exact value."""
    exact = f"probability {value:.6g}" if shares else minus(f"value {value:.6g}")
    return {"lines": [isolated(name), f"{head}: {exact}" if head else exact], "value": value}


def _bars_layout(
    rows: Sequence[ClassRow], values: Sequence[Sequence[float]], shares: bool, heads: Sequence[str]
) -> dict[str, Any]:
    names = [elide(row.name, LONGEST) for row in rows]
    pair = len(values) > 1
    told = {
        "names": [[name, 0, row.best] for name, row in zip(names, rows, strict=True)],
        "columns": [
            {
                "right": COLUMNS[place],
                "head": head,
                "texts": [[value_text(v, shares), r.best and place == 0] for v, r in pairs],
            }
            for place, (head, pairs) in enumerate(
                (h, zip(c, rows, strict=True)) for c, h in zip(values, heads, strict=False)
            )
        ],
    }
    x = axis(range=[0, 100], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25", "50", "75", "100 %"], showgrid=True)
    if not shares:
        low, high = (float(end(column)) for end, column in ((np.min, values), (np.max, values)))
        x = axis(range=[min(0.0, 1.05 * low), max(0.0, 1.05 * high) or 1.0], nticks=5, showgrid=True, zeroline=True)
        x["zerolinecolor"] = COLOURS.mark
    left = round(max(map(len, names), default=1) * CHARACTER_WIDTH) + 16
    margin = {"l": left, "r": COLUMNS[len(values) - 1] + 4, "t": 16 if pair else 2, "b": 22}
    y = axis(range=[max(LEAST_ROWS, len(rows)) - 0.5, -0.5], showticklabels=False)
    return {**base_layout(), "xaxis": x, "yaxis": y, "margin": margin, "barmode": "overlay", "meta": {"bars": told}}


def framed_classes(spec: Spec, shares: bool) -> go.Figure:
    """The bars of `class_bars` as a standalone figure, with exact values on hover."""
    found = written(spec)
    bars = []
    for trace in found["data"]:
        texts = ["<br>".join(map(escape, data["lines"])) for data in trace["customdata"]]
        hover = {"hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>", "hoverinfo": None}
        bars.append({**trace, **hover, "customdata": [data["value"] for data in trace["customdata"]]})
    figure = go.Figure({**found, "data": bars})
    margin, rows = figure.layout.margin, len(spec["data"][0]["y"])
    title = "probability" if shares else "value"
    figure.update_layout(xaxis={"title": {"text": title, "standoff": 4, "font": {"size": 11}}})
    figure.update_layout(margin={"t": max(6, margin.t), "b": 42})
    return figure.update_layout(width=margin.l + 420 + margin.r, height=48 + 24 * max(LEAST_ROWS, rows) + margin.t)


def answer_bars(shares: np.ndarray, labels: Sequence[str], span: tuple[int, int] | None) -> Spec:
    """Start (filled) and end (outlined) probability of every token; `layout.meta.axes` says that x is the token.

    Args:
        shares: (token, 2), 0 … 1. labels: one per token. span: first and last token of the most likely answer, shaded.
    """
    places = list(range(len(shares)))
    bar = {"type": "bar", "x": places, "width": 0.4, "hovertemplate": "%{hovertext}<extra></extra>"}
    looks = (
        {"marker": {"color": COLOURS.mark, "line": {"width": 0}}, "offset": -0.42},
        {"marker": {"color": "rgba(0,0,0,0)", "line": {"width": 1.25, "color": COLOURS.ink}}, "offset": 0.02},
    )
    data = []
    for column, (name, look) in enumerate(zip(ENDS, looks, strict=True)):
        values = np.asarray(shares[:, column], dtype=np.float64)
        texts = [
            f"{escape(isolated(label))} ({place})<br>{name}s the answer: <b>{value:.6g}</b>"
            for place, (label, value) in enumerate(zip(labels, values.tolist(), strict=True))
        ]
        data.append({**bar, **look, "y": (100 * values).tolist(), "name": name, "hovertext": texts})
    top = next((most for most in (5, 10, 25, 50) if 100 * float(np.max(shares)) <= most), 100)
    ticks = [0, top / 2, top]
    y = axis(range=[0, 1.04 * top], tickvals=ticks, ticktext=["0", f"{ticks[1]:g}", f"{top} %"], showgrid=True)
    x, bottom = _token_axis(labels)
    layout = {**base_layout(), "xaxis": x, "yaxis": y, "margin": {"l": 44, "r": 8, "t": 6, "b": bottom}}
    layout |= {"barmode": "overlay", "meta": {"axes": {"x": "token"}, "first_layer": 0}}
    if span is not None:
        shade = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0}}
        layout["shapes"] = [{**shade, "x0": span[0] - 0.5, "x1": span[1] + 0.5, "fillcolor": COLOURS.hairline}]
    return {"data": data, "layout": layout}


def _token_axis(labels: Sequence[str]) -> tuple[dict[str, Any], int]:
    """An axis of tokens, and the pixels below it that its labels need: their positions if there are many."""
    count, numbers = len(labels), len(labels) > POSITIONS_ABOVE
    names = [str(i) for i in range(count)] if numbers else [escape(name) for name in axis_names(labels, 10)]
    shown = list(range(0, count, label_step(count, WIDTH, 30 if numbers else 13)))
    x = axis(range=[-0.5, count - 0.5], tickvals=shown, ticktext=[names[i] for i in shown])
    x |= {"tickfont": {"family": TOKEN_FONT, "size": 11}, "tickangle": 0 if numbers else -90}
    longest = max(min(len(label), 12) for label in labels)
    return x, 24 if numbers else round(longest * CHARACTER_WIDTH) + 14


def framed_answer(spec: Spec, token: int | None, second: int | None) -> go.Figure:
    """The bars of `answer_bars` as a standalone figure: with the selected tokens, a legend and a size."""
    figure = go.Figure(spec)
    for place, colour, dash in ((second, COLOURS.ink, "dash"), (token, COLOURS.selected, "solid")):
        if place is not None:
            line = {"color": colour, "width": 1.5, "dash": dash}
            figure.add_shape(type="rect", yref="paper", x0=place - 0.5, x1=place + 0.5, y0=0, y1=1, line=line)
    figure.update_layout(yaxis={"title": {"text": "probability", "font": {"size": 11}}}, margin={"l": 60, "t": 28})
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 11}}
    return figure.update_layout(width=720, height=360, meta=None, showlegend=True, legend=legend)


def plot_classes(logits: Any, config: Any, position: int | None = None) -> go.Figure:
    """Draw all classes with their probabilities, from plain Hugging Face outputs.

    Args:
        logits: (label,) of a text, or (token, label), with or without a batch axis of 1; a tensor or array.
        config: the model's (`model.config`), which names the labels (`id2label`) and says how they are meant
            (`problem_type`); or the labels alone, as a mapping from their number or a list.
        position: the token, if the model classifies tokens.

    Raises:
        RunShapeError: not the logits of one text, no such position, or another number of labels.
        BadRequestError: a position is missing, or the labels are none.
    """
    labels, problem = _labels_of(config)
    values = as_array(logits)
    if values.ndim > 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim not in (1, 2) or values.shape[-1] != len(labels):
        raise RunShapeError(f"Logits are {values.shape} for {len(labels)} labels; give those of one text.")
    row, where = values, ""
    if values.ndim == 2:
        if position is None:
            raise BadRequestError("These are logits of each token. Name one: position=3.")
        if not -len(values) <= position < len(values):
            raise RunShapeError(f"There is no token {position} in these logits. Choose one of 0 to {len(values) - 1}.")
        row, where = values[position], f" at token {position % len(values)}"
    of: ClassesOf = "text" if values.ndim == 1 else "tokens"
    return _plotted(row, ClassHead("text", scale_of(of, problem, len(labels)), labels), where)


def _plotted(row: np.ndarray, head: ClassHead, where: str) -> go.Figure:
    shares = probabilities(row, head)
    if not np.isfinite(row if shares is None else shares).all():
        words = "The logits here are not finite (NaN or ∞), so there are no probabilities."
        nothing = empty_figure(words).update_layout(width=560, height=160, paper_bgcolor=COLOURS.surface)
        return in_theme(nothing, LIGHT)
    names = class_names(head.labels)
    rows = [
        ClassRow(names[score.index], score.logit if score.probability is None else score.probability, None, place == 0)
        for place, score in enumerate(ranked(row, head))
    ]
    figure = framed_classes(class_bars(rows, shares is not None), shares is not None)
    what = "values" if shares is None else "classes"
    figure.update_layout(title={"text": f"{len(rows):,} {what}{where}", "font": {"size": 13}}, margin={"t": 40})
    figure.update_layout(height=figure.layout.height + 34, paper_bgcolor=COLOURS.surface)
    return in_theme(figure, LIGHT)


def _labels_of(config: Any) -> tuple[tuple[str, ...], str | None]:
    """The labels in order, and the kind of problem, of a configuration, a mapping or a list."""
    found = getattr(config, "id2label", config)
    if isinstance(found, Mapping):
        found = [found[key] for key in sorted(found, key=int)]
    if isinstance(found, str) or not isinstance(found, Sequence) or not found:
        raise BadRequestError(f"The second argument is a {type(config).__name__}; give model.config, or the labels.")
    return tuple(str(label) for label in found), getattr(config, "problem_type", None)
