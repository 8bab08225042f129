"""What the sampler asks of what it samples: every member, every method, alone and in pipelines."""

import copy
import pickle
import warnings
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import ks_2samp, norm
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler

from skscore import (
    DenoisingScoreEstimator,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    FlowTransformer,
    ScoreBasedSampler,
    SlicedScoreEstimator,
    make_density_pipeline,
)
from skscore._estimators.score_sources import score_source
from skscore.datasets import make_gaussian
from skscore.exceptions import NotFittedError, SamplingDivergedError
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, WalkJump
from skscore.testing import check_density_estimator

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::skscore.exceptions.DegenerateColumnsWarning"),
]

LAW = make_gaussian([0.3, -0.2], [[0.5, 0.3], [0.3, 1.5]])
X = LAW.sample(150, 0)
MEAN, COVARIANCE = X.mean(0), np.cov(X.T, bias=True)
SIGMA, WIDTH, N = 0.6, 0.4, 3000
# A network that learns nothing is the Gaussian fit, exactly: its law is known at every level.
GAUSSIAN = {
    "hidden_layer_sizes": (8,),
    "max_iter": 1,
    "learning_rate_init": 1e-30,
    "random_state": 0,
}
BRIEF = GAUSSIAN | {"learning_rate_init": 0.01}


class Third(BaseEstimator):
    """An estimator of somebody else, of the score alone: of the Gaussian fit."""

    def fit(self, X, y=None, sample_weight=None):
        X = np.asarray(X)
        self.mean_, self.precision_ = X.mean(0), np.linalg.inv(np.cov(X.T, bias=True))
        return self

    def score_function(self, X):
        return -(np.asarray(X) - self.mean_) @ self.precision_


class ThirdWithLevels(Third):
    """That takes a level."""

    def score_function(self, X, sigma=None):
        covariance = np.linalg.inv(self.precision_) + (sigma or 0.0) ** 2 * np.eye(2)
        return -(np.asarray(X) - self.mean_) @ np.linalg.inv(covariance)


def noised_score(rows, sigma):
    """Exact, of the Gaussian fit to X, a level for each row."""
    values, vectors = np.linalg.eigh(COVARIANCE)
    return -((rows - MEAN) @ vectors / (values + sigma**2)) @ vectors.T


def clean_score(rows):
    return noised_score(rows, 0.0)


ONE_LEVEL = {
    "denoising": DenoisingScoreEstimator(SIGMA, **GAUSSIAN),
    "sliced": SlicedScoreEstimator(**GAUSSIAN),
    "differences": DensityScoreEstimator(PCA()),
    "third": Third(),
}
ALL_LEVELS = {
    "diffusion": DiffusionScoreEstimator(
        standardize="whiten", n_components=0, network="mlp", **GAUSSIAN
    ),
    "mixture": DensityScoreEstimator(GaussianMixture(random_state=0)),
    "kernels": DensityScoreEstimator(KernelDensity(bandwidth=WIDTH)),
}
MEMBERS = ONE_LEVEL | ALL_LEVELS


def curved(*steps):
    """Behind arcsinh: of rows sinh(X), the law of the last step is that of X."""
    return make_density_pipeline(FunctionTransformer(np.arcsinh, np.sinh), *steps)


CARRIERS = {
    "alone": (lambda est: est, lambda rows: rows),
    "pipeline": (curved, np.arcsinh),
    "nested": (lambda est: curved(curved(est)), lambda rows: np.arcsinh(np.arcsinh(rows))),
}
OURS = [est for est in MEMBERS.values() if not isinstance(est, Third)]
JUMPING = ("denoising", *ALL_LEVELS)
SLOW = ("kernels", "differences")  # these alone and in one pipeline
PLACES = [(m, c) for m in MEMBERS for c in CARRIERS if m not in SLOW or c != "nested"]


@lru_cache
def part(member, carrier="alone"):
    """A fitted member, to rows whose law is known behind the carrier."""
    carried, back = CARRIERS[carrier]
    rows = X if carrier == "alone" else np.sinh(X)
    rows = np.sinh(rows) if carrier == "nested" else rows
    return FrozenEstimator(carried(clone(MEMBERS[member])).fit(rows)), rows, back


