"""Makes tests/data/first_runs: what a server of commit f23724d left behind, for the tests that all of it goes on
working.

It runs with the code of that commit alone, which wrote no `numbers` and no stamps: its imports are of modules that have
other names since.

    mkdir ../first && git archive f23724d | tar -x -C ../first
    PYTHONPATH=../first:../first/tests/integration .venv/bin/python -B tests/data/make_first_runs.py

    models/…             tiny random models with 2 layers, in folders as the setting DASHBOARD_MODEL_FOLDERS names them
    runs/…               the run store: one run of each model, and of the masked one the prediction at one position
    visitors/…           a visitor's list with all of them, one renamed, one pinned
    exported/…           the run of the causal model as .npz, and as .safetensors with its attention weights
    expected.json        per model: key, fingerprint, text, link, and what plain Hugging Face (float32, eager) says
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from dashboard.models import predictions
from dashboard.models.capture import capture_run
from dashboard.models.loader import LoadedModel, load_model
from tiny_models import SPECIAL, randomised
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dashboard.contracts.job import fill_name
from dashboard.contracts.request import RunRequest
from dashboard.exports.run_files import save_run
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from dashboard.store.visits import VisitorLists

HERE = Path(__file__).parent / "first_runs"
VISITOR = "0123456789abcdef0123456789abcdef"
TEXT = "w1 w2 w3 w1 w2 w4"
FILLED = 2
WORDS = tuple(f"w{index}" for index in range(9))
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


def tokenizer(around: bool) -> hf.PreTrainedTokenizerFast:
    """Whole words as tokens; with [CLS] and [SEP] around a text, or as it is."""
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate((*SPECIAL, *WORDS))}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {}
    if around:
        special = [("[CLS]", 2), ("[SEP]", 3)]
        raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
        names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", **names)


def make_models(root: Path) -> list[str]:
    """A causal, a masked and an encoder model; gives their folders' names."""
    llama = hf.LlamaForCausalLM(hf.LlamaConfig(num_key_value_heads=1, head_dim=4, **SIZES))
    bert = hf.BertForMaskedLM(hf.BertConfig(**SIZES))
    encoder = hf.BertModel(hf.BertConfig(**SIZES), add_pooling_layer=False)
    for name, model, around in (("llama", llama, False), ("bert", bert, True), ("encoder", encoder, True)):
        randomised(model).save_pretrained(root / name)
        tokenizer(around).save_pretrained(root / name)
        (root / name / "generation_config.json").unlink(missing_ok=True)
    return ["llama", "bert", "encoder"]


def plain(folder: Path, loaded: LoadedModel) -> dict[str, Any]:
    """What Hugging Face says of the text: attention (layer, head, query, key), the last hidden state, the logits."""
    model = type(loaded.model).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    inputs = loaded.tokenizer(TEXT, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        found = model(**inputs, output_attentions=True, output_hidden_states=True)
    logits = getattr(found, "logits", None)
    said = {
        "attention": torch.cat(found.attentions).tolist(),
        "hidden": found.hidden_states[-1][0].tolist(),
        "logprobs": None if logits is None else logits[0].log_softmax(-1).tolist(),
    }
    if loaded.info.kind == "masked":
        inputs["input_ids"][0, FILLED] = loaded.tokenizer.mask_token_id
        with torch.no_grad():
            said["filled"] = model(**inputs).logits[0, FILLED].log_softmax(-1).tolist()
    return {name: _rounded(values) for name, values in said.items()}


def _rounded(values: Any) -> Any:
    return None if values is None else np.round(np.asarray(values), 6).tolist()


def make(root: Path) -> None:
    predictions.MASKED_FLOP = 0.0  # as in a long text: the run holds no prediction with a position masked
    store, visitors, expected = RunStore(root / "runs", 10**9), VisitorLists(root / "visitors"), {}
    settings = Settings(
        cache_dir=root / "cache", models_dir=root / "cache" / "models", model_folders=(root / "models",)
    )
    (root / "cache" / "models").mkdir(parents=True)
    for folder in make_models(root / "models"):
        name = f"folder:models/{folder}"
        loaded = load_model(name, settings=settings, folders=False)
        run = capture_run(loaded, TEXT, request=RunRequest(name, TEXT))
        store.save(run.key, run.header, run.arrays)
        visitors.opened(VISITOR, run.key)
        if loaded.info.kind == "masked":
            store.save_arrays(fill_name(run.key, FILLED), predictions.run_fill(loaded, run, FILLED))
            visitors.change(VISITOR, run.key, name="My masked run")
        if loaded.info.kind == "causal":
            visitors.change(VISITOR, run.key, pinned=True)
            (root / "exported").mkdir()
            save_run(run, root / "exported" / "run.npz")
            save_run(run, root / "exported" / "run.safetensors", attention=True)
        link = {"run": run.key, "token": "3", "layer": "1", "head": "1", "other": "1"}
        said = plain(root / "models" / folder, loaded)
        expected[folder] = {
            "model": name,
            "text": TEXT,
            "key": run.key,
            "fingerprint": loaded.fingerprint,
            "link": link,
            **said,
        }
    (root / "expected.json").write_text(
        json.dumps({"visitor": VISITOR, "filled": FILLED, "runs": expected}), encoding="utf-8"
    )
    shutil.rmtree(root / "cache")
    (root / "visitors" / "lock").unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "first_runs"
        made.mkdir()
        make(made)
        shutil.rmtree(HERE, ignore_errors=True)
        shutil.copytree(made, HERE)
