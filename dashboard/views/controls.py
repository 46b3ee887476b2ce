"""The controls in a view's options. Each has a default and bounds, and knows how an address writes its value."""

from __future__ import annotations

import math
import unicodedata
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Any

from dashboard.contracts.model_info import ModelKind

ALL_KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")


@dataclass(frozen=True)
class Control(ABC):
    """What all controls have in common.

    Attributes:
        name: makes the component's id and the address parameter, `<view>-<name>`. label: what a person reads.
        kinds: the model kinds that it applies to. help: an extra sentence if the label is not enough.
        shared: one control for all views of the card that declare it; its id and address parameter are
            `<card>-<name>`. needs: what a text must have for it to apply (`analysis.attention_reading.offered`).
        when: it applies only if one of these controls of the view has one of these values, as (name, values).
        beside: it changes only what the page draws beside the figure: neither figure nor text of the view reads it.
    """

    name: str
    label: str
    _: KW_ONLY
    kinds: tuple[ModelKind, ...] = ALL_KINDS
    help: str = ""
    shared: bool = False
    needs: str = ""
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    beside: bool = False

    @property
    @abstractmethod
    def default(self) -> Any:
        """The value before anyone has chosen one."""

    @abstractmethod
    def parse(self, raw: object) -> Any:
        """Convert a value from a component or an address; anything invalid becomes the default."""

    def takes(self, raw: object) -> bool:
        """Whether `raw` is valid, either as a value or as another way to write one."""
        return self.parse(raw) != self.default or raw == self.text(self.default)

    def words(self, value: Any) -> str:
        """Format a value for a person."""
        return self.text(value) or "none"

    def text(self, value: Any) -> str:
        """Format a value for an address."""
        return str(value)


@dataclass(frozen=True)
class Choice(Control):
    """One choice of a few: `choices` are (value, label) pairs, and the first is the default."""

    choices: tuple[tuple[str, str], ...]

    @property
    def default(self) -> str:
        return self.choices[0][0]

    def parse(self, raw: object) -> str:
        return raw if isinstance(raw, str) and raw in dict(self.choices) else self.default

    def words(self, value: str) -> str:
        return dict(self.choices)[value]


@dataclass(frozen=True)
class Number(Control):
    """A typed number from `least` to `most` in steps of `step`."""

    least: float
    most: float
    start: float
    step: float = 1

    @property
    def default(self) -> float:
        return self.start

    def parse(self, raw: object) -> float:
        try:
            value = float(raw) if isinstance(raw, (int, float, str)) and not isinstance(raw, bool) else math.nan
        except (ValueError, OverflowError):
            return self.start
        if not self.least <= value <= self.most:
            return self.start
        steps = round((value - self.least) / self.step)
        found = float(f"{self.least + steps * self.step:.9g}")  # as an address writes it
        return int(found) if isinstance(self.step, int) and isinstance(self.least, int) else found

    def text(self, value: float) -> str:
        return f"{value:.9g}"


@dataclass(frozen=True)
class Slider(Number):
    """A number set with a slider."""


@dataclass(frozen=True)
class Switch(Control):
    """On or off."""

    start: bool = False

    @property
    def default(self) -> bool:
        return self.start

    def parse(self, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        return {"on": True, "off": False}.get(raw, self.start) if isinstance(raw, str) else self.start

    def text(self, value: bool) -> str:
        return "on" if value else "off"


@dataclass(frozen=True)
class Text(Control):
    """A line of text with at most `longest` characters."""

    longest: int = 80

    @property
    def default(self) -> str:
        return ""

    def parse(self, raw: object) -> str:
        if (
            not isinstance(raw, str)
            or len(raw) > self.longest
            or any(unicodedata.category(sign) == "Cc" for sign in raw)
        ):
            return ""
        return raw.replace("\u00a0", " ")


@dataclass(frozen=True)
class Tokens(Control):
    """Positions of at most `most` tokens of the text, typed with commas between them: "3, 8"."""

    most: int = 8

    @property
    def default(self) -> str:
        return ""

    def parse(self, raw: object) -> str:
        parts = [part.strip() for part in raw.split(",")] if isinstance(raw, str) and raw.strip() else []
        sound = len(parts) <= self.most and all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts)
        return ", ".join(str(int(part)) for part in parts) if sound else ""

    @staticmethod
    def positions(value: str) -> tuple[int, ...]:
        """The positions in a value."""
        return tuple(int(part) for part in value.split(",") if part.strip())


SHOW = Choice("show", "Show as", (("figure", "Figure"), ("table", "Table of numbers")))
