"""Aggregates and reading aids in the heatmap: what is drawn, said, listed, exported, and told to the browser."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dashboard.analysis import attention_reading
from dashboard.analysis.aggregates import rollout
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.exports.figures import text_of
from dashboard.exports.provenance import settings_of
from dashboard.figures.attention import shades
from dashboard.views import all_views
from dashboard.views.attention.heatmap import VIEW
from dashboard.views.cards import cards_of
from dashboard.views.head_order import ORDER
from dashboard.views.reading import CONTROLS, asks_of, read_as_asked, reading_of, request_of
from dashboard.views.state import settings_of as all_settings
from dashboard.web.card_layout import _shared
from tests.support.synthetic import OneRun, array_of, make_parts, make_run

WORDS = ("[CLS]", "a", " play", "ing", "[SEP]")


def pieces() -> ModelRun:
    """[CLS] a play ##ing [SEP]."""
    header, arrays = make_parts("encoder", WORDS)
    rows = [[*row] for row in header["tokens"]["encoder"]]
    for at in (0, 4):
        rows[at][2:7] = [rows[at][2], rows[at][2], True, False, None]
    rows[3][6] = 2
    header["tokens"] = {"encoder": rows}
    return ModelRun(header, arrays)


def context(run: ModelRun, token: int = 3, second: int | None = 1, whole: bool = False, **options: Any) -> Context:
    chosen = {control.name: control.default for control in VIEW.controls} | options
    return Context(run, Selection(run.key, token, 1, 0, second=second), chosen, whole=whole)


def drawn(found: Context) -> np.ndarray:
    spec: Any = VIEW.draw(found)
    return array_of(spec["data"][0]["z"])


def said(found: Context) -> str:
    words = VIEW.text(found)
    return " | ".join(text_of(part) for part in (words.title, words.caption, words.footer)).replace("\u00a0", " ")


def table(found: Context) -> Any:
    made = VIEW.table(found) if VIEW.table else None
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("of", "title", "made"),
    [
        ("mean", "Layer 1, mean of 2 heads: what ·on (3) attends to", "Each weight is the mean of 2 heads."),
        ("max", "Layer 1, largest weight of 2 heads: what", "a row of largest weights may add up to more than 1"),
        ("mean-all", "All 2 layers, mean of 4 heads: what", "Each weight is the mean of 4 heads."),
        ("max-all", "All 2 layers, largest weight of 4 heads: what", "Each weight is the largest of 4 heads."),
        ("rollout", "Attention rollout, layers 0 to 1: what", "50 % attention, 50 % residual stream in each layer."),
    ],
)
def test_an_aggregate_is_drawn_and_titled_as_what_it_is(of: str, title: str, made: str) -> None:
    found = context(make_run("causal"), of=of)
    reading = reading_of(found)
    np.testing.assert_array_equal(drawn(found), shades(reading.weights(), reading.allowed()))
    assert said(found).startswith(title)
    assert made in said(found)
    spec: Any = VIEW.draw(found)
    told = spec["layout"]["meta"]["reading"]
    assert told["asks"] == {"attention-of": of}
    heads = {"mean": "Mean of 2", "max": "Largest of 2", "mean-all": "Mean of 4", "max-all": "Largest of 4"}
    assert told["said"] == (f"{heads[of]} heads" if of in heads else "Rollout")
    assert f"{float(reading.weights()[3, 1]):.3f}" in said(found)
    assert [row[2] for row in table(found).rows][:4] == pytest.approx(reading.weights()[3, :4].tolist())
    figure: Any = VIEW.export(found) if VIEW.export else None
    np.testing.assert_array_equal(array_of(figure.to_plotly_json()["data"][0]["z"]), drawn(found))


def nothing(found: Context) -> str:
    """What the line over an empty figure says."""
    spec: Any = VIEW.draw(found)
    assert spec["data"] == []
    return str(spec["layout"]["meta"]["reading"]["said"])


def test_one_head_without_aids_tells_the_browser_nothing_more() -> None:
    spec: Any = VIEW.draw(context(make_run("causal")))
    assert "reading" not in spec["layout"]["meta"]


