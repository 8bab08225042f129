"""Derivatives of fields and energies against closed forms and finite differences."""

import pytest
import torch
from torch import nn

from skscore._math.calculus import divergence, gradient, jacobian, quadratic_forms, value_and_slope
from skscore.networks import ACTIVATIONS

D, N = 4, 7


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def network(out_features):
    """A nonlinear field whose Jacobian is not symmetric."""
    layers = nn.Sequential(nn.Linear(D, 9), nn.Tanh(), nn.Linear(9, out_features)).double()
    for k, parameter in enumerate(layers.parameters()):
        parameter.data = 0.5 * normal(*parameter.shape, seed=k)
    return layers


class Linear:
    """``s(x) = -P (x - m)``, P not symmetric."""

    P, m = normal(D, D, seed=1), normal(D, seed=2)

    def __call__(self, x):
        return -(x - self.m) @ self.P.T

    def jacobian(self, x):
        return -self.P.expand(len(x), D, D)


class Curved:
    """``s_i(x) = sin(x_i) x_{i+1} + x_i^3``."""

    def __call__(self, x):
        return x.sin() * x.roll(-1, 1) + x**3

    def jacobian(self, x):
        own = torch.diag_embed(x.cos() * x.roll(-1, 1) + 3 * x**2)
        return own + torch.diag_embed(x.sin()) @ torch.eye(D, dtype=x.dtype).roll(1, 1)


class Network:
    """A network, with its Jacobian by central differences."""

    def __init__(self):
        self.field = network(D)

    def __call__(self, x):
        return self.field(x)

    def jacobian(self, x, h=1e-5):
        with torch.no_grad():
            columns = [
                (self(x + h * e) - self(x - h * e)) / (2 * h)
                for e in torch.eye(D, dtype=torch.float64)
            ]
        return torch.stack(columns, dim=2)


FIELDS = [Linear(), Curved(), Network()]
each_field = pytest.mark.parametrize("field", FIELDS, ids=lambda field: type(field).__name__)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8)


@each_field
def test_divergence_is_the_trace_of_the_jacobian(field):
    x = normal(N, D)
    values, trace = divergence(field, x)
    close(values, field(x))
    close(trace, field.jacobian(x).diagonal(dim1=1, dim2=2).sum(1))


@each_field
@pytest.mark.parametrize("m", [1, 3, D, 6])
def test_divergence_over_directions_is_the_trace_in_their_metric(field, m):
    x, L = normal(N, D), normal(D, m, seed=3)
    _, trace = divergence(field, x, L.T)
    close(trace, torch.einsum("ij,nji->n", L @ L.T, field.jacobian(x)))


@each_field
@pytest.mark.parametrize("shape", [(1, D), (3, D), (3, N, D)], ids=str)
def test_quadratic_forms_are_v_jacobian_v(field, shape):
    x, v = normal(N, D), normal(*shape, seed=3)
    values, forms = quadratic_forms(field, x, v)
    close(values, field(x))
    spread = v if v.ndim == 3 else v[:, None, :].expand(-1, N, D)
    close(forms, torch.einsum("mni,nij,mnj->mn", spread, field.jacobian(x), spread))


def test_gradient_of_a_quadratic_energy_is_its_closed_form():
    P, x = normal(D, D, seed=1), normal(N, D)
    close(gradient(lambda x: 0.5 * ((x @ P) * x).sum(1), x), 0.5 * x @ (P + P.T))


def test_gradient_matches_finite_differences():
    energy, x, h = network(1), normal(N, D), 1e-5
    with torch.no_grad():
        slopes = [
            (energy(x + h * e) - energy(x - h * e))[:, 0] / (2 * h)
            for e in torch.eye(D, dtype=torch.float64)
        ]
    close(gradient(lambda x: energy(x)[:, 0], x), torch.stack(slopes, 1))


@pytest.mark.parametrize("n", [1, 5])
def test_one_column_has_the_derivative_as_gradient_and_divergence(n):
    x = normal(n, 1)
    close(gradient(lambda x: x[:, 0].sin(), x), x.cos())
    close(divergence(torch.sin, x)[1], x.cos()[:, 0])


def everything(field, energy, x):
    """All results of the module as one number."""
    _, forms = quadratic_forms(field, x, normal(2, D, seed=4))
    _, trace = divergence(field, x)
    return gradient(energy, x).square().sum() + forms.square().sum() + trace.square().sum()


