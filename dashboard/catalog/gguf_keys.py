"""What each key of a GGUF header means here: applied, without effect on the numbers, or a reason to refuse the file.

No torch.

Defaults are llama.cpp's for the same header (src/llama-vocab.cpp and src/llama-model.cpp, read in November 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dashboard.catalog.foreign_files import shown
from dashboard.catalog.gguf_header import GgufHeader

# how a text is split into words; from_gguf.py has the expressions
Words = Literal["gpt2", "single digits", "qwen2", "llama3"]


@dataclass(frozen=True)
class Splitting:
    """What a value of `tokenizer.ggml.pre` stands for.

    Attributes:
        composed: accents are composed first. llama_3: words that are whole pieces are not split (`ignore_merges`), and
            a begin token is added.
    """

    words: Words
    composed: bool = False
    llama_3: bool = False


SPLITTING: Mapping[str, Splitting] = {  # every known rule; others are refused
    "gpt-2": Splitting("gpt2"),
    "smollm": Splitting("single digits"),
    "qwen2": Splitting("qwen2", composed=True),
    "deepseek-r1-qwen": Splitting("qwen2", composed=True),
    "smaug-bpe": Splitting("llama3"),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe"), Splitting("llama3", llama_3=True)),
}
APPLIED = frozenset(  # keys of the family that from_gguf.py reads
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.factor",
        "rope.scaling.type",
        "vocab_size",
    }
)
APPLIED_TOKENIZER = frozenset(
    f"tokenizer.{name}"
    for name in (
        "chat_template",
        "ggml.add_bos_token",
        "ggml.add_eos_token",
        "ggml.bos_token_id",
        "ggml.eos_token_id",
        "ggml.merges",
        "ggml.model",
        "ggml.padding_token_id",
        "ggml.pre",
        "ggml.token_type",
        "ggml.tokens",
        "ggml.unknown_token_id",
    )
)
NEUTRAL: Mapping[str, tuple[Any, ...]] = {  # keys of the family: values that change nothing in the computation
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.scale": (0,),
    "attention.shared_kv_layers": (0,),
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0,),
    "embedding_scale": (0, 1),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0,),
    "leading_dense_block_count": (0,),
    "logit_scale": (0, 1),
    "nextn_predict_layers": (0,),
    "residual_scale": (0, 1),
    "rope.scaling.attn_factor": (0, 1),
    "tensor_data_layout": ("Meta AI original pth", "reference"),
    "use_parallel_residual": (False,),
}
NEUTRAL_ELSEWHERE: Mapping[str, tuple[Any, ...]] = {
    "general.type": ("model",),
    "split.count": (0, 1),
    "split.no": (0,),
    "tokenizer.ggml.add_sep_token": (False,),
    "tokenizer.ggml.add_space_prefix": (False,),
    "tokenizer.ggml.remove_extra_whitespaces": (False,),
}
# keys that have no effect on the numbers: where the file comes from, how to chat or to pool with it
SILENT = re.compile(
    r"general\.(?!type$).*"
    r"|(imatrix|quantize|mradermacher|split\.tensors)\..*"
    r"|tokenizer\.(chat_template\..+|chat_templates|huggingface\.json)"
    r"|tokenizer\.ggml\.(scores|eot_token_id|eom_token_id|seperator_token_id|cls_token_id|mask_token_id)"
    r"|tokenizer\.ggml\.(fim_(pre|suf|mid|pad|rep|sep)|prefix|suffix|middle)_token_id"
    r"|FAMILY\.(pooling_type|rope\.scaling\.(original_context_length|finetuned))",
    re.S,
)


def refused_key(header: GgufHeader) -> str:
    """Return why a key of the header rules out the file, as a clause that names the key; "" if all keys are applied or
    have no effect."""
    family = header.architecture
    for key in sorted({*header.fields, *header.arrays}):
        own = key.removeprefix(f"{family}.") if key.startswith(f"{family}.") else None
        if own in APPLIED or key in APPLIED_TOKENIZER:
            wrong = _wrong_form(header, key)
            if wrong:
                return wrong
            continue
        if SILENT.fullmatch(key if own is None else f"FAMILY.{own}"):
            continue
        neutral = NEUTRAL_ELSEWHERE.get(key, ()) if own is None else NEUTRAL.get(own, ())
        value = header.fields.get(key)
        if key in header.arrays or not any(value == one and isinstance(value, type(one) | float) for one in neutral):
            what = "a list" if key in header.arrays else _said(value)
            return f"its header says {shown(key, 80)} = {what}, which is not supported"
    return ""


ARRAYS = frozenset(f"tokenizer.ggml.{name}" for name in ("merges", "token_type", "tokens"))


def _wrong_form(header: GgufHeader, key: str) -> str:
    """Return why from_gguf.py cannot take the form of an applied key's value, as a clause; "" if it can."""
    if (key in ARRAYS) != (key in header.arrays):
        return f"its header has {key} in a form that is not supported"
    return ""


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else shown(str(value), 40)


@dataclass(frozen=True)
class Rope:
    """How positions rotate: `base`, and the factor by which positions are divided (1 for none)."""

    base: float
    factor: float


