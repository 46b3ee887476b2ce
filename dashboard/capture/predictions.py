"""A model's predictions at each position, small enough to keep: the likeliest tokens, entropy, the actual token.

The logits of a whole text are never held: they are made in chunks of rows through the model's whole head, reduced in
blocks that stay in the cores' level-2 cache, and dropped. With m the largest logit and Z = Σ exp(logit − m),
log p = (logit − m) − ln Z, and the entropy is ln Z − Σ p·(logit − m), in nats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import ModelProbe, at_each_layer, base_of, evaluating, family_head, model_probe
from dashboard.capture.tokens import piece_text, tokenize
from dashboard.capture.vocabulary import check_ids, check_mask, logits_of
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.prediction import NO_TOKEN
from dashboard.contracts.token import Token
from dashboard.errors import BadSelectionError, MissingArrayError

CHUNK_BYTES = 64 * 2**20  # of logits at once
BLOCK_FLOATS = 1_048_576  # in one block of logits per core: fewer were twice as slow, more were no faster
GROUP = 32  # logits that share one maximum in the search for the likeliest
MASKED_TOKENS = 4096  # most in one batch of masked copies
BATCH_FLOP = 3e10  # for one batch of masked copies: some tenths of a second
MASKED_FLOP = 3e11  # most arithmetic that a run spends on masking every position: a few seconds


class Reduction:
    """Collects the predictions of many rows.

    Args:
        actual: (position,) int64, the token whose probability and rank are wanted; −1 for none.
        top_k: how many of the likeliest tokens to keep; never more than the vocabulary has.
        on_block: called with the number of finished rows before each block of rows; may raise to stop.
    """

    def __init__(self, actual: torch.Tensor, top_k: int, on_block: Callable[[int], None] | None = None) -> None:
        self._actual, self._top_k, self._on_block = actual, top_k, on_block
        self._parts: list[tuple[torch.Tensor, ...]] = []
        self.done = 0

    def add(self, logits: torch.Tensor) -> None:
        """Reduce (position, vocabulary) logits of the next positions, overwriting them."""
        logits = logits.float()
        rows = max(1, BLOCK_FLOATS * torch.get_num_threads() // logits.shape[1])
        scratch = logits.new_empty(min(rows, len(logits)), logits.shape[1])
        for start in range(0, len(logits), rows):
            if self._on_block is not None:
                self._on_block(self.done)
            block = logits[start : start + rows]
            actual = self._actual[self.done : self.done + len(block)].to(block.device)
            self._parts.append(_reduce(block, scratch[: len(block)], actual, self._top_k))
            self.done += len(block)

    def arrays(self, mode: str) -> dict[str, np.ndarray]:
        """Return the arrays of `contracts.run` under `mode` ("given", "masked")."""
        names = ("top_ids", "top_logprobs", "entropy", "actual_logprob", "actual_rank")
        whole = (torch.cat(parts).cpu().numpy() for parts in zip(*self._parts, strict=True))
        return {f"{mode}/{name}": values for name, values in zip(names, whole, strict=True)}


def _reduce(logits: torch.Tensor, scratch: torch.Tensor, actual: torch.Tensor, top_k: int) -> tuple[torch.Tensor, ...]:
    """Top ids, top log-probabilities, entropy, actual log-probability and rank of some rows."""
    values, ids = likeliest(logits, top_k)
    top = values[:, :1]
    asked = actual >= 0
    mine = logits.gather(1, actual.clamp(min=0)[:, None])
    rank = torch.gt(logits, mine, out=scratch).sum(dim=1).to(torch.int32) + 1
    logits -= top
    torch.softmax(logits, dim=1, out=scratch)
    log_z = -scratch.gather(1, ids[:, :1]).log()
    entropy = (log_z[:, 0] - scratch.mul_(logits).sum(dim=1)).clamp_(min=0)
    odd = ~torch.isfinite(entropy)
    if bool(odd.any()):
        entropy[odd] = _entropy_with_impossible(logits[odd])
    return (
        ids.to(torch.int32),
        values - top - log_z,
        entropy,
        torch.where(asked, (mine - top - log_z)[:, 0], torch.nan),
        torch.where(asked, rank, 0),
    )


def _entropy_with_impossible(logits: torch.Tensor) -> torch.Tensor:
    """(position,) entropy if some logits are −∞, with 0 · log 0 = 0; NaN if one is NaN or +∞, or all are −∞."""
    logprobs = logits.log_softmax(dim=1)
    return -torch.where(logprobs == -torch.inf, 0.0, logprobs.exp() * logprobs).sum(dim=1)


def likeliest(logits: torch.Tensor, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and ids of the `top_k` largest in each row of (position, vocabulary) logits, largest first.

    Large vocabularies are searched by groups: the k largest are in the k groups with the largest maxima. Group g holds
    the ids g, g + groups, g + 2·groups, …
    """
    rows, vocabulary = logits.shape
    top_k = min(top_k, vocabulary)
    groups = vocabulary // GROUP
    if groups < 4 * top_k:
        return torch.topk(logits, top_k, dim=1)
    whole = groups * GROUP
    grouped = logits[:, :whole].view(rows, GROUP, groups)
    best = torch.topk(grouped.amax(dim=1), top_k, dim=1, sorted=False).indices
    members = best[:, None, :] + torch.arange(0, whole, groups, device=logits.device)[:, None]
    rest = torch.arange(whole, vocabulary, device=logits.device).expand(rows, -1)
    ids = torch.cat([members.view(rows, -1), rest], dim=1)
    values, indices = torch.topk(logits.gather(1, ids), top_k, dim=1)
    return values, ids.gather(1, indices)


