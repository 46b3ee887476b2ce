"""Jobs for tests of the workers: slow, failing, hanging; each leaves a line in `log.txt` of the cache folder.

Some fifty tests start three processes each that import this module, so what few jobs need is imported by these alone.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.job import Progress
from dashboard.contracts.request import RunRequest
from dashboard.errors import TextTooLongError
from dashboard.jobs.cache import HealingCache, open_cache
from dashboard.jobs.lock_watch import holders
from dashboard.jobs.work import CrowdedError, JobContext, Registry
from dashboard.settings import Settings
from dashboard.store import kept_files
from dashboard.store.run_store import RunStore

FULL_WHILE = "FAKE_DISK_IS_FULL_WHILE"  # environment: names a file
Job = Callable[[Mapping[str, Any], JobContext], str]


def registry(settings: Settings) -> Registry:
    log = settings.cache_dir / "log.txt"
    jobs = {
        "slow": slow,
        "deaf": deaf,
        "raising": raising,
        "panicking": panicking,
        "refusing": refusing,
        "hungry": hungry,
        "suicidal": suicidal,
        "long": long,
        "large": large,
    }
    jobs |= {"prolix": prolix, "unspeakable": unspeakable, "odd": odd, "nothing": nothing, "greedy": greedy}
    jobs |= {"panicking": panicking}
    return Registry({name: _noted(log, name, job) for name, job in jobs.items()})


def pages(settings: Settings) -> Registry:
    """For whole servers: a "capture" that leaves a run of the text, without any model."""
    return Registry({"capture": _noted(settings.cache_dir / "log.txt", "capture", capture)})


def results(settings: Settings) -> Registry:
    """For whole servers: a "derive" that leaves a masked prediction without any model, once no file `closed` holds
    it."""
    from tests.support.synthetic import masked_result

    def derive(payload: Mapping[str, Any], job_context: JobContext) -> str:
        asked = DerivedRequest.from_json(payload)
        run, position = job_context.store.open(asked.run), int(dict(asked.parameters)["position"])
        while (settings.cache_dir / "closed").exists():
            job_context.progress(Progress("predictions", 0, 1, f"Masking token {position}"))
            time.sleep(0.01)
        job_context.progress(Progress("save", 0, 1, "Saving the result"))
        job_context.store.save_derived(masked_result(run.key, position), run.stamp)
        return asked.name

    return Registry({"derive": _noted(settings.cache_dir / "log.txt", "derive", derive)})


def dying(settings: Settings) -> Registry:
    """What prepares models ends before it begins."""
    raise SystemError("this one dies")


def freeze(pid: int, settings: Settings) -> None:
    """Stop a process between two changes of the queue: in one, it would hold the lock."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)
        if pid not in holders(settings.queue_folder):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)


def _is_first(settings: Settings) -> bool:
    try:
        (settings.cache_dir / "frozen").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def freezing(settings: Settings) -> Registry:
    """The first process that prepares models freezes before it begins; the next does its work."""
    if _is_first(settings):
        if os.fork() == 0:
            freeze(os.getppid(), settings)
            os._exit(0)
        time.sleep(3600)
    return Registry({"prepare": lambda _payload, _context: "f" * 64})


def frozen_at_first(settings: Settings) -> Registry:
    """The first worker freezes while it starts; the next does its work."""
    freezing(settings)
    return registry(settings)


def freezing_while_it_writes(settings: Settings) -> Registry:
    """As `freezing`, in the middle of a change of the queue: nobody else can make one meanwhile."""
    if _is_first(settings):
        with open_cache(settings.queue_folder).transact():
            os.kill(os.getpid(), signal.SIGSTOP)
    return freezing(settings)


def frozen_while_it_writes(settings: Settings) -> Registry:
    """The same, as a worker that starts."""
    freezing_while_it_writes(settings)
    return registry(settings)


def absorbed(settings: Settings) -> Registry:
    """A worker that lets none of its other threads run for some seconds while it starts, and computes all the while."""
    most = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    deadline = time.process_time() + 4
    while time.process_time() < deadline:
        sum(range(10_000))
    sys.setswitchinterval(most)
    return registry(settings)


