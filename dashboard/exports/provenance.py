"""The provenance of an exported file: model, revision, weights, text, selection and settings, program and date."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from dashboard.contracts.precision import mark_of, said_of
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.figures.tokens import run_labels
from dashboard.version import __version__
from dashboard.views.controls import SHOW
from dashboard.views.declaration import View

PROGRAM = f"Transformer dashboard {__version__}"
HERE = "as found on the machine that ran it"
FILLER = "\ufdd0"  # a noncharacter, so no text contains it
LONGEST_PREVIEW = 160  # characters of the text in a picture's footer


@dataclass(frozen=True)
class Provenance:
    """Names and values, in reading order; `brief` is the part that fits in a picture's footer."""

    entries: tuple[tuple[str, str], ...]
    brief: tuple[str, ...]

    def to_json(self) -> str:
        """The entries as one JSON object, on one line."""
        return json.dumps(dict(self.entries), ensure_ascii=False)

    def foot(self, characters: int) -> list[str]:
        """The brief lines, wrapped."""
        return [line for part in self.brief for line in wrapped(part, max(20, characters))]


def of_run(run: ModelRun, now: datetime | None = None) -> Provenance:
    """The provenance of a file about a whole run."""
    entries = (*_about(run), *_made(run, now))
    return Provenance(entries, (*_previews(run), _who(run), _when(run, now)))


def of_figure(
    run: ModelRun,
    selection: Selection,
    figure: str,
    settings: Mapping[str, str] | None = None,
    reads: Sequence[str] = ("layer", "head"),
    now: datetime | None = None,
) -> Provenance:
    """The provenance of a file about one figure.

    Args:
        reads: which of layer, head and what was added the figure depends on.
        figure: its name. settings: the options of its view, in words. now: the date of the export.
    """
    location = _location(run, selection, reads)
    options = tuple((f"Setting: {name}", value) for name, value in (settings or {}).items())
    entries = (("Figure", figure), *_about(run), *location, *options, *_made(run, now))
    chosen = "; ".join(f"{name.lower()} {value}" for name, value in location)
    set_to = "; ".join(f"{name}: {value}" for name, value in (settings or {}).items())
    brief = (*_previews(run), _who(run), chosen, set_to, _when(run, now))
    return Provenance(entries, tuple(line for line in brief if line))


def settings_of(view: View, options: Mapping[str, Any], run: ModelRun) -> dict[str, str]:
    """A view's options in words, only those that apply to this run and change its figure."""
    return {
        control.label: control.words(options[control.name])
        for control in view.applying(run, options)
        if control != SHOW and not control.beside
    }


def _about(run: ModelRun) -> tuple[tuple[str, str], ...]:
    model, request = run.model, run.request
    unread, numbers = run.header.get("unread") or (), said_of(run.header)
    lent = () if request.tokenizer is None else (("Tokenizer of", request.tokenizer),)
    pair = () if request.text_pair is None else (("Second text", request.text_pair),)
    chat = (("Chat message", request.text),) if request.chat else ()
    return (
        ("Model", f"{model.title} ({model.name})"),
        ("Revision", revision_of(run) or HERE),
        *lent,
        ("Weights (SHA-256)", str(run.header.get("fingerprint") or "not recorded")),
        *((("Weights not read", "; ".join(map(str, unread))),) if unread else ()),
        *((("Computed in", numbers),) if numbers else ()),
        *chat,
        ("Text", run.text),
        *pair,
    )


def revision_of(run: ModelRun) -> str:
    """The requested revision and the version it resolved to: "main, commit 93efa2f…"; "" if neither is known."""
    parts = (run.request.revision, str(run.header.get("source") or ""))
    return ", ".join(part for part in parts if part)


