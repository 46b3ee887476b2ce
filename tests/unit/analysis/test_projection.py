"""PCA of hidden states against an independent computation, and every small case that a text can make."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.decomposition import PCA

import dashboard.analysis.projection as projection_module
from dashboard.analysis.outliers import Outliers, largest_ratios, left_out, norm_ratios
from dashboard.analysis.projection import (
    Scaling,
    fit_basis,
    fit_layers,
    follow,
    place,
    prepared,
    project,
    project_stream,
    trajectories,
)
from dashboard.analysis.similarity import similarity
from dashboard.contracts.run import ModelRun
from dashboard.errors import RunShapeError
from tests.support.synthetic import make_run

RNG = np.random.default_rng(3)
STATES = (RNG.normal(size=(12, 8)) * np.arange(1, 9)).astype(np.float32)
WIDE = RNG.normal(size=(5, 40)).astype(np.float32)


def by_svd(states: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates with the sign rule, and shares of variance, by numpy's singular values."""
    centred = states.astype(np.float64) - states.astype(np.float64).mean(axis=0)
    _left, singular, right = np.linalg.svd(centred, full_matrices=False)
    for row in right:
        row *= np.sign(row[np.abs(row).argmax()])
    return centred @ right[:count].T, (singular**2 / (singular**2).sum())[:count]


@pytest.mark.parametrize("states", [STATES, WIDE], ids=["more tokens", "more dimensions"])
def test_coordinates_and_shares_are_those_of_the_singular_values(states: np.ndarray) -> None:
    projection = project(states, 3, first="keep")
    coordinates, explained = by_svd(states, 3)
    np.testing.assert_allclose(projection.coordinates, coordinates, atol=1e-8)
    np.testing.assert_allclose(projection.explained, explained, atol=1e-10)
    assert projection.explained.sum() <= 1
    assert (np.diff(projection.explained) <= 0).all()
    assert not projection.approximate


def test_standardised_dimensions_weigh_alike() -> None:
    scaled = (STATES - STATES.mean(axis=0)) / STATES.astype(np.float64).std(axis=0)
    coordinates, explained = by_svd(scaled, 2)
    projection = project(STATES, 2, first="keep", scaling="standardised")
    np.testing.assert_allclose(projection.coordinates, coordinates, atol=1e-5)
    np.testing.assert_allclose(projection.explained, explained, atol=1e-6)


def test_a_constant_dimension_does_no_harm_when_standardised() -> None:
    states = STATES.copy()
    states[:, 2] = 4.0
    assert np.isfinite(project(states, 2, scaling="standardised").coordinates).all()


def test_the_largest_loading_of_every_component_is_positive() -> None:
    for states in (STATES, -STATES, STATES[::-1]):
        components = fit_basis([states]).components
        assert (components[np.arange(3), np.abs(components).argmax(axis=1)] > 0).all()


def test_a_redraw_never_flips_an_axis() -> None:
    np.testing.assert_array_equal(project(STATES).coordinates, project(STATES.copy()).coordinates)


# tokens of large norm


def with_norms(ratios: dict[int, float], count: int = 9) -> np.ndarray:
    """(token, hidden) whose norms are those times the median; the others' are about 1 median."""
    rng = np.random.default_rng(5)
    states = rng.normal(size=(count, 6))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    for token, ratio in ratios.items():
        states[token] *= ratio
    return states.astype(np.float32)


