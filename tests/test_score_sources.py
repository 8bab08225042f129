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
    DensityPipeline,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    FlowTransformer,
    ScoreBasedSampler,
    SlicedScoreEstimator,
    make_density_pipeline,
)
from skscore._score_sources import score_source
from skscore.datasets import make_gaussian, make_two_gaussians
from skscore.exceptions import NotFittedError, SamplingDivergedError
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, UnadjustedLangevin, WalkJump
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
        self.mean_, self.precision_ = np.mean(X, 0), np.linalg.inv(np.cov(np.asarray(X).T))
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
    "bayesian": DensityScoreEstimator(BayesianGaussianMixture(random_state=0)),
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


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("member", MEMBERS)
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


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("member", ["denoising", *ALL_LEVELS])
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


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("method", REVERSE_SAMPLERS)
@pytest.mark.parametrize("member", ["diffusion", "mixture", "kernels"])
def test_every_reverse_sampler_draws_from_the_law(member, method, carrier):
    order = REVERSE_SAMPLERS[method].order  # those of the first, or none, are some percent off
    rows = draws(member, method, carrier)
    law_agrees(rows, own_covariance(member), rtol=0.2 if order in (None, 1) else 0.12)


@pytest.mark.parametrize("member", ALL_LEVELS)
def test_auto_goes_down_the_levels_where_they_are_known_and_chains_are_not_asked_for(member):
    np.testing.assert_array_equal(draws(member, "auto", n=9), draws(member, "heun", n=9))
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


def test_wide_and_narrow_columns_are_drawn_alike():
    turn = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, 1.0]])
    rows = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1e3, 0.01] @ turn + [0, 1e6, 0]
    mixture = GaussianMixture(2, reg_covar=1e-9, random_state=0)
    for density, rtol in [(mixture, 0.12), (KernelDensity(bandwidth=0.002), 0.25)]:
        sampler = ScoreBasedSampler(DensityScoreEstimator(density)).fit(rows)
        drawn = sampler.sample(N, random_state=0)
        ratio = np.linalg.eigvals(np.linalg.solve(np.cov(rows.T), np.cov(drawn.T))).real
        np.testing.assert_allclose(ratio, 1, atol=rtol)
