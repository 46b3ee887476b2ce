"""The chat template in a model's tokenizer files: whether there is one, and what it is given. Renders nothing.

No torch. A template is foreign code: `chat_rendering` runs it, in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dashboard.catalog.fingerprint import TOKENIZER_CONFIG
from dashboard.catalog.foreign_files import read_bytes, read_object
from dashboard.errors import ForeignFileError, NoChatTemplateError

TEMPLATE = "chat_template.jinja"  # where transformers saves it today
FURTHER = "additional_chat_templates"  # folder of those with other names
DEFAULT = "default"  # the name of the template that is used, where there are several
SPECIAL_TOKENS = "special_tokens_map.json"
MOST_BYTES = 1_000_000  # of chat_template.jinja


def has_template(folder: Path) -> bool:
    """Whether the tokenizer in `folder` has a chat template that transformers would use for a plain message."""
    try:
        return template_in(folder) is not None
    except ForeignFileError:  # a run will say what is wrong
        return False


def template_in(folder: Path) -> str | None:
    """Return the chat template of the tokenizer in `folder`, as `AutoTokenizer` would choose it; None if it has none,
    or several of which none is the default.

    Raises:
        ForeignFileError: a file cannot be read within bounds.
    """
    further = folder / FURTHER
    named = {name for name in os.listdir(further) if name.endswith(".jinja")} if os.path.isdir(further) else set()
    path = further / f"{DEFAULT}.jinja" if f"{DEFAULT}.jinja" in named else folder / TEMPLATE
    if os.path.exists(path):
        try:
            return chosen_template({DEFAULT: read_bytes(path, MOST_BYTES).decode("utf-8")})
        except UnicodeDecodeError as error:
            raise ForeignFileError(f"{path.name} is not UTF-8 text") from error
    path = folder / TOKENIZER_CONFIG
    if named:  # those replace what the settings name
        return None
    return chosen_template(read_object(path).get("chat_template")) if os.path.exists(path) else None


def chosen_template(found: object) -> str | None:
    """Return the template for a plain message: the only one, or the default among named ones."""
    if isinstance(found, list):  # as tokenizer_config.json has them
        rows = [row for row in found if isinstance(row, dict)]
        found = {str(row.get("name")): row.get("template") for row in rows}
    if isinstance(found, Mapping):
        found = found.get(DEFAULT)
    return found if isinstance(found, str) and found.strip() else None


def special_tokens_in(folder: Path) -> dict[str, str]:
    """Return the special tokens that the tokenizer's files name ("bos_token": "<s>").

    A family's own defaults are not among them: whoever renders with these alone checks which the template uses.
    """
    found: dict[str, str] = {}
    for name in (SPECIAL_TOKENS, TOKENIZER_CONFIG):
        path = folder / name
        if os.path.exists(path):
            found |= dict(_tokens(read_object(path)))
    return found


def _tokens(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        token = value.get("content") if isinstance(value, Mapping) else value
        if name.endswith("_token") and isinstance(token, str):
            yield name, token


def no_template(title: str) -> NoChatTemplateError:
    """Return the error for a chat message to a model without a chat template."""
    return NoChatTemplateError(
        f"{title} has no chat template, so it takes no chat messages. Run the text as it is (on the command line: "
        "without --chat), or choose a model with a template."
    )