def draws(member, method, carrier="alone", n=N, **params):
    frozen, rows, back = part(member, carrier)
    return back(ScoreBasedSampler(frozen, method, init=rows, **params).sample(n, random_state=0))


def law_agrees(rows, covariance, rtol=0.12):
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((rows.mean(0) - MEAN) / spread, 0, atol=0.1)
    ratio = np.linalg.eigvals(np.linalg.solve(covariance, np.cov(rows.T))).real
    np.testing.assert_allclose(ratio, 1, atol=rtol)
    for share in (0.05, 0.5, 0.95):
        expected = MEAN + norm.ppf(share) * spread
        np.testing.assert_allclose((np.quantile(rows, share, 0) - expected) / spread, 0, atol=0.2)


def own_covariance(member):
    """That of the density that a member stands for, without noise."""
    if member in ("denoising", "sliced", "diffusion"):  # as shrunk by the standardiser
        return part(member)[0].estimator.covariance_
    return COVARIANCE + (WIDTH**2 * np.eye(2) if member == "kernels" else 0)


@lru_cache
def jumped(*variances):
    """Variances of walk-jumps at SIGMA with the exact scores of normal laws, by column."""
    variances = np.array(variances)
    starts = np.random.default_rng(0).normal(size=(20_000, len(variances))) * np.sqrt(variances)
    walk = ScoreBasedSampler(
        lambda y: -y / (variances + SIGMA**2), "walk_jump", sigma=SIGMA, init=starts
    )
    return walk.sample(20_000, random_state=0).var(0)


# -- every member with every method, on a known law ------------------------------------------------


@pytest.mark.parametrize(("member", "carrier"), PLACES)
def test_langevin_draws_from_the_law_of_the_score(member, carrier):
    rows = draws(member, "langevin", carrier)
    noised = {"denoising": SIGMA, "diffusion": part("diffusion")[0].sigma_}.get(member, 0.0)
    law_agrees(rows, (1 + noised**2) * own_covariance(member))


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("member", ["mixture", "diffusion"])
def test_langevin_moves_in_the_law_of_the_level_that_is_asked_for(member, carrier):
    rows = draws(member, "langevin", carrier, sigma=SIGMA, burn_in=200)
    noise = own_covariance(member) if member == "diffusion" else np.eye(2)
    law_agrees(rows, own_covariance(member) + SIGMA**2 * noise)


@pytest.mark.parametrize(("member", "carrier"), [at for at in PLACES if at[0] in JUMPING])
def test_walk_jump_moves_by_the_score_at_the_level(member, carrier):
    """It took the clean score of a density for the noised one: at level 1 one point came out."""
    rows = draws(member, "walk_jump", carrier, sigma=SIGMA)
    if member in ("denoising", "diffusion"):  # levels in decorrelated coordinates
        expected = jumped(1.0) * own_covariance(member)
    else:
        values, vectors = np.linalg.eigh(own_covariance(member))
        expected = vectors @ np.diag(jumped(*values)) @ vectors.T
    law_agrees(rows, expected)
    automatic = draws(member, "auto", carrier, 9, sigma=SIGMA)
    np.testing.assert_array_equal(automatic, draws(member, "walk_jump", carrier, 9, sigma=SIGMA))


@pytest.mark.parametrize("method", REVERSE_SAMPLERS)
@pytest.mark.parametrize(("member", "carrier"), [at for at in PLACES if at[0] in ALL_LEVELS])
def test_every_reverse_sampler_draws_from_the_law(member, method, carrier):
    exact = method in ("adams", "heun", "rk4", "dormand_prince")  # others are some percent off
    few = member == "kernels"
    rows = draws(member, method, carrier, 1000 if few else N)
    law_agrees(rows, own_covariance(member), rtol=0.12 if exact and not few else 0.2)


