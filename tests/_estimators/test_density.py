"""The scores of scikit-learn's densities: by formula, at all noise levels, and by differences."""

import copy
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skscore import DenoisingScoreEstimator, DensityScoreEstimator
from skscore.datasets import make_gaussian, make_moons
from skscore.exceptions import (
    DegenerateColumnsWarning,
    NonFiniteResultError,
    NotFittedError,
    SupportWarning,
    TiesWarning,
)
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
EXPONENTIAL = KernelDensity(kernel="exponential", bandwidth=0.3)
EPANECHNIKOV = KernelDensity(kernel="epanechnikov", bandwidth=0.6)
FAR = np.array([[100.0, 100.0]])


class Hidden(BaseEstimator):
    """A density of which nothing but its methods can be seen."""

    def __init__(self, density=None, dtype=np.float64, random_state=None):
        self.density = density
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None):
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.density_ = copy.deepcopy(self.density).fit(X, **weights)
        return self

    def score_samples(self, X):
        assert X.dtype == np.float64
        return self.density_.score_samples(X).astype(self.dtype)

    def sample(self, n_samples=1):
        """As a mixture does: (rows, labels), by a seed of its own, in an order."""
        self.density_.set_params(random_state=self.random_state)
        self.calls_ = getattr(self, "calls_", 0) + 1
        rows = self.density_.sample(n_samples)[0]
        return rows[np.argsort(rows[:, 0])], np.zeros(n_samples)


def psd(n, d, seed=0):
    roots = np.random.RandomState(seed).standard_normal((n, d, d))
    return roots @ np.swapaxes(roots, 1, 2)


def posterior_means(est, noised, sigma):
    """By a sum over a grid, from the clean log-density alone."""
    axes = [np.linspace(c.min() - 2.5, c.max() + 2.5, 201) for c in X.T]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    squares = ((noised[:, None] - grid) ** 2).sum(2)
    joint = np.exp(est.score_samples(grid) - squares / (2 * sigma**2))
    return joint @ grid / joint.sum(axis=1, keepdims=True)


@cache
def fitted(density):
    """The estimator of a density, fitted once for tests that only ask."""
    return DensityScoreEstimator(density).fit(X)


@pytest.mark.parametrize("density", DENSITIES, ids=str)
class TestEveryDensity:
    def test_log_density_is_its_own(self, density):
        est = fitted(density)
        # That of the Bayesian mixture is a posterior expectation, lower than its mixture's.
        exact = not isinstance(density, BayesianGaussianMixture)
        np.testing.assert_allclose(
            est.score_samples(X), est.density_.score_samples(X), rtol=1e-6 if exact else 0.05
        )
        np.testing.assert_allclose(est.energy(X), -est.score_samples(X))
        assert est.score(X) == pytest.approx(est.score_samples(X).mean())

    def test_score_and_divergence_are_differences(self, density):
        est, h = fitted(density), 1e-5
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

    def test_denoised_rows_are_posterior_means(self, density):
        est, rows, sigma = fitted(density), X[:20] + 0.5, 0.6
        expected = posterior_means(est, rows, sigma)
        np.testing.assert_allclose(est.denoise(rows, sigma), expected, rtol=1e-6)
        scores = est.score_function(rows, sigma)
        np.testing.assert_allclose(scores, (expected - rows) / sigma**2, rtol=1e-5, atol=1e-5)

    def test_at_a_noise_level_the_divergence_is_that_of_the_score(self, density):
        est, rows, h = fitted(density), X[:10], 1e-5
        for sigma in (0.2, 3.0):
            slopes = [
                est.score_function(rows + h * e, sigma) - est.score_function(rows - h * e, sigma)
                for e in np.eye(2)
            ]
            trace = (slopes[0][:, 0] + slopes[1][:, 1]) / (2 * h)
            np.testing.assert_allclose(est.score_divergence(rows, sigma), trace, rtol=1e-5)

    def test_samples_follow_it(self, density):
        est = fitted(density)
        rows = est.sample(20_000, random_state=0)
        own = density.__class__(**est.density_.get_params()).fit(X).sample(20_000)
        own = own[0] if isinstance(own, tuple) else own
        np.testing.assert_allclose(rows.mean(0), own.mean(0), atol=0.08)
        np.testing.assert_allclose(np.cov(rows.T), np.cov(own.T), rtol=0.06, atol=0.05)