def by_scikit(states: np.ndarray, kept: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The kept rows' coordinates, whose signs are free, and shares of variance by scikit-learn alone."""
    pca = PCA(n_components=count, svd_solver="full").fit(states[kept].astype(np.float64))
    return pca.transform(states[kept].astype(np.float64)), pca.explained_variance_ratio_


def test_a_ratio_is_a_norm_over_the_median_of_all() -> None:
    np.testing.assert_allclose(norm_ratios(np.array([[6.0, 8], [1, 0], [0, 2], [3, 0]])), [4, 0.4, 0.8, 1.2])
    np.testing.assert_allclose(norm_ratios(np.array([[6.0, 8]])), [1])
    np.testing.assert_allclose(norm_ratios(np.zeros((3, 2))), [1, 1, 1])
    zeros = np.zeros((4, 2))
    zeros[1, 0] = 9.0
    np.testing.assert_allclose(norm_ratios(zeros), [1, 1, 1, 1])  # nothing is a multiple of a median of 0


def test_a_state_that_is_not_finite_has_no_ratio_and_no_part_in_the_median() -> None:
    states = np.array([[np.nan, 1], [3, 4], [np.inf, 0], [0, 10], [0, 5]])
    np.testing.assert_allclose(norm_ratios(states), [np.nan, 1, np.nan, 2, 1])


@pytest.mark.parametrize(
    ("ratios", "left"),
    [
        ({}, ()),
        ({0: 4.99}, ()),
        ({0: 5.01}, (0,)),
        ({4: 80.0}, (4,)),
        ({8: 80.0}, (8,)),
        ({0: 106.0, 5: 80.0}, (0, 5)),
        ({1: 6.0, 2: 7.0, 6: 1000.0, 7: 50.0}, (1, 2, 6, 7)),
        ({0: 100.0, 1: 100.0, 2: 100.0, 3: 100.0, 4: 100.0}, ()),  # most are: then they are the rule
    ],
)
def test_every_token_above_five_medians_is_left_out(ratios: dict[int, float], left: tuple[int, ...]) -> None:
    states = with_norms(ratios)
    found = project(states, 2)
    assert found.left_out == left
    kept = [token for token in range(9) if token not in left]
    assert np.isnan(found.coordinates[list(left)]).all()
    coordinates, explained = by_scikit(states, kept, 2)
    np.testing.assert_allclose(np.abs(found.coordinates[kept]), np.abs(coordinates), atol=1e-6)
    np.testing.assert_allclose(found.explained, explained, atol=1e-8)


def test_a_sink_in_mid_text_does_not_take_a_component() -> None:
    states = with_norms({5: 200.0})
    assert project(states, 3, first="keep").explained[0] > 0.99
    assert project(states, 3).explained[0] < 0.7


def test_tokens_are_kept_or_left_out_as_asked() -> None:
    assert project(with_norms({0: 100, 4: 100}), first="keep").left_out == ()
    assert project(with_norms({4: 100}), first="leave").left_out == (0,)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("choice", ["auto", "leave"])
def test_none_is_left_out_of_one_or_two_tokens(count: int, choice: Outliers) -> None:
    assert project(with_norms({0: 100}, count), first=choice).left_out == ()


def test_one_of_three_can_be_left_out() -> None:
    assert project(with_norms({1: 100}, 3)).left_out == (1,)


def test_two_tokens_always_remain_whatever_the_layers_say() -> None:
    layers = [with_norms({token: 10.0 + token for token in pair}, 5) for pair in ((0, 1), (2, 3), (1, 4))]
    assert left_out(largest_ratios(layers), "auto") == (2, 3, 4)


# small and degenerate


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_tokens_give_finite_coordinates(count: int) -> None:
    projection = project(STATES[:count], 3, first="keep")
    assert projection.coordinates.shape == (count, 3)
    assert np.isfinite(projection.coordinates).all()
    assert np.isfinite(projection.explained).all()
    assert 0 <= projection.explained.sum() <= 1 + 1e-12
    if count > 1:
        np.testing.assert_allclose(np.diff(projection.coordinates[:2, 0]) ** 2 > 0, True)


def test_two_tokens_have_all_variance_on_one_component() -> None:
    projection = project(STATES[:2], 3, first="keep")
    np.testing.assert_allclose(projection.explained, [1, 0, 0], atol=1e-9)
    assert abs(projection.coordinates[0, 0] - projection.coordinates[1, 0]) == pytest.approx(
        np.linalg.norm(STATES[0] - STATES[1]), rel=1e-6
    )


def test_equal_states_are_one_point_with_nothing_explained() -> None:
    projection = project(np.full((6, 4), 2.5, dtype=np.float32))
    assert projection.coordinates.tolist() == [[0, 0, 0]] * 6
    assert projection.explained.tolist() == [0, 0, 0]


def test_equal_states_that_floats_cannot_average_exactly_explain_nothing() -> None:
    projection = project(np.full((7, 4), 0.1, dtype=np.float32))
    assert np.isfinite(projection.coordinates).all()
    assert np.abs(projection.coordinates).max() < 1e-9
    assert np.isfinite(projection.explained).all()


def test_fewer_dimensions_than_components_are_filled_with_nothing() -> None:
    projection = project(STATES[:, :1], 3, first="keep")
    assert projection.coordinates[:, 1:].tolist() == [[0, 0]] * 12
    np.testing.assert_allclose(projection.explained, [1, 0, 0])


@pytest.mark.parametrize("states", [np.zeros(4), np.zeros((1, 3, 4))])
def test_states_of_another_shape_are_a_named_error(states: np.ndarray) -> None:
    with pytest.raises(RunShapeError, match=r"\(token, hidden\)"):
        fit_basis([states])


# layers together


def test_layers_fitted_together_share_one_basis() -> None:
    layers = [STATES, STATES * 2 + 1, RNG.normal(size=(12, 8))]
    coordinates, explained = by_svd(np.concatenate(layers), 2)
    basis = fit_layers(layers, components=2)
    for index, layer in enumerate(layers):
        projection = place(layer, basis, components=2)
        np.testing.assert_allclose(projection.coordinates, coordinates[index * 12 : (index + 1) * 12], atol=1e-5)
        np.testing.assert_allclose(projection.explained, explained, atol=1e-8)


def test_a_token_that_is_large_in_one_layer_is_left_out_of_all() -> None:
    layers = [with_norms({}), with_norms({0: 100}), with_norms({6: 7})]
    ratios = largest_ratios(layers)
    assert left_out(ratios, "auto") == (0, 6)
    assert ratios[0] == pytest.approx(100, rel=0.01)
    paths = follow(layers, fit_layers(layers, (0, 6)), (0, 6))
    assert np.isnan(paths.coordinates[:, [0, 6]]).all()
    kept = [1, 2, 3, 4, 5, 7, 8]
    expected, _shares = by_svd(np.concatenate([layer[kept] for layer in layers]), 3)
    np.testing.assert_allclose(paths.coordinates[:, kept].reshape(-1, 3), expected, atol=1e-5)


# values that are not finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scaling", ["centred", "standardised", "unit"])
def test_a_state_that_is_not_finite_takes_no_part(value: float, scaling: Scaling) -> None:
    states = with_norms({})
    states[3, 1] = value
    found = project(prepared(states, scaling), 2, scaling=scaling)
    assert found.not_finite == (3,)
    assert found.left_out == ()
    others = [token for token in range(9) if token != 3]
    alone = project(prepared(states[others], scaling), 2, scaling=scaling)
    np.testing.assert_allclose(found.coordinates[others], alone.coordinates, atol=1e-12)
    np.testing.assert_allclose(found.explained, alone.explained)


def test_where_nothing_is_finite_there_are_no_places() -> None:
    found = project(np.full((4, 3), np.nan, dtype=np.float32))
    assert found.not_finite == (0, 1, 2, 3)
    assert found.explained.tolist() == [0, 0, 0]


def test_layers_that_are_not_finite_leave_the_others_paths_as_they_are() -> None:
    whole = [with_norms({}), with_norms({}) * 2 + 1]
    broken = np.full((9, 6), np.nan, dtype=np.float32)
    partly = whole[0].copy()
    partly[2:] = np.inf
    paths = follow([*whole, broken], fit_layers([*whole, broken]))
    np.testing.assert_allclose(paths.coordinates[:2], follow(whole, fit_layers(whole)).coordinates, atol=1e-9)
    assert np.isnan(paths.coordinates[2]).all()
    expected, _shares = by_svd(np.concatenate([whole[1], partly[:2]]), 3)
    found = follow([whole[1], partly], fit_layers([whole[1], partly]))
    np.testing.assert_allclose(found.coordinates[1, :2], expected[9:], atol=1e-6)


def test_many_layers_standardised_together_are_those_of_the_singular_values() -> None:
    layers = [STATES, STATES * 2 + 1, STATES[::-1] * np.float32(0.5)]
    stacked = np.concatenate(layers).astype(np.float64)
    coordinates, explained = by_svd((stacked - stacked.mean(axis=0)) / stacked.std(axis=0), 2)
    basis = fit_layers(layers, components=2, scaling="standardised")
    np.testing.assert_allclose(basis.transform(np.concatenate(layers)), coordinates, atol=1e-5)
    np.testing.assert_allclose(basis.explained, explained, atol=1e-8)


# runs


def test_a_run_projects_the_stream_after_the_layer() -> None:
    run = make_run("causal")
    for layer, states in (
        (-1, run.hidden_states[0]),
        (0, run.hidden_states[1]),
        (1, run.arrays["decoder/residual_final"]),
    ):
        found = project_stream(run.main, layer, "layer", "keep", "centred")
        np.testing.assert_allclose(found.coordinates, by_svd(states, 3)[0], atol=1e-6)


def test_a_runs_projection_is_computed_once() -> None:
    run = make_run()
    assert project_stream(run.main, 0, "all", "auto", "centred") is project_stream(
        run.main, 0, "all", "auto", "centred"
    )
    assert project_stream(run.main, 0, "all", "auto", "centred") is not project_stream(
        run.main, 0, "layer", "auto", "centred"
    )


def test_layers_together_are_fitted_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    real = projection_module.fit_basis
    monkeypatch.setattr(projection_module, "fit_basis", lambda *args: fits.append(1) or real(*args))
    run = make_run("causal")
    for layer in (-1, 0, 1):
        project_stream(run.main, layer, "all", "keep", "centred")
    assert len(fits) == 1


def test_two_threads_remember_one_result() -> None:
    run, made = make_run(), []

    def compute() -> int:
        made.append(1)
        time.sleep(0.05)
        return len(made)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: run.remember("slow", compute), range(4)))
    assert found == [1, 1, 1, 1]


