"""Which runs each visitor has opened: one small JSON file per visitor, shown to that visitor alone.

    VISITOR.json    {"runs": {KEY: {"opened": seconds since 1970, "name": text, "pinned": true, "uploaded": false}}}
    shell.json      the same of the runs that the shell was told to list (`analyse --recent`): every visitor sees them

A visitor is a random name in a browser's cookie, signed by this server, so that nobody can make a list under a name of
their own choice; the server knows nothing else about them. An unsigned name, from an older version, counts if its list
exists. A file is replaced as a whole, under a lock that threads and processes share. A file with damaged content counts
as empty; one that the machine does not let us read is an error, and stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itsdangerous import BadSignature, Signer

from dashboard.contracts.request import is_run_key
from dashboard.errors import BadRequestError, NoSpaceError, RunNotFoundError
from dashboard.settings import Settings
from dashboard.store.files import whole_file
from dashboard.store.leftovers import remove_left
from dashboard.store.secret import SECRET_FILE, Secret
from dashboard.system.private import alone, private_folder

log = logging.getLogger(__name__)
COOKIE = "dashboard-visitor"
VISITOR = re.compile(r"[0-9a-f]{32}")
SHELL = "shell"  # whose list everybody sees
LONGEST_NAME = 80  # characters
MOST_RUNS = 500  # per visitor; the one opened longest ago is dropped first, pinned ones last
FORGOTTEN_SECONDS = 400 * 86400.0  # browsers keep a cookie no longer than this
MOST_VISITORS = 10_000
LONGEST_COOKIE = 200  # characters
SWEEP_EVERY = 200  # one new visitor in this many triggers a search for forgotten ones


def new_visitor() -> str:
    """Return a name that nobody can guess."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Visit:
    """One run in a visitor's list: last opened (seconds since 1970), the visitor's name for it, whether pinned, and
    whether it came from a file of theirs."""

    opened: float
    name: str = ""
    pinned: bool = False
    uploaded: bool = False

    @classmethod
    def of(cls, raw: object) -> Visit | None:
        """Parse a stored visit; None for anything else."""
        if not isinstance(raw, dict):
            return None
        opened, name, pinned = raw.get("opened"), raw.get("name", ""), raw.get("pinned", False)
        if isinstance(opened, bool) or not isinstance(opened, (int, float)) or not math.isfinite(opened):
            return None
        called = clean_name(name) if isinstance(name, str) else ""
        return cls(float(opened), called, pinned is True, raw.get("uploaded") is True)


def clean_name(raw: str) -> str:
    """Return a name on one line, without control characters, at most `LONGEST_NAME` long."""
    shown = "".join(letter if letter.isprintable() else " " for letter in raw)
    return " ".join(shown.split())[:LONGEST_NAME].strip()


