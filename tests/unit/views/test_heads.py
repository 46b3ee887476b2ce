"""The table of all heads: its numbers, what they would be by chance, its order and its filter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.analysis.head_patterns import CLEAR, LEFT, PATTERN_NAMES
from dashboard.analysis.head_scores import by_chance, head_scores, marks_of, text_by_chance
from dashboard.compute import head_probe
from dashboard.contracts.attention_recipe import ScoreRecipe, allowed_keys
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.views.attention.head_definitions import DEFINITIONS, HEADINGS, definitions
from dashboard.views.attention.heads import VIEW, fitting
from tests.support.synthetic import make_parts, make_run, make_whole_run, words_in

ROOT = Path(__file__).resolve().parents[3]


def options(**chosen: str) -> dict[str, Any]:
    return {control.name: chosen.get(control.name, control.default) for control in VIEW.controls}


def context(run: ModelRun, layer: int = 1, head: int = 0, whole: bool = False, **chosen: str) -> Context:
    return Context(run, Selection(run.key, 0, layer, head), options(**chosen), whole=whole)


def test_by_chance_in_both_directions_each_token_gets_one_nth() -> None:
    found = by_chance(ScoreRecipe(1.0, "full"), 5, 5)
    assert [found[name] for name in ("previous", "next", "self", "first")] == pytest.approx([1 / 5] * 4)
    assert found["entropy"] == pytest.approx(np.log(5))
    assert found["distance"] == pytest.approx((5 * 5 - 1) / (3 * 5))  # of two numbers of 0 … n − 1


def test_by_chance_in_causal_attention_row_i_has_i_plus_one_keys() -> None:
    found = by_chance(ScoreRecipe(1.0, "causal"), 4, 4)
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert found["self"] == pytest.approx(harmonic / 4)
    assert found["previous"] == found["first"] == pytest.approx((harmonic - 1) / 3)
    assert found["next"] == 0
    assert found["entropy"] == pytest.approx(np.log([1, 2, 3, 4]).mean())
    assert found["distance"] == pytest.approx((4 - 1) / 4)  # row i: i / 2


@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("window", [None, 1, 3])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_by_chance_is_what_even_rows_give(mask: Any, window: int | None, count: int) -> None:
    recipe = ScoreRecipe(1.0, mask, window)
    allowed = allowed_keys(recipe, count, count)
    weights = allowed / allowed.sum(axis=1, keepdims=True)
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    logs = np.log(np.where(weights > 0, weights, 1))
    found = by_chance(recipe, count, count)
    assert found["self"] == pytest.approx(np.diagonal(weights).mean())
    assert found["entropy"] == pytest.approx(-(weights * logs).sum(axis=1).mean())
    assert found["distance"] == pytest.approx((weights * apart).sum(axis=1).mean())
    if count == 1:
        assert np.isnan([found["previous"], found["next"], found["first"]]).all()
        return
    assert found["previous"] == pytest.approx(np.diagonal(weights, -1).mean())
    assert found["next"] == pytest.approx(np.diagonal(weights, 1).mean())
    assert found["first"] == pytest.approx(weights[1:, 0].mean())


def test_rows_hold_every_head_and_its_scores() -> None:
    run = make_run("causal")
    found = VIEW.draw(context(run))
    assert isinstance(found, dict)
    told = found["layout"]["meta"]["head_rows"]
    assert [column["name"] for column in told["columns"]] == list(HEADINGS.values())
    hidden = [column["name"] for column in told["columns"] if not column["listed"]]
    assert hidden == ["Next", "Separator"], "causal attention looks at no next token, and this text has no separator"
    assert [row[:2] for row in told["rows"]] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    scores = head_scores(run.attention_of())
    for index, name in enumerate(HEADINGS):
        values = [None] * 4 if name == "separator" else pytest.approx(scores[name].ravel(), rel=1e-5)
        assert [row[3 + index] for row in told["rows"]] == values
    assert told["columns"][-1]["most"] == pytest.approx(float(run.attention_of().score("distance").max()))
    chance = text_by_chance(run.recipe(0), marks_of(run.attention_of()))
    known = {column["id"]: column["chance"] for column in told["columns"]}
    assert (known.pop("duplicate"), known.pop("induction"), known.pop("separator")) == (None, None, None)
    assert known == pytest.approx({name: chance[name] for name in known}, rel=1e-5)


def test_a_score_that_is_no_number_is_said_to_be_none() -> None:
    header, arrays = make_parts("causal", texts=("One",))
    arrays["decoder/scores/next"] = np.full((2, 2), np.nan, dtype=np.float32)
    run = ModelRun(header, arrays)
    found = VIEW.draw(context(run))
    assert isinstance(found, dict)
    assert [row[4] for row in found["layout"]["meta"]["head_rows"]["rows"]] == [None] * 4
    VIEW.text(context(run, sort="next"))
    assert VIEW.export is not None
    VIEW.export(context(run, sort="next"))


def test_a_person_reads_the_table_in_the_pages_order_and_a_file_in_that_of_the_heads() -> None:
    run = make_run("causal")
    scores = run.attention_of().score("distance")  # rises with layer and head
    assert (np.diff(scores.ravel()) > 0).all()
    assert VIEW.table is not None
    shown = VIEW.table(context(run, sort="distance"))
    assert shown is not None
    assert [row[:2] for row in shown.rows] == [(1, 1), (1, 0), (0, 1), (0, 0)]
    assert shown.selected == (1,)
    least = VIEW.table(context(run, sort="distance", order="least", filter="layer 1"))
    assert least is not None
    assert [row[:2] for row in least.rows] == [(1, 0), (1, 1)]
    whole = VIEW.table(context(run, sort="distance", filter="layer 1", whole=True))
    assert whole is not None
    assert [row[:2] for row in whole.rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_filter_takes_numbers_whole() -> None:
    assert fitting("Layer  1")(1, 4, "first token")
    assert not fitting("layer 1")(12, 1, "first token")
    assert fitting("5.1")(5, 1, "")
    assert not fitting("5.1")(5, 11, "")
    assert fitting("5.")(5, 11, "")
    assert fitting("first")(0, 0, "first token")
    assert not fitting("first")(0, 0, "next token")
    assert fitting("")(0, 0, "")
    assert not fitting("(")(0, 0, "")
    assert fitting("\ufefffirst\u2003token ")(0, 0, "first token"), "what a browser takes for white space"


def test_page_and_python_word_patterns_alike() -> None:
    script = (ROOT / "assets" / "components/head-patterns.js").read_text()
    [line] = re.findall(r"const PATTERNS = \{(.*?)\};", script, re.S)
    assert dict(re.findall(r'(\w+): "([^"]*)"', line)) == PATTERN_NAMES


def test_the_title_says_how_many_heads_there_are_and_by_what_they_are_sorted() -> None:
    run = make_run("causal", layers=3)
    assert VIEW.text(context(run, sort="next")).title == "All 6 heads, sorted by attention to the next token"
    assert (
        VIEW.text(context(run, sort="entropy", order="least")).title == "All 6 heads, sorted by entropy, lowest first"
    )
    assert VIEW.text(context(run, sort="head")).title == "All 6 heads, layer by layer"


def test_the_exported_figure_is_the_score_by_which_is_sorted() -> None:
    run = make_run("causal")
    assert VIEW.export is not None
    figure = VIEW.export(context(run, sort="entropy"))
    assert figure is not None
    assert np.asarray(figure.data[0].z) == pytest.approx(run.attention_of().score("entropy"))


def test_the_probe_is_asked_for_where_table_or_grid_shows_it() -> None:
    run = make_run("causal")
    for chosen in ({"scores": "probe"}, {"colour": "probe-induction"}):
        asked = context(run, **chosen)
        [request] = VIEW.awaits(asked)
        assert request.kind == "head-probe"
        assert VIEW.draw(asked) is None
        assert VIEW.text(asked).waiting
        assert VIEW.table is not None
        assert VIEW.table(asked) is None
        assert len(VIEW.explain(asked)) == 3
    assert VIEW.awaits(context(run)) == ()


def test_the_probe_fills_the_table_with_means_and_spreads() -> None:
    run = make_whole_run("causal")
    asked = context(run, scores="probe", sort="induction", colour="induction")
    assert VIEW.needs is not None
    [request] = VIEW.needs(asked)
    probe = head_probe.read(run, asked.result(request))  # type: ignore[arg-type]
    found = VIEW.draw(asked)
    assert isinstance(found, dict)
    told = found["layout"]["meta"]["head_rows"]
    assert told["of"] == "probe"
    index = [column["id"] for column in told["columns"]].index("induction")
    assert told["columns"][index]["colour"] == "probe-induction"
    assert [row[3 + index] for row in told["rows"]] == pytest.approx(probe.mean("induction").ravel(), rel=1e-5)
    extra = told["columns"][-1]
    assert (extra["id"], extra["colour"], extra["listed"]) == ("colour", "induction", False), (
        "the text's own, for the grid"
    )
    own = run.attention_of().score("induction").ravel()
    assert [row[-1] for row in told["rows"]] == pytest.approx(own, rel=1e-5)
    mean, spread = probe.mean("induction")[1, 0], probe.spread("induction")[1, 0]
    words = VIEW.text(asked)
    assert words.title == "All 4 heads, sorted by induction"
    assert f"induction {mean:.2f} ± {spread:.2g}" in words_in(words.footer)
    assert VIEW.table is not None
    table = VIEW.table(context(run, scores="probe", whole=True))
    assert table is not None
    names = [column.name for column in table.columns]
    at = names.index("Weight on what followed a duplicate (induction)")
    assert names[at + 1] == f"{names[at]}, ±"
    assert [row[at] for row in table.rows] == pytest.approx(probe.mean("induction").ravel())
    assert [row[at + 1] for row in table.rows] == pytest.approx(probe.spread("induction").ravel())


def test_every_score_is_defined_with_its_source() -> None:
    said = words_in(definitions())
    for score, (name, text, source) in DEFINITIONS.items():
        assert all(part in said for part in (name, text, source)), score
    assert f"at least {CLEAR} of the way" in said
    assert f"at most {1 - LEFT} of the attention" in said


@pytest.mark.parametrize(
    ("kind", "sort", "reason"),
    [
        ("encoder", "induction", "Induction needs causal attention"),
        ("causal", "separator", "This text has no separators."),
    ],
)
def test_a_score_that_no_head_has_says_why(kind: Any, sort: str, reason: str) -> None:
    header, arrays = make_parts(kind)
    if kind == "encoder":
        arrays["encoder/scores/induction"] = np.full((2, 2), np.nan, dtype=np.float32)
    assert reason in words_in(VIEW.text(context(ModelRun(header, arrays), sort=sort)).footer)


def test_a_run_of_an_earlier_version_has_the_scores_that_it_has() -> None:
    header, arrays = make_parts("causal")
    older = {name: one for name, one in arrays.items() if "beyond_first" not in name}
    older = {name: one for name, one in older.items() if not name.endswith(("/duplicate", "/induction"))}
    run = ModelRun(header, older)
    found = VIEW.draw(context(run))
    assert isinstance(found, dict)
    listed = [column["id"] for column in found["layout"]["meta"]["head_rows"]["columns"] if column["listed"]]
    assert listed == ["previous", "self", "first", "punctuation", "entropy", "distance"]
    with pytest.raises(MissingArrayError, match="this score of the heads"):
        VIEW.text(context(run, sort="induction"))


def test_the_scores_of_this_text_follow_the_reading_aids() -> None:
    run = make_run("causal")
    weights = np.array([[run.attention(layer, head) for head in range(2)] for layer in range(2)], dtype=np.float64)
    kept = weights[:, :, 1:, 1:]
    own = (np.diagonal(kept, 0, 2, 3) / kept.sum(axis=-1)).mean(axis=-1)
    aided = context(run, sort="self", first=True, sums=True)  # type: ignore[arg-type]
    found: Any = VIEW.draw(aided)
    told = found["layout"]["meta"]["head_rows"]
    at = list(HEADINGS).index("self")
    assert [row[3 + at] for row in told["rows"]] == pytest.approx(own.ravel(), rel=1e-5)
    assert told["columns"][at]["chance"] == pytest.approx(np.mean([1 / n for n in range(1, 6)]), rel=1e-5)
    assert not told["columns"][list(HEADINGS).index("first")]["listed"], "the first token is left out"
    words = VIEW.text(aided)
    assert "The first token left out. Each row adds up to 1 again. Patterns always use all tokens." in words.caption
    assert f"{own[1, 0]:.2f}" in words_in(words.footer)
    assert VIEW.table is not None
    table = VIEW.table(aided)
    assert table is not None
    assert table.title == "Every head’s mean scores over this text, with the reading aids applied"
    nothing = context(run, sort="first", first=True)  # type: ignore[arg-type]
    assert "leave nothing for this score" in words_in(VIEW.text(nothing).footer)
    assert len(VIEW.explanation(aided)) == 3


def test_a_long_text_says_that_its_scores_are_of_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.analysis.read_scores.MOST_WEIGHTS", 0)
    run = make_run("causal")
    aided, plain = (context(run, sort="self", first=on) for on in (True, False))  # type: ignore[arg-type]
    assert VIEW.draw(aided) == VIEW.draw(plain)
    assert "All tokens are used: this text is too long for reading aids here" in VIEW.text(aided).caption


def test_a_picture_is_of_a_score_that_the_reading_aids_leave() -> None:
    header, arrays = make_parts("causal")
    gone = {
        name: np.full_like(values, np.nan) if name.endswith("/previous") else values for name, values in arrays.items()
    }
    figure = VIEW.export(context(ModelRun(header, gone), sort="previous")) if VIEW.export else None
    assert figure is not None
    assert np.isfinite(np.asarray(figure.data[0].z, dtype=float)).all(), "the cells of a score that there is"
