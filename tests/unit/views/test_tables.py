"""The tables behind the figures: every number against one computed here from the run's arrays."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from dashboard.analysis.attention_reading import read_attention
from dashboard.contracts.context import Context
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Table
from dashboard.views import all_views, tables
from dashboard.views.declaration import View
from tests.support.synthetic import TOP, WORDS, made_for, make_run, make_whole_run, masked_result, results

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")


def select(run: ModelRun, token: int = 3, layer: int = 1, head: int = 0, second: int | None = 1) -> Selection:
    return Selection(run.key, token, layer, head, second)


def view_named(name: str) -> View:
    return next(view for view in all_views() if view.name == name)


def table_of(name: str, run: ModelRun, selection: Selection, whole: bool = False, **chosen: str) -> Table:
    view = view_named(name)
    assert view.table is not None
    options = {control.name: chosen.get(control.name, control.default) for control in view.controls}
    found = view.table(Context(run, selection, options, whole=whole))
    assert found is not None
    return found


def rows_of(table: Table) -> list[tuple[Any, ...]]:
    return list(table.rows)


def softmax_by_hand(run: ModelRun, layer: int, head: int) -> list[list[float | None]]:
    """exp(q·k / √d) over its sum, pair by pair; None where a causal model's key comes later than the query."""
    query, key = run.attention_of().query_and_key(layer)
    query, key = query[head], key[0]  # two heads share the one key head
    width = query.shape[1]
    found: list[list[float | None]] = []
    for i in range(len(run)):
        keys = range(i + 1) if run.model.kind == "causal" else range(len(run))
        powers = {
            j: math.exp(sum(float(a) * float(b) for a, b in zip(query[i], key[j], strict=True)) / math.sqrt(width))
            for j in keys
        }
        total = sum(powers.values())
        found.append([powers[j] / total if j in powers else None for j in range(len(run))])
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
@pytest.mark.parametrize("whole", [False, True])
def test_every_table_is_as_long_and_wide_as_it_says(view: View, kind: ModelKind, whole: bool) -> None:
    run = made_for(view.name) if kind == "causal" else make_whole_run(kind)
    options = {control.name: control.default for control in view.controls}
    assert view.table is not None, f"{view.name} has no table: every view says its numbers (View.table)"
    context = Context(run, select(run), options, whole=whole)
    table = view.table(context)
    if table is None:
        assert kind != "causal"
        assert view.text(context).message is not None, "it says why there is nothing"
        return
    rows = rows_of(table)
    assert len(rows) == table.count
    assert {len(row) for row in rows} == {len(table.columns)}
    assert table.title
    assert all(0 <= index < table.count for index in table.selected)
    assert all(cell is None or isinstance(cell, (str, int, float)) for row in rows for cell in row)
    assert not any(isinstance(cell, np.generic) for row in rows for cell in row)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_for_a_person_has_the_second_tokens_row_once(kind: ModelKind) -> None:
    run = make_run(kind)
    reading = read_attention(run.attention_of(), 1, 0)
    table = tables.row_table(reading, Selection(run.key, 3, 1, 0, 1), "Layer 1, head 0")
    by_hand = softmax_by_hand(run, 1, 0)
    rows = rows_of(table)
    for column, query in ((2, 3), (3, 1)):
        expected = ["masked" if weight is None else pytest.approx(weight, rel=1e-5) for weight in by_hand[query]]
        assert [row[column] for row in rows] == expected
    assert [column.name for column in table.columns[2:]] == ["Weight of ·on (3)", "Weight of ·cat (1)"]
    alone = tables.row_table(reading, Selection(run.key, 3, 1, 0, 3), "Layer 1, head 0")
    assert [column.name for column in alone.columns] == ["Key", "Token", "Weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_attention_for_a_person_is_the_selected_querys_row(kind: ModelKind) -> None:
    run = make_run(kind)
    table = table_of("attention", run, select(run, token=3, head=1, second=5))
    weights = softmax_by_hand(run, 1, 1)[3]
    assert [row[:2] for row in rows_of(table)] == [
        (0, "The"),
        (1, "·cat"),
        (2, "·sat"),
        (3, "·on"),
        (4, "·it"),
        (5, "."),
    ]
    for row, weight in zip(rows_of(table), weights, strict=True):
        assert row[2] == ("masked" if weight is None else pytest.approx(weight, abs=1e-6))
    assert table.selected == (3, 5)
    assert table_of("attention", run, select(run, second=None)).selected == (3,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [1, 7, 13, 10_000])
def test_the_whole_of_a_head_is_every_pair_in_order(
    kind: ModelKind, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BLOCK", block)  # weights at once: one row, two rows, all
    run = make_run(kind)
    rows = rows_of(table_of("attention", run, select(run, head=1), whole=True))
    assert [(row[0], row[2]) for row in rows] == list(itertools.product(range(6), repeat=2))
    assert [(row[1], row[3]) for row in rows] == list(itertools.product(WORDS, repeat=2))
    expected = [weight for row in softmax_by_hand(run, 1, 1) for weight in row]
    for row, weight in zip(rows, expected, strict=True):
        assert row[4] == (None if weight is None else pytest.approx(weight, abs=1e-6))


def test_the_whole_of_a_long_head_is_never_held_at_once() -> None:
    run = make_run("causal", [f" w{i}" for i in range(2048)], layers=1)
    table = table_of("attention", run, select(run, token=9, layer=0), whole=True)
    assert table.count == 2048 * 2048
    tracemalloc.start()
    last = sum(1 for _row in itertools.islice(table.rows, 300_000))
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last == 300_000
    assert most < 12 * 2**20  # the matrix alone would be 16 MB, the rows as objects far more


@pytest.mark.parametrize("at", ["layer", "embeddings"])
def test_hidden_rows_have_the_coordinates_that_are_drawn(at: str) -> None:
    run = make_run("encoder")
    states = np.asarray(run.hidden_states[0 if at == "embeddings" else 2], dtype=np.float64)
    centred = states - states.mean(axis=0)
    _u, _s, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:3] * np.sign(axes[:3][np.arange(3), np.abs(axes[:3]).argmax(axis=1)])[:, None]
    table = table_of("hidden", run, select(run), at=at)
    rows = rows_of(table)
    assert [column.name for column in table.columns] == ["Position", "Token", "PC 1", "PC 2", "PC 3", "Norm"]
    np.testing.assert_allclose([row[2:5] for row in rows], centred @ axes.T, atol=1e-6)
    assert [row[5] for row in rows] == pytest.approx([math.sqrt(sum(v * v for v in state)) for state in states])
    assert table.selected == (3, 1)
    assert table.title.startswith("Embeddings, before layer 0" if at == "embeddings" else "After layer 1")


def test_a_token_that_is_left_out_says_so() -> None:
    run = make_run("causal", outlier=True, layers=2)
    selection = select(run, layer=0)
    seen, filed = (rows_of(table_of("hidden", run, selection, whole=whole)) for whole in (False, True))
    assert seen[0][2:5] == ("left out",) * 3
    assert filed[0][2:5] == (None,) * 3
    first = np.asarray(run.hidden_states[1][0], dtype=np.float64)
    assert seen[0][5] == pytest.approx(float(np.sqrt((first**2).sum())))
    assert all(isinstance(value, float) for row in seen[1:] for value in row[2:])
    assert "Left out of the components: The\u00a0(0)." in table_of("hidden", run, selection).title
    kept = rows_of(table_of("hidden", run, selection, first="keep"))
    assert all(isinstance(value, float) for row in kept for value in row[2:])


def test_predictions_have_rank_probability_and_the_token_that_came() -> None:
    run = make_run("causal")
    table = table_of("prediction", run, select(run, token=2, second=None), whole=True)
    ids, logprobs = run.arrays["given/top_ids"][2], run.arrays["given/top_logprobs"][2]
    rows = rows_of(table)
    for place in range(TOP):
        assert rows[place][0] == place + 1
        assert rows[place][2] == int(ids[place])
        assert rows[place][3] == pytest.approx(100 * math.exp(float(logprobs[place])))
        assert rows[place][4] == pytest.approx(float(logprobs[place]))
    yes = [row for row in rows if row[5] == "yes"]
    assert [row[1:3] for row in yes] == [(" on", 3)]
    assert yes[0][0] == int(run.arrays["given/actual_rank"][2])
    assert yes[0][4] == pytest.approx(float(run.arrays["given/actual_logprob"][2]))
    assert [(column.name, column.unit) for column in table.columns][3:] == [
        ("Probability", "%"),
        ("Log-probability", "nats"),
        ("Came next", ""),
        ("Label", ""),
    ]
    assert yes[0][-1] == "·on"


def test_the_last_position_has_nothing_that_came_next() -> None:
    run = make_run("causal")
    rows = rows_of(table_of("prediction", run, select(run, token=5, second=None)))
    assert len(rows) == TOP
    assert {row[5] for row in rows} == {""}


def test_a_masked_position_that_waits_has_no_table_and_then_the_filled_one() -> None:
    run = make_run("masked", masked=False)
    view = view_named("prediction")
    options = {control.name: control.default for control in view.controls}
    assert view.table is not None
    assert view.table(Context(run, select(run, token=2, second=None), options)) is None
    result = masked_result(run.key)
    table = view.table(Context(run, select(run, token=2, second=None), options, results=results(result)))
    assert table is not None
    rows = rows_of(table)
    assert [row[2] for row in rows[:TOP]] == result.arrays["masked/top_ids"][0].tolist()
    assert [row[2] for row in rows if row[5] == "yes"] == [2]


def test_a_person_gets_as_many_candidates_as_the_figure() -> None:
    run = make_run("causal")
    few = rows_of(table_of("prediction", run, select(run, token=2, second=None), count="5"))
    assert len([row for row in few if row[0] <= 5]) == 5
    assert few[0][1] == rows_of(table_of("prediction", run, select(run, token=2, second=None), whole=True))[0][
        1
    ].replace(" ", "·")
