"""The order of the grid of heads: what its options ask for, what the page says of it, and a file in that order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dashboard.compute import head_probe
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.figures import standalone
from dashboard.figures.heads import ordered_heads
from dashboard.views import all_views
from dashboard.views.attention.heads import VIEW as HEADS
from dashboard.views.head_order import order_as_asked, told
from dashboard.views.state import ViewState
from tests.support.synthetic import make_parts, make_run, make_whole_run
from tests.unit.analysis.test_head_order import planned

BY_LAYER = (((0, 0), (0, 1), (1, 0), (1, 1)),)


@dataclass
class Shelf:
    """A library of one run, and of these results."""

    run: ModelRun
    results: Mapping[str, Derived]

    def run_of(self, _selection: Selection) -> ModelRun:
        return self.run

    def results_of(self, _run: ModelRun, requests: Iterable[DerivedRequest]) -> Mapping[str, Derived]:
        return {one.name: self.results[one.name] for one in requests if one.name in self.results}

    kept_of = results_of


def asked(run: ModelRun, results: Mapping[str, Derived] | None = None, **query: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in query.items()}
    return order_as_asked(run, given, Shelf(run, results or {}))


def test_by_layer_nothing_is_said() -> None:
    order = asked(make_run("causal"))
    assert (order.groups, order.said, order.is_by_layer) == (BY_LAYER, "", True)
    assert told(order) == {"groups": None, "said": ""}
    assert asked(make_run("causal"), attention_grid="no such order").is_by_layer


def test_by_score_the_largest_comes_first() -> None:
    run = make_run("causal")
    distance = np.asarray(run.attention_of().score("distance"))
    assert (np.diff(distance.ravel()) > 0).all()
    order = asked(run, attention_grid="score", heads_sort="distance")
    assert order.groups == (((1, 1), (1, 0), (0, 1), (0, 0)),)
    assert order.said == "By distance on this text, the largest first, row by row."
    own = np.asarray(run.attention_of().score("self"))
    coloured = asked(run, attention_grid="score", heads_sort="distance", heads_colour="self")
    wanted = sorted(BY_LAYER[0], key=lambda place: -float(own[place]))
    assert coloured.groups == (tuple(wanted),)
    assert asked(run, attention_grid="score", heads_sort="group").said.startswith(
        "By attention to the previous token on this text"
    )


def test_the_scores_on_random_tokens_order_the_grid_once_they_are_there() -> None:
    query = {"attention_grid": "score", "heads_colour": "probe-induction"}
    waits = asked(make_run("causal"), **query)
    assert (waits.groups, waits.complete) == (BY_LAYER, False)
    assert "open the Heads tab to compute the scores" in waits.said
    run = make_whole_run("causal")
    order = asked(run, **query)
    result = run.derived(head_probe.KIND.request(run))
    assert result is not None
    induction = head_probe.read(run, result).mean("induction")
    assert order.groups == (tuple(sorted(BY_LAYER[0], key=lambda place: -float(induction[place]))),)
    assert "on random tokens" in order.said


def test_a_run_without_scores_stays_by_layer_and_says_why() -> None:
    header, arrays = make_parts("causal")
    few = {name: values for name, values in arrays.items() if "/scores/" not in name}
    order = asked(ModelRun(header, few), attention_grid="score", heads_sort="self")
    assert not order.complete
    assert order.said.startswith("By layer: This run does not hold the heads' scores")


def test_groups_say_what_was_compared() -> None:
    order = asked(planned(), attention_grid="alike", attention_groups="4")
    assert [len(group) for group in order.groups] == [3, 3, 3, 3]
    said = (
        "4 groups of heads that attend alike (Ward’s method; compared: the square roots of their weights on this text)."
    )
    assert order.said == said
    aided = asked(planned(), attention_grid="alike", attention_first="on")
    assert aided.said.endswith("their weights on this text, with the reading aids applied).")
    one = asked(planned(), attention_grid="alike", attention_groups="1")
    assert one.said.startswith("One group, similar heads side by side")


def test_the_table_has_each_heads_group() -> None:
    run = planned()
    arrays = {**run.arrays}
    options = {control.name: control.default for control in HEADS.controls} | {
        "grid": "alike",
        "groups": 4,
        "sort": "group",
    }
    context = Context(ModelRun(run.header, arrays), Selection(run.key, 0, 0, 0), options)
    assert HEADS.table is not None
    found = HEADS.table(context)
    assert found is not None
    assert found.columns[-1].name == "Group"
    assert [row[-1] for row in found.rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    spec: Any = HEADS.draw(context)
    rows = spec["layout"]["meta"]["head_rows"]
    assert rows["columns"][-1]["id"] == "group"
    assert [row[-1] for row in rows["rows"]] == [1, 2, 3, 4, 4, 1, 3, 2, 2, 1, 4, 3]


@pytest.mark.parametrize("selected", [(0, 2), (None, None)])
def test_a_file_names_every_head_and_each_group_begins_a_row(selected: Any) -> None:
    pictures = np.arange(3 * 4 * 5 * 5, dtype=np.uint8).reshape(3, 4, 5, 5)
    groups = (
        ((0, 0), (1, 1), (2, 1)),
        ((0, 2),),
        tuple((layer, 3) for layer in range(3)),
        ((1, 0), (2, 0), (0, 1), (1, 2), (2, 2)),
    )
    figure = ordered_heads(pictures, groups, selected)
    names = figure.data[0]
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in zip(names.x, names.y, names.text, strict=True):
        rows.setdefault(round(y), []).append((x, text))
    assert [[text for _x, text in sorted(row)] for _y, row in sorted(rows.items())] == [
        ["0.0", "1.1", "2.1"],
        ["0.2"],
        ["0.3", "1.3", "2.3"],
        ["1.0", "2.0", "0.1", "1.2"],
        ["2.2"],
    ]
    assert list(figure.layout.yaxis.ticktext) == ["group 1", "group 2", "group 3", "group 4"]
    assert list(figure.layout.yaxis.tickvals) == [0, 1, 2, 3]
    assert [image.sizex for image in figure.layout.images] == [3, 1, 3, 4, 1]
    frames = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(frame.x0, frame.y0) for frame in frames] == ([(-0.5, 0.5)] if selected == (0, 2) else [])


def test_the_export_of_all_heads_has_the_pages_order() -> None:
    run = make_run("causal")
    query = {"run": run.key, "token": "1", "layer": "0", "head": "1"}
    views = all_views()
    plain = standalone("attention-heads", ViewState.from_query(query, views), views, Shelf(run, {}))
    assert plain.title == "All heads, layer × head"
    ordered = {**query, "attention-grid": "score", "heads-sort": "distance"}
    found = standalone("attention-heads", ViewState.from_query(ordered, views), views, Shelf(run, {}))
    assert found.title == "All heads"
    assert found.caption.endswith("By distance on this text, the largest first, row by row.")
    assert list(found.drawn().data[0].text) == ["1.1", "1.0", "0.1", "0.0"]


def test_the_export_of_all_heads_has_the_order_by_random_tokens_that_the_page_has() -> None:
    run = make_whole_run("causal")
    result = run.derived(head_probe.KIND.request(run))
    assert result is not None
    bare = ModelRun(*make_parts("causal"))
    shelf = Shelf(bare, {head_probe.KIND.request(bare).name: result})
    induction = head_probe.read(run, result).mean("induction")
    query = {"run": bare.key, "token": "1", "layer": "0", "head": "1"}
    ordered = {**query, "attention-grid": "score", "heads-colour": "probe-induction"}
    found = standalone("attention-heads", ViewState.from_query(ordered, all_views()), all_views(), shelf)
    wanted = sorted(BY_LAYER[0], key=lambda place: -float(induction[place]))
    assert list(found.drawn().data[0].text) == [f"{layer}.{head}" for layer, head in wanted]
    assert "on random tokens" in found.caption
