"""The tab Classes: its numbers, its words, what it says without classes, and what the strip shows of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.contracts.classes import ClassHead
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BadRequestError, MissingArrayError, RunShapeError
from dashboard.exports.report import report
from dashboard.exports.token_table import done_in, head_of, rows_of
from dashboard.figures.class_marks import class_marks
from dashboard.figures.classes import class_bars, class_names, plot_classes
from dashboard.store.upgrades import upgraded
from dashboard.views import all_views
from dashboard.views.cards import opening_tabs
from dashboard.views.predictions.classes import MOST_BARS, VIEW
from dashboard.views.run_info import describe_run
from dashboard.views.shown import alternative
from dashboard.views.state import ViewState
from tests.support.synthetic import OneRun, head, make_classifier, make_parts, make_run, words_in

LABELS = ("negative", "positive")


def context(run: ModelRun, token: int = 3, second: int | None = None, whole: bool = False, **options: str) -> Context:
    chosen = {control.name: control.default for control in VIEW.controls} | options
    return Context(run, Selection(run.key, token, 1, 0, second), chosen, whole=whole)


def with_logits(classes: ClassHead, logits: Any, **options: Any) -> ModelRun:
    header, arrays = make_parts("encoder", classes=classes, **options)
    return ModelRun(header, {**arrays, "encoder/class_logits": np.array(logits, dtype=np.float32)})


def bars_of(found: Any) -> list[tuple[str, float]]:
    names = [name for name, _marks, _bold in found["layout"]["meta"]["bars"]["names"]]
    return list(zip(names, found["data"][0]["x"], strict=True))


def test_all_labels_of_a_text_with_exact_numbers() -> None:
    run = with_logits(head("text", labels=LABELS), [0.0, np.log(3)])
    found = VIEW.draw(context(run))
    assert bars_of(found) == [("positive", pytest.approx(75)), ("negative", pytest.approx(25))]
    words = VIEW.text(context(run))
    assert words_in(words.title) == "Most likely: positive, 75.0 %"
    assert words_in(words.caption) == "The text as a whole, all 2 labels. Together they add up to 100 %."
    assert "positive 75.0 %, negative 25.0 %" in alternative(words)
    table = VIEW.table and VIEW.table(context(run))
    assert table is not None
    assert [row[:3] for row in table.rows] == [(1, "positive", 1), (2, "negative", 0)]
    assert bars_of(VIEW.draw(context(run, order="model")))[0][0] == "negative"


def test_labels_that_apply_each_by_itself_and_values() -> None:
    several = with_logits(head("text", "sigmoid", ("a", "b", "c")), [np.log(3), -np.log(3), 0.0])
    assert words_in(VIEW.text(context(several)).title) == "a 75.0 %, c 50.0 % apply"
    none = with_logits(head("text", "sigmoid", ("a", "b")), [-np.log(3), -9.0])
    assert words_in(VIEW.text(context(none)).title) == "No label reaches 50 %; closest: a, 25.0 %"
    value = with_logits(head("text", "none", ("LABEL_0",)), [-1.25])
    assert words_in(VIEW.text(context(value)).title) == "Value: −1.2500"
    assert bars_of(VIEW.draw(context(value))) == [("LABEL_0", -1.25)]
    table = VIEW.table and VIEW.table(context(value))
    assert table is not None
    assert [column.heading for column in table.columns] == ["Rank", "Class", "Class number", "Value"]


def test_a_token_and_a_second_one_side_by_side() -> None:
    logits = np.zeros((6, 2))
    logits[3] = [np.log(3), 0]
    logits[1] = [0, np.log(9)]
    run = with_logits(head("tokens", labels=LABELS), logits)
    found = VIEW.draw(context(run, 3, 1))
    assert found is not None
    one, other = found["data"]
    assert (list(one["x"]), list(other["x"])) == (pytest.approx([75, 25]), pytest.approx([10, 90]))
    assert found["layout"]["meta"]["reads"] == ["run", "token", "second"]
    words = VIEW.text(context(run, 3, 1))
    assert words_in(words.title) == "·on: most likely negative, 75.0 %"
    assert "Filled: ·on 3; outlined: ·cat 1" in words_in(words.caption)
    whole = VIEW.table and VIEW.table(context(run, 3, whole=True))
    assert whole is not None
    assert [column.heading for column in whole.columns] == [
        "Position",
        "Token",
        "negative (%)",
        "positive (%)",
        "Label",
    ]
    assert list(whole.rows)[1][2:4] == (pytest.approx(10), pytest.approx(90))


def test_start_and_end_of_an_answer() -> None:
    logits = np.full((6, 2), -20.0)
    logits[2, 0] = logits[4, 1] = 0
    run = with_logits(head("answer"), logits)
    found = VIEW.draw(context(run))
    assert found is not None
    assert found["layout"]["meta"]["axes"] == {"x": "token"}
    assert [round(max(trace["y"])) for trace in found["data"]] == [100, 100]
    assert (found["layout"]["shapes"][0]["x0"], found["layout"]["shapes"][0]["x1"]) == (1.5, 4.5)
    words = VIEW.text(context(run, 4))
    assert words_in(words.title) == "Most likely answer: “sat on it”, 100.0 %"
    assert "·it: starts < 0.05 %, ends 100.0 %" in alternative(words)
    assert "This is a single text" in words_in(words.caption)
    marks = class_marks(run)
    assert marks is not None
    assert marks.of == (None, None, 0, 0, 0, None)
    assert marks.below == ("", "", "start", "", "end", "")


def test_only_the_likeliest_of_very_many_labels_are_drawn() -> None:
    labels = [f"label {i}" for i in range(MOST_BARS + 20)]
    run = with_logits(head("text", labels=labels), np.arange(len(labels)) / 10)
    assert len(bars_of(VIEW.draw(context(run)))) == MOST_BARS
    assert f"The {MOST_BARS} likeliest are drawn; the table has all." in words_in(VIEW.text(context(run)).caption)
    table = VIEW.table and VIEW.table(context(run))
    assert table is not None
    assert table.count == len(labels)
    assert len(bars_of(VIEW.draw(context(run, count="10")))) == 10


def test_names_of_labels_are_told_apart_and_harmless() -> None:
    assert class_names(["a", "a", "", "b\n c", "<b>"]) == ["a ⟨id 0⟩", "a ⟨id 1⟩", "∅", "b c", "<b>"]
    run = with_logits(head("text", labels=("<img src=x>", "b")), [1.0, 0.0])
    assert VIEW.export is not None
    figure = VIEW.export(context(run))
    assert figure is not None
    assert figure.layout.yaxis.ticktext[0] == "<b>&lt;img src=x&gt;</b>"
    assert "&lt;img" in figure.data[0].hovertext[0]


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
def test_a_model_that_is_no_classifier_says_so(kind: Any) -> None:
    run = make_run(kind)
    assert VIEW.draw(context(run)) is None
    assert "it is not a classifier, so it has no classes" in words_in(VIEW.text(context(run)).message)
    assert opening_tabs(all_views(), run) == {}
    assert describe_run(run)["classes"] is None


def old_classifier() -> ModelRun:
    """A classifier's run as the schema before had it."""
    header, arrays = make_parts("encoder", title="Old")
    said = "Old is a classifier; its classes are not shown yet. It has no token predictions."
    return ModelRun(*upgraded({**header, "schema": 2, "no_predictions": said}, arrays))


