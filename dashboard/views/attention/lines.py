"""Lines: from the selected tokens to what they attend to, or the other way, in several heads at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from dash import html

from dashboard.analysis.attention_lines import (
    LEAST,
    Lines,
    between,
    strongest_lines,
    tokens_shown,
)
from dashboard.analysis.attention_reading import AttentionReading, Group, read_attention, standing, token_rows
from dashboard.components import ids
from dashboard.components.glossary import term
from dashboard.components.markup import attributes
from dashboard.contracts.context import Context
from dashboard.contracts.table import Cell, Column, Table
from dashboard.contracts.token import Token
from dashboard.figures.attention_lines import lines_figure, page_lines, why_left_out
from dashboard.figures.spec import Spec
from dashboard.figures.tokens import axis_names, label_of, lead_of, run_labels
from dashboard.views.controls import Choice, Number, Text
from dashboard.views.declaration import Explanation, Sentence, View, Words
from dashboard.views.explanation import named
from dashboard.views.head_order import ORDER
from dashboard.views.not_finite import not_finite_message
from dashboard.views.reading import AIDS, aids_of, in_force
from dashboard.views.token_spans import token_at, token_span

TO, FROM, ALL = "to", "from", "all"
WAY = Choice(
    "way",
    "Lines show",
    (
        (TO, "What the selected token attends to"),
        (FROM, "What attends to the selected token"),
        (ALL, "What each token attends to"),
    ),
)
WEAKEST = Number("least", "Weakest line drawn (weight)", 0, 1, LEAST, 0.005)
OFF = Text(
    "off", "Heads not drawn", longest=120, help="As layer.head, for example 10.8, 3.1; or click them in the legend."
)
NAMED = {1: 3, 2: 2}  # weights of each head in the footer, by the number of heads; of more heads only the largest
SHOWN = "the selected tokens, their neighbours, and the ends of the strongest lines"

Place = tuple[int, int]


def _on(context: Context) -> list[int]:
    """The indices of the chosen heads that are drawn."""
    off = {(int(layer), int(head)) for layer, head in re.findall(r"(\d{1,6})\.(\d{1,6})", context.options["off"])}
    return [index for index, place in enumerate(context.selection.all_heads) if place not in off]


def _chosen(context: Context) -> tuple[int, ...]:
    """The tokens that the lines come from or go to; a word stands at its first token."""
    chosen = context.selection.all_tokens if context.options["way"] != ALL else (context.selection.token,)
    at = standing(context.stream, aids_of(context.attention, context.options))
    return tuple(dict.fromkeys(at[list(chosen)].tolist()))


def _found(context: Context) -> tuple[Lines, tuple[int, ...]]:
    """The lines to draw, and the tokens to show."""
    attention, options = context.attention, context.options
    places = tuple(context.selection.all_heads[index] for index in _on(context))
    chosen, direction, least = _chosen(context), options["way"], options["least"]
    readings = [_reading(context, place) for place in places]

    def rows(index: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        return token_rows(readings[index], first, last)

    def look() -> tuple[Lines, tuple[int, ...]]:
        lines = strongest_lines(rows, len(places), attention.shape, chosen, direction, least)
        shown = tokens_shown(lines, _units(context), chosen)
        return between(lines, shown), shown

    aids = aids_of(attention, options)
    found: tuple[Lines, tuple[int, ...]] = attention.remember(("lines", places, chosen, direction, least, aids), look)
    return found


def _reading(context: Context, place: Place) -> AttentionReading:
    """One head's weights, without what the reading aids leave out."""
    attention = context.attention
    return read_attention(attention, *place, aids=aids_of(attention, context.options))


def _units(context: Context) -> list[int]:
    """The tokens that lines may join, in order: all, or one for each word."""
    aids = aids_of(context.attention, context.options)
    return list(dict.fromkeys(standing(context.stream, aids).tolist()))


