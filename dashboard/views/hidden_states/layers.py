"""Layers: the norm of the selected and the second token after each layer, and their similarity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.projection import states_at
from dashboard.components.glossary import term
from dashboard.contracts.context import Context
from dashboard.contracts.streams import Stream
from dashboard.contracts.table import Cell, Column, Table
from dashboard.figures.layer_lines import Line, Thin, ValueAxis, decades, framed_lines, layer_lines
from dashboard.figures.spec import Spec
from dashboard.figures.text import at_place, minus, ordinal, place_name, place_sign
from dashboard.figures.theme import COLOURS
from dashboard.figures.tokens import run_labels
from dashboard.views.controls import Choice
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import counted, named
from dashboard.views.not_finite import not_finite_message
from dashboard.views.token_spans import token_at

MOST_THIN = 40  # other tokens drawn at most
VALUES = {  # per choice: what the vertical axis is, and whether it needs two tokens
    "norm": ("Norm of each state", False),
    "turn": ("Cosine with the layer before", False),
    "cosine": ("Cosine of the two tokens", True),
    "distance": ("Distance between the two tokens", True),
}
CONTROLS = (Choice("value", "Show", tuple((name, title) for name, (title, _pair) in VALUES.items())),)


@dataclass(frozen=True)
class Curves:
    """The curves of some tokens, per place (0: the embeddings, i + 1: after layer i), float64: `norm` (place, token),
    and `turn`, the cosine with the state one place before; NaN at the first place, and where a state is all zero or not
    finite."""

    norm: np.ndarray
    turn: np.ndarray


def curves(states: Iterable[np.ndarray]) -> Curves:
    """The curves of (token, hidden) states per place; only two places are in memory at a time."""
    norms, turns = [], []
    before: np.ndarray | None = None
    for layer in states:
        now = np.where(np.isfinite(layer).all(axis=1, keepdims=True), layer, np.nan).astype(np.float64)
        norms.append(np.linalg.norm(now, axis=1))
        turns.append(np.full(len(now), np.nan) if before is None else _cosines(before, now))
        before = now
    return Curves(np.stack(norms), np.stack(turns))


def pair(states: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(place,) cosine and Euclidean distance of two tokens, from their (2, hidden) states at each place."""
    found = [np.where(np.isfinite(layer), layer, np.nan).astype(np.float64) for layer in states]
    cosines = [_cosines(layer[:1], layer[1:])[0] for layer in found]
    return np.array(cosines), np.array([np.linalg.norm(layer[0] - layer[1]) for layer in found])


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip((one * other).sum(axis=1) / np.where(lengths == 0, np.nan, lengths), -1, 1)


def _states(stream: Stream, tokens: Sequence[int]) -> list[np.ndarray]:
    """(token, hidden) of these tokens at each place."""
    return [states_at(stream, layer)[list(tokens)] for layer in range(-1, stream.layers)]


def _step(stream: Stream) -> int:
    """The step between thin lines, in tokens."""
    return max(1, math.ceil(len(stream) / MOST_THIN))


def _others(stream: Stream) -> tuple[list[int], Curves]:
    """The tokens drawn as thin lines, and their curves; the stream caches them."""
    tokens = list(range(0, len(stream), _step(stream)))
    return tokens, stream.remember("layer curves", lambda: curves(_states(stream, tokens)))


def _chosen(context: Context) -> list[int]:
    """The selected token, and the second if there is one."""
    token, second = context.selection.token, context.selection.second
    return [token] if second in (None, token) else [token, second]


def _shown(context: Context) -> list[np.ndarray] | None:
    """The (place,) values of each line; None if they need a second token and there is none."""
    stream, value, chosen = context.stream, context.options["value"], _chosen(context)
    if not VALUES[value][1]:
        found = curves(_states(stream, chosen))
        return list((found.norm if value == "norm" else found.turn).T)
    if len(chosen) < 2:
        return None
    return [pair(_states(stream, chosen))[0 if value == "cosine" else 1]]


