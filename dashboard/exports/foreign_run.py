"""A run file from elsewhere (a notebook, the shell, another server) as a run of this server.

The file may come from anybody, so nothing in it is trusted unchecked (`contracts/run_check.py`), and it cannot take the
place of another run: its key here is a hash of the file. Whoever submits the same text still gets what this server's
own model computes.

A safetensors file is mapped. The arrays of an npz file are first checked by what their headers declare, then
copied piece by piece into a safetensors file, so that no array is ever in memory as a whole.
"""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dashboard.contracts.derived import BESIDE
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_check import check_declared, check_run, unknown_arrays
from dashboard.errors import (
    BadRequestError,
    NewerRunError,
    NoSpaceError,
    QueueFullError,
    RunShapeError,
    TextTooLongError,
)
from dashboard.exports.npz import Layout, NpzFile
from dashboard.exports.run_files import BESIDE as NO_ARRAYS
from dashboard.exports.run_files import UNREADABLE, read_run
from dashboard.store.array_file import write_pieces
from dashboard.store.exports import ExportFile
from dashboard.store.mapped import LONGEST_HEADER, MOST_ITEMS, DamagedFileError, HeaderLimits, parse_header
from dashboard.store.upgrades import upgraded

LONGEST_NAME = 80  # characters of a file's name
MOST_MEMBERS = 20_000  # arrays of an npz file: listing a million takes half a minute and half a gigabyte
MEMBER = b"PK\x01\x02"  # what every line of an archive's list of members begins with
PIECE = 1 << 20  # bytes per read
HEADER_BYTES, HEADER_BYTES_A_TOKEN = 4_000_000, 1_000  # most bytes of a run's header; parsed, it takes many times more
HEADER_VALUES, HEADER_VALUES_A_TOKEN = 200_000, 40
DERIVED, ATTENTION = f"{BESIDE}/", "/attention/"
Room = Callable[[int], ExportFile]  # opens a file of a given size in bytes


@dataclass(frozen=True)
class ForeignRun:
    """A run that was read from a file.

    Attributes:
        run: the run, under its key on this server.
        left_out: what the file holds but the run does not, in words.
    """

    run: ModelRun
    left_out: tuple[str, ...]


def read_foreign(path: Path, digest: str, name: str, most_tokens: int, most_bytes: int, room: Room) -> ForeignRun:
    """Read and check a run file. The run stays readable after the file is removed.

    Args:
        digest: sha256 of the file, as 64 hex digits: the run's key on this server.
        name: the file's name, as the sender calls it.
        most_tokens, most_bytes: the most tokens a run may have, and the most bytes its arrays may take unpacked.
        room: opens a file for the unpacked arrays.

    Raises:
        BadRequestError: it is not a run file, or takes too much when unpacked. NewerRunError: a newer version made it.
        RunShapeError: its contents contradict its header. TextTooLongError: the text has too many tokens.
        QueueFullError, NoSpaceError: there is no room for the unpacked arrays.
    """
    called = "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME] or "run"
    limits = HeaderLimits(
        min(LONGEST_HEADER, HEADER_BYTES + HEADER_BYTES_A_TOKEN * most_tokens),
        min(MOST_ITEMS, HEADER_VALUES + HEADER_VALUES_A_TOKEN * most_tokens),
    )
    try:
        found = _read(path, called, limits, most_tokens, most_bytes, room)
    except (BadRequestError, RunShapeError, QueueFullError, NoSpaceError):
        raise
    except NewerRunError as error:
        raise NewerRunError(
            f"{called} was made by a newer version of this program. Open it on a server that runs that version."
        ) from error
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a position before the file's start
            raise
        why = f" ({error})" if isinstance(error, DamagedFileError) else ""
        raise BadRequestError(
            f"{called} is not a run of this program, or was cut short{why}. Choose a .npz or .safetensors file that "
            "the page, a notebook or the shell has saved."
        ) from error
    check_run(found)
    if not isinstance(found.header.get("fingerprint"), str):
        raise RunShapeError(f"{called} does not say which weights computed it. Run the text again, and save that run.")
    unknown = unknown_arrays(found)
    header = {name: value for name, value in found.header.items() if name not in (BESIDE, "outdated", "corrected")}
    header |= {"key": digest, "file": {"name": called, "key": found.key}}
    if found.outdated:
        header["outdated"] = list(found.outdated)
    if found.corrected:
        header["corrected"] = list(found.corrected)
    foreign = frozenset(unknown)
    kept = {name: found.arrays[name] for name in found.arrays if name not in foreign}
    return ForeignRun(ModelRun(header, kept), tuple(_left_out(unknown)))


