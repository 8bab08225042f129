"""Laws of noise kernels, noise processes, schedules of levels and weightings."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm
from sklearn.base import clone

from skscore._math.calculus import gradient, value_and_slope
from skscore.noise import (
    KERNELS,
    PROCESSES,
    SCHEDULES,
    WEIGHTINGS,
    Cosine,
    GaussianNoise,
    LognormalLevels,
    NoiseKernel,
    NoiseProcess,
    StraightFlow,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
    solver_angles,
)
from skscore.noise._processes import check_range

each_kernel = pytest.mark.parametrize("name", KERNELS)
each_sigma = pytest.mark.parametrize("sigma", [0.01, 0.7, 3.0])


def gaussian_log_density(noisy, clean, sigma):
    d = clean.shape[1]
    squares = (noisy - clean).square().sum(1)
    return -squares / (2 * sigma**2) - d * math.log(sigma * math.sqrt(2 * math.pi))


# A new kernel needs its log-density here.
LOG_DENSITIES = {"gaussian": gaussian_log_density}


def rows(n=6, d=3, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=dtype)


@each_kernel
@each_sigma
def test_target_is_the_gradient_of_the_log_kernel_density(name, sigma, generator):
    noise, clean = KERNELS[name](sigma), rows()
    noisy = noise.sample(clean, generator)
    expected = gradient(lambda y: LOG_DENSITIES[name](y, clean, sigma), noisy)
    torch.testing.assert_close(noise.target(noisy, clean), expected, rtol=1e-9, atol=1e-9)


@each_kernel
@each_sigma
def test_target_has_mean_zero_and_slope_minus_one_against_the_noise(name, sigma, generator):
    # Stein's identity, E[target u'] = -I, which couples the draws and the target of any kernel.
    noise, clean = KERNELS[name](sigma), rows(d=3)[:1].expand(40_000, 3)
    noisy = noise.sample(clean, generator)
    target = noise.target(noisy, clean)
    products = (target[:, :, None] * (noisy - clean)[:, None, :]).flatten(1)
    for values, mean in ((target, torch.zeros(3)), (products, -torch.eye(3).flatten())):
        standard_error = values.std(0) / len(values) ** 0.5
        assert ((values.mean(0) - mean).abs() < 5 * standard_error).all()


@each_kernel
def test_target_points_back_to_the_clean_row(name, generator):
    noise, clean = KERNELS[name](0.5), rows()
    noisy = noise.sample(clean, generator)
    assert ((noise.target(noisy, clean) * (clean - noisy)).sum(1) > 0).all()


@each_kernel
def test_target_changes_sign_with_the_noise(name, generator):
    noise, clean = KERNELS[name](0.5), rows()
    e = noise.sample(clean, generator) - clean
    torch.testing.assert_close(
        noise.target(clean + e, clean), -noise.target(clean - e, clean), rtol=1e-9, atol=1e-9
    )


@each_kernel
def test_draws_repeat_with_the_seed_and_differ_with_another(name):
    noise, clean = KERNELS[name](0.5), rows()
    first, again, other = (
        noise.sample(clean, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_kernel
def test_next_draw_from_one_generator_is_new(name, generator):
    noise, clean = KERNELS[name](0.5), rows()
    assert not torch.equal(noise.sample(clean, generator), noise.sample(clean, generator))


@each_kernel
def test_global_rng_is_untouched(name, generator):
    before = torch.get_rng_state()
    noise, clean = KERNELS[name](0.5), rows()
    noise.target(noise.sample(clean, generator), clean)
    assert torch.equal(torch.get_rng_state(), before)


@each_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_keep_shape_and_dtype_and_leave_the_rows_alone(name, dtype, generator):
    clean = rows(dtype=dtype)
    before = clean.clone()
    noisy = KERNELS[name](0.5).sample(clean, generator)
    assert (noisy.shape, noisy.dtype) == (clean.shape, dtype)
    assert torch.equal(clean, before)


@each_kernel
def test_scale_of_the_draws_is_proportional_to_sigma(name):
    clean = rows()
    small, large = (
        KERNELS[name](sigma).sample(clean, torch.Generator().manual_seed(0)) - clean
        for sigma in (0.2, 0.6)
    )
    torch.testing.assert_close(large, 3 * small, rtol=1e-9, atol=1e-9)


def test_gaussian_noise_has_standard_deviation_sigma_in_every_column(generator):
    clean = rows()[:1].expand(40_000, 3)
    e = GaussianNoise(0.3).sample(clean, generator) - clean
    covariance = e.T @ e / len(e)
    # A variance v has standard error v sqrt(2 / n), a covariance v / sqrt(n).
    assert ((covariance / 0.09 - torch.eye(3)).abs() < 5 * (2 / len(e)) ** 0.5).all()


@each_kernel
@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf"), "wide", None])
def test_bad_sigma_is_refused_by_name(name, sigma):
    noise = KERNELS[name](sigma)  # the constructor only stores
    message = (
        f"The 'sigma' parameter of {type(noise).__name__} must be a number in the range "
        f"(0.0, inf). Got {sigma!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        noise.sample(rows())


@each_kernel
def test_clone_and_parameters(name):
    noise = KERNELS[name](0.25)
    copy = clone(noise)
    assert copy is not noise
    assert type(copy) is type(noise)
    assert copy.get_params() == noise.get_params()
    assert copy.get_params()["sigma"] == 0.25
    assert copy.set_params(sigma=2.0) is copy
    assert (copy.sigma, noise.sigma) == (2.0, 0.25)
    assert KERNELS[name]().sigma == 0.1


def test_the_contract_itself_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        NoiseKernel(0.1)


# Processes

T = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
OTHERS = {  # parameters that are not the defaults
    "ve": {"sigma_min": 0.01, "sigma_max": 50.0},
    "vp": {"beta_min": 0.5, "beta_max": 12.0},
    "subvp": {"beta_min": 0.5, "beta_max": 12.0},
    "cosine": {"offset": 0.02},
    "edm": {"sigma_min": 0.01, "sigma_max": 50.0, "log_mean": -0.4, "log_std": 1.0},
    "flow": {},
}
MEMBERS = {name: (name, PROCESSES[name]()) for name in PROCESSES}
MEMBERS |= {f"{name} *": (name, PROCESSES[name](**OTHERS[name])) for name in PROCESSES}
each_member = pytest.mark.parametrize(("name", "process"), MEMBERS.values(), ids=MEMBERS)
each_process = pytest.mark.parametrize("process", [p for _, p in MEMBERS.values()], ids=MEMBERS)
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES)


def close(actual, expected, tolerance=1e-9):
    expected = torch.as_tensor(expected, dtype=actual.dtype).expand_as(actual)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def slope(fn, t, h=1e-5):
    """By central differences, with the error of the next order removed."""
    near, far = ((fn(t + k * h) - fn(t - k * h)) / (2 * k * h) for k in (1, 2))
    return (4 * near - far) / 3


def beta(p, t):
    return p.beta_min + t * (p.beta_max - p.beta_min)


def decay(p, t):
    """``exp(-int_0^t beta)``."""
    return (-p.beta_min * t - 0.5 * (p.beta_max - p.beta_min) * t**2).exp()


def cosine_angle(p, t):
    return math.pi / 2 * (t + p.offset) / (1 + p.offset)


def abar(p, t):
    """Equation 17 of Nichol and Dhariwal (2021)."""
    return cosine_angle(p, t).cos() ** 2 / cosine_angle(p, torch.zeros(1).double()).cos() ** 2


def cosine_drift(p, t):
    return -math.pi / 2 / (1 + p.offset) * cosine_angle(p, t).tan()


def truncated(t, mean, std, sigma_min, sigma_max):
    """The truncated lognormal law of levels, by scipy: the law of their logarithms."""
    ends = [(math.log(sigma) - mean) / std for sigma in (sigma_min, sigma_max)]
    return truncnorm(*ends, loc=mean, scale=std)


def edm_log_sigma(p, t):
    law = truncated(t, p.log_mean, p.log_std, p.sigma_min, p.sigma_max)
    return torch.as_tensor(law.ppf(t.numpy()))


def edm_squared_diffusion(p, t):
    law, log_sigma = truncated(t, p.log_mean, p.log_std, p.sigma_min, p.sigma_max), edm_log_sigma
    return 2 * (2 * log_sigma(p, t)).exp() / torch.as_tensor(law.pdf(log_sigma(p, t).numpy()))


# alpha, sigma, drift f and squared diffusion g^2 as published.  A new process needs its own here.
PUBLISHED = {
    "ve": (
        lambda p, t: 1.0,
        lambda p, t: p.sigma_min * (p.sigma_max / p.sigma_min) ** t,
        lambda p, t: 0.0,
        lambda p, t: (
            2 * (p.sigma_min ** (1 - t) * p.sigma_max**t) ** 2 * math.log(p.sigma_max / p.sigma_min)
        ),
    ),
    "vp": (
        lambda p, t: decay(p, t).sqrt(),
        lambda p, t: (1 - decay(p, t)).sqrt(),
        lambda p, t: -beta(p, t) / 2,
        beta,
    ),
    "subvp": (
        lambda p, t: decay(p, t).sqrt(),
        lambda p, t: 1 - decay(p, t),
        lambda p, t: -beta(p, t) / 2,
        lambda p, t: beta(p, t) * (1 - decay(p, t) ** 2),
    ),
    "cosine": (
        lambda p, t: abar(p, t).sqrt(),
        lambda p, t: (1 - abar(p, t)).sqrt(),
        cosine_drift,
        lambda p, t: -2 * cosine_drift(p, t),
    ),
    "edm": (
        lambda p, t: 1.0,
        lambda p, t: edm_log_sigma(p, t).exp(),
        lambda p, t: 0.0,
        edm_squared_diffusion,
    ),
    "flow": (
        lambda p, t: 1 - t,
        lambda p, t: t,
        lambda p, t: -1 / (1 - t),
        lambda p, t: 2 * t / (1 - t),
    ),
}


@each_member
@pytest.mark.parametrize(("k", "function"), list(enumerate(["alpha", "sigma", "drift"])))
def test_process_is_its_published_closed_form(name, process, k, function):
    close(getattr(process, function)(T), PUBLISHED[name][k](process, T), 1e-8)


@each_member
def test_squared_diffusion_is_its_published_closed_form(name, process):
    close(process.squared_diffusion(T), PUBLISHED[name][3](process, T), 1e-7)


@pytest.mark.parametrize("name", ["vp", "subvp", "cosine", "flow"])
def test_squared_diffusion_is_finite_where_the_noise_begins(name):
    process, start = PROCESSES[name](), torch.zeros(1, dtype=torch.float64)
    close(process.squared_diffusion(start), PUBLISHED[name][3](process, start), 1e-7)


def test_defaults_are_those_of_the_papers():
    assert {name: process().get_params() for name, process in PROCESSES.items()} == {
        "ve": {"sigma_min": 0.002, "sigma_max": 80.0},
        "vp": {"beta_min": 0.1, "beta_max": 20.0},
        "subvp": {"beta_min": 0.1, "beta_max": 20.0},
        "cosine": {"offset": 0.008},
        "edm": {"sigma_min": 0.002, "sigma_max": 80.0, "log_mean": -1.2, "log_std": 1.2},
        "flow": {},
    }


@each_process
def test_drift_and_diffusion_carry_mean_and_variance_along(process):
    # d log(alpha) = f dt and d(sigma^2) = (2 f sigma^2 + g^2) dt.
    f, g2 = process.drift(T), process.squared_diffusion(T)
    assert (g2 > 0).all()
    close(f, slope(lambda t: process.alpha(t).log(), T), 1e-6)
    variance_rate = slope(lambda t: process.sigma(t) ** 2, T)
    close((2 * f * process.sigma(T) ** 2 + g2) / variance_rate, 1.0, 1e-6)


@each_process
def test_the_level_rises_from_few_noise_to_much(process):
    t = torch.linspace(0, 1, 500, dtype=torch.float64)
    ratio = process.sigma(t) / process.alpha(t)
    assert (ratio.diff() > 0).all()
    assert ratio[0] < 0.02
    assert ratio[-1] > 20


@each_process
def test_theta_and_log_snr_say_the_same(process):
    theta = process.theta(T)
    close(theta.tan(), process.sigma(T) / process.alpha(T))
    close(process.log_snr(T), -2 * theta.tan().log())
    assert ((theta > 0) & (theta < math.pi / 2)).all()


@each_process
def test_prior_scale_is_that_of_rows_of_unit_variance_at_the_end(process):
    one = torch.ones(1, dtype=torch.float64)
    assert process.prior_scale() ** 2 == pytest.approx(
        (process.alpha(one) ** 2 + process.sigma(one) ** 2).item(), rel=1e-12
    )


@pytest.mark.parametrize("name", ["vp", "cosine", "flow"])
def test_processes_that_end_in_pure_noise_have_its_scale(name):
    assert PROCESSES[name]().prior_scale() == pytest.approx(1.0, abs=1e-6)


@each_process
def test_time_is_the_inverse_of_theta(process):
    close(process.time(process.theta(T)), T)


def test_time_of_an_angle_beyond_the_process_is_its_end():
    beyond = torch.tensor([0.0, math.pi / 2], dtype=torch.float64)
    close(VarianceExploding().time(beyond), [0.0, 1.0], 1e-15)


@each_process
def test_squared_diffusion_and_drift_hold_no_graph(process):
    t = T.clone().requires_grad_()
    assert not process.drift(t).requires_grad
    assert not process.squared_diffusion(t).requires_grad


@each_process
def test_times_keep_their_shape_and_dtype(process):
    t = torch.linspace(0.1, 0.9, 6).reshape(3, 2)
    for fn in (process.alpha, process.sigma, process.theta, process.log_snr, process.time):
        assert (fn(t).shape, fn(t).dtype) == (t.shape, t.dtype)
    assert process.sigma(t) is not t
    assert process.sigma(t).data_ptr() != t.data_ptr()


@each_process
def test_process_is_cloned_with_its_parameters(process):
    copy = clone(process)
    assert copy is not process
    assert type(copy) is type(process)
    assert copy.get_params() == process.get_params()
    assert repr(type(process)(**process.get_params())) == repr(process)


def test_other_parameters_name_every_process():
    assert OTHERS.keys() == PUBLISHED.keys() == PROCESSES.keys()
    for name, params in OTHERS.items():
        assert params.keys() == PROCESSES[name]().get_params().keys()


@each_process
def test_defaults_of_a_process_are_names_that_exist(process):
    assert process.levels in SCHEDULES
    assert process.grid in SCHEDULES
    assert process.weighting in WEIGHTINGS


# Schedules


def levels(schedule, u, process=None, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX):
    process = process or StraightFlow()
    return SCHEDULES[schedule](u, process, sigma_min, sigma_max)


@each_schedule
@each_process
def test_schedule_rises_from_the_least_level_to_the_largest_that_the_process_reaches(
    schedule, process
):
    u = torch.linspace(0, 1, 201, dtype=torch.float64)
    theta = levels(schedule, u, process)
    assert (theta.diff() > 0).all()
    ends = torch.tensor([SIGMA_MIN, SIGMA_MAX], dtype=torch.float64).atan()
    if schedule == "time":
        ends = ends.clamp(*process.theta(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist())
    close(theta[[0, -1]], ends, 1e-12)


@each_schedule
@each_process
def test_rate_of_a_schedule_is_its_derivative_and_positive(schedule, process):
    def log_level(u):
        return levels(schedule, u, process).tan().log()

    u = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    rate = value_and_slope(log_level, u)[1]
    assert (rate > 0).all()
    close(rate, slope(log_level, u), 1e-6)


def everywhere():
    """Evenly spaced, and closer at both ends; numbers of single precision, as doubles."""
    near = torch.cat([torch.arange(1, 30) / 1000, 0.5 ** torch.arange(2, 21)])
    return torch.cat([torch.linspace(0, 1, 33), near, 1 - near]).sort()[0].double()


@each_schedule
@each_process
def test_schedule_in_single_precision_is_that_in_double(schedule, process):
    u = everywhere()
    single, double = levels(schedule, u.float(), process), levels(schedule, u, process)
    assert single.dtype == torch.float32
    assert (single.diff() >= 0).all()
    error = single.double().tan().log() - double.tan().log()
    assert error.abs().max() < 1e-5  # an angle near pi/2 of seven digits has a level of five


@each_schedule
def test_schedule_keeps_the_shape(schedule):
    u = everywhere()[:-1].reshape(-1, 2)
    assert torch.equal(levels(schedule, u), levels(schedule, u.flatten()).reshape(-1, 2))


@each_schedule
def test_schedule_over_an_immense_range_is_finite_and_ends_there(schedule):
    theta = levels(schedule, everywhere(), None, 1e-12, 1e9)
    assert theta.isfinite().all()
    assert (theta.diff() >= 0).all()
    close(theta[[0, -1]].tan().log10(), [-12.0, 9.0], 1e-6)


@pytest.mark.parametrize(("process_range", "end"), [((100.0, 200.0), 80.0), ((1e-4, 1e-3), 0.002)])
def test_levels_of_a_process_beyond_the_range_are_its_nearest_end(process_range, end):
    theta = levels("time", U, VarianceExploding(*process_range))
    close(theta, math.atan(end), 1e-12)


U = torch.linspace(0, 1, 33, dtype=torch.float64)
PUBLISHED_LEVELS = {  # sigma of u in [0, 1]
    "theta": lambda u, a, b: (math.atan(a) + u * (math.atan(b) - math.atan(a))).tan(),
    "sqrt_theta": lambda u, a, b: (
        ((1 - u) * math.atan(a) ** 0.5 + u * math.atan(b) ** 0.5).square().tan()
    ),
    "loguniform": lambda u, a, b: a * (b / a) ** u,
    "lognormal": lambda u, a, b: torch.as_tensor(
        truncated(u, -1.0, 1.4, a, b).ppf(u.numpy())
    ).exp(),
    # Equation 5 of Karras et al. (2022), whose i / (N - 1) runs from the largest level.
    "karras": lambda u, a, b: (b ** (1 / 7) + (1 - u) * (a ** (1 / 7) - b ** (1 / 7))) ** 7,
}


@pytest.mark.parametrize("schedule", PUBLISHED_LEVELS)
@pytest.mark.parametrize("sigma_range", [(0.002, 80.0), (0.1, 3.0)])
def test_schedule_is_its_published_closed_form(schedule, sigma_range):
    sigma = levels(schedule, U, None, *sigma_range).tan()
    close(sigma, PUBLISHED_LEVELS[schedule](U, *sigma_range), 1e-8)


@each_process
@pytest.mark.parametrize("sigma_range", [(0.02, 8.0), (0.1, 3.0)])
def test_schedule_in_time_is_even_in_the_time_of_the_process(process, sigma_range):
    time = process.time(levels("time", U, process, *sigma_range))
    close(time, torch.lerp(time[:1], time[-1:], U))


def test_schedule_in_time_follows_a_changed_parameter():
    process = VariancePreserving()
    before = levels("time", U, process)
    process.set_params(beta_max=12.0)
    expected = levels("time", U, VariancePreserving(beta_max=12.0))
    assert torch.equal(levels("time", U, process), expected)
    assert (before != expected).any()


def test_every_schedule_has_its_law_above():
    assert SCHEDULES.keys() == PUBLISHED_LEVELS.keys() | {"time"}


@each_schedule
@pytest.mark.parametrize("from_infinity", [True, False])
@pytest.mark.parametrize("n_steps", [1, 2, 7])
def test_solver_angles_fall_to_zero_through_the_levels_of_the_schedule(
    schedule, from_infinity, n_steps
):
    process = VarianceExploding()
    angles = solver_angles(
        schedule, process, n_steps, SIGMA_MIN, SIGMA_MAX, from_infinity=from_infinity
    )
    first = math.pi / 2 if from_infinity else math.atan(SIGMA_MAX)
    u = 1 - torch.arange(n_steps + 1, dtype=torch.float64) / n_steps
    expected = [first, *levels(schedule, u, process)[1:-1].tolist(), 0.0]
    assert angles == pytest.approx(expected, abs=1e-12)
    assert angles[-1] == 0.0
    assert all(a > b for a, b in pairwise(angles))


# Weightings and ranges


def test_weightings_are_their_formulas():
    sigma, rate = torch.tensor([0.5, 2.0]), torch.tensor([3.0, 7.0])
    values = {
        name: weighting(sigma, lambda: rate).tolist() for name, weighting in WEIGHTINGS.items()
    }
    assert values == {"sigma2": [0.25, 4.0], "likelihood": [1.5, 56.0], "edm": [0.3125, 20.0]}


@pytest.mark.parametrize("sigma_range", [(1e-6, 1e6), (1, 2), (np.float32(0.1), np.int64(3))])
def test_a_range_of_levels_is_taken(sigma_range):
    check_range(VarianceExploding(), *sigma_range)


@pytest.mark.parametrize("sigma_range", [(2.0, 2.0), (3.0, 2.0)])
def test_a_range_without_levels_is_refused_by_name(sigma_range):
    message = (
        "The 'sigma_min' parameter of VarianceExploding must be less than its 'sigma_max', "
        f"2.0. Got {sigma_range[0]!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_range(VarianceExploding(), *sigma_range)


@pytest.mark.parametrize("name", ["sigma_min", "sigma_max"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "wide", None, True])
def test_an_end_of_a_range_that_is_not_positive_is_refused_by_name(name, value):
    message = (
        f"The '{name}' parameter of VarianceExploding must be a number in the range "
        f"(0.0, inf). Got {value!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_range(VarianceExploding(), **{"sigma_min": 0.1, "sigma_max": 3.0, name: value})


def test_the_contract_of_a_process_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        NoiseProcess()


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (VarianceExploding(80.0, 0.002), "'sigma_min' parameter of VarianceExploding must be less"),
        (VariancePreserving(-1.0, 20.0), "'beta_min' parameter of VariancePreserving"),
        (SubVariancePreserving(0.1, 0.0), "'beta_max' parameter of SubVariancePreserving"),
        (Cosine(-5.0), "'offset' parameter of Cosine"),
        (LognormalLevels(log_std=0), "'log_std' parameter of LognormalLevels"),
        (LognormalLevels(log_mean=math.nan), "'log_mean' parameter of LognormalLevels"),
    ],
)
def test_bad_parameters_of_a_process_are_refused_by_name(process, words):
    with pytest.raises(ValueError, match=words):
        solver_angles("theta", process, 3, 0.01, 1.0, from_infinity=True)
