"""The log-density of the probability flow and its lower bound, where both are known."""

import math
from itertools import pairwise

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import kstest
from torch import nn

from skscore import likelihood
from skscore._math.angles import flow
from skscore._math.calculus import divergence
from skscore._math.gaussian import GaussianMixture
from skscore.likelihood import log_density, lower_bound, standard_normal
from skscore.networks import MLP, DiffusionNetwork, LevelFeatures

SIGMA_MIN, TOL = 0.01, 1e-4
HALF_PI = math.pi / 2


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


class ExactMixture:
    """A Gaussian mixture of full covariances and its field F at any angles.

    Given the component k, y has mean ``cos m_k`` and covariance ``cos^2 C_k + sin^2 I``, and
    ``F_k = E[cos eps - sin x_0 | y, k]`` is linear in y; in the eigenvectors of C_k every column
    is by itself.  F mixes them by the responsibilities r_k, so that
    ``div F = sum_k r_k (tr J_k + (s_k - s) . F_k)`` with the scores s_k and s of y.
    """

    def __init__(self, weights, means, covariances):
        self.law = GaussianMixture(weights, means, covariances)
        self.variances, self.axes = torch.linalg.eigh(covariances)  # (k, d), (k, d, d)

    def __call__(self, y, theta):
        """F and its divergence, (n, d) and (n, 1)."""
        cos, sin = theta.cos()[:, :, None], theta.sin()[:, :, None]
        variances = cos**2 * self.variances + sin**2  # (n, k, d)
        z = torch.einsum("nkj,kji->nki", y[:, None] - cos * self.law.means, self.axes)
        log_joint = self.law.weights.log() - 0.5 * (z**2 / variances + variances.log()).sum(2)
        r = log_joint.softmax(1)[:, :, None]
        slopes = cos * sin * (1 - self.variances) / variances

        def turn_back(v):
            return torch.einsum("nki,kji->nkj", v, self.axes)

        fields, scores = turn_back(slopes * z) - sin * self.law.means, turn_back(-z / variances)
        along = ((scores - (r * scores).sum(1, keepdim=True)) * fields).sum(2, keepdim=True)
        traces = slopes.sum(2, keepdim=True) + along
        return (r * fields).sum(1), (r * traces).sum(1)

    def field(self, y, theta):
        return self(y, theta)[0]

    def log_density(self, x):
        return self.law.log_density(x)

    def sample(self, n, seed=0):
        generator = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.law.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.axes.shape[1], generator=generator, dtype=torch.float64)
        scaled = (self.variances.sqrt()[k] * z)[:, :, None]
        return self.law.means[k] + (self.axes[k] @ scaled)[:, :, 0]


def exact(k, d):
    factors = normal(k, d, d, seed=1) / d**0.5
    covariances = factors @ factors.mT + 0.1 * torch.eye(d).double()
    weights = torch.tensor([0.3, 0.7, 0.5])[:k].double()
    return ExactMixture(weights / weights.sum(), 1.5 * normal(k, d, seed=2), covariances)


each_law = pytest.mark.parametrize(
    "law",
    [exact(k, d) for k in (1, 2) for d in (1, 2, 5)],
    ids=lambda law: "{} in {}".format(*law.law.means.shape),
)


def normal_field(y, theta):
    """F of standard normal rows, and its divergence."""
    return torch.zeros_like(y), torch.zeros_like(y[:, :1])


