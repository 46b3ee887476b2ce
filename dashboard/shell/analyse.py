"""`analyse`: texts in, files out, without the page. Runs are shared with it: each is computed once and kept in the store."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.errors import BadRequestError, DashboardError, ModelError
from dashboard.settings import Settings
from dashboard.shell._steps import line_by_line

if TYPE_CHECKING:
    from dashboard.contracts.run import ModelRun
    from dashboard.models.loader import LoadedModel
    from dashboard.store.run_store import RunStore

SOME_FAILED = 3
SUFFIXES = (".csv", ".npz", ".safetensors", ".html")
EXAMPLES = """
what is written follows from the ending of --out:
  .csv           one row a token: surprisal, rank, entropy, likeliest token. All texts go into one file.
  .npz           the whole run: hidden states, query, key, head scores, predictions. One file a text.
  .safetensors   the same, to be read without copying; dashboard.open_run(path) opens both.
  .html          the report: every figure on one page that works offline. One file a text.

With --file and one file a text, {line} and {key} in --out stand for the line's number and the run's name;
without either, the number is put before the ending (run.npz: run-0001.npz).

An interrupted command goes on where it stopped when it is given again: what is in the output is skipped, by the run's
name (a hash of model, options and text), also when lines were added or moved. A text that stands twice is done once.
Reports are written anew, from the saved runs.

examples:
  python -m dashboard analyse --model smollm2-135m --text "The cat sat" --out cat.csv
  python -m dashboard analyse --model smollm2-135m --file texts.txt --out "runs/{line}-{key}.npz"
  python -m dashboard analyse --model rxnmapper --text "CCO>>CC=O" --layer 10 --head 5 --token 8 --out report.html

exit codes: 0 every text is done; 1 nothing could be done, and a sentence on standard error says why; 2 wrong usage;
3 some texts failed, each with its line and a sentence on standard error; 130 stopped with Ctrl+C.
"""


@dataclass(frozen=True)
class Text:
    """One text and the line of the file it stands on (1 is the first; 1 for --text)."""

    line: int
    text: str


def add(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    analyse = commands.add_parser(
        "analyse",
        help="run texts and write tables, runs or reports",
        description="Run one text, or each line of a file, and write what the model did with it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    analyse.add_argument("--model", required=True, help="a name that `python -m dashboard models` lists, a folder or a hub id")
    given = analyse.add_mutually_exclusive_group(required=True)
    given.add_argument("--text", help="the text, exactly as the model is to read it")
    given.add_argument("--file", type=Path, help="a file in UTF-8 with one text a line; empty lines are passed over")
    analyse.add_argument("--out", required=True, type=Path, help="where to write; the ending says what (see below)")
    analyse.add_argument("--attention", action="store_true", help="runs also hold all attention weights (they can be derived)")
    for name, what in (("layer", "layer"), ("head", "head"), ("token", "token"), ("second", "second token")):
        analyse.add_argument(f"--{name}", type=int, help=f"{what} that a report shows, counted from 0")
    analyse.add_argument("--quiet", action="store_true", help="no progress on standard error, errors only")
    analyse.set_defaults(command=_analyse)


def _analyse(settings: Settings, parsed: argparse.Namespace) -> int:
    suffix = parsed.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadRequestError(f"--out is {parsed.out}; its ending must be one of {', '.join(SUFFIXES)}.")
    texts = list(read_texts(parsed))
    say: Callable[[str], None] = (lambda _line: None) if parsed.quiet else _say
    runs = Runs(settings, parsed.model, say)
    output = Table(parsed.out) if suffix == ".csv" else Files(parsed, suffix, runs)
    failed = 0
    for count, text in enumerate(texts, start=1):
        place = f"line {text.line} ({count} of {len(texts)})"
        try:
            say(f"{place}: {_one(runs, output, text)}")
        except (ModelError, OutputError):
            raise
        except DashboardError as error:
            failed += 1
            print(f"{place}: {error}", file=sys.stderr, flush=True)
    if failed == len(texts):
        return 1
    return SOME_FAILED if failed else 0


class OutputError(DashboardError):
    """The output cannot be written, so no further text can be done."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _one(runs: Runs, output: Table | Files, text: Text) -> str:
    """Do one text; says what was done."""
    key = runs.key(text.text)
    if key is not None and output.has(key, text.line):
        return "is in the output already"
    run, seconds = runs.get(text.text)
    if output.has(run.key, text.line):
        return "is in the output already"
    try:
        path = output.write(run, text.line)
    except OSError as error:
        raise OutputError(
            f"{error.filename or output.path} cannot be written ({error.strerror}). Choose another --out."
        ) from error
    how = f"{len(run) / seconds:,.0f} tokens/s" if seconds is not None else "from the saved runs"
    return f"{len(run):,} tokens, {how} → {path}"


