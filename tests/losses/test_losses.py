"""Every identity of the objectives, held exactly on Gaussians.

With a linear score all of them are quadratic in the rows, in the noise and in the directions, so
a small design with exactly the moments of the law gives the expectation itself.
"""

import inspect
import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skscore import losses
from skscore._math.gaussian import GaussianMixture
from skscore.losses import (
    PROJECTIONS,
    DenoisingAutoencoder,
    DenoisingScoreMatching,
    DiffusionScoreMatching,
    ExplicitScoreMatching,
    FiniteDifferenceSlicedScoreMatching,
    ImplicitScoreMatching,
    Loss,
    SlicedScoreMatching,
)
from skscore.noise import (
    PROCESSES,
    SCHEDULES,
    WEIGHTINGS,
    GaussianNoise,
    StraightFlow,
    VarianceExploding,
    VariancePreserving,
)

SLICED = [SlicedScoreMatching, FiniteDifferenceSlicedScoreMatching]
each_sliced = pytest.mark.parametrize("loss_class", SLICED)
each_projection = pytest.mark.parametrize("projection", PROJECTIONS)
each_reduction = pytest.mark.parametrize("variance_reduction", [True, False])
each_pairing = pytest.mark.parametrize("antithetic", [True, False])
dimensions, seeds, sigmas = st.integers(1, 6), st.integers(0, 10_000), st.floats(0.05, 3.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def eye(d):
    return torch.eye(d, dtype=torch.float64)


def cross(d):
    """2d rows with exactly the mean and covariance of N(0, I)."""
    return d**0.5 * torch.cat([eye(d), -eye(d)])


def linear(A, b):
    return lambda x: -(x - b) @ A.T


def denoiser(score, sigma):
    return lambda x: x + sigma**2 * score(x)


class Problem:
    """A random Gaussian, rows with exactly its moments, and a random linear score ``-A(x - b)``."""

    def __init__(self, d, seed):
        factor, self.A, vectors = normal(d, 2 * d + 2, seed=seed).split([d, d, 2], 1)
        self.d, (self.mean, self.b) = d, vectors.T
        self.covariance = factor @ factor.T / d + 0.1 * eye(d)
        self.x = self.mean + cross(d) @ torch.linalg.cholesky(self.covariance).T
        self.model = linear(self.A, self.b)

    def precision(self, sigma=0.0):
        return torch.linalg.inv(self.covariance + sigma**2 * eye(self.d))

    def truth(self, sigma=0.0):
        return linear(self.precision(sigma), self.mean)


class MatchedNoise(GaussianNoise):
    """Gaussian noise that, over the 2d copies of a row, has exactly the moments of its law."""

    def sample(self, x, generator=None):
        eps = cross(x.shape[1])
        return x + self.sigma * eps.repeat(len(x) // len(eps), 1)


def copies(x):
    return x.repeat_interleave(2 * x.shape[1], 0)


@pytest.fixture(autouse=True)
def _all_sign_vectors_are_a_projection(monkeypatch):
    def signs(empty, generator):
        vectors = list(itertools.product((-1.0, 1.0), repeat=empty.shape[-1]))
        return torch.tensor(vectors, dtype=empty.dtype)[:, None, :].expand_as(empty)

    monkeypatch.setitem(PROJECTIONS, "signs", signs)


def over_all_signs(loss_class, d, variance_reduction):
    options = {"projection": "signs", "variance_reduction": variance_reduction}
    return loss_class(n_projections=2**d, **options)


def sliced(loss_class, reduction):
    return lambda p, s, sigma: over_all_signs(loss_class, p.d, reduction)(s, p.x).mean()


def denoising(p, score, sigma):
    return DenoisingScoreMatching(MatchedNoise(sigma))(score, copies(p.x)).mean()


def autoencoding(p, score, sigma):
    D = denoiser(score, sigma)
    return DenoisingAutoencoder(MatchedNoise(sigma))(D, copies(p.x)).mean()


# Expectation of each objective, and whether its truth is the noised law.
OBJECTIVES = {
    "explicit": (lambda p, s, sigma: ExplicitScoreMatching(p.truth())(s, p.x).mean(), False),
    "implicit": (lambda p, s, sigma: ImplicitScoreMatching()(s, p.x).mean(), False),
    **{f"{c.__name__}, {r}": (sliced(c, r), False) for c in SLICED for r in (True, False)},
    "denoising": (denoising, True),
    "autoencoder": (autoencoding, True),
}
each_objective = pytest.mark.parametrize(
    ("objective", "noised"), OBJECTIVES.values(), ids=OBJECTIVES
)


def close(actual, expected, tolerance=1e-8):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def assert_mean(values, expected):
    """Mean over the first axis within five standard errors."""
    standard_error = values.std(0) / len(values) ** 0.5
    assert ((values.mean(0) - expected).abs() <= 5 * standard_error).all()


# The identities


@given(dimensions, seeds)
def test_explicit_is_half_the_mean_square_of_the_error(d, seed):
    p = Problem(d, seed)
    E, bias = p.A - p.precision(), p.A @ (p.mean - p.b)
    value = ExplicitScoreMatching(p.truth())(p.model, p.x).mean()
    close(value, 0.5 * ((E @ p.covariance @ E.T).trace() + bias @ bias))
    close(ExplicitScoreMatching(p.truth())(p.truth(), p.x), torch.zeros(2 * d).double())


@given(dimensions, seeds)
def test_implicit_equals_explicit_minus_half_mean_square_of_the_truth(d, seed):
    p = Problem(d, seed)
    implicit = ImplicitScoreMatching()(p.model, p.x).mean()
    explicit = ExplicitScoreMatching(p.truth())(p.model, p.x).mean()
    close(implicit, explicit - 0.5 * p.truth()(p.x).square().sum(1).mean())
    close(ImplicitScoreMatching()(p.truth(), p.x).mean(), -0.5 * p.precision().trace())


@each_sliced
@each_reduction
@settings(max_examples=30)
@given(dimensions, seeds)
def test_sliced_over_all_signs_is_implicit_row_by_row(loss_class, variance_reduction, d, seed):
    p = Problem(d, seed)
    values = over_all_signs(loss_class, d, variance_reduction)(p.model, p.x)
    close(values, ImplicitScoreMatching()(p.model, p.x))


@each_projection
@pytest.mark.parametrize("n_projections", [1, 3])
@each_reduction
def test_sliced_has_the_expectation_implicit(projection, n_projections, variance_reduction):
    p, n = Problem(3, 0), 20_000
    loss = SlicedScoreMatching(n_projections, projection, variance_reduction)
    with torch.no_grad():
        values = loss(p.model, p.x.repeat(n, 1), generator=seeded()).reshape(n, -1)
        assert_mean(values, ImplicitScoreMatching()(p.model, p.x))


@each_sliced
@each_projection
@each_reduction
def test_sliced_is_its_formula_in_the_directions(loss_class, projection, variance_reduction):
    p, m = Problem(3, 0), 2
    v = PROJECTIONS[projection](p.x.new_empty(m, *p.x.shape), seeded())
    s = p.model(p.x)
    squares = s.square().sum(1) if variance_reduction else (v * s).sum(2).square()
    expected = (0.5 * squares - torch.einsum("mni,ij,mnj->mn", v, p.A, v)).mean(0)
    options = {"n_projections": m, "projection": projection}
    loss = loss_class(variance_reduction=variance_reduction, **options)
    close(loss(p.model, p.x, generator=seeded()), expected)


@each_projection
def test_directions_have_the_identity_as_second_moment(projection):
    v = PROJECTIONS[projection](torch.empty(40_000, 3, dtype=torch.float64), seeded())
    assert_mean(v[:, :, None] * v[:, None, :], eye(3))
    if projection == "rademacher":
        assert torch.equal(v.abs(), torch.ones_like(v))
    if projection == "sphere":
        close(v.square().sum(1), torch.full((len(v),), 3.0).double())


@each_pairing
@given(dimensions, seeds, sigmas)
def test_denoising_is_explicit_on_the_noised_law_plus_a_constant(antithetic, d, seed, sigma):
    p, noise = Problem(d, seed), MatchedNoise(sigma)
    loss = DenoisingScoreMatching(noise, antithetic=antithetic)
    explicit, noisy = ExplicitScoreMatching(p.truth(sigma)), noise.sample(copies(p.x))
    constant = d / (2 * sigma**2) - 0.5 * p.precision(sigma).trace()
    for model in (p.model, linear(p.A.T, -p.b), p.truth(), p.truth(sigma)):
        close(loss(model, copies(p.x)).mean() - explicit(model, noisy).mean(), constant)


@each_pairing
def test_denoising_with_drawn_noise_has_its_closed_form_expectation(antithetic):
    p, sigma, n = Problem(3, 1), 0.4, 40_000
    loss = DenoisingScoreMatching(GaussianNoise(sigma), antithetic=antithetic)
    values = loss(p.model, p.x.repeat(n, 1), generator=seeded()).reshape(n, -1)
    slope = eye(3) / sigma - sigma * p.A  # of the error in eps
    assert_mean(values, 0.5 * (p.model(p.x).square().sum(1) + slope.square().sum()))


@each_pairing
@given(dimensions, seeds, sigmas)
def test_autoencoder_is_sigma_to_the_fourth_times_denoising(antithetic, d, seed, sigma):
    p, noise = Problem(d, seed), GaussianNoise(sigma)
    scored = DenoisingScoreMatching(noise, antithetic=antithetic)
    rebuilt = DenoisingAutoencoder(noise, antithetic=antithetic)
    values = rebuilt(denoiser(p.model, sigma), p.x, generator=seeded(seed))
    close(values / sigma**4, scored(p.model, p.x, generator=seeded(seed)))


@each_pairing
@given(seeds, sigmas)
def test_sigma2_weighting_multiplies_by_sigma_squared(antithetic, seed, sigma):
    p, noise = Problem(3, seed), GaussianNoise(sigma)
    plain, weighted = (
        DenoisingScoreMatching(noise, name, antithetic)(p.model, p.x, generator=seeded(seed))
        for name in (None, "sigma2")
    )
    close(weighted, sigma**2 * plain)


# What is learnt


@each_objective
@settings(max_examples=15)
@given(dimensions, seeds)
def test_the_minimiser_over_linear_scores_is_the_score_of_its_law(objective, noised, d, seed):
    p, sigma = Problem(d, seed), 0.5
    A = p.precision(sigma if noised else 0.0).requires_grad_()
    b = p.mean.clone().requires_grad_()
    lowest = objective(p, linear(A, b), sigma)
    for slope in torch.autograd.grad(lowest, (A, b)):
        close(slope, torch.zeros_like(slope))
    for k in range(5):
        dA, db = (0.1 * normal(*parameter.shape, seed=k) for parameter in (A, b))
        assert objective(p, linear(A + dA, b), sigma) > lowest
        assert objective(p, linear(A, b + db), sigma) > lowest


@each_objective
@settings(max_examples=15)
@given(dimensions, seeds)
def test_the_true_sign_beats_the_reversed_one(objective, noised, d, seed):
    p, sigma = Problem(d, seed), 0.5
    truth = p.truth(sigma if noised else 0.0)
    assert objective(p, truth, sigma) < objective(p, lambda x: -truth(x), sigma)


def test_antithetic_pairs_cut_the_variance_of_the_denoising_gradient():
    P = eye(2).requires_grad_()

    def gradient_variance(antithetic):
        loss = DenoisingScoreMatching(GaussianNoise(0.01), antithetic=antithetic)
        x = normal(64, 2).repeat(1 if antithetic else 2, 1)  # 128 noisy rows in both
        values = [loss(lambda x: -x @ P, x, generator=seeded(k)).mean() for k in range(50)]
        return torch.stack([torch.autograd.grad(v, P)[0] for v in values]).var(0).mean()

    assert gradient_variance(False) > 10 * gradient_variance(True)


CURVED = GaussianMixture(
    torch.tensor([0.4, 0.6]).double(), normal(2, 2, seed=5), torch.stack([eye(2), 0.5 * eye(2)])
).score


@each_projection
@each_reduction
def test_finite_differences_converge_with_the_square_of_the_step(projection, variance_reduction):
    def values(loss_class, **options):
        options |= {"projection": projection, "variance_reduction": variance_reduction}
        loss = loss_class(n_projections=2, **options)
        return loss(CURVED, normal(20, 2), generator=seeded()).detach()

    exact = values(SlicedScoreMatching)
    errors = [
        (values(FiniteDifferenceSlicedScoreMatching, step=h) - exact).norm()
        for h in (0.08, 0.04, 0.02, 0.01)
    ]
    orders = -torch.stack(errors).log2().diff()
    assert ((orders - 2).abs() < 0.1).all()


# Diffusion: the same at levels drawn for every row

each_schedule = pytest.mark.parametrize("levels", SCHEDULES)
each_weighting = pytest.mark.parametrize("weighting", WEIGHTINGS)


def score_of(field, sigma):
    """The score at one level of a field F, by the table of skscore._math.angles."""
    cos = 1 / math.sqrt(1 + sigma**2)
    theta = torch.full((1, 1), math.atan(sigma), dtype=torch.float64)
    return lambda x: -cos * (cos * x + field(cos * x, theta) / sigma)


def curved_field(y, theta):
    return theta.cos() * y.sin() + theta.sin() * y.flip(1)


@each_pairing
@each_schedule
@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_diffusion_at_a_single_level_is_denoising_of_its_score(antithetic, levels, sigma):
    x, ends = normal(8, 2), (sigma * (1 - 1e-9), sigma * (1 + 1e-9))
    loss = DiffusionScoreMatching(StraightFlow(), *ends, levels, "sigma2", antithetic)
    values, generator = loss(curved_field, x, generator=seeded()), seeded()
    loss.draw_angles(x, generator)  # what the noise is drawn after
    denoising = DenoisingScoreMatching(GaussianNoise(sigma), "sigma2", antithetic)
    expected = denoising(score_of(curved_field, sigma), x, generator=generator)
    close(values, expected, 1e-6)


@each_weighting
def test_diffusion_is_its_formula_in_the_angles_and_the_noise(weighting):
    x, seen = normal(8, 2), []

    def field(y, theta):
        seen.extend((y, theta))
        return curved_field(y, theta)

    loss = DiffusionScoreMatching(StraightFlow(), 0.1, 5.0, "karras", weighting, antithetic=False)
    values = loss(field, x, generator=seeded())
    y, theta = seen
    assert theta.shape == (8, 1)
    eps = (y - theta.cos() * x) / theta.sin()
    error = curved_field(y, theta) - (theta.cos() * eps - theta.sin() * x)
    sigma = theta.tan()[:, 0]
    rate = 7 * (5 ** (1 / 7) - 0.1 ** (1 / 7)) / sigma ** (1 / 7)  # d log sigma / du of karras
    factor = {"sigma2": sigma**2, "likelihood": 2 * sigma**2 * rate}.get(
        weighting, sigma**2 + sigma**4
    )
    close(values, 0.5 * factor / (sigma**2 + sigma**4) * error.square().sum(1))
    close(loss.draw_angles(x, seeded())[0], theta)


@each_weighting
def test_angles_and_weights_hold_no_graph(weighting):
    loss = DiffusionScoreMatching(VariancePreserving(), weighting=weighting)
    assert not any(v.requires_grad for v in loss.draw_angles(normal(5, 2), seeded()))


def test_antithetic_pairs_of_a_row_share_its_angle():
    x, seen = normal(8, 2), []
    loss = DiffusionScoreMatching(StraightFlow())
    loss(lambda y, theta: seen.extend((y, theta)) or y, x, generator=seeded())
    (y_plus, y_minus), (theta, again) = (v.split(8) for v in seen)
    assert torch.equal(theta, again)
    close(y_plus + y_minus, 2 * theta.cos() * x)


def test_antithetic_is_the_mean_over_both_signs_of_the_noise():
    x, seen = normal(8, 2), []

    def field(y, theta):
        seen.append(y)
        return curved_field(y, theta)

    pairs = DiffusionScoreMatching(StraightFlow())(field, x, generator=seeded())
    plain = DiffusionScoreMatching(StraightFlow(), antithetic=False)
    theta, weights = plain.draw_angles(x, seeded())
    total = torch.zeros(8).double()
    for y in seen[0].split(8):
        v = (theta.cos() * y - x) / theta.sin()  # the field of a point mass at the row
        total += 0.5 * weights[:, 0] * (curved_field(y, theta) - v).square().sum(1)
    close(pairs, total / 2)
    half = plain(curved_field, x, generator=seeded())
    assert not torch.allclose(half, pairs)


@pytest.mark.parametrize("weighting", [None, *WEIGHTINGS])
@pytest.mark.parametrize("levels", [None, *SCHEDULES])
@pytest.mark.parametrize("process", PROCESSES)
def test_levels_and_weighting_of_none_are_those_of_the_process(process, levels, weighting):
    process, x = PROCESSES[process](), normal(8, 2)
    named = DiffusionScoreMatching(
        process, 0.01, 50.0, levels or process.levels, weighting or process.weighting
    )
    silent = DiffusionScoreMatching(process, 0.01, 50.0, levels, weighting)
    for a, b in zip(silent.draw_angles(x, seeded()), named.draw_angles(x, seeded()), strict=True):
        assert torch.equal(a, b)


@each_schedule
def test_a_callable_weighting_is_a_function_of_the_level(levels):
    x = normal(8, 2)
    for name, weighting in (("sigma2", torch.square), ("edm", lambda s: s**2 * (1 + s**2))):
        named, called = (
            DiffusionScoreMatching(VariancePreserving(), levels=levels, weighting=w)
            for w in (name, weighting)
        )
        close(draw(called, x), draw(named, x))


@each_schedule
@pytest.mark.parametrize("n", [1, 2, 50])
def test_angles_of_a_batch_fall_one_in_each_of_as_many_equal_parts(levels, n):
    process = VariancePreserving()
    loss = DiffusionScoreMatching(process, 0.01, 50.0, levels)
    cuts = SCHEDULES[levels](torch.arange(n + 1).double() / n, process, 0.01, 50.0)
    for seed in range(3):
        theta, weights = loss.draw_angles(normal(n, 2), seeded(seed))
        assert theta.shape == weights.shape == (n, 1)
        theta = theta.flatten().sort()[0]
        assert (cuts[:-1] <= theta + 1e-9).all()
        assert (theta <= cuts[1:] + 1e-9).all()


def test_a_row_has_a_level_of_any_part_and_any_place_in_it():
    loss = DiffusionScoreMatching(StraightFlow(), 0.01, 50.0, "theta")
    generator, x = seeded(), normal(4, 2)
    theta = torch.cat([loss.draw_angles(x, generator)[0].T for _ in range(2000)])
    low, high = math.atan(0.01), math.atan(50.0)
    u = (theta - low) / (high - low)
    assert_mean(u, torch.full((4,), 0.5).double())
    assert_mean(u**2, torch.full((4,), 1 / 3).double())
    assert_mean((4 * u % 1) ** 2, torch.full((4,), 1 / 3).double())


def integral(d, squares, sigma_min, sigma_max):
    """``int cot(theta) E |v|^2 dtheta`` of a row, the loss of F = 0 (see lower_bound)."""
    low, high = (sigma**2 / (1 + sigma**2) for sigma in (sigma_min, sigma_max))
    return 0.5 * d * (math.log(high / low) - (high - low)) + 0.5 * squares * (high - low)


@each_schedule
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("ends", [(0.02, 8.0), (0.3, 50.0)])
def test_likelihood_weighting_makes_the_same_integral_of_any_levels(levels, process, ends):
    # The mean of |v|^2 over the noise is exact, over the levels it is the rule of midpoints.
    d, squares, x = 3, 5.0, normal(4000, 3)
    loss = DiffusionScoreMatching(PROCESSES[process](), *ends, levels, "likelihood")
    values = []
    for seed in range(4):
        theta, weights = loss.draw_angles(x, seeded(seed))
        values.append(0.5 * (weights * (d * theta.cos() ** 2 + squares * theta.sin() ** 2)).mean())
    close(torch.stack(values).mean(), torch.tensor(integral(d, squares, *ends)).double(), 5e-3)


@each_schedule
@each_pairing
def test_likelihood_loss_of_no_field_has_its_closed_form(levels, antithetic):
    x = normal(1, 3).expand(10_000, 3)
    process, ends = VariancePreserving(), (0.02, 8.0)
    loss = DiffusionScoreMatching(process, *ends, levels, "likelihood", antithetic)
    values = loss(lambda y, theta: 0 * y, x, generator=seeded())
    assert_mean(values, integral(3, x[0].square().sum().item(), *ends))


def gaussian_field(mean, variance):
    def field(y, theta):
        cos, sin = theta.cos(), theta.sin()
        slope = cos * sin * (1 - variance) / (cos**2 * variance + sin**2)
        return slope * (y - cos * mean) - sin * mean

    return field


def two_points(y, theta):
    """The field of rows that are all ones or all minus ones, in one dimension."""
    cos, sin = theta.cos(), theta.sin()
    return (cos * y - torch.tanh(cos * y / sin**2)) / sin


MEAN, VARIANCE = torch.tensor([1.0, -0.5]).double(), torch.tensor([0.3, 2.0]).double()
EXACT = {
    "gaussian": (gaussian_field(MEAN, VARIANCE), MEAN + VARIANCE.sqrt() * normal(10_000, 2)),
    "two points": (
        two_points,
        torch.ones(10_000, 1).double() * torch.tensor([1.0, -1.0]).repeat(5000)[:, None],
    ),
}


@pytest.mark.parametrize("law", EXACT)
@each_weighting
@each_schedule
def test_the_exact_field_minimises_the_diffusion_loss(law, weighting, levels):
    # Along F + a f the loss is a parabola in a: its slope at the exact F is zero for every f.
    field, x = EXACT[law]
    directions = {
        "shift": lambda y, theta: torch.ones_like(y),
        "scale": lambda y, theta: y,
        "level": lambda y, theta: theta.sin() * y.sin(),
    }
    amounts = torch.zeros(len(x), 3, dtype=torch.float64, requires_grad=True)

    def perturbed(y, theta):
        a = amounts.repeat(len(y) // len(x), 1)
        parts = [a[:, [k]] * f(y, theta) for k, f in enumerate(directions.values())]
        return field(y, theta) + sum(parts)

    loss = DiffusionScoreMatching(StraightFlow(), 0.05, 20.0, levels, weighting)
    value = loss(perturbed, x, generator=seeded())
    (slopes,) = torch.autograd.grad(value.sum(), amounts)
    assert_mean(slopes, torch.zeros(3).double())
    for f in directions.values():
        for amount in (0.5, -0.5):
            worse = loss(
                lambda y, t, f=f, a=amount: field(y, t) + a * f(y, t), x, generator=seeded()
            )
            assert worse.mean() > value.mean()


def test_antithetic_pairs_cut_the_variance_of_the_diffusion_gradient():
    a = torch.zeros(1, dtype=torch.float64, requires_grad=True)

    def gradient_variance(antithetic):
        loss = DiffusionScoreMatching(StraightFlow(), 0.01, 0.1, antithetic=antithetic)
        x = normal(64, 2).repeat(1 if antithetic else 2, 1)
        values = [loss(lambda y, t: a * y, x, generator=seeded(k)).mean() for k in range(50)]
        return torch.cat([torch.autograd.grad(v, a)[0] for v in values]).var()

    assert gradient_variance(False) > 10 * gradient_variance(True)


def test_range_of_a_diffusion_loss_is_by_default_that_of_the_processes():
    process = VarianceExploding()
    params = DiffusionScoreMatching(process).get_params()
    assert {name: params[name] for name in process.get_params()} == process.get_params()


def test_process_of_a_diffusion_loss_is_a_nested_parameter():
    loss = DiffusionScoreMatching(VariancePreserving())
    copy = clone(loss).set_params(process__beta_max=5.0)
    assert (loss.process.beta_max, copy.get_params()["process__beta_max"]) == (20.0, 5.0)
    fresh = DiffusionScoreMatching(VariancePreserving(beta_max=5.0))
    assert torch.equal(draw(copy, normal(5, 2)), draw(fresh, normal(5, 2)))


# Laws over every loss

EVERY_LOSS = [
    ExplicitScoreMatching(torch.neg),
    ImplicitScoreMatching(),
    *(c(projection=name, n_projections=2) for c in SLICED for name in PROJECTIONS),
    *(c(variance_reduction=False) for c in SLICED),
    DenoisingScoreMatching(GaussianNoise(0.3)),
    DenoisingScoreMatching(GaussianNoise(0.3), "sigma2", antithetic=False),
    DenoisingAutoencoder(GaussianNoise(0.3)),
    DiffusionScoreMatching(VarianceExploding()),
    DiffusionScoreMatching(StraightFlow(), 0.01, 3.0, "karras", "likelihood", antithetic=False),
]


def stable_name(loss):
    """Its repr without the address of a function, so that parallel runs agree on it."""
    return repr(loss).partition(" at 0x")[0]


each_loss = pytest.mark.parametrize("loss", EVERY_LOSS, ids=stable_name)


def at_all_levels(field):
    """The field, that ignores the angles which a diffusion loss passes on."""
    return lambda x, *angles: field(x)


def draw(loss, x, seed=0):
    return loss(at_all_levels(CURVED), x, generator=seeded(seed))


def test_laws_walk_every_loss_of_the_module():
    members = [c for c in vars(losses).values() if inspect.isclass(c) and issubclass(c, Loss)]
    concrete = {c for c in members if not inspect.isabstract(c)}
    assert concrete == {type(loss) for loss in EVERY_LOSS}


@each_loss
@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_is_one_value_per_row_in_the_dtype_of_the_rows(loss, n, dtype):
    values = loss(at_all_levels(torch.sin), normal(n, 2).to(dtype), generator=seeded())
    assert (values.shape, values.dtype) == ((n,), dtype)


@each_loss
def test_random_says_whether_the_seed_matters_and_seeds_repeat(loss):
    x = normal(5, 2)
    assert torch.equal(draw(loss, x), draw(loss, x))
    assert torch.equal(draw(loss, x), draw(loss, x, seed=1)) != loss.random


@each_loss
def test_global_rng_is_untouched_and_the_rows_are_left_alone(loss):
    x, before = normal(5, 2), torch.get_rng_state()
    draw(loss, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, normal(5, 2))
    assert not x.requires_grad


@each_loss
def test_a_graph_is_held_only_while_autograd_records(loss):
    slope, x = torch.ones(2, dtype=torch.float64, requires_grad=True), normal(5, 2)
    field = at_all_levels(lambda x: -slope * x.sin())
    assert loss(field, x, generator=seeded()).requires_grad
    with torch.no_grad():
        assert not loss(field, x, generator=seeded()).requires_grad


FIXED = [*EVERY_LOSS[:2], *(over_all_signs(c, 2, r) for c in SLICED for r in (True, False))]


@pytest.mark.parametrize("loss", FIXED, ids=stable_name)
def test_rows_do_not_see_each_other(loss):
    x = normal(9, 2)
    close(loss(CURVED, x), torch.cat([loss(CURVED, row[None]) for row in x]), 1e-11)


@each_loss
def test_clone_gives_an_equal_loss(loss):
    copy = clone(loss)
    assert copy is not loss
    assert repr(copy) == repr(loss)
    assert torch.equal(draw(copy, normal(5, 2)), draw(loss, normal(5, 2)))


@pytest.mark.parametrize("loss_class", [DenoisingScoreMatching, DenoisingAutoencoder])
def test_noise_level_is_a_nested_parameter(loss_class):
    loss = loss_class(GaussianNoise(0.3))
    copy = clone(loss).set_params(noise__sigma=0.7)
    assert (loss.noise.sigma, copy.get_params()["noise__sigma"]) == (0.3, 0.7)
    fresh = loss_class(GaussianNoise(0.7))
    assert torch.equal(draw(copy, normal(5, 2)), draw(fresh, normal(5, 2)))


NO_NOISE = GaussianNoise(0.0)
SIGMA = "'sigma' parameter of GaussianNoise must be a number in the range (0.0, inf)"
RANGE = "'sigma_min' parameter of DiffusionScoreMatching must be "
BAD_OPTIONS = [
    (DenoisingScoreMatching(NO_NOISE, "sigma"), "be one of: None, 'sigma2'. Got 'sigma'"),
    (DenoisingScoreMatching(NO_NOISE), SIGMA),
    (DenoisingAutoencoder(NO_NOISE), SIGMA),
    (FiniteDifferenceSlicedScoreMatching(step=0.0), "'step' parameter of FiniteDifference"),
    (
        DiffusionScoreMatching(StraightFlow(), levels="even"),
        "'levels' parameter of DiffusionScoreMatching must be one of: 'time', 'theta', "
        "'sqrt_theta', 'loguniform', 'lognormal', 'karras'. Got 'even' instead.",
    ),
    (
        DiffusionScoreMatching(StraightFlow(), weighting="snr"),
        "'weighting' parameter of DiffusionScoreMatching must be one of: 'sigma2', "
        "'likelihood', 'edm'. Got 'snr' instead.",
    ),
    *(
        (
            DiffusionScoreMatching(StraightFlow(), sigma_min, 2.0),
            f"{RANGE}less than its 'sigma_max', 2.0. Got {sigma_min!r} instead.",
        )
        for sigma_min in (2.0, 3.0)
    ),
    (DiffusionScoreMatching(StraightFlow(), -1.0), f"{RANGE}a number in the range (0.0, inf)"),
    *((c(projection="cube"), "be one of: 'rademacher', 'gaussian', 'sphere'") for c in SLICED),
    *((c(n_projections=0), f"'n_projections' parameter of {c.__name__} must") for c in SLICED),
    *((c(n_projections=1.5), "must be an int in the range [1, inf). Got 1.5") for c in SLICED),
]


@pytest.mark.parametrize(("loss", "words"), BAD_OPTIONS)
def test_bad_options_are_refused_by_name_with_what_is_allowed(loss, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        draw(loss, normal(5, 2))


@each_pairing
@each_schedule
def test_draws_of_many_batches_at_once_are_stratified_in_each(antithetic, levels):
    process, x = VariancePreserving(), normal(12, 2)
    loss = DiffusionScoreMatching(process, 0.01, 50.0, levels, antithetic=antithetic)
    cuts = SCHEDULES[levels](torch.arange(5).double() / 4, process, 0.01, 50.0)
    seen = []

    def field(y, theta):
        seen.append((y, theta))
        return curved_field(y, theta)

    values = [losses(field) for losses in loss.prepared(x, 3, seeded())]
    theta, weights = loss.draw_angles(x, seeded(), n_batches=3)
    for k, (y, angles) in enumerate(seen):
        rows = slice(4 * k, 4 * k + 4)
        copies = 2 if antithetic else 1
        assert torch.equal(angles, theta[rows].repeat(copies, 1))
        ordered = theta[rows].flatten().sort()[0]
        assert ((cuts[:-1] <= ordered + 1e-9) & (ordered <= cuts[1:] + 1e-9)).all()
        v = (angles.cos() * y - x[rows].repeat(copies, 1)) / angles.sin()
        squares = (curved_field(y, angles) - v).square().sum(1).reshape(copies, 4).mean(0)
        close(values[k], 0.5 * weights[rows, 0] * squares)
