"""The logit lens: what the model would predict at each position if it stopped after each layer.

Each layer's residual stream goes through the model's own final norm and prediction head (nostalgebraist, "interpreting
GPT: the logit lens", 2020), with that layer's own statistics in the norm. The norm is applied once: the last of Hugging
Face's hidden states is already past it. The head includes everything after the unembedding (softcap, scale). A masked
model's lens is its whole prediction head, applied to the unmasked text. The distance to the last layer is KL(last ‖
layer) in nats, as in Belrose et al. 2023 (arXiv 2303.08112).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
CHUNK_BYTES = 32 * 2**20  # of logits at once
BLOCK_FLOATS = 2**18  # of logits in one block per core, 1 MiB: a block and as much scratch stay in its level-2 cache
# limit for one pass through the head: about half a second on one core, after which other jobs may go first
STEP_OPERATIONS = 2 * 10**10


@dataclass(frozen=True)
class Last:
    """The last layer's distribution at one position: (vocabulary,) probabilities q, Σ q·ln q, the likeliest id."""

    probabilities: torch.Tensor
    negentropy: torch.Tensor
    best: int

    @classmethod
    def of(cls, logits: torch.Tensor) -> Last:
        """Compute from (vocabulary,) logits."""
        import torch

        logprobs = logits.log_softmax(dim=0)
        probabilities = logprobs.exp()
        negentropy = _sum((probabilities * logprobs).sum()[None], logprobs[None], torch.exp)[0]
        return cls(probabilities, negentropy, int(logits.argmax()))


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
    rows = rows_of_a_step(info.hidden_size, info.vocabulary)
    step, together = max(1, rows // places), min(places, rows)  # positions, and places of each, at a time
    parts: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in range(count)]

    def logits_at(at: range, positions: range) -> torch.Tensor:
        """(position, place, vocabulary) logits."""
        chosen = slice(positions.start, positions.stop)
        found = [np.asarray(hidden_states[place][chosen]) for place in at]
        last = [found.pop()] if at.stop == places else []  # past the norm; OPT's is narrower than the others
        earlier = [np.stack(found, axis=1)] if found else []
        states = [torch.tensor(values, device=model.device).to(model.dtype) for values in (*earlier, *last)]
        if earlier and norm is not None:
            states[0] = norm(states[0])
        if last:
            states[-1] = states[-1][:, None]
        if len({values.shape[2] for values in states}) > 1:
            return torch.cat([family_head(model, known, values) for values in states], dim=1).float()
        return family_head(model, known, torch.cat(states, dim=1)).float()

    with known.lock, torch.inference_mode():
        for first in range(0, count, step):
            positions = range(first, min(count, first + step))
            lasts: list[Last] = []
            for end in range(places, 0, -together):  # from the last layer, with which the others are compared
                done, at = places - end, range(max(0, end - together), end)
                where = "" if together == places else f", layer {done + 1} of {places}"
                told = f"Lens: {first + 1} to {positions.stop} of {count:,} tokens{where}"
                progress(Progress("predictions", first * places + done * len(positions), count * places, told))
                logits = logits_at(at, positions)
                lasts = lasts or [Last.of(of_position[-1]) for of_position in logits]
                for position, of_position, last in zip(positions, logits, lasts, strict=True):
                    parts[position].insert(0, _reduced(of_position, last, actual[position], words))
    # by position, then in the order of the names
    whole = [[torch.cat(of_places) for of_places in zip(*part, strict=True)] for part in parts]
    found = [torch.stack(by_position, dim=1).cpu().numpy() for by_position in zip(*whole, strict=True)]
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
    """Return how many rows of logits (a place at a position) to compute at once."""
    return max(1, min(CHUNK_BYTES // (4 * vocabulary), STEP_OPERATIONS // (2 * hidden_size * vocabulary)))


def _reduced(logits: torch.Tensor, last: Last, actual: int, words: Sequence[int] = ()) -> tuple[torch.Tensor, ...]:
    """Reduce (place, vocabulary) logits at one position to the arrays kept, in the order of `NAMES`, then of
    `WORD_NAMES` if words are followed; overwrites the logits, in blocks that fit the caches.
    """
    import torch

    from dashboard.capture.predictions import likeliest

    likely = likeliest(logits, TOP_K)
    rows = len(logits)
    if logits.device.type == "cpu":
        rows = min(rows, max(1, BLOCK_FLOATS * torch.get_num_threads() // logits.shape[1]))
    scratch = logits.new_empty(rows, logits.shape[1])
    parts = []
    for first in range(0, len(logits), rows):
        block = logits[first : first + rows]
        values, ids = (kept[first : first + rows] for kept in likely)
        parts.append(_block(block, scratch[: len(block)], values, ids, last, actual, words))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _block(
    logits: torch.Tensor,
    scratch: torch.Tensor,
    values: torch.Tensor,
    ids: torch.Tensor,
    last: Last,
    actual: int,
    words: Sequence[int],
) -> tuple[torch.Tensor, ...]:
    """Reduce one block, whose likeliest `values` and `ids` are known.

    With m the largest logit and Z = Σ exp(logit − m): log p = (logit − m) − ln Z, entropy = ln Z − Σ p·(logit − m), and
    KL(last ‖ this) = Σ q·ln q − Σ q·(logit − m) + ln Z with the last layer's q.
    """
    import torch

    top, mine = values[:, :1], logits[:, [max(actual, 0), last.best, *words]]
    ranks = torch.stack([_rank(logits, one, values, scratch) for one in mine.split(1, dim=1)], dim=1)
    logits -= top
    z = torch.exp(logits, out=scratch).sum(dim=1)
    log_z = z.log()
    entropy = log_z - _sum(scratch.mul_(logits).sum(dim=1), logits, torch.exp) / z
    expected = _sum(logits @ last.probabilities, logits, last.probabilities.expand_as)
    logprobs = mine - top - log_z[:, None]
    if actual < 0:
        logprobs[:, 0], ranks[:, 0] = torch.nan, 0
    return (
        ids.to(torch.int32),
        values - top - log_z[:, None],
        entropy.clamp(min=0),
        logprobs[:, 0],
        ranks[:, 0],
        logprobs[:, 1],
        ranks[:, 1],
        (last.negentropy - expected + log_z).clamp(min=0),
        *((logprobs[:, 2:], ranks[:, 2:]) if words else ()),
    )


def _rank(logits: torch.Tensor, one: torch.Tensor, values: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
    """(place,) int32, the rank of `one` (place, 1) among the logits of its place, of which `values` are the largest."""
    import torch

    is_kept = bool((one >= values[:, -1:]).all())
    # into float32: five times as fast as into booleans
    larger = values > one if is_kept else torch.gt(logits, one, out=scratch)
    return larger.sum(dim=1).to(torch.int32) + 1


def _sum(found: torch.Tensor, logits: torch.Tensor, weights_of: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """`found`, which is (row,) Σ weight·logit, with 0 · −∞ as 0: an impossible token contributes nothing."""
    import torch

    odd = torch.isnan(found)
    if bool(odd.any()):
        some = logits[odd]
        weights = weights_of(some)
        found[odd] = torch.where(weights == 0, 0.0, weights * some).sum(dim=1)
    return found


def read(_run: ModelRun, result: Derived) -> LogitLens:
    """Return the lens of every layer at every position."""
    return LogitLens(**{name: result.arrays[name] for name in (*NAMES, "vocabulary")})


KIND = Kind(NAME, "The logit lens", (), check, compute, read, gives_way=True)
