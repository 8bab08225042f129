"""The diffusion estimator: one network over all noise levels."""

import pickle

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import ks_2samp, kstest, multivariate_normal

from skscore import DiffusionScoreEstimator
from skscore._backend.training import Plan
from skscore._estimators.all_levels import DEFAULT_METHOD
from skscore._fitting import defaults
from skscore.datasets import make_gaussian, make_gaussian_mixture, make_ring, make_two_gaussians
from skscore.exceptions import NoiseRangeWarning
from skscore.metrics import hyvarinen_score, relative_fisher_divergence
from skscore.networks import MLP, Ensemble, ResNet
from skscore.noise import PROCESSES, SCHEDULES, WEIGHTINGS, VariancePreserving
from skscore.samplers import DDIM, REVERSE_SAMPLERS, Heun

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAW = make_gaussian([3.0, -20.0], [[4.0, 3.0], [3.0, 25.0]])
X = LAW.sample(400, 0)
BRIEF = {"hidden_layer_sizes": (16, 16), "max_iter": 2, "random_state": 0}
WIDER = {"hidden_layer_sizes": (64, 64), "standardize": "whiten", "random_state": 0}
MODES = make_gaussian_mixture([0.7, 0.3], [[-3.0], [4.0]], [[[1.0]], [[0.25]]])


def brief(**params):
    return DiffusionScoreEstimator(**{**BRIEF, **params}).fit(X)


@pytest.fixture(scope="module")
def bimodal():
    """A model of two modes on the line, some thousand rows."""
    est = DiffusionScoreEstimator(**WIDER, max_iter=60)
    return est.fit(MODES.sample(2000, 0))


@pytest.fixture(scope="module")
def plane():
    """A model of two modes in the plane."""
    est = DiffusionScoreEstimator(**WIDER, max_iter=25)
    return est.fit(make_two_gaussians(0.7, 5.0).sample(1000, 0))


# -- the Gaussian it starts from ---------------------------------------------------------------


@pytest.mark.parametrize("standardize", ["whiten", "scale", None])
def test_the_untrained_model_is_a_gaussian_exactly(standardize):
    est = brief(learning_rate_init=1e-30, standardize=standardize, n_components=0)
    covariance = {
        "whiten": est.covariance_,
        "scale": np.diag(np.diag(est.covariance_)),
        None: np.eye(2),
    }[standardize]
    rows = LAW.sample(50, 1)
    law = multivariate_normal(est.location_, covariance)
    np.testing.assert_allclose(est.score_samples(rows), law.logpdf(rows), atol=1e-6)
    np.testing.assert_allclose(est.score_lower_bound(rows), law.logpdf(rows), atol=1e-5)
    pull = np.linalg.solve(covariance, (est.location_ - rows).T).T
    for sigma in (0.002, 0.5, 80.0):
        shrunk = 1 / (1 + sigma**2)
        np.testing.assert_allclose(est.score_function(rows, sigma), shrunk * pull, rtol=1e-5)
        clean = est.location_ + shrunk * (rows - est.location_)
        np.testing.assert_allclose(est.denoise(rows, sigma), clean, rtol=1e-5)
        trace = -shrunk * np.trace(np.linalg.inv(covariance))
        np.testing.assert_allclose(est.score_divergence(rows, sigma), trace, rtol=1e-5)


def test_samples_of_the_untrained_model_are_those_of_the_gaussian_without_steps():
    est = brief(learning_rate_init=1e-30)
    rows = est.sample(20_000, random_state=0, method="rk4", n_steps=1)
    z = np.linalg.solve(np.linalg.cholesky(est.covariance_), (rows - est.location_).T)
    np.testing.assert_allclose(np.cov(z), np.eye(2), atol=0.04)
    assert all(kstest(column, "norm").pvalue > 0.01 for column in z)


# -- densities ---------------------------------------------------------------------------------


def test_the_density_on_the_line_integrates_to_one_and_is_near_the_truth(bimodal):
    grid = np.linspace(-12, 12, 1201)[:, None]
    log_density = bimodal.score_samples(grid)
    assert abs(trapezoid(np.exp(log_density), grid[:, 0]) - 1) < 1e-2
    rows = MODES.sample(1000, 1)
    gap = (MODES.score_samples(rows) - bimodal.score_samples(rows)).mean()
    assert -0.02 < gap < 0.06


