"""What a capture costs on a GPU, and how far its numbers are from Hugging Face's eager ones there.

python -m benchmarks.gpu --model smollm2-135m --rounds 7 --sizes 32 128 512 1024
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from benchmarks.capture import eager_outputs, inputs_of, row, text_of
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model
from dashboard.contracts.run import ModelRun


def main() -> None:
    """Print a table for each kind of numbers, with the card's name; one line if there is no card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, folder or hub id")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512, 1024], help="tokens of the texts")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: there is no GPU by NVIDIA here (torch.cuda.is_available() is false)")
        return
    for dtype in ("float32", "bfloat16"):
        loaded = load_model(chosen.model, device="cuda", dtype=dtype)
        print(f"{loaded.info.title} in {dtype} on {loaded.device}, {chosen.rounds} rounds")
        names = (("N", 6), ("bare ms", 9), ("capture", 8), ("goal", 6), ("eager", 7), ("kept MiB", 9), ("goal", 6))
        print(" ".join(f"{name:>{width}}" for name, width in names), " beside eager")
        for size in chosen.sizes:
            print(f"{row(loaded, size, chosen.rounds, eager=True)}  {_beside_eager(loaded, size)}", flush=True)


def _beside_eager(loaded: LoadedModel, size: int) -> str:
    """The largest differences from Hugging Face's own outputs, relative to the largest value."""
    text = text_of(loaded, size)
    run, outputs = capture_run(loaded, text), eager_outputs(loaded, inputs_of(loaded, text))
    states = max(_error(a, b[0]) for a, b in zip(run.hidden_states, outputs.hidden_states, strict=True))
    weights = max(_error(_weights(run, layer), theirs[0]) for layer, theirs in enumerate(outputs.attentions))
    return f"hidden states {states:.1e}, attention {weights:.1e}"


def _weights(run: ModelRun, layer: int) -> np.ndarray:
    return np.stack([run.attention(layer, head) for head in range(run.model.heads)])


def _error(ours: np.ndarray, theirs: torch.Tensor) -> float:
    wanted = theirs.float().cpu().numpy()
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


if __name__ == "__main__":
    main()
