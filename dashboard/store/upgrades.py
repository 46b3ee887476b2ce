"""Versions of stored runs: which arrays there are (`SCHEMA`) and which numbers stand in them (`NUMBERS`).

A run's key stays the same for ever, so its file may be older than this program. A file says in its header with what it
was made: `schema` and `numbers`. An older one is read as it is, through the functions below, and says so
(`header["outdated"]`); whoever submits its text again gets it computed again.

To change what a stored value is: add one line to `CORRECTIONS`. To add an array: add one line to `SCHEMAS`; a text must
then be run again to have it, so older runs are outdated. To call arrays or header fields otherwise: add one line to
`SCHEMAS`, which makes no run outdated, and to `UPGRADES` the function that reads a file of the schema before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run_header import stamp_of, stream_of
from dashboard.errors import NewerRunError

Header = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
Upgrade = Callable[[Header, Arrays], tuple[Header, Arrays]]

CORRECTIONS: tuple[str, ...] = (  # one line a landed fix, the latest last: what was wrong before, as people read it
    "the first numbers",
    "marks of tokens, and every character in one; a mask that was typed has no rank and no surprisal",
    "what a model predicts is judged by its weights; a file with weights that have no place is no longer read in part",
    "the entropy beside impossible tokens (logits of −∞) is a number; values that are not finite are said with their "
    "layer",
)


@dataclass(frozen=True)
class Schema:
    """Which arrays and header fields there are.

    Attributes:
        change: since the schema before, as people read it. adds: whether files of the schema before lack something.
    """

    change: str
    adds: bool


SCHEMAS: tuple[Schema, ...] = (  # the latest last
    Schema("the first arrays", adds=True),
    Schema("names of arrays begin with the stream or the kind of attention", adds=False),
)
SHARED = ("given/", "masked/", "derived/", "vocabulary")  # begin the names that carry no stream
# what masked predictions were called when they were the one derived result
FILL = re.compile(r"fill([/-])(\d{1,9})(/.*)?")
MASKED = "masked-prediction"


class Renamed(Mapping[str, np.ndarray]):
    """Arrays by other names; each is read when it is asked for."""

    def __init__(self, arrays: Arrays, named: Callable[[str], str]) -> None:
        self._arrays, self._old = arrays, {named(name): name for name in arrays}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[self._old[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._old)

    def __len__(self) -> int:
        return len(self._old)


def _with_streams(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """A run of the time when every model had one stream, and no name said which."""
    stream = stream_of(recipe.get("mask", "full") for recipe in header["recipes"])
    found = header | {name: {stream: header[name]} for name in ("tokens", "recipes")}
    fills = {match[2] for match in map(FILL.fullmatch, arrays) if match}
    requests = {place: DerivedRequest.of(header["key"], MASKED, position=int(place)) for place in fills}
    derived = {
        one.suffix: {"kind": one.kind, "parameters": dict(one.parameters), "facts": {}} for one in requests.values()
    }

    def named(name: str) -> str:
        fill = FILL.fullmatch(name)
        if fill:
            return f"derived/{requests[fill[2]].suffix}{fill[3]}"
        return name if name.startswith(SHARED) else f"{stream}/{name}"

    return found | ({"derived": derived} if derived else {}), Renamed(arrays, named)


def names_before(request: DerivedRequest) -> tuple[str, ...]:
    """Names under which earlier versions kept this derived result."""
    position = dict(request.parameters).get("position")
    return (f"{request.run}.fill-{position}",) if request.kind == MASKED and isinstance(position, int) else ()


def request_of(run: str, name: str, metadata: Mapping[str, str]) -> DerivedRequest:
    """What a file with a derived result answers; `BadRequestError` or `ValueError` where it does not say."""
    fill = FILL.fullmatch(name.removeprefix(f"{run}."))
    if fill and "request" not in metadata:
        return DerivedRequest.of(run, MASKED, position=int(fill[2]))
    return DerivedRequest.from_json(json.loads(metadata.get("request", "null")))


# schema → reads a file of it as one of the next; a schema that only adds arrays needs none
UPGRADES: Mapping[int, Upgrade] = MappingProxyType({1: _with_streams})
NUMBERS = len(CORRECTIONS)
SCHEMA = len(SCHEMAS)
NEWER = (
    "This run was made by a newer version of this program, which alone can read it. "
    "Open it there, or run its text again to compute it with this version."
)


def made_now() -> dict[str, int]:
    """The header fields that say with what a run is made."""
    return {"schema": SCHEMA, "numbers": NUMBERS}


def upgraded(header: Mapping[str, Any], arrays: Arrays) -> tuple[Header, Arrays]:
    """Header and arrays of a file as this version names them, the numbers as they were captured.

    `outdated` of the header lists what has changed since, for people; it is absent where nothing has.

    Raises:
        NewerRunError: the file's schema is one that this version does not know.
        ValueError: the header's `numbers` are none.
    """
    schema, numbers = header.get("schema", 1), header.get("numbers", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise NewerRunError(NEWER)
    if isinstance(numbers, bool) or not isinstance(numbers, int) or numbers < 1:
        raise ValueError(f"numbers {numbers!r}")
    found: Header = {**header, "stamp": stamp_of(header)}  # of what the file says, before anything is changed
    for version in range(schema, SCHEMA):
        if version in UPGRADES:
            found, arrays = UPGRADES[version](found, arrays)
    captured = found.get("captured_schema", schema)  # of a file that was read and exported by a version in between
    found |= {"schema": SCHEMA, "numbers": numbers} | ({} if captured == SCHEMA else {"captured_schema": captured})
    found.pop("outdated", None)
    changes = [*(schema.change for schema in SCHEMAS[captured:] if schema.adds), *CORRECTIONS[numbers:]]
    return (found | {"outdated": changes} if changes else found), arrays
