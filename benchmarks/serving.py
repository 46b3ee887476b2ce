"""What a team's server bears: many people at once, starts, cancels, a killed worker, saved runs.

    python -m benchmarks.serving [--quick]

The people are HTTP clients in this process (benchmarks/clients.py); a round trip is what one of them waits for one
answer, with the time that this process needs to ask. Goals are those for two cores that server and clients share.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psutil

from benchmarks.clients import Client
from benchmarks.server import MODEL, Server, Texts, health, served, wait_until
from benchmarks.table import HEAD, Row, load_average
from dashboard.analysis.projection import project_stream
from dashboard.catalog.catalog import Catalog
from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. The exit code says nothing of the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test: few people, short")
    quick = parser.parse_args(arguments).quick
    print(f"{MODEL}; load average {load_average()} before; goals are for p95")
    print(HEAD)
    texts = Texts(Catalog(Settings.from_env()))
    with served() as server:
        for row in rows(server, texts, quick):
            print(row.line(), flush=True)
    print(f"load average {load_average()} after (1, 5 and 15 minutes; {os.cpu_count()} cores)")
    return 0


def rows(server: Server, texts: Texts, quick: bool) -> Iterator[Row]:
    """In this order: later rows use the runs of earlier ones."""
    client = Client(server.address)
    yield single("first page after the start", "s", server.page_up - server.started, 3)
    outcome, seconds = client.run(texts.of(64), MODEL)
    yield single(
        "start to first result, seconds waited before the text included",
        "s",
        server.ready - server.started + seconds,
        6,
    )
    yield from selecting(
        server, client, run_key(client, texts.of(256)), people=4 if quick else 20, seconds=3 if quick else 15
    )
    yield from many_runs(server, client, texts, outcome["run"], people=6 if quick else 50)
    yield from saved_runs(server, run_key(client, texts.of(128 if quick else 1024)))
    yield cancelled(server, client, texts, times=1 if quick else 5)
    yield from killed(server, client, texts, times=1 if quick else 3)
    yield single("web process, resident, after all this (its own memory)", "MiB", web_memory(server), 200)


def single(what: str, unit: str, value: float | None, goal: float, size: int | None = None) -> Row:
    row = Row(what, size, unit, goal)
    row.add(value)
    return row


def run_key(client: Client, text: str) -> str:
    outcome, _seconds = client.run(text, MODEL)
    if "run" not in outcome:
        raise SystemExit(f"A run failed: {outcome}")
    return str(outcome["run"])


def selecting(server: Server, client: Client, key: str, people: int, seconds: float) -> list[Row]:
    """Everyone selects a token once a second (words and bars of that position), and now and then another head."""
    words = Row(f"{people} people selecting once a second: the cards' words", 256, "ms", 20)
    bars = Row(f"{people} people selecting once a second: a full figure (predictions)", 256, "ms", 60)
    heads = Row(f"{people} people selecting once a second: a full figure (heatmap)", 256, "ms", 60)

    def person(number: int) -> None:
        own, chance = Client(server.address, client.dependencies), random.Random(number)
        time.sleep(number / people)
        for beat in range(int(seconds)):
            begin = time.perf_counter()
            place = {"run": key, "token": str(chance.randrange(200)), "layer": "15", "head": str(chance.randrange(9))}
            words.add(timed(own.get, "/show/words/prediction", place))
            bars.add(timed(own.get, "/show/figure/prediction", place))
            if beat % 4 == 0:
                heads.add(timed(own.get, "/show/figure/attention", place))
            time.sleep(max(0.0, begin + 1 - time.perf_counter()))
        own.close()

    together(people, person)
    return [words, bars, heads]


def many_runs(server: Server, client: Client, texts: Texts, shown: str, people: int) -> list[Row]:
    """Everyone runs a text that one other person runs too, while one more selects tokens of a saved run."""
    wanted = [texts.of(64) for _ in range(people // 2)]
    waits, errors = Row(f"{people} people, each text run by two: until the result", 64, "s"), []
    select = Row("meanwhile, selecting in a saved run: the cards' words", 64, "ms", 300)
    made: set[str] = set()
    before = captures(server)
    done = threading.Event()

    def person(number: int) -> None:
        own = Client(server.address, client.dependencies)
        outcome, seconds = own.run(wanted[number % len(wanted)], MODEL)
        if outcome.get("run"):
            made.add(outcome["run"])
            waits.add(seconds)
        else:
            errors.append(outcome.get("error"))
        own.close()

    def selector() -> None:
        own = Client(server.address, client.dependencies)
        while not done.wait(0.2):
            place = {
                "run": shown,
                "token": str(random.Random(len(select.values)).randrange(60)),
                "layer": "3",
                "head": "1",
            }
            select.add(timed(own.get, "/show/words/prediction", place))
        own.close()

    watcher = threading.Thread(target=selector)
    watcher.start()
    together(people, person)
    done.set()
    watcher.join()
    failed = single("errors among them", "", float(len(errors)), 0, 64)
    computed = single(
        "computations above one for each distinct run", "", float(captures(server) - before - len(made)), 0, 64
    )
    return [waits, select, computed, failed]


def captures(server: Server) -> int:
    """How many captures the workers have done, by what they print of each."""
    return len(re.findall(r"capture [0-9a-f]+ done in", server.log.read_text(encoding="utf-8", errors="replace")))


def saved_runs(server: Server, key: str) -> list[Row]:
    """Opening, one head's map, one token's path: in this process, as the web process does it."""
    store = RunStore(server.cache / "runs", 10**10)
    size = len(store.open(key))
    opening, head = Row("opening a saved run", size, "ms", 5), Row("one head's weights", size, "ms", 15)
    path = Row("one token's states at all layers", size, "ms", 1)
    fitted = Row("PCA of one layer, anew", size, "ms")
    for index in range(10):
        fresh = RunStore(server.cache / "runs", 10**10)
        opening.add(timed(fresh.open, key))
        run = fresh.open(key)
        head.add(timed(run.attention, index % run.model.layers, index % run.model.heads))
        path.add(timed(states_of, run, 7 * index))
        fitted.add(timed(project_stream, run.main, index, "layer", "auto", "centred"))
    return [opening, head, path, fitted]


def states_of(run: ModelRun, token: int) -> np.ndarray:
    return np.stack([layer[token] for layer in run.hidden_states])


def cancelled(server: Server, client: Client, texts: Texts, times: int) -> Row:
    """From the cancel of the only one who waits until the worker is idle, its model still in memory."""
    row = Row("cancel: worker free, model resident", None, "ms", 500)
    for _ in range(times):
        handle = client.begin(texts.of(1500), MODEL)
        wait_until(lambda: (health(server.address) or {}).get("worker") == "busy", 10)
        time.sleep(0.5)
        start = time.perf_counter()
        client.cancel(handle)
        free = wait_until(lambda: is_idle(server), 30, step=0.005)
        row.add((time.perf_counter() - start) * 1e3 if free else None)
    return row


def is_idle(server: Server) -> bool:
    found = health(server.address) or {}
    return found.get("worker") == "ready" and MODEL in (found.get("models") or [])


def killed(server: Server, client: Client, texts: Texts, times: int) -> list[Row]:
    """`kill -9` of the worker in the middle of a run: until its page is told, and until a worker with its model is
    back."""
    told, back = (
        Row("kill -9 of the worker: error told", None, "s", 1),
        Row("kill -9 of the worker: model back", None, "s", 10),
    )
    for _ in range(times):
        handle = client.begin(texts.of(1500), MODEL)
        wait_until(lambda: (health(server.address) or {}).get("worker") == "busy", 10)
        time.sleep(0.3)
        victim = worker_process(server)
        start = time.perf_counter()
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda h=handle: client.look(h) is not None, 30, step=0.1)
        outcome = client.look(handle) or {}
        told.add(time.perf_counter() - start if "stopped while" in str(outcome.get("error")) else None)
        back.add(time.perf_counter() - start if wait_until(lambda: is_idle(server), 60) else None)
    return [told, back]


def worker_process(server: Server) -> psutil.Process:
    """The process that holds the model: the largest of the server's family."""
    return max(
        psutil.Process(server.process.pid).children(recursive=True), key=lambda process: process.memory_info().rss
    )


def web_memory(server: Server) -> float:
    """Memory of the largest web process that no file backs (mapped runs are the system's cache, not the process's),
    MiB."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    webs = [process for process in family if "gunicorn" in " ".join(process.cmdline())]
    return max(web.memory_info().rss - getattr(web.memory_info(), "shared", 0) for web in webs) / 2**20


def timed(what: Callable[..., Any], *arguments: Any) -> float:
    """Milliseconds that one call takes."""
    start = time.perf_counter()
    what(*arguments)
    return (time.perf_counter() - start) * 1e3


def together(people: int, person: Callable[[int], None]) -> None:
    """Everyone at once, each in a thread; the first error of anyone is raised."""
    errors: list[BaseException] = []

    def safely(number: int) -> None:
        try:
            person(number)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=safely, args=(number,)) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


if __name__ == "__main__":
    sys.exit(main())
