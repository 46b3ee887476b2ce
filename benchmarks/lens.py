"""What a logit lens costs: its time over the bare forward, that of one position, and the memory that it takes
meanwhile.

    python -m benchmarks.lens --model smollm2-135m --rounds 5 --sizes 18 1024

The bare forward, the whole lens and the lens of one position are timed in turn, round after round in one process.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from benchmarks.capture import bare, rounds_of, text_of
from benchmarks.memory import forget_peak, peak
from benchmarks.table import load_average
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model
from dashboard.capture.tokens import tokenize
from dashboard.compute.deriving import derive

GOAL_RATIO = {18: 3.0, 1024: 7.5}  # of SmolLM2-135M on 2 cores; nearly all of it is 31 unembeddings of 49,152 tokens
GOAL_POSITION = 150  # milliseconds
GOAL_MIB = 500


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, folder or hub id")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[18, 1024], help="tokens of the texts")
    chosen = parser.parse_args()
    loaded = load_model(chosen.model)
    print(
        f"{loaded.info.title}, {torch.get_num_threads()} threads, {chosen.rounds} rounds, load average {load_average()}"
    )
    print(
        f"{'N':>6} {'bare ms':>9} {'lens':>7} {'goal':>6} {'position ms':>12} {'goal':>6} {'peak MiB':>9} {'goal':>6}"
    )
    for size in chosen.sizes:
        print(row(loaded, size, chosen.rounds), flush=True)


def row(loaded: LoadedModel, size: int, rounds: int) -> str:
    """One line of the table: a text of `size` tokens. `lens` is the median over rounds of its time over the bare
    one's."""
    text = text_of(loaded, size)
    inputs, _ = tokenize(loaded.tokenizer, text)
    run = capture_run(loaded, text)
    last = len(run) - 1
    seconds = list(
        rounds_of(
            [
                lambda: bare(loaded, inputs),
                lambda: derive(loaded, run, "logit-lens"),
                lambda: derive(loaded, run, "position-lens", position=last, mode="given", words=""),
            ],
            rounds,
        )
    )
    before = forget_peak()
    derive(loaded, run, "logit-lens")
    extra = peak() - before
    forward = 1e3 * statistics.median(times[0] for times in seconds)
    ratio = statistics.median(times[1] / times[0] for times in seconds)
    position = 1e3 * statistics.median(times[2] for times in seconds)
    goal = GOAL_RATIO.get(size, float("nan"))
    first = f"{len(run):>6} {forward:>9.1f} {ratio:>7.2f} {goal:>6.1f}"
    return f"{first} {position:>12.1f} {GOAL_POSITION:>6} {extra:>9.0f} {GOAL_MIB:>6}"


if __name__ == "__main__":
    main()
