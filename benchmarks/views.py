"""What the server takes to answer each tab for another token: its figure and its words, at each length of the text.

    python -m benchmarks.views --model smollm2-135m --rounds 10 --sizes 16 256 1000

The views are asked in turn, round after round in one process, each round for another token, second token and head. A
result that a view waits for is computed and stored before. `--options norms-heads=layernorm` sets options of views, as
an address writes them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

from flask.testing import FlaskClient

from benchmarks.capture import text_of
from benchmarks.table import load_average, percentile
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model
from dashboard.compute.deriving import compute
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.run import ModelRun
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.views import all_views
from dashboard.views.declaration import View
from dashboard.web.app import create_app

BASE = "attention"  # the view of whose time the others' are multiples


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, folder or hub id")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 256, 1000], help="tokens of the texts")
    parser.add_argument("--options", nargs="*", default=[], help="options of views, each as name=value")
    chosen = parser.parse_args()
    options = dict(one.split("=", 1) for one in chosen.options)
    loaded = load_model(chosen.model)
    print(f"{loaded.info.title}, {chosen.rounds} rounds, load average {load_average()}")
    print(
        f"{'view':<22} {'N':>6} {'figure p50':>11} {'p95':>7} {'words p50':>10} {'p95':>7} {'of heatmap':>11} {'kB':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache_dir=Path(folder))
        client, store = create_app(settings).server.test_client(), RunStore.from_settings(settings)
        for size in chosen.sizes:
            run = capture_run(loaded, text_of(loaded, size))
            store.adopt(run)
            for line in lines_of(client, store, loaded, run, chosen.rounds, options):
                print(line, flush=True)


def lines_of(
    client: FlaskClient,
    store: RunStore,
    loaded: LoadedModel,
    run: ModelRun,
    rounds: int,
    options: Mapping[str, str],
) -> Iterator[str]:
    """One line for each view that this run has. `of heatmap`: the median over rounds of the view's time, figure and
    words, over that of the heatmap in the same round; `kB`: of both answers, not compressed."""
    views = all_views()
    for view in views:
        for number in range(rounds):
            prepare(client, store, loaded, run, query_of(run, view, number, options), view.name)
    taken: dict[str, list[tuple[float, float, int]]] = {view.name: [] for view in views}
    for number in range(rounds):
        for view in views:
            taken[view.name].append(answers(client, run, view, number, options))
    base = [figure + words for figure, words, _size in taken[BASE]]
    for name, found in taken.items():
        figures, words = ([1e3 * one[i] for one in found] for i in (0, 1))
        ratio = statistics.median((one[0] + one[1]) / heatmap for one, heatmap in zip(found, base, strict=True))
        size = statistics.median(one[2] for one in found) / 1000
        times = (
            f"{statistics.median(figures):>11.1f} {percentile(figures, 0.95):>7.1f} {statistics.median(words):>10.1f}"
        )
        yield f"{name:<22} {len(run):>6} {times} {percentile(words, 0.95):>7.1f} {ratio:>11.2f} {size:>7.0f}"


def query_of(run: ModelRun, view: View, number: int, options: Mapping[str, str]) -> str:
    """Another token, second token and head each time."""
    count, (layers, heads) = len(run), (run.model.layers, run.model.heads)
    place = {"token": count - 1 - number % max(1, count // 2), "second": number % max(1, count // 2)}
    head = {"layer": (7 * number + 3) % layers, "head": (3 * number + 1) % heads}
    return urlencode({"run": run.key, "stamp": run.stamp, **place, **head, view.card: view.name, **options})


def answers(
    client: FlaskClient, run: ModelRun, view: View, number: int, options: Mapping[str, str]
) -> tuple[float, float, int]:
    """Seconds of the figure's and the words' answer, and their bytes together."""
    taken, size = [], 0
    for kind in ("figure", "words"):
        start = time.perf_counter()
        reply = client.get(f"/show/{kind}/{view.name}?{query_of(run, view, number, options)}")
        taken.append(time.perf_counter() - start)
        if reply.status_code not in (200, 202):
            raise RuntimeError(f"{view.name} answered {reply.status_code}: {reply.get_data(as_text=True)[:200]}")
        size += len(reply.data)
    return taken[0], taken[1], size


def prepare(client: FlaskClient, store: RunStore, loaded: LoadedModel, run: ModelRun, query: str, view: str) -> None:
    """Compute and store what the view waits for."""
    for one in client.get(f"/show/words/{view}?{query}").get_json()["awaits"]:
        asked = DerivedRequest.from_json(one)
        store.save_derived(compute(loaded, run, asked), run.stamp)


if __name__ == "__main__":
    main()
