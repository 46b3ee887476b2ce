"""The shell of the page: header, form, token strip, selection bar and the cards with their tabs. No callbacks here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dash import dcc, html

from dashboard.catalog.examples import EXAMPLES, MODEL_WORDS
from dashboard.catalog.model_card import ModelCard
from dashboard.components import ids
from dashboard.components.glossary import GLOSSARY, term
from dashboard.components.markup import attributes, frozen
from dashboard.contracts.selection import fields_for_browser
from dashboard.figures.theme import LIGHT
from dashboard.settings import Settings
from dashboard.version import __version__
from dashboard.views.cards import LARGE, cards_of
from dashboard.views.controls import SHOW
from dashboard.views.declaration import View
from dashboard.views.grid import long_grid, script_address
from dashboard.views.state import settings_of
from dashboard.web.build import build
from dashboard.web.card_layout import cards_box, tick
from dashboard.web.chat_switch import chat_help, chat_switch
from dashboard.web.model_picker import facts_of, lenders, line_of
from dashboard.web.recent_panel import recent_slot
from dashboard.web.second_text import add_button, second_composer
from dashboard.web.tour import EXAMPLE, tour_box

TITLE = "Transformer dashboard"


def layout(settings: Settings, entries: Sequence[ModelCard], views: Sequence[View], embedded: bool = False) -> html.Div:
    """The whole page; equal arguments give equal layouts, so that several web processes agree.

    Args:
        embedded: the page is inside another page and accepts no new text. Anything that needs a worker is hidden
            (assets/style/parts/embedded.css), and the page can be opened in a tab of its own.
    """
    toured = not embedded and EXAMPLE.model in [entry.name for entry in entries]
    firsts = [card.views[0] for card in cards_of(views)]
    page = html.Div(
        [
            html.A("Skip to the token strip", href=f"#{ids.TOKENS}", className="skip"),
            *_stores(settings, entries, views),
            _header(settings, entries, embedded, toured),
            html.Main(
                [
                    _form(entries),
                    html.Div(id=ids.NOTICE, role="alert"),
                    html.Div(id=ids.OUTDATED, role="status"),
                    _examples(entries, toured),
                    _strip(),
                    _selection_bar(),
                    cards_box(views),
                    html.Div(id=ids.TOOLTIP, className="tooltip-box", role="tooltip", hidden=True),
                ]
            ),
            *([tour_box()] if toured else []),
            *([] if embedded else [recent_slot(settings)]),
            html.Div(id=ids.ANNOUNCER, className="visually-hidden", **attributes(aria_live="polite")),
        ],
        id=ids.PAGE,
        className="page empty embedded" if embedded else "page empty",
        **attributes(
            data_version=__version__,
            data_build=build(),
            data_glossary=json.dumps(dict(GLOSSARY), ensure_ascii=False),
            data_tables=script_address(),
            data_rows=long_grid(),
            data_text_in_links=str(int(settings.text_in_links)),
            data_fields=json.dumps(fields_for_browser()),
            data_views=json.dumps([_for_asking(view, view in firsts) for view in views]),
        ),
    )
    for part in (page, *page._traverse()):
        _count_no_clicks(part)
    return page


def _count_no_clicks(part: Any) -> None:
    """Stop Dash from counting clicks within an element with an id, which renders its container again each time. Only
    buttons and links need the count."""
    if isinstance(part, html.Button | html.A) or getattr(part, "id", None) is None or hasattr(part, "n_clicks"):
        return
    if "disable_n_clicks" in part._prop_names:
        part.disable_n_clicks = True


def _for_asking(view: View, first: bool) -> dict[str, Any]:
    """What the browser must know to request a view's content (assets/state/card-content.js)."""
    read = [control for control in view.controls if control != SHOW and not control.beside]
    options = [view.setting(control) for control in (*read, *view.mentions)]
    return {
        "name": view.name,
        "card": view.card,
        "first": first,
        "selects": view.selects,
        "reads": view.figure_reads,
        "options": [*options, *([LARGE] if view.adapts else [])],
        "show": ids.control_id(view.name, SHOW.name),
    }