def _location(run: ModelRun, selection: Selection, reads: Sequence[str]) -> tuple[tuple[str, str], ...]:
    indices = {"layer": selection.layer, "head": selection.head}
    location = [(name.capitalize(), str(index)) for name, index in indices.items() if name in reads]
    if "heads" in reads and selection.heads:
        location.append(("Added heads", ", ".join(f"{layer}.{head}" for layer, head in selection.heads)))
    location.append(("Token", _token(run, selection.token)))
    if "tokens" in reads and selection.tokens:
        location.append(("Added tokens", ", ".join(_token(run, token) for token in selection.tokens)))
    if selection.second is not None:
        location.append(("Second token", _token(run, selection.second)))
    return tuple(location)


def _token(run: ModelRun, position: int) -> str:
    return f"{position} “{run_labels(run)[position]}”"


def _made(run: ModelRun, now: datetime | None) -> tuple[tuple[str, str], ...]:
    options = ", ".join(f"{name} = {value}" for name, value in asdict(run.request.options).items())
    by = f", by version {run.header['version']}" if run.header.get("version") else ""
    return (
        ("Capture options", options),
        ("Run", run.key),
        ("Run made", f"{run.header.get('created', 'date not recorded')}{by}"),
        *(() if run.file is None else (("Opened from", f"the file {run.file}, not computed by this server"),)),
        *outdated_of(run),
        *(() if run.not_finite is None else (("Not finite", run.not_finite.sentence),)),
        ("Exported", _date(now).isoformat(timespec="seconds")),
        ("Program", PROGRAM),
    )


def outdated_of(run: ModelRun) -> tuple[tuple[str, str], ...]:
    """A note that an earlier version of this program computed the run, and what has changed since; empty if the run is
    up to date."""
    return (("Computed by an earlier version", f"changed since: {'; '.join(run.outdated)}"),) if run.outdated else ()


def _date(now: datetime | None) -> datetime:
    return now or datetime.now(UTC)


def _previews(run: ModelRun) -> list[str]:
    """The beginning of each text, on a line of its own."""
    texts = [" ".join(text.split()) for text in run.texts]
    longest = LONGEST_PREVIEW // len(texts)
    begins = (text if len(text) <= longest else text[: longest - 1] + "…" for text in texts)
    return [f"{name}: {text}" for name, text in zip(("Text", "Second text"), begins, strict=False)]


def _who(run: ModelRun) -> str:
    revision = f", {revision_of(run)}" if revision_of(run) else ""
    weights = str(run.header.get("fingerprint") or "")[:12]
    parts = (f"weights {weights}" if weights else "", mark_of(run.header))
    return ", ".join([f"{run.model.title} ({run.model.name}{revision})", *filter(None, parts)])


def _when(run: ModelRun, now: datetime | None) -> str:
    earlier = " (computed by an earlier version)" if run.outdated else ""
    return f"{PROGRAM} · {_date(now).date().isoformat()} · run {run.key[:12]}{earlier}"


def wrapped(text: str, characters: int) -> list[str]:
    """Like `textwrap.wrap`, but a Chinese or Japanese character counts as two."""
    wide = {index for index, one in enumerate(text) if unicodedata.east_asian_width(one) in "WF"}
    if not wide:
        return textwrap.wrap(text, characters)
    doubled = "".join(one + FILLER * (index in wide) for index, one in enumerate(text))
    return [line.replace(FILLER, "") for line in textwrap.wrap(doubled, characters)]


def file_name(run: ModelRun, *parts: str, suffix: str) -> str:
    """A descriptive file name that is safe on every system: letters, digits, dot, hyphen and underscore."""
    words = [run.model.name.rsplit("/", 1)[-1], *parts, run.key[:8]]
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-.")[:60] for word in words]
    return "_".join(word for word in safe if word) + "." + suffix


def location_name(selection: Selection, reads: Sequence[str] = ("layer", "head")) -> tuple[str, ...]:
    """The selection, as parts of a file name."""
    indices = {"layer": selection.layer, "head": selection.head}
    named = tuple(f"{name}{index}" for name, index in indices.items() if name in reads)
    other = () if selection.second is None else (f"second{selection.second}",)
    added = (f"with{len(selection.all_heads) - 1}heads",) if "heads" in reads and len(selection.all_heads) > 1 else ()
    return (*named, *added, f"token{selection.token}", *other)
