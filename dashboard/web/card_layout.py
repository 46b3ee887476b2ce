"""The layout of the cards: each a row of tabs above the open tab's content. No callbacks here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.components import ids
from dashboard.components.card_tabs import CardTabs
from dashboard.components.markup import attributes, frozen, plain
from dashboard.components.view_panel import ViewPanel
from dashboard.exports.picture_target import DPI, PRINT_WIDTHS
from dashboard.figures.theme import LIGHT, empty_figure, in_theme
from dashboard.views.cards import Card, cards_of
from dashboard.views.controls import Choice, Control, Number, Slider, Switch, Text
from dashboard.views.declaration import View

FORMATS = {
    "png": "Picture, twice the size of the screen",
    "svg": "Drawing that scales, for print",
    "html": "A page with the figure, which works offline",
    "csv": "The numbers, for a spreadsheet or pandas",
}
WIDTHS = (  # of pictures: value, words, what it is for
    ("screen", "Screen", "The width of the figure on the screen"),
    *((name, f"{millimetres} mm", f"For print; PNG at {DPI} dpi") for name, millimetres in PRINT_WIDTHS.items()),
)


def cards_box(views: Sequence[View]) -> html.Div:
    """All cards; the first has the large slot (assets/state/card-places.js moves another there)."""
    cards = cards_of(views)
    return html.Div(
        [_card(card) for card in cards], className="cards", id=ids.CARDS, **attributes(data_large=cards[0].name)
    )


def tick(words: str, name: str) -> html.Button:
    """A checkbox for how files are made; the browser keeps all checkboxes of the same name in sync."""
    state = attributes(data_export_choice=name, aria_checked="false")
    return html.Button(words, className="tick", type="button", role="checkbox", **state)


def _card(card: Card) -> html.Section:
    """A row of tabs above the open tab's content; *Enlarge* gives the card the large slot."""
    tabs = [
        {
            "id": ids.tab_id(card.name, view.name),
            "value": view.name,
            "label": view.tab,
            "panel": ids.panel_id(view.name),
        }
        for view in card.views
    ]
    words = {"aria_label": f"Enlarge {card.title}", "data_enlarge": card.name, "aria_pressed": "false"}
    enlarge = html.Button(
        "⤢", type="button", className="quiet enlarge", title="Enlarge this card", **attributes(**words)
    )
    panels = [_panel(view) for view in card.views]
    return html.Section(
        [
            html.Div(className="enlarge-slot", **frozen(enlarge)),
            CardTabs(panels, ids.tabs_id(card.name), f"Views of {card.title}", tabs, card.views[0].name, _shared(card)),
        ],
        className="card-box card-of-views",
        id=ids.card_id(card.name),
        **attributes(aria_label=card.title),
    )


def _panel(view: View) -> ViewPanel:
    """The content of a tab: heading and options, the figure and the text around it, and a line of exact numbers."""
    graph = dcc.Graph(
        id=ids.graph_id(view.name),
        figure=in_theme(empty_figure(), LIGHT),
        config={"displayModeBar": False, "responsive": True, "doubleClick": "reset", "showTips": False},
        responsive=True,
        className="graph",
    )
    late = [_late(view.name, view.late())] if view.late else []
    parts = {
        "heading": [html.H2(view.title), html.P("", className="caption")],
        "beside": [view.beside()] if view.beside else [],
        "above": [view.above()] if view.above else [],
        "body": [html.Div(html.Div(view.invited().message), className="card-message")],
        "export": _export(view),
    }
    return ViewPanel(
        [graph, *late],
        [_control(view.setting(control), control) for control in view.controls if not control.shared],
        ids.panel_id(view.name),
        view.name,
        ids.tab_id(view.card, view.name),
        {name: plain(tree) for name, tree in parts.items()},
    )


def _late(view: str, component: Component) -> html.Div:
    """A slot for a component whose scripts are loaded when its tab is first opened (assets/state/late-tables.js)."""
    return html.Div(
        id=ids.late_id(view), className="late-part", **attributes(data_late=json.dumps(component.to_plotly_json()))
    )