def test_the_explained_shares_of_a_huge_first_token_are_not_its_own() -> None:
    run = make_run("causal", outlier=True)
    kept = project_stream(run.main, 0, "layer", "keep", "centred")
    assert kept.explained[0] > 0.95
    assert project_stream(run.main, 0, "layer", "auto", "centred").explained[0] < 0.9


# paths


def all_states(run: ModelRun) -> list[np.ndarray]:
    """The embeddings and the stream after every layer, before the final norm, as the arrays hold them."""
    middle = [np.asarray(run.arrays[f"decoder/hidden_states/{i}"]) for i in range(run.model.layers)]
    return [*middle, np.asarray(run.arrays["decoder/residual_final"])]


def test_a_path_is_the_token_in_the_singular_directions_of_all_layers() -> None:
    run = make_run("causal", layers=3)
    layers = all_states(run)
    coordinates, explained = by_svd(np.concatenate(layers), 3)
    paths = trajectories(run.main, "keep", "centred")
    np.testing.assert_allclose(paths.coordinates, coordinates.reshape(4, len(run), 3), atol=1e-6)
    np.testing.assert_allclose(paths.explained, explained, atol=1e-8)
    assert paths.left_out == ()


def test_a_path_goes_through_the_points_of_its_layers() -> None:
    run = make_run("causal")
    paths = trajectories(run.main, "auto", "standardised")
    for layer in (-1, 0, 1):
        np.testing.assert_array_equal(
            paths.coordinates[layer + 1], project_stream(run.main, layer, "all", "auto", "standardised").coordinates
        )


