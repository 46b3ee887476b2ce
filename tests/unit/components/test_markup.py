"""Plain trees: what Dash's html components become where Dash need not know of them."""

from __future__ import annotations

import json

import pytest
from dash import dcc, html

from dashboard.components.markup import attributes, frozen, plain


def test_components_become_tags_attributes_and_children() -> None:
    tree = html.P(
        ["a ", html.B("b", className="tok", title="0.5"), 3, None, html.Span(hidden=True, **attributes(data_x="1"))]
    )
    wanted = [
        "p",
        {},
        "a ",
        ["b", {"class": "tok", "title": "0.5"}, "b"],
        "3",
        ["span", {"hidden": True, "data-x": "1"}],
    ]
    assert plain(tree) == [wanted]


def test_names_are_those_of_html() -> None:
    assert plain([html.Label("L", htmlFor="x"), html.Td("t", colSpan=2)]) == [
        ["label", {"for": "x"}, "L"],
        ["td", {"colspan": 2}, "t"],
    ]


def test_an_absent_attribute_is_left_out_and_text_stays_text() -> None:
    assert plain(html.Button("<b>&amp;", hidden=False, title=None)) == [["button", {}, "<b>&amp;"]]


def test_what_only_dash_can_show_is_refused() -> None:
    with pytest.raises(TypeError, match="only Dash"):
        plain(html.Div(dcc.Input(id="x")))


def test_frozen_is_an_attribute_of_json() -> None:
    assert json.loads(frozen(html.I("é"), "text")["data-tree"]) == [["i", {}, "é"], "text"]
