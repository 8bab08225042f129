"""Reverse samplers against exact fields: Gaussian mixtures, whose every level is known.

On a Gaussian N(mean, tau^2) in one dimension every step is affine in the row and in the normals
that it draws.  Least squares on one call of ``step`` recovers the coefficients, and so the exact
law of what a sampler draws, without Monte-Carlo error.
"""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.stats import kstest
from sklearn.base import clone

from skscore._math import angles as _canonical
from skscore._math.gaussian import GaussianMixture
from skscore.noise import VarianceExploding, VariancePreserving, solver_angles
from skscore.samplers import (
    DDIM,
    REVERSE_SAMPLERS,
    AdamsFlow,
    Ancestral,
    AnnealedLangevin,
    DormandPrinceFlow,
    DPMSolverMultistep,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    ReverseSampler,
    RungeKuttaFlow,
    run_reverse,
)

SAMPLERS = {name: member() for name, member in REVERSE_SAMPLERS.items()} | {
    "ddim_half": DDIM(eta=0.5),
    "ddim_full": DDIM(eta=1.0),
    "heun_churn": Heun(churn=0.3),
}
each_sampler = pytest.mark.parametrize("name", SAMPLERS)
FLOWS = ["ddim", "adams", "heun", "dpm_solver", "rk4", "dormand_prince"]
each_flow = pytest.mark.parametrize("name", FLOWS)
WITH_ORDER = [name for name, sampler in SAMPLERS.items() if sampler.order]
ENDING_IN_THE_MEAN = [n for n, s in SAMPLERS.items() if type(s).finish is ReverseSampler.finish]
RIGHT, TAUS = math.pi / 2, [0.6, 2.0]
STEPS = [(RIGHT, 1.3), (1.4, 0.9), (0.8, 0.75), (0.1, 0.01)]
each_step = pytest.mark.parametrize(("theta", "theta_next"), STEPS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def angle(theta):
    return torch.full((1, 1), theta, dtype=torch.float64)


class Mixture:
    """``F(y, theta) = E[cos eps - sin x_0 | y]`` of a mixture of N(m_k, C_k), to theta = 0."""

    def __init__(self, weights, means, covariances):
        self.weights, self.means, self.covariances = (
            torch.as_tensor(v, dtype=torch.float64) for v in (weights, means, covariances)
        )
        self.spectra, self.axes = torch.linalg.eigh(self.covariances)

    def __call__(self, y, theta):
        weights, means, spectra, axes = (
            v.to(y.dtype) for v in (self.weights, self.means, self.spectra, self.axes)
        )
        cos, sin = theta.cos()[..., None], theta.sin()[..., None]
        variance = cos**2 * spectra + sin**2
        r = torch.einsum("kij,nki->nkj", axes, y[:, None] - cos * means)
        log_joint = weights.log() - 0.5 * (variance.log() + r**2 / variance).sum(2)
        inner = torch.einsum("kij,nkj->nki", axes, cos * (1 - spectra) / variance * r)
        return (log_joint.softmax(1)[..., None] * sin * (inner - means)).sum(1)

    def noised(self, theta):
        cos, eye = math.cos(theta), torch.eye(self.means.shape[1], dtype=torch.float64)
        covariances = cos**2 * self.covariances + math.sin(theta) ** 2 * eye
        return GaussianMixture(self.weights, cos * self.means, covariances)


def gaussian(tau, mean=0.0):
    return Mixture([1.0], [[mean]], [[[tau**2]]])


def point_mass(m):
    return lambda y, theta: (theta.cos() * y - m) / theta.sin()


CORRELATED = Mixture([1.0], [[1.0, -2.0]], [[[1.5, 0.9], [0.9, 0.8]]])
MODES = Mixture(
    [0.8, 0.2],
    [[-1.0, 0.5], [2.5, -1.0]],
    [[[0.3, 0.1], [0.1, 0.2]], [[0.15, -0.1], [-0.1, 0.3]]],
)


def whole(sampler, n_steps=None, sigma_max=80.0):
    """The default grid of a sampler: even in theta."""
    n_steps = n_steps or sampler.n_steps
    options = {"from_infinity": sampler.from_infinity}
    return solver_angles("theta", VariancePreserving(), n_steps, 0.002, sigma_max, **options)


def between(start, stop, n_steps):
    return [start + (stop - start) * k / n_steps for k in range(n_steps + 1)]


def draw(sampler, field, y, angles=None, seed=0, **options):
    angles, options["generator"] = angles or whole(sampler), seeded(seed)
    return run_reverse(sampler, field, y, angles, **options)


def walk(sampler, field, y, angles, seed=0):
    """The steps alone."""
    memory, generator = None, seeded(seed)
    for theta, theta_next in pairwise(angles):
        y, memory = sampler.step(field, y, theta, theta_next, memory, generator)
    return y


def affine(step):
    """``y -> a y + sum_i b_i z_i + c`` of a step on rows (n, 1): a, b and c."""
    y, generator = normal(16, 1), seeded(2)
    end = step(y, seeded(2))
    z = [torch.empty_like(y).normal_(generator=generator) for _ in range(6)]
    design = torch.cat([y, *z, torch.ones_like(y)], 1)
    solution = torch.linalg.lstsq(design, end).solution
    assert torch.allclose(design @ solution, end, atol=1e-9)
    a, *b, c = solution[:, 0].tolist()
    return a, np.array(b), c


def one_step(sampler, field, theta, theta_next):
    return affine(lambda y, g: sampler.step(field, y, theta, theta_next, None, g)[0])


def moved(sampler, field, mean, variance, angles, finish=None):
    """Exact mean and variance of Gaussian rows after steps, and a last one from `finish`."""
    if isinstance(sampler, AdamsFlow | DPMSolverMultistep):  # memory, no noise: two rows say all
        start = torch.tensor([[mean], [mean + variance**0.5]], dtype=torch.float64)
        y = walk(sampler, field, start, angles)
        y = y if finish is None else sampler.finish(field, y, finish)
        return y[0].item(), (y[1] - y[0]).item() ** 2
    steps = [one_step(sampler, field, *pair) for pair in pairwise(angles)]
    if finish is not None:
        steps.append(affine(lambda y, g: sampler.finish(field, y, finish)))
    for a, b, c in steps:
        mean, variance = a * mean + c, a**2 * variance + (b**2).sum()
    return mean, variance


def law_of_draws(sampler, tau, mean=0.0, angles=None, start=1.0):
    angles = angles or whole(sampler)
    return moved(sampler, gaussian(tau, mean), 0.0, start, angles[:-1], finish=angles[-2])


def variance_at(theta, tau):
    return math.cos(theta) ** 2 * tau**2 + math.sin(theta) ** 2


def assert_moments(draws, mean, covariance, n_errors=5):
    """Mean and covariance, within standard errors of them."""
    covariance = torch.as_tensor(covariance, dtype=draws.dtype)
    L = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(L, (draws - mean).T, upper=False).T
    eye = torch.eye(draws.shape[1], dtype=draws.dtype)
    assert white.mean(0).abs().max() < n_errors / len(draws) ** 0.5
    assert (white.T.cov() - eye).abs().max() < n_errors * (2 / len(draws)) ** 0.5


# -- the oracle -----------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [0.01, 0.8, 1.5])
@pytest.mark.parametrize("law", [CORRELATED, MODES])
def test_the_field_here_is_that_of_the_score_of_the_noised_mixture(law, theta):
    y, theta_ = 2 * normal(20, 2), angle(theta)
    expected = _canonical.field_from_score(law.noised(theta).score(y), y, theta_)
    assert torch.allclose(law(y, theta_), expected, atol=1e-10)
    assert torch.allclose(law(y, theta_.expand(20, 1)), expected, atol=1e-10)


# -- single steps ---------------------------------------------------------------------------


@each_step
@pytest.mark.parametrize("sampler", [Ancestral(), DDIM(1.0), DDIM(0.3), DDIM(0.0)], ids=repr)
def test_steps_draw_from_the_posterior_of_the_next_level_with_eta_times_its_noise(
    sampler, theta, theta_next
):
    # y = r y_next + noise as in the forward process: jointly Gaussian with y_next, given x_0 = m.
    m, eta, r = 0.7, getattr(sampler, "eta", 1.0), math.cos(theta) / math.cos(theta_next)
    v, v_next = math.sin(theta) ** 2, math.sin(theta_next) ** 2
    covariance = r * v_next
    a, b, c = one_step(sampler, point_mass(m), theta, theta_next)
    assert (b**2).sum() == pytest.approx(eta**2 * (v_next - covariance**2 / v), rel=1e-9)
    assert c == pytest.approx(m * (math.cos(theta_next) - a * math.cos(theta)), abs=1e-12)
    assert a**2 * v + (b**2).sum() == pytest.approx(v_next, rel=1e-9)  # whatever the eta
    assert eta < 1 or a == pytest.approx(covariance / v, abs=1e-12)


def langevin(v, h, tau2, n):
    """Variance after n steps ``y + h s + sqrt(2 h) z`` in N(0, tau2)."""
    for _ in range(n):
        v = (1 - h / tau2) ** 2 * v + 2 * h
    return v


@pytest.mark.parametrize(("theta", "theta_next"), STEPS[1:])
@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
def test_stochastic_steps_have_the_variance_of_their_formulas(theta, theta_next, tau):
    v, v_next = variance_at(theta, tau), variance_at(theta_next, tau)
    sin, field = math.sin(theta_next), gaussian(tau)

    def variance(sampler):
        return moved(sampler, field, 0.0, v, [theta, theta_next])[1]

    h = math.log(math.cos(theta_next)) - math.log(math.cos(theta))
    expected = (1 + h - 2 * h / v) ** 2 * v + 2 * h
    assert variance(EulerMaruyama()) == pytest.approx(expected, rel=1e-9)

    carried = (math.cos(theta_next) / math.cos(theta)) ** 2 * v
    for n, size in [(1, 0.1), (3, 0.2)]:
        expected = langevin(carried, size * sin**2, v_next, n)
        assert variance(AnnealedLangevin(n, size)) == pytest.approx(expected, rel=1e-9)
        expected = langevin(variance(Ancestral()), 2 * size**2 * sin**2, v_next, n)
        assert variance(PredictorCorrector(n, size)) == pytest.approx(expected, rel=1e-9)


def test_steps_of_the_flow_are_those_written_by_hand():
    y, theta = normal(9, 2), 1.1
    k1 = MODES(y, angle(theta))
    for end in (0.7, 0.0):
        h = end - theta
        second = MODES(y + h * k1, angle(end))
        k2 = MODES(y + h / 2 * k1, angle(theta + h / 2))
        k3 = MODES(y + h / 2 * k2, angle(theta + h / 2))
        k4 = MODES(y + h * k3, angle(end))
        fourth = (k1 + 2 * k2 + 2 * k3 + k4) / 6
        for sampler, slope in [(Heun(), (k1 + second) / 2), (RungeKuttaFlow(), fourth)]:
            ends = [sampler.step(MODES, y, theta, end, None, None)[0]]
            ends += [sampler.finish(MODES, y, theta)] if end == 0 else []
            assert all(torch.allclose(end, y + h * slope, atol=1e-13) for end in ends)


@pytest.mark.parametrize(("churn", "raised"), [(0.5, 1.2), (2.0, RIGHT), (1e9, RIGHT)])
def test_churn_raises_the_level_by_a_fraction_of_the_step_to_pi_2_at_most(churn, raised):
    asked, theta, theta_next = [], 1.0, 0.6

    def field(y, theta):  # F = 0: after the churn the rows stand still
        asked.append(theta.item())
        return 0 * y

    a, b, c = one_step(Heun(churn), field, theta, theta_next)
    assert asked == pytest.approx([raised, theta_next])
    assert a * math.cos(theta) == pytest.approx(math.cos(raised), abs=1e-12)
    variance = (a * math.sin(theta)) ** 2 + (b**2).sum()
    assert variance == pytest.approx(math.sin(raised) ** 2, rel=1e-12)
    assert c == pytest.approx(0.0, abs=1e-12)


@each_step
def test_the_first_step_of_dpm_solver_is_that_of_ddim(theta, theta_next):
    y = normal(9, 2)
    first, ddim = (
        SAMPLERS[name].step(MODES, y, theta, theta_next, None, seeded())[0]
        for name in ("dpm_solver", "ddim")
    )
    assert torch.allclose(first, ddim, atol=1e-12)


def test_dpm_solver_is_algorithm_2_of_its_paper():
    # DPM-Solver++(2M) of Lu et al. (2022), with alpha, sigma and lambda = log(alpha / sigma).
    y, angles = normal(9, 2), whole(EulerMaruyama(), 7)
    alpha, sigma = np.cos(angles), np.sin(angles)
    lam = np.log(alpha[:-1] / sigma[:-1])

    def model(x, i):
        law = MODES.noised(angles[i])
        return (x + sigma[i] ** 2 * law.score(x)) / alpha[i]

    x, denoised, states = y, [], [y]
    for i in range(1, 7):
        denoised.append(model(x, i - 1))
        D, h = denoised[-1], lam[i] - lam[i - 1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            D = (1 + 1 / (2 * r)) * denoised[-1] - 1 / (2 * r) * denoised[-2]
        x = sigma[i] / sigma[i - 1] * x - alpha[i] * math.expm1(-h) * D
        states.append(x)
    states.append(model(x, 6))
    path = draw(DPMSolverMultistep(), MODES, y, angles, keep_states=True)
    assert torch.allclose(path.states, torch.stack(states), atol=1e-9)


def test_even_steps_of_adams_have_the_weights_of_the_tables():
    # Hairer, Norsett and Wanner (1993), III.1: each slope where it was predicted, used twice.
    y, h = normal(9, 2), -0.1
    angles = [1.2 + k * h for k in range(6)]
    slopes, corrected, predicted = [], y, y
    for k, theta in enumerate(angles):
        slopes = [MODES(predicted, angle(theta)), *slopes]
        if k:
            moulton = [[1 / 2, 1 / 2], [5 / 12, 8 / 12, -1 / 12]][min(k - 1, 1)]
            corrected = corrected + h * sum(w * s for w, s in zip(moulton, slopes, strict=False))
        bashforth = [[1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12]][min(k, 2)]
        predicted = corrected + h * sum(w * s for w, s in zip(bashforth, slopes, strict=False))
    end = walk(AdamsFlow(), MODES, y, [*angles, angles[-1] + h])
    assert torch.allclose(end, predicted, atol=1e-12)


def test_steps_of_adams_may_have_any_length():
    """Their error falls as that of even ones where every step is cut in two."""
    y, errors = normal(10, 2), []
    truth = fine(MODES, y, 1.4, 0.2)
    for n in (64, 128):
        angles = [0.2 + 1.2 * (1 - k / n) ** 2 for k in range(n + 1)]
        errors.append((walk(AdamsFlow(), MODES, y, angles) - truth).abs().max().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.3)


def test_dpm_solver_hardly_extrapolates_from_infinity():
    # log tan(pi/2) is infinite: of two denoised rows, the first one is infinitely far away.
    y, angles = normal(9, 2), [RIGHT, 1.3, 1.0]
    second, plain = (walk(SAMPLERS[name], MODES, y, angles) for name in ("dpm_solver", "ddim"))
    first = walk(SAMPLERS["ddim"], MODES, y, angles[:2])
    D = _canonical.denoiser(MODES(first, angle(1.3)), first, angle(1.3))
    change = math.sin(0.3) / math.sin(1.3) * (D + MODES(y, angle(RIGHT)))  # D = -F at pi/2
    assert torch.allclose(second, plain + 0.0125 * change, atol=2e-3 * change.abs().max())


@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-8])
def test_dormand_prince_is_exact_to_its_tolerance_and_no_better(tol):
    y = normal(50, 2)
    truth = fine(MODES, y, RIGHT, 0.0)
    for n in (1, 3):
        sampler = DormandPrinceFlow(tol)
        error = (draw(sampler, MODES, y, whole(sampler, n)).draws - truth).norm(dim=1)
        assert 0.01 * tol < error.median()
        assert error.quantile(0.9) < 10 * tol  # a row between the modes is stretched by 85


