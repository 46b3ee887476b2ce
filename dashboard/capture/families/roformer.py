"""RoFormer and RemBERT: BERT with rotary positions, or with embeddings of another width; post-norm, and BERT's head."""

from __future__ import annotations

from typing import Any

import torch

from dashboard.capture.families import Family


def _head(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    return model.cls(hidden)


FAMILY = Family(model_types=("rembert", "roformer"), final_norm=None, head=_head)
