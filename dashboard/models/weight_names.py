"""The names of a model folder's weights, from headers alone. Nothing is unpickled; no torch."""

from __future__ import annotations

import pickletools
import struct
import zipfile
from pathlib import Path

from dashboard.errors import ForeignFileError
from dashboard.models.fingerprint import weight_files
from dashboard.models.foreign import MOST_BYTES, open_regular, parse_object

LONGEST_PICKLE = 50_000_000  # bytes of a PyTorch checkpoint's index
TEXT = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE")


def weight_names(folder: Path) -> frozenset[str]:
    """The names of all weights; empty where they cannot be told (a PyTorch checkpoint of the old format, a damaged file)."""
    names: set[str] = set()
    for path in weight_files(folder):
        try:
            names |= _safetensors_names(path) if path.suffix == ".safetensors" else _pickled_names(path)
        except ForeignFileError:
            return frozenset()  # `count_parameters` says what is wrong with it
    return frozenset(names)


def _safetensors_names(path: Path) -> set[str]:
    with open_regular(path) as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= MOST_BYTES:
            return set()
        return set(parse_object(stream.read(length), path.name)) - {"__metadata__"}


def _pickled_names(path: Path) -> set[str]:
    """The texts with a dot in a checkpoint's index that could be names of weights; the index is read, and not run."""
    try:
        with zipfile.ZipFile(path) as archive:
            index = next(entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl"))
            with archive.open(index) as stream:
                content = stream.read(LONGEST_PICKLE)
        texts = [str(value) for code, value, _ in pickletools.genops(content) if code.name in TEXT]
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError):
        return set()  # another format: its names show when it is loaded
    return {text for text in texts if "." in text and " " not in text}
