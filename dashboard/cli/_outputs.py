"""The output of `analyse`: one table of all texts, or one file per text (a run or a report)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.cli._runs import Runs
from dashboard.errors import BadSelectionError, DashboardError, UsageError

if TYPE_CHECKING:
    from dashboard.contracts.derived import Derived, DerivedRequest
    from dashboard.contracts.run import ModelRun
    from dashboard.contracts.selection import Selection

USED_BY = {  # option → the endings of --out for which it changes something
    "attention": (".npz", ".safetensors"),
    "derive": (".npz", ".safetensors", ".html"),
    **dict.fromkeys(("layer", "head", "token", "second"), (".html",)),
}
SUFFIXES = (".csv", ".npz", ".safetensors", ".html")


class OutputError(DashboardError):
    """The output cannot be written, so no further text can be processed."""


def check_usage(parsed: argparse.Namespace) -> None:
    """Raise `UsageError` for an unknown ending, or for an option that has no effect with this ending."""
    suffix = parsed.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"--out is {parsed.out}; give it one of these endings: {', '.join(SUFFIXES)}.")
    for name, endings in USED_BY.items():
        given = getattr(parsed, name)
        if given is not None and given is not False and given != [] and suffix not in endings:
            raise UsageError(
                f"--{name} changes nothing in a {suffix} file, only in {_listed(endings)}. Leave it out, or choose "
                f"another --out."
            )


def check_pair(parsed: argparse.Namespace) -> None:
    """Raise `UsageError` where --pair lacks its text, has one that a file has in its place, or stands with --chat."""
    if parsed.pair is not None and parsed.chat:
        raise UsageError("A chat message is one text. Leave out --pair or --chat.")
    if parsed.pair is True and parsed.file is None:
        raise UsageError("--pair lacks the second text. Write --text TEXT --pair TEXT.")
    if isinstance(parsed.pair, str) and parsed.file is not None:
        raise UsageError(
            "With --file, --pair stands alone: each line has both texts, with a tab between them. Leave out its text."
        )


def _listed(endings: Sequence[str]) -> str:
    """ ".npz, .safetensors and .html"."""
    return " and ".join([*([", ".join(endings[:-1])] if endings[1:] else []), endings[-1]])


def check_location(parsed: argparse.Namespace, model: str, layers: int, heads: int) -> None:
    """Raise `UsageError` for a layer or head that the model does not have; sizes of 0 are not known yet."""
    for name, value, count in (("layer", parsed.layer, layers), ("head", parsed.head, heads)):
        if value is not None and count and value >= count:
            raise UsageError(f"--{name} is {value}; {model} has {name}s 0 to {count - 1}. Choose one of these.")


def check_tokens(parsed: argparse.Namespace, run: ModelRun) -> None:
    """Raise `UsageError` for a token that the text does not have, or `BadSelectionError` if other texts may have it."""
    for name, value in (("token", parsed.token), ("second", parsed.second)):
        if value is not None and value >= len(run):
            error = UsageError if parsed.file is None else BadSelectionError
            raise error(f"--{name} is {value}; this text has tokens 0 to {len(run) - 1}. Choose one of these.")


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written ({error.strerror}). Choose another --out.")


class Table:
    """One CSV file of all texts, or of all pairs; an unfinished text at its end, left by an interruption, is cut off
    first."""

    resumes = True

    def __init__(self, path: Path, runs: Runs, pairs: bool = False) -> None:
        from dashboard.exports.token_table import clash, done_in

        self.path = path
        self._done: set[str] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise OutputError(f"{path} cannot be used ({error.strerror}). Choose another --out.") from error
        found = done_in(content)
        if content and not found.size:
            raise OutputError(
                f"{path} exists already and is not a table of this command, or is one of an earlier version with other "
                f"columns. "
                "Move it, or choose another --out."
            )
        if content and found.pairs != pairs:
            kinds = ("single texts", "pairs of texts")
            raise OutputError(
                f"{path} holds rows of {kinds[found.pairs]}, and these would be of {kinds[pairs]}. Nothing was "
                "written; choose another --out."
            )
        told = clash(found.head, runs.model, runs.fingerprint(), runs.dtype()) if content else ""
        if told:
            raise OutputError(f"{path} {told}. Nothing was written; choose another --out.")
        if found.size < len(content):
            os.truncate(path, found.size)
        self._new, self._done = not content, set(found.runs)

    def has(self, key: str, line: int) -> bool:
        return key in self._done

    def write(self, run: ModelRun, line: int) -> Path:
        from dashboard.exports.token_table import head_of, rows_of

        content = (head_of(run) if self._new else "") + rows_of(run, line)
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(content.encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._new = False
        self._done.add(run.key)
        return self.path


class Files:
    """One file per text, written under another name and then renamed, so that each is complete."""

    def __init__(self, parsed: argparse.Namespace, suffix: str, runs: Runs) -> None:
        self._parsed, self._suffix, self._runs = parsed, suffix, runs
        self.resumes = suffix != ".html"
        self._keys: set[str] = set()
        pattern = str(parsed.out)
        if parsed.file is not None and "{line}" not in pattern and "{key}" not in pattern:
            pattern = pattern[: -len(suffix)] + "-{line}" + pattern[-len(suffix) :]
        self._pattern = pattern

    def _path(self, key: str, line: int) -> Path:
        return Path(self._pattern.replace("{line}", f"{line:04}").replace("{key}", key[:16]))

    def has(self, key: str, line: int) -> bool:
        """Whether this run's file exists: a text that occurs twice is processed once."""
        if key in self._keys:
            return True
        if self._suffix == ".html" or self._parsed.derive:  # depends on other options too, and costs little
            return False
        from dashboard.exports.run_files import peek

        found = peek(self._path(key, line)) in {(key, True), (key, bool(self._parsed.attention))}
        self._keys |= {key} if found else set()
        return found

    def write(self, run: ModelRun, line: int) -> Path:
        path = self._path(run.key, line)
        from dashboard.store.files import whole_file

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part, part.open("wb") as file:
                self._fill(run, file)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._keys.add(run.key)
        return path

    def _fill(self, run: ModelRun, file: Any) -> None:
        if self._suffix == ".html":
            file.write(_report(run, self._parsed, self._runs).encode())
            return
        from dashboard.cli._derive import requests_of
        from dashboard.exports.run_files import write_run

        if self._parsed.derive:
            run = run.with_derived(self._runs.results_of(run, requests_of(run, self._parsed.derive)).values())
        write_run(run, file, "npz" if self._suffix == ".npz" else "safetensors", self._parsed.attention)


