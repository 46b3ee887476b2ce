"""Weights in a checkpoint that nothing here reads: one list says which may be left over; all others are refused.

No torch.

Nothing on the list can change hidden states, attention or predictions: other heads, poolers, and buffers that hold
what the code computes by itself. A buffer is accepted only if it holds exactly that (`dashboard.capture.buffers`
compares).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Buffer = Literal["", "mask", "large", "positions", "zeros", "rotary", "version"]
POOLER, FURTHER = "pooler", "head for further tokens"
CLASSIFIER, QUESTIONS = "classifier", "question-answering head"
READS: Mapping[str, frozenset[str]] = MappingProxyType(  # what a classification head reads, by what it classifies
    {
        "": frozenset(),
        "text": frozenset({CLASSIFIER, POOLER}),
        "tokens": frozenset({CLASSIFIER}),
        "answer": frozenset({CLASSIFIER, QUESTIONS}),
    }
)
LAYER = re.compile(r"(?:^|\.)(?:layers|h|layer|blocks|block)\.(\d+)\.")


@dataclass(frozen=True)
class Accepted:
    """One kind of weights that may be left over.

    Attributes:
        pattern: matches a weight's whole name. what: for a person. buffer: what it must hold; "" for a head, whose
            values may be anything.
        beside: accepted only if there is also a weight of this pattern. where: only with this key and value of the
            configuration. None if neither is needed.
    """

    pattern: re.Pattern[str]
    what: str
    buffer: Buffer = ""
    beside: re.Pattern[str] | None = None
    where: tuple[str, object] | None = None


def _accepted(
    pattern: str, what: str, buffer: Buffer = "", beside: str | None = None, where: tuple[str, object] | None = None
) -> Accepted:
    return Accepted(re.compile(pattern), what, buffer, None if beside is None else re.compile(beside), where)


ACCEPTED = (
    _accepted(r"(\w+\.)?pooler\.(dense\.)?(weight|bias)", POOLER),
    _accepted(r"cls\.seq_relationship\.(weight|bias)", "next-sentence head"),
    _accepted(r"sop_classifier\.classifier\.(weight|bias)", "sentence-order head"),
    _accepted(r"discriminator_predictions\.(dense|dense_prediction)\.(weight|bias)", "replaced-token head"),
    _accepted(r"mask_predictions\.(dense|LayerNorm|classifier)\.(weight|bias)", "replaced-token head"),
    _accepted(
        r"(pre_classifier|classifier(\.(dense|out_proj))?|score|classification_head(\.\w+)?)\.(weight|bias)",
        CLASSIFIER,
    ),
    _accepted(r"(head\.)?(dense|norm)\.(weight|bias)", CLASSIFIER, beside=r"classifier\.(weight|bias)"),
    _accepted(r"(qa_outputs|splinter_qass\.[\w.]+)\.(weight|bias)", QUESTIONS),
    _accepted(r"(multiple_choice_head|sequence_summary)\.summary\.(weight|bias)", "multiple-choice head"),
    _accepted(r"v_head\.(summary\.)?(weight|bias|0\.weight|0\.bias|2\.weight|2\.bias)", "value head"),
    _accepted(r"(esm\.)?contact_head\.regression\.(weight|bias)", "contact head"),
    _accepted(r"(model\.)?mtp(_\w+)?\..+", FURTHER),
    _accepted(
        r"(model\.)?(visual|vision_tower|vision_model|audio_tower|multi_modal_projector)\..+",
        "part for images or sound",
    ),
    _accepted(r"(.+\.)?(attn|attention|self_attention)\.bias", "causal mask", "mask"),
    _accepted(r"(.+\.)?(attn|attention)\.causal_mask", "causal mask", "mask"),
    _accepted(r"(.+\.)?masked_bias", "value of masked scores", "large"),
    _accepted(r"(.+\.)?position_ids", "position numbers", "positions"),
    _accepted(r"(.+\.)?embeddings\.token_type_ids", "numbers of the text", "zeros"),
    _accepted(r"(.+\.)?(rotary\w*|self_attention\.rotary)\.inv_freq", "rotary frequencies", "rotary"),
    _accepted(r"(\w+\.)*version", "format number", "version"),
    _accepted(
        r"(esm\.)?embeddings\.position_embeddings\.weight",
        "positions that rotary ones replace",
        where=("position_embedding_type", "rotary"),
    ),
)


def accepted(name: str, names: Collection[str], config: Mapping[str, Any]) -> Accepted | None:
    """Return the list's entry for a weight called `name` among all `names`; None if it is not on the list."""
    if _is_further_layer(name, config):
        return Accepted(re.compile(re.escape(name)), FURTHER)
    for entry in ACCEPTED:
        if entry.pattern.fullmatch(name) is None:
            continue
        beside = entry.beside is None or any(entry.beside.fullmatch(other) for other in names)
        if beside and (entry.where is None or config.get(entry.where[0]) == entry.where[1]):
            return entry
    return None


def _is_further_layer(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a weight belongs to layers after the last one, which the configuration says predict more tokens."""
    layers, further = config.get("num_hidden_layers"), config.get("num_nextn_predict_layers")
    found = LAYER.search(name)
    if found is None or not isinstance(layers, int) or not isinstance(further, int):
        return False
    return layers <= int(found[1]) < layers + further


def unread(
    names: Collection[str], config: Mapping[str, Any], used: Collection[str] | None = None, classes: str = ""
) -> tuple[str, ...]:
    """Return the accepted weights among `names`, a line for each kind: "pooler (bert.pooler.dense)".

    Args:
        used: names that go into the model; None if that is not known, because nothing was loaded. A pooler counts as
            unread unless a classification head reads it.
        classes: what a classification head that is read classifies (`Judgement.classes`).
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        entry = accepted(name, names, config)
        if entry is None:
            continue
        goes = entry.what in READS[classes] if used is None else name in used
        if not goes or (entry.what == POOLER and POOLER not in READS[classes]):
            groups.setdefault(entry.what, []).append(group(name))
    return tuple(f"{what} ({', '.join(dict.fromkeys(found))})" for what, found in groups.items())


def group(name: str) -> str:
    """Return a weight's name without layer numbers, and without its last part if that adds nothing."""
    return (
        re.sub(r"\.\d+(?=\.|$)", ".*", name)
        .removesuffix(".weight")
        .removesuffix(".bias" if ".attn" not in name else "\0")
    )


def listed(names: Iterable[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    found = list(names)
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