def test_a_classifier_s_run_from_before_is_to_be_computed_again_and_no_other() -> None:
    run = old_classifier()
    heads = "heads have scores for duplicate tokens and induction, and beyond the first token"
    assert run.outdated == ("a classifier's classes are stored", heads)
    assert run.without_predictions == "Old is a classifier: it predicts classes, not tokens."
    assert opening_tabs(all_views(), run) == {"prediction": "classes"}
    for read in (VIEW.draw, VIEW.text):
        with pytest.raises(MissingArrayError, match="Run its text again") as found:
            read(context(run))
        assert found.value.again
    assert describe_run(run)["classes"] is None
    for kind in ("causal", "masked", "encoder"):
        header, arrays = make_parts(kind)  # type: ignore[arg-type]
        assert ModelRun(*upgraded({**header, "schema": 2}, arrays)).outdated == (heads,)


def test_a_classifier_of_another_kind_names_the_head_that_is_not_read() -> None:
    header, arrays = make_parts("encoder")
    run = ModelRun({**header, "without": "classifier", "unread": ["next-sentence head (cls.seq_relationship)"]}, arrays)
    said = words_in(VIEW.text(context(run)).message)
    assert "is a classifier of a kind that is not supported" in said
    assert "Not read: next-sentence head (cls.seq_relationship)." in said


def test_values_that_are_not_finite_are_said() -> None:
    run = with_logits(head("text", labels=LABELS), [np.nan, 1.0])
    assert VIEW.draw(context(run)) is None
    assert "not finite" in words_in(VIEW.text(context(run)).message)
    ends = with_logits(head("answer"), np.full((6, 2), np.nan))
    assert VIEW.draw(context(ends)) is None
    assert "not finite" in words_in(VIEW.text(context(ends)).message)


# the strip, the report and the table of all tokens