@pytest.mark.slow
def test_the_density_in_the_plane_integrates_to_one(plane):
    axis = np.linspace(-9, 14, 120)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(plane.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert abs(mass - 1) < 1e-2


@pytest.mark.parametrize("method", ["dpm_solver", "adams", "heun", "rk4", "dormand_prince"])
def test_samples_agree_with_the_density_of_the_same_model(bimodal, method):
    grid = np.linspace(-12, 12, 2401)
    density = np.exp(bimodal.score_samples(grid[:, None]))
    cumulative = np.cumsum(density) / density.sum()
    rows = bimodal.sample(3000, random_state=1, method=method, n_steps=40)[:, 0]
    statistic = kstest(rows, lambda x: np.interp(x, grid, cumulative)).statistic
    assert statistic < 0.035, "1.95 / sqrt(3000) is the thousandth part"


def test_most_log_densities_are_within_a_hundredth_of_a_fine_solution(plane):
    rows = make_two_gaussians(0.7, 5.0).sample(300, 2)
    fine = pickle.loads(pickle.dumps(plane)).set_params(density_tol=1e-8)
    errors = np.abs(plane.score_samples(rows) - fine.score_samples(rows))
    assert np.quantile(errors, 0.95) < 0.01


def test_a_row_does_not_feel_the_rows_beside_it(plane):
    near, far = np.zeros((3, 2)), np.array([[40.0, -40.0], [1e3, 0.0]])
    alone = np.concatenate([plane.score_samples(near[:1])] * 3)
    together = plane.score_samples(np.concatenate([far, near]))[2:]
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_the_lower_bound_is_below_the_log_density_and_near_it(bimodal):
    rows = MODES.sample(500, 3)
    bound = bimodal.score_lower_bound(rows, n_draws=512).mean()
    assert -0.4 < bound - MODES.score_samples(rows).mean() < 0.05
    part = bimodal.score_lower_bound(rows[:5])
    np.testing.assert_allclose(part, bimodal.score_lower_bound(rows)[:5], rtol=1e-12)


def test_probes_estimate_the_exact_divergence_within_their_standard_error(plane):
    rows = make_two_gaussians(0.7, 5.0).sample(60, 4)
    exact, zero = plane.score_samples(rows, return_std_error=True)
    assert not zero.any()
    probing = pickle.loads(pickle.dumps(plane)).set_params(divergence="probes", n_probes=32)
    estimate, error = probing.score_samples(rows, return_std_error=True)
    assert (error > 0).all()
    assert (np.abs(estimate - exact) < 5 * error + 0.02).all()
    np.testing.assert_array_equal(estimate, probing.score_samples(rows))


def test_score_is_the_weighted_mean_log_density(plane):
    rows, weights = make_two_gaussians(0.7, 5.0).sample(20, 5), np.arange(20.0)
    values = plane.score_samples(rows)
    assert plane.score(rows) == pytest.approx(values.mean())
    assert plane.score(rows, sample_weight=weights) == pytest.approx(
        np.average(values, weights=weights)
    )


# -- levels ------------------------------------------------------------------------------------


def test_the_curve_is_the_criterion_of_the_score_at_each_level(plane):
    rows = make_two_gaussians(0.7, 5.0).sample(50, 6)
    sigmas, scores, errors = plane.sigma_curve(rows)
    assert sigmas[0] == pytest.approx(0.002)
    assert sigmas[-1] == pytest.approx(80.0)
    for k in (3, 20):
        s = plane.score_function(rows, sigmas[k])
        trace = plane.score_divergence(rows, sigmas[k], metric=plane.covariance_)
        value, error = hyvarinen_score(s, trace, plane.covariance_, return_std_error=True)
        assert scores[k] == pytest.approx(value)
        assert errors[k] == pytest.approx(error, rel=0.05)


def test_the_chosen_level_is_the_best_of_the_curve_on_the_rows_held_out():
    est = DiffusionScoreEstimator(early_stopping=False, **BRIEF).fit(X)
    sigmas, scores, _ = est.sigma_curve(X)
    assert est.sigma_ == sigmas[np.argmax(scores)]


def test_the_score_at_the_chosen_level_is_near_the_truth(bimodal):
    rows = MODES.sample(1000, 7)
    truth = MODES.score_function(rows)
    assert relative_fisher_divergence(bimodal.score_function(rows), truth) < 0.15


def test_denoising_is_tweedies_formula_at_every_level(plane):
    rows, sigma = make_two_gaussians(0.7, 5.0).sample(30, 8), 0.4
    step = sigma**2 * plane.score_function(rows, sigma) @ plane.covariance_
    np.testing.assert_allclose(plane.denoise(rows, sigma), rows + step, rtol=1e-6)


def test_the_energy_of_a_conservative_model_belongs_to_its_score_at_the_chosen_level():
    est = brief(conservative=True)
    rows, h = LAW.sample(5, 1), 1e-4
    for j in range(2):
        step = h * np.eye(2)[j]
        slope = (est.energy(rows + step) - est.energy(rows - step)) / (2 * h)
        np.testing.assert_allclose(-slope, est.score_function(rows)[:, j], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.001, 81.0, 0.0, -1.0, np.nan, "0.1", True])
