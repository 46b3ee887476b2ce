"""From a GGUF file to a plain model folder in float32: families with Llama's layout (decision 009).

Every weight must be in the model and every weight of the model in the file, or the conversion fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, normalizers, processors
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2_WORDS

from dashboard.contracts.job import Progress
from dashboard.errors import ModelError, UnsupportedModelError
from dashboard.models.convert import LLAMA_NAMES, byte_level_tokenizer, paired_to_halves, save_model, save_tokenizer
from dashboard.models.gguf_files import LLAMA_3_RULES

FAMILIES: Mapping[str, tuple[type[PretrainedConfig], Callable[[Any], PreTrainedModel]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
NAMES = {**LLAMA_NAMES, "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LLAMA_3_WORDS = QWEN2_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")  # digits in threes, else the same
PROBE = "It's 12345 cafe\u0301s,  we'LL\n\n see x=1; \u65e5\u672c \U0001f600"
COMPOSED = ("qwen2", "deepseek-r1-qwen")  # these tokenizers compose accents first
RULES: Mapping[str, str | None] = {  # `tokenizer.ggml.pre` → how byte_level_tokenizer splits words
    "smollm": None,
    "default": "",
    "gpt-2": "",
    "qwen2": QWEN2_WORDS,
    "deepseek-r1-qwen": QWEN2_WORDS,
    **dict.fromkeys(LLAMA_3_RULES, LLAMA_3_WORDS),
}


def convert(path: Path, folder: Path, report: Callable[[Progress], None]) -> None:
    """Write model.safetensors, config.json and the tokenizer of `path` into `folder`; `report` may raise to stop.

    Raises:
        UnsupportedModelError: a tensor's type or name is not known. ModelError: the file is damaged.
    """
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise ModelError(f"{path.name} is no GGUF file that can be read. Copy it again.") from error
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    architecture = str(reader.fields["general.architecture"].contents())
    config = _config(architecture, reader, tensors)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads} if architecture == "llama" else {}
    weights: dict[str, torch.Tensor] = {}
    for index, tensor in enumerate(reader.tensors):
        report(Progress("fetch", index, len(reader.tensors), f"Converting {path.name}, once"))
        name, part = _name(tensor.name, path.name)
        values = _values(tensor, path.name)
        weights[name] = torch.from_numpy(paired_to_halves(values, heads[part]) if part in heads else values)
    save_model(FAMILIES[architecture][1](config), weights, folder)
    tokenizer = _save_tokenizer(folder, reader, config.max_position_embeddings)
    again = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if again(PROBE)["input_ids"] != tokenizer.encode(PROBE).ids:  # some families' own classes overrule the folder's file
        raise UnsupportedModelError(f"{path.name} splits texts otherwise than its family {architecture}. Choose another model.")


def _config(architecture: str, reader: Any, tensors: Mapping[str, Any]) -> Any:
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("tokenizer.ggml.")}

    def said(key: str, default: Any = None) -> Any:
        field = fields.get(f"{architecture}.{key}")
        return default if field is None else field.contents()

    def token(key: str) -> int | None:
        field = reader.fields.get(f"tokenizer.ggml.{key}_token_id")
        return None if field is None else int(field.contents())

    hidden, heads = int(said("embedding_length")), int(said("attention.head_count"))
    values: dict[str, Any] = {
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "hidden_size": hidden,
        "intermediate_size": int(said("feed_forward_length")),
        "num_hidden_layers": int(said("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(said("attention.head_count_kv", heads)),
        "max_position_embeddings": int(said("context_length")),
        "rms_norm_eps": float(f"{said('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(said("rope.freq_base", 10_000.0))},
        "bos_token_id": token("bos"),
        "eos_token_id": token("eos"),
        "pad_token_id": token("padding"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "dtype": torch.float32,
    }
    if architecture != "qwen2":
        values["head_dim"] = int(said("attention.key_length", hidden // heads))
    if architecture == "llama":
        values["attention_bias"] = "blk.0.attn_q.bias" in tensors
    return FAMILIES[architecture][0](**values)


def _name(name: str, file: str) -> tuple[str, str]:
    """Hugging Face's name of a tensor, and the GGUF name's own part ("attn_q")."""
    if name in WHOLE:
        return WHOLE[name], ""
    pieces = name.split(".")
    if len(pieces) == 4 and pieces[0] == "blk" and pieces[2] in NAMES:
        return f"model.layers.{pieces[1]}.{NAMES[pieces[2]]}.{pieces[3]}", pieces[2]
    raise UnsupportedModelError(f"{file} has a tensor “{name}”, which is not converted here. Choose another model.")


def _values(tensor: Any, file: str) -> np.ndarray:
    try:
        return np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    except NotImplementedError as error:
        raise UnsupportedModelError(
            f"{file} has weights of type {tensor.tensor_type.name}, which are not converted here. Choose another model."
        ) from error


def _save_tokenizer(folder: Path, reader: Any, limit: int) -> Tokenizer:
    """The byte-level tokenizer that the file describes; it has the pieces that are in the file, and no others."""

    def said(key: str, default: Any = None) -> Any:
        field = reader.fields.get(f"tokenizer.{key}")
        return default if field is None else field.contents()

    pieces = said("ggml.tokens")
    rule = said("ggml.pre", "default")
    tokenizer = byte_level_tokenizer(
        pieces,
        said("ggml.merges"),
        said("ggml.token_type", [1] * len(pieces)),
        RULES[rule],
        normalizers.NFC() if rule in COMPOSED else None,
    )
    special = {}
    for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")):
        identifier = said(f"ggml.{key}_token_id")
        if identifier is not None:
            special[name] = pieces[identifier]
    if said("ggml.add_bos_token", False) and "bos_token" in special:
        bos = special["bos_token"]
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(f"{bos} $A", f"{bos} $A {bos} $B:1", [(bos, pieces.index(bos))]),
            ]
        )
    template = said("chat_template")
    save_tokenizer(tokenizer, folder, limit, sentence_pairs=False, **special, **({"chat_template": template} if template else {}))
    return tokenizer
