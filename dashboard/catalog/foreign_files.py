"""Reading files that others have written: regular files only, bounded in bytes and items; errors are one clause.

No torch.

Model folders, GGUF files and the hub's local cache may hold anything. A named pipe would block its reader forever, a
device or a huge file would fill the memory, and parsers of strange content raise whatever they like.
"""

from __future__ import annotations

import json
import os
import stat
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from dashboard.errors import ForeignFileError

MOST_BYTES = 16_000_000  # of one JSON file, or of one header
MOST_ITEMS = 1_000_000  # values of one JSON file: ten times what the largest configuration of a tokenizer has
MOST_NAMES = 10_000  # entries of one folder
LARGEST_NUMBER = 2**63 - 1
LONGEST_SHOWN = 300  # characters of foreign text that a page or a log shows
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def shown(text: str, most: int = LONGEST_SHOWN) -> str:
    """Return `text` as one printable line of bounded length, without marks that change the writing direction."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; never blocks, whatever is at `path`.

    Raises:
        ForeignFileError: there is no file, it cannot be read, or it is a pipe, a socket, a device or a folder.
    """
    try:
        _check_kind(path, os.stat(path).st_mode)  # opening some devices has effects
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        stream = os.fdopen(handle, "rb")
        _check_kind(path, os.fstat(handle).st_mode)
    except (OSError, ValueError) as error:
        raise ForeignFileError(
            f"{shown(path.name)} cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error
    return stream


def _check_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ForeignFileError(f"{shown(path.name)} is {KINDS.get(stat.S_IFMT(mode), 'a folder')}, not a file")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Read all of a regular file; raise `ForeignFileError` if it has more bytes than `most`."""
    with open_regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ForeignFileError(f"{shown(path.name)} is larger than {most / 1e6:,.3g} MB")
    return data


def read_object(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Read the JSON object in a file; raise `ForeignFileError` if there is none that can be read within bounds."""
    return parse_object(read_bytes(path, most), path.name)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON object in `data`, which comes from the file `name`."""
    name = shown(name)
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_ITEMS:  # as objects they take fifty times their bytes
        raise ForeignFileError(f"{name} holds more than {MOST_ITEMS:,} values")
    try:
        found = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"{name} is not UTF-8 text") from error
    except ValueError as error:  # also for a number with thousands of digits
        raise ForeignFileError(f"{name} is not JSON that can be read") from error
    except RecursionError as error:
        raise ForeignFileError(f"{name} is nested too deeply") from error
    if not isinstance(found, dict):
        raise ForeignFileError(f"{name} is not a JSON object")
    return found


def entries_of(folder: Path, most: int = MOST_NAMES) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, in no order.

    Raises:
        ForeignFileError: the folder cannot be read, or holds more entries than `most`; no more are looked at.
    """
    try:
        with os.scandir(folder) as found:
            entries = list(islice(found, most + 1))
    except (OSError, ValueError) as error:
        raise ForeignFileError(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(entries) > most:
        raise ForeignFileError(f"it holds more than {most:,} files and folders")
    return entries


def check_regular(folder: Path) -> None:
    """Raise `ForeignFileError` if the folder holds a pipe, a socket or a device: a loader might wait on it forever."""
    for entry in entries_of(folder):
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a dangling or circular link counts as absent
        if not stat.S_ISDIR(mode):
            _check_kind(Path(entry.path), mode)