def read_texts(parsed: argparse.Namespace) -> Iterator[Text]:
    """The text, or the file's lines that are not empty.

    Raises:
        BadRequestError: the file cannot be read, is not UTF-8, or holds no text.
    """
    if parsed.file is None:
        yield Text(1, parsed.text)
        return
    try:
        content = parsed.file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadRequestError(f"{parsed.file} cannot be read ({error.strerror}). Check --file.") from error
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{parsed.file} is not UTF-8 (byte {error.start:,}). Save it as UTF-8.") from error
    found = [Text(line, text) for line, text in enumerate(re.split(r"\r\n|\n|\r", content), start=1) if text.strip()]
    if not found:
        raise BadRequestError(f"{parsed.file} holds no text. Write one text a line.")
    yield from found


class Runs:
    """Runs of one model: from the store where they are there, else computed in this process and kept."""

    def __init__(self, settings: Settings, model: str, say: Callable[[str], None]) -> None:
        from dashboard.models.catalog import Catalog
        from dashboard.settings import make_folders
        from dashboard.store.run_store import RunStore

        make_folders(settings)
        self._settings, self._model, self._say = settings, model, say
        self._store: RunStore = RunStore.from_settings(settings)
        self._loaded: LoadedModel | None = None
        try:
            found = Catalog(settings).fingerprint(model)
            self._fingerprint: str | None = None if found.startswith("unresolved:") else found
        except DashboardError:
            self._fingerprint = None  # known once the model is loaded

    def key(self, text: str) -> str | None:
        """The name of the run; None as long as the weights are not known."""
        from dashboard.contracts.request import RunRequest

        return None if self._fingerprint is None else RunRequest(self._model, text).key(self._fingerprint)

    def get(self, text: str) -> tuple[ModelRun, float | None]:
        """The run of a text, and the seconds that it took to compute; None where it was there."""
        from dashboard.contracts.request import RunRequest

        request = RunRequest(self._model, text)
        if self._fingerprint is None:
            self._fingerprint = self._load().fingerprint
        key = request.key(self._fingerprint)
        if self._store.has(key):
            return self._store.open(key), None
        from dashboard.models.capture import capture_run

        loaded, started = self._load(), time.perf_counter()
        run = capture_run(loaded, text, request=request)
        seconds = time.perf_counter() - started
        self._store.save(run.key, run.header, run.arrays)
        return run, seconds

    def filled(self, run: ModelRun, positions: Iterable[int | None]) -> ModelRun:
        """The run with the predictions at these positions, masked: a long text's run does not hold them."""
        from dashboard.contracts.job import fill_name

        if run.model.kind != "masked":
            return run
        wanted = [position for position in positions if position is not None and not run.has_masked(position)]
        for position in wanted:
            name = fill_name(run.key, position)
            if not self._store.has(name):
                from dashboard.models.predictions import run_fill

                self._store.save_arrays(name, run_fill(self._load(), run, position))
        return self._store.open_filled(run.key, wanted)

    def _load(self) -> LoadedModel:
        if self._loaded is None:
            import torch

            from dashboard.models.loader import load_model

            torch.set_num_threads(self._settings.worker_threads)
            self._loaded = load_model(self._model, settings=self._settings, progress=line_by_line(self._say))
            self._fingerprint = self._loaded.fingerprint
        return self._loaded