# -- noise levels ------------------------------------------------------------------------------


def test_denoising_a_gaussian_shrinks_towards_its_mean():
    est = DensityScoreEstimator(GaussianMixture()).fit(X)
    m, C = est.density_.means_[0], est.density_.covariances_[0]
    for sigma in (0.01, 0.7, 30.0):
        gain = C @ np.linalg.inv(C + sigma**2 * np.eye(2))
        np.testing.assert_allclose(est.denoise(X, sigma), m + (X - m) @ gain.T, rtol=1e-9)


def test_levels_are_in_the_units_of_the_rows():
    small = DensityScoreEstimator(GaussianMixture(3, random_state=0, reg_covar=0)).fit(X)
    large = DensityScoreEstimator(GaussianMixture(3, random_state=0, reg_covar=0)).fit(1e3 * X)
    np.testing.assert_allclose(
        large.denoise(1e3 * X, 500.0), 1e3 * small.denoise(X, 0.5), rtol=1e-5
    )


def test_level_zero_is_the_density_itself():
    est = DensityScoreEstimator(KernelDensity(bandwidth=0.3)).fit(X)
    np.testing.assert_array_equal(est.score_function(X, 0), est.score_function(X))
    np.testing.assert_array_equal(est.score_divergence(X, 0.0), est.score_divergence(X))
    np.testing.assert_array_equal(est.denoise(X, 0.0), X)


def test_denoising_needs_a_level():
    est = DensityScoreEstimator(KernelDensity()).fit(X)
    with pytest.raises(ValueError, match="no noise level of its own: pass .* in the units of X"):
        est.denoise(X)


@pytest.mark.parametrize("sigma", [-0.1, np.nan, np.inf, 1e200, True, "a", [0.1]])
def test_what_is_no_level_is_refused(sigma):
    est = DensityScoreEstimator(KernelDensity()).fit(X)
    for method in (est.score_function, est.score_divergence, est.denoise):
        with pytest.raises(ValueError, match="'sigma' of Density.* finite number that is not"):
            method(X, sigma)


# -- metrics -----------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [*DENSITIES, EXPONENTIAL, PCA(1), FactorAnalysis(1)], ids=str)
def test_a_metric_for_each_row_is_a_call_for_each_row(density):
    est, metrics = fitted(density), psd(30, 2)
    sigmas = (None, 0.5) if hasattr(est, "denoise") else (None,)
    for sigma in sigmas:
        together = est.score_divergence(X[:30], sigma, metric=metrics)
        alone = [est.score_divergence(X[i : i + 1], sigma, metric=metrics[i])[0] for i in range(30)]
        np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("density", [KernelDensity(), PCA()], ids=str)
def test_many_rows_keep_their_metrics(density):
    est = DensityScoreEstimator(density).fit(X)
    rows, metrics = np.repeat(X[:4], 600, axis=0), np.repeat(psd(4, 2), 600, axis=0)
    values = est.score_divergence(rows, metric=metrics)
    few = est.score_divergence(rows[::600], metric=metrics[::600])
    np.testing.assert_allclose(values, np.repeat(few, 600), rtol=1e-6)


def test_metrics_for_other_rows_are_refused():
    est = DensityScoreEstimator(KernelDensity()).fit(X)
    with pytest.raises(ValueError, match="one matrix for each of 300 rows: 3"):
        est.score_divergence(X, metric=psd(3, 2))


# -- differences -------------------------------------------------------------------------------


