"""What a GPU makes of it: the tests that need one, what a capture costs there, and how far its numbers are from Hugging
Face's eager ones on the same card.

    python -m benchmarks.gpu                                  # everything; needs no network, and no model on the disk
    python -m benchmarks.gpu --model smollm2-135m --rounds 7 --sizes 32 128 512 1024
    python -m benchmarks.gpu --device cpu --sizes 32          # the same lines where there is no GPU, to try the script
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.capture import TEXT, eager_outputs, inputs_of, row, text_of
from dashboard.capture.capture import capture_run
from dashboard.capture.loader import LoadedModel, load_model
from dashboard.catalog.catalog import Catalog
from dashboard.contracts.run import ModelRun
from dashboard.errors import DashboardError
from dashboard.settings import Settings

MODEL = "smollm2-135m"
TESTS = ["tests/integration/test_numbers_and_devices.py", "-k", "gpu", "-q", "-rs", "-p", "no:cacheprovider"]
SMOLLM = {  # the construction of the bundled model, for weights at random where its files are not here
    **{"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3},
    **{"intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 2048, "tie_word_embeddings": True},
}


def main() -> int:
    """Run the tests, then print a table for each dtype, with the card's name; one line if there is no card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="catalog name, folder or hub id")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 128, 512, 1024], help="tokens of the texts")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, mps or cpu")
    parser.add_argument("--no-tests", action="store_true", help="the tables alone")
    chosen = parser.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        print("left out: there is no GPU by NVIDIA here (torch.cuda.is_available() is false)")
        return 0
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, transformers {transformers.__version__}", flush=True)
    failed = 0 if chosen.no_tests else subprocess.run([sys.executable, "-m", "pytest", *TESTS], check=False).returncode
    with _model(chosen.model) as name:
        for dtype in ("float32", "bfloat16"):
            loaded = load_model(name, device=chosen.device, dtype=dtype)
            print(f"{loaded.info.title} in {dtype} on {loaded.device}, {chosen.rounds} rounds")
            names = (("N", 6), ("bare ms", 9), ("capture", 8), ("goal", 6), ("eager", 7), ("kept MiB", 9), ("goal", 6))
            print(" ".join(f"{name:>{width}}" for name, width in names), " beside eager")
            for size in chosen.sizes:
                print(f"{row(loaded, size, chosen.rounds, eager=True)}  {_beside_eager(loaded, size)}", flush=True)
    return failed


@contextmanager
def _model(name: str) -> Iterator[str]:
    """The model; where the bundled one was not fetched, a folder with one of its construction and random weights."""
    if name != MODEL or _is_here(name):
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random weights of SmolLM2-135M's construction"
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(**SMOLLM)).save_pretrained(path)
        words = {word: index for index, word in enumerate(["[UNK]", *sorted(set(TEXT.split()))])}
        raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]").save_pretrained(path)
        yield str(path)


def _is_here(name: str) -> bool:
    try:
        return Catalog(Settings.from_env()).get(name).folder is not None
    except DashboardError:
        return False


def _beside_eager(loaded: LoadedModel, size: int) -> str:
    """The largest differences from Hugging Face's own outputs, relative to the largest value; and what a capture takes
    of the card's memory above the model."""
    text, on_card = text_of(loaded, size), loaded.model.device.type == "cuda"
    if on_card:
        torch.cuda.reset_peak_memory_stats(loaded.model.device)
        before = torch.cuda.memory_allocated(loaded.model.device)
    run = capture_run(loaded, text)
    peak = torch.cuda.max_memory_allocated(loaded.model.device) - before if on_card else 0
    outputs = eager_outputs(loaded, inputs_of(loaded, text))
    states = max(_error(a, b[0]) for a, b in zip(run.hidden_states, outputs.hidden_states, strict=True))
    weights = max(_error(_weights(run, layer), theirs[0]) for layer, theirs in enumerate(outputs.attentions))
    memory = f", at most {peak / 2**20:,.0f} MiB above the model" if on_card else ""
    return f"hidden states {states:.1e}, attention {weights:.1e}{memory}"


def _weights(run: ModelRun, layer: int) -> np.ndarray:
    return np.stack([run.attention(layer, head) for head in range(run.model.heads)])


def _error(ours: np.ndarray, theirs: torch.Tensor) -> float:
    wanted = theirs.float().cpu().numpy()
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


if __name__ == "__main__":
    sys.exit(main())