def _report(run: ModelRun, parsed: argparse.Namespace, runs: Runs) -> str:
    from dashboard.cli._derive import options_of, position_of, requests_of, shown_in
    from dashboard.contracts.selection import LOCATION, Selection
    from dashboard.exports.report import report
    from dashboard.views import all_views
    from dashboard.views.cards import opening_tabs
    from dashboard.views.run_info import start_of
    from dashboard.views.state import ViewState

    check_location(parsed, run.model.title, run.model.layers, run.model.heads)
    check_tokens(parsed, run)
    start = start_of(run, None, None)
    chosen = {field.name: getattr(parsed, field.name) for field in LOCATION}
    asked = requests_of(run, parsed.derive)
    run = run.with_derived(runs.results_of(run, asked).values())
    chosen["token"] = position_of(asked) if parsed.token is None else parsed.token
    location = {**start, **{name: value for name, value in chosen.items() if value is not None}}
    if chosen["token"] is not None and parsed.second is None:
        location["second"] = None
    views = all_views()
    selection = Selection.from_json({"run": run.key, **location})
    options = {view.name: options_of(view, asked) for view in views}
    state = ViewState(selection.checked(run), options, opening_tabs(views, run))
    return report(state, views, _Chosen(run, runs), also=shown_in(views, run, state, asked))


@dataclass(frozen=True)
class _Chosen:
    """One run and its derived results, which are computed if they are not stored."""

    run: ModelRun
    runs: Runs

    def run_of(self, _selection: Selection) -> ModelRun:
        return self.run

    def results_of(self, run: ModelRun, requests: Iterable[DerivedRequest]) -> Mapping[str, Derived]:
        return self.runs.results_of(run, requests)

    def kept_of(self, _run: ModelRun, _requests: Iterable[DerivedRequest]) -> Mapping[str, Derived]:
        return {}
