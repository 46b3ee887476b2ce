"""PCA of token representations (Pearson 1901; scikit-learn's implementation), with signs that never flip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dashboard.analysis.outliers import Outliers, finite_tokens, largest_ratios, left_out, norm_ratios
from dashboard.contracts.streams import Stream
from dashboard.errors import RunShapeError

Fit = Literal["layer", "all"]
Scaling = Literal["centred", "standardised", "unit"]
SOLVER_WIDTH = 2048  # up to this width the covariance is solved exactly; above it, by seeded randomised SVD


@dataclass(frozen=True)
class Basis:
    """A fitted basis. `components`: (component, hidden); `explained`: (component,) share of variance, sums to at most
    1; `approximate`: a randomised solver found the components."""

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    explained: np.ndarray
    approximate: bool = False

    def transform(self, states: np.ndarray) -> np.ndarray:
        """(token, hidden) → (token, component), float64."""
        return ((states.astype(np.float64) - self.mean) / self.scale) @ self.components.T


@dataclass(frozen=True)
class Projection:
    """Tokens in the plane (or space) of their greatest variance.

    Attributes:
        coordinates: (token, component) float64; NaN for a token that is left out or whose state here is not finite.
        explained: (component,) share of the variance of the fitted tokens.
        left_out: positions that are neither fitted nor shown.
        ratios: (token,) each token's norm over the median norm; for layers fitted together, the largest of any.
        approximate: True if a randomised solver found the components.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    left_out: tuple[int, ...]
    ratios: np.ndarray
    approximate: bool = False

    @property
    def not_finite(self) -> tuple[int, ...]:
        """Positions that are not shown because their states are not finite."""
        missing = np.flatnonzero(np.isnan(self.coordinates).any(axis=1)).tolist()
        return tuple(token for token in missing if token not in self.left_out)


@dataclass(frozen=True)
class Trajectories:
    """Every token's path through the layers, in one basis fitted on all layers together.

    Attributes:
        coordinates: (place, token, component) float64; place 0 is the embeddings, place i + 1 comes after layer i; NaN
            for a token that is left out, and at the places where its state is not finite.
        explained: (component,) share of the variance of all layers' tokens. left_out: positions that are not fitted.
        ratios: (token,) each token's norm over the median norm, the largest of any layer.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    left_out: tuple[int, ...]
    ratios: np.ndarray


def fit_basis(layers: Sequence[np.ndarray], components: int = 3, scaling: Scaling = "centred") -> Basis:
    """Fit PCA on the tokens of one layer, or of several layers together.

    Args:
        layers: (token, hidden) each, any float.
        components: at most this many; fewer if there are fewer tokens or dimensions.
        scaling: "centred" subtracts the mean; "standardised" also divides each dimension by its standard deviation;
            "unit" is "centred" on states that `prepared` has scaled to length 1.

    Returns:
        A basis in which each component's largest loading is positive, so that a redraw never flips an axis.
    """
    if not layers or any(layer.ndim != 2 or layer.shape[1] != layers[0].shape[1] for layer in layers):
        raise RunShapeError(
            f"Hidden states are {[layer.shape for layer in layers][:3]}; give (token, hidden) of one width."
        )
    tokens, hidden = sum(len(layer) for layer in layers), layers[0].shape[1]
    mean = np.sum([layer.sum(axis=0, dtype=np.float64) for layer in layers], axis=0) / max(tokens, 1)
    scale = np.ones(hidden)
    if scaling == "standardised":
        scale = np.sqrt(
            sum((np.square(layer - mean).sum(axis=0) for layer in layers), np.zeros(hidden)) / max(tokens, 1)
        )
        scale[scale == 0] = 1.0
    count = min(components, tokens, hidden)
    flat = tokens < 2 or all(not np.any(layer - mean) for layer in layers)
    if flat:
        return Basis(mean, scale, np.eye(count, hidden), np.zeros(count))
    exact = min(tokens, hidden) <= SOLVER_WIDTH
    together = len(layers) > 1 and exact and hidden < tokens
    found, explained = (_by_covariance if together else _by_library)(layers, mean, scale, count)
    largest = np.abs(found).argmax(axis=1)
    signs = np.sign(found[np.arange(count), largest])
    return Basis(mean, scale, found * signs[:, None], np.nan_to_num(explained), approximate=not exact)


def _by_library(
    layers: Sequence[np.ndarray], mean: np.ndarray, scale: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit components and shares with scikit-learn."""
    from sklearn.decomposition import PCA  # 80 MB and a second: import only when a projection is needed

    data = np.concatenate([(layer - mean) / scale for layer in layers])
    exact = min(data.shape) <= SOLVER_WIDTH
    solver = ("covariance_eigh" if data.shape[0] > data.shape[1] else "full") if exact else "randomized"
    pca = PCA(n_components=count, svd_solver=solver, random_state=0).fit(data)
    return pca.components_, pca.explained_variance_ratio_


