"""A chat message as the model reads it: rendered in the chat template of its tokenizer."""

from __future__ import annotations

import atexit
from dataclasses import replace
from typing import TYPE_CHECKING

from dashboard.catalog.chat_rendering import ChatRenderer
from dashboard.catalog.chat_templates import chosen_template, no_template
from dashboard.contracts.request import RunRequest, check_characters

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

_renderer = ChatRenderer()
atexit.register(_renderer.close)


def with_rendered(loaded: LoadedModel, request: RunRequest, max_tokens: int | None = None) -> RunRequest:
    """Return a request whose chat message is rendered; one that has none, as it is.

    The same as `tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,
    tokenize=False)`, in a process with limits of time, memory and length.

    Args:
        max_tokens: the most tokens that this server takes.

    Raises:
        NoChatTemplateError: the model has no chat template. ChatTemplateError: it cannot render this message.
        TextTooLongError: the message alone has too many characters.
    """
    if not request.chat:
        return request
    template, info = chosen_template(loaded.tokenizer.chat_template), loaded.info
    if template is None:
        raise no_template(info.title)
    check_characters(len(request.text), info.title, info.limit, max_tokens)
    tokens = loaded.tokenizer.special_tokens_map
    return replace(request, rendered=_renderer.render(template, request.text, tokens, info.title, info.limit))
