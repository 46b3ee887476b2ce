"""Every view, found by discovery, on causal, masked and encoder runs; and the numbers in its words."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard import views
from dashboard.analysis.prediction import BoundedProbability, SharedCandidate
from dashboard.analysis.projection import project_stream, trajectories
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import FIELDS, Selection
from dashboard.figures.attention import shades
from dashboard.figures.prediction_pair import bounded_text, difference_text
from dashboard.figures.theme import COLOURS, LIGHT, colours_of
from dashboard.views import all_views
from dashboard.views.cards import cards_of
from dashboard.views.controls import Choice
from dashboard.views.declaration import View
from dashboard.views.shown import alternative
from dashboard.views.tables import bounds_text
from tests.support.synthetic import (
    WORDS,
    array_of,
    make_parts,
    make_run,
    masked_result,
    results,
    titles_in,
    values_of,
    words_in,
)

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")
HOSTILE = ("<img src=x onerror=alert(1)>", " <b>", "&amp;", "\n", " it", ".")


def select(run: ModelRun, token: int = 3, layer: int = 1, head: int = 0, second: int | None = None) -> Selection:
    return Selection(run.key, token, layer, head, second)


def drawn_by(
    view: View,
    run: ModelRun,
    selection: Selection,
    options: dict[str, str],
    there: dict[str, Derived] | None = None,
) -> go.Figure | None:
    """A view's figure, as Plotly reads and checks it; `there`: the derived results."""
    figure = view.draw(Context(run, selection, options, results=there or {}))
    return None if figure is None else go.Figure(figure)


def named(name: str) -> View:
    return next(view for view in all_views() if view.name == name)


def defaults(view: View, **chosen: str) -> dict[str, str]:
    return {control.name: chosen.get(control.name, control.default) for control in view.controls}


def combinations(view: View) -> list[dict[str, str]]:
    """The defaults, and each other choice of each control alone."""
    others = [defaults(view, **{c.name: value}) for c in view.controls for value in values_of(c)[1:]]
    return [defaults(view), *others]


def array_z(figure: go.Figure) -> list[list[int]]:
    z = figure.data[0].z
    rows, columns = (int(side) for side in z["shape"].split(","))
    return np.frombuffer(base64.b64decode(z["bdata"]), dtype=z["dtype"]).reshape(rows, columns).tolist()


# the registry


def test_views_are_found_in_the_order_of_their_cards_and_tabs() -> None:
    assert [(card.name, card.views[0].name) for card in cards_of(all_views())] == [
        ("attention", "attention"),
        ("hidden", "hidden"),
        ("prediction", "prediction"),
    ]
    assert [view for card in cards_of(all_views()) for view in card.views] == list(all_views())
    for card in cards_of(all_views()):
        assert [view.order for view in card.views] == sorted(view.order for view in card.views)
        assert len({view.tab for view in card.views}) == len(card.views)


def test_two_views_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "attention_again.py").write_text("from dashboard.views.attention.heatmap import VIEW\n")
    monkeypatch.setattr(views, "__path__", [*views.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match="one name"):
        all_views()


def test_a_view_is_one_file_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_view.py").write_text(
        "import dataclasses\nfrom dashboard.views.attention.heatmap import VIEW as OLD\n"
        "VIEW = dataclasses.replace(OLD, name='planted', order=0)\n"
    )
    monkeypatch.setattr(views, "__path__", [*views.__path__, str(tmp_path)])
    assert next(view.name for view in all_views()) == "planted"


def test_a_control_reads_only_what_it_offers() -> None:
    control = Choice("count", "Tokens", (("10", "ten"), ("5", "five")))
    assert [control.parse(raw) for raw in ("5", "10", "7", "", None, 5, [], {"a": 1})] == ["5", "10"] + ["10"] * 6


