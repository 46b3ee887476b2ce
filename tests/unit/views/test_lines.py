"""Lines: what is drawn and said beside whole matrices of weights, and what cannot be shown."""

from __future__ import annotations

import itertools
from dataclasses import replace
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
        assert f"sum of weights {sum(left):.3f}" in footer
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


def pieces() -> ModelRun:
    """Three words: un + believ + ably, house, and + s."""
    run = make_run("encoder", ["un", "believ", "ably", " house", " and", "s"])
    words = [0, 0, 0, 1, 2, 2]
    tokens = [replace(token, word=word) for token, word in zip(run.tokens, words, strict=True)]
    header = {**run.header, "tokens": {"encoder": [token.to_row() for token in tokens]}}
    return ModelRun(header, run.arrays)


@pytest.mark.parametrize("direction", ["to", "from", "all"])
def test_lines_between_words_sum_over_the_pieces_attended_to_and_average_over_those_attending(direction: str) -> None:
    run = pieces()
    groups = [(0, 1, 2), (3,), (4, 5)]
    plain = run.attention(1, 0).astype(np.float64)
    wanted = {}
    for asking, answering in itertools.product(groups, repeat=2):
        if {"to": 1 in asking, "from": 1 in answering, "all": True}[direction]:
            between = [sum(plain[query, key] for key in answering) for query in asking]
            wanted[asking[0], answering[0]] = sum(between) / len(asking)
    options = {**OPTIONS, "least": 0, "way": direction, "words": True}
    found = Context(run, Selection(run.key, 1, 1, 0), options)
    lines = told(found)
    assert {tuple(line[1:3]): line[3] for line in lines["drawn"]} == pytest.approx(wanted, rel=1e-5)
    assert lines["tokens"] == [0, 3, 4]
    assert lines["words"] == {"0": ["unbelievably", 0, 2], "4": ["·ands", 1, 5]}
    assert lines["chosen"] == [0]
    words = VIEW.text(found)
    assert ("unbelievably (0–2)" if direction != "all" else "each word") in text_of(words.title)
    assert "Words: weights to the pieces of a word are added" in words.caption
    assert "·ands (4–5)" in text_of(words.footer)
    every = VIEW.table(replace(found, whole=True))  # type: ignore[misc]
    assert every is not None
    cells = list(every.rows)
    assert len(cells) == every.count == len(wanted)
    assert {(row[2], row[4]): row[6] for row in cells} == pytest.approx(wanted, rel=1e-5)
    assert {(row[2], row[3]) for row in cells} <= {(0, "unbelievably"), (3, " house"), (4, " ands")}


def test_two_pieces_of_one_word_are_one_end_of_the_lines() -> None:
    found = Context(pieces(), Selection("", 2, 1, 0, tokens=(0, 5)), {**OPTIONS, "words": True})
    assert told(found)["chosen"] == [0, 4]
    assert "unbelievably (0–2) and 1 more word attend to" in text_of(VIEW.text(found).title)


@pytest.mark.parametrize(("heads", "each"), [((), 3), (((0, 1),), 2), (((0, 1), (1, 1)), 1)])
def test_the_footer_of_up_to_three_heads_has_two_lines(heads: tuple[tuple[int, int], ...], each: int) -> None:
    run = make_run("encoder")
    footer = VIEW.text(context(run, heads=heads, least=0)).footer
    ends = [index for index, part in enumerate(footer) if part.className == "line-end"]
    assert len(ends) == 1
    weights = [text_of(part) for part in footer[: ends[0]] if part.className == "number"]
    assert len(weights) == each * (1 + len(heads))
    for index, (layer, head) in enumerate([(1, 0), *heads]):
        largest = np.sort(run.attention(layer, head)[3])[::-1][:each]
        assert [text.split()[-1] for text in weights[each * index : each * (index + 1)]] == [
            f"{w:.3f}" for w in largest
        ]
