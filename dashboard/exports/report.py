"""The report: one page with the token strip, every figure of a view state, its key numbers and its provenance."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from urllib.parse import urlencode

import numpy as np

from dashboard.contracts.precision import mark_of
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.document import figure_part, page, provenance_part, table_part
from dashboard.exports.figures import Standalone, all_standalone
from dashboard.exports.provenance import Provenance, file_name, location_name, of_run
from dashboard.figures.class_marks import COLOURED, ClassMarks, class_marks
from dashboard.figures.text import as_bdi, isolated, on_one_line
from dashboard.figures.theme import LIGHT
from dashboard.figures.tokens import legend_of, notes_of, run_labels
from dashboard.views.declaration import View
from dashboard.views.library import Library
from dashboard.views.state import ViewState
from dashboard.views.tables import added

MOST_SURPRISAL = 12.0  # nats at which the strip's colours end
DIVIDER = '<li class="second-begins" aria-label="Second text"></li>'
LONGEST_STRIP = 600  # tokens of the strip; longer texts go under "Where this comes from"


def report(
    state: ViewState, views: Sequence[View], library: Library, server: str | None = None, also: Collection[str] = ()
) -> str:
    """The report of a view state as one HTML file.

    Args:
        server: the address of the page that shows the state, if there is one. also: names of views to include besides
            the open tabs.
    """
    run = library.run_of(state.selection)
    parts: list[str] = []
    figures: list[Standalone] = []
    for title, found in all_standalone(state, views, library, also):
        if isinstance(found, Standalone):
            parts.append(_section(found, f"figure-{len(figures)}"))
            figures.append(found)
        else:
            parts.append(f"<section><h2>{_text(title)}</h2><p>{_text(found)}</p></section>")
    provenance = _provenance(run, state, views, figures, server)
    body = [
        f"<header><h1>{_text(run.model.title)}: {_titles(run)}</h1>",
        f'<p class="caption">{_text(_sizes(run))}</p>{_warning(run)}</header>',
        "<main>",
        _strip(run, state.selection),
        *parts,
        provenance_part(provenance),
        "</main>",
    ]
    return page(
        f"{run.model.title}: {' | '.join(isolated(_short(text)) for text in run.texts)}", body, figures, provenance
    )


def _warning(run: ModelRun) -> str:
    """A warning, given once, that the model's values are not finite."""
    return "" if run.not_finite is None else f"<p><b>{_text(run.not_finite.sentence)}</b></p>"


def report_name(run: ModelRun, selection: Selection) -> str:
    """The name of the report file."""
    return file_name(run, "report", *location_name(selection), suffix="html")


def _section(found: Standalone, name: str) -> str:
    table = found.part()
    return f"<section>{figure_part(found, name)}{table_part(table) if table is not None else ''}</section>"


def _provenance(
    run: ModelRun, state: ViewState, views: Sequence[View], figures: Sequence[Standalone], server: str | None
) -> Provenance:
    """The run's provenance, the selection, each view's settings, and the address of the same view on the page."""
    base = of_run(run)
    own = {name for name, _value in base.entries} | {"Figure"}
    extra: dict[str, str] = {}
    for found in figures:
        label = dict(found.provenance.entries)["Figure"]
        for name, value in found.provenance.entries:
            if name not in own:
                extra[name.replace("Setting:", f"{label}:") if name.startswith("Setting:") else name] = value
    if server is not None:
        extra["Address of this view"] = f"{server}?{urlencode(state.to_query(views))}"
    return Provenance((*base.entries, *extra.items()), base.brief)