@pytest.mark.parametrize("method", ["score_function", "score_divergence", "denoise"])
def test_a_level_outside_the_trained_range_is_refused(plane, method, sigma):
    with pytest.raises(ValueError, match=r"'sigma' of DiffusionScoreEstimator must be None or a "):
        getattr(plane, method)(np.zeros((1, 2)), sigma)


# -- processes and choices ---------------------------------------------------------------------


@pytest.mark.slow
def test_models_of_the_same_rows_under_all_processes_agree():
    train, rows = MODES.sample(1000, 0), MODES.sample(300, 1)
    truth, gaps, scores = MODES.score_samples(rows).mean(), {}, {}
    for name in PROCESSES:
        est = DiffusionScoreEstimator(
            name, hidden_layer_sizes=(32, 32), max_iter=25, random_state=0
        ).fit(train)
        gaps[name] = truth - est.score(rows)
        scores[name] = est.score_function(rows, 0.3)
    assert all(-0.03 < gap < 0.12 for gap in gaps.values()), gaps
    for name in PROCESSES:
        assert relative_fisher_divergence(scores[name], scores["ve"]) < 0.03, name


def test_processes_differ_in_what_training_sees():
    curves = [brief(process=name).loss_curve_ for name in PROCESSES]
    assert len(np.unique(np.round(curves, 6))) > len(curves)


def test_a_process_may_be_given_with_its_own_parameters():
    est = brief(process=VariancePreserving(0.1, 15.0), grid="time", levels="time")
    assert np.isfinite(est.sample(5, 0)).all()
    est.set_params(process__beta_max=10.0)
    assert est.process.beta_max == 10.0


def squared(sigma):
    return sigma**2


def undefined(sigma):
    return sigma * np.nan


def negative(sigma):
    return -sigma


def one_only(sigma):
    return sigma[:1]


def no_tensor(sigma):
    return 1.0


def test_a_weighting_may_be_a_function_of_the_level():
    named, own = brief(weighting="sigma2"), brief(weighting=squared)
    np.testing.assert_allclose(named.loss_curve_, own.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("weighting", [undefined, negative, one_only, no_tensor])
def test_a_weighting_that_cannot_be_trained_with_is_refused(weighting):
    with pytest.raises(ValueError, match="must turn a tensor of levels into a tensor of that"):
        brief(weighting=weighting)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sigma_min": 1.0, "sigma_max": 1.0}, "'sigma_min' .* must be less than its 'sigma_max'"),
        ({"sigma_min": 0.0}, "'sigma_min' parameter .* float in the range"),
        ({"sigma_max": np.nan}, "'sigma_max' parameter .* float in the range"),
        ({"n_probes": 1}, "'n_probes' parameter"),
        ({"density_tol": 0}, "'density_tol' parameter"),
    ],
)
def test_bad_parameters_are_refused_before_training_and_leave_it_unfitted(params, words):
    est = brief()
    with pytest.raises(ValueError, match=words):
        est.set_params(**params).fit(X)
    assert not hasattr(est, "n_features_in_")


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("process", PROCESSES),
        ("levels", SCHEDULES),
        ("weighting", WEIGHTINGS),
        ("grid", SCHEDULES),
        ("divergence", ["exact", "probes"]),
    ],
)
def test_unknown_names_are_refused_with_the_list_of_legal_ones(name, legal):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of Diffusion") as refusal:
        DiffusionScoreEstimator(**{name: "unheard of"}).fit(X)
    assert all(repr(choice) in str(refusal.value) for choice in legal)


