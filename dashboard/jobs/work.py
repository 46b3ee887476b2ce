"""A worker's job functions and the models it keeps. The only module of `jobs` that needs torch, imported lazily.

A job function takes the spec's payload and a `JobContext`, puts its artifact into the run store and returns the
artifact's name. It reports through `job_context.progress`, which raises `JobCancelledError` if nobody waits any more.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.precision import AUTO, BYTES, CPU, FULL
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.errors import DashboardError, NoRoomError, NotReadyError
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

log = logging.getLogger(__name__)
WARM_UP = "C C"  # at least two tokens for every bundled model
Announce = Callable[..., object]  # changes fields of the worker's record: state, message, models


@dataclass(frozen=True)
class JobContext:
    """What a job function works with.

    Attributes:
        key: the job's name. store: where the artifact goes.
        progress: reports how far the job is; raises `JobCancelledError` if nobody waits.
        announce: changes the worker's record, which the page shows.
        give_way: runs all jobs that come before this one, if this is a long one: called between two of its steps.
    """

    key: str
    store: RunStore
    progress: OnProgress
    announce: Announce
    give_way: Callable[[], None] = lambda: None


class CrowdedError(Exception):
    """A model does not fit beside that of a job that gave way: that job must end first."""


Job = Callable[[Mapping[str, Any], JobContext], str]


@dataclass(frozen=True)
class Registry:
    """A worker's job functions by name; `prepare` is called once before the first."""

    jobs: Mapping[str, Job]
    prepare: Callable[[Announce], None] | None = None


def share_of(settings: Settings, number: int) -> Settings:
    """Return the settings of one of several workers: with a GPU for each, as far as there are any; `number` counts the
    workers from 0.
    """
    if settings.workers == 1 or settings.device == CPU:
        return settings
    from dashboard.capture.device import card_of

    return replace(settings, device=card_of(settings.device, number))


def registry(settings: Settings) -> Registry:
    """Return the worker's own registry: "capture" and "derive", around one set of resident models."""
    models = ResidentModels(settings)
    return Registry(
        jobs={
            "capture": lambda payload, job_context: capture(payload, job_context, models),
            "derive": lambda payload, job_context: derive(payload, job_context, models),
        },
        prepare=models.preload,
    )


