"""Lines: what is drawn and said beside whole matrices of weights, and what cannot be shown."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.figures import text_of
from dashboard.views.attention.lines import VIEW
from tests.support.synthetic import make_run

OPTIONS = {"way": "to", "least": 0.02, "off": "", "show": "figure"}


def context(run: ModelRun, whole: bool = False, token: int = 3, **more: Any) -> Context:
    options = {name: more.pop(name, value) for name, value in OPTIONS.items()}
    return Context(run, Selection(run.key, token, 1, 0, **more), options, whole=whole)


def told(found: Context) -> dict[str, Any]:
    spec: Any = VIEW.draw(found)
    lines: dict[str, Any] = spec["layout"]["meta"]["lines"]
    return lines


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
@pytest.mark.parametrize("direction", ["to", "from", "all"])
def test_every_line_is_a_weight_of_that_head_and_the_rest_is_counted(kind: ModelKind, direction: str) -> None:
    run = make_run(kind)
    heads, tokens = ((0, 1), (1, 1)), (4,)
    found = context(run, way=direction, heads=heads, tokens=tokens, least=0.1)
    attention = run.attention_of()
    wanted, left = {}, []
    for index, (layer, head) in enumerate([(1, 0), *heads]):
        weights, allowed = attention.weights(layer, head), attention.allowed(layer)
        for query, key in itertools.product(range(len(run)), repeat=2):
            asked = {"to": query in (3, 4), "from": key in (3, 4), "all": True}[direction]
            if asked and allowed[query, key]:
                if weights[query, key] >= 0.1:
                    wanted[index, query, key] = float(weights[query, key])
                else:
                    left.append(float(weights[query, key]))
    drawn = told(found)["drawn"]
    assert {tuple(line[:3]): line[3] for line in drawn} == pytest.approx(wanted, rel=1e-5)
    assert [line[3] for line in drawn] == sorted(line[3] for line in drawn)
    footer = text_of(VIEW.text(found).footer)
    if left:
        whole = len(left) + len(wanted)
        assert f"Left out: {len(left)} of {whole} lines (weight below 0.1)" in footer
        assert f"sum of their weights {sum(left):.3f}" in footer
    rows = list(VIEW.table(found).rows)  # type: ignore[misc, union-attr]
    assert [row[-1] for row in rows] == pytest.approx(sorted(wanted.values(), reverse=True))
    every = VIEW.table(context(run, True, way=direction, heads=heads, tokens=tokens, least=0.1))  # type: ignore[misc]
    assert every is not None
    cells = list(every.rows)
    assert len(cells) == every.count
    assert sum(row[7] == "yes" for row in cells) == len(wanted)
    assert sum(row[6] is not None for row in cells) == len(wanted) + len(left)


def test_the_title_names_tokens_and_heads() -> None:
    run = make_run("causal")
    for more, title in (
        ({}, "attends to, head 1.0"),
        ({"heads": ((0, 1),)}, "attends to, heads 1.0 and 0.1"),
        ({"heads": ((0, 1), (1, 1), (1, 0))}, "attends to, heads 1.0, 0.1 and 1.1"),
        ({"tokens": (1, 2)}, "and 2 more tokens attend to, head 1.0"),
        ({"way": "from"}, "(3), head 1.0"),
        ({"way": "all"}, "What each token attends to, head 1.0"),
        ({"off": "1.0, 7.7"}, "attends to, no head"),
        ({"heads": ((0, 1),), "off": "1.0"}, "attends to, head 0.1"),
    ):
        assert text_of(VIEW.text(context(run, **more)).title).endswith(title)  # type: ignore[arg-type]


def test_a_head_that_is_switched_off_keeps_its_place_in_the_legend() -> None:
    found = told(context(make_run("causal"), heads=((0, 1), (1, 1)), off="0.1"))
    assert found["heads"] == [[1, 0, 1], [0, 1, 0], [1, 1, 1]]
    assert {line[0] for line in found["drawn"]} == {0, 2}
    assert told(context(make_run("causal"), off="1.0"))["drawn"] == []


def test_tokens_that_cannot_be_read_are_faint() -> None:
    assert told(context(make_run("causal"), token=2))["readable"] == [1, 1, 1, 0, 0, 0]
    assert told(context(make_run("causal"), token=2, way="from"))["readable"] == [0, 0, 1, 1, 1, 1]
    assert told(context(make_run("encoder"), token=2))["readable"] == [1] * 6


def test_a_long_text_says_how_many_tokens_are_shown() -> None:
    run = make_run("causal", [f" w{i}" for i in range(200)])
    found = context(run, token=150, least=0.001)
    shown = told(found)["tokens"]
    assert len(shown) <= 40
    assert {149, 150, 151} <= set(shown)
    assert f"{len(shown)} of 200 tokens shown" in text_of(VIEW.text(found).footer)


@pytest.mark.parametrize("direction", ["to", "from", "all"])
def test_one_token_and_no_line(direction: str) -> None:
    run = make_run("causal", ["a"])
    found = context(run, token=0, way=direction)
    assert told(found)["drawn"] == [[0, 0, 0, 1.0]]
    assert "The only line is drawn" in text_of(VIEW.text(found).footer)
    sentences = VIEW.explanation(found)
    assert "itself" in text_of(sentences[1])
    few = context(make_run("causal"), least=1, way=direction)
    assert len(VIEW.explanation(few)) == 3


def test_the_file_has_the_lines_of_the_page_with_their_width_and_dash() -> None:
    found = context(make_run("causal"), heads=((0, 1),))
    figure: Any = VIEW.export(found)  # type: ignore[misc]
    traces = [trace for trace in figure.data if trace.mode == "lines" and trace.x[0] is not None]
    assert len(traces) == len(told(found)["drawn"])
    for trace, (head, query, key, weight) in zip(traces, told(found)["drawn"], strict=True):
        assert (trace.y[0], trace.y[-1]) == (query, key)
        assert trace.line.width == pytest.approx(max(1.0, 13 * weight), rel=1e-4)
        assert trace.line.dash == ("solid", "6px,3px")[head]
        assert trace.line.color == f"var(--line-{head})"
    assert [trace.name for trace in figure.data if trace.showlegend] == ["layer 1, head 0", "layer 0, head 1"]
    assert np.all([trace.showlegend is False for trace in traces])


def test_what_the_reading_aids_leave_out_has_no_line() -> None:
    run = make_run("masked")
    plain, kept = run.attention(1, 0), list(range(1, len(run)))
    options = {**OPTIONS, "least": 0, "first": True}
    for sums in (False, True):
        found = Context(run, Selection(run.key, 3, 1, 0), {**options, "sums": sums})
        table = VIEW.table(found) if VIEW.table else None
        assert table is not None
        weights = {row[4]: row[6] for row in table.rows}
        assert sorted(weights, key=str) == sorted(kept, key=str)
        whole = plain[3, kept].sum() if sums else 1
        assert [weights[key] for key in kept] == pytest.approx((plain[3, kept] / whole).tolist(), rel=1e-5)
        words = VIEW.text(found)
        assert "The first token left out." in words.caption
        assert ("Each row adds up to 1 again." in words.caption) is sums
    alone = Context(run, Selection(run.key, 0, 1, 0), options)
    assert "leave out all lines of this token" in str(VIEW.explanation(alone))
