"""A run that stores its attention weights: every view shows what it shows of the same weights computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from dashboard.analysis.everywhere import weights_everywhere
from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.stored_weights import WEIGHTS_MEGABYTES, check_weights, fitting_tokens
from dashboard.errors import BadRequestError, MissingArrayError, RunShapeError, TextTooLongError
from dashboard.exports.run_files import open_run, save_run
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.views import all_views
from dashboard.views.declaration import View
from tests.support.synthetic import make_parts, make_run

VIEWS = [view for view in all_views() if view.name not in ("query-key", "norms")]  # which need more than the weights


def stored_parts(kind: Any = "causal") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of `make_parts`, with the weights in place of queries and keys."""
    header, arrays = make_parts(kind)
    run = ModelRun(header, arrays)
    stream = run.main.name
    weights = {
        f"{stream}/attention/{layer}": np.stack([run.attention(layer, head) for head in range(run.model.heads)])
        for layer in range(run.model.layers)
    }
    recipes = [
        {**recipe, "scaling": 1.0, "stored": f"attention/{layer}"}
        for layer, recipe in enumerate(header["recipes"][stream])
    ]
    left = {name: values for name, values in arrays.items() if "/query/" not in name and "/key/" not in name}
    return {**header, "recipes": {stream: recipes}}, left | weights


def context(run: ModelRun, view: View, second: int | None) -> Context:
    selection = Selection(run.key, token=3, second=second, layer=1, head=1).checked(run)
    return Context(run, selection, {control.name: control.default for control in view.controls})


def rounded(words: str) -> str:
    """Numbers to five digits: a row that is computed alone and one of all rows differ by a rounding."""
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.5g}", words)


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_shows_the_same(view: View, kind: Any) -> None:
    for second in (None, 1):
        seen = []
        for run in (make_run(kind), ModelRun(*stored_parts(kind))):
            try:
                drawn = go.Figure(view.draw(context(run, view, second)))
                seen.append((rounded(drawn.to_json()), rounded(str(view.text(context(run, view, second))))))
            except MissingArrayError as error:
                seen.append((type(error).__name__, str(error)))
        assert seen[0] == seen[1]


def test_one_head_and_one_row_are_what_is_stored() -> None:
    run, header_and_arrays = make_run(), stored_parts()
    stored = ModelRun(*header_and_arrays)
    for layer in range(2):
        for head in range(2):
            np.testing.assert_array_equal(stored.attention(layer, head), run.attention(layer, head))
    np.testing.assert_array_equal(stored.attention_rows(1, 0, 2, 4), run.attention(1, 0)[2:4])
    everywhere = [weights_everywhere(one.attention_of(), 3, 1) for one in (stored, run)]
    np.testing.assert_allclose(*everywhere, atol=1e-6)
    stored.attention(0, 0)[:] = 7
    np.testing.assert_array_equal(stored.attention(0, 0), run.attention(0, 0))


def test_queries_and_keys_are_said_to_be_unavailable() -> None:
    stored = ModelRun(*stored_parts()).attention_of()
    with pytest.raises(MissingArrayError, match="queries and keys are not available") as caught:
        stored.query_and_key(0)
    assert not caught.value.again, "running the text again would not give them"
    assert [values.shape for values in stored.made_of(0, 1)] == [stored.shape]
    assert len(make_run().attention_of().made_of(0, 1)) == 2


def test_a_row_that_is_not_finite_is_zero_where_it_may_not_look() -> None:
    header, arrays = stored_parts()
    arrays["decoder/attention/1"] = arrays["decoder/attention/1"].copy()
    arrays["decoder/attention/1"][0, 2] = np.nan
    row = ModelRun(header, arrays).attention(1, 0)[2]
    assert np.isnan(row[:3]).all()
    assert (row[3:] == 0).all()


def test_a_layer_of_another_shape_is_named() -> None:
    header, arrays = stored_parts()
    arrays["decoder/attention/0"] = arrays["decoder/attention/0"][:, :-1]
    with pytest.raises(RunShapeError, match="attention/0 is"):
        ModelRun(header, arrays).attention(0, 0)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_files_hold_the_weights_once(tmp_path: Path, kind: str) -> None:
    header, arrays = stored_parts()
    run = ModelRun(header, arrays)
    plain = save_run(run, tmp_path / f"plain.{kind}")
    asked = save_run(run, tmp_path / f"asked.{kind}", attention=True)
    for path in (plain, asked):
        opened = open_run(path)
        assert set(opened.arrays) == set(arrays)
        np.testing.assert_array_equal(opened.attention(1, 1), run.attention(1, 1))
        assert opened.recipe(1).stored == "attention/1"
    lacking = {name: values for name, values in arrays.items() if name != "decoder/attention/1"}
    with pytest.raises(BadRequestError, match="is not a run of this program, or was cut short"):
        open_run(save_run(ModelRun(header, lacking), tmp_path / f"lacking.{kind}"))


def test_the_store_gives_back_one_head_of_a_mapped_layer(tmp_path: Path) -> None:
    header, arrays = stored_parts()
    store = RunStore(tmp_path / "runs", 10**9)
    store.save(header["key"], header, arrays)
    opened = store.open(header["key"])
    np.testing.assert_array_equal(opened.attention(1, 0), arrays["decoder/attention/1"][0])
    assert not opened.arrays["decoder/attention/1"].flags.owndata


def test_headers_of_other_runs_say_nothing_of_stored_weights() -> None:
    header, _arrays = make_parts()
    assert all("stored" not in recipe for recipe in header["recipes"]["decoder"])


# how many tokens fit


def test_the_setting_has_the_default_that_python_has() -> None:
    assert Settings().weights_megabytes == WEIGHTS_MEGABYTES == 150


@pytest.mark.parametrize(
    ("layers", "heads", "megabytes", "fits"), [(12, 12, 150, 510), (28, 16, 150, 289), (1, 1, 4e-6, 1), (1, 1, 3e-6, 0)]
)
def test_how_many_tokens_fit(layers: int, heads: int, megabytes: float, fits: int) -> None:
    assert fitting_tokens(layers, heads, megabytes) == fits
    assert layers * heads * fits**2 * 4 <= megabytes * 1e6 < layers * heads * (fits + 1) ** 2 * 4
    check_weights(fits, "Tiny", layers, heads, megabytes)
    with pytest.raises(
        TextTooLongError, match=rf"{fits + 1} tokens; at most {fits} fit\. Tiny has its own attention code"
    ):
        check_weights(fits + 1, "Tiny", layers, heads, megabytes)