class ResidentModels:
    """The models that a worker keeps in memory; the least recently used is dropped first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: OrderedDict[ModelRequest, LoadedModel] = OrderedDict()
        self._held: list[ModelRequest] = []  # in use by jobs that gave way: they stay
        self._own: dict[ModelRequest, ModelRequest] = {}  # with the dtype that "auto" led to

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(asked.name for asked in self._loaded))

    @property
    def weights_megabytes(self) -> float:
        """The most that one run's stored attention weights may take on this server."""
        return self._settings.weights_megabytes

    @property
    def most_tokens(self) -> int:
        """The most tokens that this server allows in one text."""
        return self._settings.max_tokens

    def preload(self, announce: Announce) -> None:
        """Load the default model before anyone asks for it, and run it once: a first run takes three times as long."""
        name = self._settings.default_model
        try:
            loaded = self._load(ModelRequest(name, dtype=self._settings.asked_dtype), announce)
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
    def held(self, asked: ModelRequest) -> Iterator[None]:
        """Keep this model in memory inside the block, whatever others need."""
        self._held.append(asked)
        try:
            yield
        finally:
            self._held.pop()

    def get(self, asked: ModelRequest, fingerprint: str | None, job_context: JobContext) -> LoadedModel:
        """Return a model, loading it unless it is here with these weights."""
        here = self._own.get(asked, asked)
        found = self._loaded.get(here)
        if found is not None and (not fingerprint or found.fingerprint == fingerprint):
            self._loaded.move_to_end(here)
            return found
        from dashboard.catalog.catalog import title_of

        job_context.progress(Progress("load", 0, 0, f"Loading {title_of(asked.name)}"))
        job_context.announce(state="loading")
        try:
            return self._load(asked, job_context.announce, job_context.progress)
        finally:
            job_context.announce(state="busy", message="")

    def _load(self, asked: ModelRequest, announce: Announce, progress: OnProgress | None = None) -> LoadedModel:
        from dashboard.catalog.catalog import title_of

        announce(message=f"Loading {title_of(asked.name)}")  # announce before importing torch, which takes seconds
        import torch

        from dashboard.capture.loader import load_model

        torch.set_num_threads(self._settings.worker_threads)
        self._loaded.pop(self._own.get(asked, asked), None)
        while len(self._loaded) >= self._settings.resident_models and self._leave():
            pass
        announce(models=self.names)
        start = time.perf_counter()
        while True:
            try:  # only catalog names: a request must not reach any other folder of this machine
                loaded = load_model(
                    asked.name,
                    settings=self._settings,
                    revision=asked.revision,
                    progress=progress,
                    folders=False,
                    brings=False,
                    tokenizer=asked.tokenizer,
                    dtype=asked.dtype or FULL,
                )
                break
            except NoRoomError as error:
                if not self._leave():
                    raise CrowdedError if self._held else error from error
                announce(models=self.names)
        log.info("model %s ready in %.1f s", asked.name, time.perf_counter() - start)
        here = replace(asked, dtype=loaded.asked_dtype)
        if asked.dtype == AUTO:
            self._own[asked] = here
        self._loaded[here] = loaded
        while len(self._loaded) > 1 and self._gigabytes() > self._settings.worker_gigabytes:
            if not self._leave(but=here):
                del self._loaded[here]
                raise CrowdedError
        announce(models=self.names, device="" if loaded.device == CPU else loaded.device)
        return loaded

    def _gigabytes(self) -> float:
        """The computer's memory that the models take; a card has its own."""
        from dashboard.catalog.memory import needed_gigabytes

        here = (loaded for loaded in self._loaded.values() if not loaded.device.startswith("cuda"))
        return sum(needed_gigabytes(loaded.info.parameters, BYTES[loaded.dtype]) for loaded in here)

    def _leave(self, but: ModelRequest | None = None) -> bool:
        """Drop the least recently used model that is not held; return False if there is none."""
        found = next((one for one in self._loaded if one not in self._held and one != but), None)
        if found is None:
            return False
        del self._loaded[found]
        gc.collect()  # free the memory before the next one needs it
        from dashboard.capture.device import free_unused

        free_unused()
        log.info("model %s leaves the memory", found.name)
        return True


def capture(payload: Mapping[str, Any], job_context: JobContext, models: ResidentModels) -> str:
    """Run a text and store the run; its key is that of the weights actually used.

    A run stored by an earlier version is computed again.
    """
    request = RunRequest.from_json(payload.get("request"))
    loaded = models.get(request.model_request, payload.get("fingerprint"), job_context)
    from dashboard.capture.chat import with_rendered

    request = with_rendered(loaded, replace(request, dtype=loaded.asked_dtype), models.most_tokens)
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
        weights_megabytes=models.weights_megabytes,
    )
    job_context.progress(Progress("save", 0, 1, "Saving the run"))
    job_context.announce(state="saving")
    job_context.store.save(run.key, run.header, run.arrays)
    return run.key


def derive(payload: Mapping[str, Any], job_context: JobContext, models: ResidentModels) -> str:
    """Compute a derived result of a stored run, and store it beside the run."""
    from dashboard.compute.deriving import check, compute

    asked = DerivedRequest.from_json(payload)
    run = job_context.store.open(asked.run)
    if job_context.store.derived(asked, run.stamp) is not None:
        return asked.name
    kind = check(run, asked)  # before a model is loaded
    loaded = models.get(run.request.model_request, run.header.get("fingerprint"), job_context)
    if kind.gives_way:
        with models.held(run.request.model_request):
            found = compute(loaded, run, asked, _giving_way(job_context))
    else:
        found = compute(loaded, run, asked, job_context.progress)
    job_context.store.save_derived(found, run.stamp)
    return asked.name


def _giving_way(job_context: JobContext) -> OnProgress:
    """Return a progress function that lets higher-ranked jobs go first, outside this job's torch contexts; but not in
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
