"""What is selected: a small value made in the browser, parsed once at the edge.

`Selection` alone defines the fields. Addresses, the page, exports and the shell go through `FIELDS`, which is built
from its annotations, and the browser receives the same list (`fields_for_browser`): a new field is one new line here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from dashboard.contracts.request import is_run_key
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import STREAMS
from dashboard.errors import BadSelectionError, ReplacedRunError

Bound = Literal["token", "layer", "head"]
LONGEST_STAMP = 64  # characters
MOST_HEADS = 8  # heads that may be added to the selected one
MOST_TOKENS = 20  # likewise
REPLACED = "This run was computed again. Reload the page to see the new one."


@dataclass(frozen=True)
class Index:
    """A field that is an index from 0.

    Attributes:
        title: how a sentence names the field. of: what it counts, which bounds it (`ModelRun.counts`).
        was: the field's name in older addresses.
    """

    title: str
    of: Bound
    was: str | None = None

    def parse(self, value: object) -> int:
        """Parse an index, which may come as text ("3").

        Raises:
            BadSelectionError: `value` is not an index.
        """
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:9])
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            raise BadSelectionError(
                f"The selection's {self.title} is {repr(value)[:40]}; give a whole number, 0 or more."
            )
        return value


@dataclass(frozen=True)
class RunName:
    """A field that is a run's key. The attributes are those of `Index`."""

    title: str
    was: str | None = None

    def parse(self, value: object) -> str:
        """Parse a run's key.

        Raises:
            BadSelectionError: `value` is not a run's key.
        """
        if not is_run_key(value):
            raise BadSelectionError(
                f"The selection's {self.title} is not a run's name. Reload the page, or run a text."
            )
        return str(value)


@dataclass(frozen=True)
class Choice:
    """A field that takes one of a few names. The attributes are those of `Index`, and `names`."""

    title: str
    names: tuple[str, ...]
    was: str | None = None

    def parse(self, value: object) -> str:
        """Parse one of the names.

        Raises:
            BadSelectionError: `value` is not one of them.
        """
        if value not in self.names:
            raise BadSelectionError(
                f"The selection's {self.title} is {repr(value)[:40]}; choose {' or '.join(self.names)}."
            )
        return str(value)


@dataclass(frozen=True)
class Stamp:
    """A field that names one capture of a run. The attributes are those of `Index`."""

    title: str
    was: str | None = None

    def parse(self, value: object) -> str:
        """Parse a stamp.

        Raises:
            BadSelectionError: `value` is not a stamp.
        """
        if not isinstance(value, str) or len(value) > LONGEST_STAMP:
            raise BadSelectionError(f"The selection's {self.title} is not that of a run. Reload the page.")
        return value


@dataclass(frozen=True)
class Several:
    """A field that holds several indices, or pairs of them: "3,5" or "24.4,10.8" in JSON and in an address.

    Attributes:
        title: how a sentence names the field. of: what one of its items counts: one bound, or one for each index of a
            pair. most: how many items there may be. was: the field's name in older addresses.
    """

    title: str
    of: tuple[Bound, ...]
    most: int
    was: str | None = None

    def parse(self, value: object) -> tuple[Any, ...]:
        """Parse the items, each once, in order; indices, or tuples of them if there is more than one bound.

        Raises:
            BadSelectionError: an item is not what the field holds, or there are too many.
        """
        if not isinstance(value, str) or len(value) > 30 * self.most:
            raise self._bad(value)
        items = tuple(dict.fromkeys(self.item(text) for text in value.split(",")))
        if len(items) > self.most:
            raise BadSelectionError(f"The selection has {len(items)} {self.title}; select at most {self.most}.")
        return items

    def item(self, text: str) -> Any:
        """Parse one item: "3", or "24.4" for a pair.

        Raises:
            BadSelectionError: it is not one.
        """
        parts = text.split(".")
        if len(parts) != len(self.of) or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
            raise self._bad(text)
        indices = tuple(int(part) for part in parts)
        return indices[0] if len(self.of) == 1 else indices

    def text(self, items: Iterable[Any]) -> str | None:
        """Write the items as `parse` reads them; None if there are none."""
        return ",".join(".".join(map(str, item)) if len(self.of) > 1 else str(item) for item in items) or None

    def bounds(self, item: Any) -> dict[str, int]:
        """What an item counts, and the index."""
        return dict(zip(self.of, item if len(self.of) > 1 else (item,), strict=True))

    def _bad(self, value: object) -> BadSelectionError:
        example = ",".join([".".join("1" for _ in self.of), ".".join("2" for _ in self.of)])
        return BadSelectionError(f"The selection's {self.title} are {repr(value)[:40]}; write them like {example}.")