# every view


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_a_declaration_is_whole(view: View) -> None:
    assert view.title
    assert all(sentence.endswith(".") for sentence in view.invitation)
    assert set(view.figure_reads) <= {field.name for field in FIELDS} - {"stamp"}
    assert view.figure_reads[0] == "run"
    names = [control.name for control in view.controls]
    assert len(set(names)) == len(names)
    for control in view.controls:
        values = values_of(control)
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_every_view_draws_every_kind_of_run_or_says_why_not(view: View, kind: ModelKind) -> None:
    run = make_run(kind, outlier=kind == "causal")
    for options in combinations(view):
        for token in (0, 3, 5):
            selection = select(run, token=token, second=0)
            figure, words = drawn_by(view, run, selection, options), view.text(Context(run, selection, options))
            assert words_in(words.title)
            if figure is None:
                assert words_in(words.message)
            else:
                assert words.message is None
                json.loads(figure.to_json())


def colours_in(value: object, key: str = "") -> Iterator[str]:
    """Everything that stands where a figure has a colour."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from colours_in(item, name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from colours_in(item, key)
    elif isinstance(value, str) and "color" in key:
        yield value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_a_figure_is_the_same_in_both_themes(view: View, kind: ModelKind) -> None:
    """It names its colours: none is of one theme."""
    assert "theme" not in {field.name for field in dataclasses.fields(Context)}
    run = make_run(kind)
    for options in combinations(view):
        figure = drawn_by(view, run, select(run, second=0), options)
        if figure is not None:
            found = set(colours_in(figure.to_plotly_json()))
            assert found - {"rgba(0,0,0,0)"} <= set(colours_of(LIGHT))
            assert not re.search(r"#[0-9A-Fa-f]{6}\b", figure.to_json())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_view_draws_the_shortest_texts(view: View, kind: ModelKind, count: int) -> None:
    run = make_run(kind, WORDS[:count])
    for options in combinations(view):
        selection = select(run, token=count - 1)
        drawn_by(view, run, selection, options)
        assert words_in(view.text(Context(run, selection, options)).title)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_words_hold_a_text_as_text(view: View, kind: ModelKind) -> None:
    """Dash components are text nodes in the browser: what matters is that nothing is lost, doubled or made to HTML."""
    run = make_run(kind, HOSTILE)
    for token in range(len(HOSTILE)):
        words = view.text(Context(run, select(run, token=token, second=0), defaults(view)))
        everything = json.dumps([words_in(part) for part in (words.title, words.caption, words.body, words.footer)])
        assert "&lt;" not in everything
        assert "&amp;amp;" not in everything
        for part in (words.title, words.caption, words.body, words.footer, words.message):
            assert "DangerouslySetInnerHTML" not in repr(part)
            assert "Markdown" not in repr(part)


# attention


def test_the_heatmap_is_of_the_selected_head_with_forbidden_cells_empty() -> None:
    run = make_run("causal")
    view = named("attention")
    for layer, head in ((0, 0), (1, 1)):
        weights = run.attention(layer, head)
        z = array_z(drawn_by(view, run, select(run, layer=layer, head=head), {}))
        allowed = [[j <= i for j in range(6)] for i in range(6)]
        assert z == [[int(shades(weights)[i, j]) if allowed[i][j] else 0 for j in range(6)] for i in range(6)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_heatmap_of_several_heads_is_their_mean(kind: ModelKind) -> None:
    run, view = make_run(kind), named("attention")
    selection = dataclasses.replace(select(run), heads=((0, 1), (1, 0), (1, 1)))  # the selected one counts once
    found = drawn_by(view, run, selection, defaults(view))
    attention = run.attention_of()
    mean = np.mean([attention.weights(layer, head).astype(float) for layer, head in ((1, 0), (0, 1), (1, 1))], axis=0)
    assert array_z(found) == shades(mean, attention.allowed(1)).tolist()
    words = view.text(Context(run, selection, defaults(view)))
    title, footer = "".join(words_in(words.title)), "".join(words_in(words.footer))
    assert title.startswith("Mean of 3 heads (1.0, 0.1, 1.1): what ")
    assert f"{mean[3].max():.3f}" in footer
    assert view.table is not None
    for whole in (False, True):
        table = view.table(Context(run, selection, defaults(view), whole=whole))
        assert table is not None
        assert table.title.startswith("Mean of 3 heads")
        rows = [row for row in table.rows if not whole or row[0] == 3]
        column = 4 if whole else 2
        weights = [row[column] for row in rows if isinstance(row[column], float)]
        assert weights == pytest.approx(mean[3][: len(weights)].tolist(), rel=1e-5)


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
def test_what_a_figure_tells_the_browser_has_no_name_of_a_field(view: View) -> None:
    """`layout.meta` also holds the selection that the figure is of (dashboard/web/routes/figures.py)."""
    run = make_run()
    spec = view.draw(Context(run, select(run), defaults(view)))
    meta = (
        {}
        if spec is None
        else dict((spec["layout"] if isinstance(spec, dict) else spec.layout.to_plotly_json()).get("meta") or {})
    )
    assert set(meta) & {field.name for field in FIELDS} == set()


def test_attention_words_give_the_strongest_weights_exactly() -> None:
    run = make_run("causal")
    weights = run.attention(1, 0)[3]
    words = named("attention").text(Context(run, select(run), {}))
    assert words_in(words.title) == "Layer 1, head 0: what ·on (3) attends to"
    strongest = sorted((float(w) for w in weights[:4]), reverse=True)
    shown = words_in(words.footer)
    assert all(f"{weight:.3f}" in shown for weight in strongest)
    assert [float(title) for title in titles_in(words.footer)] == pytest.approx(strongest, rel=1e-6)
    assert "a row adds up to 100\u00a0%" in words.caption


def test_attention_words_give_both_tokens_rows_and_the_weights_between_them() -> None:
    texts = [f" w{i}" for i in range(12)]
    run = make_run("encoder", texts)
    weights = run.attention(0, 0)
    words = named("attention").text(Context(run, select(run, token=2, layer=0, second=7), {}))
    expected = []
    for query, key in ((2, 7), (7, 2)):
        others = sorted((float(w) for k, w in enumerate(weights[query]) if k != key), reverse=True)
        expected += [float(weights[query, key]), *others[:4]]
    assert [float(title) for title in titles_in(words.footer)] == pytest.approx(expected, rel=1e-6)
    assert words_in(words.footer).startswith("·w2 attends to·w7 (7)")
    assert "·w7 attends to·w2 (2)" in words_in(words.footer)


def test_a_second_token_that_comes_later_cannot_be_read_and_reads_itself() -> None:
    run = make_run("causal")
    words = named("attention").text(Context(run, select(run, token=1, second=4), {}))
    weights = run.attention(1, 0)
    assert f"·it attends to·cat (1){weights[4, 1]:.3f}" in words_in(words.footer)
    assert "·cat cannot attend to ·it (4): it comes later" in words_in(words.footer)
    assert "it comes later, Next: " in alternative(words)
    assert f"; ·it attends to ·cat (1) {weights[4, 1]:.3f}, Next: " in alternative(words)


def test_a_token_that_is_its_own_second_is_told_once() -> None:
    run = make_run("causal")
    words = named("attention").text(Context(run, select(run, token=3, second=3), {}))
    assert words_in(words.footer).count("attends") == 1
    assert float(titles_in(words.footer)[0]) == pytest.approx(float(run.attention(1, 0)[3, 3]), rel=1e-6)


# hidden states


def test_hidden_words_give_the_shares_of_variance_and_what_was_left_out() -> None:
    view = named("hidden")
    for outlier in (False, True):
        run = make_run("encoder", outlier=outlier)
        words = view.text(Context(run, select(run, token=0), defaults(view)))
        projection = project_stream(run.main, 1, "layer", "auto", "centred")
        for share in projection.explained:
            assert f"{100 * share:.1f} %" in words_in(words.footer)
        assert ("Left out: The\u00a0(0): norm" in words_in(words.caption)) is outlier
        assert ("All tokens kept." in words_in(words.caption)) is not outlier
        assert ("The selected token, The\u00a0(0), is not shown: norm" in words_in(words.body)) is outlier


def with_norms(ratios: dict[int, float], count: int = 12) -> ModelRun:
    """An encoder whose states after layer 1 have these multiples of the median norm."""
    header, arrays = make_parts("encoder", [f" w{i}" for i in range(count)])
    states = arrays["encoder/hidden_states/2"] / np.linalg.norm(
        arrays["encoder/hidden_states/2"], axis=1, keepdims=True
    )
    for token, ratio in ratios.items():
        states[token] *= ratio
    return ModelRun(header, {**arrays, "encoder/hidden_states/2": states})


def test_every_token_that_is_left_out_is_named_with_its_norm() -> None:
    run, view = with_norms({0: 106.0, 7: 80.0}), named("hidden")
    words = view.text(Context(run, select(run, token=7, second=0, layer=1), defaults(view)))
    named_so = "Left out: ·w0\u00a0(0), ·w7\u00a0(7): norms 106\u00a0× and 80\u00a0× the median."
    assert named_so in words_in(words.caption)
    assert named_so.replace("\u00a0", " ") in alternative(words).replace("\u00a0", " ")
    assert "The selected token, ·w7\u00a0(7), is not shown: norm 80\u00a0× the median." in words_in(words.body)
    assert "The second token, ·w0\u00a0(0), is not shown: norm 106\u00a0× the median." in words_in(words.body)
    title = view.table(Context(run, select(run, layer=1), defaults(view))).title
    assert "Left out of the components: ·w0\u00a0(0), ·w7\u00a0(7)." in title
    shown = array_of(view.draw(Context(run, select(run, layer=1), defaults(view)))["data"][0]["x"])
    assert len(shown) == 10


def test_of_many_outliers_the_largest_are_named_and_the_others_counted() -> None:
    run, view = with_norms({token: 10.0 + token for token in range(9)}, 30), named("hidden")
    caption = words_in(view.text(Context(run, select(run, layer=1), defaults(view))).caption)
    names = ", ".join(f"·w{token}\u00a0({token})" for token in range(3, 9))
    assert f"Left out: {names} and 3 more: norms 18\u00a0× to 10\u00a0× the median." in caption


def test_layers_fitted_together_say_that_a_norm_is_the_largest_of_any_layer() -> None:
    run = with_norms({3: 50.0})
    for view, options in ((named("hidden"), {"fit": "all"}), (named("path"), {})):
        words = view.text(Context(run, select(run, token=3, layer=0), defaults(view, **options)))
        assert "Left out: ·w3\u00a0(3): norm 50\u00a0× the median in some layer." in words_in(words.caption)
        assert "is not shown" in words_in(words.body)


def test_hidden_words_warn_where_a_huge_token_is_kept() -> None:
    run, view = with_norms({5: 80.0}), named("hidden")
    for choice, lead in (("keep", "All tokens kept; ·w5"), ("leave", "Left out: ·w0\u00a0(0): as chosen. Kept: ·w5")):
        caption = words_in(view.text(Context(run, select(run, layer=1), defaults(view, first=choice))).caption)
        assert f"{lead}\u00a0(5) may dominate: norm 80\u00a0× the median." in caption


def test_the_last_layer_of_a_causal_model_says_where_it_stands() -> None:
    run, view = make_run("causal"), named("hidden")
    assert "Before the final norm" in words_in(view.text(Context(run, select(run, layer=1), defaults(view))).caption)
    assert "final norm" not in words_in(view.text(Context(run, select(run, layer=0), defaults(view))).caption)
    assert "Embeddings" in words_in(view.text(Context(run, select(run), defaults(view, at="embeddings"))).title)


def test_a_redraw_keeps_the_persons_zoom_while_the_axes_mean_the_same() -> None:
    run, view = make_run(), named("hidden")

    def revision(layer: int, token: int = 0, **options: str) -> str:
        return str(
            drawn_by(view, run, select(run, token=token, layer=layer), defaults(view, **options)).layout.uirevision
        )

    assert revision(0, token=1) == revision(0, token=2)
    assert revision(0, fit="all") == revision(1, fit="all")
    assert revision(0, scaling="standardised") != revision(0)
    assert run.key in revision(0)


def test_a_path_needs_no_new_figure_for_a_layer() -> None:
    view = named("path")
    assert view.fields(defaults(view)) == ("run", "stream")
    run = make_run("causal")
    drawn = [drawn_by(view, run, select(run, token=2, layer=layer), defaults(view)) for layer in (0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0].layout.meta["space"]["follows"]


@pytest.mark.parametrize("axes", [2, 3])
def test_what_the_browser_is_told_of_paths_are_their_coordinates(axes: int) -> None:
    run, view = make_run("causal"), named("path")
    told = drawn_by(view, run, select(run), defaults(view, axes=str(axes))).layout.meta["space"]
    found = np.frombuffer(base64.b64decode(told["coordinates"]), "<f4").reshape(told["shape"])
    np.testing.assert_allclose(found, trajectories(run.main, "auto", "centred").coordinates[:, :, :axes], rtol=1e-6)
    for component, (low, high) in enumerate(told["ranges"]):
        assert low < found[:, :, component].min() < found[:, :, component].max() < high
    assert told["quiet"] == list(range(6))


def test_of_a_long_text_every_so_many_paths_are_drawn_and_the_caption_says_so() -> None:
    run, view = make_run("causal", [f" w{i}" for i in range(100)]), named("path")
    options = defaults(view)
    told = drawn_by(view, run, select(run), options).layout.meta["space"]
    assert told["quiet"] == list(range(0, 100, 3))
    assert "every 3rd token" in words_in(view.text(Context(run, select(run), options)).caption)


def test_a_path_is_fitted_on_all_layers_and_says_so() -> None:
    run, view = make_run("causal"), named("path")
    words = view.text(Context(run, select(run), defaults(view)))
    assert "all layers fitted together" in words_in(words.caption)
    assert "Layer 1: before the final norm" in words_in(words.caption)
    assert words_in(words.title) == "After layer 1 on the path of ·on (3) through all layers"
    shares = trajectories(run.main, "auto", "centred").explained
    assert f"PC 1 + 2 + 3{100 * shares.sum():.1f} %" in words_in(
        view.text(Context(run, select(run), defaults(view, axes="3"))).footer
    )


def test_two_tokens_are_compared_in_all_dimensions() -> None:
    run, view = make_run("encoder"), named("hidden")
    a, b = (np.asarray(run.hidden_states[2])[i].astype(float) for i in (3, 1))
    words = view.text(Context(run, select(run, token=3, second=1), defaults(view)))
    cosine, distance = a @ b / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a - b)
    assert [float(title) for title in titles_in(words.footer)[-2:]] == pytest.approx([cosine, distance], rel=1e-6)
    assert "in all 8 dimensions" in words_in(words.footer)
    assert "cosine" not in words_in(view.text(Context(run, select(run, token=3), defaults(view))).footer)


@pytest.mark.parametrize("axes", ["2", "3"])
def test_the_exported_path_is_that_of_the_page(axes: str) -> None:
    run, view = make_run("causal"), named("path")
    assert view.export is not None
    figure = view.export(Context(run, select(run, token=3, second=1), defaults(view, axes=axes)))
    assert figure is not None
    selected, second = [trace for trace in figure.data if trace.mode.startswith("lines+markers")]
    paths = trajectories(run.main, "auto", "centred").coordinates
    for trace, token in ((selected, 3), (second, 1)):
        names = "xyz"[: int(axes)]
        np.testing.assert_allclose(
            np.stack([trace[name] for name in names], 1), paths[:, token, : int(axes)], rtol=1e-6
        )
        assert [c["place"] for c in trace.customdata] == [0, 1, 2]
    assert (selected.line.color, second.line.dash) == (COLOURS.selected, "dash")
    assert (list(selected.text), second.text) == (["E", "0", "1"], None), (
        "on the page, one path has its layers' numbers"
    )
    points = next(trace for trace in figure.data if trace.mode == "markers+text")
    np.testing.assert_allclose(points.x, paths[2, :, 0], rtol=1e-6)


# predictions


def test_prediction_words_give_the_actual_tokens_rank_and_probability() -> None:
    run, view = make_run("causal"), named("prediction")
    prediction = run.prediction(2)
    assert prediction.actual is not None
    words = view.text(Context(run, select(run, token=2), defaults(view)))
    body = words_in(words.body)
    assert f"{prediction.actual_rank} of 20" in body
    assert f"{prediction.actual.probability:.9g}" in titles_in(words.body)
    assert f"{prediction.entropy:.2f} nats" in body
    assert f"{-prediction.actual.logprob:.2f} nats" in body
    assert "·on" in body
    best = prediction.candidates[0]
    assert words_in(words.title).endswith(f"{best.text.replace(' ', '·')}, {100 * best.probability:.1f} %")


def test_at_the_end_there_is_no_next_token() -> None:
    run, view = make_run("causal"), named("prediction")
    assert "no next token" in words_in(view.text(Context(run, select(run, token=5), defaults(view))).body)


@pytest.mark.parametrize(("count", "shown"), [("5", 5), ("20", 5)])
def test_as_many_bars_as_asked_for_where_there_are_that_many(count: str, shown: int) -> None:
    run, view = make_run("causal"), named("prediction")
    assert len(drawn_by(view, run, select(run), defaults(view, count=count)).data[0].x) == shown


def test_a_masked_model_is_read_masked_or_as_it_stands() -> None:
    run, view = make_run("masked"), named("prediction")
    for mode, phrase in (("masked", ") masked, "), ("given", ") as it stands, ")):
        options = defaults(view, mode=mode)
        prediction = run.prediction(3, mode)  # type: ignore[arg-type]
        assert phrase in words_in(view.text(Context(run, select(run), options)).title)
        figure = drawn_by(view, run, select(run), options)
        assert [c["probability"] for c in figure.data[0].customdata] == [c.probability for c in prediction.candidates]


@pytest.mark.parametrize(
    ("share", "verb"), [(0.927, ", the model expects "), (0.51, ", the model expects "), (0.0003, ", most likely: ")]
)
def test_a_model_expects_what_is_more_likely_than_not(share: float, verb: str) -> None:
    header, arrays = make_parts("causal")
    arrays["given/top_logprobs"] = arrays["given/top_logprobs"].copy()
    arrays["given/top_logprobs"][3, 0] = math.log(share)
    run, view = ModelRun(header, arrays), named("prediction")
    assert verb in words_in(view.text(Context(run, select(run, token=3), defaults(view))).title)


def test_a_masked_position_that_is_not_computed_waits_and_then_shows() -> None:
    run, view = make_run("masked", masked=False), named("prediction")
    selection, options = select(run, token=2), defaults(view)
    words = view.text(Context(run, selection, options))
    assert words.waiting
    assert drawn_by(view, run, selection, options) is None
    there = results(masked_result(run.key))
    assert not view.text(Context(run, selection, options, results=there)).waiting
    assert drawn_by(view, run, selection, options, there) is not None


def test_a_model_without_a_head_says_so_and_draws_nothing() -> None:
    run, view = make_run("encoder", title="MiniLM-L6"), named("prediction")
    assert drawn_by(view, run, select(run), defaults(view)) is None
    assert "MiniLM-L6 produces embeddings; it has no token predictions" in words_in(
        view.text(Context(run, select(run), defaults(view))).message
    )


# two positions


def expected_pairs(run: ModelRun, mode: str, one: int, other: int) -> dict[int, tuple[float | None, float | None]]:
    """Both probabilities of every token that is kept at either position, read off the arrays; None where not kept."""
    found = []
    for position in (one, other):
        ids, logprobs = run.arrays[f"{mode}/top_ids"][position], run.arrays[f"{mode}/top_logprobs"][position]
        kept = {int(i): math.exp(float(p)) for i, p in zip(ids, logprobs, strict=True)}
        at = position + 1 if run.model.kind == "causal" else position
        if at < len(run):
            kept.setdefault(run.tokens[at].id, math.exp(float(run.arrays[f"{mode}/actual_logprob"][position])))
        found.append(kept)
    named_ids = {int(i) for position in (one, other) for i in run.arrays[f"{mode}/top_ids"][position]}
    return {i: (found[0].get(i), found[1].get(i)) for i in named_ids}


@pytest.mark.parametrize(("kind", "mode"), [("causal", "given"), ("masked", "masked"), ("masked", "given")])
def test_two_positions_are_drawn_side_by_side_with_exact_probabilities(kind: ModelKind, mode: str) -> None:
    run, view = make_run(kind), named("prediction")
    options = defaults(view, count="50") | ({"mode": mode} if kind == "masked" else {})
    figure = drawn_by(view, run, select(run, token=3, second=1), options)
    filled, outlined = figure.data
    expected = expected_pairs(run, mode, 3, 1)
    shown = {a["id"]: (a, b) for a, b in zip(filled.customdata, outlined.customdata, strict=True)}
    assert shown.keys() == expected.keys()
    for identifier, values in expected.items():
        for told, value in zip(shown[identifier], values, strict=True):
            assert told["known"] is (value is not None)
            if value is not None:
                assert told["probability"] == pytest.approx(value, rel=1e-6)
    greatest = [max(p or 0 for p in expected[c["id"]]) for c in filled.customdata]
    assert greatest == sorted(greatest, reverse=True)
    assert view.figure_reads == ("run", "token", "second")


def test_a_difference_is_exact_or_says_its_bound() -> None:
    exact = SharedCandidate(1, "a", BoundedProbability(0.927), BoundedProbability(0.007))
    assert (difference_text(exact), bounded_text(exact.one)) == ("+92.0", "92.7 %")
    assert difference_text(SharedCandidate(1, "a", BoundedProbability(0.01), BoundedProbability(0.03))) == "−2.0"
    below = SharedCandidate(1, "a", BoundedProbability(0.019), BoundedProbability(0.0012, known=False))
    assert (difference_text(below), bounded_text(below.other)) == ("> +1.7", "< 0.2 %")
    above = SharedCandidate(1, "a", BoundedProbability(0.0012, known=False), BoundedProbability(0.019))
    assert difference_text(above) == "< −1.7"
    assert (
        difference_text(SharedCandidate(1, "a", BoundedProbability(0.5), BoundedProbability(0.00001, known=False)))
        == "+50.0"
    )
    assert bounded_text(BoundedProbability(0.00001, known=False)) == "< 0.05 %"


def test_a_token_that_reads_the_second_alone_has_nothing_else_to_name() -> None:
    header, arrays = make_parts("encoder")
    arrays["encoder/query/1"] = 1e6 * arrays["encoder/query/1"]  # so that each row has one weight of 1 and nothing else
    run, view = ModelRun(header, arrays), named("attention")
    row = run.attention(1, 0)[5]
    assert sorted(row)[-2:] == [0, 1]
    other = int(row.argmax())
    footer = view.text(Context(run, select(run, token=5, layer=1, head=0, second=other), defaults(view))).footer
    first = list(takewhile(lambda part: part.className != "line-end", footer))
    assert words_in(first).endswith("1.000")
    assert "Next" not in words_in(first)
    assert "e+00" not in words_in(footer)
    plain = make_run("encoder")
    footer = view.text(Context(plain, select(plain, token=5, layer=1, head=0, second=other), defaults(view))).footer
    assert "Next" in words_in(footer)


def test_words_of_two_positions_give_both_tokens_facts() -> None:
    run, view = make_run("causal"), named("prediction")
    words = view.text(Context(run, select(run, token=2, second=5), defaults(view)))
    one, other = run.prediction(2), run.prediction(5)
    assert one.actual is not None
    footer = words_in(words.footer)
    assert f"rank{one.actual_rank}" in footer
    assert f"entropy{one.entropy:.2f}" in footer
    assert f"entropy{other.entropy:.2f}" in footer
    assert "no next token" in footer


def test_a_second_masked_position_is_shown_when_it_is_there() -> None:
    run, view = make_run("masked", masked=False), named("prediction")
    selection, options = select(run, token=2, second=4), defaults(view)
    first, second = masked_result(run.key, 2), masked_result(run.key, 4)
    assert "not computed yet" in words_in(view.text(Context(run, selection, options, results=results(first))).caption)
    assert len(drawn_by(view, run, selection, options, results(first)).data) == 1
    assert len(drawn_by(view, run, selection, options, results(first, second)).data) == 2
    assert view.text(Context(run, selection, options, results=results(second))).waiting


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-2.61, -0.549, "−2.61 to −0.549"),
        (-1.204, -1.196, "−1.2"),
        (-17.6465, -17.6335, "−17.6"),
        (-0.5, 0.25, "−0.5 to 0.25"),
    ],
)
def test_bounds_are_written_with_minus_signs_and_once_where_they_are_equal(low: float, high: float, text: str) -> None:
    assert bounds_text(low, high) == text


def test_tables_of_paths_and_of_two_positions_hold_the_same_numbers() -> None:
    run = make_run("causal")
    hidden, prediction = named("path"), named("prediction")
    assert hidden.table is not None
    assert prediction.table is not None
    chosen = hidden.table(Context(run, select(run, token=3, second=1), defaults(hidden)))
    assert chosen is not None
    rows = list(chosen.rows)
    paths = trajectories(run.main, "auto", "centred").coordinates
    np.testing.assert_allclose([row[3:6] for row in rows], paths[:, [3, 1]].reshape(-1, 3), rtol=1e-9)
    assert chosen.count == len(rows) == 6
    assert [rows[i][0] for i in chosen.selected] == ["1"] * 2
    whole = hidden.table(Context(run, select(run), defaults(hidden), whole=True))
    assert whole is not None
    assert whole.count == len(list(whole.rows)) == 3 * 6
    pairs = prediction.table(Context(run, select(run, token=3, second=1), defaults(prediction), whole=True))
    assert pairs is not None
    expected = expected_pairs(run, "given", 3, 1)
    least = [float(np.exp(run.arrays["given/top_logprobs"][position].min())) for position in (3, 1)]
    for _text, identifier, one, other, difference, below_one, below_other, low, high, _label in pairs.rows:
        values = expected[int(identifier or 0)]
        assert [one, other] == [None if v is None else pytest.approx(100 * v, rel=1e-6) for v in values]
        assert (difference is None) is (None in values)
        bounds = [
            None if v is not None else pytest.approx(100 * most, rel=1e-6)
            for v, most in zip(values, least, strict=True)
        ]
        assert [below_one, below_other] == bounds
        assert low == pytest.approx(
            100 * ((values[0] or 0.0) - (least[1] if values[1] is None else values[1])), rel=1e-6
        )
        assert high == pytest.approx(
            100 * ((least[0] if values[0] is None else values[0]) - (values[1] or 0.0)), rel=1e-6
        )
    entropy = [float(run.arrays["given/entropy"][position]) for position in (3, 1)]
    assert f"all {pairs.count} tokens kept for either" in pairs.title
    assert all(
        f"position {at}: entropy {value:.6g} nats" in pairs.title for at, value in zip((3, 1), entropy, strict=True)
    )