def test_going_on_with_another_range_of_levels_is_refused():
    est = brief(warm_start=True)
    with pytest.raises(ValueError, match=r"sigma_range was \(0.002, 80.0\), is \(0.01, 80.0\)"):
        est.set_params(sigma_min=0.01).fit(X)


def test_chunks_are_learnt_one_after_another():
    est = DiffusionScoreEstimator(hidden_layer_sizes=(32, 32), random_state=0)
    for seed in range(10):
        est.partial_fit(MODES.sample(300, seed))
    rows = MODES.sample(500, 50)
    assert (MODES.score_samples(rows) - est.score_samples(rows)).mean() < 0.25
    assert len(est.loss_curve_) == 10


# -- samples -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REVERSE_SAMPLERS)
def test_every_method_draws_the_modes_with_their_weights(bimodal, method):
    rows = bimodal.sample(2000, random_state=0, method=method)
    assert rows.shape == (2000, 1)
    assert abs((rows > 1).mean() - 0.3) < 0.05
    assert abs(rows[rows > 1].mean() - 4.0) < 0.1
    assert abs(rows[rows < 1].std() - 1.0) < 0.12


def test_a_method_is_a_name_or_a_sampler():
    est = brief()
    by_name = est.sample(4, 0, method="ddim", n_steps=7)
    np.testing.assert_array_equal(by_name, est.sample(4, 0, method=DDIM(), n_steps=7))
    np.testing.assert_array_equal(est.sample(4, 0), est.sample(4, 0, method=DEFAULT_METHOD))


def test_a_sampler_has_its_own_grid_until_the_estimator_has_one(plane):
    def thetas(est, method):
        return est.sample(1, 0, method=method, n_steps=5, return_states=True)[2]

    ends = np.arctan(plane.sigma_range_) ** 0.5
    even = np.linspace(*ends[::-1], 6)[1:-1] ** 2
    np.testing.assert_allclose(thetas(plane, "adams"), [np.pi / 2, *even, 0], rtol=1e-12)
    assert (thetas(plane, "adams") != thetas(plane, "heun")).any()
    other = pickle.loads(pickle.dumps(plane)).set_params(grid="theta")
    np.testing.assert_array_equal(thetas(other, "adams"), thetas(other, "heun"))


def test_states_go_from_the_gaussian_fit_to_the_rows(bimodal):
    rows, states, thetas = bimodal.sample(
        500, random_state=0, method=Heun(), n_steps=6, return_states=True
    )
    assert states.shape == (7, 500, 1)
    assert thetas[0] == pytest.approx(np.pi / 2)
    assert thetas[-1] == 0
    assert (np.diff(thetas) < 0).all()
    np.testing.assert_array_equal(states[-1], rows)
    np.testing.assert_array_equal(bimodal.sample(500, 0, method="heun", n_steps=6), rows)
    start = (states[0] - bimodal.location_) / np.sqrt(bimodal.covariance_[0, 0])
    assert kstest(start[:, 0], "norm").pvalue > 0.01


def test_unknown_methods_and_bad_numbers_are_refused():
    est = brief()
    with pytest.raises(ValueError, match="must be a ReverseSampler or one of: 'annealed_la"):
        est.sample(3, method="euler")
    with pytest.raises(ValueError, match=r"n_steps must be an int in the range \[1, inf\)"):
        est.sample(3, n_steps=0)
    with pytest.raises(ValueError, match=r"n_draws must be an int in the range \[1, inf\)"):
        est.score_lower_bound(X, n_draws=0)
    with pytest.raises(ValueError, match="'churn' parameter of Heun must be a number"):
        est.sample(3, method=Heun(churn=-1))