def _stores(settings: Settings, entries: Sequence[ModelCard], views: Sequence[View]) -> list[Any]:
    names = (
        ids.SUBMITTED_RUN,
        ids.PROPOSAL,
        ids.SELECTION,
        ids.RUN_INFO,
        ids.ADDRESS,
        ids.TRAVEL,
        ids.PROGRESS_STATE,
        *(ids.DERIVED_REQUEST, ids.DERIVED_RESULT, ids.DERIVED_PROGRESS, ids.ARRIVED),
        *(ids.picked_id(view.name) for view in views if view.selects is not None),
    )
    catalog = {entry.name: facts_of(entry, settings) for entry in entries}
    return [
        *[dcc.Store(id=name) for name in names],
        dcc.Store(id=ids.CATALOG, data=catalog),
        dcc.Store(id=ids.CONTROLS, data=_settings(views)),
        dcc.Store(id=ids.LARGE, data=cards_of(views)[0].name),
        dcc.Store(id=ids.EXAMPLES, data=[asdict(example) for example in EXAMPLES]),
        dcc.Store(id=ids.FORM_STATE, data="idle"),
        dcc.Store(id=ids.CHAT, data=False),
    ]


def _settings(views: Sequence[View]) -> list[dict[str, Any]]:
    """The page's settings for the browser: component, address parameter, default."""
    return [
        {"id": one.id, "property": one.property, "name": one.name, "standard": one.control.default}
        for one in settings_of(views)
    ]


def _header(settings: Settings, entries: Sequence[ModelCard], embedded: bool, toured: bool) -> html.Header:
    names = [entry.name for entry in entries]
    chosen = settings.default_model if settings.default_model in names else names[0]
    picker = dcc.Dropdown(
        id=ids.MODEL,
        options=[line_of(entry, settings) for entry in entries],
        value=chosen,
        clearable=False,
        searchable=True,
        maxHeight=420,
        labels={"search": "Search, or type a hub id: organisation/name", "no_options_found": "No such model here"},
    )
    right = html.Nav(
        className="header-actions",
        **attributes(aria_label="Page"),
        **frozen(
            *(
                [html.A("Open in a tab", id=ids.OPEN_TAB, href="", target="_blank", className="quiet")]
                if embedded
                else []
            ),
            *(
                []
                if embedded
                else [
                    _quiet(
                        "Recent",
                        ids.RECENT,
                        title="Runs that this browser has opened",
                        **attributes(aria_haspopup="dialog"),
                    )
                ]
            ),
            _export_menu(),
            _quiet("Copy link", ids.COPY_LINK, title="Copy a link to this run and selection"),
            *(
                [_quiet("Tour", ids.TOUR_START, title="One example in five steps", **attributes(data_tour_start=""))]
                if toured
                else []
            ),
            _quiet("Keys", ids.KEYS, title="Keyboard shortcuts"),
            _quiet("Theme: system", ids.THEME_SWITCH, title="Light, dark, or the system's setting"),
        ),
    )
    state = html.Span(id=ids.MODEL_STATE, className="model-state", role="status")
    box = html.Div(
        [html.Label("Model", htmlFor=ids.MODEL, className="visually-hidden"), picker], className="model-picker"
    )
    title = html.Div([html.H1(TITLE), html.P("See inside a language model")], className="title")
    return html.Header([title, box, state, right], className="header")


def _quiet(words: str, name: str, **more: Any) -> html.Button:
    """A button without a border, for code in assets/ to listen to."""
    return html.Button(words, id=name, className="quiet", **more)


