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
Scaling = Literal["centred", "standardised", "unit"]
OUTLIER = 5.0  # a first token whose norm is more than this many times the median is left out by default
SOLVER_WIDTH = 2048  # up to this width the covariance is solved exactly; above, seeded randomised SVD


@dataclass(frozen=True)
class Basis:
    """A fitted basis. `components`: (component, hidden); `explained`: (component,) share of variance, sums to at most 1;
    `approximate`: they come from a randomised solver."""

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


@dataclass(frozen=True)
class Trajectories:
    """Every token's path through the layers, in one basis that was fitted on all layers together.

    Attributes:
        coordinates: (place, token, component) float64; place 0 is the embeddings, place i + 1 comes after layer i; NaN
            for a token that was left out.
        explained: (component,) share of the variance of all layers' tokens. left_out: positions that take no part.
    """

    coordinates: np.ndarray
    explained: np.ndarray
    left_out: tuple[int, ...]


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


def fit_basis(layers: Sequence[np.ndarray], components: int = 3, scaling: Scaling = "centred") -> Basis:
    """Fit PCA on the tokens of one layer, or of several together.

    Args:
        layers: (token, hidden) each, any float.
        components: at most this many; fewer where there are fewer tokens or dimensions.
        scaling: "centred" takes the mean away; "standardised" also divides each dimension by its deviation; "unit" is
            "centred" of states that `prepared` has scaled to length 1.

    Returns:
        A basis whose components have their largest loading positive, so that a redraw never flips an axis.
    """
    if not layers or any(layer.ndim != 2 or layer.shape[1] != layers[0].shape[1] for layer in layers):
        raise RunShapeError(f"Hidden states are {[layer.shape for layer in layers][:3]}; PCA takes (token, hidden).")
    tokens, hidden = sum(len(layer) for layer in layers), layers[0].shape[1]
    mean = np.sum([layer.sum(axis=0, dtype=np.float64) for layer in layers], axis=0) / max(tokens, 1)
    scale = np.ones(hidden)
    if scaling == "standardised":
        scale = np.sqrt(sum((np.square(layer - mean).sum(axis=0) for layer in layers), np.zeros(hidden)) / max(tokens, 1))
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


def _by_library(layers: Sequence[np.ndarray], mean: np.ndarray, scale: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components and shares by scikit-learn."""
    from sklearn.decomposition import PCA  # 80 MB and a second: only when a projection is wanted

    data = np.concatenate([(layer - mean) / scale for layer in layers])
    exact = min(data.shape) <= SOLVER_WIDTH
    solver = ("covariance_eigh" if data.shape[0] > data.shape[1] else "full") if exact else "randomized"
    pca = PCA(n_components=count, svd_solver=solver, random_state=0).fit(data)
    return pca.components_, pca.explained_variance_ratio_


def _by_covariance(
    layers: Sequence[np.ndarray], mean: np.ndarray, scale: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The same for many layers, whose (hidden, hidden) covariance is summed layer by layer: they are never copied together."""
    from scipy.linalg import eigh

    hidden = len(mean)
    covariance = np.zeros((hidden, hidden))
    for layer in layers:
        centred = (layer - mean) / scale
        covariance += centred.T @ centred
    values, vectors = eigh(covariance, subset_by_index=(hidden - count, hidden - 1))
    return vectors[:, ::-1].T, values[::-1] / np.trace(covariance)


def leaves_first(layers: Sequence[np.ndarray], first: FirstToken) -> bool:
    """Whether the first token is left out of `layers`: `leaves_first_out` of any of them."""
    return any(leaves_first_out(layer, first) for layer in layers)


def fit_layers(layers: Sequence[np.ndarray], leave: bool, components: int = 3, scaling: Scaling = "centred") -> Basis:
    """`fit_basis` of the layers' tokens, without each layer's first one where `leave` says so."""
    return fit_basis([layer[1:] if leave else layer for layer in layers], components, scaling)


def place(states: np.ndarray, basis: Basis, leave: bool, components: int = 3) -> Projection:
    """The tokens of one layer in a fitted basis; components that the basis lacks are 0."""
    found = len(basis.components)
    coordinates = np.zeros((len(states), components))
    coordinates[:, :found] = basis.transform(states)
    if leave:
        coordinates[0] = np.nan
    explained = np.zeros(components)
    explained[:found] = basis.explained
    return Projection(coordinates, explained, (0,) if leave else (), first_token_ratio(states), basis.approximate)


def project(states: np.ndarray, components: int = 3, first: FirstToken = "auto", scaling: Scaling = "centred") -> Projection:
    """Fit one layer's tokens and project them.

    Args:
        states: (token, hidden), the layer that is shown.
        components: how many; missing ones (few tokens) are 0.
        first: whether the first token takes part: "keep", "leave", or "auto" (left out where its norm is more than
            `OUTLIER` times the median).
        scaling: see `fit_basis`.
    """
    if states.ndim != 2:
        raise RunShapeError(f"Hidden states are {states.shape}; PCA takes (token, hidden).")
    leave = leaves_first([states], first)
    return place(states, fit_layers([states], leave, components, scaling), leave, components)


def states_at(run: ModelRun, layer: int) -> np.ndarray:
    """(token, hidden) float32 after `layer`, before any final norm where that is known; −1: the embeddings."""
    return np.asarray(run.hidden_states[0] if layer < 0 else run.after_layer(layer))


def prepared(states: np.ndarray, scaling: Scaling) -> np.ndarray:
    """(token, hidden) as they are fitted: with `scaling` "unit" each token's state is divided by its length."""
    if scaling != "unit":
        return states
    norms = np.linalg.norm(states.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(states / np.where(norms > 0, norms, 1.0))


def _common_basis(run: ModelRun, first: FirstToken, scaling: Scaling) -> tuple[Basis, bool]:
    """The basis of all layers together, fitted once for a run, and whether the first token was left out."""

    def fit() -> tuple[Basis, bool]:
        layers = _all_layers(run, scaling)
        leave = leaves_first(layers, first)
        return fit_layers(layers, leave, 3, scaling), leave

    return run.remember(("basis", first, scaling), fit)


def _all_layers(run: ModelRun, scaling: Scaling) -> list[np.ndarray]:
    return [prepared(states_at(run, index), scaling) for index in range(-1, run.model.layers)]


def project_run(run: ModelRun, layer: int, fit: Fit, first: FirstToken, scaling: Scaling) -> Projection:
    """The projection after `layer` (−1: the embeddings), remembered by the run; layers that are fitted together share
    one basis, which is fitted once."""

    def compute() -> Projection:
        if fit == "layer":
            return project(prepared(states_at(run, layer), scaling), 3, first, scaling)
        basis, leave = _common_basis(run, first, scaling)
        return place(prepared(states_at(run, layer), scaling), basis, leave)

    return run.remember(("projection", layer, fit, first, scaling), compute)


def trajectories(run: ModelRun, first: FirstToken, scaling: Scaling) -> Trajectories:
    """All tokens' paths in the common basis, remembered by the run."""

    def compute() -> Trajectories:
        basis, leave = _common_basis(run, first, scaling)
        return follow(_all_layers(run, scaling), basis, leave)

    return run.remember(("trajectories", first, scaling), compute)


def follow(layers: Sequence[np.ndarray], basis: Basis, leave: bool, components: int = 3) -> Trajectories:
    """The tokens of all `layers`, (token, hidden) each, in a basis that was fitted on all of them."""
    placed = [place(states, basis, leave, components) for states in layers]
    return Trajectories(np.stack([p.coordinates for p in placed]), placed[0].explained, placed[0].left_out)
