"""Pipelines of transformers and a density: units, supports, selection, and all of a Pipeline."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.integrate import trapezoid
from scipy.stats import kstest, norm
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from skscore import (
    BoundedTransformer,
    DenoisingScoreEstimator,
    DensityPipeline,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    SlicedScoreEstimator,
    make_density_pipeline,
)
from skscore.compose._steps import look_at
from skscore.datasets import make_two_gaussians
from skscore.exceptions import FarRowsWarning, NonFiniteResultError, SupportWarning
from skscore.metrics import (
    hyvarinen_scorer,
    log_likelihood_scorer,
    multi_level_denoising_scorer,
    sliced_scorer,
)
from skscore.testing import density_estimator_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
X = make_two_gaussians(0.6, 4.0).sample(400, 0) * [2.0, 30.0] + [5.0, -100.0]
ROWS = X[:20]
NET = {"hidden_layer_sizes": (16, 16), "max_iter": 2, "random_state": 0}
W = RNG.randint(0, 4, size=len(X)).astype(float)


def micro(X):
    return 1e-6 * X


def mega(X):
    return 1e6 * X


def gaussian(*steps, **options):
    return make_density_pipeline(*steps, GaussianMixture(2, random_state=0, **options))


@pytest.fixture(scope="module")
def pipeline():
    return gaussian(StandardScaler()).fit(X)


@pytest.fixture(scope="module")
def denoising():
    steps = [("scale", StandardScaler()), ("density", DenoisingScoreEstimator(**NET))]
    return DensityPipeline(steps).fit(X)


# -- the change of variables --------------------------------------------------------------------


def test_a_mixture_of_scaled_rows_is_the_scaled_mixture(pipeline):
    mean, scale = X.mean(0), X.std(0)
    mixture = pipeline.steps[-1][1]
    z = (ROWS - mean) / scale
    expected = mixture.score_samples(z) - np.log(scale).sum()
    np.testing.assert_allclose(pipeline.score_samples(ROWS), expected, rtol=1e-12)
    inner = DensityScoreEstimator(FrozenEstimator(mixture)).fit(z)
    np.testing.assert_allclose(pipeline.score_function(ROWS), inner.score_function(z) / scale)
    traces = inner.score_divergence(z, metric=np.diag(scale**-2.0))
    np.testing.assert_allclose(pipeline.score_divergence(ROWS), traces)
    np.testing.assert_array_equal(
        pipeline.sample(50, random_state=3),
        pipeline[0].inverse_transform(inner.sample(50, random_state=3)),
    )


def test_denoise_and_levels_are_in_the_coordinates_of_the_last_step(pipeline, denoising):
    mean, scale = X.mean(0), X.std(0)
    inner = DensityScoreEstimator(FrozenEstimator(pipeline.steps[-1][1])).fit((X - mean) / scale)
    z = (ROWS - mean) / scale
    clean = inner.denoise(z, sigma=0.3) * scale + mean
    np.testing.assert_allclose(pipeline.denoise(ROWS, sigma=0.3), clean, rtol=1e-12)
    scores = inner.score_function(z, sigma=0.3) / scale
    np.testing.assert_allclose(pipeline.score_function(ROWS, sigma=0.3), scores, rtol=1e-12)
    pushed = np.diag(scale**-2.0)
    traces = inner.score_divergence(z, sigma=0.3, metric=pushed)
    np.testing.assert_allclose(pipeline.score_divergence(ROWS, sigma=0.3), traces, rtol=1e-9)
    assert not hasattr(pipeline, "sigma_range_")
    assert not hasattr(pipeline, "sigma_")
    assert denoising.sigma_ == denoising.steps[-1][1].sigma_
    np.testing.assert_allclose(
        denoising.denoise(ROWS), denoising.steps[-1][1].denoise(z) * scale + mean, rtol=1e-12
    )


def test_denoising_through_a_whitening_is_tweedies_formula_in_the_space_of_x():
    pipeline = gaussian(PCA(whiten=True)).fit(X)
    S = np.cov(X.T) * 0.3**2  # noise of level 0.3 in whitened coordinates
    expected = ROWS + pipeline.score_function(ROWS, sigma=0.3) @ S
    np.testing.assert_allclose(pipeline.denoise(ROWS, sigma=0.3), expected, rtol=1e-9)


def test_methods_are_those_of_the_last_step(pipeline, denoising):
    everything = ("score_samples", "score_function", "score_divergence", "sample", "denoise")
    assert all(hasattr(pipeline, name) for name in everything)
    assert [hasattr(denoising, name) for name in everything] == [False, True, True, True, True]
    linear = make_density_pipeline(StandardScaler(), KernelDensity(kernel="linear")).fit(X)
    assert [hasattr(linear, name) for name in everything] == [True, True, True, False, False]
    for unfitted in (clone(pipeline), clone(denoising), clone(linear)):
        assert hasattr(unfitted, "score_function")
        assert hasattr(unfitted, "score_samples") == (unfitted.steps[-1][0] != "density")
    assert not hasattr(pipeline, "energy")
    assert not hasattr(DensityPipeline([]), "score_samples")


@pytest.mark.parametrize("last", [GaussianMixture(), DensityScoreEstimator(GaussianMixture())])
def test_scikit_learns_densities_and_adapted_ones_are_the_same(last):
    one = make_density_pipeline(StandardScaler(), last).fit(X)
    twin = make_density_pipeline(StandardScaler(), GaussianMixture()).fit(X)
    for name in ("score_samples", "score_function", "score_divergence", "score"):
        np.testing.assert_array_equal(getattr(one, name)(X), getattr(twin, name)(X))


def test_a_density_without_a_formula_is_differentiated_in_the_space_of_the_last_step():
    pipeline = make_density_pipeline(PowerTransformer(), PCA(1)).fit(X)
    h = 1e-3 * X.std(0)
    for j in (0, 1):
        step = h[j] * np.eye(2)[j]
        rise = pipeline.score_samples(ROWS + step) - pipeline.score_samples(ROWS - step)
        slopes = pipeline.score_function(ROWS)[:, j] * 2 * h[j]
        np.testing.assert_allclose(slopes, rise, rtol=1e-4, atol=1e-6)


def test_a_metric_for_each_row_is_used_for_that_row(monkeypatch):
    pipeline = gaussian(PowerTransformer()).fit(X)
    S = np.cov(X.T)
    metrics = np.stack([S * (1 + i) + np.diag([i, 0.5]) for i in range(len(ROWS))])
    each = pipeline.score_divergence(ROWS, metric=metrics)
    alone = [pipeline.score_divergence(ROWS[i : i + 1], metric=metrics[i]) for i in range(20)]
    np.testing.assert_allclose(each, np.ravel(alone), rtol=1e-9)
    monkeypatch.setattr("skscore.compose._carried._ENTRIES", 28)  # seven rows a chunk
    np.testing.assert_allclose(pipeline.score_divergence(ROWS, metric=metrics), each, rtol=1e-9)
    np.testing.assert_allclose(
        pipeline.score_divergence(ROWS), pipeline.score_divergence(ROWS, metric=np.eye(2))
    )
    with pytest.raises(ValueError, match="one matrix for each of 20 rows"):
        pipeline.score_divergence(ROWS, metric=metrics[:5])
    with pytest.raises(ValueError, match="metric must be a symmetric matrix"):
        pipeline.score_divergence(ROWS, metric=np.ones((3, 3)))


def test_score_is_the_mean_log_density_or_the_criterion(pipeline, denoising):
    assert pipeline.score(ROWS) == pytest.approx(pipeline.score_samples(ROWS).mean())
    assert denoising.score(ROWS) == hyvarinen_scorer(denoising, ROWS)
    w = np.arange(20.0)
    weighted = np.average(pipeline.score_samples(ROWS), weights=w)
    assert pipeline.score(ROWS, sample_weight=w) == pytest.approx(weighted)
    assert denoising.score(ROWS, None, w) == hyvarinen_scorer(denoising, ROWS, None, w)
    with pytest.raises(TypeError, match="score of DensityPipeline takes no groups"):
        pipeline.score(ROWS, groups=w)


def test_location_and_covariance_are_those_of_the_rows_in_their_own_space(pipeline):
    np.testing.assert_allclose(pipeline.location_, X.mean(0), rtol=1e-9)
    np.testing.assert_allclose(pipeline.covariance_, np.cov(X.T, bias=True), rtol=0.02, atol=3)
    alone = DensityScoreEstimator(GaussianMixture()).fit(X)
    np.testing.assert_allclose(pipeline.covariance_, alone.covariance_, rtol=1e-12)
    curved = gaussian(PowerTransformer()).fit(X)
    np.testing.assert_array_equal(curved.covariance_, pipeline.covariance_)


# -- supports -----------------------------------------------------------------------------------

SKEWED = np.random.RandomState(1).gamma(1.2, 1.0, size=(500, 1)) + 1e-3


def with_power(method, power, **mixture):
    """A pipeline whose one power is given, and a wide Gaussian after it."""

    class Fixed(PowerTransformer):
        def fit_transform(self, X, y=None):
            super().fit(X)
            self.lambdas_ = np.full(X.shape[1], power)
            return self.transform(X)

        def __reduce__(self):
            return super().__reduce__()

    return make_density_pipeline(Fixed(method, standardize=False), GaussianMixture(**mixture))


TRUNCATED = {
    "box-cox": lambda: with_power("box-cox", 0.5).fit(SKEWED),
    "box-cox -1": lambda: with_power("box-cox", -1.0).fit(SKEWED + 0.5),
    "yeo-johnson 3": lambda: with_power("yeo-johnson", 3.0).fit(RNG.normal(size=(300, 1))),
    "yeo-johnson -1": lambda: with_power("yeo-johnson", -1.0).fit(RNG.normal(size=(300, 1))),
    "uniform quantiles": lambda: make_density_pipeline(
        QuantileTransformer(n_quantiles=50), KernelDensity(bandwidth=0.1)
    ).fit(SKEWED),
    "clipped": lambda: gaussian(MinMaxScaler(clip=True)).fit(X[:, :1]),
    "root": lambda: gaussian(FunctionTransformer(np.sqrt, np.square)).fit(SKEWED),
    "square": lambda: gaussian(FunctionTransformer(np.square, np.sqrt)).fit(SKEWED),
}
truncated = pytest.mark.parametrize("make", TRUNCATED.values(), ids=TRUNCATED)


@truncated
def test_the_density_on_a_part_of_the_space_is_divided_by_its_mass_there(make):
    """The integral is the true mass of the image over the drawn one."""
    pipeline = make()
    assert 0 < pipeline.mass_ < 1
    p = pipeline.mass_
    assert pipeline.mass_std_error_ == pytest.approx(np.sqrt(p * (1 - p) / 10_000))
    part, change = pipeline._carried.part, pipeline._carried.change
    y = np.linspace(part.sample(2000, 0).min() - 2, part.sample(2000, 0).max() + 2, 200_001)
    inside = change.reaches(y[:, None])
    true = np.exp(part.score_samples(y[inside][:, None])).sum() * (y[1] - y[0])
    assert p == pytest.approx(true, abs=4 * pipeline.mass_std_error_ + 1e-4)
    x = np.unique(change.inverse_transform(y[inside][::10, None]))
    mass = trapezoid(np.exp(pipeline.score_samples(x[:, None])), x)
    assert mass == pytest.approx(true / p, abs=0.02)


@truncated
@pytest.mark.parametrize("n", [1, 7, 1500])
def test_draws_are_repeated_until_all_lie_in_the_support(make, n):
    pipeline = make()
    rows = pipeline.sample(n, random_state=0)
    assert rows.shape == (n, 1)
    assert np.isfinite(pipeline.score_samples(rows)).all()
    np.testing.assert_array_equal(pipeline.sample(n, random_state=0), rows)
    if n > 1000:  # the draws have the distribution function of the density
        change = pipeline._carried.change
        far = np.abs(pipeline._carried.part.sample(2000, random_state=0)).max() + 3
        y = np.linspace(-far, far, 40_001)[:, None]
        x = np.unique(change.inverse_transform(y[change.reaches(y)]))
        p = np.exp(pipeline.score_samples(x[:, None]))
        cdf = np.r_[0, np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(x))]
        assert kstest(rows[:, 0], lambda r: np.interp(r, x, cdf)).statistic < 0.05


def test_the_mass_of_a_clipped_gaussian_is_that_of_its_interval():
    pipeline = make_density_pipeline(MinMaxScaler(clip=True), GaussianMixture()).fit(X[:, :1])
    mixture = pipeline.steps[-1][1]
    law = norm(mixture.means_[0, 0], np.sqrt(mixture.covariances_[0, 0, 0]))
    exact = law.cdf(1) - law.cdf(0)
    assert abs(pipeline.mass_ - exact) < 4 * pipeline.mass_std_error_
    inner = law.logpdf(pipeline[0].transform(ROWS[:, :1]))[:, 0]
    expected = inner - np.log(np.ptp(X[:, 0])) - np.log(pipeline.mass_)
    np.testing.assert_allclose(pipeline.score_samples(ROWS[:, :1]), expected, rtol=1e-9)


def test_a_map_onto_all_of_the_space_takes_no_draws(pipeline):
    assert (pipeline.mass_, pipeline.mass_std_error_) == (1.0, 0.0)
    with_draws = gaussian(FunctionTransformer(micro, mega), reg_covar=0).fit(X)
    assert (with_draws.mass_, with_draws.mass_std_error_) == (1.0, 0.0)


def test_rows_outside_have_density_zero_one_warning_and_no_score():
    pipeline = gaussian(FunctionTransformer(np.log, np.exp)).fit(SKEWED)
    rows = np.array([[1.0], [-1.0], [2.0], [0.0]])
    with pytest.warns(SupportWarning, match=r"2 of 4 rows .* The first is row 1\.") as record:
        values = pipeline.score_samples(rows)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert np.isneginf(values).tolist() == [False, True, False, True]
    np.testing.assert_array_equal(values[[0, 2]], pipeline.score_samples(rows[[0, 2]]))
    with pytest.warns(SupportWarning):
        assert np.isneginf(pipeline.score_samples(rows[[1, 3]])).all()
    with pytest.warns(SupportWarning):
        assert pipeline.score(rows) == -np.inf
    for method in (
        pipeline.score_function,
        pipeline.score_divergence,
        lambda r: pipeline.denoise(r, sigma=0.1),
    ):
        with pytest.raises(ValueError, match="Row 1 of X lies outside the support"):
            method(rows)


def test_a_row_of_weight_zero_may_lie_outside():
    pipeline = gaussian(FunctionTransformer(np.log, np.exp)).fit(SKEWED)
    with pytest.warns(SupportWarning):
        value = pipeline.score([[1.0], [-1.0]], sample_weight=[1.0, 0.0])
    assert value == pipeline.score([[1.0]])


def test_a_result_that_is_no_number_is_an_error():
    class Broken(GaussianMixture):
        def score_samples(self, X):
            return np.full(len(X), np.nan)

        score_function = None

    with pytest.raises(NonFiniteResultError, match="score_samples"):
        DensityPipeline([("d", Broken())]).fit(X).score_samples(X)


class NoDraws(DensityScoreEstimator):
    sample = property()


class FarOff(DensityScoreEstimator):
    def sample(self, n_samples=1, random_state=None):
        return np.full((n_samples, 1), -5.0)


class OnceInside(FarOff):
    def sample(self, n_samples=1, random_state=None):
        rows = np.full((n_samples, 1), -5.0)
        rows[:, 0] = 5.0 if n_samples == 10_000 else -5.0
        return rows


class OutsideAtFirst(FarOff):
    def sample(self, n_samples=1, random_state=None):
        outside = random_state == 0 and n_samples < 10_000
        rows = np.random.RandomState(random_state).uniform(1, 2, size=(n_samples, 1))
        return -rows if outside else rows


def test_draws_that_are_made_again_have_another_seed():
    root = FunctionTransformer(np.sqrt, np.square)
    pipeline = make_density_pipeline(root, OutsideAtFirst(GaussianMixture())).fit(SKEWED)
    rows = pipeline.sample(3, random_state=0)
    assert rows.shape == (3, 1)
    np.testing.assert_array_equal(pipeline.sample(3, random_state=0), rows)


def test_a_mass_that_cannot_be_drawn_is_an_error():
    root = FunctionTransformer(np.sqrt, np.square)
    with pytest.raises(ValueError, match="has no `sample`"):
        make_density_pipeline(root, NoDraws(GaussianMixture())).fit(SKEWED)
    with pytest.raises(ValueError, match="None of 10000 draws of the last step are in the image"):
        make_density_pipeline(root, FarOff(GaussianMixture())).fit(SKEWED)
    lost = make_density_pipeline(root, OnceInside(GaussianMixture())).fit(SKEWED)
    with pytest.raises(ValueError, match="only 0 are in the image"):
        lost.sample(1)


def test_a_score_alone_needs_no_mass():
    est = DenoisingScoreEstimator(**NET)
    pipeline = make_density_pipeline(FunctionTransformer(np.sqrt, np.square), est).fit(SKEWED)
    assert pipeline.mass_ == 1
    assert (pipeline.sample(100, random_state=0) > 0).all()


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_transformers_are_tried_on_rows_at_random(kind):
    """Every k-th row is of one kind where kinds take turns, and the others were never tried."""
    kinds = np.arange(5000) % 5
    looked = np.asarray(look_at(kind(kinds[:, None])))
    assert len(looked) == 1000
    assert np.bincount(looked[:, 0].astype(int), minlength=5).min() > 150


def test_transformers_that_write_to_their_rows_change_nothing():
    kept = X.copy()
    careless = gaussian(StandardScaler(copy=False), PowerTransformer(copy=False))
    careful = gaussian(StandardScaler(), PowerTransformer()).fit(X)
    careless.fit(kept)
    np.testing.assert_array_equal(careless.covariance_, careful.covariance_)
    rows = ROWS.copy()
    for name in ("score_samples", "score_function", "score_divergence"):
        np.testing.assert_array_equal(getattr(careless, name)(rows), getattr(careful, name)(ROWS))
    np.testing.assert_array_equal(rows, ROWS)


# -- selection ------------------------------------------------------------------------------------

SCALERS = [StandardScaler(), MinMaxScaler(), "passthrough", FunctionTransformer(micro, mega)]
BLOBS = make_blobs(400, centers=2, n_features=2, random_state=0)[0]


def compared(model, scoring=None, pipeline=DensityPipeline, n_splits=3):
    """Held-out values of a model behind each scaler."""
    steps = [("scale", "passthrough"), ("model", model)]
    cv = ShuffleSplit(n_splits, random_state=0)
    search = GridSearchCV(pipeline(steps), {"scale": SCALERS}, scoring=scoring, cv=cv, refit=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(BLOBS)
    return search.cv_results_["mean_test_score"]


def test_the_held_out_value_of_a_gaussian_is_the_same_behind_every_scaler():
    values = compared(GaussianMixture(reg_covar=0))
    np.testing.assert_allclose(values, values[2], atol=1e-6)


def test_the_floor_of_scikit_learns_mixture_breaks_this_in_small_units():
    values = compared(GaussianMixture())
    np.testing.assert_allclose(values[:3], values[2], atol=1e-2)
    assert values[3] < values[2] - 1


def test_a_plain_pipeline_prefers_the_smallest_units():
    values = compared(GaussianMixture(reg_covar=0), pipeline=Pipeline)
    assert values.argmax() == 3
    assert values[3] - values[2] == pytest.approx(2 * np.log(1e6), rel=1e-6)


@pytest.mark.slow
def test_the_held_out_value_of_a_diffusion_is_nearly_the_same_behind_every_scaler(
    monkeypatch,
):
    monkeypatch.setattr("skscore.compose._carried._MASS_DRAWS", 200)
    est = DiffusionScoreEstimator(hidden_layer_sizes=(32, 32), max_iter=20, random_state=0)
    values = compared(est, n_splits=1)
    np.testing.assert_allclose(values, values[2], atol=0.02)


def test_the_held_out_criterion_is_nearly_the_same_behind_every_scaler():
    est = DenoisingScoreEstimator(hidden_layer_sizes=(32, 32), max_iter=20, random_state=0)
    values = compared(est, n_splits=1)
    np.testing.assert_allclose(values, values[2], rtol=0.02)


def test_one_search_runs_over_levels_and_types_of_estimators():
    steps = [("scale", StandardScaler()), ("model", GaussianMixture())]
    grid = [
        {"model": [DensityScoreEstimator(KernelDensity())], "model__density__bandwidth": [0.2, 9]},
        {"model": [DenoisingScoreEstimator(**NET)], "model__sigma": [0.1, 0.5]},
        {
            "model": [GaussianMixture(2), KernelDensity(bandwidth=0.3)],
            "scale": [PCA(), "passthrough"],
        },
    ]
    search = GridSearchCV(DensityPipeline(steps), grid, scoring=hyvarinen_scorer, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 8
    assert search.best_params_["model"] is not None
    assert search.score(X) == hyvarinen_scorer(search.best_estimator_, X)


@pytest.mark.parametrize(
    "scorer",
    [log_likelihood_scorer, hyvarinen_scorer, sliced_scorer, multi_level_denoising_scorer],
    ids=repr,
)
def test_every_scorer_compares_pipelines_in_the_space_of_x(scorer):
    cv = ShuffleSplit(2, random_state=0)
    alone = DensityScoreEstimator(GaussianMixture(reg_covar=0))
    values = cross_val_score(alone, BLOBS, scoring=scorer, cv=cv)
    if scorer is multi_level_denoising_scorer:  # at levels in other coordinates
        alone = make_density_pipeline(GaussianMixture(reg_covar=0))
        values = cross_val_score(alone, BLOBS, scoring=scorer, cv=cv)
        assert np.isfinite(values).all()
        scaled = make_density_pipeline(StandardScaler(), GaussianMixture(reg_covar=0))
        assert np.isfinite(cross_val_score(scaled, BLOBS, scoring=scorer, cv=cv)).all()
        return
    scaled = make_density_pipeline(PCA(whiten=True), GaussianMixture(reg_covar=0))
    found = cross_val_score(scaled, BLOBS, scoring=scorer, cv=cv)
    np.testing.assert_allclose(found, values, rtol=1e-6)


# -- a pipeline -----------------------------------------------------------------------------------


def test_it_is_a_pipeline_with_its_names(pipeline):
    assert isinstance(pipeline, Pipeline)
    assert list(pipeline.named_steps) == ["standardscaler", "gaussianmixture"]
    twin = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0))
    mine = clone(pipeline).get_params()
    assert set(mine) == set(twin.get_params())
    assert pipeline["standardscaler"] is pipeline[0]
    assert len(pipeline) == 2
    assert "DensityPipeline(steps=[('standardscaler'" in repr(pipeline)
    assert "<div" in pipeline._repr_html_()
    changed = clone(pipeline).set_params(gaussianmixture__n_components=1, standardscaler=PCA())
    assert changed.fit(X).named_steps.gaussianmixture.means_.shape == (1, 2)


def test_make_density_pipeline_passes_its_options(tmp_path):
    made = make_density_pipeline(
        StandardScaler(), PCA(), memory=str(tmp_path), transform_input=["v"], verbose=True
    )
    assert isinstance(made, DensityPipeline)
    assert (made.memory, made.transform_input, made.verbose) == (str(tmp_path), ["v"], True)
    names = list(make_density_pipeline(PCA(), PCA(), PCA()).named_steps)
    assert names == ["pca-1", "pca-2", "pca-3"]


def test_slices_without_the_last_step_are_plain_pipelines(pipeline):
    head, whole, tail = pipeline[:-1], pipeline[:], pipeline[1:]
    assert type(head) is Pipeline
    assert type(whole) is type(tail) is type(pipeline[0:2]) is DensityPipeline
    assert type(pipeline[:1]) is type(pipeline[0:0]) is Pipeline
    np.testing.assert_array_equal(head.transform(X), pipeline[0].transform(X))
    with pytest.raises(ValueError, match="step of 1"):
        pipeline[::2]
    assert (clone(pipeline).set_params(verbose=True)[:-1]).verbose
    assert clone(pipeline).set_params(memory="there")[:-1].memory == "there"


class Counting(StandardScaler):
    calls = 0

    def fit(self, X, y=None, sample_weight=None):
        type(self).calls += 1
        return super().fit(X, y, sample_weight)


def test_fitted_transformers_are_cached(tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    cached = DensityPipeline([("s", StandardScaler()), ("d", GaussianMixture())], memory=memory)
    first = cached.fit(X).score_samples(X)
    again = clone(cached).set_params(d__random_state=1).fit(X)
    plain = make_density_pipeline(StandardScaler(), GaussianMixture()).fit(X)
    np.testing.assert_array_equal(first, plain.score_samples(X))
    np.testing.assert_allclose(again.score_samples(X), first, rtol=1e-9)


def test_verbose_prints_the_steps(capsys):
    make_density_pipeline(StandardScaler(), GaussianMixture(), verbose=True).fit(X)
    assert "(step 1 of 2) Processing standardscaler" in capsys.readouterr().out


def test_steps_that_pass_rows_on_are_left_out():
    nothing = DensityPipeline([("a", "passthrough"), ("b", None), ("d", GaussianMixture())]).fit(X)
    alone = DensityPipeline([("d", GaussianMixture())]).fit(X)
    twin = GaussianMixture().fit(X)
    for pipeline in (nothing, alone):
        np.testing.assert_allclose(pipeline.score_samples(X), twin.score_samples(X), rtol=1e-12)
        assert pipeline.score_divergence(ROWS).shape == (20,)
        assert pipeline.sample(3, random_state=0).shape == (3, 2)


def test_a_density_pipeline_may_be_the_last_step_of_another():
    inner = make_density_pipeline(PCA(whiten=True), GaussianMixture(2, random_state=0))
    nested = make_density_pipeline(StandardScaler(), inner).fit(X)
    flat = gaussian(StandardScaler(), PCA(whiten=True)).fit(X)
    for name in ("score_samples", "score_function", "score_divergence"):
        np.testing.assert_allclose(getattr(nested, name)(X), getattr(flat, name)(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("last", "error", "message"),
    [
        ("passthrough", TypeError, "must be a density or score estimator"),
        (None, TypeError, "must be a density or score estimator"),
        (StandardScaler(), TypeError, "must be a density or score estimator"),
        (LogisticRegression(), TypeError, "Got LogisticRegression"),
        (make_pipeline(PCA(), KernelDensity()), ValueError, "forgets the Jacobian"),
    ],
)
def test_the_last_step_must_be_a_density_or_a_score(last, error, message):
    with pytest.raises(error, match=message):
        DensityPipeline([("scale", StandardScaler()), ("last", last)]).fit(X, X[:, 0] > 5)


def test_steps_are_checked_as_those_of_a_pipeline():
    with pytest.raises(ValueError, match=r"must be a list of \(name, estimator\).* Got \[\]"):
        DensityPipeline([]).fit(X)
    with pytest.raises(TypeError, match="should be transformers"):
        DensityPipeline([("a", KernelDensity()), ("d", GaussianMixture())]).fit(X)
    with pytest.raises(ValueError, match="not unique"):
        DensityPipeline([("a", PCA()), ("a", GaussianMixture())]).fit(X)
    with pytest.raises(ValueError, match="DensityPipeline.fit takes .* name of a step"):
        gaussian(StandardScaler()).fit(X, sample_weight=W)


def test_methods_of_the_last_step_that_fit_leave_a_fitted_pipeline():
    mixture = gaussian(StandardScaler())
    twin = gaussian(StandardScaler()).fit(X)
    np.testing.assert_array_equal(mixture.fit_predict(X), twin.predict(X))
    np.testing.assert_array_equal(mixture.score_samples(X), twin.score_samples(X))
    mixture.fit_predict(X * 10)
    np.testing.assert_allclose(mixture.covariance_, twin.covariance_ * 100, rtol=1e-6)
    components = make_density_pipeline(StandardScaler(), PCA(1))
    plain = make_pipeline(StandardScaler(), PCA(1))
    np.testing.assert_array_equal(components.fit_transform(X), plain.fit_transform(X))
    assert np.isfinite(components.score(X))
    assert not hasattr(mixture, "fit_transform")
    assert not hasattr(components, "fit_predict")


def test_clones_and_pickles_repeat(pipeline, denoising):
    for fitted in (pipeline, denoising):
        again, thawed = clone(fitted).fit(X), pickle.loads(pickle.dumps(fitted))
        for twin in (again, thawed):
            np.testing.assert_array_equal(twin.score_function(X), fitted.score_function(X))
            first, second = (f.sample(5, random_state=2) for f in (twin, fitted))
            np.testing.assert_array_equal(first, second)
        assert vars(clone(fitted)).keys() == {"steps", "memory", "verbose", "transform_input"}


def test_an_unfitted_pipeline_says_so():
    unfitted = gaussian(StandardScaler())
    for call in (
        lambda: unfitted.score_samples(X),
        lambda: unfitted.score_function(X),
        lambda: unfitted.score_divergence(X),
        lambda: unfitted.denoise(X, 0.1),
        lambda: unfitted.sample(3),
        lambda: unfitted.score(X),
        lambda: unfitted.sigma_range_,
        lambda: unfitted.sigma_,
    ):
        with pytest.raises(NotFittedError, match="DensityPipeline"):
            call()
    assert not hasattr(unfitted, "n_features_in_")
    assert not hasattr(unfitted, "feature_names_in_")


class Failing(GaussianMixture):
    def fit(self, X, y=None):
        if len(X) < 100:
            raise RuntimeError("too few")
        return super().fit(X)


def test_a_refit_that_fails_leaves_it_unfitted():
    bad = X.copy()
    bad[0, 0] = np.nan
    pipeline = make_density_pipeline(StandardScaler(), Failing())
    learnt = ("location_", "covariance_", "mass_", "mass_std_error_", "n_features_in_")
    for rows, error in ((bad, ValueError), (X[:50], RuntimeError)):
        pipeline.fit(X)
        with pytest.raises(error):
            pipeline.fit(rows)
        assert not any(hasattr(pipeline, name) for name in learnt)
        with pytest.raises(NotFittedError):
            pipeline.score_samples(X)
        with pytest.raises(NotFittedError):
            pipeline.sample(2)


def test_columns_are_described_and_held_to():
    frame = pd.DataFrame(X, columns=["a", "b"])
    pipeline = gaussian(StandardScaler()).fit(frame)
    assert pipeline.n_features_in_ == 2
    assert pipeline.feature_names_in_.tolist() == ["a", "b"]
    plain = gaussian(StandardScaler()).fit(X)
    assert not hasattr(plain, "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("score_samples", "score_function", "score_divergence", "score"):
            twin = getattr(plain, name)(X)
            np.testing.assert_allclose(getattr(pipeline, name)(frame), twin, rtol=1e-9)
        pipeline.denoise(frame, sigma=0.2)
        assert isinstance(pipeline.sample(2), np.ndarray)
    with pytest.raises(ValueError, match="feature names"):
        pipeline.score_samples(frame[["b", "a"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        pipeline.score_samples(X)
    pipeline.fit(X)
    assert not hasattr(pipeline, "feature_names_in_")
    pipeline.score_samples(X)


@pytest.mark.parametrize("name", ["score_samples", "score_function", "score_divergence", "score"])
def test_bad_rows_are_refused_by_name(pipeline, name):
    bad = ROWS.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN in column 1 \(first in row 3\). DensityPipeline"):
        getattr(pipeline, name)(bad)
    with pytest.raises(ValueError, match="3 features, but DensityPipeline is expecting 2"):
        getattr(pipeline, name)(np.zeros((2, 3)))


def test_numbers_may_be_whole_short_or_in_lists(pipeline):
    whole = np.round(ROWS).astype(int)
    expected = pipeline.score_function(whole.astype(float))
    for rows in (whole, whole.astype(np.float32), whole.tolist(), whole.astype(object)):
        np.testing.assert_array_equal(pipeline.score_function(rows), expected)
    np.testing.assert_array_equal(
        gaussian(StandardScaler()).fit(X.tolist()).score_samples(ROWS), pipeline.score_samples(ROWS)
    )


@pytest.mark.parametrize(
    "last", [GaussianMixture(2, random_state=0), DenoisingScoreEstimator(**NET)]
)
def test_transformers_may_write_data_frames(last):
    pipeline = make_density_pipeline(StandardScaler(), PowerTransformer(), clone(last))
    pipeline.set_output(transform="pandas").fit(pd.DataFrame(X, columns=["a", "b"]))
    assert pipeline.steps[-1][1].__dict__.get("feature_names_in_", np.array([])).tolist() == [
        "a",
        "b",
    ]
    plain = make_density_pipeline(StandardScaler(), PowerTransformer(), clone(last)).fit(X)
    frame = pd.DataFrame(ROWS, columns=["a", "b"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("score_function", "score_divergence"):
            found, twin = getattr(pipeline, name)(frame), getattr(plain, name)(ROWS)
            np.testing.assert_allclose(found, twin, rtol=1e-3, atol=1e-5)
        drawn = pipeline.sample(4, random_state=0)
    np.testing.assert_allclose(drawn, plain.sample(4, random_state=0), rtol=1e-4)
    assert pipeline[:-1].transform(frame).columns.tolist() == ["a", "b"]


def test_samples_obey_their_seeds(pipeline):
    for model in (pipeline, TRUNCATED["root"]()):
        first = model.sample(20, random_state=0)
        np.testing.assert_array_equal(model.sample(20, random_state=0), first)
        assert not np.array_equal(model.sample(20, random_state=1), first)
        assert not np.array_equal(model.sample(20), model.sample(20))
        one, two = (np.random.RandomState(7) for _ in range(2))
        drawn = [model.sample(20, random_state=one) for _ in range(2)]
        np.testing.assert_array_equal(drawn[0], model.sample(20, random_state=two))
        np.testing.assert_array_equal(drawn[1], model.sample(20, random_state=two))
        assert not np.array_equal(*drawn)
        assert len(np.unique(model.sample(500, random_state=0))) >= 500
    assert pipeline.sample().shape == (1, 2)
    for wrong in (0, 1.5, True, "3"):
        with pytest.raises(ValueError, match="n_samples must be an int"):
            pipeline.sample(wrong)


# -- weights --------------------------------------------------------------------------------------


def kernels():
    steps = [("scale", StandardScaler()), ("density", DensityScoreEstimator(KernelDensity()))]
    return DensityPipeline(steps)


def repeated():
    return np.repeat(X, W.astype(int), axis=0)


def test_weights_of_the_last_step_are_those_of_location_and_covariance():
    weighted = kernels().fit(X, density__sample_weight=W, scale__sample_weight=W)
    twin = kernels().fit(repeated())
    np.testing.assert_allclose(weighted.location_, twin.location_, rtol=1e-9)
    np.testing.assert_allclose(weighted.covariance_, twin.covariance_, rtol=1e-2, atol=0.05)
    np.testing.assert_allclose(weighted.score_samples(ROWS), twin.score_samples(ROWS), rtol=1e-9)
    np.testing.assert_allclose(weighted.score_function(ROWS), twin.score_function(ROWS), rtol=1e-9)
    only_scaled = kernels().fit(X, scale__sample_weight=W)
    np.testing.assert_array_equal(only_scaled.covariance_, kernels().fit(X).covariance_)


def test_rows_of_weight_zero_are_absent():
    far = np.r_[X, X[:5] + 1e4]
    w = np.r_[np.ones(len(X)), np.zeros(5)]
    weighted = kernels().fit(far, density__sample_weight=w, scale__sample_weight=w)
    alone = kernels().fit(X)
    np.testing.assert_allclose(weighted.covariance_, alone.covariance_, rtol=1e-9)
    np.testing.assert_allclose(weighted.score_samples(X), alone.score_samples(X), rtol=1e-9)


def test_wrong_weights_are_refused():
    with pytest.raises(ValueError, match="sample_weight"):
        kernels().fit(X, density__sample_weight=W[:-1])


def test_score_without_weights_asks_nothing_of_the_last_step_where_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_density_pipeline(StandardScaler(), GaussianMixture()).fit(X)
        assert pipeline.score(X) == pytest.approx(pipeline.score_samples(X).mean())
        w = np.arange(len(X)) % 3
        weighted = pipeline.score(X, sample_weight=w)
        search = GridSearchCV(pipeline, {"gaussianmixture__n_components": [1]}, cv=2).fit(X)
    assert weighted == pytest.approx(np.average(pipeline.score_samples(X), weights=w))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_hyvarinens_criterion_warns_behind_transformers_that_make_ends():
    rows = np.random.RandomState(0).exponential(size=(100, 1))
    last = DenoisingScoreEstimator(hidden_layer_sizes=(8,), max_iter=1, early_stopping=False)
    pipeline = make_density_pipeline(BoundedTransformer((0, None)), last).fit(rows)
    with pytest.warns(SupportWarning, match="vanish at the ends of their support"):
        pipeline.score(rows)


def test_weights_are_routed_by_request():
    with sklearn.config_context(enable_metadata_routing=True):
        density = DensityScoreEstimator(KernelDensity())
        density.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        steps = [("s", StandardScaler().set_fit_request(sample_weight=True)), ("d", density)]
        routed = DensityPipeline(steps).fit(X, sample_weight=W)
        value = routed.score(X, sample_weight=W)
        with pytest.raises(TypeError, match="unexpected argument"):
            routed.score(X, other=W)
    twin = kernels().fit(X, density__sample_weight=W, scale__sample_weight=W)
    np.testing.assert_array_equal(routed.covariance_, twin.covariance_)
    np.testing.assert_array_equal(routed.score_samples(X), twin.score_samples(X))
    assert value == pytest.approx(np.average(twin.score_samples(X), weights=W), rel=1e-9)


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8),
    reason="before 1.8 the score of a search asked no pipeline, its own or ours, for requests",
)
def test_weights_are_routed_by_request_through_a_search():
    with sklearn.config_context(enable_metadata_routing=True):
        density = DensityScoreEstimator(KernelDensity())
        density.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        steps = [("s", StandardScaler().set_fit_request(sample_weight=True)), ("d", density)]
        search = GridSearchCV(DensityPipeline(steps), {"d__density__bandwidth": [0.3]}, cv=2)
        search.fit(X, sample_weight=W)
    twin = kernels().fit(X, density__sample_weight=W, scale__sample_weight=W)
    np.testing.assert_array_equal(search.best_estimator_.covariance_, twin.covariance_)


def test_weights_of_another_name_are_those_of_the_covariance_too():
    with sklearn.config_context(enable_metadata_routing=True):
        density = DensityScoreEstimator(KernelDensity()).set_fit_request(sample_weight="w")
        steps = [("s", StandardScaler().set_fit_request(sample_weight="w")), ("d", density)]
        routed = DensityPipeline(steps).fit(X, w=W)
    twin = kernels().fit(X, density__sample_weight=W, scale__sample_weight=W)
    np.testing.assert_array_equal(routed.covariance_, twin.covariance_)


def test_weights_that_only_the_transformer_asks_for_do_not_weigh_the_covariance():
    with sklearn.config_context(enable_metadata_routing=True):
        density = DensityScoreEstimator(KernelDensity()).set_fit_request(sample_weight=False)
        steps = [("s", StandardScaler().set_fit_request(sample_weight=True)), ("d", density)]
        routed = DensityPipeline(steps).fit(X, sample_weight=W)
    np.testing.assert_array_equal(routed.covariance_, kernels().fit(X).covariance_)


# -- common checks --------------------------------------------------------------------------------

_AS_PIPELINE = "steps are fitted in place, as those of scikit-learn's own Pipeline"


def expected_failures(estimator):
    return {
        "check_estimators_overwrite_params": _AS_PIPELINE,
        "check_dont_overwrite_parameters": _AS_PIPELINE,
    }


@parametrize_with_checks(
    [kernels(), make_density_pipeline(StandardScaler(), GaussianMixture())],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_compatible(estimator, check):
    check(estimator)


def named(*steps):
    return DensityPipeline(
        [(f"step{i}", s) for i, s in enumerate(steps[:-1])] + [("density", steps[-1])]
    )


OURS = {
    "mixture": named(StandardScaler(), GaussianMixture()),
    "power": named(StandardScaler(), PowerTransformer(), GaussianMixture()),
    "whitened": named(PCA(whiten=True), BayesianGaussianMixture()),
    "components": named(StandardScaler(), PCA(1)),
    "denoising": named(StandardScaler(), DenoisingScoreEstimator(hidden_layer_sizes=(32, 32))),
    "sliced": named(MinMaxScaler(), SlicedScoreEstimator(hidden_layer_sizes=(32, 32))),
}


def promises():
    for name, case in OURS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for check, run in density_estimator_checks(case):
                yield pytest.param(run, id=f"{name}-{check}")


@pytest.mark.parametrize("check", promises())
def test_keeps_the_promises_of_a_density_estimator(check):
    check()


class Minimal(BaseEstimator):
    """A third party's density: no more than fit and score_samples."""

    def fit(self, X, y=None):
        self.mean_, self.std_ = np.asarray(X).mean(0), np.asarray(X).std(0)
        return self

    def score_samples(self, X):
        return norm.logpdf(np.asarray(X), self.mean_, self.std_).sum(axis=1)