@pytest.mark.parametrize("member", ALL_LEVELS)
def test_auto_goes_down_the_levels_where_they_are_known_and_chains_are_not_asked_for(member):
    np.testing.assert_array_equal(draws(member, "auto", n=9), draws(member, "adams", n=9))
    chains = ScoreBasedSampler(part(member)[0], burn_in=5, init=X)
    chains.sample(9, random_state=0)
    assert chains.n_steps_ == 5


@pytest.mark.parametrize("params", [{}, {"sigma": SIGMA}])
@pytest.mark.parametrize("score", [noised_score, clean_score, Third(), ThirdWithLevels()])
def test_scores_of_others_are_sampled_by_chains(score, params):
    if params and score is clean_score:  # that of a level, as the caller says
        return
    est = FrozenEstimator(score.fit(X)) if isinstance(score, Third) else score
    if score is noised_score and not params:
        params = {"sigma": 1e-3}
    sampler = ScoreBasedSampler(est, "langevin", init=X, **params)
    noise = params.get("sigma", 0.0) if not isinstance(score, Third) else 0.0
    if isinstance(score, ThirdWithLevels):
        noise = params.get("sigma", 0.0)
    law_agrees(sampler.sample(N, random_state=0), COVARIANCE + noise**2 * np.eye(2))


def test_the_method_of_an_estimator_is_a_callable_that_may_be_told_its_level():
    """It was taken for one of (X, sigma), and given an array of levels."""
    score, params = part("mixture")[0].estimator.score_function, {"init": X}
    clean = ScoreBasedSampler(score, **params).sample(N, random_state=0)
    law_agrees(clean, COVARIANCE)
    jumping = ScoreBasedSampler(score, "walk_jump", sigma=SIGMA, **params).sample(9, 0)
    noised = ScoreBasedSampler(noised_score, "walk_jump", sigma=SIGMA, **params).sample(9, 0)
    np.testing.assert_allclose(jumping, noised, rtol=1e-3, atol=1e-3)
    denoising = part("denoising")[0].estimator.score_function
    assert ScoreBasedSampler(denoising, **params).sample(9).shape == (9, 2)
    with pytest.raises(ValueError, match="fitted at, sigma=0.6"):
        ScoreBasedSampler(denoising, "walk_jump", sigma=0.1, **params).sample(9)


def test_a_bayesian_mixture_is_a_mixture():
    est = DensityScoreEstimator(BayesianGaussianMixture(random_state=0))
    rows = ScoreBasedSampler(est).fit(X).sample(N, random_state=0)
    np.testing.assert_allclose(np.cov(rows.T), COVARIANCE, rtol=0.15, atol=0.05)


def test_wide_and_narrow_columns_are_drawn_alike():
    turn = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, 1.0]])
    rows = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1e3, 0.01] @ turn + [0, 1e6, 0]
    mixture = GaussianMixture(2, reg_covar=1e-12, random_state=0)
    cases = [(mixture, rows, 0.12), (KernelDensity(bandwidth=0.002), rows, 0.25)]
    for density, table, rtol in [*cases, (mixture, rows * [1e-5, 1.0, 1e3], 0.12)]:
        sampler = ScoreBasedSampler(DensityScoreEstimator(density)).fit(table)
        drawn = sampler.sample(N, random_state=0)
        ratio = np.linalg.eigvals(np.linalg.solve(np.cov(table.T), np.cov(drawn.T))).real
        np.testing.assert_allclose(ratio, 1, atol=rtol)


# -- the numbers of the issue ---------------------------------------------------------------------

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def test_a_sampler_over_a_curved_pipeline_draws_what_the_pipeline_draws():
    """Quantiles of 5 and 25 % came out as -9.06 and -5.44, of the pipeline as -4.95 and -1.14."""
    rows = np.sinh(1.5 * np.random.default_rng(0).normal(size=(2000, 1)))
    pipe = curved(DenoisingScoreEstimator(0.5, **GAUSSIAN)).fit(rows)
    drawn = ScoreBasedSampler(FrozenEstimator(pipe)).sample(2000, random_state=0)
    np.testing.assert_array_equal(drawn, pipe.sample(2000, random_state=0))
    gaps = np.arcsinh(np.quantile(drawn, SHARES)) - np.arcsinh(np.quantile(rows, SHARES))
    np.testing.assert_allclose(gaps / 1.5, 0, atol=0.25)