@each_flow
def test_a_row_of_the_flow_does_not_see_the_others(name):
    y, sampler = normal(6, 2), SAMPLERS[name]
    other = torch.cat([y[:2], 5 * normal(7, 2, seed=3)])
    first, second = (draw(sampler, MODES, rows).draws[:2] for rows in (y, other))
    assert torch.allclose(first, second, atol=1e-12)


@each_sampler
def test_a_step_asks_the_field_as_often_as_it_says_and_a_flow_draws_no_noise(name):
    asked, sampler, generator = [], SAMPLERS[name], seeded()
    sampler.step(lambda y, t: asked.append(t.shape) or y, normal(5, 2), 1.0, 0.9, None, generator)
    assert set(asked) <= {(1, 1), (5, 1)}
    assert sampler.n_evaluations in (None, len(asked))
    assert torch.equal(generator.get_state(), seeded().get_state()) == (name in FLOWS)


# -- runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDING_IN_THE_MEAN)
def test_runs_of_any_length_that_end_in_the_posterior_mean_return_a_point_mass_exactly(name):
    sampler, m = SAMPLERS[name], torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    for n in (1, 2, 10):
        draws = draw(sampler, point_mass(m), normal(20, 2), whole(sampler, n)).draws
        assert torch.allclose(draws, m.expand(20, 2), atol=1e-11)


