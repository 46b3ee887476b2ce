"""Requests of results that belong to a run, and of those that belong to its model."""

from __future__ import annotations

import pytest

from dashboard.contracts.derived import DerivedRequest, is_result_name, model_key
from dashboard.errors import BadRequestError

RUN, OTHER = "a" * 64, "b" * 64
MODEL = model_key("weights", "float32")


def test_runs_of_a_model_share_the_name_of_its_result() -> None:
    one, second = (DerivedRequest(run, "head-probe", model=MODEL) for run in (RUN, OTHER))
    assert one.name == second.name == f"{MODEL}.{one.suffix}"
    assert is_result_name(one.name)
    assert one.asks_like(second)
    assert one != second, "each says through which run it was asked"
    assert not DerivedRequest(RUN, "head-probe").asks_like(DerivedRequest(OTHER, "head-probe"))


def test_a_request_survives_json_and_others_have_no_model_in_theirs() -> None:
    request = DerivedRequest(RUN, "head-probe", model=MODEL)
    assert DerivedRequest.from_json(request.to_json()) == request
    assert DerivedRequest.of(RUN, "logit-lens").to_json() == {"run": RUN, "kind": "logit-lens", "parameters": {}}


@pytest.mark.parametrize("model", ["x", None, 5, RUN.upper(), [], f"{RUN}.x"])
def test_what_is_no_key_is_refused(model: object) -> None:
    with pytest.raises(BadRequestError, match="Reload the page"):
        DerivedRequest.from_json({"run": RUN, "kind": "head-probe", "parameters": {}, "model": model})


def test_a_models_key_is_of_its_weights_and_numbers() -> None:
    assert len({MODEL, model_key("weights", "bfloat16"), model_key("others", "float32")}) == 3
    assert model_key("weights", "float32") == MODEL