def _by_covariance(
    layers: Sequence[np.ndarray], mean: np.ndarray, scale: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit many layers by summing their (hidden, hidden) covariance layer by layer, which never copies them together."""
    from scipy.linalg import eigh

    hidden = len(mean)
    covariance = np.zeros((hidden, hidden))
    for layer in layers:
        centred = (layer - mean) / scale
        covariance += centred.T @ centred
    values, vectors = eigh(covariance, subset_by_index=(hidden - count, hidden - 1))
    return vectors[:, ::-1].T, values[::-1] / np.trace(covariance)


def fit_layers(
    layers: Sequence[np.ndarray], left: Sequence[int] = (), components: int = 3, scaling: Scaling = "centred"
) -> Basis:
    """Run `fit_basis` on the layers' tokens, without those in `left` and without each layer's non-finite states."""
    return fit_basis([_fitted(layer, left) for layer in layers], components, scaling)


def _fitted(states: np.ndarray, left: Sequence[int]) -> np.ndarray:
    taken = finite_tokens(states)
    taken[list(left)] = False
    return states if taken.all() else states[taken]


def place(
    states: np.ndarray, basis: Basis, left: tuple[int, ...] = (), components: int = 3, ratios: np.ndarray | None = None
) -> Projection:
    """Place one layer's tokens in a fitted basis; components that the basis lacks are 0. `ratios`: pass them if
    known."""
    found, finite = len(basis.components), finite_tokens(states)
    coordinates = np.zeros((len(states), components))
    coordinates[finite, :found] = basis.transform(states[finite])
    coordinates[~finite] = np.nan
    coordinates[list(left)] = np.nan
    explained = np.zeros(components)
    explained[:found] = basis.explained
    return Projection(
        coordinates, explained, left, norm_ratios(states) if ratios is None else ratios, basis.approximate
    )


def project(
    states: np.ndarray, components: int = 3, first: Outliers = "auto", scaling: Scaling = "centred"
) -> Projection:
    """Fit one layer's tokens and project them.

    Args:
        states: (token, hidden), the layer to show.
        components: how many; missing ones (few tokens) are 0.
        first: which tokens to leave out: "auto", those whose norm is more than `OUTLIER` times the median of all;
            "keep", none; "leave", the first token. A state that is not finite is always left out.
        scaling: see `fit_basis`.
    """
    if states.ndim != 2:
        raise RunShapeError(f"Hidden states are {states.shape}; give one layer's (token, hidden).")
    ratios = norm_ratios(states)
    left = left_out(ratios, first)
    return place(states, fit_layers([states], left, components, scaling), left, components, ratios)


def states_at(stream: Stream, layer: int) -> np.ndarray:
    """(token, hidden) float32 after `layer`, before any final norm if that state is known; −1: the embeddings."""
    return np.asarray(stream.hidden_states[0] if layer < 0 else stream.after_layer(layer))


def prepared(states: np.ndarray, scaling: Scaling) -> np.ndarray:
    """(token, hidden) states ready to be fitted: with `scaling` "unit", each token's state is divided by its length."""
    if scaling != "unit":
        return states
    finite = np.where(finite_tokens(states)[:, None], states.astype(np.float64), np.nan)
    norms = np.linalg.norm(finite, axis=1, keepdims=True)
    return np.asarray(finite / np.where(norms == 0, 1.0, norms))


@dataclass(frozen=True)
class _Common:
    """The basis of all layers together, the tokens it leaves out, and each token's largest ratio in any layer."""

    basis: Basis
    left: tuple[int, ...]
    ratios: np.ndarray


def _common(stream: Stream, first: Outliers, scaling: Scaling) -> _Common:
    """Fit the common basis, once per stream."""

    def fit() -> _Common:
        layers = _all_layers(stream, scaling)
        ratios = largest_ratios(layers)
        left = left_out(ratios, first)
        return _Common(fit_layers(layers, left, 3, scaling), left, ratios)

    return stream.remember(("basis", first, scaling), fit)


def _all_layers(stream: Stream, scaling: Scaling) -> list[np.ndarray]:
    return [prepared(states_at(stream, index), scaling) for index in range(-1, stream.layers)]


def project_stream(stream: Stream, layer: int, fit: Fit, first: Outliers, scaling: Scaling) -> Projection:
    """Project the tokens after `layer` (−1: the embeddings). The stream caches the result, and layers that are fitted
    together share one basis, fitted once."""

    def compute() -> Projection:
        states = prepared(states_at(stream, layer), scaling)
        if fit == "layer":
            return project(states, 3, first, scaling)
        common = _common(stream, first, scaling)
        return place(states, common.basis, common.left, 3, common.ratios)

    return stream.remember(("projection", layer, fit, first, scaling), compute)


def trajectories(stream: Stream, first: Outliers, scaling: Scaling) -> Trajectories:
    """All tokens' paths in the common basis; the stream caches them."""

    def compute() -> Trajectories:
        common = _common(stream, first, scaling)
        return follow(_all_layers(stream, scaling), common.basis, common.left, 3, common.ratios)

    return stream.remember(("trajectories", first, scaling), compute)


def follow(
    layers: Sequence[np.ndarray],
    basis: Basis,
    left: tuple[int, ...] = (),
    components: int = 3,
    ratios: np.ndarray | None = None,
) -> Trajectories:
    """Place the tokens of all `layers`, (token, hidden) each, in a basis fitted on all of them."""
    ratios = largest_ratios(layers) if ratios is None else ratios
    placed = [place(states, basis, left, components, ratios) for states in layers]
    return Trajectories(np.stack([p.coordinates for p in placed]), placed[0].explained, left, ratios)