def relative(values, exact):
    return np.sqrt(np.mean((values - exact) ** 2) / np.mean(exact**2))


@pytest.mark.parametrize(
    ("units", "shift", "bounds"),
    [
        ([1.0, 1.0], 0.0, (1e-10, 1e-7)),
        ([1e-6, 1e6], 0.0, (1e-10, 1e-7)),
        ([1.0, 1.0], 1e3, (1e-8, 1e-6)),
        ([1.0, 1.0], 1e6, (1e-5, 1e-3)),
    ],
    ids=str,
)
def test_differences_are_close_to_the_closed_form(units, shift, bounds):
    rows, mixture = X * units + shift, GaussianMixture(3, random_state=0, reg_covar=0)
    exact = DensityScoreEstimator(mixture).fit(rows)
    est = DensityScoreEstimator(Hidden(mixture)).fit(rows)
    for j in (0, 1):
        scores = est.score_function(rows)[:, j], exact.score_function(rows)[:, j]
        assert relative(*scores) < bounds[0]
    for M in (None, exact.covariance_, np.linalg.inv(exact.covariance_), np.diag([1.0, 0.0])):
        traces = (e.score_divergence(rows, metric=M) for e in (est, exact))
        assert relative(*traces) < bounds[1]
    np.testing.assert_array_equal(est.score_samples(rows), exact.density_.score_samples(rows))
    assert hyvarinen_scorer(est, rows) == pytest.approx(hyvarinen_scorer(exact, rows), rel=1e-4)


@pytest.mark.parametrize(("bandwidth", "bounds"), [(0.02, (1e-8, 1e-4)), (30.0, (1e-6, 1e-4))])
def test_differences_of_a_density_far_finer_or_wider_than_the_rows(bandwidth, bounds):
    kernel = KernelDensity(bandwidth=bandwidth)
    exact, est = (DensityScoreEstimator(d).fit(X) for d in (kernel, Hidden(kernel)))
    assert relative(est.score_function(X), exact.score_function(X)) < bounds[0]
    assert relative(est.score_divergence(X), exact.score_divergence(X)) < bounds[1]


def test_differences_of_columns_that_nearly_agree():
    rows = np.c_[X, X[:, 0] + 1e-4 * np.random.RandomState(0).standard_normal(len(X))]
    mixture = GaussianMixture(reg_covar=0)
    exact, est = (DensityScoreEstimator(d).fit(rows) for d in (mixture, Hidden(mixture)))
    root = np.linalg.cholesky(exact.covariance_)
    whitened = [e.score_function(rows) @ root for e in (est, exact)]
    assert relative(*whitened) < 1e-6


def test_divergences_by_differences_turn_with_their_metric():
    rows = np.c_[X, np.sin(X[:, 0]) + 0.1 * np.random.RandomState(0).standard_normal(len(X))]
    mixture = GaussianMixture(3, random_state=0)
    exact, est = (DensityScoreEstimator(d).fit(rows) for d in (mixture, Hidden(mixture)))
    for metric in (*psd(3, 3), psd(len(X), 3)):
        traces = [e.score_divergence(rows, metric=metric) for e in (est, exact)]
        assert relative(*traces) < 1e-6


def test_differences_far_from_zero_do_not_mistake_rounded_steps_for_curvature():
    far = KernelDensity(bandwidth=0.3)
    exact, est = (DensityScoreEstimator(d).fit(X + 1e6) for d in (far, Hidden(far)))
    assert relative(est.score_divergence(X + 1e6), exact.score_divergence(X + 1e6)) < 1e-6


def test_differences_in_single_precision_take_longer_steps():
    exact = DensityScoreEstimator(GaussianMixture()).fit(X)
    est = DensityScoreEstimator(Hidden(GaussianMixture(), np.float32)).fit(X)
    assert relative(est.score_function(X), exact.score_function(X)) < 1e-4
    assert relative(est.score_divergence(X), exact.score_divergence(X)) < 1e-3
    assert est.score_samples(X).dtype == est.score_function(X).dtype == np.float64


