"""A tour of one example in five steps, each pointing at a part of the page (assets/components/tour.js).

The steps' claims about the model are computed in tests/integration/test_claims.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dash import html

from dashboard.catalog.examples import EXAMPLES
from dashboard.components import ids
from dashboard.components.glossary import term
from dashboard.components.markup import attributes, frozen
from dashboard.contracts.selection import LOCATION

INDEX = 0  # index of the example
MARKED = re.compile(r"(`[^`]+`|\*[^*]+\*)")
EXAMPLE = EXAMPLES[INDEX]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        title: its heading. points_at: the CSS selector of the part. first, second: its text, one paragraph each, in
            which `·to` is a token, *head* a glossary term, and *heads|head* a term in a different form.
        tab: the id of the tab that must be open for the step.
    """

    title: str
    points_at: str
    first: str
    second: str
    tab: str = ""


STEPS = (
    Step(
        "A text to read",
        f"#{ids.COMPOSER}",
        "SmolLM2 splits this sentence into 18 *tokens|token* and predicts, after each of them, the next one.",
        "Later, type a text of your own here and press Run.",
    ),
    Step(
        "Its tokens",
        ".strip",
        "The number below a token is its *surprisal*: `·shops` was hard to predict (10.8 nats), the second `·Mary` was "
        "not (0.1 nats).",
        "`·to` (15) is selected. Click another token, and every card follows.",
    ),
    Step(
        "Where each token looks",
        f"#{ids.card_id('attention')}",
        "This is one of 270 *heads|head*. In it, `·to` (15) attends to `·Mary` (1) with weight 0.705, more than to any "
        "other token.",
        "*Attention|attention* shows where a head looks, not how much that matters.",
        tab=ids.tab_id("attention", "attention"),
    ),
    Step(
        "How the model represents them",
        f"#{ids.card_id('hidden')}",
        "After layer 23, each token is a list of 576 numbers, its *hidden state*. The map shows the two directions in "
        "which the tokens on it differ most.",
        "Across all 576 numbers, `·to` (15) and `·Mary` (1) have a *cosine* of 0.622.",
        tab=ids.tab_id("hidden", "hidden"),
    ),
    Step(
        "What it predicts",
        f"#{ids.card_id('prediction')}",
        "After “… a bottle of milk to”, the model gives `·Mary` a *probability* of 92.7 %, and `·Mary` is what comes "
        "next.",
        "The Logit lens tab shows how this prediction forms, layer by layer, and the ? on each card explains what you "
        "see.",
        tab=ids.tab_id("prediction", "prediction"),
    ),
)


def tour_box() -> html.Section:
    """The steps, of which the browser shows one at a time."""
    steps = [_step(step, number) for number, step in enumerate(STEPS, 1)]
    buttons = [
        html.Button(label, type="button", className=look, **attributes(data_tour=act))
        for label, look, act in (("Leave", "quiet", "leave"), ("Back", "quiet", "back"), ("Next", "strong", "next"))
    ]
    selected = {field.name: getattr(EXAMPLE, field.name) for field in LOCATION}
    return html.Section(
        id=ids.TOUR,
        className="tour",
        role="dialog",
        hidden=True,
        **attributes(aria_label="Tour", data_example_of_tour=str(INDEX), data_selection=json.dumps(selected)),
        **frozen(html.Div(steps, **attributes(aria_live="polite")), html.Div(buttons, className="tour-buttons")),
    )


def _step(step: Step, number: int) -> html.Div:
    head = [html.P(f"Step {number} of {len(STEPS)}", className="caption"), html.H2(step.title)]
    said = [html.P([_marked(piece) for piece in MARKED.split(words)]) for words in (step.first, step.second)]
    told = {"data_step": step.points_at, "data_tab": step.tab}
    return html.Div([*head, *said], hidden=True, **attributes(**told))


def _marked(piece: str) -> Any:
    """A part of a paragraph: a token, a term, or plain text."""
    if piece.startswith("`"):
        return html.Span(piece.strip("`"), className="tok")
    if piece.startswith("*"):
        words, _, entry = piece.strip("*").partition("|")
        return term(words, entry or None)
    return piece