def test_special_tokens_left_out_are_gone_from_everything() -> None:
    found = context(pieces(), token=3, second=0, special=True, sums=True)
    weights = reading_of(found).weights()
    assert drawn(found).shape == (3, 3)
    assert "Special tokens left out." in said(found)
    assert "each row's remaining weights add up to 100 % again" in said(found)
    assert "[CLS] (0) is left out" in said(found)
    kept = reading_of(found).shares()[2]
    assert f"attention kept{kept:.3f}" in said(found).replace("kept ", "kept")
    made = table(found)
    rows = list(made.rows)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert [row[2] for row in rows] == pytest.approx(weights[2].tolist())
    assert made.tokens == (1, 2, 3)
    away = context(pieces(), token=0, second=None, special=True)
    assert "[CLS] (0) is left out" in text_of(VIEW.text(away).title)
    assert "is left out" in text_of(list(VIEW.explain(away)[1]))


def test_words_are_rows_and_columns_with_their_own_names() -> None:
    found = context(pieces(), token=3, second=1, words=True)
    spec: Any = VIEW.draw(found)
    told = spec["layout"]["meta"]["reading"]
    assert told["rows"] == told["columns"] == [[0], [1], [2, 3], [4]]
    assert told["names"] == {"2": ["·playing", 1]}
    assert told["said"] == "Words"
    assert said(found).startswith("Layer 1, head 0: what ·playing (2–3) attends to")
    assert "Words: weights to the pieces of a word are added, and weights from them are averaged." in said(found)
    whole = list(table(context(pieces(), words=True, whole=True)).rows)
    assert {row[1] for row in whole} == {"[CLS]", "a", " playing", "[SEP]"}
    figure: Any = VIEW.export(found) if VIEW.export else None
    names = {re.sub("<[^>]*>", "", name) for name in figure.layout.yaxis.ticktext}
    assert names == {"[CLS]", "a", "·playing", "[SEP]"}


def test_aids_that_do_not_apply_change_nothing_and_are_not_named() -> None:
    run = make_run("causal")
    odd = context(run, special=True, words=True, direction="ab", sums=True)
    spec: Any = VIEW.draw(odd)
    assert "reading" not in spec["layout"]["meta"]
    np.testing.assert_array_equal(drawn(odd), drawn(context(run)))
    assert set(settings_of(VIEW, odd.options, run)) == {"Weights of", "Leave out the first token"}
    named = settings_of(VIEW, context(run, of="rollout", first=True).options, run)
    assert named["Rollout: share of attention"] == "0.5"
    assert named["Make each row add up to 1 again"] == "off"


@pytest.mark.parametrize("direction", ["aa", "ab", "ba", "bb"])
def test_a_pair_of_texts_can_be_read_in_one_direction(direction: str) -> None:
    run = make_run("encoder", ("a", " b", "c", " d", " e"), second_at=2)
    found = context(run, token=0 if direction[0] == "a" else 3, second=None, direction=direction, sums=True)
    weights = run.attention(1, 0).astype(np.float64)
    sides = {"a": [0, 1], "b": [2, 3, 4]}
    kept = weights[np.ix_(sides[direction[0]], sides[direction[1]])]
    wanted = shades(kept / kept.sum(axis=1, keepdims=True))
    assert np.abs(drawn(found).astype(int) - wanted).max() <= 1
    assert f"({direction[0].upper()}→{direction[1].upper()})" in said(found)


def test_a_row_without_any_weight_left_is_empty_and_says_so() -> None:
    run = make_run("causal", ("a", " b", "c", " d"), second_at=2)
    found = context(run, token=1, second=None, direction="ab", sums=True)
    assert not drawn(found).any()
    assert "all of its attention is on what is left out" in said(found)
    assert "2 rows, the first at 0, are empty: all their attention is on what is left out." in said(found)
    assert "all attention of" in text_of(list(VIEW.explain(found)[1]))


