"""Toys know themselves: every one meets the same laws."""

import numpy as np
import pytest

from skscore import datasets

TOYS = [
    datasets.make_gaussian([1.0, -2.0], [[2.0, 0.5], [0.5, 1.0]]),
    datasets.make_gaussian_mixture([0.3, 0.7], [[-1.0], [2.0]], [[[0.5]], [[1.0]]]),
    datasets.make_two_gaussians(),
    datasets.make_ring(),
    datasets.make_moons(),
    datasets.make_checkerboard(),
    datasets.make_funnel(),
    datasets.make_random_mixture(),
    datasets.make_correlated_gaussian(),
]
each_toy = pytest.mark.parametrize("toy", TOYS, ids=lambda toy: type(toy).__name__)


@each_toy
def test_samples_repeat_with_a_seed_and_have_finite_log_density(toy):
    X = toy.sample(500, 0)
    np.testing.assert_array_equal(X, toy.sample(500, 0))
    assert not np.array_equal(X, toy.sample(500, 1))
    assert toy.score_function(X).shape == X.shape
    assert np.isfinite(toy.score_samples(X)).all()


@each_toy
def test_score_is_gradient_of_log_density(toy):
    X, h = toy.sample(50, 0), 1e-6
    slopes = [
        (toy.score_samples(X + h * e) - toy.score_samples(X - h * e)) / (2 * h)
        for e in np.eye(X.shape[1])
    ]
    np.testing.assert_allclose(toy.score_function(X), np.transpose(slopes), rtol=1e-4, atol=1e-4)


SMOOTH = [t for t in TOYS if not isinstance(t, (datasets._Checkerboard, datasets._Funnel))]


@pytest.mark.parametrize("toy", SMOOTH, ids=lambda toy: type(toy).__name__)
def test_the_mean_score_is_zero_and_its_second_moment_minus_the_mean_divergence(toy):
    """Integration by parts; holds for the density of the samples and no other.

    Not for a density with jumps, and not to be seen where moments are too heavy for a sample.
    """
    X, h = toy.sample(20_000, 0), 1e-5
    s = toy.score_function(X)
    error = s.std(0) / np.sqrt(len(X))
    assert (np.abs(s.mean(0)) < 5 * error).all()
    traces = sum(
        (toy.score_function(X + h * e) - toy.score_function(X - h * e)) @ e / (2 * h)
        for e in np.eye(X.shape[1])
    )
    values = (s**2).sum(1) + traces
    assert abs(values.mean()) < 5 * values.std() / np.sqrt(len(X))


@pytest.mark.parametrize(
    ("toy", "extent", "n"),
    [
        (datasets.make_ring(), 6, 401),
        (datasets.make_moons(), 3, 401),
        (datasets.make_checkerboard(), 4, 400),
        (datasets.make_funnel(2), 60, 2401),
    ],
    ids=lambda v: type(v).__name__,
)
def test_the_density_integrates_to_one(toy, extent, n):
    axis = (np.arange(n) + 0.5) / n * 2 * extent - extent
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mass = np.exp(toy.score_samples(grid)).sum() * (2 * extent / n) ** 2
    assert mass == pytest.approx(1.0, abs=0.03 if isinstance(toy, datasets._Funnel) else 1e-3)


def test_moons_are_those_of_scikit_learn():
    from sklearn.datasets import make_moons

    theirs = make_moons(20_000, noise=0.1, random_state=0)[0]
    ours = datasets.make_moons(0.1).sample(20_000, 0)
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.03)
    assert datasets.make_moons(0.1).score_samples(theirs).mean() == pytest.approx(-1.0, abs=0.03)


def test_moons_quadrature_is_exact():
    coarse, X = datasets.make_moons(0.1), datasets.make_moons(0.1).sample(100, 0)
    fine = datasets._Moons(0.1)
    nodes = (np.arange(100_000) + 0.5) / 100_000 * np.pi
    total = np.zeros(len(X))
    for upper in (True, False):
        for part in np.split(fine._points(nodes, upper), 100):
            squares = ((X[:, None] - part) ** 2).sum(2)
            total += np.exp(-squares / 0.02).sum(1) / (200_000 * 2 * np.pi * 0.01)
    np.testing.assert_allclose(coarse.score_samples(X), np.log(total), atol=1e-6)


def test_dequantize_spreads_tied_columns_by_one_gap_and_leaves_others():
    rng = np.random.RandomState(0)
    X = np.c_[rng.standard_normal(500), rng.randint(10, size=500) / 4]
    before = X.copy()
    Y = datasets.dequantize(X, random_state=0)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(Y[:, 0], X[:, 0])
    assert 0.2 < np.ptp(Y[:, 1] - X[:, 1]) <= 0.25
    np.testing.assert_array_equal(Y, datasets.dequantize(X, random_state=0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: datasets.make_moons(0), "'noise' parameter"),
        (lambda: datasets.make_funnel(0), "'n_features' parameter"),
        (lambda: datasets.make_ring(0), r"weights of shape \(k,\)"),
        (lambda: datasets.make_ring(scale=0), "symmetric and positive definite"),
        (lambda: datasets.make_two_gaussians(1.5), "positive and sum to one"),
        (lambda: datasets.make_gaussian([0.0], [[1.0, 0.0]]), "covariances"),
    ],
    ids=range(6),
)
def test_laws_that_are_none_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@each_toy
def test_rows_of_another_width_or_without_numbers_are_refused(toy):
    d = toy.n_features
    with pytest.raises(ValueError, match=f"has {d} columns. Got {d + 1}"):
        toy.score_function(np.zeros((2, d + 1)))
    with pytest.raises(ValueError, match="NaN"):
        toy.score_samples(np.full((2, d), np.nan))
    with pytest.raises(ValueError, match="n_samples"):
        toy.sample(0)
