"""Mixtures of Gaussians: how many components they have, and the EM of one column."""

import warnings

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from skscore._changes.mixtures import best_mixture, column_mixture, fitted_mixture

RNG = np.random.RandomState(0)


def choice(values, patience):
    """The number of components that is chosen, its value, and the numbers that were tried."""
    tried = []

    def fit(number):
        tried.append(number)
        return f"{number} components", values[number - 1]

    return (*best_mixture(range(1, len(values) + 1), fit, patience), tried)


@pytest.mark.parametrize(
    ("values", "patience", "best", "n_tried"),
    [
        ([1, 2, 3], 1, 3, 3),
        ([1, 3, 2, 9], 1, 2, 3),
        ([1, 3, 2, 9], 2, 4, 4),
        ([1, 3, 2, 1, 9], 2, 2, 4),
        ([3, 2, 4, 2, 1, 9], 2, 3, 5),
        ([2, 2, 2, 9], 2, 1, 3),
        ([-np.inf, -np.inf, 1], 2, 3, 3),
        ([5], 1, 1, 1),
    ],
)
def test_components_are_added_until_that_does_not_pay(values, patience, best, n_tried):
    law, value, tried = choice(values, patience)
    assert law == f"{best} components"
    assert value == values[best - 1]
    assert tried == list(range(1, n_tried + 1))


def test_the_mixture_of_a_column_is_a_fixed_point_of_em():
    v = np.sort(np.r_[RNG.normal(-2, 0.4, 400), RNG.normal(1, 0.8, 600)])
    mass = RNG.uniform(0.5, 1.5, size=1000)
    mass /= mass.sum()
    (w, m, s), value = column_mixture(v, mass, 2, 1e-5)
    joint = w * np.exp(-0.5 * ((v[:, None] - m) / s) ** 2) / s / np.sqrt(2 * np.pi)
    assert value == pytest.approx(mass @ np.log(joint.sum(1)), abs=1e-9)
    shares = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(mass @ shares, w, atol=2e-3)
    np.testing.assert_allclose((mass * v) @ shares / (mass @ shares), m, atol=5e-3)


def test_the_mixture_of_a_column_is_about_as_good_as_that_of_scikit_learn():
    """Which takes no weights, and has starts that depend on a seed."""
    for x in (RNG.lognormal(size=800), RNG.gamma(2.0, size=800), RNG.standard_t(3, size=800)):
        v = np.sort((x - x.mean()) / x.std())
        for number in (1, 2, 4):
            theirs = GaussianMixture(number, reg_covar=1e-5, random_state=0).fit(v[:, None])
            _, value = column_mixture(v, np.full(800, 1 / 800), number, 1e-5)
            assert value > theirs.score(v[:, None]) - 0.01


def test_weights_are_repeats():
    v, w = np.sort(RNG.normal(size=300)), RNG.randint(1, 5, size=300)
    weighted, value = column_mixture(v, w / w.sum(), 3, 1e-5)
    repeated, same = column_mixture(np.repeat(v, w), np.full(w.sum(), 1 / w.sum()), 3, 1e-5)
    assert value == pytest.approx(same, abs=2e-3)
    np.testing.assert_allclose(weighted[0], repeated[0], atol=0.02)


def test_a_mixture_of_rows_has_floored_variances_and_no_warning(recwarn):
    rows = np.repeat(RNG.normal(size=(3, 2)), 20, axis=0)
    law = fitted_mixture(rows, 3, n_steps=1, seed=0)
    assert np.linalg.eigvalsh(law.covariances_).min() >= 0.99e-4
    assert not recwarn


CLUSTERS = np.concatenate(
    [
        RNG.normal(m, s, (300, 3)) @ RNG.normal(size=(3, 3))
        for m, s in [(0, 1), (3, 0.3), (-2, 0.05)]
    ]
)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
@pytest.mark.parametrize("kept", [0, 10**6])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_the_mixture_of_rows_is_that_of_scikit_learn(number, kept, offset, monkeypatch):
    monkeypatch.setattr("skscore._changes.mixtures._KEPT", kept)
    monkeypatch.setattr("skscore._changes.mixtures._BLOCK", 700)
    X = (CLUSTERS - CLUSTERS.mean(0)) / CLUSTERS.std(0) + offset
    options = {"reg_covar": 1e-4, "init_params": "k-means++", "random_state": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GaussianMixture(number, max_iter=20, **options).fit(X)
    law = fitted_mixture(X, number, 20, seed=3)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(law, name), getattr(theirs, name), atol=1e-7)
    np.testing.assert_allclose(law.score_samples(X), theirs.score_samples(X), atol=1e-6)


def test_rows_that_are_one_point_have_a_mixture():
    X = np.repeat(RNG.normal(size=(4, 2)), 10, axis=0)
    assert np.isfinite(fitted_mixture(X, 3, 20, seed=0).score_samples(X)).all()
