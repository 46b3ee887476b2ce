"""The logit lens: what the model would predict at each position if it stopped after each layer.

Each layer's residual stream goes through the model's own final norm and prediction head (nostalgebraist, "interpreting GPT:
the logit lens", 2020), with that layer's own statistics in the norm, which is applied once: the last of Hugging Face's hidden
states is past it already. What the head does after the unembedding (softcap, scale) is part of it. A masked model's lens is its
whole prediction head, of the text as it stands. The distance to the last layer is KL(last ‖ layer) in nats, as in Belrose et
al. 2023 (arXiv 2303.08112).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dashboard.compute.declaration import Computed, Kind, OnProgress, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import Progress
from dashboard.contracts.prediction import TokenProbability, texts_of
from dashboard.contracts.run import ModelRun
from dashboard.contracts.streams import check as check_index
from dashboard.errors import MissingArrayError

if TYPE_CHECKING:
    import torch

    from dashboard.models.loader import LoadedModel

NAME = "logit-lens"
TOP_K = 10
CHUNK_BYTES = 32 * 2**20  # of the logits of one layer at once: two of these are held
NAMES = ("top_ids", "top_logprobs", "entropy", "actual_logprob", "actual_rank", "final_logprob", "final_rank", "kl")


@dataclass(frozen=True)
class LogitLens:
    """What each layer would predict. Places of the arrays: 0 is the embeddings, i + 1 comes after layer i.

    Attributes:
        top_ids: (place, position, k) int32, likeliest first; top_logprobs: the same in nats.
        entropy: (place, position) nats.
        actual_logprob, actual_rank: (place, position), of the token that really comes next (masked models: stands there); NaN and
            0 where there is none. 1 is the likeliest.
        final_logprob, final_rank: (place, position), of the token that the last layer finds likeliest at that position.
        kl: (place, position) nats, KL(last layer's distribution ‖ this one's); 0 at the last.
    """

    top_ids: np.ndarray
    top_logprobs: np.ndarray
    entropy: np.ndarray
    actual_logprob: np.ndarray
    actual_rank: np.ndarray
    final_logprob: np.ndarray
    final_rank: np.ndarray
    kl: np.ndarray
    vocabulary: np.ndarray

    @cached_property
    def _texts(self) -> dict[int, str]:
        return texts_of({"vocabulary": self.vocabulary})

    def top(self, layer: int, position: int) -> tuple[TokenProbability, ...]:
        """The likeliest tokens after `layer` (−1: of the embeddings) at `position`.

        Raises:
            BadSelectionError: there is no such layer or position.
        """
        places, positions, _k = self.top_ids.shape
        check_index("layer", layer + 1, places)
        check_index("token", position, positions)
        pairs = zip(self.top_ids[layer + 1, position].tolist(), self.top_logprobs[layer + 1, position].tolist(), strict=True)
        return tuple(TokenProbability(i, self._texts[i], float(np.exp(p)), p) for i, p in pairs)


def check(run: ModelRun, _parameters: Parameters) -> None:
    """Raise `MissingArrayError` where the model predicts nothing."""
    if not run.has_predictions:
        raise MissingArrayError(f"{run.model.title} predicts no tokens here. Choose a model that does.")


def compute(loaded: LoadedModel, run: ModelRun, _parameters: Parameters, progress: OnProgress) -> Computed:
    """The arrays of `LogitLens`. Some positions at a time, so that layers × positions × vocabulary is never held.

    Raises:
        MissingArrayError: the model's head, or its final norm, is not one that is known for certain.
    """
    import torch

    from dashboard.models.anatomy import anatomy, base_of, family_head, norm_module
    from dashboard.models.predictions import vocabulary

    model, known = loaded.model, anatomy(loaded.model, loaded.info)
    if not known.has_head or (known.past_norm and known.final_norm is None):
        raise MissingArrayError(f"How {run.model.title} makes predictions of a layer is not known. Choose another model.")
    norm = norm_module(base_of(model), known.final_norm)
    places, count = run.model.layers + 1, len(run)
    actual = torch.tensor(_actual(run), device=model.device)
    rows = max(1, CHUNK_BYTES // (4 * run.model.vocabulary))
    parts: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in range(places)]

    def logits_at(place: int, first: int) -> torch.Tensor:
        states = torch.tensor(np.asarray(run.hidden_states[place][first : first + rows]), device=model.device).to(model.dtype)
        if norm is not None and place < places - 1:
            states = norm(states)
        return family_head(model, known, states).float()

    with known.lock, torch.inference_mode():
        for first in range(0, count, rows):
            last = torch.log_softmax(logits_at(places - 1, first), dim=-1)
            for place in range(places):
                done = f"{first + 1} to {min(count, first + rows)} of {count:,} tokens, place {place + 1} of {places}"
                progress(Progress("predictions", first * places + place, count * places, f"Lens: {done}"))
                parts[place].append(_reduced(logits_at(place, first), last, actual[first : first + rows]))
    whole = [[torch.cat(chunks) for chunks in zip(*part, strict=True)] for part in parts]  # by place, then in the order of NAMES
    found = [torch.stack(by_place).cpu().numpy() for by_place in zip(*whole, strict=True)]
    arrays = dict(zip(NAMES, found, strict=True))
    return Computed({**arrays, "vocabulary": vocabulary(loaded.tokenizer, known, arrays["top_ids"], actual.cpu().numpy())})


def _actual(run: ModelRun) -> list[int]:
    """The token that is asked for at each position, −1 for none: as of the run's own predictions."""
    if run.model.kind == "causal":
        return [*(token.id for token in run.tokens[1:]), -1]
    return [-1 if token.sign == "mask" else token.id for token in run.tokens]


def _reduced(logits: torch.Tensor, last: torch.Tensor, actual: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What is kept of (position, vocabulary) logits, in the order of `NAMES`; `last`: the last layer's log-probabilities."""
    import torch

    from dashboard.models.predictions import likeliest

    logprobs = torch.log_softmax(logits, dim=-1)
    values, ids = likeliest(logprobs, TOP_K)
    asked, final = actual.clamp(min=0)[:, None], last.argmax(dim=-1, keepdim=True)

    def of(token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mine = logprobs.gather(1, token)
        return mine[:, 0], (logprobs > mine).sum(dim=1).to(torch.int32) + 1

    none = actual < 0
    (actual_logprob, actual_rank), (final_logprob, final_rank) = of(asked), of(final)
    return (
        ids.to(torch.int32),
        values,
        -torch.special.xlogy(logprobs.exp(), logprobs.exp()).sum(dim=1),
        actual_logprob.masked_fill(none, torch.nan),
        actual_rank.masked_fill(none, 0),
        final_logprob,
        final_rank,
        torch.where(last == -torch.inf, 0.0, last.exp() * (last - logprobs)).sum(dim=1).clamp(min=0),
    )


def read(_run: ModelRun, result: Derived) -> LogitLens:
    """The lens of every layer at every position."""
    return LogitLens(**{name: result.arrays[name] for name in (*NAMES, "vocabulary")})


KIND = Kind(NAME, "The logit lens", (), check, compute, read)
