"""Dash's background callbacks on resident workers: no process per job, one computation per run, errors as results.

A callback registered with `background=True` is a builder: it runs in the web process, reads the form and returns a
`JobSpec`. The handle that Dash signs and hands to the page is a subscription's id. The page's one output gets:

    {"run": KEY, "stamp": …, "job": "capture", "serial": …}      KEY is in the run store, and that is its run's stamp
    {"error": sentence, "details": …, "kind": "TextTooLongError", "cancelled": false, "retry": false, "job": …,
     "key": …, "serial": …}

A builder may return a `JobSet` instead: then the page watches a set of jobs, each with a state of its own. Progress and
outcome are {"watched": {KEY: state}}: {"run": …} and {"error": …} as above, or the progress of a job that goes on. The
outcome comes once no job goes on. The page names itself and counts its sets (`page`, `serial` in the callback's first
argument), so that a set replaces the previous one even if its request overtakes the previous request; jobs in both sets
go on.

`retry` says whether running again may help; `key` is the job's, empty if the failure came before there was one.
`serial` differs from one submit to the next, so that the same outcome twice counts as two changes. Progress goes to one
output, as {"phase", "done", "total", "message", "seconds"} and, while queued, "ahead".
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from dash import no_update
from dash.background_callback.managers import BaseBackgroundCallbackManager
from dash.exceptions import PreventUpdate

from dashboard.contracts.job import JobSet, JobSpec, artifact_of
from dashboard.errors import BadRequestError, DashboardError, QueueFullError, StorageError, said, unforeseen
from dashboard.jobs.backend import Done, Failed, JobBackend, Outcome, State, Unasked, Underway, Watched, watched_as
from dashboard.jobs.failure import JobFailure
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.secret import SECRET_FILE, Secret

log = logging.getLogger(__name__)
T = TypeVar("T")
Builder = Callable[[Any], JobSpec | JobSet | None]
HOLD_SECONDS = 0.1  # how long to hold back the answer to a waiting page
LOOK_SECONDS = 0.004  # between two checks meanwhile
SET = "set-"  # prefix of the handle of a set of jobs
PAGE = re.compile(r"[0-9a-f]{32}")
SAFE = 2**53  # whole numbers below it are exact in a browser
NO_UPDATE = {"_dash_no_update": "_dash_no_update"}  # Dash's own form
UNTAKEN = "untaken-"  # prefix of a handle that carries its outcome, because storing it failed


class ResidentWorkerManager(BaseBackgroundCallbackManager):
    """One manager for the whole app: Dash cancels through the app's manager, whatever a callback says.

    It stores nothing itself: everything that outlasts a request is in the backend, which every web process asks.

    `visitor` returns the name of the visitor who makes the current request; visitors take turns.
    """

    def __init__(
        self, backend: JobBackend, store: RunStore, settings: Settings, visitor: Callable[[], str] = lambda: ""
    ) -> None:
        self.backend, self.store, self.settings, self.visitor = backend, store, settings, visitor
        self._secret = Secret(settings.cache_dir / SECRET_FILE)
        self._held = threading.BoundedSemaphore(max(1, settings.web_threads // 4))
        super().__init__(cache_by=None)

    def make_job_fn(self, fn: Callable[..., Any], progress: bool, key: str | None = None) -> Builder:
        """Return the builder as Dash stores it, called with the callback's arguments; it reports no progress itself."""

        def build(args: Any) -> JobSpec | JobSet | None:
            spec = fn(**args) if isinstance(args, dict) else fn(*args)
            if isinstance(spec, (JobSpec, JobSet)):
                return spec
            if spec is None or spec is no_update:
                return None
            raise TypeError(f"a background callback returns a JobSpec or a JobSet, not {type(spec).__name__}")

        return build

    def build_cache_key(self, fn: Any, args: Any, cache_args_to_ignore: Any, triggered: Any) -> str:
        """Return the subscription's id: new for each submit, since subscribers share the job and not the waiting.

        Dash asks for progress by this id alone, so it also names the page and its turn, if there are any.
        """
        told = args[0] if isinstance(args, list) and args else None
        page, turn = (told.get("page"), told.get("serial")) if isinstance(told, dict) else (None, None)
        counted = isinstance(turn, int) and not isinstance(turn, bool) and 0 <= turn < SAFE
        if counted and isinstance(page, str) and PAGE.fullmatch(page):
            return f"{page}-{turn}"
        return uuid.uuid4().hex

    def get_or_create_signing_secret(self, generate: Callable[[], bytes]) -> bytes:
        """Return the secret that signs the pages' handles.

        It has its own file, so that it outlasts the backend's records: all web processes, now and later, sign with the
        same secret.
        """
        return self._secret.read(generate)

    def call_job_fn(self, key: str, job_fn: Builder, args: Any, context: Any) -> str:
        """Start waiting: for a job, or for nothing if the outcome is known at once.

        Returns:
            The handle; if the backend cannot store it (a full disk), one that carries the outcome itself.
        """
        try:
            return self._begin(key, job_fn, args)
        except StorageError as error:
            log.error("a run could not be queued: %s (%s)", error, error.details)
            return UNTAKEN + said(error).encode().hex()  # Dash puts the handle into a URL unescaped

    def _begin(self, key: str, job_fn: Builder, args: Any) -> str:
        outcome, spec = self._build(job_fn, args)
        if isinstance(spec, JobSet):
            return self._begin_set(key, spec)
        if outcome is None and spec is not None and self.store.is_current(spec.artifact):
            outcome = Done(spec.name, spec.artifact)
        if outcome is None and spec is not None:
            try:
                self.backend.submit(spec, key, self.visitor())
            except QueueFullError as error:
                outcome = Failed.of(error, spec.name, spec.key)
        if outcome is not None:
            self.backend.deliver(key, outcome)
        return key

    def _begin_set(self, key: str, jobs: JobSet) -> str:
        watcher, turn = _watcher(key)
        try:
            refused = {name: Failed.of(error, "derive", name) for name, error in jobs.refused.items()}
            # do not run again what already has a delivered outcome, unless a person tries it again
            keys = [spec.key for spec in jobs.specs]
            again = [key for key in keys if self.backend.standing(watched_as(watcher, key)) == "told"]
            self.backend.watch(watcher, jobs.specs, self.visitor(), again, turn, refused)
        except BadRequestError as error:  # more jobs than a page may watch
            self.backend.deliver(key, Failed.of(error))
            return key
        return SET + key

    def get_progress(self, key: str) -> list[dict[str, Any]] | None:
        try:
            progress = self.backend.progress(key)
            watched = None if progress is not None else self.backend.watched(_watcher(key)[0])
        except StorageError:
            return None
        if watched is not None:
            return [self._states(watched, key)]
        return None if progress is None else [progress.to_json()]

    def result_ready(self, key: str) -> bool:
        return self.backend.standing(key) != "waiting"

    def get_result(self, key: str, job: str | None) -> Any:
        """Return the outcome, or UNDEFINED while the page must go on waiting. Reading does not consume it."""
        if job is not None and job.startswith(UNTAKEN):
            return Failed.of(StorageError(bytes.fromhex(job.removeprefix(UNTAKEN)).decode())).to_json(key)
        if job is not None and job.startswith(SET):
            return self._ended(key)
        try:
            outcome = self._held_back(key)
        except StorageError as error:
            outcome = Failed.of(error)
        return self.UNDEFINED if outcome is None else self._for_page(outcome, key)

    def _ended(self, key: str) -> Any:
        """Return the states of a set once no job in it goes on; UNDEFINED until then, or if they cannot be read now."""
        try:
            watcher, _turn = _watcher(key)
            watched = self._until(lambda: self.backend.watched(watcher), _all_ended, self.backend.watched(watcher))
        except StorageError:
            return self.UNDEFINED
        return self._states(watched or {}, key) if _all_ended(watched) else self.UNDEFINED

    def _states(self, watched: Watched, key: str) -> dict[str, Any]:
        return {"watched": {artifact_of(job): self._state(state, key) for job, state in watched.items()}, "serial": key}

    def _state(self, state: State, key: str) -> dict[str, Any]:
        return state.to_json() if isinstance(state, Underway) else self._for_page(state, key)

    def _for_page(self, outcome: Outcome, key: str) -> dict[str, Any]:
        """Return the outcome as JSON, with a run's stamp, so that the page can request pictures at once."""
        if isinstance(outcome, Unasked):
            return dict(NO_UPDATE)
        stamp = self.store.stamp(outcome.artifact) if isinstance(outcome, Done) else None
        return {**outcome.to_json(key), **({} if stamp is None else {"stamp": stamp})}

    def _held_back(self, key: str) -> Outcome | None:
        """Hold the answer back for a moment, in case the outcome arrives meanwhile: a short run is then shown as soon
        as it is done, not at the page's next question. Only a few questions are held at a time, since each takes a
        thread.
        """
        outcome = self.backend.poll(key)
        if outcome is not None:
            return outcome
        ready = self._until(lambda: self.result_ready(key), bool, False)
        return self.backend.poll(key) if ready else None

    def _until(self, look: Callable[[], T], ends: Callable[[T], bool], found: T) -> T:
        """Return what `look` returns once `ends` accepts it, or after a moment; `found`: the current value."""
        if ends(found) or not self._held.acquire(blocking=False):
            return found
        try:
            end = time.monotonic() + HOLD_SECONDS
            while not ends(found) and time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
                found = look()
        finally:
            self._held.release()
        return found

    def job_running(self, job: str) -> bool:
        """Whether the page must go on asking: True until `get_result` has returned the outcome.

        Dash asks for the result first and calls this second, and silently takes "no result and not running" for a
        cancellation; so an outcome that arrives between the two questions must not count yet.
        """
        try:
            if job.startswith(SET):
                return self.backend.watched(_watcher(job.removeprefix(SET))[0]) is not None
            return self.backend.standing(job) in ("waiting", "known")
        except StorageError:
            return False

    def terminate_job(self, job: str | None) -> None:
        """End this page's wait (cancel, or another submit); nothing for a job that has ended.

        A set ends with the next one, which may be empty.
        """
        if job is not None and not str(job).startswith((UNTAKEN, SET)):
            with contextlib.suppress(StorageError):  # its lease then ends by itself
                self.backend.cancel(str(job))

    def terminate_unhealthy_job(self, job: str) -> bool:
        """Do nothing: `get_result` and the supervisor both notice a job whose worker is gone."""
        return False

    def get_updated_props(self, key: str) -> dict[str, Any]:
        """Return nothing: jobs report by progress and outcome only."""
        return {}

    def clear_cache_entry(self, key: str) -> None:
        """Do nothing: records expire."""

    def _build(self, job_fn: Builder, args: Any) -> tuple[Outcome | None, JobSpec | JobSet | None]:
        try:
            spec = job_fn(args)
        except PreventUpdate:
            spec = None
        except DashboardError as error:
            return Failed.of(error), None
        except Exception as error:
            log.exception("a background callback failed before its job began")
            return Failed(JobFailure(unforeseen(error), "", type(error).__name__, retry=False)), None
        return (Unasked() if spec is None else None), spec


def _watcher(key: str) -> tuple[str, int]:
    """Return who watches a set, by the key of one of its requests, and that set's number."""
    page, _, turn = key.partition("-")
    return SET + page, int(turn) if turn.isascii() and turn.isdigit() else 0


def _all_ended(watched: Watched | None) -> bool:
    """Whether no job in a set goes on; also true for a set that is lost."""
    return watched is None or not any(isinstance(state, Underway) for state in watched.values())
