"""What a capture costs: its time over the bare forward, and the memory it keeps.

    python -m benchmarks.capture --model smollm2-135m --rounds 7 --sizes 32 128 512 1024

The bare forward is the model with PyTorch's own attention (sdpa), all logits, nothing kept. "Eager" is Hugging Face
with `output_attentions` and `output_hidden_states`. The three are timed in turn, round after round in one process, and
the table gives the median of each round's ratio: absolute times differ from machine to machine and from minute to
minute. Say the load while measuring; beside other busy processes the figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GPTJConfig, GPTJForCausalLM

from dashboard.capture.attention import exposes
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model, wrap_model
from dashboard.capture.tokens import tokenize

GOAL_RATIO = {32: 1.08, 128: 1.08, 512: 1.10, 1024: 1.12}  # of SmolLM2-135M on 2 cores
GOAL_MIB = {1024: 230}
PEERS = {  # time over the bare forward at N = 32, 128, 512, 1024; MiB kept at 1024: recorded, same model, 2 cores
    "nnsight 0.8.1, attentions + hidden states": ((1.11, 1.09, 1.32, 2.01), 1368),
    "TransformerLens 4.3 bridge, patterns + residuals": ((1.32, 1.23, 1.34, 1.54), 1370),
    "TransformerLens 4.3 bridge, everything": ((1.91, 1.79, 1.91, 2.36), 3739),
}
LONG = (1024, 2048, 4096)
OWN = {"n_embd": 768, "n_layer": 12, "n_head": 12, "rotary_dim": 64}  # a model with its own attention code
OWN_SIZES = (32, 128, 512)
OWN_MEGABYTES = 400.0  # of weights that it may store here; a server's default is less
TEXT = (
    "When Mary and John went to the shops, John gave a drink to Mary. The old clock on the wall had stopped years ago, "
    "yet nobody in the village could remember who had last wound it, or why. "
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, folder or hub id")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512, 1024], help="tokens of the texts")
    parser.add_argument(
        "--long", type=int, nargs="*", default=list(LONG), help="tokens of the texts whose memory is measured"
    )
    parser.add_argument(
        "--own", type=int, nargs="*", default=list(OWN_SIZES), help="tokens of the texts that a random GPT-J reads"
    )
    parser.add_argument("--no-eager", action="store_true", help="leave out Hugging Face's eager outputs")
    chosen = parser.parse_args()
    loaded = load_model(chosen.model)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{loaded.info.title}, {torch.get_num_threads()} threads, {chosen.rounds} rounds, load average {load}")
    print(f"{'N':>6} {'bare ms':>9} {'capture':>8} {'goal':>6} {'eager':>7} {'kept MiB':>9} {'goal':>6}")
    for size in chosen.sizes:
        print(row(loaded, size, chosen.rounds, eager=not chosen.no_eager), flush=True)
    print(
        "\npeers, recorded with the same model on 2 cores: time over the bare forward at 32, 128, 512, 1,024; MiB kept "
        "at 1,024"
    )
    for name, (ratios, mib) in PEERS.items():
        print(f"  {name:<50} {'  '.join(f'{ratio:.2f}' for ratio in ratios)}  {mib:>6,}")
    if chosen.own:
        stored = random_gptj()
        print(f"\n{stored.info.title}: its weights are stored (no goals)")
    for size in chosen.own:
        print(row(stored, size, chosen.rounds, eager=not chosen.no_eager), flush=True)
    if chosen.long:
        heads = ("kept MiB", "KiB a token", "peak above the model MiB", "stored attention would be MiB")
        print("\n     N" + "".join(f" {head:>{width}}" for head, width in zip(heads, (9, 12, 25, 30), strict=True)))
    for size in chosen.long:
        subprocess.run([sys.executable, "-m", "benchmarks.memory", chosen.model, str(size)], check=True)


def row(loaded: LoadedModel, size: int, rounds: int, eager: bool) -> str:
    """One line of the table: a text of `size` tokens."""
    text = text_of(loaded, size)
    inputs = inputs_of(loaded, text)
    kept: list[float] = []

    def captured() -> None:
        run = capture_run(loaded, text, weights_megabytes=OWN_MEGABYTES)
        kept.append(sum(values.nbytes for values in run.arrays.values()) / 2**20)

    whats: list[Callable[[], Any]] = [lambda: bare(loaded, inputs), captured]
    if eager:
        whats.append(lambda: eager_outputs(loaded, inputs))
    seconds = list(rounds_of(whats, rounds))
    ratios = [statistics.median(times[i] / times[0] for times in seconds) for i in range(1, len(whats))]
    milliseconds = statistics.median(times[0] for times in seconds) * 1e3
    none = float("nan")
    goals = (GOAL_RATIO, GOAL_MIB) if exposes(loaded.model) else ({}, {})
    goal, goal_mib = (goal.get(size, none) for goal in goals)
    eager_ratio = f"{ratios[1]:7.2f}" if eager else "      –"
    return (
        f"{size:>6} {milliseconds:>9.1f} {ratios[0]:>8.3f} {goal:>6.2f} {eager_ratio} {kept[-1]:>9.1f} {goal_mib:>6.0f}"
    )


def random_gptj() -> LoadedModel:
    """GPT-J's construction at GPT-2's size, with random weights and SmolLM2's tokenizer."""
    tokenizer = load_model("smollm2-135m").tokenizer
    torch.manual_seed(0)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = GPTJForCausalLM(GPTJConfig(vocab_size=len(tokenizer), n_positions=2048, **OWN, **ends))
    return wrap_model(model, tokenizer, "random-gptj", "GPT-J of 12 layers × 12 heads, random weights", "random")


def inputs_of(loaded: LoadedModel, text: str) -> dict[str, torch.Tensor]:
    """The model's inputs, on its device."""
    inputs, _ = tokenize(loaded.tokenizer, text)
    return {name: values.to(loaded.model.device) for name, values in inputs.items()}


def text_of(loaded: LoadedModel, size: int) -> str:
    """A text of at most `size` tokens, and as near to it as whole words come."""
    words = (TEXT * (size // 8 + 1)).split(" ")
    low, high = 1, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        count = len(tokenize(loaded.tokenizer, " ".join(words[:middle]))[1])
        low, high = (middle, high) if count <= size else (low, middle - 1)
    return " ".join(words[:low])


def rounds_of(whats: list[Callable[[], Any]], rounds: int) -> Iterator[list[float]]:
    """Seconds that each takes, in every round, after one round that does not count."""
    for index in range(rounds + 1):
        times = []
        for what in whats:
            start = time.perf_counter()
            what()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        if index:
            yield times


def bare(loaded: LoadedModel, inputs: dict[str, torch.Tensor]) -> None:
    """The forward that anybody pays: logits, nothing kept."""
    with torch.inference_mode(), attending(loaded.model, "sdpa"):
        loaded.model(**inputs)


def eager_outputs(loaded: LoadedModel, inputs: dict[str, torch.Tensor]) -> Any:
    """What a notebook does without this package."""
    with torch.inference_mode(), attending(loaded.model, "eager"):
        return loaded.model(**inputs, output_attentions=True, output_hidden_states=True)


@contextmanager
def attending(model: Any, implementation: str) -> Iterator[None]:
    """Another attention implementation inside the block, where the model has more than one."""
    if not exposes(model):
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


if __name__ == "__main__":
    main()
