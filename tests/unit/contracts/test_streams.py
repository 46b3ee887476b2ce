"""Runs with two streams, attention that is not square, and runs that lack optional arrays."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BadSelectionError, MissingArrayError, RunShapeError
from dashboard.exports.run_files import open_run, save_run
from dashboard.figures.attention import attention_cells, attention_map, attention_picture, name_selected, shades
from dashboard.figures.heads import plot_attention_heads
from dashboard.store.upgrades import SCHEMAS, upgraded
from dashboard.views import all_views
from dashboard.views.declaration import View
from dashboard.views.run_info import describe_run, location_in
from dashboard.views.state import ViewState
from dashboard.web.routes.figures import words_of
from tests.support.synthetic import (
    ENCODER_WORDS,
    WORDS,
    OneRun,
    array_of,
    make_parts,
    make_run,
    make_two_streams,
    words_in,
)

QUERIES, KEYS = 3, 5


def named(name: str) -> View:
    return next(view for view in all_views() if view.name == name)


def context(run: ModelRun, view: View, **places: Any) -> Context:
    selection = Selection(run.key, **{"token": 1, "layer": 1, "head": 0, **places}).checked(run)
    return Context(run, selection, {control.name: control.default for control in view.controls})


def by_hand(query: np.ndarray, key: np.ndarray) -> list[list[float]]:
    """softmax(q·k / √d) row by row."""
    rows = []
    for q in query:
        raised = [
            math.exp(sum(float(a) * float(b) for a, b in zip(q, k, strict=True)) / math.sqrt(len(q))) for k in key
        ]
        rows.append([value / sum(raised) for value in raised])
    return rows


# two streams


def test_each_stream_has_its_tokens_and_states() -> None:
    run = make_two_streams()
    assert list(run.streams) == ["decoder", "encoder"]
    assert [token.text for token in run.tokens] == list(WORDS[:3])
    assert [token.text for token in run.stream("encoder").tokens] == list(ENCODER_WORDS)
    assert run.stream("encoder").hidden_states[1].shape[0] == KEYS
    assert run.hidden_states[1].shape[0] == QUERIES
    assert run.counts() == {"token": QUERIES, "layer": 2, "head": 2}
    assert run.counts("encoder") == {"token": KEYS, "layer": 2, "head": 2}


def test_the_decoder_reads_the_encoders_tokens() -> None:
    run = make_two_streams()
    weights = run.attention(1, 0, "cross")
    assert weights.shape == (QUERIES, KEYS)
    expected = by_hand(run.arrays["cross/query/1"][0], run.arrays["cross/key/1"][0])
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(run.attention_rows(1, 0, 2, 3, "cross"), weights[2:3], rtol=1e-6)
    assert run.attention(1, 0, "encoder").shape == (KEYS, KEYS)
    assert np.triu(run.attention(1, 0), 1).any() == np.False_
    np.testing.assert_array_equal(run.attention(1, 0), run.attention(1, 0, "self"))


def test_a_stream_or_a_kind_that_a_run_has_not_is_a_named_error() -> None:
    run = make_run()
    with pytest.raises(BadSelectionError, match=r"no encoder stream\. Name its decoder stream"):
        run.stream("encoder")
    with pytest.raises(MissingArrayError, match="no cross attention"):
        run.attention(0, 0, "cross")
    with pytest.raises(BadSelectionError, match="no encoder stream"):
        Selection(run.key, 0, 0, 0, stream="encoder").checked(run)
    with pytest.raises(BadSelectionError, match="decoder or encoder"):
        Selection.from_json({"run": run.key, "token": 0, "layer": 0, "head": 0, "stream": "both"})


def test_bounds_are_the_streams_own() -> None:
    run = make_two_streams()
    Selection(run.key, 4, 0, 0, stream="encoder").checked(run)
    with pytest.raises(BadSelectionError, match="no token 4 in this run; it has tokens 0 to 2"):
        Selection(run.key, 4, 0, 0).checked(run)


def test_an_address_names_the_stream() -> None:
    run = make_two_streams()
    assert location_in(run, {"token": "4", "stream": "encoder"}) == (
        {"stream": "encoder", "token": 4, "second": None},
        [],
    )
    found, [problem] = location_in(run, {"token": "4"})
    assert found == {}
    assert "tokens 0 to 2" in problem
    _found, [problem] = location_in(make_run(), {"stream": "encoder"})
    assert problem == "The address names the stream “encoder”, but this run has decoder."


def test_positions_that_do_not_fit_a_stream_are_a_named_error() -> None:
    run = make_two_streams()
    short = {**run.arrays, "cross/key/0": run.arrays["cross/key/0"][:, :4]}
    with pytest.raises(RunShapeError, match="key/0 has 4 positions for 5 tokens"):
        ModelRun(run.header, short).attention(0, 0, "cross")


@pytest.mark.parametrize("name", ["attention", "hidden"])
def test_views_show_the_selected_stream(name: str) -> None:
    run, view = make_two_streams(), named(name)
    words = view.text(context(run, view, token=4, second=2, stream="encoder"))
    assert words_in(words.title) + words_in(words.footer) != ""
    assert ENCODER_WORDS[2].strip() in words_in(words.footer)
    figure = view.draw(context(run, view, token=4, stream="encoder"))
    assert figure is not None
    [trace] = figure["data"]
    shown = array_of(trace["z"]).shape if name == "attention" else (len(array_of(trace["x"])),)
    assert shown == ((KEYS, KEYS) if name == "attention" else (KEYS,))
    assert view.table is not None
    table = view.table(context(run, view, token=4, stream="encoder"))
    assert table is not None
    assert len(list(table.rows)) == KEYS


def test_a_run_with_two_streams_comes_back_from_a_file(tmp_path: Path) -> None:
    run = make_two_streams()
    for suffix in ("npz", "safetensors"):
        again = open_run(save_run(run, tmp_path / f"run.{suffix}", attention=True))
        assert again.header == run.header
        assert [token.text for token in again.stream("encoder").tokens] == list(ENCODER_WORDS)
        np.testing.assert_array_equal(again.arrays["cross/attention/1"][0], run.attention(1, 0, "cross"))
        np.testing.assert_array_equal(again.attention(1, 0, "cross"), run.attention(1, 0, "cross"))


# figures that are not square


def oblong() -> tuple[np.ndarray, list[str], list[str]]:
    weights = make_two_streams().attention(1, 0, "cross")
    return weights, list("abc"), list("vwxyz")


def test_a_heatmap_has_its_own_labels_on_each_side() -> None:
    weights, queries, keys = oblong()
    figure = attention_map(weights, queries, keys, selected=(2, 1))
    name_selected(figure, queries, keys, (2, 4))
    assert list(figure.layout.xaxis.range) == [-0.5, 4.5]
    assert list(figure.layout.yaxis.range) == [2.5, -0.5]
    assert "z" in figure.layout.xaxis.ticktext[-1]
    assert any("c" in text for text in figure.layout.yaxis.ticktext)
    assert figure.data[0].customdata.shape == (QUERIES, KEYS, 3)
    assert figure.data[0].customdata[2][4].tolist()[:2] == ["z", "c"]
    spec = attention_cells(shades(weights), queries, keys)
    assert spec["layout"]["meta"]["shape"] == [QUERIES, KEYS]


def test_a_long_oblong_heatmap_is_a_picture_of_its_sides() -> None:
    shade = np.full((700, 30), 9, dtype=np.uint8)
    figure = attention_picture(shade, [f"q{i}" for i in range(700)], [f"k{i}" for i in range(30)])
    [image] = figure.layout.images
    assert (image.sizex, image.sizey) == (30, 700)
    assert "the largest of up to 3 × 1" in figure.layout.annotations[0].text


def test_all_heads_of_cross_attention_in_small() -> None:
    run = make_two_streams()
    attentions = [np.stack([run.attention(layer, head, "cross") for head in range(2)]) for layer in range(2)]
    figure = plot_attention_heads(attentions, 1, 0)
    assert len(figure.layout.images) == 2
    assert len(figure.data[0].x) == 4


def test_sides_that_do_not_fit_are_a_named_error() -> None:
    weights, queries, keys = oblong()
    with pytest.raises(RunShapeError, match="3 queries and 4 keys"):
        attention_map(weights, queries, keys[:4])


# optional arrays

OPTIONAL = ("thumbnails", "received", "query", "key", "scores")


def without(*names: str) -> ModelRun:
    header, arrays = make_parts("causal")
    kept = {name: array for name, array in arrays.items() if name.split("/")[1:2] not in [[gone] for gone in names]}
    assert len(kept) < len(arrays)
    return ModelRun({**header, "outdated": ["these are kept"]}, kept)


@pytest.mark.parametrize("gone", OPTIONAL)
def test_what_a_model_never_gives_is_not_offered_by_running_again(gone: str) -> None:
    """A run of this version holds all that its model gives: nothing would be computed again."""
    earlier = without(gone)
    run = ModelRun({**earlier.header, "outdated": []}, earlier.arrays)
    reads = {
        "thumbnails": lambda of: of.thumbnails,
        "received": lambda of: of.received,
        "scores": lambda of: of.score("self"),
    }
    with pytest.raises(MissingArrayError, match=r": its model provides none\. Choose another model\.$") as found:
        reads.get(gone, lambda _of: run.attention(0, 0))(run.attention_of())
    assert not found.value.again


@pytest.mark.parametrize(
    ("tokens", "recipes", "words"),
    [
        ({"speech": []}, {}, "has stream “speech”, but this version knows"),
        ({}, {"between": []}, "has attention “between”"),
        ({"encoder": []}, {}, "names the stream “encoder” but lacks its tokens or its attention"),
        ({}, {"cross": []}, "names the stream “encoder” but lacks"),
    ],
)
def test_a_stream_or_an_attention_that_cannot_be_read_is_refused_by_name(
    tokens: dict[str, Any], recipes: dict[str, Any], words: str
) -> None:
    header, arrays = make_parts("causal")
    with pytest.raises(RunShapeError, match=words):
        ModelRun({**header, "tokens": header["tokens"] | tokens, "recipes": header["recipes"] | recipes}, arrays)


@pytest.mark.parametrize("gone", OPTIONAL)
def test_a_run_without_an_optional_array_opens_and_says_what_is_missing(gone: str) -> None:
    run = without(gone)
    assert describe_run(run)["run"] == run.key
    attention = run.attention_of()
    reads = {
        "thumbnails": lambda: attention.thumbnails,
        "received": lambda: attention.received,
        "query": lambda: run.attention(0, 0),
        "key": lambda: run.attention(0, 0),
        "scores": lambda: attention.score("self"),
    }
    with pytest.raises(MissingArrayError, match=r"does not hold .*\. Run its text again") as found:
        reads[gone]()
    assert found.value.again


def test_what_the_page_is_told_of_a_run_without_scores_and_pictures() -> None:
    assert describe_run(without("scores"))["patterns"] is None
    assert describe_run(without("thumbnails"))["pictures"] is False
    whole = describe_run(make_run())
    assert whole["pictures"] is True
    assert len(whole["patterns"]) == 2


@pytest.mark.parametrize("gone", OPTIONAL)
def test_a_card_offers_to_run_again_and_the_others_are_whole(gone: str) -> None:
    run, views = without(gone), all_views()
    options = {view.name: {control.name: control.default for control in view.controls} for view in views}
    state = ViewState(Selection(run.key, 1, 1, 0), options)
    bodies = {view.name: json.dumps(words_of(OneRun(run), view, state)["body"]) for view in views}  # type: ignore[arg-type]
    attention = bodies["attention"]
    assert ("data-run-again" in attention) == (gone in ("query", "key"))
    assert ("does not hold queries and keys" in attention) == (gone in ("query", "key"))
    assert not any("data-run-again" in bodies[name] for name in ("hidden", "prediction"))


def test_an_array_that_no_version_knew_changes_no_key() -> None:
    header, arrays = make_parts("causal")
    run = ModelRun(header, {**arrays, "decoder/newcomer/0": np.zeros(3, dtype=np.float32)})
    assert run.key == make_run("causal").key
    assert run.outdated == ()


def test_a_run_of_the_first_schema_is_read_by_todays_names_and_is_not_outdated_by_them() -> None:
    header, arrays = make_parts("masked")
    old = {**header, "schema": 1, **{name: header[name]["encoder"] for name in ("tokens", "recipes")}}
    plain = {name.removeprefix("encoder/"): array for name, array in arrays.items()}
    assert "query/0" in plain
    run = ModelRun(*upgraded(old, plain))
    assert run.outdated == tuple(schema.change for schema in SCHEMAS[2:] if schema.outdates(run.header))
    assert set(run.arrays) == set(arrays)
    np.testing.assert_array_equal(run.attention(1, 1), make_run("masked").attention(1, 1))
    assert run.prediction(2) == make_run("masked").prediction(2)
