"""What a person asks for: one text, read by one model. Its key names the run for ever."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any

from dashboard.errors import BadRequestError, BadTextError, EmptyTextError, TextTooLongError

KEY_VERSION = 1  # of how keys are made; never raised, since every stored run, link and list has its key
FIRST_FIELDS = frozenset({"model", "text", "revision", "text_pair", "options", "top_k"})  # in every key; see `_keyed`
KEY_LENGTH = 64
KEY_PATTERN = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}")  # of a run's key
ALLOWED_CONTROLS = frozenset("\t\n\r")
CHARACTERS_A_TOKEN = 64  # more than any text has for each of its tokens
LONGEST_NAME = 1_000  # characters of a model's name
LONGEST_TEXT = 2_000_000  # characters; longer than any model here reads, and short enough to tokenize
MOST_CANDIDATES = 200  # tokens that are kept at each position


@dataclass(frozen=True)
class CaptureOptions:
    """How a run is captured.

    Attributes:
        top_k: how many of the likeliest tokens are kept at each position.
    """

    top_k: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or not 1 <= self.top_k <= MOST_CANDIDATES:
            raise BadRequestError(f"top_k is {self.top_k!r}; give a whole number from 1 to {MOST_CANDIDATES}.")


@dataclass(frozen=True)
class RunRequest:
    """One text for one model.

    Attributes:
        model: a catalog name, a folder or a hub id.
        text: what the model reads, exactly as typed.
        revision: the model's revision, or None for the one that is here.
        text_pair: the second text of a sentence pair, or None.
        options: how the run is captured.

    Raises:
        EmptyTextError: the text has nothing but white space.
        BadTextError: the text holds control characters or lone surrogates.
        BadRequestError: another field has the wrong type.
    """

    model: str
    text: str
    revision: str | None = None
    text_pair: str | None = None
    options: CaptureOptions = field(default_factory=CaptureOptions)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model or len(self.model) > LONGEST_NAME:
            raise BadRequestError("No model is chosen. Choose one of the listed models.")
        for name in ("revision", "text_pair"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise BadRequestError(f"{name} is {type(value).__name__}; give it as text.")
        check_text(self.text)
        if self.text_pair is not None:
            check_text(self.text_pair)

    def key(self, fingerprint: str) -> str:
        """The run's name for ever: sha256 over the request and the weights' fingerprint, as 64 hex digits.

        Which version of this program computes the run does not matter (`dashboard.store.upgrades`).
        """
        content = json.dumps([KEY_VERSION, fingerprint, _keyed(self)], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: object) -> RunRequest:
        """Parse a decoded JSON object; every defect is a `BadRequestError`."""
        if not isinstance(raw, dict):
            raise BadRequestError("The request is not an object. Reload the page and run again.")
        options = raw.get("options") or {}
        if not isinstance(options, dict) or set(options) - {option.name for option in fields(CaptureOptions)}:
            raise BadRequestError("The request has unknown options. Reload the page and run again.")
        try:
            return cls(
                model=raw.get("model"),  # type: ignore[arg-type]
                text=raw.get("text"),  # type: ignore[arg-type]
                revision=raw.get("revision"),
                text_pair=raw.get("text_pair"),
                options=CaptureOptions(**options),
            )
        except TypeError as error:
            raise BadRequestError(f"The request cannot be read: {error}. Reload the page and run again.") from error


def _keyed(value: Any) -> dict[str, Any]:
    """A request's fields as they go into a key: a field that is not among the first ones only where it is not at its
    default, so that keys stay as they are when a field is added.
    """
    found = {}
    for one in fields(value):
        held = getattr(value, one.name)
        if one.name in FIRST_FIELDS or held != _default(one):
            found[one.name] = _keyed(held) if is_dataclass(held) else held
    return found


def _default(one: Field[Any]) -> object:
    return one.default if one.default_factory is MISSING else one.default_factory()


def check_text(text: object) -> None:
    """Raise a named error unless `text` is something that a tokenizer may be given."""
    if text is None or (isinstance(text, str) and not text.strip()):
        raise EmptyTextError("There is no text to run. Write one and run again.")
    if not isinstance(text, str):
        raise BadRequestError(f"The text is {type(text).__name__}; give it as text.")
    if len(text) > LONGEST_TEXT:
        raise BadTextError(f"The text has {len(text):,} characters; {LONGEST_TEXT:,} is the most. Shorten it.")
    for index, character in enumerate(text):
        if character in ALLOWED_CONTROLS or character.isprintable():
            continue
        category = unicodedata.category(character)
        if category in {"Cc", "Cs"}:
            what = "a control character" if category == "Cc" else "half of a surrogate pair"
            raise BadTextError(
                f"Character {index + 1:,} of the text is {what} (U+{ord(character):04X}), which no model can read. "
                "Remove it and run again."
            )


def check_length(tokens: int, title: str, limit: int, most: int | None) -> None:
    """Raise `TextTooLongError` for a text of more tokens than may be run; the smaller limit is the one that is named.

    Args:
        tokens: how many tokens the text has. title, limit: the model's name for a person, and the most that it takes.
        most: the most that this server takes; None where there is no such limit.
    """
    if tokens > limit and (most is None or limit <= most):
        raise TextTooLongError(f"{tokens:,} tokens; {title} takes at most {limit:,}. Shorten the text.")
    if most is not None and tokens > most:
        raise TextTooLongError(f"{tokens:,} tokens; this server takes at most {most:,}. Shorten the text.")


def check_characters(characters: int, title: str, limit: int, most: int | None) -> None:
    """Raise `TextTooLongError` for a text of which its characters alone tell that it has too many tokens; before
    anything is made of it. The arguments are those of `check_length`.
    """
    tokens = limit if most is None else min(limit, most)
    if characters > longest_text(tokens):
        who = title if most is None or limit <= most else "this server"
        raise TextTooLongError(f"{characters:,} characters; {who} takes at most {tokens:,} tokens. Shorten the text.")


def is_run_key(value: object) -> bool:
    """Whether `value` has the form of a run's key."""
    return isinstance(value, str) and KEY_PATTERN.fullmatch(value) is not None


def longest_text(most_tokens: int) -> int:
    """How many characters a text may have where `most_tokens` are allowed: above, it is too long without counting."""
    return min(LONGEST_TEXT, CHARACTERS_A_TOKEN * most_tokens)
