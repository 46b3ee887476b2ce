"""The numbers and the device of a run: part of its key, said wherever it is shown, left out where nobody chose them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from dashboard.contracts.precision import own_dtype
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BadRequestError
from dashboard.exports.provenance import of_figure, of_run
from dashboard.exports.report import report
from dashboard.exports.token_table import clash, head_of
from dashboard.store.summary import RunSummary
from dashboard.views import all_views
from dashboard.views.run_info import describe_run
from dashboard.views.state import ViewState
from tests.support.synthetic import OneRun, make_parts, make_run

CARD = "cuda (NVIDIA H200)"


def run_in(dtype: str | None = None, device: str | None = None, **more: Any) -> ModelRun:
    header, arrays = make_parts(**more)
    said = {name: value for name, value in (("dtype", dtype), ("device", device)) if value}
    request = replace(RunRequest.from_json(header["request"]), dtype=dtype).to_json()
    return ModelRun({**header, **said, "request": request}, arrays)


def test_the_key_of_a_run_in_float32_is_what_it_always_was() -> None:
    plain = RunRequest("m", "text")
    assert RunRequest("m", "text", dtype="float32") == plain
    assert RunRequest.from_json({"model": "m", "text": "text"}) == plain, "a request of an earlier version"
    keys = {replace(plain, dtype=dtype).key("f") for dtype in (None, "bfloat16", "float16", "float64")}
    assert len(keys) == 4
    assert plain.key("f") == "78734953f610497e657155be763733a050284a503c1e959c5a4b3e37871720d2"
    half = RunRequest("m", "text", dtype="bfloat16")
    assert RunRequest.from_json(half.to_json()) == half


@pytest.mark.parametrize("dtype", ["int8", "", 2, ["bfloat16"], {}])
def test_numbers_that_are_none_are_refused(dtype: Any) -> None:
    with pytest.raises(BadRequestError, match="dtype is"):
        RunRequest.from_json({"model": "m", "text": "text", "dtype": dtype})


def test_the_numbers_of_files_are_those_of_their_configuration() -> None:
    assert own_dtype({"torch_dtype": "bfloat16"}) == "bfloat16"
    assert own_dtype({"dtype": "float16", "torch_dtype": "bfloat16"}) == "float16"
    assert own_dtype({"dtype": "torch.bfloat16"}) == "bfloat16"
    assert [own_dtype(config) for config in ({}, {"dtype": "float64"}, {"dtype": 3})] == ["float32"] * 3


def test_a_run_in_float32_on_the_cpu_says_nothing() -> None:
    run = make_run()
    assert (run.dtype, run.device) == ("float32", "cpu")
    assert "Computed in" not in dict(of_run(run).entries)
    assert "computed in" not in " ".join(of_run(run).brief)
    info = describe_run(run)
    assert (info["numbers"], info["plain"]) == (None, True)


@pytest.mark.parametrize("value", [3, ["bfloat16"], "int8", None, ""])
def test_a_header_that_says_something_else_is_read_as_float32(value: Any) -> None:
    header, arrays = make_parts()
    assert ModelRun({**header, "dtype": value}, arrays).dtype == "float32"


def test_a_run_in_bfloat16_is_marked_wherever_it_goes() -> None:
    run = run_in("bfloat16", CARD)
    assert (run.dtype, run.device) == ("bfloat16", CARD)
    assert dict(of_run(run).entries)["Computed in"] == f"bfloat16, on {CARD}"
    selection = Selection(run.key, token=1, layer=0, head=0)
    for provenance in (of_run(run), of_figure(run, selection, "Attention")):
        assert sum("computed in bfloat16" in line for line in provenance.brief) == 1
    assert describe_run(run)["numbers"] == "computed in bfloat16"
    assert RunSummary.of(run.key, run.header, os.stat(__file__)).title == "Tiny model, computed in bfloat16"
    views = all_views()
    page = report(
        ViewState.from_query({"run": run.key, "token": "1", "layer": "0", "head": "0"}, views), views, OneRun(run)
    )
    assert "causal model · computed in bfloat16" in page


def test_a_table_holds_rows_in_the_same_numbers_only() -> None:
    half, whole = head_of(run_in("bfloat16")), head_of(make_run())
    assert "# Computed in: bfloat16\r\n" in half
    assert "Computed in" not in whole
    weights = "not recorded"
    assert clash(half, "tiny", weights, "bfloat16") == clash(whole, "tiny", weights) == ""
    assert clash(half, "tiny", weights) == "holds rows computed in bfloat16; these would be computed in float32"
    assert "computed in float32; these would be computed in bfloat16" in clash(whole, "tiny", weights, "bfloat16")


def test_a_run_in_float32_on_a_gpu_names_the_card_and_has_no_mark() -> None:
    run = run_in(device=CARD)
    assert dict(of_run(run).entries)["Computed in"] == f"float32, on {CARD}"
    assert describe_run(run)["numbers"] is None


def test_the_form_can_ask_for_a_run_in_the_servers_own_numbers_only() -> None:
    half, whole = run_in("bfloat16"), make_run()
    plain = {
        (run.dtype, form): describe_run(run, form)["plain"]
        for run in (half, whole)
        for form in (None, "bfloat16", "auto")
    }
    assert plain == {
        ("bfloat16", None): False,
        ("bfloat16", "bfloat16"): True,
        ("bfloat16", "auto"): True,
        ("float32", None): True,
        ("float32", "bfloat16"): False,
        ("float32", "auto"): True,
    }