def test_float32_rows_are_differenced_in_double_precision():
    est, rows = DensityScoreEstimator(Hidden(GaussianMixture())).fit(X), X.astype(np.float32)
    np.testing.assert_allclose(
        est.score_function(rows), est.score_function(rows.astype(float)), rtol=1e-12
    )
    np.testing.assert_allclose(
        est.score_divergence(rows), est.score_divergence(rows.astype(float)), rtol=1e-12
    )


def test_a_kernel_density_of_another_metric_is_refused_because_it_has_no_unit_mass():
    for density in (KernelDensity(metric="manhattan"), KernelDensity(metric="chebyshev")):
        with pytest.raises(ValueError, match="Euclidean metric only"):
            DensityScoreEstimator(density).fit(X)


@pytest.mark.parametrize("density", [PCA(1), PCA(), FactorAnalysis(1)], ids=str)
def test_the_gaussians_of_decompositions_have_linear_scores(density):
    est = DensityScoreEstimator(density).fit(X)
    precision = est.density_.get_precision()
    scores = -(X - est.density_.mean_) @ precision
    np.testing.assert_allclose(est.score_function(X), scores, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(est.score_divergence(X), -np.trace(precision), rtol=1e-6)
    np.testing.assert_allclose(est.energy(X), -est.density_.score_samples(X))


def test_noise_levels_of_a_density_by_differences_do_not_exist():
    est = DensityScoreEstimator(PCA())
    assert not hasattr(est, "denoise")
    est.fit(X)
    assert not hasattr(est, "denoise")
    for method in (est.score_function, est.score_divergence):
        with pytest.raises(ValueError, match="score of PCA is taken by differences .* sigma=None"):
            method(X, sigma=1.0)


def test_levels_are_forgotten_with_the_density_that_had_them():
    est = DensityScoreEstimator(KernelDensity()).fit(X)
    assert hasattr(est, "denoise")
    est.set_params(density=PCA()).fit(X)
    assert not hasattr(est, "denoise")


def test_rows_outside_a_support_have_minus_infinity_and_one_warning():
    est = DensityScoreEstimator(EPANECHNIKOV).fit(X)
    with pytest.warns(SupportWarning, match="1 of 4 rows lie outside the support") as record:
        values = est.score_samples(np.r_[X[:3], FAR])
    assert [w.filename for w in record] == [__file__]
    assert np.isneginf(values).tolist() == [False, False, False, True]
    with pytest.warns(SupportWarning):
        assert est.score(np.r_[X, FAR]) == -np.inf
    with pytest.warns(SupportWarning):
        assert est.energy(FAR) == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(est.score_samples(X)).all()


def test_there_is_no_score_outside_a_support_nor_at_its_edge():
    est = DensityScoreEstimator(KernelDensity(kernel="epanechnikov")).fit([[0.0], [0.0], [0.1]])
    inside, edge = [[0.5]], [[1.1 - 1e-9]]
    u, v = 1 - 0.5**2, 1 - 0.4**2
    slope = -(2 * 2 * 0.5 + 2 * 0.4) / (2 * u + v)
    np.testing.assert_allclose(est.score_function(inside), slope, rtol=1e-9)
    assert np.isfinite(est.score_samples(edge)).all()
    for rows in (FAR[:, :1], edge):
        for method in ("score_function", "score_divergence"):
            with pytest.raises(NonFiniteResultError, match=f"{method} by .* edge of a support"):
                getattr(est, method)(np.r_[inside, rows])


def test_other_results_that_are_no_numbers_are_errors():
    class Broken(Hidden):
        def score_samples(self, X):
            return np.where(X[:, 0] > 50, np.nan, 0.0)

    est = DensityScoreEstimator(Broken(GaussianMixture())).fit(X)
    with pytest.raises(NonFiniteResultError, match="score_samples is not finite for row 2"):
        est.score_samples(np.r_[X[:2], FAR])
    with pytest.raises(NonFiniteResultError, match="score_samples is not finite for row 0"):
        DensityScoreEstimator(GaussianMixture()).fit(X).score_samples([[1e200, 0.0]])


# -- samples -----------------------------------------------------------------------------------


def global_state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return kind, keys.tobytes(), *rest


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "density",
    [Hidden(GaussianMixture(3, random_state=0)), KernelDensity(kernel="tophat", bandwidth=0.3)],
    ids=["tuple, seeded by a parameter", "seeded by an argument"],
)
def test_samples_are_the_densitys_own_and_touch_nothing(density, frozen):
    if frozen:
        density = FrozenEstimator(copy.deepcopy(density).fit(X))
    est, before = DensityScoreEstimator(density).fit(X), global_state()
    inner = copy.deepcopy(est.density_)
    first, again, other = (est.sample(2000, random_state=seed) for seed in (1, 1, 2))
    assert first.shape == (2000, 2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(est.sample(3), est.sample(3))
    assert global_state() == before
    assert vars(est.density_).keys() == vars(inner).keys()
    assert repr(getattr(est.density_, "density_", None)) == repr(getattr(inner, "density_", None))
    halves = first[:1000].mean(0) - first[1000:].mean(0)
    np.testing.assert_allclose(halves, 0.0, atol=0.3)
    np.testing.assert_allclose(first.mean(0), X.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(first.T), np.cov(X.T), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    "density",
    [PCA(), EXPONENTIAL, GridSearchCV(EXPONENTIAL, {})],
    ids=str,
)
def test_there_is_no_sample_where_the_density_has_none(density):
    est = DensityScoreEstimator(density)
    assert not hasattr(est, "sample")
    assert not hasattr(est.fit(X), "sample")


def test_a_sample_that_cannot_be_seeded_is_hidden():
    class Unseeded(BaseEstimator):
        fit = score_samples = sample = lambda self, X=None: self

    class Seeded(Unseeded):
        def sample(self, n_samples=1, random_state=None):
            return np.full((n_samples, 2), random_state)

    assert not hasattr(DensityScoreEstimator(Unseeded()), "sample")
    assert DensityScoreEstimator(Seeded()).fit(X).sample(3, 0).shape == (3, 2)


def test_seeds_within_a_density_are_set_before_it_draws_from_the_global_generator():
    search = GridSearchCV(GaussianMixture(2), {"reg_covar": [1e-6]}, cv=2)
    before = global_state()
    DensityScoreEstimator(search).fit(X)
    DensityScoreEstimator(BayesianGaussianMixture()).fit(X)
    assert global_state() == before
    assert search.estimator.random_state is None


# -- what comes in -----------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [W, W - 1], ids=["positive", "some zero"])
def test_weights_of_a_kernel_density_are_repetition(weights):
    rows = np.repeat(X, weights.astype(int), axis=0)
    weighted = DensityScoreEstimator(KernelDensity()).fit(X, sample_weight=weights)
    repeated = DensityScoreEstimator(KernelDensity()).fit(rows)
    np.testing.assert_allclose(weighted.covariance_, repeated.covariance_)
    np.testing.assert_allclose(weighted.score_function(X), repeated.score_function(X))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X))


