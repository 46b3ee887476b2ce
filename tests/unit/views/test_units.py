"""A number and its unit do not part at a line's end, in whatever a view says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dashboard.components.markup import PARTING, bound, plain, unparted
from dashboard.contracts.context import Context
from dashboard.contracts.selection import Selection
from dashboard.views import all_views
from dashboard.views.declaration import View
from dashboard.views.shown import shown_table
from dashboard.views.token_spans import token_span
from dashboard.web.routes.figures import _placed
from tests.support.synthetic import CLASSIFIERS, make_classifier, make_run, values_of

WITH_UNITS = {"heads", "hidden", "path", "layers", "prediction", "lens", "through"}  # views that say numbers with units
PARTED = re.compile(r"\d[ \n]+(%|nats|×|pp\b|percentage|MB|GB|M\b)|[<>][ \n]+\d")


def test_page_and_server_have_one_rule() -> None:
    script = (Path(__file__).resolve().parents[3] / "assets" / "components" / "labels.js").read_text(encoding="utf-8")
    ways = re.search(r"const PARTING = new RegExp\(\s*(\[.+?\])\.join\(\"\|\"\),\s*\"g\",?\s*\);", script, re.S)
    assert ways
    assert "|".join(json.loads(re.sub(r",\s*\]", "]", ways[1]))) == PARTING.pattern


def said(nodes: list[Any]) -> str:
    """All texts of a tree, but for tokens, which stand as they are."""
    found = ""
    for node in nodes:
        if isinstance(node, str):
            found += node
        elif not {"tok", "text"} & set(str(node[1].get("class", "")).split()):
            found += said(node[2:]) + (
                "|" if node[0] in {"p", "h2", "h3", "div", "td", "th", "dd", "dt", "caption"} else ""
            )
    return found


def all_said(view: View, kind: Any) -> list[str]:
    run = make_classifier(kind) if kind in CLASSIFIERS else make_run(kind)
    found = []
    for control in (None, *view.controls):
        for value in ("",) if control is None else values_of(control):
            options = {one.name: one.default for one in view.controls}
            if control is not None:
                options[control.name] = value
            for other in (None, 1):
                selection = Selection(run.key, 3, 1, 0, other)
                placed = _placed(view.text(Context(run, selection, options)))
                found += [said(part) for part in placed.values()]
                table = view.table(Context(run, selection, options)) if view.table else None
                if table is not None:
                    found.append(said(bound(plain(shown_table(table)))))
    return found


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked", *CLASSIFIERS])
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_no_view_parts_a_number_from_its_unit(view: View, kind: Any) -> None:
    texts = all_said(view, kind)
    if view.name in WITH_UNITS and kind in ("causal", "masked"):
        assert any("\u00a0" in text for text in texts), "it has numbers with units, and they are found"
    assert [text for text in texts if PARTED.search(text)] == []


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["the model expects ·Mary, 10.8 %"], "the model expects ·Mary, 10.8\u00a0%"),
        (["< 0.05 %"], "<\u00a00.05\u00a0%"),
        (["12 nats or more"], "12\u00a0nats or more"),
        (["5 times the median, 49 × 3"], "5\u00a0times the median, 49\u00a0× 3"),
        (["1.6 percentage points, a rise by 2 points"], "1.6\u00a0percentage points, a rise by 2\u00a0points"),
        (["30 states, 4 steps, 3 more, 7 Bs"], "30 states, 4 steps, 3 more, 7 Bs"),
        (["layer 24, head 4 of 9"], "layer 24, head 4 of 9"),
    ],
)
def test_what_belongs_together(parts: list[str], whole: str) -> None:
    assert unparted("".join(parts)) == whole


def test_number_and_unit_in_two_elements_and_tokens_as_they_are() -> None:
    from dash import html

    nodes = plain(
        [html.Span(["surprisal", html.B("0.08"), " nats"]), html.P(["0.56 ", html.Small("nats, 5 % of max.")])]
    )
    assert said(bound(nodes)) == "surprisal0.08\u00a0nats0.56\u00a0nats, 5\u00a0% of max.|"
    token = plain([token_span("5 % off"), " 10 %"])
    kept = bound(token)
    assert kept[0] == token[0]
    assert kept[1] == " 10\u00a0%"