def draw(context: Context) -> Spec | None:
    stream, value, chosen = context.stream, context.options["value"], _chosen(context)
    shown = _shown(context)
    if shown is None or not np.isfinite(shown).any():
        return None
    labels = run_labels(stream)
    looks = ((COLOURS.selected, "solid", 2.5), (COLOURS.ink, "dash", 1.8))
    lines, thin = [], list[Thin]()
    for token, values, (colour, dash, width) in zip(chosen, shown, looks, strict=False):
        name = labels[token] if not VALUES[value][1] else ""
        lines.append(Line(name, values, [_number(v, value) for v in values], colour, dash, width, token))  # type: ignore[arg-type]
    if not VALUES[value][1]:
        tokens, found = _others(stream)
        rows = (found.norm if value == "norm" else found.turn).T
        thin = [Thin(token, row) for token, row in zip(tokens, rows, strict=True) if token not in chosen]
    spec = layer_lines(lines[::-1], _axis(value, [*shown, *(line.values for line in thin)]), thin)
    spec["layout"]["uirevision"] = f"{context.run.key}-{value}"
    return spec


def _axis(value: str, drawn: Sequence[np.ndarray]) -> ValueAxis:
    """A vertical axis that covers everything drawn."""
    finite = np.concatenate(drawn)
    finite = finite[np.isfinite(finite)]
    if value == "norm":
        positive = finite[finite > 0]
        low, high = (float(positive.min()), float(positive.max())) if positive.size else (0.1, 1.0)
        at, texts = decades(low, high)
        return ValueAxis(min(low, at[0]), high, log=True, at=at, texts=texts)
    if value == "distance":
        return ValueAxis(0, float(finite.max()) or 1.0)
    return ValueAxis(min(0.0, float(finite.min())), 1)


def export(context: Context) -> go.Figure | None:
    spec = draw(context)
    return None if spec is None else framed_lines(spec, context.selection.layer)


def _number(value: float, kind: str) -> str:
    """ "476.3", "0.846"; "not defined" for a state that is all zero or not finite."""
    if math.isnan(value):
        return "not defined"
    if kind not in ("norm", "distance"):
        return minus(f"{value:.3f}")
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def text(context: Context) -> Words:
    stream, value, shown = context.stream, context.options["value"], _shown(context)
    if shown is None:
        why = [html.B("Select a second token to compare."), html.P("Shift-click a token in the strip above.")]
        return Words("Layers", message=why)
    if not np.isfinite(shown).any():
        return Words("Layers", message=_undefined(context))
    return Words(_title(context, shown[0]), _caption(stream, value, len(_chosen(context)) > 1), _footer(context))


def _undefined(context: Context) -> list[Any]:
    """Why there is no number at all: values are not finite, or states are all zero and so have no direction."""
    if all(np.isfinite(layer).all() for layer in _states(context.stream, _chosen(context))):
        why = "Select another token, or choose the norm in Options: it is 0."
        return [html.B("The hidden states of this token are all zero: they have no direction."), html.P(why)]
    return not_finite_message(context.run, "The hidden states of this token are not finite.")


def _norm_title(names: list[Any], values: np.ndarray) -> list[Any]:
    known = np.flatnonzero(np.isfinite(values))
    first, last = (_number(float(values[known[at]]), "norm") for at in (0, -1))
    where = "" if known[-1] == len(values) - 1 else f" {at_place(int(known[-1]))}, and is not finite from there on"
    return ["Through the layers: the norm of ", *names, f" goes from {first} to {last}{where}"]


