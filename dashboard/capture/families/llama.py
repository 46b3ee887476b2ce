"""Llama and the many models built like it: a final RMS or layer norm, then the unembedding, nothing after."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.lm_head(hidden)


FAMILY = Family(
    model_types=(
        "arcee",
        "ernie4_5",
        "exaone4",
        "gemma",
        "glm",
        "gpt_oss",
        "helium",
        "llama",
        "ministral",
        "mistral",
        "mixtral",
        "nemotron",
        "olmo",
        "olmo2",
        "olmo3",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
    ),
    final_norm="norm",
    head=_head,
)
