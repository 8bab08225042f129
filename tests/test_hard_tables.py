"""Few rows, rows far out, and columns without variance, for every trained estimator."""

import contextlib
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
    make_density_pipeline,
    metrics,
)
from skscore.exceptions import FarRowsWarning, NonFiniteResultError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BRIEF = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
ONE_LEVEL = [
    DenoisingScoreEstimator(**BRIEF),
    ImplicitScoreEstimator(**BRIEF),
    SlicedScoreEstimator(**BRIEF),
]
SEARCHING = [
    DenoisingScoreEstimator(sigma="auto", **BRIEF),
    DenoisingScoreEstimatorCV(sigmas=2, cv=2, **BRIEF),
]
ALL_LEVELS = [
    DiffusionScoreEstimator(**BRIEF),
    DiffusionScoreEstimator(standardize="normal", **BRIEF),
    DiffusionScoreEstimator(early_stopping=False, **BRIEF),
]
DENSITIES = [
    GaussianMixture(2),
    BayesianGaussianMixture(n_components=2),
    KernelDensity(),
    KernelDensity(bandwidth="scott", kernel="tophat"),
    PCA(1),
    FactorAnalysis(1),
]
ADAPTED = [DensityScoreEstimator(density) for density in DENSITIES]
PIPELINES = [
    make_density_pipeline(GaussianMixture()),
    make_density_pipeline(StandardScaler(), GaussianMixture()),
    make_density_pipeline(FunctionTransformer(np.arcsinh, np.sinh), ONE_LEVEL[0]),
]


def name(case):
    return re.sub(r"\W+", "-", str(case))[:60] if hasattr(case, "fit") else None


# -- few rows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 1), (2, 2), (2, 100), (3, 2), (5, 1)], ids=str)
@pytest.mark.parametrize("estimator", ONE_LEVEL + ALL_LEVELS, ids=name)
def test_a_few_rows_are_fitted(estimator, shape):
    """Two rows ended in a message of GaussianMixture about one sample."""
    X = np.random.RandomState(0).standard_normal(shape)
    estimator = clone(estimator).fit(X)
    assert np.isfinite(estimator.score_function(X)).all()
    assert np.isfinite(estimator.sample(2, random_state=0)).all()


@pytest.mark.parametrize("d", [1, 100])
@pytest.mark.parametrize(
    ("estimator", "least"), list(zip(SEARCHING, (3, 4), strict=True)), ids=name
)
def test_a_search_over_too_few_rows_is_refused_in_our_own_name(estimator, least, d):
    X, estimator = np.random.RandomState(0).standard_normal((least, d)), clone(estimator)
    with pytest.raises(ValueError, match=f"{type(estimator).__name__} needs at least two diff"):
        estimator.fit(X[:-1])
    assert not hasattr(estimator, "_network")
    assert np.isfinite(estimator.fit(X).sample(2, random_state=0)).all()


@pytest.mark.filterwarnings("ignore::skscore.exceptions.TiesWarning")
@pytest.mark.parametrize("estimator", ONE_LEVEL + ALL_LEVELS[::2], ids=name)
def test_a_column_of_zeros_and_ones_is_fitted(estimator):
    X = np.repeat([[0.0], [1.0]], 20, axis=0)
    assert np.isfinite(clone(estimator).fit(X).score_function(X)).all()


@pytest.mark.parametrize(("n_rows", "n_components"), [(2, 1), (3, 3), (10, 12)])
def test_more_components_than_rows_are_refused_before_training(n_rows, n_components):
    X = np.random.RandomState(0).standard_normal((n_rows, 2))
    estimator = DiffusionScoreEstimator(n_components=n_components, **BRIEF)
    message = f"with n_components={n_components} needs at least {max(2, n_components)} different"
    with pytest.raises(ValueError, match=message):
        estimator.fit(X)
    assert not hasattr(estimator, "_network")
    assert np.isfinite(estimator.set_params(n_components=0).fit(X).sample(2)).all()


# -- values whose squares are no numbers --------------------------------------------------------


def one_entry(value):
    X = np.random.RandomState(0).standard_normal((60, 2))
    X[3, 1] = value
    return X