def _form(entries: Sequence[ModelCard]) -> html.Section:
    text = dcc.Textarea(
        id=ids.TEXT,
        value="",
        placeholder="Type or paste a text, or choose an example",
        rows=1,
        spellCheck=False,
        className="text",
    )
    examples = html.Details(
        [
            html.Summary("Examples"),
            html.Div(
                [
                    html.Button(
                        [html.Span(e.text, className="example-text"), html.Small(e.look_for)],
                        **attributes(data_example=str(i)),
                    )
                    for i, e in enumerate(EXAMPLES)
                ],
                className="menu",
            ),
        ],
        className="menu-box examples-menu",
    )
    side = html.Div(
        className="composer-side",
        **frozen(
            _quiet("Edit", ids.EDIT_TEXT, hidden=True),
            chat_switch(),
            add_button(),
            html.Span("", id=ids.TOKEN_COUNT, className="token-count", **attributes(aria_live="off")),
            examples,
        ),
    )
    bar = html.Div(className="bar", **frozen(html.Div(className="bar-fill")))
    composer = html.Div(
        [html.Label("Text", htmlFor=ids.TEXT, className="visually-hidden"), text, side, bar],
        className="composer",
        id=ids.COMPOSER,
    )
    run = html.Button(id=ids.RUN, className="btn run", n_clicks=0, **frozen(html.B("Run"), html.Kbd("Ctrl ↵")))
    cancel = html.Button(id=ids.CANCEL, className="btn cancel", n_clicks=0, **frozen(html.B("Cancel"), html.Kbd("Esc")))
    progress = html.Div(id=ids.PROGRESS, className="progress-line")
    texts = html.Div([composer, second_composer(), chat_help()], className="composers")
    row = html.Div([texts, html.Div([run, cancel], className="run-box")], className="form-row")
    return html.Section([row, _lent(entries), progress], className="form", **attributes(aria_label="Text to run"))


def _lent(entries: Sequence[ModelCard]) -> html.Div:
    """The choice of another model's tokenizer, which a model without one needs; hidden for all others."""
    return html.Div(
        [
            html.Label("This model has no tokenizer. Use the tokenizer of", htmlFor=ids.TOKENIZER),
            dcc.Dropdown(
                id=ids.TOKENIZER,
                options=lenders(entries),
                placeholder="Choose the model whose tokenizer it was trained with",
                clearable=False,
                labels={"no_options_found": "No such model here"},
            ),
        ],
        id=ids.TOKENIZER_BOX,
        className="lent",
        hidden=True,
    )


def _examples(entries: Sequence[ModelCard], toured: bool) -> html.Section:
    rows, previous = [], None
    by_name = {entry.name: entry for entry in entries}
    for index, example in enumerate(EXAMPLES):
        entry = by_name.get(example.model)
        if entry is None:
            continue
        first = example.model != previous
        name = (
            [html.B(entry.title.removesuffix("-Instruct")), html.Small(MODEL_WORDS[entry.kind or "encoder"])]
            if first
            else []
        )
        button = html.Button(
            example.text,
            className="example-link" + (" mono" if entry.monospace else ""),
            **attributes(data_example=str(index)),
        )
        cells = [html.Td(name), html.Td(button), html.Td(example.look_for)]
        rows.append(html.Tr(cells, className="first" if first else ""))
        previous = example.model
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in ("Model", "Text", "What to look for")]))
    caption = html.P("Choosing one picks its model, fills the text box and runs it.", className="caption")
    offer = html.Button(
        "Take the tour: one example, five steps",
        type="button",
        className="tour-offer",
        **attributes(data_tour_start=""),
    )
    content = (
        html.Div(
            [html.Div([html.H2("Start with an example"), caption]), *([offer] if toured else [])],
            className="examples-head",
        ),
        html.Table([head, html.Tbody(rows)], className="examples-table"),
    )
    return html.Section(className="card-box examples-card", id=ids.EXAMPLES_CARD, **frozen(*content))


