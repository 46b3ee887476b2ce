"""docs/adding-a-derived-result.md, carried out: a kind, a view, and the way from one to the other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dashboard.compute
import dashboard.views
from dashboard.capture.capture import capture_run
from dashboard.compute import all_kinds, kind_named
from dashboard.compute.deriving import derive
from dashboard.contracts.context import Context
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import Progress
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import BadRequestError, BadSelectionError, JobCancelledError, MissingArrayError, ModelError
from dashboard.jobs.work import JobContext
from dashboard.jobs.work import derive as worker_derives
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.views import all_views
from dashboard.views.declaration import View
from dashboard.views.library import context_of
from dashboard.views.state import ViewState
from dashboard.web.services import Services
from tests.support.tiny_models import eager_twin, tiny, words

DOC = Path(__file__).resolve().parents[2] / "docs" / "adding-a-derived-result.md"
BLOCK = re.compile(r"<!-- runs: (?P<how>[\w/.-]+) -->\n```python\n(?P<code>.*?)```", re.S)
NAME = "shorter-context"


@pytest.fixture(autouse=True)
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """The program with the new kind, and its view."""
    for found in BLOCK.finditer(DOC.read_text(encoding="utf-8")):
        path = tmp_path / "added" / found["how"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found["code"], encoding="utf-8")
    for package in (dashboard.compute, dashboard.views):
        folder = tmp_path / "added" / package.__name__.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield next(view for view in all_views() if view.name == "earlier")
    for package in (dashboard.compute, dashboard.views):
        sys.modules.pop(f"{package.__name__}.shorter_context", None)
        vars(package).pop("shorter_context", None)


@pytest.fixture
def run() -> ModelRun:
    return capture_run(tiny("llama"), words(9))


def by_hugging_face(run: ModelRun, first: int) -> np.ndarray:
    """log p of each token after `first`, by a plain forward of the tokens from there on."""
    ids = torch.tensor([[token.id for token in run.tokens[first:]]])
    with torch.inference_mode():
        logits = eager_twin("llama", tiny("llama"))(input_ids=ids).logits[0].double()
    return np.array([float(torch.log_softmax(logits[i], -1)[ids[0, i + 1]]) for i in range(ids.shape[1] - 1)])


def test_it_is_found_and_computed_in_python(run: ModelRun) -> None:
    assert NAME in all_kinds()
    found = derive(tiny("llama"), run, NAME, first=3)
    assert np.isnan(found[:4]).all()
    np.testing.assert_allclose(found[4:], by_hugging_face(run, 3), atol=1e-5)


def test_a_card_waits_for_it_and_then_shows_it(view: View, run: ModelRun, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    store.save(run.key, run.header, run.arrays)
    services = Services(Settings(cache_dir=tmp_path), store, None)  # type: ignore[arg-type]
    state = ViewState(Selection(run.key, 3, 0, 0), {"earlier": {}})
    before = context_of(view, state, services)
    [awaited] = view.awaits(before)
    assert awaited == DerivedRequest.of(run.key, NAME, first=3)
    assert view.draw(before) is None
    assert awaited.name in str(view.text(before).message)
    assert view.text(before).waiting

    class Models:
        def get(self, *_asked: object) -> Any:
            return tiny("llama")

    said: list[Progress] = []
    job_context = JobContext(awaited.name, store, said.append, lambda **_changes: None)
    assert worker_derives(awaited.to_json(), job_context, Models()) == awaited.name  # type: ignore[arg-type]
    at_each_step = ["Reading the text from token 3 on"] * (1 + run.model.layers)
    assert [progress.message for progress in said] == at_each_step
    assert worker_derives(awaited.to_json(), job_context, None) == awaited.name, "once for everyone"  # type: ignore[arg-type]

    after = context_of(view, state, services)
    assert view.awaits(after) == ()
    figure: Any = view.draw(after)
    assert run.surprisal is not None
    expected = -run.surprisal[4:] - by_hugging_face(run, 3)
    np.testing.assert_allclose(np.array(figure.data[0].y, dtype=float)[4:], expected, atol=1e-5)
    assert not view.text(after).waiting
    store.delete(run.key)
    assert not list((tmp_path / "runs").glob(f"{run.key}*")), "it leaves with its run"


def test_what_stops_it_reaches_the_caller(run: ModelRun) -> None:
    def stop(_progress: Progress) -> None:
        raise JobCancelledError("enough")

    with pytest.raises(JobCancelledError):
        derive(tiny("llama"), run, NAME, stop, first=3)


@pytest.mark.parametrize(
    ("parameters", "error", "words_"),
    [
        ({}, BadRequestError, "takes these parameters: first. Given were: none. Give exactly those."),
        ({"first": 3, "more": 1}, BadRequestError, "takes these parameters: first. Given were: first, more."),
        ({"first": "3"}, BadRequestError, "first is '3'; give a whole number, 0 or more."),
        ({"first": True}, BadRequestError, "first is True; give a whole number, 0 or more."),
        ({"first": 99}, BadSelectionError, "There is no token 99 in this run"),
    ],
)
def test_parameters_are_checked(run: ModelRun, parameters: dict[str, Any], error: type[Exception], words_: str) -> None:
    with pytest.raises(error, match=re.escape(words_)):
        derive(tiny("llama"), run, NAME, **parameters)


def test_what_cannot_be_had_is_a_named_error(run: ModelRun) -> None:
    masked = capture_run(tiny("bert"), words(9))
    with pytest.raises(MissingArrayError, match="does not predict the next token"):
        derive(tiny("bert"), masked, NAME, first=1)
    ours = "attention-aggregate, attention-norms, block-norms, head-probe, logit-lens, masked-prediction, position-lens"
    names = f"{ours}, shorter-context"
    with pytest.raises(BadRequestError, match=rf"no derived result “nothing”\. Choose one of {names}\."):
        kind_named("nothing")
    with pytest.raises(ModelError, match="its weights, its configuration or its tokenizer differ"):
        derive(tiny("gpt2"), run, NAME, first=1)


def test_a_view_that_looks_at_a_masked_model_says_why_it_shows_nothing(view: View) -> None:
    masked = capture_run(tiny("bert"), words(9))
    context = Context(masked, Selection(masked.key, 1, 0, 0), {})
    assert view.awaits(context) == ()
    assert view.draw(context) is None
    assert "does not predict the next token" in str(view.text(context).message)


def test_a_masked_prediction_is_hugging_faces() -> None:
    """Plain eager Hugging Face, float32, with the mask's id put there by hand."""
    loaded = tiny("bert")
    run = capture_run(loaded, words(9))
    found = derive(loaded, run, "masked-prediction", position=4)
    ids = torch.tensor([[token.id for token in run.tokens]])
    ids[0, 4] = loaded.tokenizer.mask_token_id
    with torch.inference_mode():
        logprobs = torch.log_softmax(eager_twin("bert", loaded)(input_ids=ids).logits[0, 4].double(), -1)
    best = [int(i) for i in logprobs.argsort(descending=True)[:5]]
    assert [candidate.id for candidate in found.candidates[:5]] == best
    assert [candidate.logprob for candidate in found.candidates[:5]] == pytest.approx(
        [float(logprobs[i]) for i in best], abs=1e-4
    )
    assert found.actual.logprob == pytest.approx(float(logprobs[run.tokens[4].id]), abs=1e-4)
