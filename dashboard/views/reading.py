"""The controls of the Attention card that choose which matrix its views show and how it is read, and their words.

Every view of attention that shows weights between tokens declares `CONTROLS`, draws `reading_of(context)`, and shows
`in_force`, so that a choice applies to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dash import html

from dashboard.analysis.aggregates import SHARE, Head
from dashboard.analysis.attention_reading import Aggregate, Aids, AttentionReading, offered, read_attention
from dashboard.compute.attention_aggregate import KIND, canonical
from dashboard.contracts.context import Context, Options
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.streams import Attention
from dashboard.errors import MissingArrayError
from dashboard.figures.tokens import label_of
from dashboard.views.controls import Choice, Control, Number, Switch
from dashboard.views.declaration import waits
from dashboard.views.library import Library
from dashboard.views.token_spans import token_at, token_span

ON = (True,)
OF = Choice(
    "of",
    "Weights of",
    (
        ("head", "The selected head; the mean of several"),
        ("largest", "The largest of several selected heads"),
        ("mean", "All heads of the layer: mean"),
        ("max", "All heads of the layer: largest"),
        ("mean-all", "All heads of all layers: mean"),
        ("max-all", "All heads of all layers: largest"),
        ("rollout", "Attention rollout up to the layer"),
    ),
    shared=True,
)
ATTENTION_SHARE = Number(
    "share",
    "Rollout: share of attention",
    0.0,
    1.0,
    SHARE,
    0.05,
    shared=True,
    when=(("of", ("rollout",)),),
    help="The rest is the residual stream, which passes each token on unchanged. Abnar & Zuidema (2020) use 0.5.",
)
SPECIAL = Switch("special", "Leave out special tokens", shared=True, needs="special")
FIRST = Switch("first", "Leave out the first token", shared=True, needs="several")
DIRECTION = Choice(
    "direction",
    "Between the two texts",
    (
        ("all", "All tokens"),
        ("aa", "Within the first text: A→A"),
        ("ab", "From the first to the second: A→B"),
        ("ba", "From the second to the first: B→A"),
        ("bb", "Within the second text: B→B"),
    ),
    shared=True,
    needs="pair",
    help="Special tokens belong to neither text.",
)
SUMS = Switch(
    "sums",
    "Make each row add up to 1 again",
    shared=True,
    when=(("special", ON), ("first", ON), ("direction", ("aa", "ab", "ba", "bb"))),
    help="Each row is divided by the sum of the weights that are kept.",
)
WORDS = Switch(
    "words",
    "Merge word pieces into words",
    shared=True,
    needs="pieces",
    help="Weights to the pieces of a word are added, those from its pieces averaged (Clark et al. 2019).",
)
AIDS: tuple[Control, ...] = (SPECIAL, FIRST, DIRECTION, SUMS, WORDS)
CONTROLS: tuple[Control, ...] = (OF, ATTENTION_SHARE, *AIDS)
READS: Mapping[str, tuple[str, ...]] = {
    "head": ("run", "stream", "layer", "head", "heads"),
    "largest": ("run", "stream", "layer", "head", "heads"),
    "mean": ("run", "stream", "layer"),
    "max": ("run", "stream", "layer"),
    "mean-all": ("run", "stream"),
    "max-all": ("run", "stream"),
    "rollout": ("run", "stream", "layer"),
}


def reads(options: Options) -> tuple[str, ...]:
    """The selection fields that the shown matrix depends on."""
    return READS[_chosen(options, OF)]


def reading_of(context: Context) -> AttentionReading:
    """The matrix that these options ask for; an aid that does not apply to this text is ignored.

    If a worker must compute it first (`needs`), it is not `given` yet: say so (`being_computed`) and read no weights.
    """
    options, fields = context.options, reads(context.options)
    layer = context.selection.layer if "layer" in fields else 0
    head = context.selection.head if "head" in fields else None
    heads = context.selection.all_heads if "heads" in fields else ()
    reading = read_with(context.attention, layer, head, options, heads)
    result = context.result(request_of(context.run, reading)) if reading.is_long else None
    return reading if result is None else replace(reading, given=np.asarray(result.arrays["weights"]))


def waits_for(reading: AttentionReading) -> bool:
    """Whether a worker must compute the matrix first."""
    return reading.is_long and reading.given is None


def needs(context: Context) -> tuple[DerivedRequest, ...]:
    """What a worker must compute for these options: something only for long texts."""
    reading = reading_of(context)
    return (request_of(context.run, reading),) if reading.is_long and not context.run.corrected else ()


def request_of(run: ModelRun, reading: AttentionReading) -> DerivedRequest:
    """The derived result that holds the matrix before any aid."""
    return KIND.request(run, **canonical(reading.aggregate, reading.layer, reading.share))


def being_computed(run: ModelRun, reading: AttentionReading) -> html.Div:
    """The message while a worker computes the matrix.

    Raises:
        MissingArrayError: the run's numbers have been corrected since.
    """
    run.check_current()
    rows, heads = len(reading.attention.asks), len(reading.heads)
    how = f"This takes a few seconds for {rows:,} tokens and {heads:,} heads, once for everyone who opens this run."
    place = place_of(reading)
    what = html.B(f"Computing {place[0].lower()}{place[1:]} …")
    return html.Div([what, html.P(how)], **waits(request_of(run, reading)))


def read_with(
    attention: Attention, layer: int, head: int | None, options: Options, heads: Sequence[Head] = ()
) -> AttentionReading:
    """The matrix for a layer and head with these options; `head` counts only for the weights of one head.

    Args:
        heads: the selected (layer, head) pairs; if there are several, the weights are their mean or their largest.
    """
    chosen = _chosen(options, OF)
    aggregate: Aggregate = "head" if chosen == "largest" else chosen
    several = tuple(heads) if aggregate == "head" and len(heads) > 1 else ()
    if several:
        aggregate = "max" if chosen == "largest" else "mean"
    own = head if aggregate == "head" else None
    share, aids = _chosen(options, ATTENTION_SHARE), aids_of(attention, options)
    return read_attention(attention, layer, own, aggregate, share=share, heads=several, aids=aids)


def is_of_several(reading: AttentionReading) -> bool:
    """Whether the matrix is of several selected heads, not of those of a layer or of all."""
    layer = tuple((reading.layer, head) for head in range(reading.attention.heads))
    return reading.aggregate in ("mean", "max") and reading.heads != layer


def read_as_asked(run: ModelRun, place: Head, query: Mapping[str, str], library: Library) -> AttentionReading:
    """The matrix of a layer and head that an address asks for (`asks_of`); `kind` names the attention.

    Raises:
        BadSelectionError: it names heads that do not exist. MissingArrayError: a worker must compute it first.
    """
    options = {control.name: control.parse(query.get(f"attention-{control.name}")) for control in CONTROLS}
    location = {"run": run.key, "token": 0, "layer": place[0], "head": place[1], "heads": query.get("heads")}
    heads = Selection.from_json(location).checked(run).all_heads
    reading = read_with(run.attention_of(query.get("kind")), *place, options, heads)
    if not reading.is_long:
        return reading
    wanted = request_of(run, reading)
    found = library.results_of(run, [wanted]).get(wanted.name) or run.derived(wanted)
    if found is None:
        raise MissingArrayError("These weights are still being computed. Try again when the figure has arrived.")
    return replace(reading, given=np.asarray(found.arrays["weights"]))


def aids_of(attention: Attention, options: Options) -> Aids:
    """The reading aids that these options ask for and that apply to the text."""
    offers = offered(attention.asks) | offered(attention.answers)
    asked = {one.name: _chosen(options, one) for one in (SPECIAL, FIRST, DIRECTION, WORDS, SUMS)}
    held = {one.name: asked[one.name] for one in (SPECIAL, FIRST, DIRECTION, WORDS) if one.needs in offers}
    aids = Aids(**held)
    return Aids(**held, sums=asked[SUMS.name]) if aids.leaves_out else aids


def _chosen(options: Options, control: Control) -> Any:
    return options.get(control.name, control.default)


def asks_of(reading: AttentionReading) -> dict[str, str]:
    """The options of a reading as an address writes them, without those at their default; and its heads, if they are
    several selected ones."""
    aids, several = reading.aids, is_of_several(reading)
    of = {"mean": "head", "max": "largest"}[reading.aggregate] if several else reading.aggregate
    values: dict[str, Any] = {OF.name: of, ATTENTION_SHARE.name: reading.share}
    values |= {name: getattr(aids, name) for name in ("special", "first", "direction", "sums", "words")}
    if reading.aggregate != "rollout":
        del values[ATTENTION_SHARE.name]
    asks = {
        f"attention-{control.name}": control.text(values[control.name])
        for control in CONTROLS
        if values.get(control.name, control.default) != control.default
    }
    return asks | ({"heads": ",".join(map(_short, reading.heads[1:]))} if several else {})


def _short(head: Head) -> str:
    return f"{head[0]}.{head[1]}"


def place_of(reading: AttentionReading) -> str:
    """What the matrix shows, as the beginning of a title: "Layer 3, mean of 9 heads"."""
    layers, heads = reading.attention.layers, reading.attention.heads
    if reading.aggregate == "head":
        return f"Layer {reading.layer}, head {reading.head}"
    if reading.aggregate == "rollout":
        return f"Attention rollout, layer{'s 0 to' if reading.layer else ''} {reading.layer}"
    how = "mean" if how_of(reading) == "mean" else "largest weight"
    if reading.aggregate.endswith("-all"):
        return f"All {layers} layers, {how} of {layers * heads:,} heads"
    if is_of_several(reading):
        return f"{how.capitalize()} of {len(reading.heads)} heads ({', '.join(map(_short, reading.heads))})"
    return f"Layer {reading.layer}, {how} of {heads} heads"


def in_force(reading: AttentionReading) -> str:
    """The active aids, as sentences; "" if there are none."""
    aids, said = reading.aids, []
    left = [name for name, holds in (("special tokens", aids.special), ("the first token", aids.first)) if holds]
    if left:
        said.append(f"{' and '.join(left)} left out".capitalize() + ".")
    if aids.direction != "all":
        texts = {"a": "first", "b": "second"}
        query, key = (texts[letter] for letter in aids.direction)
        where = f"within the {query} text" if query == key else f"from the {query} text to the {key}"
        said.append(f"Only {where} ({'→'.join(aids.direction.upper())}).")
    if aids.words:
        said.append("Words: weights to the pieces of a word are added, and weights from them are averaged.")
    return " ".join(said)


def name_of(reading: AttentionReading, side: int, place: int, class_name: str = "tok") -> html.Span:
    """A row's token or word (side 0), or a column's, as in the token strip."""
    stream = (reading.attention.asks, reading.attention.answers)[side]
    group, word = ((reading.rows, reading.queries), (reading.columns, reading.keys))[side]
    if len(group[place]) == 1:
        return token_at(stream, group[place][0], class_name=class_name)
    return token_span(word[place].text, label_of(word[place]), class_name)


def position_of(reading: AttentionReading, side: int, place: int) -> str:
    """ "15", or "15–17" for a word."""
    group = (reading.rows, reading.columns)[side][place]
    return str(group[0]) if len(group) == 1 else f"{group[0]}–{group[-1]}"


def force_line(reading: AttentionReading) -> str:
    """The active choices, in a few words above the figure: "Rollout · without special tokens · A→B · words"."""
    aids, heads, parts = reading.aids, f"{len(reading.heads):,} heads", list[str]()
    if reading.aggregate == "rollout":
        parts.append("rollout")
    elif reading.aggregate != "head":
        parts.append(f"{how_of(reading)} of {heads}")
    parts += ["without special tokens"] if aids.special else []
    parts += ["without the first token"] if aids.first else []
    parts += ["→".join(aids.direction.upper())] if aids.direction != "all" else []
    parts += ["words"] if aids.words else []
    parts += ["rows add up to 1 again"] if aids.sums else []
    line = " · ".join(parts)
    return f"{line[:1].upper()}{line[1:]}"


def weight_of(reading: AttentionReading) -> str:
    """What a cell holds, before its number in the tooltip: "mean weight of 9 heads"."""
    if reading.aggregate in ("head", "rollout"):
        return "rollout weight" if reading.aggregate == "rollout" else "weight"
    return f"{how_of(reading)} weight of {len(reading.heads):,} heads"


def how_of(reading: AttentionReading) -> str:
    """How several heads are combined: by their "mean" or their "largest" weight."""
    return "mean" if reading.aggregate.startswith("mean") else "largest"


def sums_of(reading: AttentionReading) -> str:
    """What a row adds up to, as a clause."""
    if reading.aids.sums:
        return "each row's remaining weights add up to 100\u00a0% again"
    if reading.aggregate in ("max", "max-all"):
        return "a row of largest weights may add up to more than 100\u00a0%"
    if reading.aids.leaves_out:
        return "a row adds up to the attention that remains, at most 100\u00a0%"
    if reading.has_sinks:
        return "a row adds up to less than 100\u00a0%; the rest goes to the attention sink"
    return "a row adds up to 100\u00a0%"


def made_of(reading: AttentionReading) -> str:
    """How the matrix is made, as a sentence; "" for one head."""
    if reading.aggregate == "head":
        return ""
    if reading.aggregate == "rollout":
        share, rest = (f"{100 * part:.0f}\u00a0%" for part in (reading.share, 1 - reading.share))
        return f"Rollout (Abnar & Zuidema 2020): {share} attention, {rest} residual stream in each layer."
    return f"Each weight is the {how_of(reading)} of {len(reading.heads):,} heads."