@pytest.mark.parametrize("tracked", [False, True])
def test_results_carry_no_graph_without_grad(tracked):
    field, x = network(D), normal(N, D).requires_grad_(tracked)
    with torch.no_grad():
        results = [
            gradient(lambda x: field(x)[:, 0], x),
            *quadratic_forms(field, x, normal(2, D)),
            *divergence(field, x),
        ]
    assert not any(result.requires_grad for result in results)


def test_results_are_differentiable_in_the_parameters():
    field, x, h = network(D), normal(N, D), 1e-5

    def energy(x):
        return field(x).square().sum(1)

    everything(field, energy, x).backward()
    for parameter in field.parameters():
        entry = (0,) * parameter.ndim
        with torch.no_grad():
            sides = []
            for step in (h, -2 * h):
                parameter[entry] += step
                sides.append(everything(field, energy, x))
            parameter[entry] += h
        slope = (sides[0] - sides[1]) / (2 * h)
        torch.testing.assert_close(parameter.grad[entry], slope, rtol=1e-6, atol=1e-6)


def test_results_are_differentiable_in_tracked_rows():
    x = normal(N, D).requires_grad_()
    (slope,) = torch.autograd.grad(divergence(Curved(), x)[1].sum(), x)
    x = x.detach()
    close(slope, -x.sin() * x.roll(-1, 1) + x.roll(1, 1).cos() + 6 * x)


@pytest.mark.parametrize("parameter", [False, True])
def test_what_does_not_depend_on_the_rows_has_zero_derivatives(parameter):
    c, x = normal(D).requires_grad_(parameter), normal(N, D)
    values, trace = divergence(lambda x: c.expand_as(x), x)
    close(values.detach(), c.detach().expand(N, D))
    close(trace, torch.zeros(N, dtype=torch.float64))
    close(quadratic_forms(lambda x: c.expand_as(x), x, x[:2])[1], torch.zeros(2, N).double())
    close(gradient(lambda x: c.sum().expand(N), x), torch.zeros_like(x))


@each_field
def test_the_jacobian_of_a_field_is_that_of_its_twin(field):
    x = normal(N, D)
    with torch.no_grad():
        J = jacobian(field, x)
    torch.testing.assert_close(J, field.jacobian(x), rtol=1e-7, atol=1e-7)
    close(J.diagonal(dim1=1, dim2=2).sum(1), divergence(field, x)[1].detach())
    assert not J.requires_grad


def test_the_jacobian_of_what_does_not_depend_on_the_rows_is_zero():
    close(jacobian(lambda x: torch.ones_like(x), normal(N, D)), torch.zeros(N, D, D).double())


@pytest.mark.parametrize("tracked", [False, True])
def test_the_callers_tensor_is_left_alone(tracked):
    x = normal(N, D).requires_grad_(tracked)
    before = x.detach().clone()
    everything(Curved(), lambda x: x.square().sum(1), x)
    jacobian(Curved(), x)
    assert x.requires_grad is tracked
    assert x.grad is None
    assert torch.equal(x.detach(), before)


each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


@each_activation
@pytest.mark.parametrize("shape", [(5,), (N, D)], ids=str)
def test_value_and_slope_of_an_elementwise_function_match_finite_differences(activation, shape):
    fn, x, h = ACTIVATIONS[activation](), 2 * normal(*shape), 1e-5
    values, slope = value_and_slope(fn, x)
    close(values, fn(x))
    close(slope, (fn(x + h) - fn(x - h)) / (2 * h))


@each_activation
@pytest.mark.parametrize("tracked", [False, True])
def test_value_and_slope_record_a_graph_only_while_autograd_does(activation, tracked):
    fn, x = ACTIVATIONS[activation](), normal(N, D).requires_grad_(tracked)
    recorded = value_and_slope(fn, x)
    with torch.no_grad():
        plain = value_and_slope(fn, x)
    assert recorded[0].requires_grad
    assert not any(result.requires_grad for result in plain)
    for a, b in zip(recorded, plain, strict=True):
        close(a.detach(), b)
    assert x.requires_grad is tracked
    assert x.grad is None


def test_slopes_are_differentiable_in_tracked_rows():
    x = normal(N, D).requires_grad_()
    (second,) = torch.autograd.grad(value_and_slope(torch.sin, x)[1].sum(), x)
    close(second, -x.sin().detach())
