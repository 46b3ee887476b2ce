"""Versions of stored runs: which arrays they have (`SCHEMA`) and which numbers are in them (`NUMBERS`).

A run's key never changes, so its file may be older than this program. A file's header says what made it: `schema` and
`numbers`. An older file is read as it is, through the functions below, and marked (`header["outdated"]`); submitting
its text again computes it again.

To change the meaning of a stored value, add one line to `CORRECTIONS`. To add an array, add one line to `SCHEMAS`;
a text must then be run again to get it, so older runs become outdated (with `lacks`, only those of some models). To
rename arrays or header fields, add one line to `SCHEMAS`, which makes no run outdated, and to `UPGRADES` the function
that reads a file of the previous schema.
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
from dashboard.contracts.model_info import Without, no_predictions
from dashboard.contracts.run_header import stamp_of, stream_of
from dashboard.errors import NewerRunError

Header = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
Upgrade = Callable[[Header, Arrays], tuple[Header, Arrays]]

CORRECTIONS: tuple[str, ...] = (  # one line per fix, the latest last: what was wrong before, for people to read
    "the first numbers",
    "tokens have marks, and every character belongs to one; a mask that was typed has no rank and no surprisal",
    "a model's weights decide what it predicts; a file with weights that have no place is refused, not read in part",
    "the entropy beside impossible tokens (logits of −∞) is a number; warnings about values that are not finite name "
    "the layer",
)


@dataclass(frozen=True)
class Schema:
    """Which arrays and header fields there are.

    Attributes:
        change: what is new since the previous schema, for people to read. adds: whether files of the previous schema
            lack something. lacks: which of them do, by the header as this version reads it; by default, all.
    """

    change: str
    adds: bool
    lacks: Callable[[Header], bool] = lambda _header: True

    def outdates(self, header: Header) -> bool:
        """Whether a file of an earlier schema, with this header, lacks what is new."""
        return self.adds and self.lacks(header)


CLASSIFIER: Without = "classifier"
ROTARY = frozenset(  # families whose rotary frequencies are stored
    {
        *("arcee", "cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "gpt_neox"),
        *("gpt_oss", "granite", "helium", "llama", "ministral", "mistral", "mixtral", "modernbert", "nemotron", "olmo"),
        *("olmo2", "olmo3", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3"),
        *("stablelm", "starcoder2"),
    }
)
WAS_CLASSIFIER = "is a classifier; its classes are not shown yet. It has no token predictions."  # in older headers


def _lacks_own_classes(header: Header) -> bool:
    """Whether a run of an adapter has no classes, though its model is a classifier."""
    adapter = "adapter of " in str(header.get("source") or "")
    return adapter and header.get("without") == CLASSIFIER and not header.get("classes")


SCHEMAS: tuple[Schema, ...] = (  # the latest last
    Schema("the first arrays", adds=True),
    Schema("names of arrays begin with the stream or the kind of attention", adds=False),
    Schema("a classifier's classes are stored", adds=True, lacks=lambda header: header.get("without") == CLASSIFIER),
    Schema(
        "the frequencies of rotary embeddings are stored",
        adds=True,
        lacks=lambda header: header["model"].get("family") in ROTARY,
    ),
    Schema("heads have scores for duplicate tokens and induction, and beyond the first token", adds=True),
    # and a text may be a chat message, which earlier versions would take for what the model read
    Schema("the classes of a classifier's adapter are stored", adds=True, lacks=_lacks_own_classes),
)
SHARED = ("given/", "masked/", "derived/", "vocabulary")  # prefixes of names without a stream
# the name of masked predictions when they were the only derived result
FILL = re.compile(r"fill([/-])(\d{1,9})(/.*)?")
MASKED = "masked-prediction"


class Renamed(Mapping[str, np.ndarray]):
    """Arrays under other names; each is read on access."""

    def __init__(self, arrays: Arrays, named: Callable[[str], str]) -> None:
        self._arrays, self._old = arrays, {named(name): name for name in arrays}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[self._old[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._old)

    def __len__(self) -> int:
        return len(self._old)


def _with_streams(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Upgrade a run from the time when every model had one stream, which the names left out."""
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


def _with_classifiers(header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
    """Upgrade a run from the time when only a sentence said that its model is a classifier."""
    if not str(header.get("no_predictions") or "").endswith(WAS_CLASSIFIER):
        return header, arrays
    said = no_predictions(str(header["model"].get("title")), CLASSIFIER, classes=True)
    return header | {"without": CLASSIFIER, "no_predictions": said}, arrays


def names_before(request: DerivedRequest) -> tuple[str, ...]:
    """Return the names under which earlier versions stored this derived result."""
    position = dict(request.parameters).get("position")
    return (f"{request.run}.fill-{position}",) if request.kind == MASKED and isinstance(position, int) else ()


def request_of(run: str, name: str, metadata: Mapping[str, str]) -> DerivedRequest:
    """Return the request that a derived result's file answers; `BadRequestError` or `ValueError` if it has none."""
    fill = FILL.fullmatch(name.removeprefix(f"{run}."))
    if fill and "request" not in metadata:
        return DerivedRequest.of(run, MASKED, position=int(fill[2]))
    return DerivedRequest.from_json(json.loads(metadata.get("request", "null")))


# schema → function that reads its files as the next schema; a schema that only adds arrays needs none
UPGRADES: Mapping[int, Upgrade] = MappingProxyType({1: _with_streams, 2: _with_classifiers})
NUMBERS = len(CORRECTIONS)
SCHEMA = len(SCHEMAS)
NEWER = (
    "This run was made by a newer version of this program, and only that version can read it. "
    "Open it there, or run its text again to compute it with this version."
)


def made_now() -> dict[str, int]:
    """Return the header fields that say what makes runs now."""
    return {"schema": SCHEMA, "numbers": NUMBERS}


def upgraded(header: Mapping[str, Any], arrays: Arrays) -> tuple[Header, Arrays]:
    """Return header and arrays of a file under this version's names, with the numbers as captured.

    The header's `outdated` lists, for people, what has changed since, and `corrected` those of the changes that change
    stored numbers; each is absent if there are none.

    Raises:
        NewerRunError: this version does not know the file's schema.
        ValueError: the header's `numbers` are invalid.
    """
    schema, numbers = header.get("schema", 1), header.get("numbers", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise NewerRunError(NEWER)
    if isinstance(numbers, bool) or not isinstance(numbers, int) or numbers < 1:
        raise ValueError(f"numbers {numbers!r}")
    found: Header = {**header, "stamp": stamp_of(header)}  # from the file's own content, before anything is changed
    for version in range(schema, SCHEMA):
        if version in UPGRADES:
            found, arrays = UPGRADES[version](found, arrays)
    captured = found.get("captured_schema", schema)  # set in files that a version in between read and exported
    found |= {"schema": SCHEMA, "numbers": numbers} | ({} if captured == SCHEMA else {"captured_schema": captured})
    for name in ("outdated", "corrected"):
        found.pop(name, None)
    corrected = list(CORRECTIONS[numbers:])
    changes = [*(schema.change for schema in SCHEMAS[captured:] if schema.outdates(found)), *corrected]
    found |= ({"outdated": changes} if changes else {}) | ({"corrected": corrected} if corrected else {})
    return found, arrays
