"""What is a log-density of the rows, and its right value."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from skscore import DensityPipeline, DensityScoreEstimator, make_density_pipeline
from skscore.metrics import (
    hyvarinen_scorer,
    log_likelihood_scorer,
    multi_level_denoising_scorer,
    sliced_scorer,
)

X = np.random.RandomState(0).standard_normal((200, 3))
WIDE = StandardScaler().fit_transform(load_breast_cancer().data)
SCORE_SCORERS = [hyvarinen_scorer, sliced_scorer, multi_level_denoising_scorer]
KERNELS = {
    "gaussian": lambda u: -0.5 * u**2,
    "exponential": lambda u: -u,
    "tophat": lambda u: np.where(u < 1, 0.0, -np.inf),
    "epanechnikov": lambda u: np.log(np.maximum(1 - u**2, 0.0)),
    "linear": lambda u: np.log(np.maximum(1 - u, 0.0)),
    "cosine": lambda u: np.log(np.where(u < 1, np.cos(0.5 * np.pi * u), 0.0)),
}


def frozen(estimator):
    return FrozenEstimator(estimator.fit(X))


def searched(estimator):
    return GridSearchCV(estimator, {}, scoring=lambda *args: 0.0, cv=2).fit(X)


WRAPPERS = [lambda estimator: estimator.fit(X), frozen, searched]


def by_hand(density, train, rows):
    """The sum over kernels, term by term."""
    unit = KernelDensity(bandwidth=density.bandwidth, kernel=density.kernel).fit(train[:1])
    largest = unit.score_samples(train[:1])[0]
    with np.errstate(divide="ignore"):
        terms = KERNELS[density.kernel](cdist(rows, train) / density.bandwidth)
    return largest + logsumexp(terms, axis=1) - np.log(len(train))


@pytest.mark.filterwarnings("ignore::skscore.exceptions.SupportWarning")
@pytest.mark.filterwarnings("ignore::skscore.exceptions.TiesWarning")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("rows", "bandwidth"), [(X, 0.6), (WIDE, 0.3), (WIDE, 6.0)])
def test_a_kernel_density_is_the_sum_of_its_kernels_through_every_door(kernel, rows, bandwidth):
    # The bounds of its tree were off by up to 137 nats, and gave rows outside a support -35.
    train, test = rows[::2], rows[1::2]
    density = KernelDensity(bandwidth=bandwidth, kernel=kernel).fit(train)
    truth = by_hand(density, train, test)
    adapter = DensityScoreEstimator(FrozenEstimator(density)).fit(train)
    pipeline = DensityPipeline([("same", "passthrough"), ("last", density)]).fit(train)
    for est in (adapter, pipeline):
        np.testing.assert_allclose(est.score_samples(test), truth, rtol=1e-9)
    for est in (density, FrozenEstimator(density), make_pipeline("passthrough", density)):
        assert log_likelihood_scorer(est, test) == pytest.approx(truth.mean(), rel=1e-9)
        first = [log_likelihood_scorer(est, test[i : i + 1]) for i in range(20)]
        np.testing.assert_allclose(first, truth[:20], rtol=1e-9)


def test_the_weights_of_a_kernel_density_count_in_its_plain_sum():
    w = np.random.RandomState(0).randint(1, 4, size=len(X))
    for kernel in ("gaussian", "exponential"):
        weighted = KernelDensity(kernel=kernel).fit(X, sample_weight=w)
        repeated = KernelDensity(kernel=kernel).fit(np.repeat(X, w, axis=0))
        values = [log_likelihood_scorer(density, X) for density in (weighted, repeated)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_a_bayesian_mixture_is_scored_by_its_normalised_density():
    # Its own score_samples is the expectation of a logarithm, lower than any log-density.
    density = BayesianGaussianMixture(n_components=2, random_state=0).fit(X)
    adapter = DensityScoreEstimator(FrozenEstimator(density)).fit(X)
    assert log_likelihood_scorer(density, X) == pytest.approx(adapter.score(X), rel=1e-12)
    assert log_likelihood_scorer(density, X) > density.score_samples(X).mean()


@pytest.mark.parametrize("wrapped", WRAPPERS)
@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (
            IsolationForest(n_estimators=5, random_state=0),
            "IsolationForest",
        ),
        (OneClassSVM(), "OneClassSVM"),
        (EllipticEnvelope(random_state=0), "EllipticEnvelope"),
        (LocalOutlierFactor(novelty=True), "LocalOutlierFactor"),
        (BernoulliRBM(2, n_iter=1), "BernoulliRBM is a pseudo-likelihood"),
        (KernelDensity(metric="manhattan"), "Use metric='euclidean'"),
    ],
    ids=str,
)
def test_what_has_no_log_density_is_not_compared_by_log_likelihood(estimator, words, wrapped):
    with pytest.raises(ValueError, match=f"normalised log-densities. .*{words}"):
        log_likelihood_scorer(wrapped(estimator), X)


@pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning")
@pytest.mark.parametrize("wrapped", WRAPPERS)
@pytest.mark.parametrize(
    "last", [GaussianMixture(), DensityScoreEstimator(GaussianMixture())], ids=str
)
def test_a_plain_pipeline_is_refused_by_every_scorer(last, wrapped):
    est = wrapped(make_pipeline(MinMaxScaler((0, 1e-6)), last))
    for scorer in (log_likelihood_scorer, *SCORE_SCORERS):
        with pytest.raises(ValueError, match=f"{scorer.__name__} cannot .* Use skscore.DensityPi"):
            scorer(est, X)


@pytest.mark.parametrize("wrapped", WRAPPERS)
def test_searches_and_pipelines_that_change_nothing_score_as_what_they_hold(wrapped):
    est = DensityScoreEstimator(GaussianMixture(random_state=0)).fit(X)
    plain = Pipeline([("none", None), ("same", "passthrough"), ("last", est)])
    pipeline = make_density_pipeline("passthrough", est)
    others = [wrapped(other) for other in (est, plain, pipeline)]
    for scorer in (log_likelihood_scorer, *SCORE_SCORERS):
        values = [scorer(other, X) for other in others]
        np.testing.assert_allclose(values, scorer(est, X), rtol=1e-9)


def test_log_likelihood_ranks_scalers_only_where_the_change_of_variables_is_done():
    # Over MinMaxScaler((0, 1e-6)) a search by plain pipelines chose the tiny scale.
    scalers = [MinMaxScaler((0, s)) for s in (1e-6, 1.0)]
    values = [
        log_likelihood_scorer(make_density_pipeline(scaler, GaussianMixture(reg_covar=0)).fit(X), X)
        for scaler in scalers
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
