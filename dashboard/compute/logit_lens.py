"""The logit lens: what the model would predict at each position if it stopped after each layer.

Each layer's residual stream goes through the model's own final norm and prediction head (nostalgebraist, "interpreting
GPT: the logit lens", 2020), with that layer's own statistics in the norm. The norm is applied once: the last of Hugging
Face's hidden states is already past it. The head includes everything after the unembedding (softcap, scale). A masked
model's lens is its whole prediction head, applied to the unmasked text. The distance to the last layer is KL(last ‖
layer) in nats, as in Belrose et al. 2023 (arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dashboard.compute.declaration import Computed, Kind, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.lens import NAMES, LogitLens
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError

if TYPE_CHECKING:
    import torch

    from dashboard.capture.loader import LoadedModel
    from dashboard.capture.model_probe import ModelProbe

NAME = "logit-lens"
WORD_NAMES = ("word_logprob", "word_rank")
TOP_K = 10
CHUNK_BYTES = 32 * 2**20  # of one layer's logits at once; two of these are held
# limit for one pass through the head: about half a second on one core, after which other jobs may go first
STEP_OPERATIONS = 2 * 10**10


@dataclass(frozen=True)
class Last:
    """The last layer's distribution at some positions: (position, vocabulary) probabilities, (position,) Σ q·ln q,
    (position, 1) ids of the likeliest."""

    probabilities: torch.Tensor
    negentropy: torch.Tensor
    best: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor) -> Last:
        """Compute from (position, vocabulary) logits, which are overwritten."""
        best = logits.argmax(dim=1, keepdim=True)
        logprobs = logits.log_softmax(dim=1)
        probabilities = logits.copy_(logprobs).exp_()
        return cls(probabilities, _dot(probabilities, logprobs), best)

    def block(self, rows: slice) -> Last:
        """Return some of the positions."""
        return Last(self.probabilities[rows], self.negentropy[rows], self.best[rows])


def check(run: ModelRun, _parameters: Parameters) -> None:
    """Raise `MissingArrayError` if the model predicts nothing."""
    if not run.has_predictions:
        raise MissingArrayError(f"{run.model.title} predicts no tokens here. Choose a model that does.")


def compute(loaded: LoadedModel, run: ModelRun, _parameters: Parameters, progress: OnProgress) -> Computed:
    """Compute the arrays of `LogitLens`.

    Raises:
        MissingArrayError: the model's head, or its final norm, is not known for certain.
    """
    with saying_why(run):
        arrays = arrays_of(loaded, run.hidden_states, actual_ids(run), progress)
    return Computed(with_texts(arrays, loaded, arrays["top_ids"], np.asarray(actual_ids(run))))


@contextmanager
def saying_why(run: ModelRun) -> Iterator[None]:
    """Blame a failed lens on the run's non-finite values, if any: they hide how the model makes its predictions."""
    try:
        yield
    except MissingArrayError as error:
        if run.not_finite is None:
            raise
        raise MissingArrayError(
            f"The lens cannot be computed; use weights in float32. {run.not_finite.sentence}"
        ) from error