class VisitorLists:
    """Every visitor's list of runs, in one private folder; thread-safe and process-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._secret = Secret(self.folder.parent / SECRET_FILE)

    @classmethod
    def from_settings(cls, settings: Settings) -> VisitorLists:
        """Open the lists of this server."""
        return cls(settings.visitors_folder)

    def visitor_in(self, cookies: Mapping[str, Any]) -> str | None:
        """Return the visitor that a request's cookies name; None if there is none, or the name is not this server's."""
        raw = cookies.get(COOKIE)
        if not isinstance(raw, str) or len(raw) > LONGEST_COOKIE:
            return None
        if VISITOR.fullmatch(raw):
            return raw if self._path(raw).exists() else None
        try:
            name = self._signer().unsign(raw.encode()).decode()
        except (BadSignature, OSError, UnicodeError):
            return None
        return name if VISITOR.fullmatch(name) else None

    def cookie_of(self, visitor: str) -> str:
        """Return a visitor's name as their cookie holds it: signed.

        Raises:
            OSError: the server's secret cannot be read or created.
        """
        return self._signer().sign(visitor).decode()

    def _signer(self) -> Signer:
        return Signer(self._secret.read(), salt=COOKIE, digest_method=hashlib.sha256)

    def of(self, visitor: str) -> dict[str, Visit]:
        """Return a visitor's runs by key: pinned ones first, then by time of opening, the latest first.

        Raises:
            OSError: the list exists but cannot be read.
        """
        runs = self._read(self._path(visitor))
        return dict(sorted(runs.items(), key=lambda item: (item[1].pinned, item[1].opened), reverse=True))

    def opened(self, visitor: str, key: str) -> Visit:
        """Record that a visitor has opened a run; return its line in their list."""

        return self._change(visitor, lambda runs: _note(runs, key))

    def uploaded(self, visitor: str, key: str, check: Callable[[Sequence[str]], None]) -> None:
        """Record that a visitor opens a run from a file.

        Args:
            check: called with the visitor's other runs from files, while nobody else can add one; may raise.

        Raises:
            NoSpaceError: every place in the list has a pinned run.
        """

        def note(runs: dict[str, Visit]) -> None:
            check([other for other, visit in runs.items() if visit.uploaded and other != key])
            visit = _note(runs, key)
            if key not in runs:
                raise NoSpaceError(
                    f"Your list in Recent has {MOST_RUNS} pinned runs, and no room for another. Unpin or delete one, "
                    "then open the file again."
                )
            runs[key] = replace(visit, uploaded=True)

        self._change(visitor, note)

    def listed(self, key: str) -> None:
        """List a run of the shell for every visitor."""
        self.opened(SHELL, key)

    def change(self, visitor: str, key: str, name: str | None = None, pinned: bool | None = None) -> Visit:
        """Rename a run in a visitor's list, or pin it; `None` changes nothing, an empty name removes the name.

        Raises:
            RunNotFoundError: the run is not in their list.
        """

        def apply(runs: dict[str, Visit]) -> Visit:
            visit = _mine(runs, key)
            visit = visit if name is None else replace(visit, name=clean_name(name))
            runs[key] = visit if pinned is None else replace(visit, pinned=pinned)
            return runs[key]

        return self._change(visitor, apply)

    def remove(self, visitor: str, key: str) -> bool:
        """Remove a run from a visitor's list; return whether nobody else's list has it.

        Raises:
            RunNotFoundError: the run is not in their list.
        """

        def apply(runs: dict[str, Visit]) -> None:
            _mine(runs, key)
            del runs[key]

        self._change(visitor, apply)
        return not any(key in self._readable(path, {key: Visit(0.0)}) for path in self._files())

    def pinned(self) -> frozenset[str]:
        """Return the runs that anyone has pinned."""
        return frozenset(key for path in self._files() for key, visit in self._readable(path).items() if visit.pinned)

    def _path(self, visitor: str) -> Path:
        if visitor != SHELL and not VISITOR.fullmatch(visitor):
            raise BadRequestError("This browser has no list of runs here. Reload the page; it needs the page's cookie.")
        return self.folder / f"{visitor}.json"

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*.json") if VISITOR.fullmatch(path.stem)]

    def _read(self, path: Path) -> dict[str, Visit]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            raw = json.loads(content)["runs"]
            found = {key: Visit.of(value) for key, value in raw.items() if is_run_key(key)}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
        return {key: visit for key, visit in found.items() if visit is not None}

    def _readable(self, path: Path, otherwise: Mapping[str, Visit] = MappingProxyType({})) -> Mapping[str, Visit]:
        """Like `_read`, but return `otherwise` for a file that the machine does not let us read."""
        try:
            return self._read(path)
        except OSError:
            log.exception("a visitor's list of runs cannot be read")
            return otherwise

    def _change(self, visitor: str, apply: Callable[[dict[str, Visit]], Any]) -> Any:
        """Read a list, change it and write it, as one step that nobody can interrupt."""
        path = self._path(visitor)
        with alone(self.folder):
            new = not path.exists()
            runs = self._read(path)
            result = apply(runs)
            private_folder(self.folder)
            with whole_file(path, path.stem, private=True) as part:
                told = {"runs": {key: asdict(visit) for key, visit in runs.items()}}
                part.write_text(json.dumps(told), encoding="utf-8")
        if new and secrets.randbelow(SWEEP_EVERY) == 0:
            self.sweep()
        return result

    def sweep(self) -> None:
        """Remove the lists of visitors who have stayed away longer than their browser keeps the cookie; beyond
        `MOST_VISITORS`, also those with the least in them: without pins, with one run, unused for longest. Also remove
        what killed writers left."""
        for path in self._files():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()
        remove_left(self.folder, "*.part")
        paths = self._files()
        if len(paths) > MOST_VISITORS:
            for path in sorted(paths, key=self._worth)[: len(paths) - MOST_VISITORS]:
                path.unlink(missing_ok=True)

    def _worth(self, path: Path) -> tuple[bool, bool, float]:
        runs = self._readable(path)
        return (
            any(visit.pinned for visit in runs.values()),
            len(runs) > 1,
            max((v.opened for v in runs.values()), default=0.0),
        )


def _note(runs: dict[str, Visit], key: str) -> Visit:
    """Note that a run is opened now; of too many runs, the one opened longest ago leaves the list."""
    visit = replace(runs.get(key, Visit(0.0)), opened=time.time())
    runs[key] = visit
    oldest = sorted(runs, key=lambda name: (runs[name].pinned, runs[name].opened))
    for name in oldest[: max(0, len(runs) - MOST_RUNS)]:
        del runs[name]
    return visit


def _mine(runs: Mapping[str, Visit], key: str) -> Visit:
    if key not in runs:
        raise RunNotFoundError("That run is not in your list. Open it first.")
    return runs[key]
