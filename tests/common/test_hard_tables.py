"""Few rows, rows far out, and columns without variance, for every trained estimator."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

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
from skscore.exceptions import DegenerateColumnsWarning, FarRowsWarning, NonFiniteResultError

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
@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
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


# -- rows far out -------------------------------------------------------------------------------


def far_value(d):
    X = np.random.RandomState(0).standard_normal((500, d))
    X[7, -1] = 1e8
    return X


def wide_lognormal():
    return np.exp(5 * np.random.RandomState(0).standard_normal((1000, 1)))


FAR = {"one": far_value(1), "two": far_value(2), "lognormal": wide_lognormal()}
LINEAR = [
    DiffusionScoreEstimator(standardize=standardize, **BRIEF)
    for standardize in ("whiten", "scale", None)
]
CURVED = ALL_LEVELS[:2]


@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
@pytest.mark.parametrize("table", FAR)
@pytest.mark.parametrize("estimator", ONE_LEVEL + SEARCHING + LINEAR + ADAPTED, ids=name)
def test_a_deviation_that_far_rows_make_is_named_by_every_estimator_that_goes_by_it(
    estimator, table
):
    """One value at 1e8 among 500 N(0, 1) cost two nats a row without a word."""
    X = FAR[table]
    frame = pd.DataFrame(X, columns=["a", "b"][-X.shape[1] :])
    fits = ["fit", "partial_fit"] if hasattr(estimator, "partial_fit") else ["fit"]
    for fit in fits:
        with pytest.warns(
            FarRowsWarning,
        ):
            getattr(clone(estimator), fit)(frame)


@pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning")
@pytest.mark.filterwarnings("ignore::skscore.exceptions.TiesWarning")
@pytest.mark.parametrize("estimator", CURVED, ids=name)
def test_far_rows_of_a_column_that_cannot_be_curved_are_named_too(estimator):
    tied, beside_a_constant = far_value(1), np.c_[np.ones(500), far_value(1)]
    tied[8:] = tied[8:].round(1)
    for X, column in ((tied, 0), (beside_a_constant, 1)):
        with pytest.warns(
            FarRowsWarning, match=f"most rows: {column} .*without ties in tables of full"
        ):
            clone(estimator).fit(X)


@pytest.mark.parametrize("table", FAR)
def test_a_curve_keeps_density_and_draws_of_a_table_with_far_rows(table):
    """Held-out log-densities were -3.37 for -1.40, and -258 for -3.01; quartiles -28 and 28."""
    X = FAR[table]
    z = np.random.RandomState(1).standard_normal((2000, X.shape[1]))
    fresh, truth = z, norm.logpdf(z).sum(1)
    if table == "lognormal":
        fresh, truth = np.exp(5 * z), truth - np.log(5) - 5 * z[:, 0]
    small = {"network": "mlp", "hidden_layer_sizes": (32, 32), "max_iter": 8}
    estimator = DiffusionScoreEstimator(**small, random_state=0).fit(X)  # no warning: an error here
    assert estimator.score_samples(fresh).mean() == pytest.approx(truth.mean(), abs=0.1)
    quartiles = [
        np.quantile(np.arcsinh(rows), [0.25, 0.5, 0.75], axis=0)
        for rows in (estimator.sample(4000, random_state=0), X)
    ]
    np.testing.assert_allclose(*quartiles, atol=0.15)


SMALL = {"hidden_layer_sizes": (32,), "max_iter": 10, "random_state": 0}


@pytest.mark.parametrize("table", FAR)
@pytest.mark.parametrize(
    "last",
    [
        DenoisingScoreEstimator(sigma=0.1, **SMALL),
        ImplicitScoreEstimator(**SMALL),
        SlicedScoreEstimator(**SMALL),
        DiffusionScoreEstimator(standardize="whiten", network="mlp", **SMALL),
        GaussianMixture(3, random_state=0),
    ],
    ids=name,
)
def test_the_advice_for_far_rows_works(last, table):
    """Quartiles of draws are those of the rows, to a quarter of the distance between these."""
    X = FAR[table]
    forth, back = (np.log, np.exp) if table == "lognormal" else (np.arcsinh, np.sinh)
    pipeline = make_density_pipeline(FunctionTransformer(forth, back), last).fit(X)
    draws = pipeline.sample(2000, random_state=0)
    wanted, got = (np.quantile(forth(x), [0.25, 0.5, 0.75], axis=0) for x in (X, draws))
    assert (np.abs(got - wanted) < 0.25 * (wanted[2] - wanted[0])).all()


# -- denoising ----------------------------------------------------------------------------------


def tiny(cls, standardize="whiten", **kwargs):
    return cls(standardize=standardize, hidden_layer_sizes=(16,), random_state=0, **kwargs)


def denoisers(max_iter, sigma, forms=("whiten", "scale", None)):
    """Every estimator with `denoise`, in every standardisation, behind scalers too."""
    brief = {"max_iter": max_iter}
    levels = {"sigmas": [sigma, 1.5 * sigma], "cv": 2, **brief}
    one = [tiny(DenoisingScoreEstimator, form, sigma=sigma, **brief) for form in forms]
    all_levels = [tiny(DiffusionScoreEstimator, form, network="mlp", **brief) for form in forms]
    return [*one, *all_levels, *(tiny(DenoisingScoreEstimatorCV, form, **levels) for form in forms)]


def standardised_noise(estimator, X, sigma):
    """Rows with noise of that level in standardised coordinates: its covariance in those of X."""
    if estimator.standardize is None:
        root = np.eye(X.shape[1])
    elif estimator.standardize == "scale":
        root = np.diag(np.sqrt(estimator.covariance_.diagonal()))
    else:
        values, vectors = np.linalg.eigh(estimator.covariance_)
        root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return X + sigma * np.random.RandomState(1).standard_normal(X.shape) @ root


Y = np.random.RandomState(0).standard_normal((400, 2)) * [1.0, 3.0]
FLAT = pd.DataFrame({"a": Y[:, 0], "b": Y[:, 1], "sum": Y @ [1.0, -2.0], "seven": 7.0, "zero": 0.0})
SCALED = [
    make_density_pipeline(scaler, clone(last))
    for scaler in (StandardScaler(), MinMaxScaler())
    for last in denoisers(1, 0.3, ["whiten"])
]


@pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning")
@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
@pytest.mark.parametrize("estimator", denoisers(1, 0.3) + CURVED + SCALED, ids=name)
def test_denoised_rows_lie_in_the_plane_of_the_rows_and_far_ones_are_named(estimator):
    """Noise of four units in constant columns of the digits came back as errors of 2.7e7."""
    estimator = clone(estimator).fit(FLAT)
    noisy = FLAT + 30 * np.random.RandomState(1).standard_normal(FLAT.shape)
    with pytest.warns(FarRowsWarning, match=r"of 400 rows .*: .*'seven', 'zero'\. Constant"):
        clean = estimator.denoise(noisy)
    np.testing.assert_allclose(clean[:, 3:], np.tile([7.0, 0.0], (400, 1)), atol=1e-6)
    np.testing.assert_allclose(clean[:, 2], clean[:, :2] @ [1.0, -2.0], atol=1e-5)
    assert (np.std(clean - FLAT.to_numpy(), axis=0)[:2] < 30).all()  # the noise


def test_an_adapted_mixture_denoises_constant_columns_too():
    estimator = DensityScoreEstimator(GaussianMixture(2, random_state=0))
    with pytest.warns(DegenerateColumnsWarning):
        estimator.fit(FLAT)
    noisy = FLAT + np.random.RandomState(1).standard_normal(FLAT.shape)
    clean = estimator.denoise(noisy, sigma=1.0)
    np.testing.assert_allclose(clean[:, 3:], np.tile([7.0, 0.0], (400, 1)), atol=1e-4)


@pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning")
@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
@pytest.mark.parametrize("estimator", denoisers(10, 1.0), ids=name)
def test_noise_of_the_level_that_is_told_is_taken_away_in_every_column(estimator):
    """In the units of X with standardize=None, else by the recipe of the docs."""
    X = np.c_[Y[:, :1] + [0.0, 5.0], Y[:, 1:] / 3, 3 + 1e-3 * Y[:, :1] ** 2, np.full(400, 7.0)]
    X[:, 1] += 0.5 * Y[:, 1]
    estimator = clone(estimator).fit(X)
    noisy = standardised_noise(estimator, X, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if estimator.standardize is None else "error")
        clean = estimator.denoise(noisy, sigma=1.0)
    error, before = (np.sqrt(((rows - X) ** 2).mean(0)) for rows in (clean, noisy))
    assert (error[:4] < 0.9 * before[:4]).all()
    np.testing.assert_allclose(clean[:, 4], 7.0)


@pytest.mark.parametrize("standardize", ["whiten", "scale", None, "normal"])
def test_denoising_far_rows_is_linear_and_changes_no_row_beside_them(standardize):
    """A network knows nothing there: on noisy digits its error was 26, of the noisy rows 4."""
    X = np.random.RandomState(0).lognormal(sigma=0.5, size=(300, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    estimator = tiny(DiffusionScoreEstimator, standardize, network="mlp", max_iter=3).fit(X)
    with pytest.warns(FarRowsWarning, match="1 of 6 rows .*first row 5.*: 0"):
        mixed = estimator.denoise([*X[:5], [1e3, 2.0]], sigma=0.5)
    np.testing.assert_allclose(mixed[:5], estimator.denoise(X[:5], sigma=0.5), rtol=1e-6)
    if standardize == "normal":
        assert np.isfinite(mixed).all()
    else:
        S, location = estimator.covariance_, estimator.location_
        noise = 0.25 * {"whiten": S, "scale": np.diag(S.diagonal()), None: np.eye(2)}[standardize]
        gaussian = location + S @ np.linalg.solve(S + noise, [1e3, 2.0] - location)
        np.testing.assert_allclose(mixed[5], gaussian, rtol=1e-6)


@pytest.mark.parametrize("cls", [DenoisingScoreEstimator, DiffusionScoreEstimator])
def test_noise_across_nearly_collinear_columns_is_seen_where_the_network_sees_it(cls):
    """Each column alone hid nothing, and the error was 65 for noise of 1."""
    rng = np.random.RandomState(0)
    a = rng.standard_normal((1000, 1)) + rng.choice([-3.0, 3.0], (1000, 1))
    X = np.hstack([a, a + 1e-3 * rng.lognormal(size=(1000, 1))])
    level = {"sigma": 1.0} if cls is DenoisingScoreEstimator else {"network": "mlp"}
    estimator = tiny(cls, max_iter=3, **level).fit(X)
    noisy = X + rng.standard_normal(X.shape)
    with pytest.warns(FarRowsWarning, match="of 1000 rows .*: 0, 1. Constant"):
        clean = estimator.denoise(noisy, sigma=1.0)
    assert np.sqrt(np.mean((clean - X) ** 2)) < 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.denoise(standardised_noise(estimator, X, 1.0), sigma=1.0)