def test_ddim_with_all_of_the_noise_is_ancestral_draw_for_draw():
    a, b = (
        draw(sampler, MODES, normal(50, 2), between(RIGHT, 0.0, 20), keep_states=True).states
        for sampler in (DDIM(eta=1.0), Ancestral())
    )
    assert torch.equal(a, b)


@each_sampler
def test_draws_repeat_with_the_seed_and_depend_on_it_unless_the_sampler_is_a_flow(name):
    sampler = SAMPLERS[name]
    first, again, other = (
        draw(sampler, MODES, normal(5, 2), whole(sampler, 9), seed).draws for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in FLOWS)


@each_sampler
@pytest.mark.parametrize("n", [1, 2, 5])
def test_states_begin_with_the_noise_and_end_with_the_draws(name, n):
    sampler, y = SAMPLERS[name], normal(5, 2)
    before, angles = y.clone(), whole(SAMPLERS[name], n)
    path = draw(sampler, MODES, y, angles, keep_states=True)
    assert path.states.shape == (n + 1, 5, 2)
    assert torch.equal(path.states[0], y)
    assert torch.equal(path.states[-1], path.draws)
    assert torch.equal(path.states[-2], walk(sampler, MODES, y, angles[:-1]))
    plain = draw(sampler, MODES, y, angles)
    assert plain.states is None
    assert torch.equal(plain.draws, path.draws)
    assert torch.equal(y, before)