def _strip() -> html.Section:
    swatches = [html.I(className=f"swatch surprisal-{i}") for i in range(len(LIGHT.surprisal))]
    legend = html.Div(
        ["0", html.Span(swatches, className="swatches"), "12 nats or more"], className="legend", id=ids.STRIP_LEGEND
    )
    title, caption = html.H2("Tokens", id=ids.STRIP_TITLE), html.Span("", id=ids.STRIP_CAPTION, className="caption")
    back = _quiet("Restore the run's text", ids.SHOWN_TEXT, title="Put the text of the displayed run back into the box")
    differs = html.Div([html.Span(""), back], id=ids.NOT_RUN, className="not-run")
    classes = html.Div(id=ids.STRIP_CLASSES, className="legend classes-legend", hidden=True)
    head = html.Div([title, caption, differs, legend, classes], className="strip-head")
    strip = html.Div(id=ids.TOKENS, className="tokens", role="group", **attributes(aria_label="Tokens of the text"))
    marks = html.P("", id=ids.STRIP_MARKS, className="caption strip-marks", hidden=True)
    return html.Section(className="strip", **attributes(aria_labelledby=ids.STRIP_TITLE), **frozen(head, strip, marks))


def _selection_bar() -> html.Section:
    tokens = html.Span(
        className="bar-tokens",
        **frozen(
            html.Span(
                [_item("Selected"), html.Span(id=ids.SELECTED_TOKEN, className="chip-slot")], className="bar-item"
            ),
            html.Span(
                [
                    _item("Second"),
                    html.Span(id=ids.SECOND_TOKEN, className="chip-slot"),
                    _quiet("Clear", ids.CLEAR_SECOND, hidden=True),
                ],
                className="bar-item",
            ),
            html.Span(
                [
                    "Added",
                    html.Span(id=ids.ADDED_ITEMS, className="chip-slot"),
                    _quiet("Clear", ids.CLEAR_ADDED, title="Remove the added heads and tokens"),
                ],
                id=ids.ADDED,
                className="bar-item",
                hidden=True,
            ),
        ),
    )
    actions = html.Span(
        className="bar-actions",
        **frozen(_quiet("Undo", ids.UNDO, disabled=True), _quiet("Redo", ids.REDO, disabled=True)),
    )
    return html.Section(
        [_stepper("Layer", ids.LAYER), _stepper("Head", ids.HEAD), tokens, actions],
        className="selection-bar",
        id=ids.SELECTION_BAR,
        **attributes(aria_label="Selection"),
    )


def _item(name: str) -> html.Span:
    return html.Span([name, html.Span(" token", className="wide-only")])


def _stepper(label: str, name: str) -> html.Span:
    field = dcc.Input(
        id=name, type="text", inputMode="numeric", value="", debounce=True, className="step-value", autoComplete="off"
    )
    down = html.Button("‹", id=f"{name}-down", className="step", **attributes(aria_label=f"Previous {label.lower()}"))
    up = html.Button("›", id=f"{name}-up", className="step", **attributes(aria_label=f"Next {label.lower()}"))
    return html.Span(
        [
            html.Label(htmlFor=name, **frozen(term(label, label.lower()))),
            html.Span([down, field, up], className="stepper"),
            html.Span(id=f"{name}-range", className="range"),
        ],
        className="bar-item",
    )


def _export_menu() -> html.Details:
    """The export menu of the whole page; the browser saves the files."""
    rows = (
        (
            "report.html",
            "Report (HTML)",
            "One page with every figure, its numbers and where they come from; works offline",
        ),
        ("run.npz", "Run (.npz)", "Every array of the run for numpy"),
        ("run.safetensors", "Run (.safetensors)", "The same, read without copying"),
    )
    buttons = [
        html.Button(
            [html.Span(label, className="example-text"), html.Small(words)],
            type="button",
            **attributes(data_export=name),
        )
        for name, label, words in rows
    ]
    menu = html.Div([*buttons, tick("Include all attention weights (larger file)", "attention")], className="menu")
    return html.Details([html.Summary("Export"), menu], className="menu-box export-menu", id=ids.EXPORT_MENU)