def fill_disk_while(flag: Path, patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Put a layer under the queue and the store that fails as a full disk does, while there is a file `flag`."""
    begin, save = HealingCache._begin, kept_files.save_file

    def failing_begin(cache: HealingCache) -> Any:
        if flag.exists():
            raise sqlite3.OperationalError("database or disk is full")
        return begin(cache)

    def failing_save(*args: Any, **kwargs: Any) -> None:
        if flag.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args, **kwargs)

    patch(HealingCache, "_begin", failing_begin)
    patch(kept_files, "save_file", failing_save)


if os.environ.get(FULL_WHILE):  # in a supervisor and its workers, which both import this
    fill_disk_while(Path(os.environ[FULL_WHILE]))


def not_ready(_settings: Settings) -> Registry:
    """A registry whose default model raises while it is loaded."""

    def prepare(_announce: Callable[..., object]) -> None:
        raise MemoryError("while loading")

    return Registry({"slow": slow}, prepare)


def crashing(_settings: Settings) -> Registry:
    """A registry that kills its worker before it is ready."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _noted(log: Path, name: str, job: Job) -> Job:
    def noted(payload: Mapping[str, Any], job_context: JobContext) -> str:
        with log.open("a") as file:
            file.write(f"{name} {job_context.key} {os.getpid()}\n")
        return job(payload, job_context)

    return noted


def leave(store: RunStore, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Leave an artifact that is neither a run nor derived from one."""
    store.files.write(name, arrays, {"name": name})


def slow(payload: Mapping[str, Any], job_context: JobContext) -> str:
    """Takes `seconds`, reporting every few milliseconds, and saves an artifact under its key."""
    end, layer = time.monotonic() + float(payload.get("seconds", 0)), 0
    while time.monotonic() < end:
        layer += 1
        job_context.progress(Progress("layers", layer, 1000, f"Layer {layer} of 1000"))
        time.sleep(0.005)
    leave(job_context.store, f"{job_context.key}.done-1", {"a": np.zeros(1)})
    return f"{job_context.key}.done-1"


INSIDE: list[str] = []  # the long jobs that this process is in the middle of


def long(payload: Mapping[str, Any], job_context: JobContext) -> str:
    """Works in steps until there is a file, and lets others go first between them; saves its steps under its key."""
    steps: list[int] = []
    INSIDE.append(job_context.key)
    try:
        while not Path(payload["until"]).exists():
            job_context.progress(Progress("predictions", len(steps), 0, f"Step {len(steps)}"))
            before = time.monotonic()
            job_context.give_way()
            if time.monotonic() - before > 0.5:
                time.sleep(float(payload.get("after_rest", 0)))  # a step that takes long
            steps.append(len(steps))
            time.sleep(0.005)
    finally:
        INSIDE.remove(job_context.key)
    leave(job_context.store, f"{job_context.key}.done-1", {"steps": np.array(steps)})
    return f"{job_context.key}.done-1"


def large(payload: Mapping[str, Any], job_context: JobContext) -> str:
    """Has no room beside a long job that gave way."""
    if INSIDE:
        raise CrowdedError
    return slow(payload, job_context)


def deaf(_payload: Mapping[str, Any], job_context: JobContext) -> str:
    """Reports once and never looks again."""
    job_context.progress(Progress("layers", 17, 30, "Layer 17 of 30"))
    time.sleep(60)
    return job_context.key


def raising(_payload: Mapping[str, Any], _context: JobContext) -> str:
    raise ZeroDivisionError("a defect")


def panicking(_payload: Mapping[str, Any], _context: JobContext) -> str:
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex("(a+)+$"), "isolated")
    return str(tokenizer.encode_batch(["a" * 40 + "b"]))  # as transformers calls it: heartbeats go on meanwhile


def refusing(_payload: Mapping[str, Any], _context: JobContext) -> str:
    raise TextTooLongError("812 tokens; this server allows 256. Shorten the text.")


def hungry(_payload: Mapping[str, Any], _context: JobContext) -> str:
    raise MemoryError


def prolix(_payload: Mapping[str, Any], _context: JobContext) -> str:
    """An error as long as a text, with what JSON and UTF-8 cannot write."""
    raise ValueError("\ud800 \x00 " + "x" * 5_000_000)


class UnspeakableError(Exception):
    """Cannot even be written."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def unspeakable(_payload: Mapping[str, Any], _context: JobContext) -> str:
    raise UnspeakableError


def odd(_payload: Mapping[str, Any], _context: JobContext) -> str:
    raise TextTooLongError("\udfff " + "y" * 1_000_000)


def nothing(_payload: Mapping[str, Any], _context: JobContext) -> Any:
    """Returns no name."""
    return {1, 2}


def greedy(_payload: Mapping[str, Any], job_context: JobContext) -> str:
    """Takes memory, and more of it."""
    job_context.progress(Progress("layers", 17, 30, "Layer 17 of 30"))
    held = [np.ones(25_000_000) for _ in range(4)]
    time.sleep(60)
    return f"{job_context.key}{len(held)}"


def capture(payload: Mapping[str, Any], job_context: JobContext) -> str:
    """A run of the text; it takes as many seconds as the text's last word says (below 0: the first time only), and is
    of as many layers as the one before."""
    request = RunRequest.from_json(payload["request"])
    layers, seconds = int(request.text.split()[-2]), float(request.text.split()[-1])
    if seconds < 0:
        again = (job_context.store.folder.parent / "log.txt").read_text().count(job_context.key) > 1
        seconds = 0.0 if again else -seconds
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        done += 1
        job_context.progress(Progress("layers", min(done, layers), layers, f"Layer {done} of {layers}"))
        time.sleep(0.01)
    from tests.support.synthetic import make_parts

    header, arrays = make_parts("causal", request.text.split())
    job_context.store.save(job_context.key, {**header, "key": job_context.key, "request": request.to_json()}, arrays)
    return job_context.key


def suicidal(_payload: Mapping[str, Any], job_context: JobContext) -> str:
    job_context.progress(Progress("layers", 17, 30, "Layer 17 of 30"))
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
    return job_context.key
