"""What a notebook hands over as a model: the transformers model inside, and what it predicts; or one sentence."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from dashboard.capture.vocabulary import embedding_rows, logits_of
from dashboard.contracts.run import ModelKind
from dashboard.errors import UnsupportedModelError

PROBE = 4  # tokens
log = logging.getLogger(__name__)


def unwrapped(model: object, title: str) -> PreTrainedModel:
    """The transformers model inside wrappers that change how it computes and not what (`torch.compile`,
    `DataParallel`).

    Raises:
        UnsupportedModelError: there is none; the message names the class.
    """
    inner: Any = model
    while True:
        if isinstance(inner, PreTrainedModel):
            return inner
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        elif isinstance(getattr(inner, "_orig_mod", None), nn.Module):  # torch.compile's OptimizedModule
            inner = inner._orig_mod
        else:
            break
    adapted = hasattr(model, "peft_config")
    step = (
        "Merge it into its base first: model.merge_and_unload()."
        if adapted
        else "Hand over the transformers model itself."
    )
    raise UnsupportedModelError(
        f"{title} is a {type(inner).__name__}, not a transformers model (PreTrainedModel), so it cannot be captured. "
        f"{step}"
    )


def kind_in_use(model: PreTrainedModel) -> ModelKind | None:
    """What a model in evaluation mode predicts, by trying: logits over the vocabulary for each token or not, and
    whether the first token's depend on the last one. None where it gives no such logits.
    """
    rows = embedding_rows(model)
    ids = torch.arange(1, PROBE + 1, device=model.device).repeat(2, 1) % rows
    ids[1, -1] = 0
    logits = logits_of(_probed(model, ids))
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 3
        or logits.shape[1] != PROBE
        or logits.shape[2] < rows // 2
    ):
        return None
    if torch.isfinite(logits[:, 0]).any():
        return "causal" if _equal(*logits[:, 0].float()) else "masked"
    states = getattr(_probed(model, ids, output_hidden_states=True), "hidden_states", None) or ()
    for values in reversed(states[1:]):  # the last layer's that are finite
        if torch.isfinite(values[:, 0]).any():
            return "causal" if _equal(*values[:, 0].float()) else "masked"
    return "causal" if any(getattr(module, "is_causal", False) for module in model.modules()) else "masked"


def _probed(model: PreTrainedModel, ids: torch.Tensor, **more: bool) -> Any:
    with torch.inference_mode():
        try:
            return model(input_ids=ids, attention_mask=torch.ones_like(ids), return_dict=True, **more)
        except Exception:  # a model that cannot be tried so has its say when it is captured
            log.info("%s gives no outputs for a short probe", type(model).__name__, exc_info=True)
            return None


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two vectors are the same but for rounding, with values that are not finite at the same places."""
    finite = torch.isfinite(first)
    if not torch.equal(finite, torch.isfinite(second)):
        return False
    one, other = first[finite], second[finite]
    return bool((one - other).abs().max() <= 1e-4 * max(1e-3, float(one.abs().max())))
