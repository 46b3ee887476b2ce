"""Repeated random tokens, and what every head does with them: statistics alone, in one forward.

The model reads a few random tokens twice, after its own beginning-of-text token. Such a text has no structure but the
repetition, so a head that attends to what followed last time does so by induction (Elhage et al. 2021; Olsson et
al. 2022, arXiv 2209.11895).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from dashboard.capture.attention import Recorder, recording
from dashboard.capture.loader import LoadedModel
from dashboard.capture.model_probe import at_each_layer, base_of, evaluating, keywords_of, model_probe
from dashboard.capture.own_attention import taking
from dashboard.capture.statistics import summarise
from dashboard.capture.tokens import tokenize
from dashboard.capture.vocabulary import embedding_rows
from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.repeats import Repeats
from dashboard.errors import DashboardError, UnsupportedModelError

LONGEST = 50  # random tokens, before they are repeated
FEWEST = 4
FRAMED = "C C"  # a text that every tokenizer reads, for the tokens that it adds around any text


@dataclass(frozen=True)
class Frame:
    """The ids that a model reads before and after a text, and the ids from which random tokens are drawn.

    Attributes:
        ordinary: (id,) int64, ascending: neither special nor added to the vocabulary, each with an embedding.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    ordinary: np.ndarray

    def text(self, length: int, seed: int) -> np.ndarray:
        """(token,) int64: `length` different random tokens twice, within the frame; the same for the same seed."""
        once = np.random.default_rng(seed).choice(self.ordinary, length, replace=False)
        return np.concatenate([self.before, once, once, self.after]).astype(np.int64)


def frame_of(loaded: LoadedModel) -> Frame:
    """Return the frame of a model: what its tokenizer adds to a text; if a causal model's tokenizer adds nothing in
    front, its beginning-of-text token, where it has one."""
    tokenizer, causal = loaded.tokenizer, loaded.info.kind == "causal"
    try:
        given = [token.id if token.given else None for token in tokenize(tokenizer, FRAMED)[1]]
    except DashboardError:
        given = [None]
    inner = [index for index, identifier in enumerate(given) if identifier is None]
    before = [identifier for identifier in given[: inner[0]] if identifier is not None]
    after = [identifier for identifier in given[inner[-1] + 1 :] if identifier is not None]
    start = getattr(tokenizer, "bos_token_id", None)
    if causal:
        before, after = before or ([] if start is None else [start]), []
    return Frame(tuple(before), tuple(after), _ordinary(tokenizer, embedding_rows(loaded.model)))


def _ordinary(tokenizer: PreTrainedTokenizerBase, rows: int) -> np.ndarray:
    special = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})}
    known = {identifier for identifier in tokenizer.get_vocab().values() if 0 <= identifier < rows}
    return np.array(sorted(known - special), dtype=np.int64)


def length_of(loaded: LoadedModel, frame: Frame) -> int:
    """Return how many random tokens a probe of this model has before they are repeated.

    Raises:
        UnsupportedModelError: there is room, or a vocabulary, for hardly any.
    """
    room = (loaded.info.limit - len(frame.before) - len(frame.after)) // 2
    length = min(LONGEST, room, len(frame.ordinary))
    if length < FEWEST:
        raise UnsupportedModelError(
            f"{loaded.info.title} has no room for {FEWEST} random tokens and their repetition. Choose another model."
        )
    return length


def head_scores(
    loaded: LoadedModel, ids: np.ndarray, between: Callable[[], None]
) -> tuple[dict[str, np.ndarray], list[ScoreRecipe]]:
    """Return every head's `scores/…` and `beyond_first/…` on these tokens, (layer, head) float32, and each layer's
    recipe.

    Only statistics of the attention are kept (`dashboard.capture.statistics.summarise`).

    Args:
        ids: (token,) what the model reads, as it is. between: called before each layer; may raise to stop.

    Raises:
        UnsupportedModelError: the model's attention cannot be captured.
    """
    model, info = loaded.model, loaded.info
    known = model_probe(model, info)
    if known.refusal:
        raise UnsupportedModelError(known.refusal)
    base, repeats = base_of(model), Repeats(ids)
    recorder = Recorder(info.title, lambda _index: None, repeats, statistics_only=True)
    tokens = torch.from_numpy(ids)[None].to(model.device)
    keywords = keywords_of(info) | ({} if known.own is None else known.own.keywords)
    with known.lock, evaluating(model), torch.inference_mode(), at_each_layer(model, between):
        attending = recording(model, recorder) if known.own is None else taking(model, base, recorder, known.own)
        with attending:
            base(input_ids=tokens, attention_mask=torch.ones_like(tokens), return_dict=True, **keywords)
    recipes = [call.recipe for call in recorder.calls]
    found = summarise([call.raw for call in recorder.calls], recipes, repeats)
    return {name: found[name] for name in found if name.startswith(("scores/", "beyond_first/"))}, recipes
