"""The transformers model inside the object that a notebook passes as a model, or an error that explains; and a
fingerprint for a model that has no files."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dashboard.capture.adapted import is_peft, merged_copy
from dashboard.errors import UnsupportedModelError

OF_A_CALL = ("truncation", "padding")  # parts of a tokenizer that each call sets anew


def unwrapped(model: object, title: str) -> PreTrainedModel:
    """Return the transformers model inside wrappers that change how it computes but not what (`torch.compile`,
    `DataParallel`); of a model with an adapter (peft), a copy with the adapter merged.

    Raises:
        UnsupportedModelError: there is none, which the message says with the class; or its adapter cannot be merged.
    """
    inner: Any = model
    while True:
        if is_peft(inner) and not isinstance(inner, DataParallel | DistributedDataParallel) and not _compiled(inner):
            return merged_copy(inner, title)
        if isinstance(inner, PreTrainedModel):
            return inner
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        elif _compiled(inner):
            inner = inner._orig_mod
        else:
            break
    raise UnsupportedModelError(
        f"{title} is a {type(inner).__name__}, not a transformers model (PreTrainedModel), so it cannot be captured. "
        "Pass the transformers model itself."
    )


def _compiled(model: object) -> bool:
    """Whether a model is torch.compile's, itself: peft's hands on the names of what is inside it."""
    return isinstance(model, nn.Module) and isinstance(model._modules.get("_orig_mod"), nn.Module)


def fingerprint_in_memory(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash over configuration, weights and tokenizer, as 64 hex digits: what a model reads a text with counts
    as much as its weights, as it does among a model's files (`catalog.fingerprint`)."""
    digest = hashlib.sha256(model.config.to_json_string().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update(json.dumps(_parts_of(tokenizer), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of a tokenizer's tokens, if it lists them: a tokenizer of one's own may have the calls alone."""
    return dict(tokenizer.get_vocab()) if hasattr(tokenizer, "get_vocab") else {}


def _parts_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return the parts of a tokenizer that decide on a model's inputs, whatever it was called with before."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole = {"vocab": _vocabulary(tokenizer)} if backend is None else json.loads(backend.to_str())
    parts = {name: value for name, value in whole.items() if name not in OF_A_CALL}
    return parts | {name: getattr(tokenizer, name, None) for name in ("special_tokens_map", "model_input_names")}
