"""What lies behind a mask is no value: masked arrays that hide entries are refused everywhere."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skscore import (
    BoundedTransformer,
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    FlowTransformer,
    ImplicitScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
    make_density_pipeline,
)
from skscore import metrics as m
from skscore.datasets import dequantize, make_moons

X = np.random.RandomState(0).standard_normal((40, 2))
HIDING, SHOWING = np.ma.array(X, mask=X > 1.5), np.ma.array(X, mask=np.zeros_like(X))
W = np.ma.array(np.ones(40), mask=np.arange(40) == 3)
BRIEF = {"max_iter": 1, "hidden_layer_sizes": (8,), "early_stopping": False, "random_state": 0}
DIFFUSION = DiffusionScoreEstimator(n_components=0, **BRIEF)
ESTIMATORS = [
    ImplicitScoreEstimator(**BRIEF),
    SlicedScoreEstimator(**BRIEF),
    DenoisingScoreEstimator(conservative=True, **BRIEF),
    DenoisingScoreEstimatorCV(sigmas=2, cv=2, **BRIEF),
    DIFFUSION,
    DensityScoreEstimator(KernelDensity()),
    ScoreBasedSampler(DenoisingScoreEstimator(**BRIEF)),
    make_density_pipeline(StandardScaler(), GaussianMixture()),
    make_density_pipeline(StandardScaler(), DenoisingScoreEstimator(**BRIEF)),
    FlowTransformer(DIFFUSION),
    BoundedTransformer((-9, 9)),
]
METHODS = [
    "score_function",
    "score_divergence",
    "score_samples",
    "energy",
    "denoise",
    "score",
    "sigma_curve",
    "score_lower_bound",
    "transform",
    "inverse_transform",
]
REFUSED = "is a masked array that hides entries"
SCORERS = [
    m.log_likelihood_scorer,
    m.hyvarinen_scorer,
    m.sliced_scorer,
    m.multi_level_denoising_scorer,
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_no_method_of_an_estimator_takes_hidden_entries(estimator):
    with pytest.raises(ValueError, match=REFUSED):
        estimator.fit(HIDING)
    if not isinstance(estimator, BoundedTransformer) and not hasattr(estimator, "steps"):
        with pytest.raises(ValueError, match=REFUSED):
            estimator.fit(X, sample_weight=W)
    est = estimator.fit(SHOWING)
    methods = [name for name in METHODS if hasattr(est, name)]
    assert methods
    for name in methods:
        with pytest.raises(ValueError, match=REFUSED):
            getattr(est, name)(HIDING)
    if hasattr(est, "partial_fit"):
        for arguments in ((HIDING,), (X, None, W)):
            with pytest.raises(ValueError, match=REFUSED):
                est.partial_fit(*arguments)
    if hasattr(est, "score"):
        with pytest.raises(ValueError, match=REFUSED):
            est.score(X, sample_weight=W)
    if hasattr(est, "score_divergence"):
        with pytest.raises(ValueError, match=REFUSED):
            est.score_divergence(X, metric=np.ma.array(np.eye(2), mask=np.eye(2)))


@pytest.mark.parametrize("estimator", ESTIMATORS[:4] + ESTIMATORS[6:7], ids=str)
def test_chains_do_not_start_from_hidden_entries(estimator):
    est = estimator.fit(X)
    with pytest.raises(ValueError, match=REFUSED):
        est.sample(2, init=HIDING)
    est.sample(2, init=SHOWING)


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_no_scorer_takes_hidden_entries(scorer):
    adapter = DensityScoreEstimator(GaussianMixture()).fit(X)
    assert scorer(adapter, SHOWING) == scorer(adapter, X)
    calls = [(adapter, HIDING), (adapter, X, None, W)]
    if scorer is m.log_likelihood_scorer:  # scikit-learn's own densities use what is hidden
        calls += [(GaussianMixture().fit(X), HIDING), (KernelDensity().fit(X), HIDING)]
    for arguments in calls:
        with pytest.raises(ValueError, match=REFUSED):
            scorer(*arguments)


@pytest.mark.parametrize(
    "call",
    [
        lambda A: m.fisher_divergence(A, X),
        lambda A: m.relative_fisher_divergence(X, A),
        lambda A: m.hyvarinen_score(A, np.zeros(40)),
        lambda A: m.hyvarinen_score(X, A[:, 0]),
        lambda A: m.sliced_wasserstein_distance(X, A),
        lambda A: m.energy_distance(A, X),
        lambda A: m.maximum_mean_discrepancy(A, X),
        lambda A: m.classifier_two_sample_test(X, A),
        lambda A: m.kernel_stein_discrepancy(A, lambda rows: -rows),
        lambda A: m.stein_thinning(A, lambda rows: -rows, 3),
        lambda A: dequantize(A),
        lambda A: make_moons().score_samples(A),
        lambda A: make_moons().score_function(A),
        lambda A: dequantize(list(A)),
    ],
)
def test_no_metric_or_data_set_takes_hidden_entries(call):
    call(SHOWING)
    with pytest.raises(ValueError, match=REFUSED):
        call(HIDING)
