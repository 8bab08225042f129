"""The exact scores of scikit-learn's densities."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity

from skscore import DenoisingScoreEstimator, DensityScoreEstimator
from skscore.datasets import make_gaussian, make_moons
from skscore.exceptions import NotFittedError
from skscore.metrics import hyvarinen_scorer

X = 3 + make_moons().sample(300, 0) @ [[2.0, 0.5], [0.0, 1.0]]
W = np.random.RandomState(0).randint(1, 4, size=300).astype(float)

DENSITIES = [
    KernelDensity(bandwidth=0.3),
    KernelDensity(bandwidth="scott"),
    *(GaussianMixture(3, covariance_type=c, random_state=0) for c in ("full", "tied", "diag")),
    GaussianMixture(3, covariance_type="spherical", random_state=0),
    BayesianGaussianMixture(n_components=3, random_state=0),
    BayesianGaussianMixture(n_components=3, covariance_type="diag", random_state=0),
]


@pytest.mark.parametrize("density", DENSITIES, ids=str)
class TestEveryDensity:
    def test_log_density_is_its_own(self, density):
        est = DensityScoreEstimator(density).fit(X)
        # That of the Bayesian mixture is a posterior expectation, lower than its mixture's.
        exact = not isinstance(density, BayesianGaussianMixture)
        np.testing.assert_allclose(
            est.score_samples(X), est.density_.score_samples(X), rtol=1e-6 if exact else 0.05
        )
        np.testing.assert_allclose(est.energy(X), -est.score_samples(X))
        assert est.score(X) == pytest.approx(est.score_samples(X).mean())

    def test_score_and_divergence_are_differences(self, density):
        est, h = DensityScoreEstimator(density).fit(X), 1e-5
        rows, M = X[:30], np.array([[2.0, 0.3], [0.3, 1.0]])
        up = [est.score_samples(rows + h * e) for e in np.eye(2)]
        down = [est.score_samples(rows - h * e) for e in np.eye(2)]
        slopes = (np.array(up) - np.array(down)).T / (2 * h)
        np.testing.assert_allclose(est.score_function(rows), slopes, rtol=1e-5, atol=1e-5)
        up = np.array([est.score_function(rows + h * e) for e in np.eye(2)])
        down = np.array([est.score_function(rows - h * e) for e in np.eye(2)])
        jacobians = (up - down).transpose(1, 2, 0) / (2 * h)
        traces = np.einsum("ij,nji->n", M, jacobians)
        np.testing.assert_allclose(
            est.score_divergence(rows, metric=M), traces, rtol=1e-4, atol=1e-4
        )

    def test_samples_follow_it(self, density):
        est = DensityScoreEstimator(density).fit(X)
        rows = est.sample(20_000, random_state=0)
        own = density.__class__(**est.density_.get_params()).fit(X).sample(20_000)
        own = own[0] if isinstance(own, tuple) else own
        np.testing.assert_allclose(rows.mean(0), own.mean(0), atol=0.08)
        np.testing.assert_allclose(np.cov(rows.T), np.cov(own.T), rtol=0.06, atol=0.05)


def test_weights_of_a_kernel_density_are_repetition():
    weighted = DensityScoreEstimator(KernelDensity()).fit(X, sample_weight=W)
    repeated = DensityScoreEstimator(KernelDensity()).fit(np.repeat(X, W.astype(int), axis=0))
    np.testing.assert_allclose(weighted.score_function(X), repeated.score_function(X))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X))


def test_weights_that_a_density_does_not_take_are_refused_by_name():
    with pytest.raises(ValueError, match="GaussianMixture takes no sample_weight"):
        DensityScoreEstimator(GaussianMixture()).fit(X, sample_weight=W)


def test_a_frozen_density_is_used_as_it_is():
    density = KernelDensity(bandwidth=0.5).fit(X)
    est = DensityScoreEstimator(FrozenEstimator(density)).fit(X[:10])
    assert est.density_ is density
    np.testing.assert_allclose(est.score_samples(X), density.score_samples(X), rtol=1e-6)


def test_a_frozen_density_must_be_fitted():
    with pytest.raises(NotFittedError):
        DensityScoreEstimator(FrozenEstimator(KernelDensity())).fit(X)


@pytest.mark.parametrize(
    ("density", "words"),
    [
        (None, "'density' parameter .* Got None"),
        (IsolationForest(), "must be one of: KernelDensity, GaussianMixture"),
        (KernelDensity(kernel="tophat"), "kernel='gaussian'"),
        (KernelDensity(metric="manhattan"), "metric='euclidean'"),
    ],
)
def test_a_density_without_a_score_is_refused_and_leaves_it_unfitted(density, words):
    est = DensityScoreEstimator(density)
    with pytest.raises(ValueError, match=words):
        est.fit(X)
    with pytest.raises(NotFittedError):
        est.score_function(X)


def test_the_metric_is_that_of_the_score_estimators():
    rows = np.r_[X, X[:20]]
    trained = DenoisingScoreEstimator(max_iter=1, early_stopping=False).fit(rows)
    exact = DensityScoreEstimator(GaussianMixture()).fit(rows)
    np.testing.assert_array_equal(exact.covariance_, trained.covariance_)


def test_a_gaussian_fit_scores_half_its_columns_by_hyvarinen():
    law = make_gaussian(np.zeros(4), 0.5 * np.eye(4) + 0.5)
    est = DensityScoreEstimator(GaussianMixture()).fit(law.sample(3000, 0))
    assert hyvarinen_scorer(est, law.sample(3000, 1)) == pytest.approx(2.0, abs=0.1)
