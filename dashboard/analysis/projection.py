"""PCA of token representations (Pearson 1901; scikit-learn's implementation), with signs that do not flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.contracts.run import ModelRun
from dashboard.errors import RunShapeError

FirstToken = Literal["auto", "keep", "leave"]
Fit = Literal["layer", "all"]
Scaling = Literal["centred", "standardised"]
OUTLIER = 5.0  # a first token whose norm is more than this many times the median is left out by default
SOLVER_WIDTH = 2048  # up to this width the covariance is solved exactly; above, seeded randomised SVD


@dataclass(frozen=True)
class Basis:
    """A fitted basis. `components`: (component, hidden); `explained`: (component,) share of variance, sums to at most 1."""

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    explained: np.ndarray

    def transform(self, states: np.ndarray) -> np.ndarray:
        """(token, hidden) → (token, component), float64."""
        return ((states.astype(np.float64) - self.mean) / self.scale) @ self.components.T


@dataclass(frozen=True)
class Projection:
    """Tokens in the plane (or space) of their greatest variance.

    Attributes:
        coordinates: (token, component) float64; NaN for a token that was left out.
        explained: (component,) share of the variance of the tokens that were fitted.
        left_out: positions that are not fitted and not shown.
        first_ratio: the first token's norm over the median norm of the others.
        approximate: True where the components come from a randomised solver.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    left_out: tuple[int, ...]
    first_ratio: float
    approximate: bool = False


def first_token_ratio(states: np.ndarray) -> float:
    """Norm of the first token over the median norm of the others; 1 where there are no others."""
    norms = np.linalg.norm(states.astype(np.float64), axis=1)
    if len(norms) < 2:
        return 1.0
    median = float(np.median(norms[1:]))
    return float(norms[0] / median) if median > 0 else 1.0


def leaves_first_out(states: np.ndarray, first: FirstToken) -> bool:
    """Whether the first token is left out: never where fewer than two others would remain."""
    if len(states) < 3 or first == "keep":
        return False
    return first == "leave" or first_token_ratio(states) > OUTLIER


def fit_basis(states: np.ndarray, components: int = 3, scaling: Scaling = "centred") -> Basis:
    """Fit PCA.

    Args:
        states: (token, hidden), any float.
        components: at most this many; fewer where there are fewer tokens or dimensions.
        scaling: "centred" takes the mean away; "standardised" also divides each dimension by its deviation.

    Returns:
        A basis whose components have their largest loading positive, so that a redraw never flips an axis.
    """
    from sklearn.decomposition import PCA  # 80 MB and a second: only when a projection is wanted

    if states.ndim != 2:
        raise RunShapeError(f"Hidden states are {states.shape}; PCA takes (token, hidden).")
    data = states.astype(np.float64)
    scale = data.std(axis=0) if scaling == "standardised" else np.ones(data.shape[1])
    scale[scale == 0] = 1.0
    mean = data.mean(axis=0)
    data = (data - mean) / scale
    count = min(components, *data.shape)
    if len(data) < 2 or not np.any(data):
        return Basis(mean, scale, np.eye(count, data.shape[1]), np.zeros(count))
    exact = min(data.shape) <= SOLVER_WIDTH
    solver = ("covariance_eigh" if data.shape[0] > data.shape[1] else "full") if exact else "randomized"
    pca = PCA(n_components=count, svd_solver=solver, random_state=0).fit(data)
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.sign(pca.components_[np.arange(count), largest])
    return Basis(mean, scale, pca.components_ * signs[:, None], np.nan_to_num(pca.explained_variance_ratio_))


def project(
    states: np.ndarray,
    components: int = 3,
    first: FirstToken = "auto",
    scaling: Scaling = "centred",
    fitted_on: Sequence[np.ndarray] | None = None,
) -> Projection:
    """Project one layer's tokens.

    Args:
        states: (token, hidden), the layer that is shown.
        components: how many; missing ones (few tokens) are 0.
        first: whether the first token takes part: "keep", "leave", or "auto" (left out where its norm is more than
            `OUTLIER` times the median, in the layer shown or in any fitted one).
        scaling: see `fit_basis`.
        fitted_on: the layers that the basis is fitted on together; by default the shown one alone.
    """
    layers = [states] if fitted_on is None else list(fitted_on)
    leave = any(leaves_first_out(layer, first) for layer in layers)
    kept = slice(1, None) if leave else slice(None)
    stacked = np.concatenate([layer[kept] for layer in layers]) if len(layers) > 1 else layers[0][kept]
    basis = fit_basis(stacked, components, scaling)
    found = len(basis.components)
    coordinates = np.zeros((len(states), components))
    coordinates[:, :found] = basis.transform(states)
    if leave:
        coordinates[0] = np.nan
    explained = np.zeros(components)
    explained[:found] = basis.explained
    approximate = min(stacked.shape) > SOLVER_WIDTH
    return Projection(coordinates, explained, (0,) if leave else (), first_token_ratio(states), approximate)


def project_run(run: ModelRun, layer: int, fit: Fit, first: FirstToken, scaling: Scaling) -> Projection:
    """The projection after `layer` (−1: the embeddings), remembered by the run."""

    def compute() -> Projection:
        states = run.hidden_states[0] if layer < 0 else run.after_layer(layer)
        together = None
        if fit == "all":
            together = [run.hidden_states[0], *(run.after_layer(i) for i in range(run.model.layers))]
        return project(np.asarray(states), 3, first, scaling, together)

    return run.remember(("projection", layer, fit, first, scaling), compute)