@dataclass(frozen=True)
class Selection:
    """One selection, which every view reads and can propose to change.

    Attributes:
        run: key of the run on show.
        token, layer, head: indices from 0.
        second: a second token, or None.
        second_run: key of a second run, or None.
        stream: the stream that token, second token and layer belong to ("encoder", "decoder"), or None for the run's
            main stream.
        stamp: which capture of the run is meant (`ModelRun.stamp`), or None for the stored one.
        heads: further heads beside the selected one, as (layer, head); the selected one may be among them, and then
            stays when another is selected. tokens: further tokens, likewise. `all_heads` and `all_tokens` name each
            once.
    """

    run: Annotated[str, RunName("run")]
    token: Annotated[int, Index("token", "token")]
    layer: Annotated[int, Index("layer", "layer")]
    head: Annotated[int, Index("head", "head")]
    second: Annotated[int | None, Index("second token", "token", was="other")] = None
    second_run: Annotated[str | None, RunName("second run", was="other_run")] = None
    stream: Annotated[str | None, Choice("stream", STREAMS)] = None
    stamp: Annotated[str | None, Stamp("stamp")] = None
    heads: Annotated[tuple[tuple[int, int], ...], Several("added heads", ("layer", "head"), MOST_HEADS)] = ()
    tokens: Annotated[tuple[int, ...], Several("added tokens", ("token",), MOST_TOKENS)] = ()

    @property
    def all_heads(self) -> tuple[tuple[int, int], ...]:
        """The selected (layer, head) and the added ones, each once."""
        return tuple(dict.fromkeys(((self.layer, self.head), *self.heads)))

    @property
    def all_tokens(self) -> tuple[int, ...]:
        """The selected token and the added ones, each once; not the second token."""
        return tuple(dict.fromkeys((self.token, *self.tokens)))

    @classmethod
    def from_json(cls, raw: object) -> Selection:
        """Parse a decoded JSON object, or an address, whose numbers may come as text.

        A second token equal to the first counts as none.

        Raises:
            BadSelectionError: a field is missing or has a bad value.
        """
        if not isinstance(raw, Mapping) or not is_run_key(raw.get("run")):
            raise BadSelectionError(
                "The selection does not say which run it belongs to. Reload the page, or run a text."
            )
        found: dict[str, Any] = {}
        for field in FIELDS:
            value = field.value_in(raw)
            found[field.name] = field.default if value is None and field.optional else field.kind.parse(value)
        return cls(**apart(found))

    def to_json(self) -> dict[str, Any]:
        """Every field by its name, as `from_json` reads it."""
        return {field.name: field.plain(getattr(self, field.name)) for field in FIELDS}

    def to_query(self) -> dict[str, str]:
        """Return the fields that an address holds, as text, leaving out those that are None and the stamp: a link means
        the run, not one capture of it.
        """
        held, known = self.to_json(), {field.name for field in FIELDS if field.in_address}
        return {name: str(value) for name, value in held.items() if name in known and value is not None}

    def checked(self, run: ModelRun) -> Selection:
        """Return this selection, provided that `run` has everything it names.

        Raises:
            BadSelectionError: `run` lacks something. ReplacedRunError: another capture of the run is meant.
        """
        if self.stamp is not None and self.stamp != run.stamp:
            raise ReplacedRunError(REPLACED)
        for field in LOCATION:
            run.check(**{field.kind.of: getattr(self, field.name)}, stream=self.stream)
        for field in SEVERAL:
            for item in getattr(self, field.name):
                run.check(**field.kind.bounds(item), stream=self.stream)
        return self


@dataclass(frozen=True)
class SelectionField:
    """A field of `Selection`.

    Attributes:
        name: attribute of `Selection`, name in its JSON, parameter of the page's address. kind: what the field holds.
        optional: the field may be absent. default: its value then.
    """

    name: str
    kind: Any
    optional: bool
    default: Any = None

    @property
    def in_address(self) -> bool:
        return not isinstance(self.kind, Stamp)

    def plain(self, value: Any) -> Any:
        """Return a value of the field as JSON holds it."""
        return self.kind.text(value) if isinstance(self.kind, Several) else value

    def value_in(self, raw: Mapping[str, Any]) -> Any:
        """Return the field's value in an object or an address, under its name or an older one; None if it has none."""
        value = raw.get(self.name)
        return (
            raw.get(self.kind.was)
            if value in (None, "") and self.kind.was is not None
            else value
            if value != ""
            else None
        )


def _declared() -> tuple[SelectionField, ...]:
    hints = get_type_hints(Selection, include_extras=True)
    return tuple(
        SelectionField(one.name, get_args(hints[one.name])[1], one.default is not MISSING, one.default)
        for one in fields(Selection)
    )


FIELDS = _declared()
SEVERAL = tuple(field for field in FIELDS if isinstance(field.kind, Several))  # further places within a run
LOCATION = tuple(field for field in FIELDS if isinstance(field.kind, Index))  # what is selected within a run


def apart(location: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same location, by its fields' names, with no token as its own second one."""
    return {**location, "second": None if location.get("second") == location.get("token") else location.get("second")}


def fields_for_browser() -> list[dict[str, Any]]:
    """Return `FIELDS` as JSON for the page's scripts: `name`, `of` (what an index counts; null for other fields),
    `optional`, `address` (whether the field appears in the page's address) and `was` (an older name, or null). A field
    that holds several has `each` (what an item counts) and `most`, too.
    """
    return [
        {
            "name": field.name,
            "of": field.kind.of if field in LOCATION else None,
            "optional": field.optional,
            "address": field.in_address,
            "was": field.kind.was,
            **({"each": field.kind.of, "most": field.kind.most} if field in SEVERAL else {}),
        }
        for field in FIELDS
    ]