def _words(context: Context) -> dict[int, tuple[Token, Group]]:
    """The merged words of several pieces, by the token that each stands at: the word as one token, and its pieces."""
    reading = _reading(context, (0, 0))

    def look() -> dict[int, tuple[Token, Group]]:
        at, found = standing(context.stream, reading.aids), dict[int, tuple[Token, Group]]()
        for groups, names in ((reading.rows, reading.queries), (reading.columns, reading.keys)):
            found |= {int(at[group[0]]): (name, group) for group, name in zip(groups, names, strict=True) if group[1:]}
        return found

    return context.attention.remember(("words of lines", reading.aids), look) if reading.aids.words else {}


def _name(context: Context, token: int) -> html.Span:
    """A token, or the word that stands there, as in the token strip."""
    word = _words(context).get(token)
    return token_at(context.stream, token) if word is None else token_span(word[0].text, label_of(word[0]))


def _position(context: Context, token: int) -> str:
    """ "15", or "15–17" of a word."""
    word = _words(context).get(token)
    return str(token) if word is None else f"{word[1][0]}–{word[1][-1]}"


def _labels(context: Context) -> list[str]:
    """The label of each token, or of the word that stands there."""
    labels = list(run_labels(context.stream))
    for token, (word, _group) in _words(context).items():
        labels[token] = label_of(word)
    return labels


def _lost(context: Context, lines: Lines) -> bool:
    """Whether there are weights, and none is finite."""
    return lines.possible > 0 and lines.lost == lines.possible


def draw(context: Context) -> Spec | None:
    lines, shown = _found(context)
    if _lost(context, lines):
        return None
    words = {token: (label_of(word), lead_of(word), group[-1]) for token, (word, group) in _words(context).items()}
    heads, direction = context.selection.all_heads, context.options["way"]
    return page_lines(lines, shown, heads, _on(context), _chosen(context), direction, words)


def export(context: Context) -> go.Figure | None:
    lines, shown = _found(context)
    if _lost(context, lines):
        return None
    heads = context.selection.all_heads
    named_heads = [(index, f"layer {heads[index][0]}, head {heads[index][1]}") for index in _on(context)]
    names = axis_names(_labels(context))
    return lines_figure(lines, shown, names, named_heads, _chosen(context), context.options["way"])


def _head(place: Place) -> str:
    return f"{place[0]}.{place[1]}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _places(context: Context) -> str:
    """ "head 24.4", "heads 24.4 and 10.8"."""
    heads = [_head(context.selection.all_heads[index]) for index in _on(context)]
    return "no head" if not heads else ("head " if len(heads) == 1 else "heads ") + _listed(heads)


def text(context: Context) -> Words:
    lines, shown = _found(context)
    if _lost(context, lines):
        return Words("Lines", message=not_finite_message(context.run, "These weights are not finite."))
    caption = (
        f"Each line is a weight of {context.options['least']:g} or more; wider and stronger lines mean more attention. "
        "No two heads share both colour and dash."
    )
    reading = _reading(context, (context.selection.layer, context.selection.head))
    again = "Each row adds up to 1 again." if reading.aids.sums else ""
    some = "" if len(shown) == len(_units(context)) else f"Shown: {SHOWN}."
    caption += "".join(f" {part}" for part in (in_force(reading), again, some) if part)
    return Words(_title(context), caption, _footer(context, lines, shown), spoken=_spoken(context, lines, shown))


def _unit(context: Context) -> str:
    return "word" if aids_of(context.attention, context.options).words else "token"


def _title(context: Context) -> list[Any]:
    chosen, direction = _chosen(context), context.options["way"]
    if direction == ALL:
        return [f"What each {_unit(context)} attends to, {_places(context)}"]
    one = len(chosen) == 1
    more = "" if one else f" and {len(chosen) - 1} more {_unit(context)}{'s' if len(chosen) > 2 else ''}"
    who = [_name(context, chosen[0]), f" ({_position(context, chosen[0])}){more}"]
    if direction == TO:
        return ["What ", *who, f" attend{'s' if one else ''} to, {_places(context)}"]
    return ["What attends to ", *who, f", {_places(context)}"]


