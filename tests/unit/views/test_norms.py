"""Norms: the figure's numbers, the footer's, and what cannot be shown."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.exports.figures import text_of
from dashboard.views.attention.norms import VIEW
from tests.support.synthetic import block_vectors, make_parts, make_run, make_whole_run, passed_on, words_in
from tests.unit.views.test_stored_weights import stored_parts


def context(run: ModelRun, heads: str = "one", value: str = "norm", **more: Any) -> Context:
    selection = Selection(run.key, more.pop("token", 3), 1, 1, more.pop("second", 1))
    return Context(run, selection, {"heads": heads, "value": value, "show": "figure"}, **more)


def wanted(run: ModelRun, heads: str) -> np.ndarray:
    """(query, key) of layer 1: head 1, or all heads; from every vector, in float64."""
    f = passed_on(run)[1]
    weights = np.stack([run.attention(1, head) for head in range(2)]).astype(float)
    vectors = weights[..., None] * f[:, None]
    return np.linalg.norm(vectors[1] if heads == "one" else vectors.sum(axis=0), axis=-1)


def wanted_of_block(run: ModelRun, stage: str) -> np.ndarray:
    """(query, key) of layer 1 with the residual connection, or past LayerNorm."""
    return np.asarray(np.linalg.norm(block_vectors(run, 1)[0][("residual", "layernorm").index(stage)], axis=-1))


def mixing_ratio(run: ModelRun, stage: str) -> np.ndarray:
    """(token,) of layer 1: all other tokens' vectors as one against the token's own (Kobayashi et al. 2021)."""
    vectors = block_vectors(run, 1)[0][("residual", "layernorm").index(stage)]
    own = np.stack([vectors[i, i] for i in range(len(vectors))])
    others, itself = (np.linalg.norm(one, axis=-1) for one in (vectors.sum(axis=1) - own, own))
    return np.asarray(others / (others + itself))


def exact(found: Context) -> np.ndarray:
    spec: Any = VIEW.draw(found)
    rows = np.frombuffer(base64.b64decode(spec["layout"]["meta"]["exact"]), np.float32)
    return rows.reshape(spec["layout"]["meta"]["shape"])


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
@pytest.mark.parametrize("heads", ["one", "all"])
def test_each_cell_is_the_length_of_a_vector(kind: Any, heads: str) -> None:
    run = make_whole_run(kind)
    np.testing.assert_allclose(exact(context(run, heads)), wanted(run, heads), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "heads"), [("causal", "residual"), ("masked", "residual"), ("encoder", "layernorm")])
def test_with_residual_and_layernorm_each_cell_is_the_length_of_a_vector(kind: Any, heads: str) -> None:
    run = make_whole_run(kind)
    np.testing.assert_allclose(exact(context(run, heads)), wanted_of_block(run, heads), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", ["residual", "layernorm"])
def test_the_mixing_ratio_is_said_and_in_the_table(heads: str) -> None:
    run = make_whole_run("masked")
    ratio, cells = mixing_ratio(run, heads), wanted_of_block(run, heads)
    words = VIEW.text(context(run, heads))
    footer, title = text_of(words.footer).replace("\u00a0", " "), text_of(words.title)
    assert f"mixing ratio {100 * ratio[3]:.1f} %" in footer
    assert f"from itself {cells[3, 3]:.3g}" in footer
    assert "all heads with residual connection" in title
    assert ("LayerNorm" in title) is (heads == "layernorm")
    told = text_of(list(VIEW.explain(context(run, heads))[2])).replace("\u00a0", " ")
    assert f"a mixing ratio of {100 * ratio[3]:.1f} %" in told
    assert VIEW.table is not None
    page, whole = VIEW.table(context(run, heads)), VIEW.table(context(run, heads, whole=True))
    assert page is not None
    assert whole is not None
    assert [column.name for column in page.columns] == ["Key", "Token", "Mean weight", "Norm", "Its own mixing ratio"]
    assert [row[-1] for row in page.rows] == pytest.approx(ratio, rel=1e-4)
    pairs = list(whole.rows)
    assert whole.columns[-1].name == "Mixing ratio of the query"
    assert pairs[3 * 6 + 1][-2:] == pytest.approx((cells[3, 1], ratio[3]), rel=1e-4)


def test_a_pre_norm_model_has_no_norms_past_layernorm() -> None:
    run = make_whole_run("causal")
    message = text_of(VIEW.text(context(run, "layernorm")).message)
    assert "no LayerNorm follows the sum of attention and residual connection" in message
    assert "Choose “All heads and residual connection” in Options." in message
    assert VIEW.draw(context(run, "layernorm")) is None
    assert "no LayerNorm follows" in text_of(list(VIEW.explain(context(run, "layernorm"))[1]))


def test_a_layer_without_a_plain_sum_says_so() -> None:
    run = make_whole_run("causal")
    nothing = np.full((2, 2, 6), np.nan, dtype=np.float32)
    request = DerivedRequest.of(run.key, "block-norms")
    unknown = Derived(request, {"own": nothing, "others": nothing, "deviation": nothing[0]}, {})
    bare = run.with_derived([run.derived(DerivedRequest.of(run.key, "attention-norms")), unknown])  # type: ignore[list-item]
    message = text_of(VIEW.text(context(bare, "residual")).message)
    assert "In layer 1, no plain sum of attention and residual connection was found" in message
    assert "Choose “All heads of its layer” in Options." in message


def test_a_result_of_an_earlier_version_serves_and_only_the_rest_is_computed() -> None:
    """Earlier versions stored "attention-norms" alone."""
    whole = make_whole_run("masked")
    norms = whole.derived(DerivedRequest.of(whole.key, "attention-norms"))
    assert norms is not None
    run = make_run("masked").with_derived([norms])
    assert VIEW.draw(context(run, "all")) is not None
    assert VIEW.awaits(context(run, "all")) == ()
    assert [asked.kind for asked in VIEW.awaits(context(run, "layernorm"))] == ["block-norms"]
    assert VIEW.text(context(run, "layernorm")).waiting


def test_weights_alone_are_those_of_the_head_or_their_mean() -> None:
    run = make_whole_run("causal")
    np.testing.assert_allclose(exact(context(run, "one", "weight")), run.attention(1, 1), atol=1e-6)
    mean = (run.attention(1, 0) + run.attention(1, 1)) / 2
    np.testing.assert_allclose(exact(context(run, "all", "weight")), mean, atol=1e-6)


def test_the_footer_multiplies() -> None:
    run = make_whole_run("causal")
    footer = text_of(VIEW.text(context(run)).footer)
    norm = np.linalg.norm(passed_on(run)[1, 1, 1])
    assert f"norm {wanted(run, 'one')[3, 1]:.3g}" in footer
    assert f"weight {run.attention(1, 1)[3, 1]:.3g}" in footer
    assert f"‖f(x)‖ {norm:.3g}" in footer
    longest = int(wanted(run, "one")[3].argmax())
    assert f"({longest})" in text_of(VIEW.text(context(run, second=None)).footer)


def test_tables() -> None:
    run = make_whole_run("causal")
    assert VIEW.table is not None
    page, whole = VIEW.table(context(run)), VIEW.table(context(run, "all", whole=True))
    assert page is not None
    assert whole is not None
    rows = list(page.rows)
    assert [row[-1] for row in rows[:4]] == pytest.approx(wanted(run, "one")[3, :4], rel=1e-4)
    assert rows[5][2] is None  # the mask forbids it
    pairs = list(whole.rows)
    assert len(pairs) == 36
    assert pairs[3 * 6 + 1][-1] == pytest.approx(wanted(run, "all")[3, 1], rel=1e-4)


def test_what_is_not_there_is_said() -> None:
    run = make_run("causal")
    waiting = VIEW.text(context(run))
    assert waiting.waiting
    assert VIEW.draw(context(run)) is None
    stored = ModelRun(*stored_parts("causal"))
    assert "has its own attention code" in text_of(VIEW.text(context(stored)).message)
    assert VIEW.needs is not None
    assert VIEW.needs(context(stored)) == ()
    norms = np.ones((2, 2, 6), dtype=np.float32)
    norms[1] = np.nan
    request = DerivedRequest.of(run.key, "attention-norms")
    unknown = run.with_derived([Derived(request, {"norms": norms}, {})])
    assert "The output projection of layer 1 is not known" in text_of(VIEW.text(context(unknown)).message)
    without = run.with_derived([Derived(request, {"norms": np.ones((2, 2, 6), dtype=np.float32)}, {})])
    assert "Choose one head in Options" in text_of(VIEW.text(context(without, "all")).message)
    assert VIEW.draw(context(without, "one")) is not None


def test_the_explanation_compares_norm_and_weight() -> None:
    run = make_whole_run("causal")
    _what, most, other = (text_of(list(one)).replace("\u00a0", " ") for one in VIEW.explain(context(run)))
    norms, weights = wanted(run, "one")[3], run.attention(1, 1)[3]
    assert f"({norms.argmax()}): norm {norms.max():.3g}, at a weight of {weights[norms.argmax()]:.3g}." in most
    if norms.argmax() == weights.argmax():
        assert other == "The largest weight is on the same token."
    else:
        assert f"The largest weight, {weights.max():.3g}, is on" in other


def test_the_exported_figure_has_the_pages_numbers() -> None:
    run = make_whole_run("causal")
    figure: Any = VIEW.export(context(run)) if VIEW.export else None
    told = np.asarray(figure.data[0].customdata)[3, 1, 2]
    assert float(told) == pytest.approx(wanted(run, "one")[3, 1], rel=1e-4)


def test_the_exported_figure_has_the_residual_connection_and_layernorm() -> None:
    run = make_whole_run("masked")
    figure: Any = VIEW.export(context(run, "layernorm")) if VIEW.export else None
    told = np.asarray(figure.data[0].customdata)[..., 2].astype(float)
    np.testing.assert_allclose(told, wanted_of_block(run, "layernorm"), rtol=1e-4)


@pytest.mark.parametrize("heads", ["one", "layernorm"])
def test_a_run_with_corrected_numbers_offers_to_run_again(heads: str) -> None:
    header, arrays = make_parts("encoder")
    asked = context(ModelRun({**header, "corrected": ["something"]}, arrays), heads)
    assert VIEW.wanted(asked) == ()
    with pytest.raises(MissingArrayError, match="Run the text again"):
        VIEW.text(asked)


def test_each_of_two_results_says_what_it_is() -> None:
    words = VIEW.text(context(make_run("encoder"), "layernorm"))
    assert words.waiting
    said = [words_in(part) for part in words.message]
    assert len(set(said)) == len(said) == 2
    assert "what the residual connection and LayerNorm make of it" in said[1]