@pytest.mark.parametrize("member", [*ALL_LEVELS, "denoising"])
def test_rows_behind_a_logarithm_stay_in_its_domain(member):
    """Chains in the units of X left it, and ended in "outside the support"."""
    rows = np.exp(X)
    pipe = make_density_pipeline(FunctionTransformer(np.log, np.exp), clone(MEMBERS[member]))
    for method in ("auto", "langevin"):
        drawn = ScoreBasedSampler(pipe, method).fit(rows).sample(1000, random_state=0)
        assert (drawn > 0).all()
        gaps = np.log(np.quantile(drawn, SHARES, 0)) - np.quantile(X, SHARES, 0)
        np.testing.assert_allclose(gaps / X.std(0), 0, atol=0.4)


@pytest.mark.parametrize("sigma", [1.0, 0.7, 0.3])
def test_a_mixture_at_a_level_has_the_variance_of_walk_jumps_there(sigma):
    """0, 0.276 and 0.828 came out; the posterior means have 0.5, 0.671 and 0.917."""
    rows = np.random.default_rng(0).normal(size=(2000, 1))
    density = DensityScoreEstimator(GaussianMixture())
    drawn = ScoreBasedSampler(density, "auto", sigma=sigma).fit(rows).sample(N, 0)
    exact = ScoreBasedSampler(
        lambda y: -y / (1 + sigma**2), "walk_jump", sigma=sigma, init=rows
    ).sample(N, 0)
    assert drawn.var() == pytest.approx(exact.var(), rel=0.08)


# -- pipelines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*SAMPLERS, "heun"])
def test_draws_beyond_the_image_of_the_transformers_are_drawn_again(method):
    rows = np.random.default_rng(0).uniform(size=(300, 1)) ** 2
    steps = QuantileTransformer(n_quantiles=300), GaussianMixture(2, random_state=0)
    pipe = make_density_pipeline(*steps).fit(rows)
    assert pipe.mass_ < 0.95
    sigma = 0.05 if method == "walk_jump" else None
    sampler = ScoreBasedSampler(FrozenEstimator(pipe), method, sigma=sigma)
    drawn = sampler.sample(1000, random_state=0)
    assert drawn.shape == (1000, 1)
    assert ks_2samp(drawn[:, 0], pipe.sample(1000, random_state=1)[:, 0]).pvalue > 1e-3
    assert sampler.sample(1, random_state=3).shape == (1, 1)
    chains = method != "heun"
    sampler.set_params(n_chains=20 if chains else None).sample(200, random_state=0)
    assert getattr(sampler, "r_hat_", None) is None
    assert not chains or (sampler.displacement_ > 0).all()


def test_starts_and_displacements_of_a_pipeline_are_in_the_units_of_its_rows():
    pipe = part("denoising", "pipeline")[0]
    starts = np.array([[4.0, -4.0]])
    sampler = ScoreBasedSampler(pipe, "langevin", burn_in=1, step_size=1e-8, init=starts)
    np.testing.assert_allclose(sampler.sample(20, 0), np.repeat(starts, 20, 0), rtol=1e-2)
    assert sampler.step_size_ == 1e-8
    assert (sampler.displacement_ < 0.01).all()
    kept = ScoreBasedSampler(pipe, "langevin", burn_in=1, step_size=1e-8).sample(50, 0)
    assert np.abs(kept[:, None] - np.sinh(X)).max(2).min(1).max() < 0.01  # its training rows


def test_starts_outside_the_support_of_a_pipeline_are_refused():
    pipe = make_density_pipeline(FunctionTransformer(np.log, np.exp), GaussianMixture())
    sampler = ScoreBasedSampler(pipe, "langevin", init=[[1.0], [-2.0]]).fit(np.exp(X[:, :1]))
    with pytest.raises(ValueError, match="Row 1 of X lies outside the support"):
        sampler.sample(3)


