"""The sampler for any score."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture

from skscore import (
    DenoisingScoreEstimator,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
)
from skscore._estimators.draws import split_r_hat
from skscore.datasets import make_gaussian, make_two_gaussians
from skscore.exceptions import NotFittedError, SamplingDivergedError
from skscore.metrics import hyvarinen_scorer
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, Heun, UnadjustedLangevin

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAW = make_gaussian([3.0, -20.0], [[4.0, 3.0], [3.0, 25.0]])
X = LAW.sample(400, 0)
BRIEF = {"hidden_layer_sizes": (16, 16), "max_iter": 2}


def fitted(**params):
    return DenoisingScoreEstimator(0.3, random_state=0, **BRIEF, **params).fit(X)


def moments_agree(rows, truth, rtol):
    spread = np.sqrt(np.diag(np.cov(truth.T)))
    np.testing.assert_allclose(rows.mean(0) / spread, truth.mean(0) / spread, atol=0.12)
    np.testing.assert_allclose(np.cov(rows.T), np.cov(truth.T), rtol=rtol, atol=0.1)


def test_a_callable_needs_starts_and_runs_in_the_units_of_the_rows():
    sampler = ScoreBasedSampler(LAW.score_function, "langevin", step_size=0.5, burn_in=800)
    with pytest.raises(ValueError, match="no rows for its chains to start from: pass init"):
        sampler.sample(3)
    rows = sampler.set_params(init=np.zeros((1, 2))).sample(4000, random_state=0)
    assert sampler.step_size_ == 0.5
    moments_agree(rows, LAW.sample(20_000, 1), rtol=0.15)


def test_an_exact_density_is_sampled_in_decorrelated_coordinates():
    density = DensityScoreEstimator(GaussianMixture(random_state=0))
    sampler = ScoreBasedSampler(density, "kinetic_langevin", random_state=0).fit(X)
    moments_agree(sampler.sample(5000, random_state=0), X, rtol=0.15)
    assert sampler.step_size_ == pytest.approx(1.0, rel=0.1)


def test_auto_walks_and_jumps_where_there_is_a_gaussian_level():
    denoising, sliced = FrozenEstimator(fitted()), SlicedScoreEstimator(random_state=0, **BRIEF)
    for est, name in [
        (denoising, "walk_jump"),
        (FrozenEstimator(sliced.fit(X)), "kinetic_langevin"),
    ]:
        draws = [ScoreBasedSampler(est, method).sample(9, 0) for method in ("auto", name)]
        np.testing.assert_array_equal(*draws)


def test_a_trained_estimator_samples_the_same_either_way():
    est = fitted()
    sampler = ScoreBasedSampler(FrozenEstimator(est))
    np.testing.assert_array_equal(sampler.sample(50, 3), est.sample(50, 3))


def test_fit_clones_and_fits_and_leaves_the_estimator_alone():
    est = DenoisingScoreEstimator(0.3, early_stopping=False, **BRIEF)
    sampler = ScoreBasedSampler(est, random_state=0)
    with pytest.raises(NotFittedError, match="FrozenEstimator"):
        sampler.sample(2)
    sampler.fit(X)
    assert sampler.n_features_in_ == 2
    assert not hasattr(est, "location_")
    twin = ScoreBasedSampler(est, random_state=0).fit(X)
    np.testing.assert_array_equal(sampler.sample(4), twin.sample(4))


def test_a_frozen_estimator_is_not_fitted_again():
    est = fitted()
    sampler = ScoreBasedSampler(FrozenEstimator(est)).fit(X[:5])
    assert sampler.estimator_ is est


def test_weights_reach_the_estimator():
    w = np.random.RandomState(0).randint(1, 4, size=len(X))
    sampler = ScoreBasedSampler(DenoisingScoreEstimator(0.3, random_state=0, **BRIEF))
    alone = DenoisingScoreEstimator(0.3, random_state=0, **BRIEF).fit(X, sample_weight=w)
    sampler.fit(X, sample_weight=w)
    np.testing.assert_array_equal(sampler.score_function(X), alone.score_function(X))


def test_it_scores_as_its_estimator_does():
    sampler = ScoreBasedSampler(FrozenEstimator(fitted()))
    est = sampler.estimator.estimator
    assert sampler.score(X) == est.score(X)
    np.testing.assert_array_equal(sampler.score_divergence(X), est.score_divergence(X))
    assert not hasattr(sampler, "score_samples")
    density = DensityScoreEstimator(GaussianMixture()).fit(X)
    with_density = ScoreBasedSampler(FrozenEstimator(density))
    np.testing.assert_array_equal(with_density.score_samples(X), density.score_samples(X))


def test_few_chains_give_many_draws():
    est = FrozenEstimator(fitted())
    sampler = ScoreBasedSampler(est, n_chains=10, burn_in=20, thin=3)
    assert sampler.sample(95, random_state=0).shape == (95, 2)
    assert sampler.n_steps_ == 20 + 9 * 3
    assert sampler.r_hat_.shape == (2,)
    sampler.set_params(n_chains=None).sample(95, random_state=0)
    assert sampler.n_steps_ == 20
    assert sampler.r_hat_ is None


def test_displacement_tells_how_far_the_draws_are_from_their_starts():
    density = DensityScoreEstimator(GaussianMixture(random_state=0)).fit(X)
    sampler = ScoreBasedSampler(FrozenEstimator(density), init=X, burn_in=0)
    sampler.sample(200, random_state=0)
    np.testing.assert_allclose(sampler.displacement_, 0.0, atol=1e-9)
    sampler.set_params(burn_in=300).sample(200, random_state=0)
    independent = np.sqrt(2 * np.diag(density.covariance_))
    np.testing.assert_allclose(sampler.displacement_, independent, rtol=0.25)


def test_r_hat_is_one_for_chains_that_agree_and_large_for_lost_modes():
    rng = np.random.RandomState(0)
    same = rng.standard_normal((200, 8, 2))
    np.testing.assert_allclose(split_r_hat(same), 1.0, atol=0.02)
    apart = same + np.where(np.arange(8) < 4, -5, 5)[:, None]
    assert split_r_hat(apart).min() > 3
    assert split_r_hat(same[:3]) is None
    assert split_r_hat(same[:, :1]) is None


def test_langevin_loses_mode_weights_from_other_starts_and_keeps_them_from_the_rows():
    law = make_two_gaussians(0.9, separation=10.0)
    rows = law.sample(1000, 0)
    even = np.r_[rows[rows[:, 0] < 0][:50], rows[rows[:, 0] > 0][:50]]
    lost = ScoreBasedSampler(law.score_function, "langevin", init=even, burn_in=300)
    kept = ScoreBasedSampler(law.score_function, "langevin", init=rows, burn_in=300)
    assert (lost.sample(1000, 0)[:, 0] < 0).mean() == pytest.approx(0.5, abs=0.02)
    assert (kept.sample(1000, 0)[:, 0] < 0).mean() == pytest.approx(0.9, abs=0.03)


def test_a_sampler_object_is_a_method():
    sampler = ScoreBasedSampler(FrozenEstimator(fitted()), UnadjustedLangevin(0.01))
    sampler.sample(5, random_state=0)
    assert sampler.step_size_ == 0.01


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"method": "hmc"}, "'method' parameter of ScoreBasedSampler .*'walk_jump'.* Got 'hmc'"),
        ({"step_size": 0}, "'step_size' .* Got 0"),
        ({"burn_in": -1}, "'burn_in' .* Got -1"),
        ({"thin": 0}, "'thin' .* Got 0"),
        ({"n_chains": 0}, "'n_chains' .* Got 0"),
        ({"sigma": np.nan}, "'sigma' .* Got nan"),
        ({"sigma": 0.7}, "'sigma' .* fitted at, 0.3, or None. Got 0.7"),
        ({"init": [[np.nan, 0.0]]}, "contains NaN"),
        ({"init": [[0.0, 0.0, 0.0]]}, "3 features, but .* expecting 2"),
    ],
)
def test_bad_parameters_are_refused_by_name(params, words):
    with pytest.raises(ValueError, match=words):
        ScoreBasedSampler(FrozenEstimator(fitted()), **params).sample(3)


def test_a_jump_needs_a_level():
    sliced = ScoreBasedSampler(SlicedScoreEstimator(**BRIEF), "walk_jump").fit(X)
    with pytest.raises(ValueError, match="method='walk_jump' .* needs the noise level .* sigma_"):
        sliced.sample(3)


def test_a_callable_of_the_wrong_shape_is_named():
    sampler = ScoreBasedSampler(lambda rows: rows[:, 0], "langevin", init=X)
    with pytest.raises(ValueError, match=r"shape of its rows, \(256, 2\)|shape of its rows"):
        sampler.sample(3)


def test_chains_that_blow_up_are_an_error():
    sampler = ScoreBasedSampler(lambda rows: rows**3, "langevin", init=X, step_size=1.0)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(SamplingDivergedError):
        sampler.sample(3)


@pytest.mark.parametrize("method", ["langevin", "kinetic_langevin"])
@pytest.mark.parametrize("step_size", [4.5, 10.0])
def test_chains_that_blow_up_but_stay_finite_are_an_error_too(step_size, method):
    options = {"init": X - X.mean(0), "step_size": step_size, "burn_in": 100}
    sampler = ScoreBasedSampler(np.negative, method, **options)
    with pytest.raises(SamplingDivergedError, match="step size was"):
        sampler.sample(3)


def test_an_estimator_fitted_on_a_frame_samples_without_a_word():
    frame = pd.DataFrame(X, columns=["a", "b"])
    est = DenoisingScoreEstimator(0.3, random_state=0, **BRIEF).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ScoreBasedSampler(FrozenEstimator(est)).sample(3)


def test_small_steps_are_taken_more_often():
    starts = np.random.RandomState(0).standard_normal((50, 1))
    walks = {"langevin": (100, 250, 1000), "kinetic_langevin": (20, 158, 1000)}
    for (method, steps), k in itertools.product(walks.items(), range(3)):
        step_size, n_steps = (0.1, 0.001, 1e-6)[k], steps[k]
        sampler = ScoreBasedSampler(np.negative, method, init=starts, step_size=step_size)
        sampler.sample(50, random_state=0)
        assert sampler.n_steps_ == pytest.approx(n_steps, rel=0.3)


def test_the_scorer_takes_a_sampler():
    sampler = ScoreBasedSampler(FrozenEstimator(fitted()))
    assert hyvarinen_scorer(sampler, X) == sampler.score(X)


# -- reverse samplers --------------------------------------------------------------------------

MEAN, SPREAD = np.array([3.0, -20.0]), np.array([2.0, 5.0])


def noised_score(X, sigma):
    """Exact score of independent normal columns with noise of standard deviation sigma."""
    return -(X - MEAN) / (SPREAD**2 + sigma**2)


def diffusion(**params):
    return DiffusionScoreEstimator(random_state=0, **BRIEF, **params).fit(X)


@pytest.mark.parametrize("method", REVERSE_SAMPLERS)
def test_a_callable_score_of_all_levels_is_sampled_by_every_method(method):
    rows = np.random.default_rng(0).normal(MEAN, SPREAD, size=(500, 2))
    sampler = ScoreBasedSampler(noised_score, method, init=rows)
    draws = sampler.sample(4000, random_state=0)
    np.testing.assert_allclose((draws.mean(0) - MEAN) / SPREAD, 0, atol=0.08)
    np.testing.assert_allclose(draws.std(0) / SPREAD, 1, atol=0.1)
    assert sampler.n_steps_ == REVERSE_SAMPLERS[method].n_steps
    np.testing.assert_array_equal(draws, sampler.sample(4000, random_state=0))


def test_location_and_scale_of_a_callable_come_from_the_rows_of_fit():
    rows = np.random.default_rng(0).normal(MEAN, SPREAD, size=(500, 2))
    fitted, given = (
        ScoreBasedSampler(noised_score, "heun").fit(rows),
        ScoreBasedSampler(noised_score, "heun"),
    )
    np.testing.assert_array_equal(fitted.sample(5, 0), given.sample(5, 0, init=rows))
    with pytest.raises(ValueError, match="does not know the location and scale of the rows"):
        given.sample(5)


def test_it_draws_what_a_diffusion_estimator_draws():
    est = diffusion()
    sampler = ScoreBasedSampler(FrozenEstimator(est), Heun(), n_steps=5)
    rows = sampler.sample(2000, random_state=0)
    assert sampler.n_steps_ == 5
    moments_agree(rows, est.sample(5000, 1), rtol=0.15)
    automatic = ScoreBasedSampler(FrozenEstimator(est)).sample(5, random_state=0)
    np.testing.assert_array_equal(
        automatic, ScoreBasedSampler(FrozenEstimator(est), "adams").sample(5, random_state=0)
    )


@pytest.mark.parametrize("method", SAMPLERS)
def test_chains_run_at_any_level_of_a_diffusion_estimator(method):
    est = diffusion(learning_rate_init=1e-30)
    sampler = ScoreBasedSampler(FrozenEstimator(est), method, sigma=0.5, burn_in=500)
    rows = sampler.sample(4000, random_state=0)
    variance = 1.0 if method == "walk_jump" else 1.25  # the others draw noised rows
    moments_agree(rows, est.location_ + _normal(est, variance), rtol=0.15)


def _normal(est, factor):
    z = np.random.default_rng(0).normal(size=(20_000, 2))[:4000]
    return np.sqrt(factor) * z @ np.linalg.cholesky(est.covariance_).T


def test_a_score_of_one_level_has_no_reverse_sampler():
    for part in (LAW.score_function, FrozenEstimator(fitted())):
        with pytest.raises(ValueError, match="Heun needs the score at every noise level"):
            ScoreBasedSampler(part, "heun", init=X).sample(3)


@pytest.mark.parametrize(
    "params", [{"sigma": 0.1}, {"step_size": 0.1}, {"burn_in": 5}, {"n_chains": 3}]
)
def test_parameters_of_chains_are_refused_with_a_reverse_sampler(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"'{name}' parameter .* is one of Markov chains"):
        ScoreBasedSampler(noised_score, "ddpm", init=X, **params).sample(3)


def test_a_callable_that_returns_the_wrong_shape_is_refused():
    sampler = ScoreBasedSampler(lambda X, sigma: X[:, :1], "heun", init=X)
    with pytest.raises(ValueError, match="must return an array of the shape of its rows"):
        sampler.sample(3)


def test_auto_goes_down_the_levels_of_a_callable_that_takes_them():
    automatic = ScoreBasedSampler(noised_score, init=X).sample(5, random_state=0)
    by_name = ScoreBasedSampler(noised_score, "adams", init=X).sample(5, random_state=0)
    np.testing.assert_array_equal(automatic, by_name)


@pytest.mark.parametrize("score", [np.negative, lambda X, scale=1.0: -scale * X])
def test_an_option_of_a_callable_is_not_taken_for_a_level(score):
    with pytest.raises(ValueError, match="Heun needs the score at every noise level"):
        ScoreBasedSampler(score, "heun", init=X).sample(3)
    assert ScoreBasedSampler(score, init=X, burn_in=2).sample(3).shape == (3, 2)


def test_a_chain_takes_a_callable_of_all_levels_at_the_given_one():
    chain = ScoreBasedSampler(noised_score, "langevin", init=X, step_size=0.5, burn_in=400)
    with pytest.raises(ValueError, match="the score is one of every level, score"):
        chain.sample(3)
    rows = chain.set_params(sigma=3.0).sample(4000, random_state=0)
    np.testing.assert_allclose(rows.std(0), np.hypot(SPREAD, 3.0), rtol=0.06)


def test_steps_of_a_reverse_sampler_are_refused_with_a_chain():
    with pytest.raises(ValueError, match="'n_steps' parameter of ScoreBasedSampler is one of"):
        ScoreBasedSampler(LAW.score_function, "langevin", init=X, n_steps=5).sample(3)


def test_draws_that_are_not_finite_are_refused_with_a_sentence_about_the_score():
    broken = ScoreBasedSampler(lambda X, sigma: X * np.nan, "heun", init=X)
    with pytest.raises(SamplingDivergedError, match="the score is not finite somewhere on the way"):
        broken.sample(3)
