"""Rendering a message in a chat template: in a process of its own, with transformers' sandboxed environment.

A template is a program in Jinja that comes with a model: it may never end, fill the memory or fail. `rendered` runs in
the limited process (`counting_main`); `ChatRenderer` is what its parent calls. No torch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from dashboard.catalog.foreign_files import shown
from dashboard.catalog.limited_process import LimitedProcess
from dashboard.contracts.request import LONGEST_TEXT, check_characters, check_text
from dashboard.errors import BadTextError, ChatTemplateError, EmptyTextError

RENDER_SECONDS = 10.0  # for one message, including starting the process and importing transformers
LONGEST_REASON = 200  # characters of a template's own message
LONGEST_ANSWER = 6 * LONGEST_TEXT + 4_096  # bytes: each character may be written as \uXXXX
RESERVED = frozenset({"messages", "tools", "documents", "add_generation_prompt", "conversations", "chat_template"})
Tokens = Mapping[str, Any]  # a tokenizer's `special_tokens_map`


# in the limited process


def rendered(template: str, text: str, tokens: Tokens) -> str:
    """Render `text` as the only message of a user, and open the answer: as `tokenizer.apply_chat_template(
    [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False)` does.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    given = {name: value for name, value in tokens.items() if name not in RESERVED}
    found: Any = render_jinja_template(
        conversations=[[{"role": "user", "content": text}]],
        chat_template=template,
        add_generation_prompt=True,
        **given,
    )
    return str(found[0][0])


def tokens_lacking(template: str, tokens: Tokens) -> set[str]:
    """Return the special tokens that a template may write and that are not among `tokens`."""
    from jinja2 import Environment, meta
    from transformers.utils.chat_template_utils import _compile_jinja_template

    environment: Environment = _compile_jinja_template(template).environment
    used = meta.find_undeclared_variables(environment.parse(template))
    return {name for name in used if name.endswith("_token") and name not in tokens}


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"text": what was rendered}, {"characters": how many} if these are too many, or {"error": what kind,
    "reason": the template's own words}.
    """
    try:
        found = rendered(asked["template"], asked["text"], asked["tokens"])
    except BaseException as error:  # a template may raise anything
        if not isinstance(error, Exception):
            raise
        return {"error": type(error).__name__, "reason": shown(str(error), LONGEST_REASON)}
    return {"text": found} if len(found) <= LONGEST_TEXT else {"characters": len(found)}


# in its parent


class ChatRenderer(LimitedProcess):
    """Renders messages. Thread-safe; the process stays for the next message."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the process; the next message starts another."""
        with self._lock:
            self._end()

    def render(self, template: str, text: str, tokens: Tokens, title: str, limit: int) -> str:
        """Return the rendered message.

        Args:
            tokens: the tokenizer's `special_tokens_map`. title, limit: the model's name, and the most tokens it takes.

        Raises:
            ChatTemplateError: the template refuses the message, fails, takes too long, or writes what no model reads.
            TextTooLongError: it writes more characters than any text may have.
        """
        found = self._answer({"template": template, "text": text, "tokens": dict(tokens)}, title)
        if isinstance(found.get("characters"), int):
            check_characters(found["characters"], title, limit, None)
            raise ChatTemplateError(
                f"The chat template of {title} turns this message into {found['characters']:,} characters; at most "
                f"{LONGEST_TEXT:,} are allowed. Shorten it, or run the text as it is."
            )
        if not isinstance(found.get("text"), str):
            raise ChatTemplateError(
                f"The chat template of {title} cannot render this message ({found.get('error')}: "
                f"{found.get('reason')}). Change the message, or run the text as it is."
            )
        try:
            check_text(found["text"])
        except (BadTextError, EmptyTextError) as error:
            what = (
                "writes nothing" if isinstance(error, EmptyTextError) else "writes a character that no model can read"
            )
            raise ChatTemplateError(f"The chat template of {title} {what}. Run the text as it is.") from error
        return str(found["text"])

    def _answer(self, asked: Mapping[str, Any], title: str) -> dict[str, Any]:
        with self._lock:
            try:
                return self._exchange({"render": asked}, RENDER_SECONDS, LONGEST_ANSWER)
            except TimeoutError as error:
                self._end()
                raise ChatTemplateError(
                    f"The chat template of {title} took longer than {RENDER_SECONDS:.0f} seconds. Run the text as it "
                    "is, or choose another model."
                ) from error
            except (OSError, ValueError) as error:  # it ended: too much memory, most likely
                self._end()
                raise ChatTemplateError(
                    f"The chat template of {title} ended the process that renders it; it needs too much memory. Run "
                    "the text as it is, or choose another model."
                ) from error