def network(d, *, scale=0.5):
    """A field that was never fitted to anything, and its divergence."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = MLP(d, d, (16, 16), context_features=LevelFeatures.n_features)
        nn.init.normal_(body.exit.weight, std=scale)
        net = DiffusionNetwork(body, SIGMA_MIN).double()

    @torch.no_grad()
    def field(y, theta):
        F, trace = net.divergence(y, theta, torch.eye(d, dtype=y.dtype))
        return F, trace[:, None]

    return field


# The exact field itself


@each_law
def test_exact_field_is_the_regression_of_the_velocity_whose_divergence_is_its_trace(law):
    x, eps = law.sample(20_000), normal(20_000, law.axes.shape[1], seed=3)
    theta = 1.4 * torch.rand(20_000, 1, generator=torch.Generator().manual_seed(4)).double()
    y, v = theta.cos() * x + theta.sin() * eps, theta.cos() * eps - theta.sin() * x
    F, trace = law(y, theta)
    for test in (1.0, y, y.sin(), y**2):
        products = (v - F) * test
        assert (products.mean(0).abs() < 5 * products.std(0) / 20_000**0.5).all()
    close(trace[:9, 0], divergence(lambda y: law(y, theta[:9])[0], y[:9])[1])


# Exact log-density


@each_law
def test_log_density_of_the_exact_field_is_that_of_the_law(law):
    x = law.sample(40)
    close(log_density(law, x, SIGMA_MIN, TOL)[:, 0], law.log_density(x), 2e-3)


@each_law
def test_log_density_converges_with_the_tolerance(law):
    x = law.sample(10)
    errors = [
        (log_density(law, x, SIGMA_MIN, tol)[:, 0] - law.log_density(x)).abs().max()
        for tol in (1e-3, 1e-7)
    ]
    assert errors[1] < 1e-6
    assert errors[1] < errors[0]


def test_log_density_of_rows_far_outside_the_law_is_right():
    law, x = exact(2, 2), 12 * normal(10, 2)
    assert (law.log_density(x) < -1000).any()
    close(log_density(law, x, SIGMA_MIN, 1e-6)[:, 0], law.log_density(x), 2e-3)


def test_log_density_without_a_field_is_the_standard_normal_one():
    x = normal(9, 3)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
    close(standard_normal(x), expected)
    close(log_density(normal_field, x, SIGMA_MIN, TOL)[:, 0], expected)


def test_log_density_of_any_network_integrates_to_one():
    grid = torch.linspace(-9, 9, 401, dtype=torch.float64)
    density = log_density(network(1), grid[:, None], SIGMA_MIN, TOL)[:, 0].exp()
    assert ((density - standard_normal(grid[:, None]).exp()).abs() > 0.05).any()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-3)


def test_log_density_of_any_network_in_the_plane_integrates_to_one():
    axis = torch.linspace(-7, 7, 57, dtype=torch.float64)
    density = log_density(network(2, scale=0.2), torch.cartesian_prod(axis, axis), SIGMA_MIN, TOL)
    density = density.exp().reshape(57, 57)
    assert torch.trapezoid(torch.trapezoid(density, axis), axis).item() == pytest.approx(
        1, abs=2e-3
    )


def test_log_density_of_rows_does_not_depend_on_their_batch():
    law = exact(2, 2)
    x = law.sample(9)
    together = log_density(law, x, SIGMA_MIN, TOL)
    alone = torch.cat([log_density(law, row[None], SIGMA_MIN, TOL) for row in x])
    close(together, alone, 1e-10)


def test_estimates_that_average_to_the_divergence_average_to_the_log_density():
    law = exact(2, 3)
    d, x = 3, law.sample(20)

    def columns(y, theta):
        F = law(y, theta)[0]
        parts = [
            divergence(lambda y: law(y, theta)[0], y, e[None])[1] for e in torch.eye(d).double()
        ]
        return F.detach(), d * torch.stack(parts, 1).detach()

    estimates = log_density(columns, x, SIGMA_MIN, 1e-6, n_estimates=d)
    assert estimates.shape == (20, d)
    assert (estimates.std(1) > 0.1).any()
    close(estimates.mean(1), law.log_density(x), 1e-4)
    # The first estimate takes the divergence along the first axis, whoever stands beside it.
    first = log_density(
        lambda y, t: (columns(y, t)[0], columns(y, t)[1][:, :1]), x, SIGMA_MIN, 1e-6
    )
    close(estimates[:, :1], first, 1e-4)


# Flow


@each_law
def test_flow_carries_the_law_to_the_standard_normal_one(law):
    z = flow(law.field, law.sample(2000), 0.0, HALF_PI, TOL)
    n, d = z.shape
    assert (z.mean(0).abs() < 5 / n**0.5).all()
    assert ((torch.cov(z.T).reshape(d, d) - torch.eye(d)).abs() < 5 * (2 / n) ** 0.5).all()
    assert all(kstest(column.numpy(), "norm").pvalue > 1e-3 / d for column in z.T)


@each_law
def test_flow_back_is_the_inverse_of_the_flow(law):
    x = law.sample(50)
    there = flow(law.field, x, 0.0, HALF_PI, 1e-7)
    close(flow(law.field, there, HALF_PI, 0.0, 1e-7), x, 1e-5)
    midway = flow(law.field, x, 0.0, 0.6, 1e-7)
    close(flow(law.field, midway, 0.6, HALF_PI, 1e-7), there, 1e-5)


def test_flow_of_a_gaussian_is_its_affine_map():
    law = exact(1, 2)
    x, L = law.sample(9), law.variances[0].sqrt()
    # Along each axis the flow keeps the standardised row.
    expected = ((x - law.law.means) @ law.axes[0] / L) @ law.axes[0].T
    close(flow(law.field, x, 0.0, HALF_PI, 1e-7), expected, 1e-5)


class Watched:
    """The exact field of one row, and the angles at which it was asked for."""

    def __init__(self):
        self.law, self.angles = exact(2, 2), []

    def __call__(self, y, theta):
        self.angles.append(theta.item())
        return self.law(y, theta)

    def field(self, y, theta):
        return self(y, theta)[0]


@pytest.mark.parametrize("sigma_min", [0.002, 0.1])
def test_implicit_steps_begin_within_the_least_level(sigma_min):
    seen = Watched()
    log_density(seen, seen.law.sample(1), sigma_min, 1e-9)
    assert seen.angles[:2] == [0.0, 0.0]  # the slope and its Jacobian
    assert 0 < seen.angles[2] < max(seen.angles[2:31]) < 0.6 * sigma_min


def test_a_field_that_is_easy_is_asked_once_at_each_of_the_common_angles():
    angles = []
    log_density(lambda y, t: angles.append(t) or normal_field(y, t), normal(5, 2), 0.01, 5e-4)
    u = torch.arange(37).double() / 36
    assert all(theta.shape == (1, 1) for theta in angles)
    close(torch.cat(angles)[:, 0], HALF_PI * (u**2 + u**3) / 2)


def test_the_divergence_of_a_field_that_is_easy_is_asked_for_at_every_other_step():
    traced, plain = [], []
    log_density(
        lambda y, t: traced.append(t.item()) or normal_field(y, t),
        normal(5, 2),
        0.01,
        5e-4,
        drift=lambda y, t: plain.append(t.item()) or 0 * y,
    )
    u = torch.arange(37).double() / 36
    theta = HALF_PI * (u**2 + u**3) / 2
    assert traced == pytest.approx(theta[::2].tolist())
    assert plain == pytest.approx(theta[1::2].tolist())


def test_the_integral_is_exact_for_polynomials_of_degree_three():
    """Euler and Maclaurin's term at the start, Gregory's weights at the end, by hand."""
    for powers, exact in (([1], 0.5), ([2], 1 / 3), ([1, 2], 5 / 6)):
        for n in (4, 8):
            u = torch.arange(1, n + 1).double() / n
            values = list(sum(u**p for p in powers)[:, None, None])
            slope = torch.tensor(1.0 if 1 in powers else 0.0).double()
            found = likelihood._integral(values, slope / n, 1.0) / n
            assert found.item() == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize(("distance", "n_steps"), [(1.9, 36), (2.1, 56), (4.1, 72), (16.1, 108)])
def test_a_row_far_out_starts_with_a_finer_grid(distance, n_steps, d):
    """Its own distance alone decides, and so for rows of any number of columns."""
    angles, row = [], torch.full((1, d), distance).double()
    log_density(lambda y, t: angles.append(t) or normal_field(y, t), row, 0.01, 5e-4)
    assert len(angles) == n_steps + 1


def test_rows_that_are_hard_for_common_steps_are_solved_by_their_own():
    law = exact(2, 5)
    x = torch.cat([law.sample(300), 9 * normal(9, 5)])
    both = log_density(law, x, SIGMA_MIN, TOL)[:, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "_MOST_STEPS", 0)
        own = log_density(law, x, SIGMA_MIN, TOL)[:, 0]
    redone = (both - own).abs() < 1e-9
    assert 0.01 < redone.double().mean() < 0.9
    assert redone[300:].any()
    close(both[:300], law.log_density(x[:300]), 0.01)


def test_common_steps_converge_with_order_four(monkeypatch):
    law = exact(2, 2)
    x = law.sample(20)
    monkeypatch.setattr(likelihood, "_SLACK", math.inf)
    monkeypatch.setattr(likelihood, "_FAR", ())
    steps, errors = [64, 128, 256], []
    monkeypatch.setattr(likelihood, "_MOST_STEPS", max(steps))
    for n in steps:
        monkeypatch.setattr(likelihood, "_STEPS", n)
        error = log_density(law, x, SIGMA_MIN, 5e-4)[:, 0] - law.log_density(x)
        errors.append(error.square().mean().sqrt().item())
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(order > 3.5 for order in orders)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_makes_its_row_nan_and_no_other(value):
    law = exact(2, 2)
    x = law.sample(6)

    def broken(y, theta):
        F, trace = law(y, theta)
        bad = (torch.arange(len(y)) == 2)[:, None] if len(y) == 6 else torch.ones(len(y), 1) > 0
        return F, torch.where(bad & (theta > 0.1), value, trace)

    # Only the broken row is asked for again, by itself.
    values = log_density(broken, x, SIGMA_MIN, 1e-2)[:, 0]
    assert values[2].isnan()
    others = [0, 1, 3, 4, 5]
    close(values[others], log_density(law, x, SIGMA_MIN, 1e-2)[others, 0])


@pytest.mark.parametrize(("start", "end"), [(0.0, HALF_PI), (HALF_PI, 0.0), (0.3, 0.1)])
def test_steps_of_the_flow_are_even_in_the_logarithm_of_the_angle_down_to_its_finest(start, end):
    seen, x = Watched(), normal(1, 2)
    flow(seen.field, x, start, end, 1.0)
    w = [math.asinh(theta / 0.005) for theta in seen.angles]
    assert seen.angles[0] == pytest.approx(start, abs=1e-12)
    assert abs(w[6] - w[0]) == pytest.approx(0.5)
    assert seen.angles[-1] == pytest.approx(end, abs=1e-12)


def test_flow_to_the_angle_where_it_begins_leaves_the_rows():
    x = normal(3, 2)
    assert torch.equal(flow(exact(2, 2).field, x, 0.4, 0.4, TOL), x)


# Rows away from the data


def counted(law):
    """The field of a law, and a list of how many rows it was asked for."""
    asked = []

    def field(y, theta):
        asked.append(len(y))
        return law(y, theta)

    return field, asked


def cost_and_errors(law, x):
    """Evaluations a row, and errors in nats, relative from 50 nats a column on."""
    field, asked = counted(law)
    values, exact = log_density(field, x, 0.002, 5e-4, drift=law.field)[:, 0], law.log_density(x)
    depth = (exact.abs() / (50 * x.shape[1])).clamp_min(1.0)
    return sum(asked) / len(x), (values - exact).abs() / depth


@pytest.mark.parametrize("shift", [3, 5, 10])
@each_law
def test_rows_up_to_ten_deviations_out_are_right_and_cost_is_bounded(law, shift):
    x = law.sample(60)
    x[:, 0] += shift * x[:, 0].std()
    far_cost, errors = cost_and_errors(law, x)
    assert errors.quantile(0.95) < 0.01
    assert far_cost < 1000


def two_modes(gap):
    """Two N(0, 1) so far apart, standardised: the modes are narrow."""
    means = torch.tensor([[-1.0], [1.0]]).double()
    covariances = torch.full((2, 1, 1), (2 / gap) ** 2).double()
    return ExactMixture(torch.tensor([0.5, 0.5]).double(), means, covariances)


@pytest.mark.parametrize("gap", [10.0, 30.0, 100.0, 300.0])
def test_the_cost_of_rows_between_modes_hardly_grows_with_the_gap(gap):
    cost, errors = cost_and_errors(
        two_modes(gap), torch.linspace(-0.97, 0.97, 30)[:, None].double()
    )
    assert cost < 700
    assert errors.quantile(0.95) < 0.05


def test_far_rows_and_rows_in_valleys_do_not_depend_on_their_batch():
    law = exact(2, 2)
    x = torch.cat([law.sample(5), 4 * normal(5, 2, seed=5), 12 * normal(5, 2, seed=6)])
    together = log_density(law, x, SIGMA_MIN, 5e-4)
    alone = torch.cat([log_density(law, row[None], SIGMA_MIN, 5e-4) for row in x])
    parts = log_density(law, x, SIGMA_MIN, 5e-4, at_once=4)
    close(together, alone, 1e-7)
    close(together, parts, 1e-7)


def test_rows_that_run_out_of_steps_are_infinite_and_no_others(monkeypatch):
    monkeypatch.setattr("skscore._math.integrate._MOST_IMPLICIT_STEPS", 2)
    rows = torch.tensor([[-1.0], [1.01], [0.43]]).double()
    values = log_density(two_modes(30.0), rows, SIGMA_MIN, 5e-4)[:, 0]
    assert values.isfinite().tolist() == [True, True, False]
    assert values[2] == math.inf


# Lower bound


@pytest.mark.parametrize("d", [1, 4])
@pytest.mark.parametrize("sigma_min", [0.002, 0.02])
def test_lower_bound_without_a_field_is_exact_for_standard_normal_rows(d, sigma_min):
    x = normal(20, d)
    bound = lower_bound(lambda y, theta: 0 * y, x, sigma_min, 7, seed=0)
    slack = sigma_min**4 * (d + x.square().sum(1))  # of the last step, a Gaussian
    assert ((bound - standard_normal(x)).abs() <= slack + 1e-12).all()


def slow_bound(field, x, sigma_min, n_angles=300, n_nodes=24):
    """The three lines of the module, by the rules of midpoints and of Gauss and Hermite."""
    d, theta_0 = x.shape[1], math.atan(sigma_min)
    nodes, weights = (torch.as_tensor(v) for v in hermegauss(n_nodes))
    eps = torch.cartesian_prod(*[nodes] * d).reshape(-1, 1, d)
    weights = torch.cartesian_prod(*[weights / weights.sum()] * d).reshape(-1, d).prod(1)

    def mean_squares(theta):
        """Of the error of the denoiser and of the velocity."""
        theta = torch.full((1, 1), theta, dtype=torch.float64)
        cos, sin = theta.cos(), theta.sin()
        y = cos * x + sin * eps
        F = field(y.flatten(0, 1), theta).reshape(y.shape)
        errors = x - (cos * y - sin * F), F - (cos * eps - sin * x)
        return [weights @ error.square().sum(2) for error in errors]

    depth, bound = -math.log(math.sin(theta_0)), -0.5 * d * math.log(2 * math.pi * sigma_min**2)
    bound = bound - mean_squares(theta_0)[0] / (2 * sigma_min**2)
    for k in range(n_angles):
        theta = math.asin(math.exp(-depth * (k + 0.5) / n_angles))  # cot dtheta = d log(sin)
        bound = bound - depth / n_angles * mean_squares(theta)[1]
    return bound


@pytest.mark.parametrize("d", [1, 2])
def test_lower_bound_is_its_formula_for_any_field(d):
    def field(y, theta):
        return theta.cos() * y.sin() - theta.sin() * (0.3 + 0.5 * y)

    x, sigma_min = normal(8, d), 0.05
    bounds = [lower_bound(field, x, sigma_min, 512, seed) for seed in range(4)]
    close(torch.stack(bounds).mean(0), slow_bound(field, x, sigma_min), 0.05)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_lower_bound_of_the_exact_field_is_tight_on_average(d):
    law = exact(2, d)
    x = law.sample(30)
    gap = (law.log_density(x) - lower_bound(law.field, x, 0.002, 512, seed=0)).mean()
    assert abs(gap) < 0.03 * d  # of the draws


def test_lower_bound_of_the_exact_field_of_a_gaussian_is_tight_row_by_row():
    law = exact(1, 2)
    x = law.sample(20)
    errors = [
        (lower_bound(law.field, x, 0.002, n_draws, 0) - law.log_density(x)).abs().max()
        for n_draws in (64, 1024)
    ]
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("amount", [0.3, -0.3])
def test_lower_bound_of_a_wrong_field_lies_below_the_log_density(amount):
    law = exact(2, 2)
    x = law.sample(200)
    bound = lower_bound(lambda y, t: law(y, t)[0] + amount * y.sin(), x, 0.01, 64, seed=0)
    assert (law.log_density(x) - bound).mean() > 0.05


def test_lower_bound_repeats_with_the_seed_and_differs_with_another():
    law = exact(2, 2)
    x = law.sample(5)
    first, again, other = (lower_bound(law.field, x, 0.01, 8, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_lower_bound_of_a_row_does_not_depend_on_the_rows_beside_it():
    law = exact(2, 2)
    x = law.sample(5)
    together = lower_bound(law.field, x, 0.01, 8, seed=0)
    alone = torch.cat([lower_bound(law.field, row[None], 0.01, 8, seed=0) for row in x])
    close(together, alone)


@pytest.mark.parametrize("n_draws", [1, 3, 40])
def test_lower_bound_spends_its_draws_over_the_levels_and_some_at_the_least(n_draws):
    angles = []
    lower_bound(lambda y, theta: angles.append(theta[:, 0]) or 0 * y, normal(2, 3), 0.1, n_draws, 0)
    angles = torch.stack(angles)
    at_least = (angles - math.atan(0.1)).abs().max(1)[0] < 1e-12
    assert at_least.sum() == 2 * min(n_draws, 4)
    levels = angles[~at_least]
    assert torch.equal(levels[::2], levels[1::2])
    assert ((math.atan(0.1) < levels) & (levels < HALF_PI)).all()
    # One level in each of the equal parts of log(sin(theta)), up to scrambling and a shift.
    u = levels[::2].sin().log() / math.log(math.sin(math.atan(0.1)))
    gaps = torch.cat([u, u + 1]).sort(dim=0)[0].diff(dim=0)
    assert gaps.max() < 3 / n_draws


def test_lower_bound_errors_of_different_rows_are_independent():
    law = exact(2, 2)
    x = law.sample(800)
    errors = lower_bound(law.field, x, 0.01, 16, 0) - law.log_density(x)
    assert errors.mean().abs() < 5 * errors.std() / 800**0.5
    assert errors.std() > 0.05


def test_lower_bound_takes_its_noise_in_pairs():
    x, seen = normal(2, 3), []
    lower_bound(lambda y, theta: seen.append((y, theta)) or 0 * y, x, 0.1, 20, 0)
    for (y, theta), (opposite, again) in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(theta, again)
        close(y + opposite, 2 * theta.cos() * x)
    assert (seen[0][0] - seen[1][0]).abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_lower_bound_is_finite_for_draws_at_the_ends_of_the_unit_interval(dtype, monkeypatch):
    def ends(d, n, seed):
        ends = torch.tensor([0.0, 1 - 2.0**-30, 0.5], dtype=torch.float64)
        return torch.cartesian_prod(*[ends] * d)[:n]

    monkeypatch.setattr(likelihood, "_sobol", ends)
    x = normal(2, 2).to(dtype)
    assert lower_bound(lambda y, theta: 0.1 * y, x, 0.01, 27, 0).isfinite().all()


def test_global_rng_is_untouched():
    before = torch.get_rng_state()
    law = exact(2, 2)
    lower_bound(law.field, law.sample(2), 0.01, 4, seed=0)
    log_density(law, law.sample(2), SIGMA_MIN, TOL)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_keep_the_dtype_of_the_rows(dtype):
    x = normal(5, 2).to(dtype)
    assert log_density(normal_field, x, SIGMA_MIN, TOL).dtype == dtype
    assert flow(lambda y, theta: 0 * y, x, 0.0, 1.0, TOL).dtype == dtype
    bound = lower_bound(lambda y, theta: 0 * y, x, 0.01, 8, seed=0)
    assert bound.dtype == dtype
    close(bound.double(), standard_normal(x.double()), 1e-4)
