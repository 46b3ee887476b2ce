"""What the views of layers, heads and the lens say of odd runs: values that are not finite, states of zeros, missing
arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dashboard.analysis.lens import MEASURES, measured
from dashboard.components.markup import bound, plain
from dashboard.compute import logit_lens as lens_kind
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.figures.lens import LensMap, lens_map
from dashboard.views import all_views
from dashboard.views.attention import heads
from dashboard.views.declaration import View
from dashboard.views.hidden_states import layers, path
from dashboard.views.library import context_of as context_of_page
from dashboard.views.predictions import logit_lens, through_the_layers
from dashboard.views.shown import alternative, shown_table
from dashboard.views.state import ViewState
from tests.support.synthetic import (
    OneRun,
    lens_result,
    make_parts,
    make_run,
    position_result,
    results,
    values_of,
    words_in,
)

LENS, THROUGH, LAYERS, HEADS = logit_lens.VIEW, through_the_layers.VIEW, layers.VIEW, heads.VIEW


def context_of(
    view: View, run: ModelRun, token: int = 2, second: int | None = None, *found: Any, **options: Any
) -> Context:
    chosen = {control.name: control.default for control in view.controls} | options
    return Context(run, Selection(run.key, token, 1, 0, second), chosen, results=results(*found))


def broken_from(place: int, result: Derived) -> Derived:
    """A lens whose values are NaN from a place on, as a computation gives it: ids and ranks stand there and mean
    nothing."""
    arrays = {name: np.array(values) for name, values in result.arrays.items()}
    for name in ("top_logprobs", "entropy", "actual_logprob", "final_logprob", "word_logprob"):
        if name in arrays:
            arrays[name][place:] = np.nan
    for name in ("top_ids", "actual_rank", "final_rank", "word_rank"):
        if name in arrays:
            arrays[name][place:] = 1
    arrays["kl"][:] = np.nan
    return replace(result, arrays=arrays)


# a lens that is not finite from a layer on


def test_the_title_of_a_broken_lens_names_no_final_prediction() -> None:
    run = make_run(layers=3)
    said = LENS.text(context_of(LENS, run, 2, None, broken_from(2, lens_result(run))))
    assert words_in(said.title) == "Logit lens: the values are not finite from layer 1 on"
    assert "nan" not in words_in(said.footer)
    assert words_in(said.footer).endswith("after layer 1not finite")
    sound = LENS.text(replace(context_of(LENS, run, 2, None, broken_from(3, lens_result(run)))))
    assert words_in(sound.title) == "Logit lens: the values are not finite from layer 2 on"
    assert "entropy" in words_in(sound.footer)
    assert "rank of the actual token" in words_in(sound.footer)
    assert not re.search("KL|nan|rank of (?!the actual)", words_in(sound.footer)), (
        "there is no final prediction to compare with"
    )


def test_cells_of_a_broken_lens_name_no_token() -> None:
    run = make_run(layers=3)
    lens = lens_kind.read(run, broken_from(2, lens_result(run)))
    for measure in MEASURES.values():
        values = measured(lens, measure)
        assert np.isnan(values[2:]).all()
        assert np.isnan(values[:2]).all() == (measure.of == "final" or measure.name == "kl")
        drawn = LensMap(lens, measure, run.model.vocabulary, ["t"] * len(run))
        hover = np.array(lens_map(drawn)["data"][0]["hovertext"])
        assert all(told.endswith("<br>not finite") for told in hover[2:].ravel())
        assert not any("not finite" in told for told in hover[:2].ravel())
    column = LENS.draw(replace(context_of(LENS, run, 2, None, broken_from(2, lens_result(run))), slot="small"))
    assert column is not None
    assert column["data"][1]["text"][2:] == ["not finite", "not finite"]


@pytest.mark.parametrize("whole", [False, True])
def test_the_table_of_a_broken_lens_has_no_numbers_there(whole: bool) -> None:
    run = make_run(layers=3)
    found = LENS.table(replace(context_of(LENS, run, 2, None, broken_from(2, lens_result(run))), whole=whole))
    assert found is not None
    rows = list(found.rows)
    last, names = rows[-1], [column.name for column in found.columns]
    for name in names:
        if re.search("^(Prob|Rank|Entropy|KL)", name):
            value = last[names.index(name)]
            assert value is None or value == "none" or np.isnan(float(value)), name
    assert last[names.index("Likeliest")] == (None if whole else "not finite")
    assert np.isfinite(float(str(rows[0][names.index("Entropy")])))


def test_through_the_layers_follows_words_where_the_end_is_not_finite() -> None:
    run = make_run(layers=3)
    found = broken_from(2, position_result(run, 2, words=[("v11", 11)]))
    context = context_of(THROUGH, run, 2, None, found, words="v11")
    said = THROUGH.text(context)
    assert words_in(said.title) == "After ·sat\u00a0(2): the values are not finite from layer 1 on"
    assert "leads" not in words_in(said.title)
    figure = THROUGH.draw(context)
    assert figure is not None
    alone = context_of(THROUGH, run, len(run) - 1, None, broken_from(2, position_result(run, len(run) - 1)))
    assert "not finite" in words_in(THROUGH.text(alone).message), "after the last token there is no word to follow"
    assert THROUGH.draw(alone) is None


def test_a_text_of_one_token_has_no_others_to_compute() -> None:
    run = make_run(texts=("One",))
    assert "others" not in words_in(LENS.text(context_of(LENS, run, 0, None, position_result(run, 0))).caption)


# a lens of all positions that is there already


@pytest.mark.parametrize("view", [LENS, THROUGH], ids=lambda view: view.name)
@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_a_small_card_waits_for_nothing_that_the_whole_lens_has(view: View, kind: ModelKind) -> None:
    run = make_run(kind)
    state = ViewState.from_query({"run": run.key, "token": "2", "layer": "1", "head": "0"}, all_views())
    assert state.slot_of(view) == "small"
    alone = context_of_page(view, state, OneRun(run, position_result(run, 2)))
    assert view.awaits(alone) == ()
    context = context_of_page(view, state, OneRun(run, lens_result(run)))
    assert view.awaits(context) == ()
    assert not view.text(context).waiting
    assert view.draw(context) == view.draw(alone)
    [needed] = view.awaits(context_of_page(view, state, OneRun(run)))
    assert needed.kind == "position-lens", "one position comes sooner than all"


def test_words_and_a_mask_are_waited_for_all_the_same() -> None:
    run = make_run("masked")
    for option in ("through-words", "through-mode"):
        query = {"run": run.key, "token": "2", "layer": "1", "head": "0", option: "masked"}
        context = context_of_page(THROUGH, ViewState.from_query(query, all_views()), OneRun(run, lens_result(run)))
        assert [request.kind for request in THROUGH.awaits(context)] == ["position-lens"]


# words that are typed


def test_a_typed_word_turns_no_sentence_around() -> None:
    run = make_run()
    typed = "\u202eevil"
    said = THROUGH.text(context_of(THROUGH, run, 2, None, position_result(run, 2, words=[(typed, -1)]), words=typed))
    assert "\u202e" not in words_in(said.caption)
    assert "No token for “⟨U+202E⟩evil” in this vocabulary." in words_in(said.caption)


def test_more_words_than_are_followed_are_said() -> None:
    run = make_run()
    words = [(f"v{index}", index) for index in range(10, 18)]
    typed = " ".join(word for word, _identifier in words)
    found = position_result(run, 2, words=words)
    assert "The first 8" not in words_in(THROUGH.text(context_of(THROUGH, run, 2, None, found, words=typed)).caption)
    said = words_in(THROUGH.text(context_of(THROUGH, run, 2, None, found, words=f"{typed} v19")).caption)
    assert said.endswith("The first 8 words are followed.")


# layers


def with_states(run: ModelRun, change: Any) -> ModelRun:
    """The run with hidden states that `change` gives, of the states and their place."""
    name = f"{run.main.name}/hidden_states/"
    arrays = {key: run.arrays[key] for key in run.arrays}
    for key in arrays:
        if key.startswith(name):
            arrays[key] = change(np.array(arrays[key]), int(key.removeprefix(name)))
    header = {key: value for key, value in run.header.items() if key != "not_finite"}
    return ModelRun(header, arrays)


def nan_after(place: int, token: int) -> Any:
    def change(states: np.ndarray, at: int) -> np.ndarray:
        if at >= place:
            states[token:] = np.nan
        return states

    return change


@pytest.mark.parametrize("value", ["norm", "turn", "cosine", "distance"])
def test_a_token_without_numbers_beside_one_that_has_them(value: str) -> None:
    run = with_states(make_run("encoder"), nan_after(1, 3))
    context = context_of(LAYERS, run, 4, 1, value=value)
    said = LAYERS.text(context)
    LAYERS.draw(context)
    assert "nan" not in words_in(said.title)
    if value == "norm":
        assert words_in(said.title).endswith(" at the embeddings, and is not finite from there on")
    if value == "turn":
        assert words_in(said.title) == "Through the layers: this measure is not defined for ·it\u00a0(4)"


@pytest.mark.parametrize("value", ["norm", "turn", "cosine"])
def test_states_of_zeros_are_not_said_to_be_infinite(value: str) -> None:
    run = with_states(make_run("encoder"), lambda states, _place: 0 * states)
    context = context_of(LAYERS, run, 4, 1, value=value)
    LAYERS.draw(context)
    said = LAYERS.text(context)
    if value == "norm":
        assert words_in(said.title).endswith(" goes from 0 to 0")
    else:
        assert "all zero" in words_in(said.message)
        assert "not finite" not in words_in(said.message)


# arrays that are missing


def test_a_score_that_is_missing_is_said_in_the_table_too() -> None:
    header, arrays = make_parts("encoder")
    del arrays["encoder/scores/distance"]
    run = ModelRun(header, arrays)
    assert HEADS.table is not None
    with pytest.raises(MissingArrayError):
        HEADS.table(context_of(HEADS, run, sort="distance"))
    assert HEADS.table(context_of(HEADS, run, sort="first")) is not None


def test_heads_that_are_alike_in_the_pages_table_are_so_in_the_report() -> None:
    header, arrays = make_parts("encoder")
    arrays["encoder/scores/first"] = np.array([[0.5, 0.5 + 2e-7], [0.1, 0.9]], dtype=np.float32)
    table = HEADS.table(context_of(HEADS, ModelRun(header, arrays), sort="first")) if HEADS.table else None
    assert table is not None
    assert [row[:2] for row in table.rows] == [(1, 1), (0, 0), (0, 1), (1, 0)]


def test_where_values_stop_being_finite_is_looked_for_in_what_is_there() -> None:
    header, arrays = make_parts("causal")
    header.pop("not_finite", None)
    gone = {name: values for name, values in arrays.items() if "hidden_states" not in name}
    assert ModelRun(header, gone).not_finite is None


# all together


def odd_runs() -> Iterator[ModelRun]:
    kinds: tuple[ModelKind, ...] = ("causal", "masked", "encoder")
    for kind in kinds:
        yield make_run(kind, ("One",), layers=1)
        run = make_run(kind, ("\u05d0\u05d1", " <b>x</b>", "\u202ea"))
        yield with_states(run, lambda states, _place: 0 * states)
        yield with_states(run, nan_after(1, 2))
        yield with_states(run, nan_after(0, 0))


def lenses_of(run: ModelRun) -> list[list[Derived]]:
    if not run.has_predictions:
        return [[]]
    here = [position_result(run, len(run) - 1, mode) for mode in ("given", "masked")]
    return [[], [lens_result(run)], [broken_from(1, lens_result(run))], here, [broken_from(0, one) for one in here]]


def shown_of(view: View, context: Context, exports: bool) -> str:
    """Everything that a card says in words, at every place where it can say it."""
    told = ""
    for slot in ("small", "large") if view.adapts else ("large",):
        at = replace(context, slot=slot)
        try:
            view.draw(at)
            words = view.text(at)
            told += alternative(words) + str(plain(words.caption))
            if view.export is not None and exports:
                view.export(at)
            table = view.table(at) if view.table else None
            told += str(bound(plain(shown_table(table)))) if table is not None else ""
            whole = view.table(replace(at, whole=True)) if view.table else None
            assert whole is None or len(list(whole.rows)) == whole.count
        except MissingArrayError:
            continue
    return told


@pytest.mark.parametrize("view", [LENS, THROUGH, LAYERS, HEADS, path.VIEW], ids=lambda view: view.name)
def test_no_odd_run_breaks_a_view_or_shows_nan(view: View) -> None:
    options: list[dict[str, Any]] = [{}]
    for control in view.controls:
        options += [{control.name: value} for value in values_of(control)[1:]]
    for run in odd_runs():
        for found in lenses_of(run) if view.card == "prediction" else [[]]:
            for chosen in options:
                context = context_of(view, run, len(run) - 1, 0 if len(run) > 1 else None, *found, **chosen)
                context = replace(context, selection=replace(context.selection, layer=run.model.layers - 1))
                said = shown_of(view, context, exports=not chosen)
                assert not re.search(r"\bnan\b(?!')", said.replace("'title': 'nan'", "")), (chosen, said)