@each_sampler
def test_chunks_change_no_row_of_a_flow_and_lose_none_of_any(name, monkeypatch):
    sampler, y = SAMPLERS[name], normal(8, 2)
    angles = whole(sampler, 4)
    one, first = (draw(sampler, MODES, v, angles, keep_states=True).states for v in (y, y[:3]))
    monkeypatch.setattr("skscore.samplers._reverse._CHUNK", 3)
    many = draw(sampler, MODES, y, angles, keep_states=True)
    assert many.states.shape == (5, 8, 2)
    assert torch.equal(many.states[0], y)
    assert torch.equal(many.states[:, :3], first)
    assert torch.equal(many.draws, draw(sampler, MODES, y, angles).draws)
    if name in FLOWS:
        assert torch.allclose(many.states, one, atol=1e-12)


@each_sampler
def test_draws_are_plain_finite_float32_rows_from_pi_2_and_global_rng_is_untouched(name):
    before, slope = torch.get_rng_state(), torch.ones(2, requires_grad=True)
    sampler = SAMPLERS[name]
    draws = draw(sampler, lambda y, t: slope * MODES(y, t), normal(50, 2).float()).draws
    assert (draws.shape, draws.dtype, draws.requires_grad) == ((50, 2), torch.float32, False)
    assert draws.isfinite().all()
    assert draws.abs().max() < 10
    assert torch.equal(torch.get_rng_state(), before)


