"""Converting a GGUF file to a plain model folder in float32: families with Llama's layout (decision 009).

Model and file must have exactly the same weights, or the conversion fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, assert_never

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

from dashboard.capture.checkpoint import skeleton
from dashboard.capture.convert import LLAMA_NAMES, byte_level_tokenizer, paired_to_halves, save_model, save_tokenizer
from dashboard.catalog.gguf_header import GgufHeader, read_header
from dashboard.catalog.gguf_keys import SPLITTING, Ends, Words, ends_of, rope_of
from dashboard.contracts.job import OnProgress, Progress
from dashboard.errors import ModelError, UnsupportedModelError

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
PROBE = "It's 12345 cafe\u0301s,  we'LL\n\n see x=1; \u65e5\u672c \U0001f600"


def convert(path: Path, folder: Path, report: OnProgress) -> None:
    """Write model.safetensors, config.json and the tokenizer of `path` into `folder`; `report` may raise to stop.

    `gguf_keys` has already accepted the header.

    Raises:
        UnsupportedModelError: a tensor's type or name is unknown. ModelError: the file is damaged.
    """
    header = read_header(path)
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, OSError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"{path.name} is not a readable GGUF file. Copy it again.") from error
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(header, reader, tensors)
    if config.vocab_size != header.arrays["tokenizer.ggml.tokens"]:
        raise UnsupportedModelError(
            f"{path.name} has {header.arrays['tokenizer.ggml.tokens']:,} tokens, but embeddings for "
            f"{config.vocab_size:,}. Choose another model."
        )
    paired = header.architecture == "llama"
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads} if paired else {}
    weights: dict[str, torch.Tensor] = {}
    for index, tensor in enumerate(reader.tensors):
        report(Progress("fetch", index, len(reader.tensors), f"Converting {path.name}, once"))
        name, part = _name(tensor.name, path.name)
        values = _values(tensor, path.name)
        weights[name] = torch.from_numpy(paired_to_halves(values, heads[part]) if part in heads else values)
    save_model(skeleton(FAMILIES[header.architecture][1], config), weights, folder)
    tokenizer = _save_tokenizer(folder, reader, header, config.max_position_embeddings)
    again = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # some families' own classes override the folder's file
    if again(PROBE)["input_ids"] != tokenizer.encode(PROBE).ids:
        raise UnsupportedModelError(
            f"{path.name} does not split texts as its family {header.architecture} does. Choose another model."
        )


def _config(header: GgufHeader, reader: Any, tensors: Mapping[str, Any]) -> Any:
    def token(key: str) -> int | None:
        field = reader.fields.get(f"tokenizer.ggml.{key}_token_id")
        return None if field is None else int(field.contents())

    hidden, heads, rope = header.number("embedding_length"), header.number("attention.head_count"), rope_of(header)
    linear = {"rope_type": "linear", "rope_theta": rope.base, "factor": rope.factor}
    values: dict[str, Any] = {
        "vocab_size": int(tensors["token_embd.weight"].shape[1]) if "token_embd.weight" in tensors else 0,
        "hidden_size": hidden,
        "intermediate_size": header.number("feed_forward_length"),
        "num_hidden_layers": header.number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": header.number("attention.head_count_kv") or heads,
        "max_position_embeddings": header.number("context_length"),
        "rms_norm_eps": float(f"{header.said('attention.layer_norm_rms_epsilon', None):.6g}"),
        "rope_parameters": {"rope_type": "default", "rope_theta": rope.base} if rope.factor == 1 else linear,
        "bos_token_id": token("bos"),
        "eos_token_id": token("eos"),
        "pad_token_id": token("padding"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "dtype": torch.float32,
    }
    if header.architecture != "qwen2":
        values["head_dim"] = header.number("attention.key_length") or hidden // heads
    if header.architecture == "llama":
        values["attention_bias"] = "blk.0.attn_q.bias" in tensors
    return FAMILIES[header.architecture][0](**values)


def _name(name: str, file: str) -> tuple[str, str]:
    """Return Hugging Face's name for a tensor, and the GGUF name's own part ("attn_q")."""
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


def expression(words: Words) -> str | None:
    """Return the expression that splits a text into words, as `byte_level_tokenizer` takes it."""
    if words == "gpt2":
        return ""
    if words == "single digits":
        return None
    if words == "qwen2":
        return QWEN2_WORDS
    if words == "llama3":
        return QWEN2_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")  # digits in threes, otherwise the same
    assert_never(words)


def _save_tokenizer(folder: Path, reader: Any, header: GgufHeader, limit: int) -> Tokenizer:
    """Save the byte-level tokenizer that the file describes, with exactly the pieces in the file."""

    def said(key: str, default: Any = None) -> Any:
        field = reader.fields.get(f"tokenizer.{key}")
        return default if field is None else field.contents()

    pieces = said("ggml.tokens")
    if len(set(pieces)) != len(pieces):
        raise UnsupportedModelError("Its header lists a token twice (tokenizer.ggml.tokens). Choose another model.")
    rule, ends = SPLITTING[header.fields["tokenizer.ggml.pre"]], ends_of(header)
    tokenizer = byte_level_tokenizer(
        pieces,
        said("ggml.merges"),
        said("ggml.token_type", [1] * len(pieces)),
        expression(rule.words),
        normalizers.NFC() if rule.composed else None,
        ends.ignore_merges,
    )
    special = {}
    for name, key in (("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")):
        identifier = said(f"ggml.{key}_token_id")
        if identifier is not None:
            special[name] = pieces[identifier]
    if ends.bos or ends.eos:
        tokenizer.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=False), _template(special, pieces, ends)]
        )
    template = said("chat_template")
    save_tokenizer(
        tokenizer, folder, limit, sentence_pairs=False, **special, **({"chat_template": template} if template else {})
    )
    return tokenizer


def _template(special: Mapping[str, str], pieces: list[str], ends: Ends) -> Any:
    """Make a template that adds the begin and the end token where the header wants them, around each of two texts."""
    before = [special["bos_token"]] if ends.bos else []
    after = [special["eos_token"]] if ends.eos else []
    single = [*before, "$A", *after]
    second = [part + ":1" for part in (*before, "$B", *after)]
    added = [(token, pieces.index(token)) for token in dict.fromkeys([*before, *after])]
    return processors.TemplateProcessing(single, [*single, *second], added)
