"""Closed forms of Gaussian mixtures against scipy, autograd and numerical convolution."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skscore._math.angles import field_from_score
from skscore._math.calculus import divergence, gradient
from skscore._math.gaussian import GaussianMixture, IsotropicMixture, KernelField, MixtureField

VARIANCE = 0.6
each_shape = pytest.mark.parametrize(("k", "d"), [(1, 1), (3, 1), (1, 3), (4, 3)])
each_class = pytest.mark.parametrize("make", ["full", "isotropic"])


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def spd(*shape, seed):
    factor = normal(*shape, shape[-1], seed=seed)
    return factor @ factor.mT + 0.3 * torch.eye(shape[-1], dtype=torch.float64)


def mixture(make, k, d, offset=0.0):
    weights = normal(k, seed=1).softmax(0)
    means = 2 * normal(k, d, seed=2) + offset
    if make == "full":
        return GaussianMixture(weights, means, spd(k, d, seed=3))
    return IsotropicMixture(weights, means, VARIANCE)


def covariances(law):
    if isinstance(law, GaussianMixture):
        return law.covariances
    k, d = law.means.shape
    return (law.variance * torch.eye(d, dtype=torch.float64)).expand(k, d, d)


def close(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@each_class
@each_shape
def test_log_density_equals_scipys(make, k, d):
    law, x = mixture(make, k, d), 3 * normal(40, d, seed=4)
    parts = [
        np.log(w) + multivariate_normal(m, c).logpdf(x.numpy()).reshape(len(x))
        for w, m, c in zip(
            law.weights.numpy(), law.means.numpy(), covariances(law).numpy(), strict=True
        )
    ]
    close(law.log_density(x), torch.as_tensor(logsumexp(parts, axis=0)))


@each_class
@each_shape
def test_score_is_the_gradient_of_the_log_density(make, k, d):
    law, x = mixture(make, k, d), 3 * normal(40, d, seed=4)
    close(law.score(x), gradient(law.log_density, x))


@each_class
@each_shape
def test_score_divergence_is_the_trace_of_metric_times_jacobian(make, k, d):
    law, x, metric = mixture(make, k, d), 3 * normal(40, d, seed=4), spd(d, seed=5)
    columns = torch.linalg.cholesky(metric).T
    close(law.score_divergence(x, metric), divergence(law.score, x, columns)[1])


@each_class
@each_shape
def test_a_metric_for_each_row_is_a_call_for_each_row(make, k, d):
    law, x, metrics = mixture(make, k, d), 3 * normal(9, d, seed=4), spd(9, d, seed=5)
    alone = [law.score_divergence(x[i : i + 1], metrics[i]) for i in range(9)]
    close(law.score_divergence(x, metrics), torch.cat(alone), 1e-12)


@each_class
def test_density_integrates_to_one(make):
    law, grid = mixture(make, 3, 1), torch.linspace(-40, 40, 8001, dtype=torch.float64)
    close(torch.trapezoid(law.log_density(grid[:, None]).exp(), grid), torch.tensor(1.0).double())


@pytest.mark.parametrize("d", [1, 3])
def test_noise_adds_its_covariance_to_a_gaussian(d):
    law, noise, x = mixture("full", 1, d), spd(d, seed=6), normal(9, d, seed=4)
    expected = multivariate_normal(law.means[0].numpy(), (law.covariances[0] + noise).numpy())
    log_density = torch.as_tensor(expected.logpdf(x.numpy()).reshape(9))
    close(law.noised(noise).log_density(x), log_density)
    close(mixture("full", 1, d).log_density(x), law.log_density(x))  # the law itself is as it was


@each_class
def test_noised_density_is_the_convolution_with_the_noise(make):
    law, variance = mixture(make, 3, 1), 0.8
    noise = torch.tensor([[variance]], dtype=torch.float64) if make == "full" else variance
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    grid = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    kernel = (-((x[:, None] - grid) ** 2) / (2 * variance)).exp() / math.sqrt(
        2 * math.pi * variance
    )
    convolved = torch.trapezoid(kernel * law.log_density(grid[:, None]).exp(), grid)
    close(law.noised(noise).log_density(x[:, None]).exp(), convolved)


@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 1e-10), (1e6, 1e-7)])
@each_shape
def test_isotropic_mixture_is_the_full_one_with_equal_covariances(k, d, offset, tolerance):
    isotropic = mixture("isotropic", k, d, offset)
    full = GaussianMixture(isotropic.weights, isotropic.means, covariances(isotropic))
    x, metric = offset + 3 * normal(40, d, seed=4), spd(d, seed=5)
    close(isotropic.log_density(x), full.log_density(x), tolerance)
    close(isotropic.score(x), full.score(x), tolerance)
    close(isotropic.score_divergence(x, metric), full.score_divergence(x, metric), tolerance)


@each_class
def test_moving_the_mixture_far_away_moves_its_values_with_it(make):
    near, far = mixture(make, 40, 3), mixture(make, 40, 3, offset=1e6)
    x = 3 * normal(40, 3, seed=4)
    close(far.log_density(x + 1e6), near.log_density(x), 1e-7)
    close(far.score(x + 1e6), near.score(x), 1e-7)


@each_class
def test_one_component_has_the_score_of_a_gaussian(make):
    law, x, metric = mixture(make, 1, 3), normal(9, 3, seed=4), spd(3, seed=5)
    precision = torch.linalg.inv(covariances(law)[0])
    close(law.score(x), -(x - law.means) @ precision)
    close(law.score_divergence(x, metric), -(metric @ precision).trace().expand(9))


@each_class
def test_a_component_of_weight_zero_is_as_if_absent(make):
    law, x, metric = mixture(make, 3, 2), normal(9, 2, seed=4), spd(2, seed=5)
    kept, keep = torch.tensor([0.3, 0.7]).double(), slice(0, 2)
    weights = torch.cat([kept, torch.zeros(1).double()])
    if make == "full":
        padded = GaussianMixture(weights, law.means, law.covariances)
        bare = GaussianMixture(kept, law.means[keep], law.covariances[keep])
    else:
        padded = IsotropicMixture(weights, law.means, VARIANCE)
        bare = IsotropicMixture(kept, law.means[keep], VARIANCE)
    close(padded.log_density(x), bare.log_density(x))
    close(padded.score(x), bare.score(x))
    close(padded.score_divergence(x, metric), bare.score_divergence(x, metric))


@each_class
def test_rows_a_thousand_deviations_away_have_finite_values(make):
    law, x = mixture(make, 4, 2), torch.full((3, 2), 1e3, dtype=torch.float64)
    assert law.log_density(x).isfinite().all()
    assert law.score(x).isfinite().all()
    assert (law.log_density(x) < -1e3).all()


def test_isotropic_mixture_of_far_clusters_keeps_its_digits():
    # Distances by matrix products lost half of them above 25 components.
    means = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means[30:] += 1e6
    weights = torch.full((60,), 1 / 60, dtype=torch.float64)
    isotropic = IsotropicMixture(weights, means, 0.04)
    identity = torch.eye(2, dtype=torch.float64)
    full = GaussianMixture(weights, means, 0.04 * identity.expand(60, 2, 2))
    x = means + 0.1
    torch.testing.assert_close(isotropic.score(x), full.score(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(isotropic.log_density(x), full.log_density(x), rtol=1e-6, atol=1e-6)
    near = IsotropicMixture(weights[:30], means[:30], 0.04), x[:30], identity
    for metric in (identity, identity.expand(60, 2, 2)):
        divergence = isotropic.score_divergence(x, metric)
        close(divergence[:30], near[0].score_divergence(*near[1:]), 1e-6)
        close(divergence, full.score_divergence(x, metric), 1e-6)


# -- the flow of a mixture ---------------------------------------------------------------------


def mixture_field(law):
    """The field of a mixture, its buffers filled from the covariances' eigenvectors."""
    k, d = law.means.shape
    field = MixtureField(k, d).double()
    variances, vectors = torch.linalg.eigh(law.covariances)
    field.load_state_dict(
        {
            "log_weights": law.weights.log(),
            "means": torch.einsum("kij,ki->kj", vectors, law.means),
            "variances": variances,
            "vectors": vectors,
        }
    )
    return field