# -- parameters -----------------------------------------------------------------------------


@each_sampler
def test_parameters_survive_clone_and_a_run(name):
    sampler = SAMPLERS[name]
    before = sampler.get_params()
    copy = clone(sampler)
    assert type(copy) is type(sampler)
    assert copy.get_params() == before
    draw(copy, MODES, normal(2, 2), whole(copy, 3))
    assert copy.get_params() == before
    for key, value in before.items():
        assert clone(copy.set_params(**{key: value / 2})).get_params()[key] == value / 2


BAD = [float("nan"), float("inf"), -1, "long", None]
PARAMETERS = [
    (DDIM, "eta", "a number in the range [0.0, 1.0]", [*BAD, 2]),
    (Heun, "churn", "a number in the range [0.0, inf)", BAD),
    (AnnealedLangevin, "step_size", "a number in the range (0.0, inf)", [*BAD, 0]),
    (AnnealedLangevin, "n_corrections", "an int in the range [1, inf)", [*BAD, 0, 1.5]),
    (PredictorCorrector, "snr", "a number in the range (0.0, inf)", [*BAD, 0]),
    (PredictorCorrector, "n_corrections", "an int in the range [1, inf)", [*BAD, 0, 1.5]),
    (DormandPrinceFlow, "tol", "a number in the range (0.0, inf)", [*BAD, 0]),
]