def rope_of(header: GgufHeader) -> Rope:
    """Read base and linear scaling (llama.cpp's defaults: a factor without a type is linear; the older key counts)."""
    base = float(header.said("rope.freq_base", 10_000.0))
    factor = float(header.said("rope.scaling.factor", 0) or header.said("rope.scale_linear", 0) or 1)
    return Rope(base, 1.0 if header.said("rope.scaling.type", "linear") == "none" else factor)


@dataclass(frozen=True)
class Ends:
    """Which tokens begin and end a text, and whether a word that is one piece is kept whole."""

    bos: bool
    eos: bool
    ignore_merges: bool


def ends_of(header: GgufHeader) -> Ends:
    """Return what the header says, else llama.cpp's defaults: the rules of Llama 3 add a begin token."""
    rule = splitting_of(header)
    of_llama_3 = rule is not None and rule.llama_3
    return Ends(
        bos=bool(header.fields.get("tokenizer.ggml.add_bos_token", of_llama_3)),
        eos=bool(header.fields.get("tokenizer.ggml.add_eos_token", False)),
        ignore_merges=of_llama_3,
    )


def splitting_of(header: GgufHeader) -> Splitting | None:
    """Return how the model's texts are split; None if that is unknown."""
    return SPLITTING.get(str(header.fields.get("tokenizer.ggml.pre")))


def refused_tokenizer(header: GgufHeader) -> str:
    """Return why texts cannot be split here as the model's own tokenizer does, as a clause; "" if they can."""
    model, rule = header.fields.get("tokenizer.ggml.model"), header.fields.get("tokenizer.ggml.pre")
    if model != "gpt2":
        return f"its kind of tokenizer is not supported (tokenizer.ggml.model = {_said(model or 'none')})"
    if rule is None:
        return "its header does not say how texts are split (tokenizer.ggml.pre is missing)"
    if splitting_of(header) is None:
        return f"its tokenizer splits texts by an unknown rule (tokenizer.ggml.pre = {_said(rule)})"
    pieces = header.arrays.get("tokenizer.ggml.tokens", 0)
    if not pieces or not header.arrays.get("tokenizer.ggml.merges"):
        return "its header has no tokens or no merges (tokenizer.ggml.tokens, tokenizer.ggml.merges)"
    if header.arrays.get("tokenizer.ggml.token_type", pieces) != pieces:
        return "its header does not have one type for each token (tokenizer.ggml.token_type)"
    return _refused_ends(header, pieces)


def _refused_ends(header: GgufHeader, pieces: int) -> str:
    for name in ("bos", "eos", "unknown", "padding"):
        number = header.fields.get(f"tokenizer.ggml.{name}_token_id")
        if number is not None and not (isinstance(number, int) and 0 <= number < pieces):
            return f"its header names a token that it does not have (tokenizer.ggml.{name}_token_id = {_said(number)})"
    ends = ends_of(header)
    for name, added in (("bos", ends.bos), ("eos", ends.eos)):
        if added and f"tokenizer.ggml.{name}_token_id" not in header.fields:
            return f"its texts get a token that the header does not name (tokenizer.ggml.{name}_token_id is missing)"
    return ""


def refused_rope(header: GgufHeader) -> str:
    """Return why the model's rotary positions cannot be converted, as a clause; "" if they can."""
    kind = header.said("rope.scaling.type", "linear")
    if "rope_freqs.weight" in header.tensors or kind not in ("none", "linear"):
        what = "rope_freqs.weight" if kind in ("none", "linear") else f"rope.scaling.type = {_said(kind)}"
        return f"its rotary positions are scaled ({what}), which is not supported"
    rope = rope_of(header)
    if not (rope.base > 0 and rope.factor > 0):
        return f"its rotary positions have an impossible base or factor ({rope.base:g}, {rope.factor:g})"
    return ""


def refused_sizes(header: GgufHeader) -> str:
    """Return why heads of such sizes cannot be converted, as a clause; "" if they can."""
    hidden, heads = header.number("embedding_length"), header.number("attention.head_count")
    keys = header.number("attention.head_count_kv") or heads
    missing = [
        key
        for key in ("block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count")
        if header.number(key) < 1
    ]
    if missing or not isinstance(header.said("attention.layer_norm_rms_epsilon", None), float):
        return f"its header lacks {header.architecture}.{missing[0] if missing else 'attention.layer_norm_rms_epsilon'}"
    if heads % keys:
        return f"its {heads} heads do not share {keys} key heads evenly"
    size = header.number("attention.key_length") or hidden // heads
    if header.architecture == "qwen2" and size * heads != hidden:
        return f"its heads have {size} numbers each (qwen2.attention.key_length), not the hidden size's share"
    if header.said("attention.value_length", size) != size:
        return f"its values have other sizes than its keys ({header.architecture}.attention.value_length)"
    if header.said("rope.dimension_count", size) != size:
        return (
            f"only a part of each head is rotated ({header.architecture}.rope.dimension_count), which is not supported"
        )
    pieces = header.arrays.get("tokenizer.ggml.tokens", 0)
    if header.said("vocab_size", pieces) != pieces:
        return (
            f"its vocabulary has {pieces:,} tokens, but {header.architecture}.vocab_size says "
            f"{header.number('vocab_size'):,}"
        )
    return ""