# -- what "auto" stands for --------------------------------------------------------------------


@pytest.mark.parametrize(("n_features", "kind"), [(5, MLP), (6, ResNet)])
def test_the_automatic_network_is_a_perceptron_for_few_columns_and_residual_for_many(
    n_features, kind
):
    rows = np.random.default_rng(0).normal(size=(3000, n_features))
    body = DiffusionScoreEstimator(max_iter=1, random_state=0).fit(rows).network_.body
    assert isinstance(body, kind)
    layers = body.hidden if kind is MLP else [block.inner for block in body.blocks]
    assert [layer.affine.out_features for layer in layers] == [128, 128, 128]


def test_a_residual_network_has_more_dropout_the_shorter_the_table():
    rates = [ResNet.automatic_architecture(n, 8)["options"]["dropout"] for n in (100, 6000, 60000)]
    assert rates == [0.2, 0.1, 0.01]


@pytest.mark.parametrize(
    ("n_rows", "n_rounds"), [(2000, 40), (5000, 70), (20_000, 45), (200_000, 40)]
)
def test_the_automatic_number_of_rounds_goes_by_steps(n_rows, n_rounds):
    assert defaults.n_rounds(DiffusionScoreEstimator(), n_rows, n_rows) == n_rounds
    assert defaults.n_rounds(DiffusionScoreEstimator(max_iter=7), n_rows, n_rows) == 7


def test_rounds_are_as_many_as_the_different_rows_ask_for():
    assert defaults.n_rounds(DiffusionScoreEstimator(), 43_000, 3000) == 70


def test_the_automatic_patience_is_a_third_of_the_rounds():
    est = DiffusionScoreEstimator()
    assert [defaults.patience(est, n) for n in (3, 60)] == [10, 20]
    assert defaults.patience(est.set_params(n_iter_no_change=4), 60) == 4


def test_the_automatic_network_of_a_short_table_is_an_ensemble_with_more_dropout_the_shorter():
    rates = []
    for n in (100, 2000):
        est = DiffusionScoreEstimator(max_iter=1, random_state=0)
        body = est.fit(np.random.default_rng(0).normal(size=(n, 2))).network_.body
        assert isinstance(body, Ensemble)
        rates.append(body.dropout.rate)
    np.testing.assert_allclose(rates, [0.2, 100 / 1800])


def test_an_automatic_network_stays_what_it_was_in_later_chunks():
    est = DiffusionScoreEstimator(max_iter=1, random_state=0)
    rows = np.random.default_rng(0).normal(size=(6000, 2))
    first = est.partial_fit(rows[:100])._network.spec
    assert est.partial_fit(rows)._network.spec == first


# -- the mixture it may rest on ----------------------------------------------------------------


def test_on_a_mixture_the_untrained_model_is_the_mixture():
    law = make_two_gaussians(0.7, 6.0)
    est = DiffusionScoreEstimator(
        n_components=2, learning_rate_init=1e-30, max_iter=1, random_state=0
    ).fit(law.sample(3000, 0))
    rows = law.sample(200, 1)
    gaps = est.score_samples(rows) - law.score_samples(rows)
    assert abs(gaps.mean()) < 0.01
    assert np.abs(est.score_function(rows, 0.5)).max() > 0.5
    assert est._network.spec.n_components == 2


def test_clustered_rows_are_learnt_on_a_mixture_and_a_gaussian_is_not():
    ring = make_ring()
    est = DiffusionScoreEstimator(max_iter=8, random_state=0).fit(ring.sample(2000, 0))
    rows = ring.sample(500, 1)
    assert est._network.spec.n_components >= 8
    assert abs((est.score_samples(rows) - ring.score_samples(rows)).mean()) < 0.06
    assert brief(max_iter=8)._network.spec.n_components == 0


@pytest.mark.parametrize("params", [{"n_components": 0}, {"conservative": True}])
def test_no_mixture_is_fitted_where_none_is_wanted(params, monkeypatch):
    monkeypatch.setattr("skscore._fitting.tournament.fit_mixture", None)
    brief(**params)


