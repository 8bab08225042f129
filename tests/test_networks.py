"""Laws of bodies, activations and the two score networks that wrap a body."""

import math

import pytest
import torch
from torch import nn

from skscore.networks import (
    ACTIVATIONS,
    MLP,
    NETWORKS,
    SMOOTH_ACTIVATIONS,
    EnergyNetwork,
    ResNet,
    ScoreNetwork,
)

SIGMAS = [0.0, 0.05, 1.0, 30.0]
WRAPPERS = {"score": ScoreNetwork, "energy": EnergyNetwork}

each_network = pytest.mark.parametrize("network", NETWORKS)
each_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS)
each_sigma = pytest.mark.parametrize("sigma", SIGMAS)
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def rows(n=6, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def body(network, out_features, activation="silu", *, trained, d=3):
    """A body as its factory leaves it, or with all its parameters moved as by training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NETWORKS[network](d, out_features, (8, 5), activation).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters() if trained else ():
        parameter.data += 0.5 * torch.empty_like(parameter).normal_(generator=generator)
    return module


def model(wrapper, network, sigma=0.3, activation="silu", *, trained=True, d=3):
    outputs = 1 if wrapper == "energy" else d
    return WRAPPERS[wrapper](body(network, outputs, activation, trained=trained, d=d), sigma)


def jacobian(field, x):
    """Row by row, (n, d, d)."""
    return torch.stack(
        [
            torch.autograd.functional.jacobian(lambda r: field(r[None])[0], row, create_graph=False)
            for row in x
        ]
    )


@each_network
@each_wrapper
@each_sigma
@pytest.mark.parametrize("d", [1, 3])
def test_untrained_model_is_the_score_of_the_noised_standard_normal(network, wrapper, sigma, d):
    x = rows(d=d)
    score = model(wrapper, network, sigma, trained=False, d=d)(x)
    torch.testing.assert_close(score, -x / (1 + sigma**2), rtol=1e-12, atol=1e-12)


@each_network
@each_sigma
def test_untrained_energy_is_minus_the_log_density_of_the_noised_standard_normal(network, sigma):
    x = rows()
    energy = model("energy", network, sigma, trained=False).energy(x)
    torch.testing.assert_close(energy, x.square().sum(1) / (2 * (1 + sigma**2)))


class Answer(nn.Module):
    """A body with known outputs (as a field) or known gradient (as an energy)."""

    def __init__(self, wrapper, answer):
        super().__init__()
        self.wrapper, self.answer = wrapper, answer

    def forward(self, y):
        self.seen = y.detach()
        if self.wrapper == "energy":
            return (y * self.answer).sum(1, keepdim=True)
        return self.answer


@each_wrapper
@pytest.mark.parametrize("sigma", SIGMAS[1:])
def test_denoising_asks_for_inputs_and_outputs_of_unit_variance(wrapper, sigma):
    # Given x0, eps ~ N(0, I), this answer has unit variance, and the score is -eps / sigma.
    x0, eps, scale = rows(), rows().flip(0), math.sqrt(1 + sigma**2)
    answer = Answer(wrapper, (eps - sigma * x0) / scale)
    score = WRAPPERS[wrapper](answer, sigma)(x0 + sigma * eps)
    torch.testing.assert_close(score, -eps / sigma, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(answer.seen, (x0 + sigma * eps) / scale, rtol=1e-12, atol=1e-12)


@each_wrapper
def test_without_noise_the_body_is_subtracted_from_the_score_of_a_standard_normal(wrapper):
    x, answer = rows(), rows().flip(0)
    score = WRAPPERS[wrapper](Answer(wrapper, answer), 0.0)(x)
    torch.testing.assert_close(score, -x - answer)


@each_network
@each_wrapper
@each_sigma
def test_rows_do_not_see_each_other(network, wrapper, sigma):
    x, field = rows(9), model(wrapper, network, sigma)
    together = field(x)
    alone = torch.cat([field(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(field(x.flip(0)), together.flip(0), rtol=1e-12, atol=1e-12)


@each_network
@each_sigma
def test_energy_network_is_minus_the_gradient_of_its_energy(network, sigma):
    x, field = rows().requires_grad_(), model("energy", network, sigma)
    (slope,) = torch.autograd.grad(field.energy(x).sum(), x)
    torch.testing.assert_close(field(x), -slope, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(field(x), -slope, rtol=1e-12, atol=1e-12)


@each_network
@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
def test_energy_network_has_a_symmetric_jacobian_and_a_free_field_has_not(network, activation):
    J = jacobian(model("energy", network, activation=activation), rows())
    torch.testing.assert_close(J, J.mT, rtol=1e-10, atol=1e-10)
    free = jacobian(model("score", network, activation=activation), rows())
    assert ((free - free.mT).abs().amax((1, 2)) > 1e-3).all()


@each_network
@each_wrapper
@each_activation
def test_every_activation_learns(network, wrapper, activation):
    x, field = rows(40), model(wrapper, network, activation=activation)
    loss = (field(x) + x.sin()).square().mean()
    parameters = list(field.parameters())
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    used = [(p, g) for p, g in zip(parameters, slopes, strict=True) if g is not None]
    # The additive constant of an energy is the one parameter that a score cannot see.
    assert len(parameters) - len(used) == (1 if wrapper == "energy" else 0)
    assert all(g.isfinite().all() for _, g in used)
    for parameter, slope in used:
        parameter.data -= 1e-4 * slope
    if wrapper == "score" or activation in SMOOTH_ACTIVATIONS:  # else the loss has jumps
        assert (field(x) + x.sin()).square().mean() < loss


def slopes_around_zero(activation, order):
    """Derivative of the given order just left and right of zero."""
    x = torch.tensor([-1e-7, 1e-7], dtype=torch.float64, requires_grad=True)
    values = ACTIVATIONS[activation]()(x)
    for _ in range(order):
        (values,) = torch.autograd.grad(values.sum(), x, create_graph=True)
        if not values.requires_grad:
            return values
    return values


@each_activation
def test_smooth_activations_are_those_with_continuous_second_derivatives(activation):
    jumps = [slopes_around_zero(activation, order).diff().abs().item() for order in (1, 2)]
    assert (max(jumps) < 1e-4) == (activation in SMOOTH_ACTIVATIONS)


@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
def test_smooth_activations_are_differentiable_twice(activation):
    x = rows().flatten().requires_grad_()
    assert torch.autograd.gradgradcheck(ACTIVATIONS[activation](), x)


@each_network
@pytest.mark.parametrize("widths", [(4,), (7, 3), (2, 9, 5)])
def test_factories_take_any_widths_and_start_at_zero(network, widths):
    module = NETWORKS[network](3, 2, widths)
    outputs = module(torch.ones(5, 3))
    assert outputs.shape == (5, 2)
    assert torch.equal(outputs, torch.zeros(5, 2))


@each_network
def test_untrained_network_reaches_its_last_layer_with_a_gradient(network):
    # Zeros in the last layer must not be a point from which nothing can be learnt.
    field = model("score", network, trained=False)
    (field(rows()) - 1).square().sum().backward()
    assert sum(bool(p.grad.abs().max() > 0) for p in field.parameters()) >= 2


def test_a_trunk_of_one_unit_is_refused():
    with pytest.raises(ValueError, match=r"ResNet must begin with at least 2.* Got \(1,\)"):
        ResNet(2, 1, (1,))


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_a_level_below_zero_is_refused(sigma):
    with pytest.raises(ValueError, match="'sigma' parameter of ScoreNetwork must be in the range"):
        ScoreNetwork(MLP(1, 1, (2,)), sigma)
