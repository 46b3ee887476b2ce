"""Derived results: computed later from a run, because they cost too much for every run, or need a question.

A result's name is permanent and made of its run, its kind and its parameters; asking the same gives the same result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dashboard.contracts.request import KEY_PATTERN, is_run_key
from dashboard.errors import BadRequestError

KIND = re.compile(r"[a-z][a-z0-9-]{0,39}")
NAME = re.compile(rf"{KEY_PATTERN.pattern}\.{KIND.pattern}-[0-9a-f]{{16}}")
MOST_PARAMETERS = 12
LONGEST_VALUE = 2_000  # characters of a text parameter
LARGEST_NUMBER = 2**53 - 1  # largest integer that Python, JSON and a browser write alike
MODEL_RESULTS = 1  # raise it when a result of models gets other numbers or arrays: earlier ones are then not found
BESIDE = "derived"  # prefix of derived arrays' names in a file that also holds their run

Value = str | int | float | bool


@dataclass(frozen=True)
class DerivedRequest:
    """One question about a run, or about its model.

    Attributes:
        run: the run's key. kind: what to compute, by the name of its file in `dashboard.compute`.
        parameters: (name, value) in the order of names. A whole number is an `int`: a browser makes no difference
            between 1.0 and 1, and the result has one name.
        model: the model's key (`model_key`) if the answer depends on the model alone, so that all its runs share it and
            `run` only says through which one it was asked; "" if it depends on the run.

    Raises:
        BadRequestError: a field has the wrong type or form. `dashboard.compute` checks whether kind and parameters
            exist.
    """

    run: str
    kind: str
    parameters: tuple[tuple[str, Value], ...] = ()
    model: str = ""

    def __post_init__(self) -> None:
        keys = (self.run,) if self.model == "" else (self.run, self.model)
        if not all(map(is_run_key, keys)) or not isinstance(self.kind, str) or not KIND.fullmatch(self.kind):
            raise BadRequestError(
                "The requested result does not say which run it belongs to, or what to compute. Reload the page."
            )
        if len(self.parameters) > MOST_PARAMETERS or not all(map(_is_parameter, self.parameters)):
            raise BadRequestError("The requested result has parameters that cannot be read. Reload the page.")
        object.__setattr__(self, "parameters", tuple(sorted((name, _plain(value)) for name, value in self.parameters)))

    @classmethod
    def of(cls, run: str, kind: str, **parameters: Value) -> DerivedRequest:
        """Make the request with these parameters."""
        return cls(run, kind, tuple(parameters.items()))

    @classmethod
    def from_json(cls, raw: object) -> DerivedRequest:
        """Parse a decoded JSON object; every defect is a `BadRequestError`."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("parameters", {}), Mapping):
            raise BadRequestError("The requested result is not a JSON object. Reload the page.")
        parameters = tuple(raw.get("parameters", {}).items())
        return cls(raw.get("run"), raw.get("kind"), parameters, raw.get("model", ""))  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        model = {"model": self.model} if self.model else {}
        return {"run": self.run, "kind": self.kind, "parameters": dict(self.parameters), **model}

    @property
    def owner(self) -> str:
        """The key of what the answer belongs to: the model's or the run's."""
        return self.model or self.run

    def asks_like(self, second: DerivedRequest) -> bool:
        """Whether both have the same answer."""
        return (self.owner, self.kind, self.parameters) == (second.owner, second.kind, second.parameters)

    @property
    def suffix(self) -> str:
        """The kind and 16 hex digits of the parameters' sha256: the result's name among those of its owner."""
        content = json.dumps(dict(self.parameters), sort_keys=True, ensure_ascii=True)
        return f"{self.kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    @property
    def name(self) -> str:
        """The result's name everywhere: of its job, of its file in the store, of its place on the page."""
        return f"{self.owner}.{self.suffix}"


def model_key(fingerprint: str, dtype: str) -> str:
    """Return the key of a model, to which the results that depend on no text belong; it has the form of a run's key.

    Args:
        fingerprint: of the model's files, as in run keys. dtype: what the model computes in.
    """
    content = json.dumps(["model", MODEL_RESULTS, fingerprint, dtype])
    return hashlib.sha256(content.encode()).hexdigest()


def is_result_name(value: object) -> bool:
    """Whether `value` has the form of a derived result's name (`DerivedRequest.name`)."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_parameter(pair: object) -> bool:
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0].isidentifier():
        return False
    value = pair[1]
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE
    return isinstance(value, (int, float)) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER  # False for NaN


def _plain(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Derived:
    """A result: `arrays` by name, and `facts`, JSON beside them.

    The kind's file in `dashboard.compute` says what they mean.
    """

    request: DerivedRequest
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def write_beside(results: Sequence[Derived]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a run's header says of the results in its file, by their suffix, and their arrays, by their names in
    that file."""
    rows = {
        one.request.suffix: {
            "kind": one.request.kind,
            "parameters": dict(one.request.parameters),
            "facts": dict(one.facts),
        }
        for one in results
    }
    return rows, {f"{BESIDE}/{one.request.suffix}/{name}": one.arrays[name] for one in results for name in one.arrays}


def read_beside(request: DerivedRequest, row: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Derived | None:
    """Read a result from its header row and the file's arrays; None if the row belongs to another request."""
    if row.get("parameters") != dict(request.parameters):
        return None
    start = f"{BESIDE}/{request.suffix}/"
    own = {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}
    return Derived(request, own, row.get("facts", {}))