@each_shape
@pytest.mark.parametrize("theta", [0.01, 0.6, 1.5])
def test_field_of_a_mixture_is_that_of_the_score_of_its_noised_law(k, d, theta):
    law = mixture("full", k, d)
    c, s = math.cos(theta), math.sin(theta)
    noise = s**2 * torch.eye(d, dtype=torch.float64)
    noised = GaussianMixture(law.weights, c * law.means, c**2 * law.covariances + noise)
    y, angle = normal(9, d, seed=4), torch.full((1, 1), theta, dtype=torch.float64)
    expected = field_from_score(noised.score(y), y, angle)
    close(mixture_field(law)(y, angle), expected)
    close(mixture_field(law)(y, angle.expand(9, 1)), expected)


@each_shape
@pytest.mark.parametrize("theta", [0.0, 0.01, 0.6, 1.5, math.pi / 2])
def test_divergence_of_a_mixtures_field_is_the_trace_of_its_jacobian(k, d, theta):
    field, y, v = mixture_field(mixture("full", k, d)), normal(9, d, seed=4), normal(2, d, seed=5)
    for n_angles in (1, 9):
        angle = torch.full((n_angles, 1), theta, dtype=torch.float64)
        F, forms = field.divergence(y, angle, v)
        expected = divergence(lambda y, angle=angle: field(y, angle), y, v)
        close(F, expected[0])
        close(forms, expected[1])


def test_a_mixture_field_begins_as_that_of_a_standard_normal_law():
    angle = torch.full((1, 1), 0.7)
    assert not MixtureField(3, 2)(normal(5, 2, seed=1).float(), angle).any()


def test_vectors_of_low_precision_are_made_orthonormal():
    field = mixture_field(mixture("full", 4, 3)).float().double()
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    assert (field.vectors.mT @ field.vectors - identity).abs().max() > 1e-9
    field.refine()
    close(field.vectors.mT @ field.vectors, identity, 1e-12)


@each_shape
def test_the_field_of_kernels_is_that_of_a_mixture_of_one_covariance(k, d):
    variances, means = spd(d, seed=1).diagonal() * 0.3, 2 * normal(k, d, seed=2)
    log_weights, y = normal(k, seed=3).log_softmax(0), 2 * normal(7, d, seed=4)
    field = MixtureField(k, d).double()
    field.log_weights, field.means = log_weights, means
    field.variances = variances.expand(k, d)
    kernels = KernelField(log_weights, means, variances)
    ends = torch.tensor([[0.0], [1e-3], [math.pi / 2]], dtype=torch.float64)
    for theta in (*ends[:, None], torch.linspace(0, 1.5, 7, dtype=torch.float64)[:, None]):
        torch.testing.assert_close(kernels(y, theta), field(y, theta), rtol=1e-9, atol=1e-9)