def _title(context: Context, values: np.ndarray) -> list[Any]:
    """A sentence on the selected token's line, with its own numbers."""
    stream, value = context.stream, context.options["value"]
    names: list[Any] = [token_at(stream, context.selection.token), f"\u00a0({context.selection.token})"]
    if not np.isfinite(values).any():  # only the second token has numbers
        return ["Through the layers: this measure is not defined for ", *names]
    if value == "norm":
        return _norm_title(names, values)
    least, most = int(np.nanargmin(values)), int(np.nanargmax(values))
    if value == "turn":
        return [
            f"Layer {least - 1} turns ",
            *names,
            f" most: cosine {_number(float(values[least]), value)} with the layer before",
        ]
    second = context.selection.second
    names += [] if second is None else [" and ", token_at(stream, second), f"\u00a0({second})"]
    at, what = (most, "most alike") if value == "cosine" else (least, "closest")
    return [*names, f" are {what} {at_place(at)}: {value} {_number(float(values[at]), value)}"]


def _caption(stream: Stream, value: str, second: bool) -> str:
    heads = {
        "norm": "Norm of the hidden state (log scale), E: the embeddings.",
        "turn": "Cosine of each hidden state with the state before that layer: 1 is the same direction.",
        "cosine": "Cosine of the two tokens' hidden states, in all dimensions: 1 is the same direction.",
        "distance": "Euclidean distance between the two tokens' hidden states, in all dimensions.",
    }
    words = heads[value]
    if not VALUES[value][1]:
        words += " Dashed: the second token." if second else ""
        if len(stream) > 1:
            step = _step(stream)
            words += " Thin: the other tokens." if step == 1 else f" Thin: every {ordinal(step)} token."
    if stream.final_norm:
        side = "before" if stream.has("residual_final") else "past"
        words += f" Layer {stream.layers - 1}: {side} the final norm."
    return words


def _footer(context: Context) -> list[Any]:
    """Exact numbers at the selected layer."""
    stream, layer, chosen = context.stream, context.selection.layer, _chosen(context)
    states = _states(stream, chosen)
    found, place = curves(states), layer + 1
    lead: list[Any] = [token_at(stream, chosen[0], class_name="tok selected"), f" {chosen[0]}, after layer {layer}"]
    parts: list[Any] = [html.Span(lead, className="lead-in"), _told("norm", float(found.norm[place, 0]), "norm")]
    parts.append(_told("cosine with the layer before", float(found.turn[place, 0]), "turn"))
    if len(chosen) > 1:
        cosines, distances = pair(states)
        second: list[Any] = ["with\u00a0", token_at(stream, chosen[1], class_name="tok second"), f" {chosen[1]}"]
        parts += [html.Span(className="line-end"), html.Span(second, className="lead-in")]
        parts += [
            _told("cosine", float(cosines[place]), "cosine"),
            _told("distance", float(distances[place]), "distance"),
        ]
        parts.append(_told("its norm", float(found.norm[place, 1]), "norm"))
    return parts


def _told(name: str, value: float, kind: str) -> html.Span:
    return html.Span([name, html.B(_number(value, kind), title=f"{value:.9g}")], className="number")


def explain(context: Context) -> Explanation:
    stream, value, shown, chosen = context.stream, context.options["value"], _shown(context), _chosen(context)
    each: Sentence = ["the only ", term("layer")]
    if stream.layers > 1:
        each = ["each of the ", *counted(stream.layers, "layer")]
    layers: Sentence = ["the ", term("embeddings"), " (E) and after ", *each]
    if shown is None:
        first: Sentence = ["This choice compares the hidden states of two tokens at ", *layers, "."]
        return first, _in_words(value, None, context.selection.layer), _no_second(stream)
    who = named(stream, chosen[0])
    if VALUES[value][1]:
        first = ["The line compares ", *who, " with ", *named(stream, chosen[1]), " at ", *layers, "."]
    else:
        first = ["The thick line follows ", *who, " at ", *layers, "."]
    return first, _in_words(value, shown[0], context.selection.layer), _extreme(value, shown[0])