def test_a_density_of_ones_own_needs_no_more_than_score_samples():
    pipeline = make_density_pipeline(StandardScaler(), Minimal()).fit(X)
    expected = norm.logpdf(ROWS, X.mean(0), X.std(0)).sum(axis=1)
    np.testing.assert_allclose(pipeline.score_samples(ROWS), expected, rtol=1e-9)
    scores = -(ROWS - X.mean(0)) / X.var(0)
    np.testing.assert_allclose(pipeline.score_function(ROWS), scores, rtol=1e-6, atol=1e-8)
    assert not hasattr(pipeline, "sample")


def test_what_is_said_of_columns_behind_steps_says_so():
    """The deviations of cubes were called those of X, and a scaler's were always 1."""
    far = np.random.RandomState(0).lognormal(size=(300, 2))
    cubes = FunctionTransformer(lambda x: x**3, np.cbrt)
    with pytest.warns(FarRowsWarning, match="of X, as the steps before hand them over, some rows"):
        make_density_pipeline(cubes, GaussianMixture()).fit(far)
    for plain in (
        DensityScoreEstimator(GaussianMixture()),
        make_density_pipeline(GaussianMixture()),
    ):
        with pytest.warns(FarRowsWarning, match="In these columns of X some rows"):
            plain.fit(far**3)


def test_a_round_trip_that_fails_is_explained_by_what_is_there():
    rows = np.random.RandomState(0).lognormal(size=(300, 2))
    wrong = FunctionTransformer(np.log, np.expm1, check_inverse=False)
    with pytest.raises(ValueError, match="inverse_func .* round or discretise.$"):
        make_density_pipeline(wrong, GaussianMixture()).fit(rows)
    powers = PowerTransformer(), ColumnTransformer([("powers", PowerTransformer(), [0, 1])])
    for step in powers:
        with pytest.raises(ValueError, match=r"discretise\. Where .* put a StandardScaler before"):
            make_density_pipeline(wrong, step, GaussianMixture()).fit(rows)
