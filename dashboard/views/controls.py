"""The controls in a view's options. Each knows its default, its bounds, and how an address writes its value."""

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
    """What all have.

    Attributes:
        name: makes the component's id and the parameter of the address, `<view>-<name>`. label: what a person reads.
        kinds: the model kinds for which it means something. help: one more sentence, where the label does not say it
            all.
    """

    name: str
    label: str
    _: KW_ONLY
    kinds: tuple[ModelKind, ...] = ALL_KINDS
    help: str = ""

    @property
    @abstractmethod
    def default(self) -> Any:
        """The value before anyone has chosen."""

    @abstractmethod
    def parse(self, raw: object) -> Any:
        """The value that a component or an address means; the default for anything else."""

    def takes(self, raw: object) -> bool:
        """Whether `raw` is understood, as itself or as another way to write the value."""
        return self.parse(raw) != self.default or raw == self.text(self.default)

    def words(self, value: Any) -> str:
        """A value as a person reads it."""
        return self.text(value) or "none"

    def text(self, value: Any) -> str:
        """A value as an address holds it."""
        return str(value)


@dataclass(frozen=True)
class Choice(Control):
    """One of a few: `choices` are (value, label) pairs, the first the default."""

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
    """A number from `least` to `most` in steps of `step`, typed."""

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
        found = self.least + steps * self.step
        return int(found) if isinstance(self.step, int) and isinstance(self.least, int) else found

    def text(self, value: float) -> str:
        return f"{value:.9g}"


@dataclass(frozen=True)
class Slider(Number):
    """A number that is drawn along a line."""


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
    """A line of at most `longest` characters."""

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
    """Positions of several tokens of the text, at most `most`, typed with commas between them: "3, 8"."""

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
        """The positions that a value names."""
        return tuple(int(part) for part in value.split(",") if part.strip())


SHOW = Choice("show", "Show as", (("figure", "Figure"), ("table", "Table of numbers")))