def _in_words(value: str, numbers: np.ndarray | None, layer: int) -> Sentence:
    """What is shown, with its number at the selected layer, if there is one yet."""
    here = "" if numbers is None else f"{_number(float(numbers[layer + 1]), value)} after layer {layer}"
    if value == "norm":
        return ["The ", term("norm"), " is the length of its ", term("hidden state"), f": {here}."]
    if value == "distance":
        return [
            "The ",
            term("distance"),
            f" says how far apart they are{here and ': '}{here}; 0 would mean that they are equal.",
        ]
    if value == "turn":
        at = "" if numbers is None else f": {_number(float(numbers[layer + 1]), value)} for layer {layer}"
        compares = " compares its states before and after a layer (1 means the same direction)"
        return ["The ", term("cosine"), f"{compares}{at}."]
    what = "compares their directions"
    return ["The ", term("cosine"), f" {what}{here and ': '}{here}, where 1 means the same direction."]


def _extreme(value: str, numbers: np.ndarray) -> Sentence:
    """Where the number is largest or smallest."""
    if not np.isfinite(numbers).any():
        return ["It is not defined at any layer, because the states are zero or not finite."]
    largest = value in ("norm", "cosine")
    at = int(np.nanargmax(numbers) if largest else np.nanargmin(numbers))
    if value == "turn":
        return [f"Layer {at - 1} turns it most: {_number(float(numbers[at]), value)}."]
    what = {"norm": "longest", "cosine": "most alike", "distance": "closest"}[value]
    who = "They are" if VALUES[value][1] else "It is"
    return [f"{who} {what} {at_place(at)}: {_number(float(numbers[at]), value)}."]


def _no_second(stream: Stream) -> Sentence:
    if len(stream) == 1:
        return ["This text has a single token, so there is nothing to compare it with."]
    return [f"Shift-click one of the {len(stream):,} tokens to make it the second one."]


def table(context: Context) -> Table:
    """One row per place: for the selected and the second token; in a file, for every token."""
    stream, chosen, whole = context.stream, _chosen(context), context.whole
    tokens = list(range(len(stream))) if whole else chosen
    states = (states_at(stream, layer) for layer in range(-1, stream.layers)) if whole else _states(stream, tokens)
    both = pair(_states(stream, chosen)) if len(chosen) > 1 else None
    columns = [Column("Place" if whole else "After layer"), Column("Position"), Column("Token"), Column("Norm")]
    columns += [Column("Cosine with the layer before")]
    columns += [Column("Cosine of the two"), Column("Distance of the two")] if both is not None else []
    rows = _rows(stream, tokens, curves(states), both, chosen[0], whole)
    here = (
        ()
        if whole
        else tuple(range((context.selection.layer + 1) * len(tokens), (context.selection.layer + 2) * len(tokens)))
    )
    title = "Through all layers: norm, and cosine with the layer before." + ("" if whole else " E: the embeddings.")
    return Table(
        title, (*columns, *([Column("Label")] if whole else [])), rows, len(tokens) * (stream.layers + 1), here
    )


def _rows(
    stream: Stream,
    tokens: Sequence[int],
    found: Curves,
    both: tuple[np.ndarray, np.ndarray] | None,
    selected: int,
    whole: bool,
) -> Iterator[tuple[Cell, ...]]:
    labels = run_labels(stream)
    for place in range(len(found.norm)):
        name = place_name(place) if whole else place_sign(place)
        for column, token in enumerate(tokens):
            values = [float(found.norm[place, column]), float(found.turn[place, column])]
            if both is not None:
                values += [float(one[place]) if token == selected else math.nan for one in both]
            cells: list[Cell] = [None if math.isnan(value) else value for value in values]
            text = stream.tokens[token].text if whole else labels[token]
            yield (name, token, text, *cells, *((labels[token],) if whole else ()))


VIEW = View(
    name="layers",
    title="Layers",
    card="hidden",
    tab="Layers",
    order=30,
    invitation=(
        "Run a text to see how each token's state grows and turns through the layers.",
        "You get its norm after every layer, and how alike two tokens are.",
    ),
    selects="axes",
    figure_reads=("run", "stream", "token", "second"),
    draw=draw,
    text=text,
    explain=explain,
    controls=CONTROLS,
    table=table,
    export=export,
)
