"""What a person asks for: one text, read by one model. Its key names the run forever."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any

from dashboard.contracts.precision import AUTO, BYTES, FULL
from dashboard.errors import BadRequestError, BadTextError, EmptyTextError, TextTooLongError

KEY_VERSION = 1  # version of how keys are made; never raised, since every stored run, link and list uses its key
FIRST_FIELDS = frozenset({"model", "text", "revision", "text_pair", "options", "top_k"})  # part of every key: `_keyed`
KEY_LENGTH = 64
KEY_PATTERN = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}")  # a run's key
ALLOWED_CONTROLS = frozenset("\t\n\r")
CHARACTERS_A_TOKEN = 64  # more than any text has per token
LONGEST_NAME = 1_000  # characters of a model's name
LONGEST_TEXT = 2_000_000  # characters; longer than any model here can read, and short enough to tokenize
MOST_CANDIDATES = 200  # tokens kept at each position


@dataclass(frozen=True)
class CaptureOptions:
    """Options of a capture.

    Attributes:
        top_k: how many of the likeliest tokens to keep at each position.
    """

    top_k: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or not 1 <= self.top_k <= MOST_CANDIDATES:
            raise BadRequestError(f"top_k is {self.top_k!r}; give a whole number from 1 to {MOST_CANDIDATES}.")


@dataclass(frozen=True)
class ModelRequest:
    """One model, as it must be loaded for a run: what web process, queue, worker and shell hand on.

    Attributes:
        name: a catalog name, a folder or a hub id. revision, tokenizer, dtype: as in `RunRequest`.
    """

    name: str
    revision: str | None = None
    tokenizer: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class RunRequest:
    """One text for one model.

    Attributes:
        model: a catalog name, a folder or a hub id.
        text: what the model reads, exactly as typed.
        revision: the model's revision, or None for the local one.
        text_pair: the second text of a sentence pair, or None.
        options: how to capture the run.
        tokenizer: the name of the model whose tokenizer reads the text, for a model that has none; else None.
        dtype: the numbers to compute in; None for float32. "auto" stands for what the worker decides, and is in no
            run's request.
        chat: `text` is a user's message in the model's chat template, which also opens the answer.
        rendered: what the model reads then: the template's output. None until a worker has rendered it; every run's
            request has it, so that its key holds what was read even if the template changes or names the day.

    Raises:
        EmptyTextError: the text is empty or only white space.
        BadTextError: the text holds control characters or lone surrogates.
        BadRequestError: another field has the wrong type.
    """

    model: str
    text: str
    revision: str | None = None
    text_pair: str | None = None
    options: CaptureOptions = field(default_factory=CaptureOptions)
    tokenizer: str | None = None
    dtype: str | None = None
    chat: bool = False
    rendered: str | None = None

    def __post_init__(self) -> None:
        if self.dtype == FULL:
            object.__setattr__(self, "dtype", None)
        if self.dtype is not None and self.dtype not in (AUTO, *BYTES):
            raise BadRequestError(
                f"dtype is {str(self.dtype)[:40]!r}; give one of {', '.join(BYTES)}, or leave it out."
            )
        if not isinstance(self.model, str) or not self.model or len(self.model) > LONGEST_NAME:
            raise BadRequestError("No model is chosen. Choose one of the listed models.")
        for name in ("revision", "text_pair"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise BadRequestError(f"{name} is {type(value).__name__}; give it as text.")
        if self.tokenizer is not None and not (
            isinstance(self.tokenizer, str) and 0 < len(self.tokenizer) <= LONGEST_NAME
        ):
            raise BadRequestError("No tokenizer has that name. Choose one of the listed models for its tokenizer.")
        check_text(self.text)
        self._check_chat()
        if self.text_pair is not None:
            check_text(self.text_pair)
            both = sum(map(len, self.texts))
            if both > LONGEST_TEXT:
                raise BadTextError(
                    f"The two texts have {both:,} characters together; {LONGEST_TEXT:,} is the most. Shorten them."
                )

    def _check_chat(self) -> None:
        if not isinstance(self.chat, bool):
            raise BadRequestError(f"chat is {str(self.chat)[:40]!r}; give True or False.")
        if self.chat and self.text_pair is not None:
            raise BadRequestError("A chat message is one text. Remove the second text, or switch the chat message off.")
        if self.rendered is not None:
            if not self.chat:
                raise BadRequestError("Only a chat message is rendered. Leave `rendered` out.")
            check_text(self.rendered)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the model reads: the text (a chat message once rendered), or both texts of a pair."""
        first = self.text if self.rendered is None else self.rendered
        return (first,) if self.text_pair is None else (first, self.text_pair)

    @property
    def model_request(self) -> ModelRequest:
        """The model that must be loaded to compute the run."""
        return ModelRequest(self.model, self.revision, self.tokenizer, self.dtype)

    def key(self, fingerprint: str) -> str:
        """Return the run's permanent name: sha256 over the request and the weights' fingerprint, as 64 hex digits.

        The key does not depend on which version of this program computes the run (`dashboard.store.upgrades`).
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
                tokenizer=raw.get("tokenizer"),
                dtype=raw.get("dtype"),
                chat=raw.get("chat", False),
                rendered=raw.get("rendered"),
            )
        except TypeError as error:
            raise BadRequestError(f"The request cannot be read: {error}. Reload the page and run again.") from error


def _keyed(value: Any) -> dict[str, Any]:
    """Return a request's fields as they enter a key.

    A field that is not among the first ones enters only if it differs from its default, so that adding a field leaves
    existing keys unchanged.
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
    """Raise a named error unless `text` can be given to a tokenizer."""
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
    """Raise `TextTooLongError` for a text with more tokens than allowed; the message names the smaller limit.

    Args:
        tokens: how many tokens the text has. title, limit: the model's name for a person, and the most tokens it takes.
        most: the most tokens this server takes; None for no such limit.
    """
    if tokens > limit and (most is None or limit <= most):
        raise TextTooLongError(f"{tokens:,} tokens; {title} takes at most {limit:,}. Shorten the text.")
    if most is not None and tokens > most:
        raise TextTooLongError(f"{tokens:,} tokens; this server takes at most {most:,}. Shorten the text.")


def check_characters(characters: int, title: str, limit: int, most: int | None) -> None:
    """Raise `TextTooLongError` for a text whose number of characters alone shows that it has too many tokens, before
    anything processes it. The arguments are those of `check_length`.
    """
    tokens = limit if most is None else min(limit, most)
    if characters > longest_text(tokens):
        who = title if most is None or limit <= most else "this server"
        raise TextTooLongError(f"{characters:,} characters; {who} takes at most {tokens:,} tokens. Shorten the text.")


def is_run_key(value: object) -> bool:
    """Whether `value` has the form of a run's key."""
    return isinstance(value, str) and KEY_PATTERN.fullmatch(value) is not None


def longest_text(most_tokens: int) -> int:
    """Return how many characters a text may have if `most_tokens` are allowed; any longer text has too many tokens."""
    return min(LONGEST_TEXT, CHARACTERS_A_TOKEN * most_tokens)
