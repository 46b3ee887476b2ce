"""Query · key: the bars, the terms that add up to the score, and what cannot be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dashboard.contracts.context import Context
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import MissingArrayError
from dashboard.exports.figures import text_of
from dashboard.views.attention.query_key import VIEW
from tests.support.synthetic import array_of, make_parts, make_run
from tests.unit.views.test_stored_weights import stored_parts

PAIRS = np.array([[0, 2, 1], [1, 3, 0.01]], dtype=np.float32)


def rotary() -> ModelRun:
    header, arrays = make_parts("causal")
    return ModelRun(header, arrays | {f"decoder/rotary/{layer}": PAIRS for layer in range(2)})


def context(run: ModelRun, order: str = "size", second: int | None = 1, whole: bool = False) -> Context:
    return Context(run, Selection(run.key, 3, 1, 1, second), {"order": order, "show": "figure"}, whole=whole)


def products(run: ModelRun, key: int = 1) -> np.ndarray:
    """(d_head,) of token 3 and `key` in layer 1, head 1, whose key head is 0."""
    return run.arrays["decoder/query/1"][1, 3].astype(float) * run.arrays["decoder/key/1"][0, key].astype(float)


def bars(found: Context) -> list[float]:
    spec: Any = VIEW.draw(found)
    return list(array_of(spec["data"][0]["y"]).tolist())


def test_bars_are_the_products_in_the_chosen_order() -> None:
    run = rotary()
    wanted = products(run)
    assert bars(context(run)) == pytest.approx(sorted(wanted, key=lambda value: -abs(value)))
    assert bars(context(run, "dimension")) == pytest.approx(wanted)
    assert bars(context(run, "frequency")) == pytest.approx([wanted[0] + wanted[2], wanted[1] + wanted[3]])


def test_the_tables_rows_add_up_to_the_score_and_its_weight() -> None:
    run = rotary()
    assert VIEW.table is not None
    table = VIEW.table(context(run))
    assert table is not None
    rows = {str(row[0]): row for row in table.rows}
    wanted = products(run)
    amounts = [float(rows[name][3]) for name in ("0", "1", "2", "3", "Scaling (× 0.5)")]  # type: ignore[arg-type]
    assert amounts[:4] == pytest.approx(wanted)
    assert sum(amounts) == pytest.approx(rows["Score"][4])
    assert rows["Score"][4] == pytest.approx(wanted.sum() * 0.5)
    assert rows["Weight after the softmax"][4] == pytest.approx(run.attention(1, 1)[3, 1])
    assert table.title.startswith("Layer 1, head 1; query: token 3, key: token 1. Query and key after rotary embedding")


def test_every_row_of_a_turned_dimension_has_its_wavelength() -> None:
    for order, wanted in (("dimension", [6.2831853, 628.31853] * 2), ("frequency", [6.2831853, 628.31853])):
        assert VIEW.table is not None
        table = VIEW.table(context(rotary(), order, whole=True))
        assert table is not None
        assert [row[5] for row in list(table.rows)[: len(wanted)]] == pytest.approx(wanted)


def test_without_a_second_token_the_key_with_the_largest_weight_answers() -> None:
    run = rotary()
    best = int(run.attention(1, 1)[3].argmax())
    words = VIEW.text(context(run, second=None))
    assert text_of(words.title).endswith(f"({best}), which it attends to most")
    assert "Shift-click a token to choose another key." in text_of(words.caption)
    assert bars(context(run, "dimension", second=None)) == pytest.approx(products(run, best))


def test_a_pair_that_the_mask_forbids_says_so() -> None:
    run = rotary()
    found = context(run, second=5)
    footer = text_of(VIEW.text(found).footer)
    assert "mask −∞" in footer
    assert "= score −∞" in footer
    assert "weight 0" in footer
    assert text_of(list(VIEW.explain(found)[1])).endswith("the mask forbids this pair.")


def test_without_frequencies_the_order_is_that_of_the_dimensions_and_it_says_so() -> None:
    run = make_run("causal")
    found = context(run, "frequency")
    assert bars(found) == pytest.approx(products(run))
    caption = text_of(VIEW.text(found).caption)
    assert "not known here" in caption
    assert "after rotary embedding" not in caption
    assert "after rotary embedding" in text_of(VIEW.text(context(rotary())).caption)


def test_a_model_that_returns_no_queries_says_so() -> None:
    run = ModelRun(*stored_parts("causal"))
    for show in (VIEW.draw, VIEW.text, VIEW.table):
        with pytest.raises(MissingArrayError, match="its queries and keys are not available"):
            show(context(run))  # type: ignore[misc]
    assert VIEW.explanation(context(run)) == ()


def test_values_that_are_not_finite_have_no_bars() -> None:
    header, arrays = make_parts("causal")
    arrays["decoder/key/1"] = np.full_like(arrays["decoder/key/1"], np.nan)
    found = context(ModelRun(header, arrays), second=None)
    assert VIEW.draw(found) is None
    assert "not finite" in text_of(VIEW.text(found).message)


def test_the_explanation_says_how_many_dimensions_it_takes() -> None:
    run = rotary()
    what, pair, share = (text_of(list(sentence)).replace("\u00a0", " ") for sentence in VIEW.explain(context(run)))
    assert "their 4 dimensions one by one" in what
    assert f"weight is {run.attention(1, 1)[3, 1]:.4g}" in pair
    wanted = products(run)
    sums = np.cumsum(sorted(wanted, key=lambda value: -abs(value)))
    near = np.abs(sums - wanted.sum()) < 0.1 * abs(wanted.sum())
    first = next(i + 1 for i in range(4) if near[i:].all())
    assert share.startswith(f"{(wanted > 0).sum()} of the 4 products are positive;")
    assert share.endswith(f"after {first} of them.")
