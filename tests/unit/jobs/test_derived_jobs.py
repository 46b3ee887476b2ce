"""Which jobs the page's set of derived results becomes: one that is refused says why, and holds up no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.job import Rank
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, ModelNotFoundError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.web.callbacks import derived_jobs
from dashboard.web.services import Services
from tests.support.synthetic import make_run


class Catalog:
    """Knows no model."""

    def readiness(self, *_asked: object) -> Any:
        raise ModelNotFoundError("No such model.")


@pytest.fixture
def run() -> ModelRun:
    return make_run("masked")


@pytest.fixture
def services(tmp_path: Path, run: ModelRun) -> Services:
    services = Services(Settings(cache_dir=tmp_path), RunStore(tmp_path / "runs", 10**9), Catalog())  # type: ignore[arg-type]
    services.store.save(run.key, run.header, run.arrays)
    return services


def want(run: str, kind: str, **parameters: Any) -> dict[str, Any]:
    """As the page sends it."""
    request = DerivedRequest.of(run, kind, **parameters)
    return {"name": request.name, **request.to_json()}


def test_a_result_that_is_refused_holds_up_no_other(services: Services, run: ModelRun) -> None:
    there = DerivedRequest.of(run.key, "masked-prediction", position=2)
    services.store.save_derived(Derived(there, {"a": np.zeros(1)}, {}))
    good = [want(run.key, "masked-prediction", position=1), want(run.key, "logit-lens")]
    bad = {
        "There is no token 999 in this run": want(run.key, "masked-prediction", position=999),
        "There is no derived result “nothing”": want(run.key, "nothing"),
        "takes these parameters: position. Given were: none": want(run.key, "masked-prediction"),
        "This server no longer has that run": want("f" * 64, "masked-prediction", position=1),
        "parameters that cannot be read": {**want(run.key, "nothing", text="x"), "parameters": {"text": "x" * 3_000}},
    }
    found = derived_jobs(services, [*bad.values(), {"name": there.name, **there.to_json()}, *good])
    ranks = [(good[0]["name"], Rank.QUICK), (good[1]["name"], Rank.LONG)]
    assert [(spec.artifact, spec.rank) for spec in found.specs] == ranks
    assert set(found.refused) == {one["name"] for one in bad.values()}
    for words, one in bad.items():
        assert re.search(words, str(found.refused[one["name"]]))


@pytest.mark.parametrize("unread", [None, 5, {}, {"name": "x"}, {"name": ["a"]}, {"name": "0" * 64 + ".x/../y"}])
def test_what_has_no_name_by_which_the_page_knows_it_refuses_the_whole_set(
    services: Services, run: ModelRun, unread: object
) -> None:
    with pytest.raises(BadRequestError, match="Reload the page"):
        derived_jobs(services, [want(run.key, "logit-lens"), unread])


def test_two_runs_of_a_model_share_one_job_and_one_result(services: Services, run: ModelRun) -> None:
    """The probe of a model's heads belongs to no text."""
    header = {**run.header, "fingerprint": "weights"}
    services.store.save(run.key, header, run.arrays)
    second = ModelRun({**header, "key": "e" * 64}, run.arrays)
    services.store.save(second.key, second.header, run.arrays)
    requests = [DerivedRequest(key, "head-probe", model=second.model_key) for key in (run.key, second.key)]
    [one], [other] = (derived_jobs(services, [{"name": ask.name, **ask.to_json()}]).specs for ask in requests)
    assert one.key == other.key == requests[0].name
    assert one.payload["run"] != other.payload["run"]
    services.store.save_derived(Derived(requests[0], {"a": np.zeros(1)}, {}))
    assert derived_jobs(services, [{"name": requests[1].name, **requests[1].to_json()}]).specs == ()
    forged = DerivedRequest(run.key, "head-probe", model="f" * 64)
    found = derived_jobs(services, [{"name": forged.name, **forged.to_json()}])
    assert "another run or model" in str(found.refused[forged.name])


def test_two_captures_of_a_run_have_two_jobs_for_one_result(services: Services, run: ModelRun) -> None:
    """Who asks for the result of the new one does not wait for that of the old one, which will be refused."""
    one = want(run.key, "masked-prediction", position=1)
    [old] = derived_jobs(services, [one]).specs
    services.store.save(run.key, {**run.header, "stamp": "the-second"}, run.arrays)
    [new] = derived_jobs(services, [one]).specs
    assert old.key != new.key
    assert old.artifact == new.artifact == one["name"]
