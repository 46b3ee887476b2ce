"""What a checkpoint predicts, judged by its weights: its class name may be missing, misspelled, or claim too much.

No torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from dashboard.catalog.architecture import family_source
from dashboard.contracts.classes import ClassesOf
from dashboard.contracts.model_info import ModelKind, Without

# weights of the heads that give logits over the vocabulary, in the families that can be captured
OVER_THE_VOCABULARY = re.compile(
    r"(lm_head|embed_out|output_projection|cls\.predictions|predictions|generator_predictions|generator_lm_head"
    r"|vocab_(transform|layer_norm|projector)|mlm_head|unembedding_projection|lm_predictions|pred_layer)\..+|decoder\.(weight|bias)|head\.decoder\..+"
)
OVER_CLASSES = re.compile(
    r"(classifier|pre_classifier|classification_head|score|qa_outputs|discriminator_predictions|splinter_qass"
    r"|cls\.seq_relationship|sop_classifier)\..+"
)
OTHER = re.compile(r"(cls\.seq_relationship|discriminator_predictions|sop_classifier)\..+")  # of other kinds
READ = re.compile(r"(classifier|pre_classifier|score|qa_outputs)\..+")  # of the heads that are read
# weights that only heads of one kind have
ONLY: Mapping[ClassesOf, re.Pattern[str]] = MappingProxyType(
    {
        "answer": re.compile(r"qa_outputs\..+"),
        "text": re.compile(r"(pre_classifier|classifier\.(dense|out_proj))\..+"),
    }
)
NAMED: Mapping[ClassesOf, str] = MappingProxyType(  # the ends of the names of transformers' classes
    {"text": "ForSequenceClassification", "tokens": "ForTokenClassification", "answer": "ForQuestionAnswering"}
)
# (label, …): the last weight of such a head
LABEL_ROWS = re.compile(r"(score|classifier(\.out_proj)?|qa_outputs)\.weight")
NAMED_OTHERWISE = re.compile(r"For(MultipleChoice|NextSentencePrediction|PreTraining)$|DoubleHeads")


@dataclass(frozen=True)
class Judgement:
    """`kind`: what the model predicts. `without`: what it is if it predicts no tokens; "" if it does. `classes`: what
    its classification head classifies; "" if it has none, or one that is not read here.
    """

    kind: ModelKind
    without: Without = ""
    classes: ClassesOf | Literal[""] = ""


def judge(config: Mapping[str, Any], names: Collection[str]) -> Judgement:
    """Judge what the weights called `names` predict.

    Args:
        config: the configuration as JSON. names: of all weights in the checkpoint; empty if they are unknown, in which
            case the name of its class must do.
    """
    source = family_source(str(config.get("model_type") or ""))
    masked = source is not None and source.masked and not config.get("is_decoder")
    causal = source is not None and source.causal and not _reads_ahead(config)
    if not names:
        return _by_class(config, masked)
    if any(OVER_THE_VOCABULARY.fullmatch(name) for name in names) and (masked or causal):
        return Judgement("masked" if masked else "causal")
    if has_classes(names):
        return Judgement("encoder", "classifier", _classes(config, names))
    if causal and not masked and is_tied(config):
        return Judgement("causal")  # its input embedding is its head
    return Judgement("encoder", "embeddings")


def has_classes(names: Collection[str]) -> bool:
    """Whether some of these weights are a classifier's."""
    return any(OVER_CLASSES.fullmatch(name) for name in names)


def has_other_classes(names: Collection[str]) -> bool:
    """Whether some of these weights are those of a head whose classes are not read."""
    return any(OTHER.fullmatch(name) for name in names)


def _classes(config: Mapping[str, Any], names: Collection[str]) -> ClassesOf | Literal[""]:
    """What a classifier classifies. The names of its weights tell it for some families; for the others, whose heads for
    texts and for tokens have the same names, the name of its class must do.
    """
    architectures = [str(name) for name in config.get("architectures") or ()]
    if any(NAMED_OTHERWISE.search(name) for name in architectures) or not any(map(READ.fullmatch, names)):
        return ""
    for of, pattern in ONLY.items():
        if any(map(pattern.fullmatch, names)):
            return of
    return next((of for of, end in NAMED.items() if any(name.endswith(end) for name in architectures)), "")


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the input embedding is also the output embedding, as the configuration or else its family says."""
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        if isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    source = family_source(str(config.get("model_type") or ""))
    return source is not None and source.tied


def _reads_ahead(config: Mapping[str, Any]) -> bool:
    """Whether the configuration makes a causal family read in both directions (embedding models built on Gemma 3)."""
    inner = config.get("text_config")
    parts = (config, inner if isinstance(inner, dict) else {})
    return any(part.get("use_bidirectional_attention") is True for part in parts)


def _by_class(config: Mapping[str, Any], masked: bool) -> Judgement:
    for name in map(str, config.get("architectures") or ()):
        if "MaskedLM" in name or (masked and re.search(r"ForPreTraining|LMHead|CausalLM", name)):
            return Judgement("masked")
        if re.search(r"CausalLM|LMHead", name):
            return Judgement("causal")
        if re.search(r"Classification|QuestionAnswering|MultipleChoice|NextSentence", name):
            return Judgement("encoder", "classifier", next((of for of, end in NAMED.items() if name.endswith(end)), ""))
    return Judgement("encoder", "embeddings")