def test_weights_that_a_density_does_not_take_are_refused_by_name():
    for density in (GaussianMixture(), PCA()):
        with pytest.raises(ValueError, match=f"{type(density).__name__} takes no sample_weight"):
            DensityScoreEstimator(density).fit(X, sample_weight=W)


def test_weights_reach_a_density_by_differences():
    density = Hidden(KernelDensity(bandwidth=0.3))
    weighted = DensityScoreEstimator(density).fit(X, sample_weight=W)
    repeated = DensityScoreEstimator(density).fit(np.repeat(X, W.astype(int), axis=0))
    np.testing.assert_allclose(weighted.score_function(X), repeated.score_function(X), rtol=1e-6)
    np.testing.assert_allclose(weighted.covariance_, repeated.covariance_)


@pytest.mark.parametrize("density", [KernelDensity(bandwidth=0.5), EXPONENTIAL, PCA()], ids=str)
def test_a_frozen_density_is_used_as_it_is(density):
    density = density.fit(X)
    est = DensityScoreEstimator(FrozenEstimator(density)).fit(X[:10])
    assert est.density_ is density
    np.testing.assert_allclose(est.score_samples(X), density.score_samples(X), rtol=1e-6)


@pytest.mark.parametrize(
    "density",
    [KernelDensity(), GaussianMixture(), EXPONENTIAL, GridSearchCV(EXPONENTIAL, {})],
    ids=str,
)
def test_a_density_frozen_on_a_data_frame_takes_its_columns(density):
    frame = pd.DataFrame(X, columns=["a", "b"])
    est = DensityScoreEstimator(FrozenEstimator(density.fit(frame)))
    plain = DensityScoreEstimator(density).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DensityScoreEstimator(density).fit(frame).score_samples(frame)
        est.fit(frame)
        for method in ("score_function", "score_divergence", "score_samples"):
            values = getattr(est, method)(frame)
            np.testing.assert_allclose(values, getattr(plain, method)(X), rtol=1e-5, atol=1e-7)