@pytest.mark.parametrize(("n", "size"), [(100, 64), (1000, 225), (2000, 256)])
def test_the_automatic_batch_has_256_rows_and_fewer_for_short_tables(n, size, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "skscore._fitting.run.Plan", lambda **plan: seen.append(plan) or Plan(**plan)
    )
    DiffusionScoreEstimator(**BRIEF).fit(LAW.sample(n, 0))
    assert seen[0]["batch_size"] == size


@pytest.mark.parametrize("name", ["ve", "edm"])
def test_the_range_of_levels_is_that_of_the_process(name):
    est = DiffusionScoreEstimator(name, sigma_min=0.05, sigma_max=9.0)
    process = est._settled_process()
    assert (process.sigma_min, process.sigma_max) == process.sigma_range == (0.05, 9.0)


def test_the_chosen_level_counts_rows_by_their_weights():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(300, 1)), np.full((40, 1), 8.0)])
    rows[300:] += np.random.default_rng(1).normal(0, 1e-3, size=(40, 1))
    params = {**BRIEF, "max_iter": 30, "early_stopping": False}
    even = DiffusionScoreEstimator(**params).fit(rows)
    weights = np.where(np.arange(340) < 300, 1.0, 1e-6)
    scores = even.sigma_curve(rows)[1], even.sigma_curve(rows, sample_weight=weights)[1]
    assert np.argmax(scores[0]) != np.argmax(scores[1])
    weighted = DiffusionScoreEstimator(**params).fit(rows, sample_weight=weights)
    curve = weighted.sigma_curve(rows, sample_weight=weights)
    assert weighted.sigma_ == curve[0][np.argmax(curve[1])]


def test_parameters_that_are_changed_after_the_fit_are_checked_when_they_are_used():
    est = brief()
    for name in ("divergence", "grid", "process", "density_tol"):
        broken = pickle.loads(pickle.dumps(est)).set_params(**{name: "unheard of"})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of DiffusionScoreEstimator"):
            broken.score_samples(X)
        with pytest.raises(ValueError, match=f"The '{name}' parameter of DiffusionScoreEstimator"):
            broken.sample(2)
    assert not hasattr(est.set_params(conservative=True), "energy")


def test_the_round_that_was_kept_is_told():
    assert brief(learning_rate_init=1e-30).best_iter_ == 0
    est = DiffusionScoreEstimator(hidden_layer_sizes=(32, 32), max_iter=8, random_state=0)
    est.fit(MODES.sample(500, 0))
    best = np.argmax(est.validation_scores_) + 1
    assert est.best_iter_ == best
    assert est.validation_scores_[best - 1] == pytest.approx(est.best_validation_score_)


def test_rows_far_away_are_solved_in_as_few_steps_as_others(plane, monkeypatch):
    calls = []
    divergence = MLP.divergence
    monkeypatch.setattr(
        MLP, "divergence", lambda self, x, *rest: calls.append(len(x)) or divergence(self, x, *rest)
    )
    for distance in (1e6, 1e12):
        calls.clear()
        value = plane.score_samples([[distance, -distance]])
        assert value[0] < -(distance**2) / 100
        assert sum(calls) < 400


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_columns_beyond_the_levels_are_told_where_they_are_not_standardised(factor):
    est = DiffusionScoreEstimator(standardize=None, **BRIEF)
    with pytest.warns(NoiseRangeWarning, match="whose columns have standard deviations from"):
        est.fit(factor * X)


# -- columns that are normal one by one ----------------------------------------------------------

SKEWED = np.random.RandomState(5).lognormal(sigma=0.7, size=(600, 2)) @ [[1.0, 0.5], [0.0, 1.0]]


@pytest.fixture(scope="module", params=[1e-30, 0.003])
def curved(request):
    """An untrained model (a Gaussian copula), and a trained one, of skewed columns."""
    est = DiffusionScoreEstimator(
        standardize="normal", learning_rate_init=request.param, **{**BRIEF, "max_iter": 3}
    )
    return est.fit(SKEWED)


def differences(fn, rows, h=1e-5):
    """Gradients of a function of rows along the columns, the last axis."""
    steps = h * np.eye(rows.shape[1])
    return np.stack([(fn(rows + e) - fn(rows - e)) / (2 * h) for e in steps], axis=-1)