def _footer(context: Context, lines: Lines, shown: tuple[int, ...]) -> list[Any]:
    """Each head's largest weights, and what is left out."""
    parts: list[Any] = []
    named = NAMED.get(len(_on(context)), 1)
    for index, style in enumerate(_on(context)):
        mine = np.flatnonzero(lines.head == index)[::-1][:named]
        parts.append(html.Span(_head(context.selection.all_heads[style]), className="lead-in"))
        if not len(mine):
            parts.append(html.Span("no line", className="number"))
        parts += [_pair(context, lines, int(line)) for line in mine]
    left = (html.Span(said, className="aside") for said in _left_out(context, lines, shown))
    return [*parts, html.Span(className="line-end"), *left]


def _pair(context: Context, lines: Lines, line: int) -> html.Span:
    """The far end of a line, or both ends if the near one is not the selected token, and its exact weight."""
    query, key, weight = int(lines.query[line]), int(lines.key[line]), float(lines.weight[line])
    from_, to = ([_name(context, token), _where(context, token)] for token in (query, key))
    direction, chosen = context.options["way"], _chosen(context)[0]
    ends = (
        to
        if direction == TO and query == chosen
        else from_
        if direction == FROM and key == chosen
        else [*from_, " → ", *to]
    )
    return html.Span([*ends, html.B(f" {_short(weight)}", title=f"{weight:.9g}")], className="number")


def _where(context: Context, token: int) -> html.Span:
    return html.Span(f" ({_position(context, token)})", className="pos")


def _short(weight: float) -> str:
    return f"{weight:.3f}" if weight >= 5e-4 or weight == 0 else f"{weight:.1e}"


def _left_out(context: Context, lines: Lines, shown: tuple[int, ...]) -> Iterator[str]:
    """What is not drawn, a sentence each."""
    least, count = context.options["least"], len(_units(context))
    whole = lines.possible - lines.lost
    if lines.left_out:
        why, total = why_left_out(lines, least), f"{lines.left_weight:,.3f}"
        yield f"Left out: {lines.left_out:,} of {whole:,} lines ({why}), sum of weights {total}"
    elif whole:
        yield f"All {whole:,} lines are drawn" if whole > 1 else "The only line is drawn"
    if len(shown) < count:
        yield f"{len(shown)} of {count:,} {_unit(context)}s shown"
    if lines.lost:
        yield f"{lines.lost:,} weights are not finite, and have no line"


def _spoken(context: Context, lines: Lines, shown: tuple[int, ...]) -> tuple[str, ...]:
    return (f"{len(lines):,} lines are drawn.", *(f"{said}." for said in _left_out(context, lines, shown)))


def explain(context: Context) -> Explanation:
    """What a line is, the strongest one, and what to make of it."""
    lines, _shown = _found(context)
    what: Sentence = [
        "A line goes from a token that looks (",
        term("query"),
        ") to one that is looked at (",
        term("key"),
        "), in one ",
        term("head"),
        "; a wider line is a larger ",
        term("attention"),
        " weight.",
    ]
    if not len(lines):
        reason = (
            "The weights are not finite here."
            if _lost(context, lines)
            else "No head is drawn; click one in the legend to draw it."
            if not _on(context)
            else "The reading aids in Options leave out all lines of this token."
            if not lines.possible
            else f"No weight is {context.options['least']:g} or more here."
        )
        return what, [reason], ["In Options you can choose the direction of the lines and the weakest one to draw."]
    query, key, weight = int(lines.query[-1]), int(lines.key[-1]), float(lines.weight[-1])
    place = context.selection.all_heads[_on(context)[int(lines.head[-1])]]
    whom: Sentence = ["itself"] if query == key else _named(context, key)
    strongest: Sentence = [f"The strongest of the {len(lines):,} lines is in head {_head(place)}: "]
    if len(lines) == 1:
        strongest = [f"The only line is in head {_head(place)}: "]
    strongest += [*_named(context, query), " attends to ", *whom, f" with weight {_short(weight)}, out of 1."]
    if not lines.left_out:
        return what, strongest, ["No line is left out; Ctrl-click another head in the grid to add it."]
    left = f"{lines.left_out:,} weaker lines are" if lines.left_out > 1 else "One weaker line is"
    if lines.left_out == 1:
        return what, strongest, [f"{left} left out, with weight {_short(lines.left_weight)}."]
    return what, strongest, [f"{left} left out; together they have weight {_short(lines.left_weight)}."]


