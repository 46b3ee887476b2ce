"""A run file from elsewhere (a notebook, the shell, another server) as a run of this server.

The file may come from anybody, so nothing in it is trusted unchecked (`contracts/run_check.py`), and it cannot take the
place of another run: its key here is a hash of the file. Whoever submits the same text still gets what this server's
own model computes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboard.contracts.derived import BESIDE
from dashboard.contracts.run import ModelRun
from dashboard.contracts.run_check import check_run, unknown_arrays
from dashboard.errors import BadRequestError, RunShapeError, TextTooLongError
from dashboard.exports.run_files import open_run

LONGEST_NAME = 80  # characters of a file's name
MOST_MEMBERS = 100_000  # arrays of an npz file: listing a million takes half a minute and half a gigabyte
MEMBER = b"PK\x01\x02"  # what every line of an archive's list of members begins with
PIECE = 1 << 20  # bytes that are read at a time
DERIVED, ATTENTION = f"{BESIDE}/", "/attention/"


@dataclass(frozen=True)
class ForeignRun:
    """A run that was read from a file.

    Attributes:
        run: under its key on this server. left_out: what the file holds and the run does not, in words.
    """

    run: ModelRun
    left_out: tuple[str, ...]


def read_foreign(path: Path, digest: str, name: str, most_tokens: int, most_bytes: int) -> ForeignRun:
    """Read and check a run file.

    Args:
        digest: sha256 of the file, as 64 hex digits: the run's key on this server.
        name: the file's name, as the sender calls it.
        most_tokens, most_bytes: the most tokens a run may have, and the most bytes its arrays may take unpacked.

    Raises:
        BadRequestError: it is not a run file, or takes too much when unpacked. NewerRunError: a newer version made it.
        RunShapeError: its contents contradict its header. TextTooLongError: the text has too many tokens.
    """
    called = "".join(letter for letter in name if letter.isprintable()).strip()[:LONGEST_NAME] or "run"
    _check_unpacked(path, called, most_bytes)
    try:
        found = open_run(path)
    except BadRequestError as error:
        raise BadRequestError(
            f"{called} is not a run of this program, or was cut short. Choose a .npz or .safetensors file that the "
            "page, a notebook or the shell has saved."
        ) from error
    check_run(found)
    if len(found) > most_tokens:
        raise TextTooLongError(
            f"{called} has {len(found):,} tokens; this server takes at most {most_tokens:,}. Save the run of a shorter "
            "text."
        )
    if not isinstance(found.header.get("fingerprint"), str):
        raise RunShapeError(f"{called} does not say which weights computed it. Run the text again, and save that run.")
    unknown = unknown_arrays(found)
    header = {name: value for name, value in found.header.items() if name not in (BESIDE, "outdated", "corrected")}
    header |= {"key": digest, "file": {"name": called, "key": found.key}}
    if found.outdated:
        header["outdated"] = list(found.outdated)
    if found.corrected:
        header["corrected"] = list(found.corrected)
    kept = {name: found.arrays[name] for name in found.arrays if name not in set(unknown)}
    return ForeignRun(ModelRun(header, kept), tuple(_left_out(unknown)))


def _check_unpacked(path: Path, called: str, most_bytes: int) -> None:
    """Refuse an archive of too many members, or whose members take more than `most_bytes` unpacked, before any is
    read."""
    if not zipfile.is_zipfile(path):
        return
    if _members_at_most(path) > MOST_MEMBERS:
        raise BadRequestError(f"{called} holds more arrays than any run. Choose a file that this program has saved.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return  # `open_run` says what is wrong
    if size > most_bytes:
        raise BadRequestError(
            f"{called} takes {size / 1e6:,.0f} MB unpacked; this server takes at most "
            f"{most_bytes / 1e6:,.0f} MB. Save the run without all attention weights."
        )


def _members_at_most(path: Path) -> int:
    """Return a number that an archive's members do not exceed, without listing them."""
    found, before = 0, b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found += (before + piece).count(MEMBER)
            before = (before + piece)[1 - len(MEMBER) :]
    return found


def _left_out(unknown: Sequence[str]) -> list[str]:
    """Say in words what was left out: results and weights that are computed again when they are looked at, and the rest
    by name."""
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
