"""What a worker does: the job functions and the models it keeps. The only module of `jobs` that needs torch, lazily.

A job function takes the spec's payload and a `JobContext`, leaves its artifact in the run store and returns the
artifact's name. It reports through `job_context.progress`, which raises `JobCancelledError` when nobody waits any more.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.request import RunRequest
from dashboard.errors import DashboardError, NoRoomError, NotReadyError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

log = logging.getLogger(__name__)
WARM_UP = "C C"  # two tokens or more for every bundled model
Announce = Callable[..., object]  # changes fields of the worker's record: state, message, models


@dataclass(frozen=True)
class JobContext:
    """What a job function works with.

    Attributes:
        key: the job's name. store: where the artifact goes.
        progress: tells where the job is; raises `JobCancelledError` when nobody waits.
        announce: changes the worker's record, which the page shows.
        give_way: does all that comes before this job, if it is a long one: called between two of its steps.
    """

    key: str
    store: RunStore
    progress: OnProgress
    announce: Announce
    give_way: Callable[[], None] = lambda: None


class CrowdedError(Exception):
    """A model has no room beside that of a job that gave way: that job must end before."""


Job = Callable[[Mapping[str, Any], JobContext], str]


@dataclass(frozen=True)
class Registry:
    """The job functions of a worker by name; `prepare` is called once before the first."""

    jobs: Mapping[str, Job]
    prepare: Callable[[Announce], None] | None = None


def registry(settings: Settings) -> Registry:
    """The worker's own registry: "capture" and "derive", around one set of resident models."""
    models = ResidentModels(settings)
    return Registry(
        jobs={
            "capture": lambda payload, job_context: capture(payload, job_context, models),
            "derive": lambda payload, job_context: derive(payload, job_context, models),
        },
        prepare=models.preload,
    )


class ResidentModels:
    """The models that a worker keeps in memory; the least recently used leaves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: OrderedDict[tuple[str, str | None], LoadedModel] = OrderedDict()
        self._held: list[tuple[str, str | None]] = []  # by jobs that gave way: they stay

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _revision in self._loaded))

    @property
    def most_tokens(self) -> int:
        """The most tokens of one text on this server."""
        return self._settings.max_tokens

    def preload(self, announce: Announce) -> None:
        """Load the default model before anyone asks for it, and run it once: the first run costs three times the
        second."""
        name = self._settings.default_model
        try:
            loaded = self._load(name, None, announce)
        except NotReadyError:
            log.info("model %s is made ready with its first run", name)
            announce(message="")
            return
        from dashboard.capture.capture import capture_run

        try:
            capture_run(loaded, WARM_UP, request=RunRequest(name, WARM_UP))
        except DashboardError as error:
            log.warning("model %s could not be warmed up: %s", name, error)
        announce(message="")

    @contextlib.contextmanager
    def held(self, name: str, revision: str | None) -> Iterator[None]:
        """Inside the block, this model stays in memory, whatever others need."""
        self._held.append((name, revision))
        try:
            yield
        finally:
            self._held.pop()

    def get(self, name: str, revision: str | None, fingerprint: str | None, job_context: JobContext) -> LoadedModel:
        """A model, loaded unless it is here with these weights."""
        found = self._loaded.get((name, revision))
        if found is not None and (not fingerprint or found.fingerprint == fingerprint):
            self._loaded.move_to_end((name, revision))
            return found
        from dashboard.catalog.catalog import title_of

        job_context.progress(Progress("load", 0, 0, f"Loading {title_of(name)}"))
        job_context.announce(state="loading")
        try:
            return self._load(name, revision, job_context.announce, job_context.progress)
        finally:
            job_context.announce(state="busy", message="")

    def _load(
        self, name: str, revision: str | None, announce: Announce, progress: OnProgress | None = None
    ) -> LoadedModel:
        from dashboard.catalog.catalog import title_of

        announce(message=f"Loading {title_of(name)}")  # before torch, which takes seconds to import
        import torch

        from dashboard.capture.loader import load_model

        torch.set_num_threads(self._settings.worker_threads)
        self._loaded.pop((name, revision), None)
        while len(self._loaded) >= self._settings.resident_models and self._leave():
            pass
        announce(models=self.names)
        start = time.perf_counter()
        while True:
            try:  # names of the catalog only: a request must not lead to another folder of this machine
                loaded = load_model(
                    name, settings=self._settings, revision=revision, progress=progress, folders=False, brings=False
                )
                break
            except NoRoomError as error:
                if not self._leave():
                    raise CrowdedError if self._held else error from error
                announce(models=self.names)
        log.info("model %s ready in %.1f s", name, time.perf_counter() - start)
        self._loaded[name, revision] = loaded
        while len(self._loaded) > 1 and self._gigabytes() > self._settings.worker_gigabytes:
            if not self._leave(but=(name, revision)):
                del self._loaded[name, revision]
                raise CrowdedError
        announce(models=self.names)
        return loaded

    def _gigabytes(self) -> float:
        from dashboard.catalog.memory import needed_gigabytes

        return sum(needed_gigabytes(loaded.info.parameters) for loaded in self._loaded.values())

    def _leave(self, but: tuple[str, str | None] | None = None) -> bool:
        """Forget the model that was used least recently and is not held; False where there is none."""
        found = next((one for one in self._loaded if one not in self._held and one != but), None)
        if found is None:
            return False
        del self._loaded[found]
        gc.collect()  # before the next one needs the room
        log.info("model %s leaves the memory", found[0])
        return True


def capture(payload: Mapping[str, Any], job_context: JobContext, models: ResidentModels) -> str:
    """Run a text and keep the run; its key is that of the weights that were really used. A run of an earlier version is
    computed again.
    """
    request = RunRequest.from_json(payload.get("request"))
    loaded = models.get(request.model, request.revision, payload.get("fingerprint"), job_context)
    key = request.key(loaded.fingerprint)
    if job_context.store.is_current(key):
        return key
    from dashboard.capture.capture import capture_run

    run = capture_run(
        loaded,
        request.text,
        request.text_pair,
        progress=job_context.progress,
        request=request,
        max_tokens=models.most_tokens,
    )
    job_context.progress(Progress("save", 0, 1, "Saving the run"))
    job_context.announce(state="saving")
    job_context.store.save(run.key, run.header, run.arrays)
    return run.key


def derive(payload: Mapping[str, Any], job_context: JobContext, models: ResidentModels) -> str:
    """Compute a derived result of a kept run, and keep it beside the run."""
    from dashboard.compute.deriving import check, compute

    asked = DerivedRequest.from_json(payload)
    run = job_context.store.open(asked.run)
    if job_context.store.derived(asked, run.stamp) is not None:
        return asked.name
    kind, request = check(run, asked), run.request  # before a model is loaded
    loaded = models.get(request.model, request.revision, run.header.get("fingerprint"), job_context)
    if kind.gives_way:
        with models.held(request.model, request.revision):
            found = compute(loaded, run, asked, _giving_way(job_context))
    else:
        found = compute(loaded, run, asked, job_context.progress)
    job_context.store.save_derived(found, run.stamp)
    return asked.name


def _giving_way(job_context: JobContext) -> OnProgress:
    """Tells where a job is, and lets what comes before it go first, outside of what torch was told for this job; not in
    the middle of a forward, while the model has hooks.
    """
    import torch

    from dashboard.capture.model_probe import has_hooks

    def report(progress: Progress) -> None:
        job_context.progress(progress)
        if has_hooks():
            return
        with torch.inference_mode(False), torch.enable_grad():
            job_context.give_way()

    return report