def _strip(run: ModelRun, selection: Selection) -> str:
    """The tokens in order, coloured by surprisal or class if the model has it; in a short text with the number, or in
    any text with the class, under each."""
    surprisal, classes = run.surprisal, class_marks(run)
    items = [
        _item(run, i, selection, None if surprisal is None else float(surprisal[i]), classes)
        for i in range(min(len(run), LONGEST_STRIP))
    ]
    if classes is not None:
        words = f"Colour and word: {classes.what}.{_legend(classes)}"
    elif surprisal is None:
        words = "This model gives no surprisal here."
    else:
        words = f"Coloured by surprisal, 0 to {MOST_SURPRISAL:.0f} nats: how unexpected each token was."
    more = f" The first {LONGEST_STRIP} of {len(run):,} tokens." if len(run) > LONGEST_STRIP else ""
    marks = "".join(f" {_text(phrase)}." for phrase in legend_of(run.tokens))
    framed = ["Framed: the selected token", *(["dashed: the second"] if selection.second is not None else [])]
    framed += ["thin: added tokens"] if added(selection) else []
    marked = f" {'; '.join(framed)}."
    return (
        f'<section aria-labelledby="tokens"><h2 id="tokens">Tokens</h2><p '
        f'class="caption">{words}{more}{marked}{marks}</p>'
        f'<ol class="strip">{"".join(items)}</ol></section>'
    )


def _legend(marks: ClassMarks) -> str:
    """The groups of classes with their colours."""
    named = [(str(place), name) for place, name in enumerate(marks.groups[:COLOURED])]
    rest = marks.groups[COLOURED:]
    named += [("more", ", ".join(rest))] if rest else []
    return "".join(
        f' <span class="group" data-class="{colour}">{_text(isolated(name))}</span>' for colour, name in named
    )


def _item(run: ModelRun, index: int, selection: Selection, surprisal: float | None, classes: ClassMarks | None) -> str:
    known = surprisal is not None and not np.isnan(surprisal)
    chosen = _mark(index, selection)
    style = number = ""
    if known and surprisal is not None:
        step = int(min(1.0, surprisal / MOST_SURPRISAL) * (len(LIGHT.surprisal) - 1e-9))
        style = f' data-step="{step}"'
        number = f"<small>{'∞' if np.isinf(surprisal) else f'{surprisal:.2f}'}</small>" if len(run) <= 80 else ""
    if classes is not None:
        colour, below = classes.colour(index), classes.below[index]
        style = f' data-class="{colour}"' if colour else ""
        number = f"<small><bdi>{_text(below)}</bdi></small>" if below else "<small>&nbsp;</small>"
    token = run.tokens[index]
    label = _text(run_labels(run)[index])
    notes = notes_of(token, run.source)
    title = "; ".join(
        [
            f"token {index}" + (f", {_surprisal(surprisal)}" if known and surprisal is not None else ""),
            *notes,
            *([] if classes is None else [classes.said[index]]),
        ]
    )
    names = " ".join(part for part in ("tok", chosen) if part)
    line = '<li class="break" aria-hidden="true"></li>' if "\n" in run.tokens[index].text else ""
    current = ' aria-current="true"' if chosen == "selected" else ""
    item = f'<li class="{names}"{style} title="{html.escape(title)}"{current}><bdi>{label}</bdi>{number}</li>{line}'
    return DIVIDER + item if index == run.main.second_begins else item


def _mark(index: int, selection: Selection) -> str:
    """The class of a token in the strip."""
    if index == selection.token:
        return "selected"
    return "second" if index == selection.second else "added" if index in selection.tokens else ""


def _surprisal(value: float) -> str:
    return "impossible: surprisal ∞" if np.isinf(value) else f"surprisal {value:.2f} nats"


def _sizes(run: ModelRun) -> str:
    sizes = f"{len(run):,} tokens · {run.model.layers} layers × {run.model.heads} heads · {run.model.kind} model"
    mark = mark_of(run.header)
    return f"{sizes} · {mark}" if mark else sizes


def _short(text: str, longest: int = 80) -> str:
    line = on_one_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _titles(run: ModelRun) -> str:
    """The beginning of the text, or of both texts."""
    return " | ".join(f"<bdi>{_text(_short(text))}</bdi>" for text in run.texts)


def _text(text: str) -> str:
    return as_bdi(html.escape(text, quote=False))
