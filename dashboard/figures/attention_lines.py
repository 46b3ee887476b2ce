"""Attention as lines: from tokens on the left, which attend, to tokens on the right, which are attended to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.analysis.attention_lines import (
    DIRECTIONS,
    LEAST,
    Direction,
    Lines,
    between,
    strongest_lines,
    tokens_shown,
)
from dashboard.analysis.plain_outputs import of_layers
from dashboard.errors import RunShapeError
from dashboard.figures.spec import Spec
from dashboard.figures.text import escape
from dashboard.figures.theme import CHARACTER_WIDTH, COLOURS, LIGHT, TOKEN_FONT, axis, base_layout, in_theme
from dashboard.figures.tokens import axis_names, labels_of

# of the first head, the second, …: no two have both colour and dash in common (pixels of stroke and gap)
DASHES = (
    "solid",
    "6px,3px",
    "2px,3px",
    "14px,5px",
    "6px,9px",
    "2px,8px",
    "14px,5px,2px,5px",
    "9px,4px,2px,4px",
    "3px,6px",
)
WIDEST = {"to": 13, "from": 13, "all": 6}  # pixels of a line of weight 1
ROW = 17  # pixels between two tokens of a standalone figure
POINTS = 25  # of a curve
Place = tuple[int, int]  # layer, head
Word = tuple[str, int, int]  # label, the number of its characters before the text, and its last token
BETWEEN = 360  # pixels between the columns of a standalone figure


def head_style(index: int) -> tuple[str, str]:
    """Colour and dash of the index-th of several heads."""
    return COLOURS.lines[index % len(COLOURS.lines)], DASHES[index % len(DASHES)]


def line_width(weight: float, direction: str) -> float:
    """Pixels of a line (the same in assets/overlays/lines.js)."""
    return max(1.0, WIDEST[direction] * weight)


def line_opacity(weight: float) -> float:
    """Strength of a line (the same in assets/overlays/lines.js)."""
    return 0.4 + 0.55 * min(1.0, weight)


def page_lines(
    lines: Lines,
    tokens: Sequence[int],
    heads: Sequence[tuple[int, int]],
    on: Sequence[int],
    chosen: Sequence[int],
    direction: str,
    words: Mapping[int, Word] | None = None,
) -> Spec:
    """The page's figure, which the page draws itself from `layout.meta.lines` (assets/overlays/lines.js): as two
    columns, or as arcs where there is no room for them.

    Args:
        tokens: the ones to show. heads: (layer, head) of all in the legend. on: the indices of those that the lines are
            of. chosen: the tokens that the lines come from or go to, the selected one first. words: those of several
            pieces, by the token that each stands at.
    """
    drawn = [
        [on[int(head)], int(query), int(key), float(f"{weight:.6g}")]
        for head, query, key, weight in zip(lines.head, lines.query, lines.key, lines.weight.tolist(), strict=True)
    ]
    meta = {
        "lines": {
            "tokens": list(tokens),
            "readable": [int(lines.readable[token]) for token in tokens],
            "heads": [[layer, head, int(index in on)] for index, (layer, head) in enumerate(heads)],
            "dashes": list(DASHES),
            "drawn": drawn,
            "chosen": list(chosen),
            "direction": direction,
            "words": {str(token): list(word) for token, word in (words or {}).items() if token in set(tokens)},
        }
    }
    nothing = {"type": "scatter", "x": [None], "y": [None], "hoverinfo": "skip"}
    margin = {"l": 0, "r": 0, "t": 18, "b": 4}
    x, y = axis(range=[0, 1], showticklabels=False), axis(range=[max(1, len(tokens)) - 0.5, -0.5], showticklabels=False)
    return {"data": [nothing], "layout": {**base_layout(), "xaxis": x, "yaxis": y, "margin": margin, "meta": meta}}


def lines_figure(
    lines: Lines,
    tokens: Sequence[int],
    names: Sequence[str],
    heads: Sequence[tuple[int, str]],
    chosen: Sequence[int],
    direction: str,
) -> go.Figure:
    """The two columns as a standalone figure, with exact weights on hover.

    Args:
        tokens: the ones to show. names: labels of all tokens. heads: each as the index of its style and its name.
        chosen: the tokens that the lines come from or go to, the selected one first.
    """
    rows = {token: row for row, token in enumerate(tokens)}
    labels = [escape(names[token]) for token in tokens]
    figure = go.Figure(layout=base_layout())
    for index, (style, name) in enumerate(heads):
        colour, dash = head_style(style)
        look = {"color": colour, "dash": dash, "width": 3}
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name=name, line=look, legendgroup=str(index), showlegend=True
        )
    for head, query, key, weight in zip(lines.head, lines.query, lines.key, lines.weight.tolist(), strict=True):
        ends, width = (rows[int(query)], rows[int(key)]), line_width(weight, direction)
        figure.add_trace(_curve(ends, weight, width, heads[int(head)]))
        told = f"{escape(names[query])} attends to {escape(names[key])}<br>{heads[int(head)][1]}: <b>{weight:.6g}</b>"
        figure.data[-1].update(hovertext=told, legendgroup=str(int(head)))
    for x, side in ((0, "middle left"), (1, "middle right")):
        is_far = direction != "all" and (x == 1) == (direction == "to")
        colours = [_label_colour(token, chosen, is_far and not lines.readable[token]) for token in tokens]
        texts = [
            f"<b>{label}</b>" if token in chosen[:1] else label for token, label in zip(tokens, labels, strict=True)
        ]
        figure.add_trace(_column(x, side, texts, colours))
    longest = max((len(names[token]) for token in tokens), default=0)
    room = round(CHARACTER_WIDTH * longest) + 24
    above = 16 + 19 * -(-len(heads) // 2)  # the legend has two heads a row
    legend = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1, "yanchor": "bottom", "itemsizing": "trace"}
    return figure.update_layout(
        xaxis=axis(range=[0, 1], showticklabels=False),
        yaxis=axis(range=[max(1, len(tokens)) - 0.5, -0.5], showticklabels=False),
        margin={"l": room, "r": room, "t": above, "b": 10},
        showlegend=True,
        legend=legend,
        width=2 * room + BETWEEN,
        height=above + 10 + max(8, len(tokens)) * ROW,
    )


def _curve(rows: tuple[int, int], weight: float, width: float, head: tuple[int, str]) -> go.Scatter:
    """One line, level where it begins and where it ends."""
    query, key = rows
    colour, dash = head_style(head[0])
    along = np.linspace(0, 1, POINTS)  # of the way between the columns, which end a little before the labels
    down = query + (key - query) * along**2 * (3 - 2 * along)
    look = {"color": colour, "dash": dash, "width": width}
    hover = {"hovertemplate": "%{hovertext}<extra></extra>", "showlegend": False}
    return go.Scatter(x=0.02 + 0.96 * along, y=down, mode="lines", line=look, opacity=line_opacity(weight), **hover)


def _label_colour(token: int, chosen: Sequence[int], faint: bool) -> str:
    """Of a label: the chosen tokens in the accent; faint those that no line may reach."""
    return COLOURS.selected if token in chosen else COLOURS.hairline if faint else COLOURS.second_ink


def _column(x: float, side: str, texts: Sequence[str], colours: Sequence[str]) -> go.Scatter:
    """The tokens of one column."""
    return go.Scatter(
        x=[x] * len(texts),
        y=list(range(len(texts))),
        mode="text",
        text=texts,
        textposition=side,
        textfont={"family": TOKEN_FONT, "size": 11, "color": colours},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def plot_attention_lines(
    attentions: Any,
    tokens: Sequence[Any],
    heads: Sequence[tuple[int, int]],
    token_idx: int | None = None,
    direction: Direction = "to",
    least: float = LEAST,
) -> go.Figure:
    """Draw the attention of several heads as lines between tokens, from plain Hugging Face outputs.

    Each head has its colour and dash; width and strength of a line follow the weight. The figure says how many lines
    are left out. Vig (2019), “A multiscale visualization of attention in the Transformer model”, calls this the head
    view.

    Args:
        attentions: the model's `attentions`: a sequence of (head, query, key) per layer, with or without a batch axis
            of 1; tensors or arrays; each weight 0 … 1.
        tokens: one label per token, as `tokenizer.convert_ids_to_tokens` gives them, or `run.tokens`.
        heads: (layer, head) of each head to draw; negative layers count from the last.
        token_idx: the token that the lines come from, or go to; negative counts from the last, which is the default.
        direction: "to": what the token attends to; "from": what attends to it; "all": every pair of tokens.
        least: the weight from which a line is drawn. At most 500 lines are drawn, the strongest. Of more than 40
            tokens, only the token, its neighbours and the ends of the strongest lines are shown.

    Raises:
        RunShapeError: this is not the attention of one text, the number of tokens differs, or there is no such head,
            token or direction.
    """
    layers = list(of_layers(attentions))
    places, token = _located(layers, len(tokens), heads, token_idx, direction)
    matrices, count = [layers[layer][head] for layer, head in places], len(tokens)
    causal = count > 1 and all(not np.triu(np.nan_to_num(matrix), 1).any() for matrix in matrices)
    mask = np.tril(np.ones((count, count), dtype=bool)) if causal else np.ones((count, count), dtype=bool)

    def rows(head: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        return matrices[head][first:last], mask[first:last]

    every = strongest_lines(rows, len(places), (count, count), (token,), direction, least)
    shown = tokens_shown(every, range(count), (token,))
    lines = between(every, shown)
    names = axis_names(labels_of(list(tokens)))
    named = [(index, f"layer {layer}, head {head}") for index, (layer, head) in enumerate(places)]
    figure = lines_figure(lines, shown, names, named, (token,) if direction != "all" else (), direction)
    return in_theme(_titled(figure, names[token], direction, least, lines, len(shown), count), LIGHT)


def _located(
    layers: Sequence[np.ndarray], tokens: int, heads: Sequence[Place], token_idx: int | None, direction: str
) -> tuple[list[Place], int]:
    """The heads and the token, counted from 0, if they exist."""
    if direction not in DIRECTIONS:
        raise RunShapeError(f"The direction is {direction!r}; choose one of these: {', '.join(DIRECTIONS)}.")
    shape = layers[0].shape
    if shape[1:] != (tokens, tokens):
        raise RunShapeError(
            f"The attention weights have shape {shape}, but there are {tokens} tokens; pass (head, query, key) weights "
            "of these tokens."
        )
    token = tokens - 1 if token_idx is None else token_idx + tokens * (token_idx < 0)
    places = [(layer + len(layers) * (layer < 0), head) for layer, head in heads]
    known = f"there are layers 0 to {len(layers) - 1} and heads 0 to {shape[0] - 1}"
    if not places:
        raise RunShapeError(f"No head is given; {known}. Give (layer, head) of each head to draw.")
    for layer, head in places:
        if not (0 <= layer < len(layers) and 0 <= head < shape[0]):
            raise RunShapeError(f"There is no head {head} in layer {layer}; {known}. Choose one of these.")
    if not 0 <= token < tokens:
        raise RunShapeError(f"There is no token {token_idx}; there are tokens 0 to {tokens - 1}. Choose one of these.")
    return places, token


def _titled(
    figure: go.Figure, name: str, direction: str, least: float, lines: Lines, shown: int, count: int
) -> go.Figure:
    what = {"to": f"What {name} attends to", "from": f"What attends to {name}", "all": "What each token attends to"}
    said = list(_said(least, lines, shown, count))
    words = escape(what[direction]) + "".join(f"<br><sub>{line}</sub>" for line in said)
    title = {"text": words, "font": {"size": 13}, "y": 1, "yanchor": "top", "yref": "container", "pad": {"t": 12}}
    more = 30 + 18 * len(said)
    return figure.update_layout(
        title=title,
        margin={"t": figure.layout.margin.t + more},
        height=figure.layout.height + more,
        paper_bgcolor=COLOURS.surface,
    )


def why_left_out(lines: Lines, least: float) -> str:
    """Why lines are left out, for a sentence: "weight below 0.02", or how many for which reason."""
    weak = lines.left_out - lines.crowded
    if not lines.crowded:
        return f"weight below {least:g}"
    room = f"{lines.crowded:,} for lack of room"
    return f"{weak:,} of weight below {least:g}, {room}" if weak else room


def _said(least: float, lines: Lines, shown: int, count: int) -> Iterator[str]:
    """What was left out."""
    if lines.left_out:
        whole = lines.possible - lines.lost
        why = why_left_out(lines, least)
        yield f"{lines.left_out:,} of {whole:,} weights left out ({why}): sum {lines.left_weight:,.3f}"
    if shown < count:
        yield f"{shown} of {count:,} tokens shown"
    if lines.lost:
        yield f"{lines.lost:,} weights are not finite"
