"""The length of what each token passes on through each head, ‖f(x)‖, by which attention can be weighted.

f(x) = (x W_V + b_V) W_O, as in Kobayashi et al. 2020 (arXiv 2004.10102), without the bias of the output projection, the
residual connection and the norms. One number for each head and token, and the inner products between the heads of each
layer: with the weights, which a run has, ‖α f(x)‖ of every pair of tokens follows
(dashboard/analysis/attention_norms.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from dashboard.compute.declaration import Computed, Kind, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress, Progress
from dashboard.contracts.passed_on import PassedOn
from dashboard.contracts.run import ModelRun
from dashboard.errors import MissingArrayError

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "attention-norms"
MOST_BYTES = 128_000_000  # of the inner products between heads, above which they are left out
L = TypeVar("L")


class HasGram(Protocol):
    """One layer's norms, with the inner products between its heads if there are any."""

    @property
    def gram(self) -> np.ndarray | None: ...


def check(run: ModelRun, _parameters: Parameters) -> None:
    """Raise `MissingArrayError` if the model has its own attention code, so that its values are not known."""
    attention = run.attention_of()
    if len(run.streams) > 1:
        raise MissingArrayError(
            f"{run.model.title} reads two streams of tokens, so it has no norms here. Choose a model with one."
        )
    if any(attention.recipe(layer).stored is not None for layer in range(attention.layers)):
        raise MissingArrayError(
            f"{run.model.title} has its own attention code, so its values and its output projection are not known. "
            "Choose another model to see norms."
        )


def gram_bytes(run: ModelRun) -> int:
    """The size of the inner products between heads, in float32."""
    heads = run.model.heads
    return 4 * run.model.layers * len(run) * heads * (heads + 1) // 2


def compute(loaded: LoadedModel, run: ModelRun, _parameters: Parameters, progress: OnProgress) -> Computed:
    """`norms`: (layer, head, token) float32, NaN in a layer whose output projection is not known; `gram/{layer}`:
    (token, pair of heads) float32, left out if all together take more than `MOST_BYTES`.

    Raises:
        MissingArrayError: no layer has a known output projection.
    """
    from dashboard.capture.value_norms import value_norms

    layers = layers_of(value_norms, loaded, run, progress, "Norms")
    nothing = np.full((run.model.heads, len(run)), np.nan, dtype=np.float32)
    norms = np.stack([nothing if layer is None else layer.norms for layer in layers])
    return Computed({"norms": norms, **grams(layers)})


def layers_of(
    norms: Callable[..., list[L | None]], loaded: LoadedModel, run: ModelRun, progress: OnProgress, what: str
) -> list[L | None]:
    """Let the model read the run's text, and return what `norms` finds of each layer; None where that is nothing.

    Args:
        norms: `value_norms` or `block_norms` of dashboard/capture.
        what: what is computed, for the messages of progress.

    Raises:
        MissingArrayError: no layer has a known output projection.
    """
    from dashboard.capture.tokens import tokenize

    def report(layer: int) -> None:
        progress(Progress("layers", layer + 1, run.model.layers, f"{what}: layer {layer + 1} of {run.model.layers}"))

    report(0)
    inputs, _tokens = tokenize(loaded.tokenizer, run.text, run.request.text_pair, adds=not run.request.chat)
    inputs = {name: values.to(loaded.model.device) for name, values in inputs.items()}
    layers = norms(loaded, inputs, report, gram_bytes(run) <= MOST_BYTES)
    if all(layer is None for layer in layers):
        raise MissingArrayError(
            f"The output projection of {run.model.title} is not known: no module reads its heads' output directly. "
            "Choose another model to see norms."
        )
    return layers


def grams(layers: Sequence[HasGram | None]) -> dict[str, np.ndarray]:
    """The inner products of the layers that have them, by the names of their arrays."""
    found = {f"gram/{i}": layer.gram for i, layer in enumerate(layers) if layer is not None}
    return {name: gram for name, gram in found.items() if gram is not None}


def read(run: ModelRun, result: Derived) -> PassedOn:
    """Return ‖f(x)‖ of every head, and the inner products between heads."""
    arrays = result.arrays
    return PassedOn(arrays["norms"], tuple(arrays.get(f"gram/{layer}") for layer in range(run.model.layers)))


# one forward pass, as long as the run itself took
KIND = Kind(NAME, "Attention norms", (), check, compute, read, quick=lambda _parameters: True)