def reduce_hidden(model: PreTrainedModel, known: ModelProbe, hidden: torch.Tensor, reduction: Reduction) -> None:
    """Reduce the predictions of (position, hidden) states past any final norm, in chunks of rows."""
    rows = max(1, CHUNK_BYTES // (4 * model.config.get_text_config().vocab_size))
    for start in range(0, len(hidden), rows):
        reduction.add(family_head(model, known, hidden[start : start + rows]))


def masked_logits(
    model: PreTrainedModel, known: ModelProbe, inputs: dict[str, torch.Tensor], mask_id: int, positions: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield (some positions, vocabulary) logits at each of `positions` with the mask token there, in batches."""
    tokens = inputs["input_ids"].shape[1]
    size = max(1, min(MASKED_TOKENS // tokens, int(BATCH_FLOP * tokens / masked_cost(model, tokens))))
    if not known.has_head:  # a batch's logits then come whole
        size = max(1, min(size, CHUNK_BYTES // (4 * tokens * model.config.get_text_config().vocab_size)))
    for chosen in positions.split(size):
        batch = {name: values.expand(len(chosen), -1).clone() for name, values in inputs.items()}
        rows = torch.arange(len(chosen), device=chosen.device)
        batch["input_ids"][rows, chosen] = mask_id
        if known.has_head:
            hidden = base_of(model)(**batch).last_hidden_state
            yield family_head(model, known, hidden[rows, chosen])
        else:
            yield logits_of(model(**batch))[rows, chosen]  # type: ignore[index]


def masked_cost(model: PreTrainedModel, tokens: int) -> float:
    """Estimate the arithmetic (FLOP) of reading a text N times, with each position masked in turn: about 2·P·N².

    P counts a layer's matrices once per use (ALBERT uses one layer many times): 4·d² for attention, 2·d·d_ff for the
    MLP; the scores add 4·N·d for each token and layer.
    """
    config = model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None) or 4 * width
    each_token = layers * (2 * (4 * width**2 + 2 * width * inner) + 4 * tokens * width)
    return float(tokens**2 * each_token)


def vocabulary(tokenizer: Any, known: ModelProbe, *ids: np.ndarray) -> np.ndarray:
    """uint8, UTF-8 JSON {id: text} of all these ids (without negative ones)."""
    unique = np.unique(np.concatenate([np.asarray(part).ravel() for part in ids]))
    met = unique[unique >= 0].tolist()
    for identifier in met:
        if identifier not in known.texts:
            known.texts[identifier] = piece_text(tokenizer, identifier)
    texts = dict(zip(map(str, met), map(known.texts.__getitem__, met), strict=True))
    return np.frombuffer(json.dumps(texts, ensure_ascii=False).encode(), dtype=np.uint8).copy()


def is_answer(token: Token) -> bool:
    """Whether a masked model can be asked to predict this token: it belongs to the text, and is not itself a mask."""
    return not token.given and token.sign != "mask"


def masked_fill(
    loaded: LoadedModel,
    text: str,
    position: int,
    top_k: int = 50,
    text_pair: str | None = None,
    progress: OnProgress | None = None,
    adds: bool = True,
) -> dict[str, np.ndarray]:
    """Predict one position with a masked model, after replacing the token there with the mask token.

    Args:
        adds: the tokenizer adds its special tokens (`dashboard.capture.tokens.tokenize`).

    Returns:
        `masked/top_ids`, `masked/top_logprobs` (1, k), `masked/entropy`, `masked/actual_logprob`, `masked/actual_rank`
        (1,), as in a run but for one position, and their `vocabulary`. The actual token is the one in the text; there
        is none if the tokenizer added a special token there, or if a mask was typed.

    Raises:
        MissingArrayError: the model does not fill masked tokens.
        BadSelectionError: the text has no such position.
    """
    mask_id = loaded.tokenizer.mask_token_id
    if loaded.info.kind != "masked" or mask_id is None:
        raise MissingArrayError(f"{loaded.info.title} does not predict masked tokens. Choose a masked language model.")
    check_mask(loaded.model, loaded.info.title, mask_id)
    inputs, tokens = tokenize(loaded.tokenizer, text, text_pair, adds=adds)
    check_ids(loaded.model, loaded.info.title, inputs, tokens, loaded.tokenizer_of is not None)
    if not 0 <= position < len(tokens):
        raise BadSelectionError(f"There is no token {position} in this text. Choose one of 0 to {len(tokens) - 1}.")

    def report(_done: int = 0) -> None:
        if progress is not None:
            progress(Progress("predictions", 0, 1, f"Prediction with token {position + 1} masked"))

    report()
    model, known = loaded.model, model_probe(loaded.model, loaded.info)
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    token = tokens[position]
    actual = torch.tensor([token.id if is_answer(token) else NO_TOKEN], device=model.device)
    reduction = Reduction(actual, top_k, report)
    with known.lock, evaluating(model), torch.inference_mode(), at_each_layer(model, report):
        for logits in masked_logits(model, known, inputs, mask_id, torch.tensor([position], device=model.device)):
            reduction.add(logits)
    arrays = reduction.arrays("masked")
    return {**arrays, "vocabulary": vocabulary(loaded.tokenizer, known, arrays["masked/top_ids"], actual.cpu().numpy())}