def whole_column(factor):
    return np.random.RandomState(0).standard_normal((60, 2)) * [1.0, factor]


EXTREME = [one_entry(1e300), one_entry(-1e160), whole_column(1e-300), whole_column(1e300)]


@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
@pytest.mark.parametrize("X", EXTREME, ids=["entry", "smaller-entry", "tiny", "huge"])
@pytest.mark.parametrize(
    "estimator", ONE_LEVEL + SEARCHING + ALL_LEVELS + ADAPTED + PIPELINES, ids=name
)
def test_columns_too_large_or_too_small_are_named_by_every_fit(estimator, X):
    """An adapted mixture said that the array must not contain infs or NaNs, where there were none.

    Within a pipeline, and where the form of the columns is chosen, names were positions.
    """
    estimator = clone(estimator)
    message = r"columns of X are too large or too small: 'b'\. .* 1e-300 and 1e300\. Divide"
    with pytest.raises(ValueError, match=message):
        estimator.fit(pd.DataFrame(X, columns=["a", "b"]))
    assert not [attribute for attribute in vars(estimator) if attribute.endswith("_")]
    size = np.abs(X) / np.median(np.abs(X), axis=0)
    estimator.fit((X / np.median(np.abs(X), axis=0))[size.max(1) < 100])  # the advice


@pytest.mark.parametrize("X", [EXTREME[0], EXTREME[2]], ids=["entry", "tiny"])
@pytest.mark.parametrize(
    "metric",
    [
        lambda X, S: metrics.kernel_stein_discrepancy(X, S),
        lambda X, S: metrics.goodness_of_fit_test(X, S),
        lambda X, S: metrics.stein_thinning(X, S, 3),
        lambda X, S: metrics.data_copying_share(S, X, S),
    ],
    ids=["ksd", "gof", "thinning", "copying"],
)
def test_metrics_that_rescale_columns_name_those_too_large_or_too_small(metric, X):
    S = np.random.RandomState(1).standard_normal(X.shape)
    with pytest.raises(ValueError, match="too large or too small: 1. Standard deviations must"):
        metric(X, S)


@pytest.mark.parametrize(
    "metric",
    [
        lambda X, S: metrics.energy_distance(X, S),
        lambda X, S: metrics.sliced_wasserstein_distance(X, S),
        lambda X, S: metrics.fisher_divergence(X, S),
        lambda X, S: metrics.relative_fisher_divergence(S, X),
        lambda X, S: metrics.hyvarinen_score(X, S[:, 0]),
    ],
    ids=["energy", "sliced", "fisher", "relative", "hyvarinen"],
)
def test_metrics_that_overflow_end_in_a_named_error(metric):
    """The relative Fisher divergence was NaN, Hyvarinen's criterion minus infinity."""
    S = np.random.RandomState(1).standard_normal((60, 2))
    with pytest.raises(NonFiniteResultError, match="is not finite"):
        metric(EXTREME[3], S)


# -- noise in directions without variance -------------------------------------------------------


@pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning")
@pytest.mark.parametrize("standardize", ["whiten", "scale", None])
@pytest.mark.parametrize("cls", [DenoisingScoreEstimator, DiffusionScoreEstimator])
def test_denoised_rows_lie_in_the_plane_of_the_rows_and_far_ones_are_named(cls, standardize):
    """Noise of four units in constant columns of the digits came back as errors of 2.7e7."""
    Y = np.random.RandomState(0).standard_normal((100, 2))
    X = np.column_stack([Y, Y @ [1.0, -2.0], np.full(100, 7.0)])
    estimator = cls(standardize=standardize, **BRIEF).fit(X)
    noisy = X + np.random.RandomState(1).standard_normal(X.shape)
    expected = pytest.warns(FarRowsWarning, match="100 of 100 rows .*: 3") if standardize else None
    with expected or contextlib.nullcontext():
        clean = estimator.denoise(noisy, sigma=estimator.sigma_)
    np.testing.assert_allclose(clean[:, 3], 7.0)
    np.testing.assert_allclose(clean[:, 2], clean[:, 0] - 2 * clean[:, 1], atol=1e-6)
    assert np.abs(clean - X).max() < 10
