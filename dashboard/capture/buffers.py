"""Whether an unread buffer in a checkpoint equals what the model's code computes by itself."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from dashboard.catalog.unused_weights import Buffer

LARGE = -1e4  # masked scores were set to this or less
CLOSE = 5e-3  # of each frequency: checkpoints store them in half precision


def is_harmless(kind: Buffer, values: torch.Tensor, name: str, model: PreTrainedModel) -> bool:
    """Whether `values`, stored under `name` as this kind of buffer, are just what `model` has or needs anyway."""
    if kind == "mask":
        return _is_mask(values, name, model)
    if kind == "large":
        return values.numel() == 1 and float(values) <= LARGE
    if kind == "positions":
        return torch.equal(values.flatten().long(), torch.arange(values.numel()))
    if kind == "zeros":
        return not bool(values.any())
    if kind == "rotary":
        return _is_rotary(values.float(), model)
    return kind != "version" or values.numel() == 1


def _is_mask(values: torch.Tensor, name: str, model: PreTrainedModel) -> bool:
    """Whether this is a lower triangle of ones, or the model's own mask if it still has one (some are windows)."""
    for path, own in model.named_buffers():
        if (path == name or path.endswith(f".{name}")) and own.shape == values.shape:
            return torch.equal(own.bool(), values.bool())
    if values.ndim < 2 or values.shape[-1] != values.shape[-2] or values.numel() != values.shape[-1] ** 2:
        return False
    square = values.reshape(values.shape[-2:]).bool()
    return torch.equal(square, torch.ones_like(square).tril())


def _is_rotary(values: torch.Tensor, model: PreTrainedModel) -> bool:
    """Whether these are the frequencies of the model's rotary positions, or those before the model scales them."""
    own = [buffer.float().cpu() for path, buffer in model.named_buffers() if path.endswith("inv_freq")]
    return any(_agree(values, mine) for mine in [*own, *_plain(model, values.numel())])


def _plain(model: PreTrainedModel, count: int) -> list[torch.Tensor]:
    """θ^(−2i/d) for each base θ of the configuration, unscaled."""
    config = model.config.get_text_config()
    said = getattr(config, "rope_parameters", None) or {}
    parts = [said, *(part for part in said.values() if isinstance(part, dict))]
    bases = {float(part["rope_theta"]) for part in parts if isinstance(part.get("rope_theta"), int | float)}
    return [base ** (-torch.arange(count, dtype=torch.float64) / count).float() for base in sorted(bases)]


def _agree(values: torch.Tensor, mine: torch.Tensor) -> bool:
    return values.shape == mine.shape and bool(((values - mine).abs() <= CLOSE * mine.abs()).all())
