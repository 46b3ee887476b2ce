"""Fallback for a family without a file: output embedding as head; final norm found by watching a forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.get_output_embeddings()(hidden)


FAMILY = Family(model_types=(), final_norm=None, head=_head)


def find_final_norm(base: nn.Module, run: Callable[[], torch.Tensor]) -> str | None:
    """Return the path of the norm whose output is the base model's last hidden state and that belongs to no layer.

    A norm inside a layer (BERT's last one) has a layer number in its path; a final norm has none.

    Args:
        base: the model without its head.
        run: does one forward and returns its last hidden state.
    """
    outputs: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                outputs[name] = output

        return hook

    named = [(name, module) for name, module in base.named_modules() if _is_outer_norm(name, module)]
    hooks = [module.register_forward_hook(watch(name)) for name, module in named]
    try:
        last = run()
    finally:
        for hook in hooks:
            hook.remove()
    return next(
        (name for name, output in outputs.items() if output.shape == last.shape and torch.equal(output, last)), None
    )


def _is_outer_norm(name: str, module: nn.Module) -> bool:
    is_norm = "norm" in type(module).__name__.lower() and not any(module.children())
    return is_norm and not any(part.isdigit() for part in name.split("."))