class Table:
    """One CSV file of all texts; what an interruption left unfinished at its end is cut off first."""

    def __init__(self, path: Path) -> None:
        from dashboard.exports.token_table import done_in

        self.path = path
        self._done: set[str] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise OutputError(f"{path} cannot be used ({error.strerror}). Choose another --out.") from error
        found = done_in(content)
        if content and not found.size:
            raise OutputError(f"{path} is there already and is no table of this command. Move it, or choose another --out.")
        if found.size < len(content):
            os.truncate(path, found.size)
        self._new, self._done = not content, set(found.runs)

    def has(self, key: str, line: int) -> bool:
        from dashboard.exports.token_table import KEY

        return key[:KEY] in self._done

    def write(self, run: ModelRun, line: int) -> Path:
        from dashboard.exports.token_table import KEY, head_of, rows_of

        content = (head_of(run) if self._new else "") + rows_of(run, line)
        with self.path.open("ab", buffering=0) as file:
            file.write(content.encode())
            os.fsync(file.fileno())
        self._new = False
        self._done.add(run.key[:KEY])
        return self.path


class Files:
    """One file a text, written under another name and renamed, so that each is whole."""

    def __init__(self, parsed: argparse.Namespace, suffix: str, runs: Runs) -> None:
        self._parsed, self._suffix, self._runs = parsed, suffix, runs
        self.path: Path = parsed.out
        self._keys: set[str] = set()
        pattern = str(parsed.out)
        if parsed.file is not None and "{line}" not in pattern and "{key}" not in pattern:
            pattern = pattern[: -len(suffix)] + "-{line}" + pattern[-len(suffix) :]
        self._pattern = pattern

    def _path(self, key: str, line: int) -> Path:
        return Path(self._pattern.replace("{line}", f"{line:04}").replace("{key}", key[:16]))

    def has(self, key: str, line: int) -> bool:
        """Whether the file of this run is there: a text that stands twice is done once."""
        if key in self._keys:
            return True
        if self._suffix == ".html":  # depends on --layer, --head and --token too, and costs little
            return False
        from dashboard.exports.run_files import peek

        found = peek(self._path(key, line)) in {(key, True), (key, bool(self._parsed.attention))}
        self._keys |= {key} if found else set()
        return found

    def write(self, run: ModelRun, line: int) -> Path:
        path = self._path(run.key, line)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                self._fill(run, file)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._keys.add(run.key)
        return path

    def _fill(self, run: ModelRun, file: Any) -> None:
        if self._suffix == ".html":
            file.write(_report(run, self._parsed, self._runs).encode())
            return
        from dashboard.exports.run_files import write_run

        write_run(run, file, "npz" if self._suffix == ".npz" else "safetensors", self._parsed.attention)


def _report(run: ModelRun, parsed: argparse.Namespace, runs: Runs) -> str:
    from dashboard.contracts.selection import Selection
    from dashboard.exports.report import report
    from dashboard.run_info import start_of
    from dashboard.views import all_views
    from dashboard.views.state import ViewState

    start = start_of(run, None, None)
    chosen = {"token": parsed.token, "layer": parsed.layer, "head": parsed.head, "other": parsed.second}
    place = {**start, **{name: value for name, value in chosen.items() if value is not None}}
    if parsed.token is not None and parsed.second is None:
        place["other"] = None
    views = all_views()
    options = {view.name: {control.name: control.default for control in view.controls} for view in views}
    selection = Selection(run.key, int(place["token"] or 0), int(place["layer"] or 0), int(place["head"] or 0), place["other"])
    state = ViewState(selection.checked(run), options)
    filled = runs.filled(run, (selection.token, selection.other))
    return report(state, views, lambda _selection, later: filled if later else run)
