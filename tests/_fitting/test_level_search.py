"""One network over all levels of a grid judges them on held-out rows."""

import warnings

import numpy as np
import pytest

from skscore import DenoisingScoreEstimator, DenoisingScoreEstimatorCV
from skscore._fitting import level_search
from skscore._fitting.data import first_data
from skscore._fitting.level_search import LevelSearch, level_grid, search_levels
from skscore._rows import folds, given_folds
from skscore.datasets import make_gaussian, make_moons
from skscore.exceptions import NoiseRangeWarning

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAW = make_gaussian([3.0, -20.0], [[4.0, 3.0], [3.0, 25.0]])


def searched(values, weights=None):
    values = np.asarray(values, dtype=float)
    weights = np.ones(values.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    rows = np.arange(values.shape[1])
    return LevelSearch(np.arange(1.0, len(values) + 1), values, weights, (rows,))


def test_the_best_level_has_the_highest_weighted_mean():
    values = [[0, 0, 0], [5, 0, 0], [0, 2, 2]]
    assert searched(values).best() == 1
    assert searched(values, [1, 2, 2]).best() == 2
    np.testing.assert_allclose(searched(values, [1, 2, 2]).means(), [0, 1, 1.6])


def test_standard_errors_are_those_of_the_mean():
    rows = np.random.default_rng(0).normal(size=(3, 50))
    expected = rows.std(axis=1, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(searched(rows).std_errors(rows), expected)


def test_weights_of_zero_do_not_lower_a_standard_error():
    rows = np.random.default_rng(0).normal(size=(2, 50))
    more = np.concatenate([rows, np.full((2, 30), 9.0)], axis=1)
    weighted = searched(more, np.r_[np.ones(50), np.zeros(30)])
    np.testing.assert_allclose(weighted.std_errors(more), searched(rows).std_errors(rows))


def test_the_rule_of_one_standard_error_goes_by_differences():
    """Rows that all levels find hard do not blur the choice; noise between levels does."""
    rng = np.random.default_rng(0)
    hard = 100 * rng.normal(size=100)
    clear = searched([hard + 1, hard + 0.9, hard])
    assert clear.best() == clear.best(one_std_error=True) == 0
    blurred = searched([hard + 1, hard + 0.9 + rng.normal(size=100) * 3, hard])
    assert blurred.best(one_std_error=True) == 1


@pytest.mark.parametrize(
    ("values", "chosen", "words"),
    [
        (
            [3.0, 2.0, 0.0],
            0,
            "least of its noise levels, 1, .* 1 \\+- 0 above that .* level, 2. .*",
        ),
        (
            [0.0, 2.0, 2.5],
            2,
            "largest of its noise levels, 3, .* 0.5 \\+- 0 above that .* level, 2. ",
        ),
        ([1.0, 0.0], 0, "least of its noise levels"),
        ([0.0, 1.0], 1, "largest of its noise levels"),
    ],
)
def test_a_level_at_the_edge_is_warned_of_with_what_it_gains(values, chosen, words):
    search = searched(np.repeat(np.array(values)[:, None], 4, axis=1))
    assert search.best() == chosen
    with pytest.warns(NoiseRangeWarning, match=f"Me chose the {words}.*do this"):
        search.warn_of_edge(chosen, "Me", "do this")


def test_a_level_inside_the_range_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        searched([[0.0], [1.0], [0.0]]).warn_of_edge(1, "Me", "do this")


def test_the_grid_is_in_standard_deviations_or_in_units_of_the_rows():
    rows = 7 * np.random.default_rng(0).normal(size=(500, 2))
    for form, unit in (("whiten", 1.0), ("scale", 1.0), (None, 7.0)):
        data, _ = first_data(DenoisingScoreEstimator(standardize=form), rows, None)
        grid = level_grid(data, form)
        assert grid[[0, -1]] == pytest.approx([0.01 * unit, unit], rel=0.1)
        np.testing.assert_allclose(np.diff(np.log(grid)), np.log(100) / 9)


@pytest.fixture
def brief():
    return DenoisingScoreEstimator(hidden_layer_sizes=(16, 16), max_iter=3, random_state=0)


def test_one_network_is_trained_for_each_fold(brief, monkeypatch):
    fits = []
    training_run = level_search.training_run
    monkeypatch.setattr(
        level_search, "training_run", lambda *a: fits.append(a[1].X) or training_run(*a)
    )
    data, _ = first_data(brief, LAW.sample(60, 0), None)
    parts = folds(data.rows, 3, data.rng)
    search = search_levels(brief, data, np.geomspace(0.1, 1, 4), parts)
    assert [len(rows) for rows in fits] == [40, 40, 40]
    assert search.values.shape == (4, 60)
    for rows, (training, _) in zip(fits, parts, strict=True):
        np.testing.assert_array_equal(rows, data.X[training.index])


def test_each_fold_has_its_own_rows_and_weights(brief):
    X, w = LAW.sample(60, 0), np.arange(1.0, 61.0)
    data, _ = first_data(brief, X, w)
    splits = [(np.arange(20, 60), np.arange(20)), (np.arange(40), np.arange(40, 60))]
    parts = given_folds(splits, data.places, data.given_weights, 60)
    search = search_levels(brief, data, np.array([0.1, 1.0]), parts)
    np.testing.assert_allclose(search.weights, np.r_[w[:20], w[40:]] / w.mean())
    assert [list(rows[[0, -1]]) for rows in search.folds] == [[0, 19], [20, 39]]


def test_the_criterion_of_a_gaussian_is_that_of_its_noised_score(brief):
    """Half the columns times 2 a - a^2, a = 1 / (1 + sigma^2): the exact scores' own."""
    data, _ = first_data(brief, LAW.sample(1000, 0), None)
    sigmas = np.array([0.1, 0.5, 1.0])
    search = search_levels(brief, data, sigmas, folds(data.rows, 2, data.rng))
    a = 1 / (1 + sigmas**2)
    np.testing.assert_allclose(search.means(), 2 * a - a**2, atol=0.12)


def test_the_search_is_affine_invariant(brief):
    X = make_moons().sample(150, 0)
    found = []
    for rows in (X, X @ [[1e3, 0.0], [0.0, 1e-3]] + 5):
        data, _ = first_data(brief, rows, None)
        parts = folds(data.rows, 2, data.rng)
        found.append(search_levels(brief, data, np.geomspace(0.1, 1, 3), parts).means())
    np.testing.assert_allclose(*found, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("est", [DenoisingScoreEstimatorCV(cv=2), DenoisingScoreEstimator("auto")])
def test_splits_with_one_row_for_training_are_refused_with_the_number(est):
    with pytest.raises(ValueError, match=r"two different rows for training in each .* Got 1 of 2"):
        est.fit([[0.0], [1.0]])