def test_every_parameter_has_a_range_here():
    listed = {(member, name) for member, name, *_ in PARAMETERS}
    assert listed == {(m, n) for m in REVERSE_SAMPLERS.values() for n in m().get_params()}


@pytest.mark.parametrize(("member", "name", "legal", "values"), PARAMETERS)
def test_bad_parameters_are_refused_by_name_range_and_value(member, name, legal, values):
    for value in values:
        sampler = member(**{name: value})  # the constructor only stores
        message = f"The {name!r} parameter of {member.__name__} must be {legal}. Got {value!r}"
        with pytest.raises(ValueError, match=re.escape(message + " instead.")):
            draw(sampler, MODES, normal(2, 2))


# -- the law of the draws -------------------------------------------------------------------


@each_sampler
def test_draws_of_a_gaussian_have_the_exact_law_of_the_steps_which_is_the_truth_but_for_a_bias(
    name,
):
    sampler = SAMPLERS[name]
    angles, axes = whole(sampler, min(4 * sampler.n_steps, 200)), CORRELATED.axes[0]
    means, variances = (CORRELATED.means[0] @ axes).tolist(), CORRELATED.spectra[0].tolist()
    exact = list(zip(means, variances, strict=True))
    if name != "dormand_prince":  # its steps are not affine, and exact to their tolerance
        exact = [law_of_draws(sampler, v**0.5, m, angles) for m, v in exact]
    draws = draw(sampler, CORRELATED, normal(6_000, 2), angles).draws
    mean, variance = torch.tensor(exact, dtype=torch.float64).T
    assert_moments(draws @ axes, mean, variance.diag())  # free of each other along the axes
    assert mean.tolist() == pytest.approx(means, abs=0.03)
    bias = 0.06 if name == "annealed_langevin" else 0.05
    assert variance.tolist() == pytest.approx(variances, rel=bias)


def too_wide(sampler, n_steps=200, grid="karras", tau=0.5):
    """The ratio of the variance of draws to that of N(0, tau^2)."""
    process = VarianceExploding()
    angles = solver_angles(grid, process, n_steps, 0.002, 80.0, from_infinity=False)
    return law_of_draws(sampler, tau, angles=angles)[1] / tau**2


@pytest.mark.parametrize("tau", [0.1, 2.0])
@pytest.mark.parametrize("grid", ["karras", "lognormal", "loguniform"])
def test_annealed_langevin_is_hardly_too_wide_by_default(grid, tau):
    assert 1.0 < too_wide(AnnealedLangevin(), grid=grid, tau=tau) < 1.065


def test_annealed_langevin_has_the_bias_that_its_notes_state():
    assert too_wide(AnnealedLangevin()) == pytest.approx(1.04, abs=0.005)
    assert too_wide(AnnealedLangevin(), 400) == pytest.approx(1.02, abs=0.005)
    assert too_wide(AnnealedLangevin(step_size=0.1)) == pytest.approx(1.16, abs=0.005)


@each_sampler
def test_rows_of_noise_stay_standard_normal_but_for_the_bias_of_the_steps(name):
    sampler, y = SAMPLERS[name], normal(2_500, 2)
    draws = draw(sampler, lambda y, theta: 0 * y, y).draws
    kept = isinstance(sampler, AdamsFlow | Heun | RungeKuttaFlow | DormandPrinceFlow)
    variance = 1.0 if kept else law_of_draws(sampler, 1.0)[1]
    assert variance == pytest.approx(1.0, abs=0.11)
    assert_moments(draws, 0.0, variance * torch.eye(2))
    assert kstest(draws.flatten() / variance**0.5, "norm").pvalue > 1e-3
    assert torch.equal(draws, y) == (kept and name in FLOWS)


