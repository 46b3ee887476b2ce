"""The logit lens of one position, computed quickly: what each layer would predict there, and where typed words rank.

For a masked model it reads the text as it is, or with that position masked, which takes one more forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dashboard.compute.declaration import Computed, Kind, Parameter, Parameters
from dashboard.compute.logit_lens import WORD_NAMES, actual_ids, arrays_of, saying_why, with_texts
from dashboard.compute.logit_lens import check as check_lens
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.lens import NAMES, LogitLens
from dashboard.contracts.prediction import NO_TOKEN
from dashboard.contracts.run import ModelRun
from dashboard.errors import BadRequestError, MissingArrayError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "position-lens"
MODES = ("given", "masked")
LONGEST = 200  # characters of the words
MOST_WORDS = 8


@dataclass(frozen=True)
class FollowedWord:
    """A typed word, through the layers.

    Attributes:
        typed: the word as typed. id, text: of the token that is followed; id −1 if the vocabulary has none.
        pieces: the texts of all the word's tokens, of which the first is followed.
        logprob: (place,) nats; rank: (place,), 1 is the likeliest. NaN and 0 if there is no such token.
    """

    typed: str
    id: int
    text: str
    pieces: tuple[str, ...]
    logprob: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class PositionLens:
    """`lens` of one position (its arrays have one), and the requested `words`, in order."""

    lens: LogitLens
    words: tuple[FollowedWord, ...]


def words_in(typed: str) -> list[str]:
    """Return the words of a line, each once, in order."""
    return list(dict.fromkeys(typed.split()))


def check(run: ModelRun, parameters: Parameters) -> None:
    """Raise `MissingArrayError` if the model cannot predict or mask, `BadRequestError` for too many words."""
    check_lens(run, parameters)
    if parameters["mode"] == "masked" and run.model.kind != "masked":
        raise MissingArrayError(f"{run.model.title} does not predict masked tokens. Choose a masked language model.")
    if len(words_in(parameters["words"])) > MOST_WORDS:
        raise BadRequestError(f"At most {MOST_WORDS} words can be followed at a time. Leave some out.")


def compute(loaded: LoadedModel, run: ModelRun, parameters: Parameters, progress: OnProgress) -> Computed:
    """Compute the arrays of `LogitLens` for one position, and for the words; facts: `words`, how each was read.

    Raises:
        MissingArrayError: as for the whole lens.
    """
    from dashboard.capture.words import as_token

    position = parameters["position"]
    words = [as_token(loaded.tokenizer, typed, loaded.info.vocabulary) for typed in words_in(parameters["words"])]
    if parameters["mode"] == "masked":
        states, actual = _masked_states(loaded, run, position, progress)
    else:
        states = [np.asarray(layer[position : position + 1]) for layer in run.hidden_states]
        actual = actual_ids(run)[position]
    known = [word.id for word in words if word.id != NO_TOKEN]
    with saying_why(run):
        arrays = arrays_of(loaded, states, [actual], progress, known)
    ids = (arrays["top_ids"], np.asarray([actual]), np.asarray(known, dtype=np.int64))
    return Computed(with_texts(arrays, loaded, *ids), {"words": [word.to_json() for word in words]})


def _masked_states(
    loaded: LoadedModel, run: ModelRun, position: int, progress: OnProgress
) -> tuple[list[np.ndarray], int]:
    """Return, per place, (1, hidden) with the mask token at `position`, and the id of the token really there, −1 for
    none."""
    import torch

    from dashboard.capture.model_probe import at_each_layer, base_of, model_probe
    from dashboard.capture.predictions import is_answer
    from dashboard.capture.tokens import tokenize
    from dashboard.capture.vocabulary import check_mask

    def report() -> None:
        progress(Progress("predictions", 0, 1, f"Lens: reading the text with token {position + 1} masked"))

    model, mask_id = loaded.model, loaded.tokenizer.mask_token_id
    if mask_id is None:
        raise MissingArrayError(f"{loaded.info.title} has no mask token. Choose a masked language model.")
    check_mask(model, loaded.info.title, mask_id)
    report()
    inputs, tokens = tokenize(loaded.tokenizer, run.text, run.request.text_pair, adds=not run.request.chat)
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    inputs["input_ids"][0, position] = mask_id
    with model_probe(model, loaded.info).lock, torch.inference_mode(), at_each_layer(model, report):
        found = base_of(model)(**inputs, output_hidden_states=True, return_dict=True).hidden_states
        states = [layer[0, position : position + 1].float().cpu().numpy() for layer in found]
    token = tokens[position]
    return states, token.id if is_answer(token) else -1


def read(_run: ModelRun, result: Derived) -> PositionLens:
    """Return the lens of this position, and the words."""
    lens = LogitLens(**{name: result.arrays[name] for name in (*NAMES, "vocabulary")})
    told: Sequence[dict[str, object]] = result.facts.get("words", ())
    known = [row["id"] for row in told if row["id"] != -1]
    found = []
    for row in told:
        values = [np.full(lens.places, np.nan), np.zeros(lens.places, dtype=np.int32)]
        if row["id"] != -1:
            values = [result.arrays[name][:, 0, known.index(row["id"])] for name in WORD_NAMES]
        pieces = tuple(map(str, row["pieces"]))  # type: ignore[call-overload]
        found.append(FollowedWord(str(row["typed"]), int(str(row["id"])), str(row["text"]), pieces, *values))
    return PositionLens(lens, tuple(found))


PARAMETERS = (Parameter("position", of="token"), Parameter("mode", choices=MODES), Parameter("words", longest=LONGEST))
KIND = Kind(NAME, "The logit lens of one position", PARAMETERS, check, compute, read, quick=lambda _parameters: True)