def test_few_chains_of_a_pipeline_give_many_draws():
    sampler = ScoreBasedSampler(
        part("mixture", "nested")[0], "langevin", n_chains=10, burn_in=20, thin=3
    )
    assert sampler.sample(95, random_state=0).shape == (95, 2)
    assert sampler.n_steps_ == 20 + 9 * 3
    assert sampler.r_hat_.shape == sampler.displacement_.shape == (2,)


def test_a_pipeline_over_a_flow_is_sampled_though_it_has_no_score():
    pipe = make_density_pipeline(FlowTransformer(DiffusionScoreEstimator(**BRIEF)), PCA()).fit(X)
    assert not hasattr(pipe, "score_function")
    sampler = ScoreBasedSampler(FrozenEstimator(pipe), "langevin", init=X)
    np.testing.assert_allclose(np.cov(sampler.sample(1000, 0).T), COVARIANCE, rtol=0.3, atol=0.1)


# -- what is wrapped -------------------------------------------------------------------------------


def test_a_sampler_over_a_sampler_samples_what_is_inside():
    inner = ScoreBasedSampler(clone(MEMBERS["denoising"]), "langevin", step_size=1e-9)
    outer = ScoreBasedSampler(inner, random_state=0).fit(X)
    np.testing.assert_array_equal(outer.sample(20, 0), part_sampler("denoising").sample(20, 0))
    np.testing.assert_array_equal(outer.score_function(X), inner.fit(X).score_function(X))
    behind = ScoreBasedSampler(make_density_pipeline(StandardScaler(), inner)).fit(X)
    assert np.abs(behind.sample(500, 0).mean(0) - MEAN).max() < 0.3


def part_sampler(member, carrier="alone", **params):
    return ScoreBasedSampler(part(member, carrier)[0], **params)