@pytest.mark.parametrize("sigma", [0.002, 0.5])
def test_the_untrained_score_is_the_gradient_of_the_law_pulled_back(sigma):
    est = DiffusionScoreEstimator(
        standardize="normal", n_components=0, learning_rate_init=1e-30, **BRIEF
    )
    z = est.fit(SKEWED)._standardizer

    def log_density(rows):
        return z.log_det(rows) - 0.5 * (z.transform(rows) ** 2).sum(1) / (1 + sigma**2)

    rows = SKEWED[:100]
    scores = est.score_function(rows, sigma)
    np.testing.assert_allclose(scores, differences(log_density, rows), rtol=1e-4, atol=1e-5)
    law = z.log_det(rows) - 0.5 * (z.transform(rows) ** 2).sum(1) - np.log(2 * np.pi)
    np.testing.assert_allclose(est.score_samples(rows), law, atol=1e-6)
    np.testing.assert_allclose(est.score_lower_bound(rows), law, atol=1e-5)


def test_divergences_of_curved_columns_are_those_of_the_score(curved):
    rows = SKEWED[:50]
    jacobians = differences(lambda x: curved.score_function(x, 0.5), rows)
    M = np.array([[2.0, 0.3], [0.3, 0.5]])
    each = M * np.linspace(1, 2, len(rows))[:, None, None]
    for metric in (None, M, each):
        expected = ((np.eye(2) if metric is None else metric) * jacobians).sum((1, 2))
        traces = curved.score_divergence(rows, 0.5, metric=metric)
        np.testing.assert_allclose(traces, expected, rtol=1e-4, atol=1e-3)


def test_the_criterion_of_curved_columns_is_that_of_the_score_in_input_space(curved):
    rows = SKEWED[:50]
    sigmas, scores, _ = curved.sigma_curve(rows)
    for k in (10, 30):
        s = curved.score_function(rows, sigmas[k])
        traces = curved.score_divergence(rows, sigmas[k], metric=curved.covariance_)
        expected = hyvarinen_score(s, traces, curved.covariance_)
        assert scores[k] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(curved.location_, SKEWED.mean(0))


def test_the_density_of_curved_columns_integrates_to_one(curved):
    axes = [np.exp(np.linspace(np.log(low), np.log(60), 160)) - 1e-3 for low in (1e-3, 1e-3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    density = np.exp(curved.score_samples(grid.reshape(-1, 2))).reshape(160, 160)
    mass = trapezoid(trapezoid(density, axes[1]), axes[0])
    assert mass == pytest.approx(1, abs=0.03)


def test_samples_and_denoised_rows_of_curved_columns_are_rows_of_the_law(curved):
    rows = curved.sample(4000, random_state=0)
    for column, own in zip(rows.T, SKEWED.T, strict=True):
        assert ks_2samp(column, own).statistic < 0.08
    near = curved.denoise(SKEWED[:20], curved.sigma_range_[0])
    np.testing.assert_allclose(near, SKEWED[:20], rtol=0.05, atol=0.02)


def test_energies_of_curved_columns_have_the_score_as_their_gradient():
    est = DiffusionScoreEstimator(conservative=True, standardize="normal", **BRIEF).fit(SKEWED)
    rows = SKEWED[:50]
    gradients = differences(est.energy, rows)
    np.testing.assert_allclose(-est.score_function(rows), gradients, rtol=1e-3, atol=1e-3)


def test_auto_keeps_a_ring_and_makes_skewed_columns_normal():
    ring = make_ring().sample(600, 0)
    est = DiffusionScoreEstimator(**BRIEF).fit(ring)
    assert est.standardize_ == "whiten"
    twin = DiffusionScoreEstimator(standardize="whiten", **BRIEF).fit(ring)
    np.testing.assert_array_equal(est.score_samples(ring[:20]), twin.score_samples(ring[:20]))
    wide = np.random.RandomState(6).lognormal(size=(600, 2))
    assert DiffusionScoreEstimator(**BRIEF).fit(wide).standardize_ == "normal"
    assert DiffusionScoreEstimator(**BRIEF).fit(wide[:50]).standardize_ == "whiten"
