"""How fast this computer is beside the one on which the goals were set: `python -m benchmarks.machine` prints one
line."""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.capture import text_of
from benchmarks.server import MODEL
from dashboard.capture.loader import load_model

GOALS_SET_AT = 92  # milliseconds of the same where the goals were set (two slow cores)
ROUNDS = 15


def main() -> None:
    """Plain Hugging Face, 32 tokens, the median of some rounds."""
    loaded = load_model(MODEL)
    inputs = loaded.tokenizer(text_of(loaded, 32), return_tensors="pt")
    times = []
    with torch.inference_mode():
        for index in range(ROUNDS + 3):
            start = time.perf_counter()
            loaded.model(**inputs)
            if index >= 3:  # the first ones also wake the machine
                times.append(1e3 * (time.perf_counter() - start))
    here = statistics.median(times)
    print(
        f"The bare model reads 32 tokens in {here:.0f} ms here, {GOALS_SET_AT} ms where the goals were set: "
        f"{here / GOALS_SET_AT:.1f} times as long. Goals in milliseconds are as they were set.",
        flush=True,
    )


if __name__ == "__main__":
    main()