def test_a_first_token_that_is_huge_somewhere_is_left_out_of_every_place() -> None:
    run = make_run("causal", outlier=True)
    paths = trajectories(run.main, "auto", "centred")
    assert paths.left_out == (0,)
    assert np.isnan(paths.coordinates[:, 0]).all()
    expected, _shares = by_svd(np.concatenate([layer[1:] for layer in all_states(run)]), 3)
    np.testing.assert_allclose(paths.coordinates[:, 1:], expected.reshape(3, len(run) - 1, 3), atol=1e-4)


def test_states_of_length_one_are_projected_by_their_direction() -> None:
    run = make_run("causal", outlier=True)
    units = [layer / np.linalg.norm(layer.astype(np.float64), axis=1, keepdims=True) for layer in all_states(run)]
    paths = trajectories(run.main, "auto", "unit")
    assert paths.left_out == (), "a length of 1 swamps nothing"
    np.testing.assert_allclose(paths.coordinates.reshape(-1, 3), by_svd(np.concatenate(units), 3)[0], atol=1e-6)
    alone = project_stream(run.main, 0, "layer", "auto", "unit")
    np.testing.assert_allclose(alone.coordinates, by_svd(units[1], 3)[0], atol=1e-6)


def test_likeness_is_by_hand() -> None:
    states = np.array([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]], dtype=np.float32)
    found = similarity(states, 0, 1)
    assert found.cosine == pytest.approx(24 / 25)
    assert found.distance == pytest.approx(np.sqrt(2))
    assert found.dimensions == 2
    assert np.isnan(similarity(states, 0, 2).cosine)
    assert similarity(states, 1, 1).cosine == 1.0
