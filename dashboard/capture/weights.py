"""From a folder's files to a model in memory: everything in the files is read, or the model is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.auto_factory import _get_model_class

from dashboard.capture import class_head
from dashboard.capture.adapted import merge
from dashboard.capture.adapter_weights import AdapterWeights, check_fit, settled
from dashboard.capture.buffers import is_harmless
from dashboard.capture.checkpoint import Checkpoint, Plan, opened, plan, unreadable
from dashboard.capture.configuration import first_line
from dashboard.capture.device import Place
from dashboard.catalog.description import read_config
from dashboard.catalog.prediction_head import Judgement, judge
from dashboard.catalog.unused_weights import CLASSIFIER, Buffer, accepted, listed, unread
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.precision import FULL
from dashboard.errors import ModelError, UnsupportedModelError

POOLER_PLACE = re.compile(r"(^|\.)pooler\.")  # it reads hidden states and changes none
AUTO: dict[ModelKind, Any] = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM, "encoder": AutoModel}


def read_model(
    folder: Path,
    config: PretrainedConfig,
    title: str,
    bound: float,
    place: Place,
    adapter: AdapterWeights | None = None,
) -> tuple[PreTrainedModel, Judgement, tuple[str, ...]]:
    """Return (the model, with its head if the checkpoint has one; what it predicts; which weights nothing reads).

    Args:
        bound: gigabytes that a model may take. Counts what the configuration names, not only what the files hold.
        place: the device, and the numbers to compute in. adapter: of the model in `folder`, to be merged into it, in
            float32.
    """
    raw = read_config(folder)
    if raw.get("quantization_config"):
        raise UnsupportedModelError(
            f"{title} is quantised, and only plain weights can be read. Choose the model that it was made from."
        )
    with opened(folder, title) as found:
        checkpoint = found if adapter is None else adapter.over(found)
        judged = judge(raw if adapter is None else adapter.config(raw), checkpoint.tensors)
        if judged.classes and type(config) not in class_head.AUTO[judged.classes]._model_mapping:
            judged = replace(judged, classes="")
        if any(name.startswith("lm_predictions.") for name in checkpoint.tensors):
            config.legacy = False  # DeBERTa's own head, which its configurations do not mention
        model_class, text_config = _model_class(judged, config, title)
        if adapter is not None:
            text_config = adapter.labelled(text_config, raw)
        plan = _plan(model_class, text_config, checkpoint, title)
        lacks = "" if adapter is None or not judged.classes else _lacking_head(plan, judged.classes)
        if lacks:  # training made it at random and did not save it: nobody knows these classes
            judged = replace(judged, classes="")
            model_class, text_config = _model_class(judged, config, title)
            plan = _plan(model_class, text_config, checkpoint, title)
        if adapter is not None:
            checkpoint, text_config = settled(adapter, plan, found, text_config)
            plan = _plan(model_class, text_config, checkpoint, title)
            check_fit(adapter, plan, checkpoint)
        left = _check_leftovers(plan, checkpoint, raw, title, bool(judged.classes))
        _check_slots(plan, checkpoint, title, judged.classes == "text")
        parameters, beside = plan.numbers()
        first = place if adapter is None else replace(place, dtype=FULL)  # merging is done in float32
        first.check_room(title, parameters, bound, beside)
        tensors = {name: checkpoint.tensors[name] for name in plan.used()}
        model = _load(model_class, text_config, tensors, title, first.numbers)
        _check_buffers(left, checkpoint, model, title)
        if adapter is not None:
            merge(model, adapter)
            for weight in model.parameters():  # buffers stay: positions are computed in float32
                weight.data = weight.data.to(place.numbers)
        model.to(place.device)  # type: ignore[arg-type]
        left_out = unread(checkpoint.tensors, raw, plan.used(), judged.classes)
        return model, judged, (*left_out, f"classes (their head lacks {lacks})") if lacks else left_out


def _model_class(judged: Judgement, config: PretrainedConfig, title: str) -> tuple[Any, PretrainedConfig]:
    """Return (transformers' class for this configuration and kind, the configuration of the part that is read)."""
    auto = class_head.AUTO[judged.classes] if judged.classes else AUTO[judged.kind]
    mapping = auto._model_mapping
    if type(config) not in mapping:
        raise UnsupportedModelError(
            f"{title} ({config.model_type}) belongs to a family that is not supported. Choose another model."
        )
    model_class = _get_model_class(config, mapping)
    text = config.get_text_config()
    return model_class, text if model_class.config_class is type(text) else config


def _plan(model_class: Any, config: PretrainedConfig, checkpoint: Checkpoint, title: str) -> Plan:
    try:
        return plan(model_class, config, checkpoint)
    except Exception as error:  # a strange configuration can make a model class raise anything
        raise UnsupportedModelError(
            f"No {model_class.__name__} can be made from the configuration of {title} ({first_line(error)}). "
            "Choose another model."
        ) from error


def _check_leftovers(
    plan: Plan, checkpoint: Checkpoint, raw: Mapping[str, Any], title: str, reads_classes: bool
) -> dict[str, Buffer]:
    """Return the leftover buffers that are still to be compared; raise if a weight would be lost or misread.

    Args:
        reads_classes: whether the plan has a classification head, so that no part of one may be left over.
    """
    if plan.doubles:
        raise UnsupportedModelError(f"{title} holds two weights for one place: {listed(plan.doubles)}. Save it again.")
    entries = {name: accepted(name, checkpoint.tensors, raw) for name in plan.leftovers}
    lost = [name for name, entry in entries.items() if entry is None or (reads_classes and entry.what == CLASSIFIER)]
    if lost:
        raise UnsupportedModelError(
            f"{title} holds weights that its configuration has no place for: {listed(lost)}. Without them its numbers "
            "would be wrong. Check config.json (layers, biases, kind of positions), or choose another model."
        )
    slots = plan.model.state_dict()
    for target, names in plan.targets.items():
        whole = [name for name in names if slots[target].is_floating_point() and not checkpoint.is_real(name)]
        if whole:
            raise UnsupportedModelError(
                f"{title} holds {whole[0]} as whole numbers (quantised), which is not supported. "
                "Choose the model that it was made from."
            )
    return {name: entry.buffer for name, entry in entries.items() if entry is not None and entry.buffer}


def _check_slots(plan: Plan, checkpoint: Checkpoint, title: str, reads_pooler: bool) -> None:
    """Refuse a checkpoint whose weights do not match its configuration, before allocating memory for missing ones."""
    unlike = plan.unlike(checkpoint)
    if unlike is not None:
        raise _wrong_shape(title, *unlike)
    lacking = plan.lacking()
    _refuse_lacking(title, lacking if reads_pooler else _without_poolers(lacking))


def _wrong_shape(title: str, name: str, theirs: Iterable[int], ours: Iterable[int]) -> ModelError:
    return ModelError(
        f"{title} holds {name} of shape {tuple(theirs)}, but its configuration asks for {tuple(ours)}. "
        "Check config.json."
    )


def _lacking_head(plan: Plan, of: str) -> str:
    """Return a weight that the model, with its classification head, does not get; "" if it has all."""
    lacking = plan.lacking()
    return next(iter(sorted(lacking if of == "text" else _without_poolers(lacking))), "")


def _without_poolers(names: Iterable[str]) -> list[str]:
    """Leave out the weights of a pooler, which only heads for whole texts read."""
    return [name for name in names if not POOLER_PLACE.search(name)]


def _refuse_lacking(title: str, names: Iterable[str]) -> None:
    lacking = sorted(names)
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise ModelError(f"The checkpoint of {title} lacks {lacking[0]}{more}. Download or save it again.")


def _check_buffers(left: Mapping[str, Buffer], checkpoint: Checkpoint, model: PreTrainedModel, title: str) -> None:
    strange = [name for name, kind in left.items() if not is_harmless(kind, checkpoint.read(name), name, model)]
    if strange:
        raise UnsupportedModelError(
            f"{title} holds values that this version of transformers computes differently: {listed(strange)}. "
            "Its numbers would be wrong. Choose another model."
        )


def _load(
    model_class: Any, config: PretrainedConfig, tensors: dict[str, Any], title: str, dtype: torch.dtype
) -> PreTrainedModel:
    """Load these weights into the model in numbers of `dtype`; they must include everything it needs."""
    try:
        model, found = model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except ImportError as error:
        raise UnsupportedModelError(
            f"{title} needs a package that is not installed ({first_line(error)}). Install it, or choose another model."
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise unreadable(title, error) from error
    unlike = sorted(found["mismatched_keys"])
    if unlike:
        raise _wrong_shape(title, *unlike[0])
    _refuse_lacking(title, _without_poolers(found["missing_keys"]))
    return model