def _export(view: View) -> list[Component]:
    """A card's export menu; the browser saves the files (assets/components/export-menu.js)."""
    groups = [_formats(view.name, "Export", ("png", "svg", "html", *(["csv"] if view.table else [])))]
    groups += [
        _formats(extra.name, f"Export: {extra.title.lower()}", ("png", "svg", "html", "csv")) for extra in view.more
    ]
    pictures = [
        tick("Use the page’s theme for PNG and SVG", "ground"),
        tick("PNG and SVG without title and source", "bare"),
    ]
    return [*groups, _widths(), *pictures]


def _widths() -> html.Div:
    """The choice of picture widths, which the browser remembers (assets/components/picture-paper.js)."""
    buttons = [
        html.Button(
            words,
            className="quiet",
            type="button",
            role="radio",
            title=title,
            **attributes(data_export_choice="width", data_value=value, aria_checked="false"),
        )
        for value, words, title in WIDTHS
    ]
    legend = "Width of PNG and SVG"
    row = html.Div(buttons, className="export-row", role="radiogroup", **attributes(aria_label=legend))
    return html.Div([html.Span(legend, className="legend-text"), row], className="export-width")


def _formats(name: str, legend: str, formats: Sequence[str]) -> html.Div:
    buttons = [
        html.Button(
            kind.upper(),
            className="quiet",
            type="button",
            title=FORMATS[kind],
            **attributes(data_export=f"{name}.{kind}"),
        )
        for kind in formats
    ]
    group = attributes(aria_label=legend)
    return html.Div(
        [html.Span(legend, className="legend-text"), html.Div(buttons, className="export-row")], role="group", **group
    )


def _shared(card: Card) -> list[html.Fieldset]:
    """The controls that views of a card share, each once; it says which views take it."""
    takes: dict[str, tuple[Control, list[View]]] = {}
    for view in card.views:
        for control in view.controls:
            if control.shared:
                takes.setdefault(view.setting(control), (control, []))[1].append(view)
    return [
        _control(name, control, views=" ".join(view.name for view in views)) for name, (control, views) in takes.items()
    ]


def _control(name: str, control: Control, views: str = "") -> html.Fieldset:
    """A control, and what assets/components/options.js must know to offer it only where it changes something."""
    beside = name.removesuffix(control.name)
    when = [[beside + other, [str(_text(value)) for value in values]] for other, values in control.when]
    facts = {"data_setting": name, "data_kinds": " ".join(control.kinds)}
    facts |= {"data_needs": control.needs} if control.needs else {}
    facts |= {"data_when": json.dumps(when)} if when else {}
    facts |= {"data_views": views} if views else {}
    if not isinstance(control, Switch):  # which says it itself
        facts["data_legend"] = control.label
    named = attributes(aria_label=control.label, **facts)
    more = [html.Small(control.help, className="control-help")] if control.help else []
    return html.Fieldset([_field(name, control), *more], **named)


def _text(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _field(name: str, control: Control) -> Any:
    """The component that holds a control's `value`."""
    if isinstance(control, Choice):
        options = [{"value": value, "label": label} for value, label in control.choices]
        return dbc.RadioItems(id=name, options=options, value=control.default, persistence=False)
    if isinstance(control, Switch):
        return dbc.Switch(id=name, label=control.label, value=control.default, persistence=False)
    if isinstance(control, Slider):
        ends = {control.least: control.text(control.least), control.most: control.text(control.most)}
        return dcc.Slider(
            control.least, control.most, control.step, value=control.default, id=name, marks=ends, updatemode="mouseup"
        )
    if isinstance(control, Number):
        bounds = {"min": control.least, "max": control.most, "step": control.step, "placeholder": control.label}
        return dbc.Input(id=name, type="number", value=control.default, debounce=True, size="sm", **bounds)
    bounds = {"maxlength": control.longest} if isinstance(control, Text) else {}
    return dbc.Input(
        id=name,
        type="text",
        value=control.default,
        debounce=True,
        size="sm",
        placeholder=control.label,
        autocomplete="off",
        **bounds,
    )