def arrays_of(
    loaded: LoadedModel,
    hidden_states: Sequence[np.ndarray],
    actual: Sequence[int],
    progress: OnProgress,
    words: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Compute the arrays of `LogitLens` except the vocabulary.

    Works on some positions at a time, so that layers × positions × vocabulary is never held.

    Args:
        hidden_states: per place (position, hidden), as Hugging Face gives them. actual: (position,) ids, −1 for none.
        words: ids of further tokens; if there are any, the result also has `word_logprob` and `word_rank`, (place,
            position, word).

    Raises:
        MissingArrayError: as in `compute`.
    """
    import torch

    from dashboard.capture.model_probe import base_of, family_head, norm_module

    model, info = loaded.model, loaded.info
    known = _known_head(loaded)
    norm = norm_module(base_of(model), known.final_norm)
    places, count = len(hidden_states), len(actual)
    asked, followed = (torch.tensor(list(ids), dtype=torch.int64, device=model.device) for ids in (actual, words))
    rows = rows_of_a_step(info.hidden_size, info.vocabulary)
    parts: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in range(places)]

    def logits_at(at: range, first: int) -> torch.Tensor:
        """(places × positions, vocabulary) logits of some places, one after the other."""
        found = []
        for place in at:
            states = torch.tensor(np.asarray(hidden_states[place][first : first + rows]), device=model.device).to(
                model.dtype
            )
            found.append(norm(states) if norm is not None and place < places - 1 else states)
        if len({states.shape[1] for states in found}) > 1:  # OPT's last hidden state is narrower than the others
            return torch.cat([family_head(model, known, states) for states in found]).float()
        return family_head(model, known, torch.cat(found)).float()

    with known.lock, torch.inference_mode():
        for first in range(0, count, rows):
            positions, end = asked[first : first + rows], min(count, first + rows)
            last = Last.of(logits_at(range(places - 1, places), first))
            # places whose logits are computed together: reading the head's weights is expensive
            together = max(1, rows // len(positions))
            for start in range(0, places, together):
                at = range(start, min(places, start + together))
                done = f"{first + 1} to {end} of {count:,} tokens, layer {start + 1} of {places}"
                progress(Progress("predictions", first * places + start, count * places, f"Lens: {done}"))
                for place, logits in zip(at, logits_at(at, first).split(len(positions)), strict=True):
                    parts[place].append(_reduced(logits, last, positions, followed if words else None))
    # by place, then in the order of the names
    whole = [[torch.cat(chunks) for chunks in zip(*part, strict=True)] for part in parts]
    found = [torch.stack(by_place).cpu().numpy() for by_place in zip(*whole, strict=True)]
    return dict(zip((*NAMES, *WORD_NAMES) if words else NAMES, found, strict=True))


def _known_head(loaded: LoadedModel) -> ModelProbe:
    """Return what is known of a model whose prediction head can be applied to any layer; raises like `arrays_of`."""
    from dashboard.capture.model_probe import model_probe

    known = model_probe(loaded.model, loaded.info)
    if not known.has_head or (known.past_norm and known.final_norm is None):
        raise MissingArrayError(
            f"The dashboard does not know how {loaded.info.title} predicts from a layer's state. Choose another model."
        )
    return known


def with_texts(arrays: Mapping[str, np.ndarray], loaded: LoadedModel, *ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays with the `vocabulary` of these ids."""
    from dashboard.capture.model_probe import model_probe
    from dashboard.capture.predictions import vocabulary

    return {**arrays, "vocabulary": vocabulary(loaded.tokenizer, model_probe(loaded.model, loaded.info), *ids)}


def actual_ids(run: ModelRun) -> list[int]:
    """Return the actual token at each position, −1 for none, as in the run's own predictions."""
    if run.model.kind == "causal":
        return [*(token.id for token in run.tokens[1:]), -1]
    return [-1 if token.sign == "mask" else token.id for token in run.tokens]


def rows_of_a_step(hidden_size: int, vocabulary: int) -> int:
    """Return for how many positions to compute logits at once."""
    return max(1, min(CHUNK_BYTES // (4 * vocabulary), STEP_OPERATIONS // (2 * hidden_size * vocabulary)))


def _reduced(
    logits: torch.Tensor, last: Last, actual: torch.Tensor, words: torch.Tensor | None = None
) -> tuple[torch.Tensor, ...]:
    """Reduce (position, vocabulary) logits to the arrays kept, in the order of `NAMES`, then of `WORD_NAMES` if words
    are followed; overwrites the logits, in blocks that fit the caches.
    """
    import torch

    from dashboard.capture.predictions import BLOCK_FLOATS

    rows = max(1, BLOCK_FLOATS * torch.get_num_threads() // logits.shape[1])
    scratch = logits.new_empty(min(rows, len(logits)), logits.shape[1])
    parts = []
    for first in range(0, len(logits), rows):
        block = slice(first, first + rows)
        parts.append(_block(logits[block], scratch[: len(logits[block])], last.block(block), actual[block], words))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _block(
    logits: torch.Tensor, scratch: torch.Tensor, last: Last, actual: torch.Tensor, words: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """Reduce one block.

    With m the largest logit and Z = Σ exp(logit − m): log p = (logit − m) − ln Z, entropy = ln Z − Σ p·(logit − m), and
    KL(last ‖ this) = Σ q·ln q − Σ q·(logit − m) + ln Z with the last layer's q.
    """
    import torch

    from dashboard.capture.predictions import likeliest

    values, ids = likeliest(logits, TOP_K)
    top, asked = values[:, :1], actual.clamp(min=0)[:, None]
    mine, final = logits.gather(1, asked), logits.gather(1, last.best)
    more = () if words is None else logits[:, words].split(1, dim=1)
    ranks = [torch.gt(logits, one, out=scratch).sum(dim=1).to(torch.int32) + 1 for one in (mine, final, *more)]
    logits -= top
    torch.softmax(logits, dim=1, out=scratch)
    log_z = -scratch.gather(1, ids[:, :1]).log()
    entropy = log_z[:, 0] - _dot(scratch, logits)
    kl = last.negentropy - _dot(last.probabilities, logits) + log_z[:, 0]
    none = actual < 0
    return (
        ids.to(torch.int32),
        values - top - log_z,
        entropy.clamp(min=0),
        (mine - top - log_z)[:, 0].masked_fill(none, torch.nan),
        ranks[0].masked_fill(none, 0),
        (final - top - log_z)[:, 0],
        ranks[1],
        kl.clamp(min=0),
        *((torch.cat(more, dim=1) - top - log_z, torch.stack(ranks[2:], dim=1)) if more else ()),
    )


def _dot(probabilities: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """(position,) Σ p·logit, where 0 · −∞ is 0: an impossible token contributes nothing."""
    import torch

    found = torch.linalg.vecdot(probabilities, logits)
    odd = torch.isnan(found)
    if bool(odd.any()):
        some, of = probabilities[odd], logits[odd]
        found[odd] = torch.where(some == 0, 0.0, some * of).sum(dim=1)
    return found


def read(_run: ModelRun, result: Derived) -> LogitLens:
    """Return the lens of every layer at every position."""
    return LogitLens(**{name: result.arrays[name] for name in (*NAMES, "vocabulary")})


KIND = Kind(NAME, "The logit lens", (), check, compute, read, gives_way=True)