@each_sampler
def test_modes_have_their_weights_means_and_covariances(name):
    sampler, y = SAMPLERS[name], normal(8_000, 2)
    draws = draw(sampler, MODES, y, whole(sampler, min(4 * sampler.n_steps, 200))).draws
    second = draws[:, 0] > 1.0
    assert second.double().mean().item() == pytest.approx(0.2, abs=0.02)
    for k, rows in enumerate([draws[~second], draws[second]]):
        assert (rows.mean(0) - MODES.means[k]).abs().max() < 0.05
        ratios = torch.linalg.eigvals(torch.linalg.solve(MODES.covariances[k], rows.T.cov()))
        assert (ratios - 1).abs().max() < 0.15


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("name", WITH_ORDER)
def test_error_of_the_variance_falls_with_the_declared_order(name, tau):
    sampler, errors = SAMPLERS[name], []
    for n in (32, 64) if sampler.order == 4 else (128, 256):
        angles = between(1.4, 0.5, n)
        end = moved(sampler, gaussian(tau), 0.0, variance_at(1.4, tau), angles)[1]
        errors.append(end - variance_at(0.5, tau))
    assert math.log2(abs(errors[0] / errors[1])) == pytest.approx(sampler.order, abs=0.1)


@pytest.mark.parametrize("name", WITH_ORDER)
def test_error_of_whole_runs_falls_with_the_declared_order(name):
    # dpm_solver loses a logarithm between pi/2 and its first angles.
    sampler, tau, errors = SAMPLERS[name], 2.0, []
    for n in (16, 32) if sampler.order == 4 else (256, 512):
        angles = whole(sampler, n, 1e8 if sampler.from_infinity else 80.0)
        end = law_of_draws(sampler, tau, angles=angles, start=variance_at(angles[0], tau))[1]
        errors.append(end - tau**2)
    assert math.log2(abs(errors[0] / errors[1])) > sampler.order - 0.25


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize(
    ("sampler", "size"), [(AnnealedLangevin(2, 0.1), 0.1), (PredictorCorrector(2, 0.2), 0.08)]
)
def test_langevin_steps_keep_their_own_bias_however_close_the_angles(sampler, size, tau):
    v, h, angles = variance_at(0.9, tau), size * math.sin(0.9) ** 2, between(0.9, 0.9 - 1e-9, 150)
    reached = moved(sampler, gaussian(tau), 0.0, v, angles)[1]
    assert reached == pytest.approx(v / (1 - h / (2 * v)), rel=1e-6)
    assert sampler.order is None


def fine(field, y, start, stop):
    def slope(t, flat):
        return field(torch.from_numpy(flat).reshape(y.shape), angle(t)).flatten().numpy()

    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    solution = solve_ivp(slope, (start, stop), y.flatten().numpy(), **options)
    return torch.from_numpy(solution.y[:, -1]).reshape(y.shape)


@pytest.mark.parametrize("name", [name for name in FLOWS if name in WITH_ORDER])
def test_error_on_a_mixture_falls_with_the_declared_order(name):
    sampler, y = SAMPLERS[name], normal(10, 2)
    truth = fine(MODES, y, 1.4, 0.2)
    ns = (32, 64) if sampler.order == 4 else (256, 512)
    ends = [walk(sampler, MODES, y, between(1.4, 0.2, n)) for n in ns]
    errors = [(end - truth).abs().max().item() for end in ends]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(sampler.order, abs=0.3)


@each_flow
def test_states_of_the_flow_have_the_covariance_of_their_angle(name):
    # Four rows with exactly the moments of N(0, I), which an affine map carries exactly.
    sampler, eye = SAMPLERS[name], torch.eye(2, dtype=torch.float64)
    angles = whole(sampler, 200 if name == "ddim" else 60)
    states = draw(sampler, CORRELATED, 2**0.5 * torch.cat([eye, -eye]), angles, keep_states=True)
    for theta, rows in zip(angles, states.states, strict=True):
        law = CORRELATED.noised(theta)
        error = rows.T.cov(correction=0) @ law._precisions[0] - eye
        assert error.abs().max() < (0.05 if name == "ddim" else 0.01)
        assert (rows.mean(0) - law.means[0]).abs().max() < 0.02