def test_the_strip_groups_the_labels_of_an_entity() -> None:
    logits = np.zeros((6, 4))
    for token, label in enumerate((0, 1, 2, 3, 2, 0)):  # O B-PER I-PER B-LOC I-PER O
        logits[token, label] = 5
    run = with_logits(head("tokens"), logits)
    info = describe_run(run)["classes"]
    assert info["groups"] == ["PER", "LOC"], "the most frequent first"
    assert info["colours"] == ["", "0", "0", "1", "0", ""]
    assert info["below"] == ["O", "B-PER", "I-PER", "B-LOC", "I-PER", "O"]
    assert info["said"][1].startswith("class B-PER, 98.0 %")


def test_beyond_the_colours_groups_share_one() -> None:
    labels = [f"l{i}" for i in range(6)] + ["x", "y"]
    logits = np.eye(8)[:6] * 9
    logits[5] = np.eye(8)[7] * 9
    assert [class_marks(with_logits(head("tokens", labels=labels), logits)).colour(i) for i in range(6)] == [  # type: ignore[union-attr]
        *"012345"
    ]
    many = with_logits(head("tokens", labels=labels), np.eye(8) * 9, texts=[f" w{i}" for i in range(8)])
    assert [class_marks(many).colour(i) for i in (5, 6, 7)] == ["5", "more", "more"]  # type: ignore[union-attr]


def test_a_report_opens_with_classes_and_colours_its_strip() -> None:
    run, views = make_classifier("tokens"), all_views()
    options = {view.name: {control.name: control.default for control in view.controls} for view in views}
    state = ViewState(Selection(run.key, 3, 1, 0), options, opening_tabs(views, run))
    page = report(state, views, OneRun(run))
    assert "Colour and word: each token’s most likely class." in page
    assert 'data-class="0"' in page
    assert "most likely" in page.split("figure-2-title")[-1]


@pytest.mark.parametrize(
    ("classes", "headings"),
    [
        (head("text", labels=LABELS), ["Class", "negative (%)", "positive (%)"]),
        (head("text", "sigmoid", LABELS), ["Class", "negative (%)", "positive (%)"]),
        (head("text", "none", ("LABEL_0",)), ["Value of LABEL_0"]),
        (head("tokens", labels=LABELS), ["Class", "negative (%)", "positive (%)"]),
        (head("answer"), ["Answer starts (%)", "Answer ends (%)"]),
    ],
)
def test_the_table_of_all_tokens_has_classes_and_is_continued(classes: ClassHead, headings: list[str]) -> None:
    run = make_classifier(classes.of, classes=classes)
    top, rows = head_of(run), rows_of(run, 1)
    assert top.splitlines()[-1].replace('"', "").split(",")[16:] == headings
    shares = run.class_probabilities
    wanted = run.class_logits if shares is None else 100 * shares
    last = [line.split(",") for line in rows.splitlines()]
    for position, cells in enumerate(last):
        row = wanted if classes.of == "text" else wanted[position]
        numbers = [float(cell) for cell in cells[-len(row) :]]
        assert numbers == pytest.approx(list(row), rel=1e-6)
    whole = (top + rows).encode()
    assert done_in(whole).runs == {run.key}
    assert done_in(whole).size == len(whole)
    assert done_in(whole[:-5]).runs == set()


# plain outputs


def test_plain_logits_are_drawn_by_their_configuration() -> None:
    class Config:
        id2label = {0: "no", 1: "yes"}  # noqa: RUF012
        problem_type: str | None = None

    config = Config()
    figure = plot_classes(np.array([[0.0, np.log(3)]]), config)
    assert list(figure.data[0].x) == pytest.approx([75, 25])
    config.problem_type = "multi_label_classification"
    assert list(plot_classes([0.0, np.log(3)], config).data[0].x) == pytest.approx([75, 50])
    config.problem_type = "regression"
    assert list(plot_classes([0.0, 1.5], config).data[0].x) == pytest.approx([1.5, 0])
    tokens = plot_classes(np.zeros((1, 4, 2)), ["a", "b"], position=-1)
    assert tokens.layout.title.text == "2 classes at token 3"
    assert isinstance(plot_classes([np.nan, 1.0], config), go.Figure)
    for wrong, error in (
        (lambda: plot_classes(np.zeros((4, 2)), ["a", "b"]), BadRequestError),
        (lambda: plot_classes(np.zeros((4, 2)), ["a", "b"], position=4), RunShapeError),
        (lambda: plot_classes(np.zeros(3), ["a", "b"]), RunShapeError),
        (lambda: plot_classes(np.zeros(3), "abc"), BadRequestError),
    ):
        with pytest.raises(error):
            wrong()


def test_bars_of_two_values_have_headings() -> None:
    run = make_classifier("tokens")
    found = VIEW.draw(context(run, 3, 1))
    assert found is not None
    assert [column["head"] for column in found["layout"]["meta"]["bars"]["columns"]] == ["at 3", "at 1"]
    assert go.Figure(found) is not None
    assert class_bars([], True)["data"][0]["x"] == []
