"""Two vocabulary ids with one text never share a label, wherever a run's tokens are named: strip, sentences, tables,
files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.provenance import of_figure
from dashboard.exports.report import report
from dashboard.exports.token_table import rows_of
from dashboard.views import all_views
from dashboard.views.declaration import View, Words
from dashboard.views.run_info import describe_run
from dashboard.views.shown import alternative
from dashboard.views.state import ViewState
from tests.support.synthetic import VOCABULARY, OneRun, make_parts, make_run, values_of

TEXTS = ("x", " y", "x", "z", " y", "x")  # ids 0 to 5
LABELS = ["x ⟨id 0⟩", "·y ⟨id 1⟩", "x ⟨id 2⟩", "z", "·y ⟨id 4⟩", "x ⟨id 5⟩"]  # by hand
ALONE = {"x", "·y"}  # what no token may be called


def spans(component: Any) -> Iterator[str]:
    """The text of every token of a tree of components."""
    if isinstance(component, (list, tuple)):
        for child in component:
            yield from spans(child)
    elif hasattr(component, "children"):
        if "tok" in str(getattr(component, "className", "")).split():
            yield "".join(str(getattr(part, "children", part) or "") for part in component.children)
        else:
            yield from spans(component.children)


def named_in(words: Words) -> list[str]:
    return [name for part in (words.title, words.caption, words.footer, words.body) for name in spans(part)]


def settings(view: View) -> Iterator[dict[str, str]]:
    """The default options, and each other choice."""
    default = {control.name: control.default for control in view.controls}
    yield default
    for control in view.controls:
        yield from ({**default, control.name: value} for value in values_of(control)[1:])


def places(run: ModelRun) -> list[Selection]:
    return [Selection(run.key, token, 1, 0, other) for token in (1, 2, 5) for other in (None, 0, 4)]


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked"])
def test_the_strip_and_the_cards_write_a_token_in_one_way(kind: ModelKind) -> None:
    run = make_run(kind, TEXTS, outlier=True)
    assert describe_run(run)["labels"] == LABELS
    seen = set()
    for view in all_views():
        for options in settings(view):
            for selection in places(run):
                words = view.text(Context(run, selection, options))
                names = named_in(words)
                assert not ALONE & set(names), (view.name, options, selection)
                assert not re.search(r"(?<![\w·])(x|·y)(?! ⟨id)\b", alternative(words).split("”, ")[-1])
                seen |= set(names)
    assert set(LABELS) <= seen


@pytest.mark.parametrize("kind", ["causal", "encoder", "masked"])
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_figures_and_tables_do(view: View, kind: ModelKind) -> None:
    run = make_run(kind, TEXTS, outlier=True)
    for options in settings(view):
        for selection in places(run):
            figure = view.draw(Context(run, selection, options))
            if isinstance(figure, dict):
                bars = figure["layout"].get("meta", {}).get("bars", {"names": []})
                assert not ALONE & {name for name, _marks, _bold in bars["names"]}
            for whole in (False, True):
                table = view.table(Context(run, selection, options, whole=whole)) if view.table else None
                if table is None:
                    continue
                labels = [i for i, column in enumerate(table.columns) if "abel" in column.name or not whole]
                assert not ALONE & {str(row[i]) for row in table.rows for i in labels}
                assert not re.search(
                    r"(?<![\w·])(x|·y) \(\d", " ".join([table.title, *(c.heading for c in table.columns)])
                )


def test_files_do() -> None:
    run = make_run("causal", TEXTS)
    selection = Selection(run.key, 2, 1, 0, 4)
    places = dict(of_figure(run, selection, "Attention").entries)
    assert (places["Token"], places["Second token"]) == ("2 “x ⟨id 2⟩”", "4 “·y ⟨id 4⟩”")
    views = all_views()
    state = ViewState(selection, {view.name: {c.name: c.default for c in view.controls} for view in views})
    page = report(state, views, OneRun(run))
    strip = re.search(r'<ol class="strip">.*?</ol>', page, re.S)
    assert strip is not None
    assert re.findall(r"<bdi>(.*?)</bdi>", strip[0]) == LABELS
    cells = rows_of(run, 1)
    assert [label in cells for label in LABELS] == [True] * len(LABELS)
    assert '"x",' in cells  # the token's own text stays
    assert not re.search(r",(\d[^,]*),\"x\",\"x\"", cells)


def run_beside(candidate: int) -> ModelRun:
    """A run whose text has one token "x", id 0, and whose vocabulary has another, id `candidate`, likeliest
    everywhere."""
    header, arrays = make_parts("causal", ("x", " y", "z"))
    names = json.loads(arrays["vocabulary"].tobytes())
    names[str(candidate)] = "x"
    arrays["vocabulary"] = np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)
    ids = np.array(arrays["given/top_ids"])
    ids[ids == candidate] = VOCABULARY - 1
    ids[:, 0] = candidate
    return ModelRun(header, {**arrays, "given/top_ids": ids})


def test_a_predicted_token_is_not_called_what_one_of_the_text_is() -> None:
    run = run_beside(15)
    assert describe_run(run)["labels"] == ["x", "·y", "z"]
    [view] = [view for view in all_views() if view.name == "prediction"]
    options = {control.name: control.default for control in view.controls}
    for other in (None, 2):
        selection = Selection(run.key, 1, 0, 0, other)
        assert list(spans(view.text(Context(run, selection, options)).title)) == ["x ⟨id 15⟩"]
        figure = view.draw(Context(run, selection, options))
        assert isinstance(figure, dict)
        assert figure["layout"]["meta"]["bars"]["names"][0][0] == "x ⟨id 15⟩"
        assert figure["data"][0]["customdata"][0]["label"] == "x ⟨id 15⟩"
        assert view.table is not None
        shown = view.table(Context(run, selection, options))
        assert shown is not None
        assert any("x ⟨id 15⟩" in row for row in shown.rows)
        assert view.export is not None
        exported = view.export(Context(run, selection, options))
        assert exported is not None
        assert "x ⟨id 15⟩" in str(exported.layout.yaxis.ticktext[0])
    assert '"x ⟨id 15⟩"' in rows_of(run, 1)
