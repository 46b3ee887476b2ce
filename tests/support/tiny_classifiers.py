"""Tiny random classifiers of families whose heads differ, as folders that `save_pretrained` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.support.tiny_models import VOCABULARY, WIDTH, _common, _grouped, randomised, tokenizer

SMALL = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
CONFIGS: Mapping[str, Any] = {
    "Bert": lambda **more: hf.BertConfig(**_common(**more)),
    "Roberta": lambda **more: hf.RobertaConfig(**_common(**more)),
    "DistilBert": lambda **more: hf.DistilBertConfig(
        vocab_size=VOCABULARY, dim=WIDTH, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64, **more
    ),
    "Albert": lambda **more: hf.AlbertConfig(**_common(embedding_size=16, **more)),
    "Electra": lambda **more: hf.ElectraConfig(**_common(embedding_size=16, **more)),
    "ModernBert": lambda **more: hf.ModernBertConfig(
        **_common(cls_token_id=2, sep_token_id=3, local_attention=8, **more)
    ),
    "GPT2": lambda **more: hf.GPT2Config(n_embd=WIDTH, n_layer=2, n_head=4, n_positions=64, **SMALL, **more),
    "Llama": lambda **more: hf.LlamaConfig(**_grouped(**more)),
}
HEADS = {"text": "ForSequenceClassification", "tokens": "ForTokenClassification", "answer": "ForQuestionAnswering"}
LABELS = ("negative", "so-so", "positive")
CAUSAL = ("GPT2", "Llama")


def named(*labels: str) -> dict[str, Any]:
    """The part of a configuration that names labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def classifier(family: str, of: str, **config: Any) -> Any:
    """A model with random weights that Hugging Face runs eagerly."""
    labels = {} if of == "answer" or "num_labels" in config or "id2label" in config else named(*LABELS)
    made = CONFIGS[family](**labels, **config)
    made._attn_implementation = "eager"
    return randomised(getattr(hf, family + HEADS[of])(made))


def save(model: Any, folder: Path, family: str = "Bert", **changes: Any) -> Path:
    """The model and its tokenizer in a folder, with `changes` in its configuration; None takes a key away."""
    model.save_pretrained(folder)
    tokenizer(family not in CAUSAL).save_pretrained(folder)
    if changes:
        path = folder / "config.json"
        config = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return folder


def plain(model: Any, family: str, text: str, pair: str | None = None) -> Any:
    """What plain Hugging Face gives for a text: outputs with hidden states and attention."""
    inputs = tokenizer(family not in CAUSAL)(text, pair, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True, output_attentions=True)
