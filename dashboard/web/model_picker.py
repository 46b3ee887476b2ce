"""A model as the page sees it: its line in the picker, and the facts that the form and the empty cards need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dash import html

from dashboard.catalog.catalog import Catalog
from dashboard.catalog.model_card import ModelCard
from dashboard.components.markup import unparted
from dashboard.contracts.precision import words_of
from dashboard.contracts.stored_weights import why_stored
from dashboard.errors import DashboardError, without_paths
from dashboard.settings import Settings


def known_model(catalog: Catalog, name: str, settings: Settings) -> dict[str, Any] | None:
    """The current `line` and `facts` of a model (a run may have fetched it); None if it is no longer in the catalog."""
    try:
        card = catalog.get(name)
    except DashboardError:
        return None
    return {"line": line_of(card, settings), "facts": facts_of(card, settings)}


def facts_of(card: ModelCard, settings: Settings) -> dict[str, Any]:
    """What the browser must know about a model before running it.

    `limit` is the most tokens of a text; `limited_by` says why, if that is neither the model's own limit nor the
    server's.
    """
    fields = ("title", "kind", "layers", "heads", "here", "monospace", "refusal", "pairs", "mute", "chat")
    found = {name: getattr(card, name) for name in fields} | {"limit": min(card.limit, settings.max_tokens)}
    fits = card.fitting_tokens(settings.weights_megabytes)
    if fits is not None and fits < found["limit"]:
        found |= {"limit": fits, "limited_by": why_stored(card.title, settings.weights_megabytes)}
    return found | {"refusal": without_paths(card.refusal)}


def needed_tokenizer(catalog: Catalog, model: object, chosen: object) -> str | None:
    """The model whose tokenizer the form has chosen; None if its own model has one, which the form does not show."""
    try:
        mute = isinstance(model, str) and catalog.get(model).mute
    except DashboardError:  # which the request itself will say
        return None
    return str(chosen) if mute and chosen else None


def is_message(catalog: Catalog, model: object, tokenizer: str | None, switched: object) -> bool:
    """Whether the form's text is a chat message: its switch is on, and the model has a template, so that the page shows
    the switch. Of a model that is not here yet, the run itself will say whether it has one."""
    try:
        known = isinstance(model, str) and bool(switched)
        return known and (catalog.get(str(model)).folder is None or catalog.takes_chat(str(model), tokenizer))
    except DashboardError:  # which the request itself will say
        return False


def second_text(catalog: Catalog, model: object, typed: str | None, message: bool) -> str | None:
    """The second text of the form; None if it is blank, or if the page hides its box: beside a chat message, and for a
    model that takes one text.

    Anything that is not text is passed on: `RunRequest` refuses it.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    if typed is None or message or (isinstance(typed, str) and not typed.strip()):
        return None
    known = isinstance(model, str) and bool(model)
    return typed if not known or catalog.get(str(model)).pairs else None


def lenders(cards: Iterable[ModelCard]) -> list[dict[str, str]]:
    """The models whose tokenizer is here, to be given to one that has none."""
    return [
        {"label": card.title, "value": card.name}
        for card in cards
        if card.folder is not None and not card.mute and not card.refusal
    ]


def line_of(card: ModelCard, settings: Settings) -> dict[str, Any]:
    """One line of the picker; a model that cannot be run is listed with the reason and is disabled, and an adapter is
    marked as one of the model above it. Says what models are computed on, and in, where the settings do."""
    detail = " · ".join(part for part in (words_of(settings.device, settings.dtype), model_words(card)) if part)
    words: list[Any] = [html.B(card.title, dir="auto"), html.Span(detail, className="detail")]
    if card.refusal or card.note:
        note = without_paths(f"not supported: {card.refusal}" if card.refusal else card.note)
        words.append(html.Span(unparted(note), className="model-note"))
    if card.unread and not card.refusal:
        words.append(html.Span(f"not read: {'; '.join(card.unread)}", className="model-note"))
    return {
        "label": html.Span(words, className="model-option adapter" if card.base else "model-option"),
        "value": card.name,
        "search": f"{card.name} {card.title} {card.kind} {card.base}".rstrip(),
        "disabled": bool(card.refusal),
    }


def model_words(card: ModelCard) -> str:
    """Kind, layers × heads, size and whether there is a chat template, as far as they are known."""
    shape = f"{card.layers} layers × {card.heads} heads" if card.layers and card.heads else ""
    size = size_words(card.parameters) if card.parameters else ""
    chat = "chat template" if card.chat else ""
    return unparted(" · ".join(part for part in (card.kind_word, shape, size, chat) if part))


def size_words(parameters: int) -> str:
    """ "135 M parameters", "0.7 M parameters", "1.2 B parameters", "29 k parameters"."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} B parameters"
    millions = parameters / 1e6
    if millions < 0.1:
        return f"{parameters / 1e3:.0f} k parameters"
    return f"{millions:.0f} M parameters" if millions >= 10 else f"{millions:.1f} M parameters"
