"""The views of the logit lens and of the layers: which numbers they say, of which results. No torch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.views.declaration import View
from dashboard.views.hidden_states import layers
from dashboard.views.predictions import logit_lens, through_the_layers
from tests.support.synthetic import (
    array_of,
    lens_logprobs,
    lens_result,
    make_parts,
    make_run,
    position_result,
    results,
    titles_in,
    words_in,
)

LENS, THROUGH, LAYERS = logit_lens.VIEW, through_the_layers.VIEW, layers.VIEW


def context_of(
    view: View, run: ModelRun, token: int = 2, second: int | None = None, *found: Any, **options: Any
) -> Context:
    chosen = {control.name: control.default for control in view.controls} | options
    return Context(run, Selection(run.key, token, 1, 0, second), chosen, results=results(*found))


# the logit lens


def test_the_position_is_asked_for_first_and_alone_it_is_drawn_alone() -> None:
    run = make_run()
    context = context_of(LENS, run)
    position, whole = LENS.wanted(context)
    assert (position.kind, dict(position.parameters), whole.kind) == (
        "position-lens",
        {"position": 2, "mode": "given", "words": ""},
        "logit-lens",
    )
    assert LENS.draw(context) is None
    assert LENS.text(context).waiting
    soon = context_of(LENS, run, 2, None, position_result(run, 2))
    assert LENS.awaits(soon) == (whole,)
    spec = LENS.draw(soon)
    go.Figure(spec)
    assert array_of(spec["data"][0]["z"]).shape == (3, 1)
    assert "being computed" in words_in(LENS.text(soon).caption)


def test_with_all_positions_there_nothing_else_is_asked_for() -> None:
    run = make_run()
    context = context_of(LENS, run, 2, None, lens_result(run))
    assert LENS.awaits(context) == ()
    spec = LENS.draw(context)
    go.Figure(spec)
    probabilities = np.exp(lens_logprobs(run)).max(axis=-1)
    np.testing.assert_allclose(array_of(spec["data"][0]["z"]), 1 + np.round(254 * np.sqrt(probabilities)), atol=1)


def test_the_whole_map_depends_on_the_run_alone_and_says_so() -> None:
    """Then a selected token needs no new figure; a column alone is of its token."""

    class Forbidden(Selection):
        def __getattribute__(self, name: str) -> Any:
            if name in ("token", "second", "layer", "head"):
                raise AssertionError(f"{name} was read")
            return object.__getattribute__(self, name)

    run = make_run()
    context = replace(context_of(LENS, run, 2, None, lens_result(run)), selection=Forbidden(run.key, 2, 1, 0))
    assert LENS.draw(context)["layout"]["meta"]["reads"] == ["run"]
    alone = LENS.draw(replace(context_of(LENS, run, 2, None, lens_result(run)), slot="small"))
    assert "reads" not in alone["layout"]["meta"]
    assert array_of(alone["data"][0]["z"]).shape == (3, 1)


def test_title_and_footer_say_the_numbers() -> None:
    run = make_run()
    logprobs = lens_logprobs(run)[:, 2]
    context = context_of(LENS, run, 2, None, lens_result(run))
    said = LENS.text(context)
    best = logprobs.argmax(axis=-1)
    assert best[1] != best[2], "the example must have two"
    before, last = (f"{100 * math.exp(logprobs[place].max()):.1f} %" for place in (1, 2))
    title = words_in(said.title)
    assert title.startswith("Logit lens: after layer 0 the model still expects ")
    assert f", {before}; after layer 1 " in title
    assert title.endswith(f", {last}")
    footer = words_in(said.footer)
    assert "after ·sat\u00a0(2), after layer 1" in footer
    entropy = -(np.exp(logprobs[2]) * logprobs[2]).sum()
    assert f"entropy {entropy:.2f} nats" in footer
    assert "KL to the final prediction 0.00 nats" in footer
    rank = 1 + (logprobs[2] > logprobs[2, run.tokens[3].id]).sum()
    assert f"rank of the actual token {rank}" in footer
    assert any(float(title) == pytest.approx(entropy, abs=1e-5) for title in titles_in(said.footer))


def test_a_masked_position_is_drawn_alone() -> None:
    run = make_run("masked")
    context = context_of(LENS, run, 3, None, lens_result(run), position_result(run, 3, "masked"), mode="masked")
    [request] = LENS.wanted(context)
    assert dict(request.parameters)["mode"] == "masked"
    spec = LENS.draw(context)
    probabilities = np.exp(lens_logprobs(run, 3)[:, [3]]).max(axis=-1)
    np.testing.assert_allclose(array_of(spec["data"][0]["z"]), 1 + np.round(254 * np.sqrt(probabilities)), atol=1)
    assert words_in(LENS.text(context).title).startswith("With ·on\u00a0(3) masked: ")


def test_a_file_has_every_position_and_a_table_the_selected_one() -> None:
    run = make_run()
    context = context_of(LENS, run, 2, None, lens_result(run))
    part, whole = LENS.table(context), LENS.table(replace(context, whole=True))
    logprobs = lens_logprobs(run)
    rows = list(part.rows)
    assert ([row[0] for row in rows], part.selected, part.count) == (["E", "0", "1"], (2,), 3)
    assert rows[1][2] == pytest.approx(100 * math.exp(logprobs[1, 2].max()), rel=1e-5)
    every = list(whole.rows)
    assert (len(every), whole.count) == (18, 18)
    last = every[-1]
    assert (last[0], last[1], last[2]) == ("after layer 1", 5, ".")
    assert last[8] is None, "nothing comes after the last token"
    assert last[7] == pytest.approx(100 * math.exp(logprobs[2, 5].max()), rel=1e-5)


@pytest.mark.parametrize("view", [LENS, THROUGH], ids=lambda view: view.name)
def test_a_model_that_predicts_nothing_says_why(view: View) -> None:
    context = context_of(view, make_run("encoder"))
    assert view.wanted(context) == ()
    assert view.draw(context) is None
    assert "produces embeddings" in words_in(view.text(context).message)


@pytest.mark.parametrize("view", [LENS, THROUGH], ids=lambda view: view.name)
def test_a_run_of_an_earlier_version_offers_to_run_again(view: View) -> None:
    header, arrays = make_parts()
    context = context_of(view, ModelRun({**header, "corrected": ["something"]}, arrays))
    assert view.wanted(context) == ()
    with pytest.raises(MissingArrayError, match="Run the text again"):
        view.text(context)


def test_the_exported_lens_frames_the_selection() -> None:
    run = make_run()
    figure = LENS.export(context_of(LENS, run, 2, 4, lens_result(run)))
    assert len(figure.layout.shapes) == 3
    alone = LENS.export(context_of(LENS, run, 2, 4, position_result(run, 2)))
    assert alone.layout.width


# through the layers


def test_final_actual_and_words_are_followed() -> None:
    run = make_run()
    words = (("v11", 11), ("zzz", -1))
    context = context_of(THROUGH, run, 2, None, position_result(run, 2, words=words), words="v11  zzz")
    assert THROUGH.awaits(context) == ()
    spec = THROUGH.draw(context)
    go.Figure(spec)
    logprobs = lens_logprobs(run)[:, 2]
    final, actual = int(logprobs[-1].argmax()), run.tokens[3].id
    expected = [11, actual, final] if actual != final else [11, final]
    lines = [trace for trace in spec["data"] if trace["mode"] != "text"]
    for line, identifier in zip(lines, expected, strict=True):
        ranks = [1 + (row > row[identifier]).sum() for row in logprobs]
        assert array_of(line["y"]).tolist() == ranks
        assert line["customdata"] == [{"layer": layer} for layer in (-1, 0, 1)]
    assert [line["line"]["dash"] for line in lines][-1] == "solid"
    assert "No token for “zzz” in this vocabulary." in words_in(THROUGH.text(context).caption)
    axis = spec["layout"]["yaxis"]
    assert (axis["type"], axis["range"][0] > axis["range"][1]) == ("log", True), "rank 1 must be at the top"


def test_probabilities_are_drawn_in_percent() -> None:
    run = make_run()
    context = context_of(THROUGH, run, 2, None, position_result(run, 2), value="probability")
    logprobs = lens_logprobs(run)[:, 2]
    line = [trace for trace in THROUGH.draw(context)["data"] if trace["mode"] != "text"][-1]
    np.testing.assert_allclose(array_of(line["y"]), 100 * np.exp(logprobs[:, logprobs[-1].argmax()]), rtol=1e-5)


def test_its_title_says_since_when_the_final_prediction_leads() -> None:
    run = make_run()
    logprobs = lens_logprobs(run)[:, 2]
    assert logprobs[1].argmax() != logprobs[2].argmax()
    said = THROUGH.text(context_of(THROUGH, run, 2, None, position_result(run, 2)))
    assert words_in(said.title).startswith("After ·sat\u00a0(2): ")
    assert words_in(said.title).endswith(" leads only after the last layer")
    assert "final prediction" in words_in(said.footer)


def test_its_table_has_a_row_a_layer_and_token() -> None:
    run = make_run()
    context = context_of(THROUGH, run, 2, None, position_result(run, 2, words=(("v11", 11),)), words="v11")
    table = THROUGH.table(context)
    rows = list(table.rows)
    logprobs = lens_logprobs(run)[:, 2]
    [row] = [row for row in rows if row[0] == "0" and row[2] == 11]
    assert row[3] == 1 + (logprobs[1] > logprobs[1, 11]).sum()
    assert row[4] == pytest.approx(100 * math.exp(logprobs[1, 11]), rel=1e-5)


# layers


def test_norms_and_turns_by_hand() -> None:
    states = [np.array([[3.0, 4], [0, 0]]), np.array([[4.0, -3], [1, 0]]), np.array([[8.0, -6], [np.nan, 1]])]
    found = layers.curves(states)
    np.testing.assert_allclose(found.norm, [[5, 0], [5, 1], [10, np.nan]])
    np.testing.assert_allclose(found.turn, [[np.nan, np.nan], [0, np.nan], [1, np.nan]], atol=1e-12)
    cosines, distances = layers.pair([np.array([[3.0, 4], [4, 3]]), np.array([[1.0, 0], [0, 0]])])
    np.testing.assert_allclose(cosines, [24 / 25, np.nan])
    np.testing.assert_allclose(distances, [math.sqrt(2), 1])


@pytest.mark.parametrize("value", list(layers.VALUES))
def test_the_lines_are_of_the_states_before_the_final_norm(value: str) -> None:
    run = make_run()
    states = [run.hidden_states[0], run.hidden_states[1], run.residual_final]
    spec = LAYERS.draw(context_of(LAYERS, run, 2, 4, value=value))
    go.Figure(spec)
    lines = [trace for trace in spec["data"] if trace["mode"] != "text" and "opacity" not in trace]
    mine, others = ([state[token].astype(float) for state in states] for token in (2, 4))
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    expected = {
        "norm": [[np.linalg.norm(state) for state in one] for one in (others, mine)],
        "turn": [[np.nan, cosine(one[0], one[1]), cosine(one[1], one[2])] for one in (others, mine)],
        "cosine": [[cosine(a, b) for a, b in zip(mine, others, strict=True)]],
        "distance": [[np.linalg.norm(a - b) for a, b in zip(mine, others, strict=True)]],
    }[value]
    for line, values in zip(lines, expected, strict=True):
        np.testing.assert_allclose(array_of(line["y"]), values, rtol=1e-6)
    thin = [trace for trace in spec["data"] if "opacity" in trace]
    assert len(thin) == (0 if layers.VALUES[value][1] else 1)
    if thin:
        assert {told["token"] for told in thin[0]["customdata"] if told} == {0, 1, 3, 5}
    assert spec["layout"]["meta"] == {"axes": {"x": "layer"}, "first_layer": -1}


def test_two_tokens_are_wanted_for_what_is_of_two() -> None:
    context = context_of(LAYERS, make_run(), value="cosine")
    assert LAYERS.draw(context) is None
    assert "second token" in words_in(LAYERS.text(context).message)


def test_of_a_long_text_few_lines_are_thin_and_the_caption_says_so() -> None:
    run = make_run(texts=[f" w{i}" for i in range(100)])
    context = context_of(LAYERS, run, 50)
    [thin] = [trace for trace in LAYERS.draw(context)["data"] if "opacity" in trace]
    assert len({told["token"] for told in thin["customdata"] if told}) == 34
    assert "Thin: every 3rd token." in words_in(LAYERS.text(context).caption)


def test_its_footer_has_the_exact_numbers_and_its_file_every_token() -> None:
    run = make_run()
    context = context_of(LAYERS, run, 2, 4)
    state, before, second = run.residual_final[2], run.hidden_states[1][2], run.residual_final[4]
    footer = words_in(LAYERS.text(context).footer)
    cosine = state @ before / np.linalg.norm(state) / np.linalg.norm(before)
    assert f"norm{np.linalg.norm(state):.4g}" in footer
    assert f"cosine with the layer before{cosine:.3f}".replace("-", "−") in footer
    assert f"distance{np.linalg.norm(state - second):.4g}" in footer
    part, whole = LAYERS.table(context), LAYERS.table(replace(context, whole=True))
    assert (part.count, len(list(part.rows)), part.selected) == (6, 6, (4, 5))
    rows = list(whole.rows)
    assert (len(rows), whole.count) == (18, 18)
    assert rows[0][4] is None
    assert rows[-1][3] == pytest.approx(np.linalg.norm(run.residual_final[5]), rel=1e-6)


def test_states_that_are_not_finite_are_said() -> None:
    header, arrays = make_parts()
    for name in list(arrays):
        if "hidden_states" in name or "residual" in name:
            arrays[name] = np.full_like(arrays[name], np.nan)
    context = context_of(LAYERS, ModelRun(header, arrays))
    assert LAYERS.draw(context) is None
    assert "not finite" in words_in(LAYERS.text(context).message)