def _named(context: Context, token: int) -> Sentence:
    """A token or a word in a sentence, with its position."""
    word = _words(context).get(token)
    if word is None:
        return named(context.stream, token)
    return [_name(context, token), f"\u00a0({_position(context, token)})"]


def table(context: Context) -> Table | None:
    """The lines, strongest first; in a file every pair of tokens in this direction, with the weights left out, too."""
    lines, _shown = _found(context)
    if _lost(context, lines):
        return None
    labels, heads, on = _labels(context), context.selection.all_heads, _on(context)
    names = ("Layer", "Head", "Query", "Query token", "Key", "Key token", "Weight")
    if context.whole:
        more = ("Drawn", "Query label", "Key label")
        count = len(on) * _pairs(context)
        columns = tuple(Column(name) for name in (*names, *more))
        left = aids_of(context.attention, context.options).leaves_out
        why = "the mask hides the key or the reading aids leave it out" if left else "the mask hides the key"
        return Table(f"Every weight; empty where {why}", columns, _every(context, lines), count)
    rows: list[tuple[Cell, ...]] = []
    for line in range(len(lines) - 1, -1, -1):
        query, key = int(lines.query[line]), int(lines.key[line])
        place = heads[on[int(lines.head[line])]]
        rows.append((*place, query, labels[query], key, labels[key], float(lines.weight[line])))
    said = " ".join(f"{one}." for one in _left_out(context, lines, _shown))
    title = f"{len(rows):,} lines, strongest first. {said}"
    return Table(title, tuple(Column(name) for name in names), rows, len(rows))


def _pairs(context: Context) -> int:
    every, chosen = len(_units(context)), len(_chosen(context))
    return {TO: chosen * every, FROM: every * chosen, ALL: every * every}[context.options["way"]]


def _every(context: Context, lines: Lines) -> Iterator[tuple[Cell, ...]]:
    """Every pair in this direction, query by query."""
    direction, chosen, every = context.options["way"], _chosen(context), _units(context)
    labels, texts = _labels(context), [token.text for token in context.stream.tokens]
    for token, (word, _group) in _words(context).items():
        texts[token] = word.text
    drawn = set(zip(lines.head.tolist(), lines.query.tolist(), lines.key.tolist(), strict=True))
    for index, style in enumerate(_on(context)):
        layer, head = context.selection.all_heads[style]
        reading = _reading(context, (layer, head))
        for query in chosen if direction == TO else every:
            row, allowed = (values[0] for values in token_rows(reading, query, query + 1))
            for key in chosen if direction == FROM else every:
                weight = float(row[key]) if allowed[key] else None
                is_drawn = "yes" if (index, query, key) in drawn else ""
                ends = (query, texts[query], key, texts[key])
                yield layer, head, *ends, weight, is_drawn, labels[query], labels[key]


def legend() -> html.Div:
    """The legend, which assets/overlays/lines-legend.js writes: a switch for each head."""
    return html.Div(
        id=ids.LINES_LEGEND, className="lines-legend", role="group", **attributes(aria_label="Heads that are drawn")
    )


VIEW = View(
    name="lines",
    title="Lines",
    card="attention",
    tab="Lines",
    order=2,
    invitation=(
        "Run a text to see what a token attends to, as lines.",
        "One colour for each head; Ctrl-click heads in the grid to compare several.",
    ),
    figure_reads=("run", "stream", "token", "layer", "head", "heads", "tokens"),
    reads=lambda options: (
        ("run", "stream", "token", "layer", "head", "heads", "tokens")
        if options["way"] != ALL
        else ("run", "stream", "token", "layer", "head", "heads")
    ),
    selects="drawn",
    draw=draw,
    text=text,
    explain=explain,
    table=table,
    export=export,
    above=legend,
    controls=(WAY, WEAKEST, OFF, *AIDS, *ORDER),
)