def test_a_frozen_density_of_other_columns_is_refused():
    frame = pd.DataFrame(X, columns=["a", "b"])
    frozen = FrozenEstimator(KernelDensity().fit(frame))
    with pytest.raises(ValueError, match="same order"):
        DensityScoreEstimator(frozen).fit(frame[["b", "a"]])
    with pytest.raises(ValueError, match="1 features, but KernelDensity is expecting 2"):
        DensityScoreEstimator(FrozenEstimator(KernelDensity().fit(X))).fit(X[:, :1])


@pytest.mark.parametrize("density", [KernelDensity(), PCA()], ids=str)
def test_a_frozen_density_must_be_fitted(density):
    with pytest.raises(NotFittedError):
        DensityScoreEstimator(FrozenEstimator(density)).fit(X)


class ScorePipeline(Pipeline):
    """Minds the Jacobian, and says so by a score."""

    def score_function(self, X):
        return X


ALLOWED = "'density' parameter .* GaussianMixture or .* score_samples is a log-density .* Got "


@pytest.mark.parametrize(
    ("density", "words"),
    [
        (None, ALLOWED + "None"),
        (KernelDensity, ALLOWED + "<class"),
        (StandardScaler(), ALLOWED + "StandardScaler"),
        (IsolationForest(), ALLOWED + "IsolationForest"),
        (GridSearchCV(IsolationForest(), {}), ALLOWED + "GridSearchCV"),
        (GaussianNB(), ALLOWED + "GaussianNB"),
        (LinearRegression(), ALLOWED + "LinearRegression"),
        (KMeans(), ALLOWED + "KMeans"),
        (BernoulliRBM(), ALLOWED + "BernoulliRBM"),
        (make_pipeline(StandardScaler(), KernelDensity()), "Jacobian .* skscore.DensityPipeline"),
        (GridSearchCV(make_pipeline(KernelDensity()), {}), "Jacobian .* skscore.DensityPipeline"),
        (DensityScoreEstimator(KernelDensity()), "has a score of its own"),
        (ScorePipeline([("last", KernelDensity())]), "has a score of its own"),
        (FrozenEstimator(IsolationForest()), ALLOWED + "IsolationForest"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_is_no_density_is_refused_and_leaves_it_unfitted(density, words):
    est = DensityScoreEstimator(KernelDensity()).fit(X).set_params(density=density)
    with pytest.raises(ValueError, match=words):
        est.fit(X)
    with pytest.raises(NotFittedError):
        est.score_function(X)
    assert not hasattr(est, "n_features_in_")


class WithScores(Hidden):
    """Has score_samples, and a type that says they are something else."""

    kind = "classifier"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.estimator_type = self.kind
        return tags


@pytest.mark.parametrize("kind", ["outlier_detector", "classifier", "regressor", "clusterer"])
def test_score_samples_of_another_type_are_no_log_density(kind, monkeypatch):
    monkeypatch.setattr(WithScores, "kind", kind)
    with pytest.raises(ValueError, match=ALLOWED):
        DensityScoreEstimator(WithScores(GaussianMixture())).fit(X)
    monkeypatch.setattr(WithScores, "kind", "density_estimator")
    DensityScoreEstimator(WithScores(GaussianMixture())).fit(X)


def test_a_regularisation_that_spoils_columns_is_reported_once():
    frame = pd.DataFrame({"wide": X[:, 0], "narrow": 1e-4 * X[:, 1], "constant": 1.0})
    for density in (GaussianMixture(), BayesianGaussianMixture()):
        with pytest.warns(DegenerateColumnsWarning) as record:
            DensityScoreEstimator(density).fit(frame)
        said = [w for w in record if "reg_covar" in str(w.message)]
        assert len(said) == 1
        assert said[0].filename == __file__
        assert "of these: 'narrow'. Rescale the columns (with a StandardScaler in a " in str(
            said[0].message
        )
    columns = frame[["wide", "narrow"]].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DensityScoreEstimator(GaussianMixture()).fit(columns * [1.0, 1e4])
        DensityScoreEstimator(GaussianMixture(reg_covar=1e-13)).fit(columns)
        DensityScoreEstimator(KernelDensity()).fit(columns)
    with pytest.warns(DegenerateColumnsWarning, match="of these: 1"):
        DensityScoreEstimator(FrozenEstimator(GaussianMixture().fit(columns))).fit(columns)


@pytest.mark.parametrize(("ratio", "warns"), [(0.9, False), (1.1, True)])
def test_a_regularisation_is_held_against_a_thousandth_of_the_variance(ratio, warns):
    rows = X[:, :1] * np.sqrt(1e-3 / (1e-3 * X[:, 0].var()))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        DensityScoreEstimator(GaussianMixture(reg_covar=ratio * 1e-3)).fit(rows)
    assert bool(record) is warns


def test_warnings_about_columns_point_at_the_users_line():
    with pytest.warns(TiesWarning) as record:
        DensityScoreEstimator(KernelDensity()).fit(X.round())
    assert {w.filename for w in record} == {__file__}


def test_the_metric_is_that_of_the_score_estimators():
    rows = np.r_[X, X[:20]]
    trained = DenoisingScoreEstimator(max_iter=1, early_stopping=False).fit(rows)
    exact = DensityScoreEstimator(GaussianMixture()).fit(rows)
    np.testing.assert_array_equal(exact.covariance_, trained.covariance_)


def test_a_gaussian_fit_scores_half_its_columns_by_hyvarinen():
    law = make_gaussian(np.zeros(4), 0.5 * np.eye(4) + 0.5)
    est = DensityScoreEstimator(GaussianMixture()).fit(law.sample(3000, 0))
    assert hyvarinen_scorer(est, law.sample(3000, 1)) == pytest.approx(2.0, abs=0.1)


class TwoValues(BaseEstimator):
    """Two log-densities a row, where one is asked for."""

    def fit(self, X, y=None):
        return self

    def score_samples(self, X):
        return np.zeros((len(X), 2))


def test_a_density_with_several_values_a_row_is_refused_with_its_shape():
    X = np.arange(10.0)[:, None]
    est = DensityScoreEstimator(TwoValues())
    with pytest.raises(ValueError, match=r"TwoValues must return one value for each .* \(\d+, 2\)"):
        est.fit(X).score_function(X)