def _check_arrays(count: int, called: str) -> None:
    if count > MOST_MEMBERS:
        raise BadRequestError(f"{called} holds more arrays than any run. Choose a file that this program has saved.")


def _read(path: Path, called: str, limits: HeaderLimits, most_tokens: int, most_bytes: int, room: Room) -> ModelRun:
    """Read a file of either kind as a run whose arrays are mapped; raises what reading it raises."""
    if not zipfile.is_zipfile(path):
        found = read_run(path, limits)
        _check_arrays(len(found.arrays), called)
        _check_tokens(found, called, most_tokens)
        return found
    _check_arrays(_members_at_most(path), called)
    with NpzFile(path) as stored:
        if stored.size > most_bytes:
            raise BadRequestError(
                f"{called} needs {stored.size / 1e6:,.0f} MB unpacked; this server accepts at most "
                f"{most_bytes / 1e6:,.0f} MB. Save the run without all attention weights."
            )
        said = stored.text("header", limits.bytes)
        declared = _Declared({name: stored.layout(name) for name in stored.names if name not in NO_ARRAYS})
        outline = ModelRun(*upgraded(parse_header(said.encode(), limits), declared))
        _check_tokens(outline, called, most_tokens)
        check_declared(outline)
        made = room(stored.size)
        try:
            layouts = {name: (layout.type, layout.shape) for name, layout in declared.layouts.items()}
            write_pieces(made.file, layouts, stored.pieces, {"header": said})
            made.file.flush()
            return read_run(made.path)
        finally:
            made.close()


class _Declared(Mapping[str, np.ndarray]):
    """Arrays of the types and shapes that an npz file declares, without their values: they take no memory."""

    def __init__(self, layouts: Mapping[str, Layout]) -> None:
        self.layouts = layouts

    def __getitem__(self, name: str) -> np.ndarray:
        return np.broadcast_to(np.zeros((), self.layouts[name].type), self.layouts[name].shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layouts)

    def __len__(self) -> int:
        return len(self.layouts)


def _check_tokens(run: ModelRun, called: str, most_tokens: int) -> None:
    if len(run) > most_tokens:
        raise TextTooLongError(
            f"{called} has {len(run):,} tokens; this server takes at most {most_tokens:,}. Save the run of a shorter "
            "text."
        )


def _members_at_most(path: Path) -> int:
    """Return an upper bound on the number of members of an archive, without listing them."""
    found, before = 0, b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found += (before + piece).count(MEMBER)
            before = (before + piece)[1 - len(MEMBER) :]
    return found


def _left_out(unknown: Sequence[str]) -> list[str]:
    """What was left out, in words: results and weights, which are computed again when they are shown, and the rest by
    name."""
    found = []
    if any(name.startswith(DERIVED) for name in unknown):
        found.append("its derived results, which are computed again when you open their tabs")
    if any(ATTENTION in name for name in unknown):
        found.append("its attention weights, which follow from its queries and keys")
    others = [name for name in unknown if not name.startswith(DERIVED) and ATTENTION not in name]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        found.append(f"arrays that this version does not know ({', '.join(name[:40] for name in others[:3])}{more})")
    return found
