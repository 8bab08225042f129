"""Laws of the noise kernels: target, draws, parameters and errors."""

import math
import re

import pytest
import torch
from sklearn.base import clone

from skscore._calculus import gradient
from skscore.noise import KERNELS, GaussianNoise, NoiseKernel

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