def test_where_nothing_is_left_the_card_says_what_to_do() -> None:
    run = make_run("causal", ("The", " cat"))
    found = context(run, token=0, second=None, first=True)
    assert drawn(found).shape == (1, 1)
    header, arrays = make_parts("encoder", ("[CLS]", "[SEP]"))
    rows = [[*row] for row in header["tokens"]["encoder"]]
    rows[1][2:7] = [5, 5, True, False, None]
    header["tokens"] = {"encoder": rows}
    special = ModelRun(header, arrays)
    message = VIEW.text(context(special, token=0, second=None, special=True, first=True)).message
    assert "No tokens to attend from are left." in text_of(message)
    assert (
        nothing(context(special, token=0, second=None, special=True, first=True))
        == "Without special tokens · without the first token"
    )


def test_a_long_text_waits_for_a_worker_and_then_shows_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_reading, "AT_ONCE", 10)
    run = make_run("causal")
    found = context(run, of="rollout", share=0.3)
    words = VIEW.text(found)
    assert words.waiting
    assert "Computing attention rollout, layers 0 to 1" in text_of(words.message)
    assert nothing(found) == "Rollout"
    assert [request.kind for request in VIEW.awaits(found)] == ["attention-aggregate"]
    assert len(VIEW.explanation(found)) == 3
    request = request_of(run, reading_of(found))
    assert dict(request.parameters) == {"of": "rollout", "layer": 1, "share": 0.3}
    result = Derived(request, {"weights": rollout(run.attention_of(), 1, 0.3)}, {})
    there = replace(found, results={request.name: result})
    np.testing.assert_array_equal(reading_of(there).weights(), result.arrays["weights"])
    spec: Any = VIEW.draw(there)
    assert spec["data"]
    query = asks_of(reading_of(there))
    assert query == {"attention-of": "rollout", "attention-share": "0.3"}
    asked = read_as_asked(run, (1, 0), query, OneRun(run, result))
    np.testing.assert_array_equal(asked.weights(2, 3), result.arrays["weights"][2:3])
    of_layer = context(run, of="mean")
    assert VIEW.awaits(of_layer) == ()


def test_what_an_address_asks_for_is_what_the_figure_shows() -> None:
    run = pieces()
    for options in (
        {},
        {"of": "max-all"},
        {"special": True, "sums": True, "words": True},
        {"of": "rollout", "first": True},
    ):
        reading = reading_of(context(run, **options))
        asked = read_as_asked(run, (1, 0), asks_of(reading), OneRun(run))
        assert asked.aids == reading.aids
        np.testing.assert_array_equal(asked.weights(), reading.weights())


def test_shared_controls_are_one_setting_and_stand_in_the_card() -> None:
    names = [setting.name for setting in all_settings(all_views())]
    assert len(set(names)) == len(names)
    assert {f"attention-{control.name}" for control in CONTROLS} <= set(names)
    fields = _shared(cards_of(all_views())[0])
    told = {str(getattr(field, "data-setting")): field for field in fields}
    assert list(told) == [f"attention-{control.name}" for control in (*CONTROLS, *ORDER)]
    assert getattr(told["attention-grid"], "data-views").split() == ["attention", "lines", "heads"]
    assert "attention" in getattr(told["attention-of"], "data-views").split()
    assert getattr(told["attention-share"], "data-when") == '[["attention-of", ["rollout"]]]'
    assert getattr(told["attention-words"], "data-needs") == "pieces"


@pytest.mark.parametrize(("of", "how"), [("head", "mean"), ("largest", "largest weight")])
def test_several_selected_heads_are_said_to_be_several(of: str, how: str) -> None:
    run = make_run("causal")
    found = context(run, of=of)
    found = replace(found, selection=replace(found.selection, heads=((0, 1),)))
    place = (found.selection.layer, found.selection.head)
    weights = np.stack([run.attention(*place), run.attention(0, 1)])
    wanted = weights.mean(0) if of == "head" else weights.max(0)
    np.testing.assert_allclose(reading_of(found).weights(), wanted, atol=1e-7)
    title = text_of(VIEW.text(found).title)
    assert title.startswith(f"{how.capitalize()} of 2 heads ({place[0]}.{place[1]}, 0.1): what ")
    assert text_of(list(VIEW.explanation(found)[1])).startswith(f"In the {how} of 2 heads (")
