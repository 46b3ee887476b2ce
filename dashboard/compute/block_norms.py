"""How much each token gives another through a layer's attention block: attention, residual connection and LayerNorm.

Kobayashi et al. 2021 (arXiv 2109.07152). What a token's own part and all the others together come to is one number for
each token. For every pair of tokens past LayerNorm, the inner products between the heads of each layer give it together
with the weights, which a run has (dashboard/analysis/attention_norms.py). "attention-norms" has the same without
residual connection and LayerNorm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dashboard.compute.attention_norms import check, grams, layers_of
from dashboard.compute.declaration import Computed, Kind, Parameters
from dashboard.contracts.derived import Derived
from dashboard.contracts.job import OnProgress
from dashboard.contracts.passed_on import BlockNorms
from dashboard.contracts.run import ModelRun

if TYPE_CHECKING:
    from dashboard.capture.loader import LoadedModel

NAME = "block-norms"


def compute(loaded: LoadedModel, run: ModelRun, _parameters: Parameters, progress: OnProgress) -> Computed:
    """`own`, `others`: (2, layer, token) float32, with the residual connection alone and past LayerNorm; `deviation`:
    (layer, token) float32; each NaN where the layer has no such sum or LayerNorm. `gram/{layer}`: (token, pair of
    heads) float32 past LayerNorm, left out if all together take more than `attention_norms.MOST_BYTES`.

    Raises:
        MissingArrayError: no layer has a known output projection.
    """
    from dashboard.capture.block_norms import block_norms

    layers = layers_of(block_norms, loaded, run, progress, "Norms with residual")
    nothing = np.full((2, len(run)), np.nan, dtype=np.float32)
    arrays = {
        "own": np.stack([nothing if layer is None else layer.own for layer in layers], axis=1),
        "others": np.stack([nothing if layer is None else layer.others for layer in layers], axis=1),
        "deviation": np.stack([nothing[0] if layer is None else layer.deviation for layer in layers]),
    }
    return Computed({**arrays, **grams(layers)})


def read(run: ModelRun, result: Derived) -> BlockNorms:
    """Return the norms of each token's own part and of the others, and the inner products past LayerNorm."""
    arrays = result.arrays
    grams = tuple(arrays.get(f"gram/{layer}") for layer in range(run.model.layers))
    return BlockNorms(arrays["own"], arrays["others"], arrays["deviation"], grams)


# one forward pass, as long as the run itself took
KIND = Kind(NAME, "Norms with residual and LayerNorm", (), check, compute, read, quick=lambda _parameters: True)