GRIDS = {
    "trained": (DenoisingScoreEstimator(**BRIEF), {"sigma": [0.3, 0.6]}),
    "density": (DensityScoreEstimator(KernelDensity()), {"density__bandwidth": [0.3, 0.6]}),
    "pipeline": (
        make_density_pipeline(StandardScaler(), KernelDensity()),
        {"kerneldensity__bandwidth": [0.3, 0.6]},
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_of_a_search_the_best_estimator_is_sampled(name):
    search = GridSearchCV(*GRIDS[name], cv=2)
    sampler = ScoreBasedSampler(search, random_state=0).fit(X)
    assert hasattr(sampler.estimator_, "cv_results_")
    best = sampler.estimator_.best_estimator_
    alone = ScoreBasedSampler(FrozenEstimator(best)).sample(30, random_state=0)
    np.testing.assert_array_equal(sampler.sample(30, random_state=0), alone)
    np.testing.assert_array_equal(sampler.score_function(X), best.score_function(X))
    fitted = ScoreBasedSampler(FrozenEstimator(search.fit(X)))
    assert fitted.sample(3).shape == (3, 2)
    assert fitted.score(X) == search.best_estimator_.score(X)


@pytest.mark.parametrize("wrap", [DensityScoreEstimator, make_density_pipeline])
def test_the_best_density_of_a_search_keeps_its_closed_form_and_draws(wrap):
    """A search in an adapter or a pipeline went by differences, and had no `sample`."""
    search = GridSearchCV(KernelDensity(), {"bandwidth": [0.3, 0.6]}, cv=2)
    est = wrap(search).fit(X)
    plain = DensityScoreEstimator(KernelDensity(bandwidth=search.fit(X).best_params_["bandwidth"]))
    plain.fit(X)
    np.testing.assert_allclose(est.score_function(X), plain.score_function(X), rtol=1e-12)
    np.testing.assert_allclose(est.score_samples(X), plain.score_samples(X), rtol=1e-12)
    np.testing.assert_allclose(est.denoise(X, 0.5), plain.denoise(X, 0.5), rtol=1e-12)
    np.testing.assert_array_equal(est.sample(5, random_state=0), plain.sample(5, random_state=0))
    frozen = wrap(FrozenEstimator(search)).fit(X)
    np.testing.assert_allclose(frozen.score_samples(X), plain.score_samples(X), rtol=1e-12)


def test_a_search_over_scores_may_be_the_last_step():
    search = GridSearchCV(*GRIDS["trained"], cv=2)
    pipe = curved(search).fit(np.sinh(X))
    assert pipe.sigma_ == pipe[-1].best_params_["sigma"]
    assert pipe.sample(5).shape == (5, 2)


def test_what_a_search_chose_is_checked_as_well():
    search = GridSearchCV(KernelDensity(), {"metric": ["manhattan"]}, cv=2)
    with pytest.raises(ValueError, match="for the Euclidean metric only"):
        DensityScoreEstimator(search).fit(X)


# -- refusals --------------------------------------------------------------------------------------

EDGED = ("tophat", "epanechnikov", "linear", "cosine")


class Counting(KernelDensity):
    """Counts its fits."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        Counting.n_fits += 1
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("kernel", EDGED)
@pytest.mark.parametrize("wrap", [DensityScoreEstimator, curved, lambda est: curved(curved(est))])
def test_kernels_without_a_score_are_refused_by_name_before_they_are_fitted(wrap, kernel):
    """Chains over a tophat ended after 42 s in "row 81 of X"."""
    words = rf"cannot sample Counting\(kernel='{kernel}'\): .* has no score there"
    before, sampler = Counting.n_fits, ScoreBasedSampler(wrap(Counting(kernel=kernel)))
    with pytest.raises(ValueError, match=words):
        sampler.fit(np.sinh(X))
    assert Counting.n_fits == before
    assert not hasattr(sampler, "estimator_")
    frozen = FrozenEstimator(wrap(Counting(kernel=kernel)).fit(np.sinh(X)))
    with pytest.raises(ValueError, match=words):
        ScoreBasedSampler(frozen, init=X).sample(3)


def test_a_kernel_without_a_score_that_a_search_chose_is_refused():
    search = GridSearchCV(KernelDensity(), {"kernel": ["tophat"], "bandwidth": [9.0]}, cv=2)
    with pytest.raises(ValueError, match="ScoreBasedSampler cannot sample KernelDensity"):
        ScoreBasedSampler(DensityScoreEstimator(search)).fit(X)


class Box(BaseEstimator):
    """A density that ends where it is largest."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def score_samples(self, X):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.abs(X) < 1, np.log(0.5), -np.inf).sum(axis=1)


def test_chains_that_leave_a_support_are_an_error_that_says_so():
    rows = np.random.default_rng(0).uniform(-1, 1, size=(50, 1))
    est = DensityScoreEstimator(Box()).fit(rows)
    sampler = ScoreBasedSampler(FrozenEstimator(est), init=rows, step_size=0.5)
    with pytest.raises(SamplingDivergedError, match="chains left the support of the density"):
        sampler.sample(50, random_state=0)


@pytest.mark.parametrize(
    "est",
    [
        KernelDensity(),
        LogisticRegression(),
        make_pipeline(StandardScaler(), KernelDensity()),
        FrozenEstimator(GaussianMixture()),
        GridSearchCV(KernelDensity(), {"bandwidth": [1.0]}),
    ],
)
def test_what_has_no_score_is_refused_with_what_to_do(est):
    words = "(?s)'estimator' parameter of ScoreBasedSampler must be .* into a DensityScoreEstimator"
    with pytest.raises(ValueError, match=words):
        ScoreBasedSampler(est).fit(X)


@pytest.mark.parametrize("member", [*ONE_LEVEL, "clean_score"])
def test_a_reverse_sampler_is_refused_at_fit_where_a_level_is_missing(member):
    est = clean_score if member == "clean_score" else clone(MEMBERS[member])
    for carried in [est] if est is clean_score else [est, curved(est)]:
        sampler = ScoreBasedSampler(carried, "ddim", init=X)
        with pytest.raises(ValueError, match="DDIM needs the score at every noise level"):
            sampler.fit(X)
        assert not hasattr(sampler, "estimator_")


@pytest.mark.parametrize("method", ["auto", "walk_jump", "langevin", WalkJump(0.3)])
@pytest.mark.parametrize("member", ["sliced", "differences"])
def test_a_level_is_refused_where_only_the_clean_score_is_known(member, method):
    sigma = None if isinstance(method, WalkJump) else 0.3
    for carrier in ("alone", "pipeline"):
        sampler = part_sampler(member, carrier, method=method, sigma=sigma, init=X)
        with pytest.raises(ValueError, match="known without noise only: leave sigma=None"):
            sampler.sample(3)


def test_levels_of_a_method_and_of_the_sampler_must_agree():
    with pytest.raises(ValueError, match=r"'sigma' .* that of its method, WalkJump\(sigma=0.3"):
        part_sampler("mixture", method=WalkJump(0.3), sigma=0.5).sample(3)
    with pytest.raises(ValueError, match="fitted at, 0.6, or None. Got 0.3"):
        part_sampler("denoising", method=WalkJump(0.3)).sample(3)
    one = part_sampler("mixture", method=WalkJump(0.3)).sample(9, 0)
    np.testing.assert_array_equal(one, part_sampler("mixture", sigma=0.3).sample(9, 0))
    with pytest.raises(ValueError, match=r"in the trained range \[0.002, 80.0\]. Got 1000"):
        part_sampler("diffusion", "pipeline", sigma=1000).sample(3)


def test_the_level_that_an_estimator_of_others_was_fitted_at_is_its_only_one():
    est = Third().fit(X)
    est.sigma_ = 0.6
    with pytest.raises(ValueError, match="fitted at, 0.6, or None. Got 0.3"):
        score_source(est).level(0.3)
    assert score_source(est).level(0.6) == score_source(est).level(None) == 0.6
    free = ThirdWithLevels().fit(X)
    free.sigma_ = 0.6
    assert score_source(free).level(0.3) == 0.3


@pytest.mark.parametrize("carrier", ["alone", "pipeline"])
def test_a_jump_of_a_density_needs_a_level(carrier):
    with pytest.raises(ValueError, match="needs the noise level of the score"):
        part_sampler("mixture", carrier, method="walk_jump").sample(3)


@pytest.mark.parametrize("est", [*OURS, curved(GaussianMixture())])
def test_an_unfitted_frozen_estimator_is_named(est):
    for init in (None, X):
        with pytest.raises(NotFittedError):
            ScoreBasedSampler(FrozenEstimator(clone(est)), init=init).sample(3)


def test_without_starts_chains_are_refused():
    for carrier in ("alone", "pipeline"):
        with pytest.raises(ValueError, match="no rows for its chains to start from: pass init"):
            part_sampler("differences", carrier).sample(3)


# -- seeds, copies, frames, weights ----------------------------------------------------------------

FORMS = {
    "mixture": DensityScoreEstimator(GaussianMixture(2)),
    "kernels": curved(KernelDensity()),
    "trained": curved(DenoisingScoreEstimator(**BRIEF | {"random_state": None})),
    "search": GridSearchCV(SlicedScoreEstimator(**BRIEF), {"tol": [0.1]}, cv=2),
    "sampler": ScoreBasedSampler(SlicedScoreEstimator(**BRIEF | {"random_state": None})),
    "third": Third(),
}


@pytest.mark.parametrize("form", FORMS)
def test_seeds_streams_clones_and_pickles(form):
    frame = pd.DataFrame(X, columns=["a", "b"])
    sampler = ScoreBasedSampler(clone(FORMS[form]), init=frame, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Training of")
        sampler.fit(frame)
        first = sampler.sample(5, random_state=1)
        np.testing.assert_array_equal(first, sampler.sample(5, random_state=1))
        assert not np.array_equal(first, sampler.sample(5, random_state=2))
        copied = pickle.loads(pickle.dumps(sampler))
        np.testing.assert_array_equal(first, copied.sample(5, random_state=1))
        drawn = sampler.sample(5)
        assert not np.array_equal(drawn, sampler.sample(5))
        np.testing.assert_array_equal(drawn, copied.sample(5))
        twin = clone(sampler).fit(frame)
    np.testing.assert_array_equal(first, twin.sample(5, random_state=1))


@pytest.mark.parametrize("method", ["langevin", "auto"])
@pytest.mark.parametrize("member", MEMBERS)
def test_estimators_fitted_on_frames_are_sampled_without_a_word(member, method):
    frame = pd.DataFrame(X, columns=["a", "b"])
    for est in (clone(MEMBERS[member]), curved(clone(MEMBERS[member]))):
        fitted = est.fit(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sampler = ScoreBasedSampler(FrozenEstimator(fitted), method, burn_in=None, init=frame)
            assert sampler.sample(3, random_state=0).shape == (3, 2)


def test_a_density_by_differences_that_was_fitted_on_a_frame_is_sampled_without_a_word():
    frame = pd.DataFrame(X, columns=["a", "b"])
    est = DensityScoreEstimator(FrozenEstimator(PCA().fit(frame))).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ScoreBasedSampler(FrozenEstimator(est), init=frame).sample(3).shape == (3, 2)
        est.score_function(frame)


@pytest.mark.parametrize("est", [FORMS["mixture"], FORMS["kernels"], FORMS["search"]])
def test_score_takes_weights_by_place_and_by_routing(est):
    sampler, w = ScoreBasedSampler(clone(est)).fit(X), np.arange(len(X)) + 1.0
    inner = sampler._part()
    assert sampler.score(X, None, w) == inner.score(X, None, w)
    assert sampler.score(X, sample_weight=w) == inner.score(X, sample_weight=w) != sampler.score(X)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(sampler).set_score_request(sample_weight=True)
        requests = asking.get_metadata_routing().score.requests
    assert requests == {"sample_weight": True}


def test_weights_reach_all_steps_of_a_pipeline_that_take_them():
    """They were refused with advice that the sampler had no way to take."""
    steps = FunctionTransformer(np.arcsinh, np.sinh), StandardScaler(), KernelDensity()
    w = np.random.RandomState(0).randint(1, 4, size=len(X))
    repeated = make_density_pipeline(*steps).fit(np.repeat(X, w, axis=0))
    nested = make_density_pipeline(steps[0], make_density_pipeline(*steps[1:]))
    search = GridSearchCV(make_density_pipeline(*steps), {}, cv=2)
    for est in (make_density_pipeline(*steps), nested, search):
        sampler = ScoreBasedSampler(est).fit(X, sample_weight=w)
        np.testing.assert_allclose(sampler.score_samples(X), repeated.score_samples(X))
    with pytest.raises(
        ValueError, match=r"last step .* GaussianMixture\(\), takes no sample_weight"
    ):
        ScoreBasedSampler(curved(GaussianMixture())).fit(X, sample_weight=w)


def test_bad_rows_are_refused_before_a_search_is_fitted():
    search = GridSearchCV(DensityScoreEstimator(Counting()), {}, cv=2)
    before = Counting.n_fits
    with pytest.raises(ValueError, match="Input X contains NaN in column 1"):
        ScoreBasedSampler(search).fit(np.where(np.eye(len(X), 2, 1), np.nan, X))
    assert Counting.n_fits == before


@pytest.mark.parametrize(
    "est",
    [
        DensityScoreEstimator(KernelDensity()),
        DensityScoreEstimator(GridSearchCV(KernelDensity(), {"bandwidth": [0.5, 1.0]}, cv=2)),
        make_density_pipeline(StandardScaler(), KernelDensity(bandwidth=0.5)),
        ScoreBasedSampler(DensityScoreEstimator(KernelDensity())),
    ],
)
def test_samplers_over_lengths_that_are_fixed_keep_their_promises(est):
    """The check of units did not look inside the sampler for the bandwidth."""
    assert "check_affine_law" in check_density_estimator(ScoreBasedSampler(est))


def test_the_source_of_an_estimator_is_asked_once_and_changes_nothing():
    est = part("mixture")[0].estimator
    before = copy.deepcopy(vars(est))
    assert score_source(est).all_levels
    assert vars(est).keys() == before.keys()
