"""Runge-Kutta methods: declared order, exactness on polynomials, and kinds of state."""

import math

import numpy as np
import pytest
import torch

from skscore._integrate import METHODS, integrate

each_method = pytest.mark.parametrize("method", METHODS)


def uniform(start, stop, n_steps):
    return [start + (stop - start) * k / n_steps for k in range(n_steps + 1)]


def error(problem, method, start, stop, n_steps):
    f, solution = problem
    end = integrate(f, solution(start), uniform(start, stop, n_steps), method)
    return np.max(np.abs(end - solution(stop)))


PROBLEMS = {
    "nonlinear": (lambda t, y: -2 * t * y**2, lambda t: 1 / (1 + t**2)),
    "time-dependent": (lambda t, y: y * math.cos(t), lambda t: math.exp(math.sin(t))),
    "system": (
        lambda t, y: np.array([y[1], -y[0]]) + t * y,
        lambda t: math.exp(t**2 / 2) * np.array([math.cos(t), -math.sin(t)]),
    ),
}


@each_method
@pytest.mark.parametrize(("start", "stop"), [(0.2, 1.5), (1.5, 0.2)], ids=["forward", "backward"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_error_falls_with_the_declared_order(method, problem, start, stop):
    steps = [32, 64, 128, 256]
    errors = [error(PROBLEMS[problem], method, start, stop, n) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - METHODS[method].order) < 0.25


@each_method
def test_polynomials_up_to_the_order_are_exact_and_higher_ones_not(method):
    def error_of_degree(k):
        end = integrate(lambda t, y: k * t ** (k - 1), 0.5**k, [0.5, 1.0, 2.5], method)
        return abs(end - 2.5**k)

    order = METHODS[method].order
    assert all(error_of_degree(k) < 1e-12 * 2.5**k for k in range(1, order + 1))
    assert error_of_degree(order + 1) > 1e-3


@each_method
def test_tables_are_consistent(method):
    rule = METHODS[method]
    assert sum(rule.b) == pytest.approx(1)
    assert [sum(row) for row in rule.a] == pytest.approx(rule.c)
    assert [len(row) for row in rule.a] == list(range(len(rule.b)))


@each_method
def test_forward_and_back_returns_to_the_start(method):
    f, solution = PROBLEMS["nonlinear"]
    grid = uniform(0.0, 1.0, 400)
    there = integrate(f, solution(0.0), grid, method)
    assert integrate(f, there, grid[::-1], method) == pytest.approx(solution(0.0), abs=5e-3)


@each_method
def test_uneven_grid_is_its_steps_one_after_another(method):
    f, grid = PROBLEMS["time-dependent"][0], [0.0, 0.5, 0.6, 1.7]
    y = 1.0
    for t, t_next in zip(grid[:-1], grid[1:], strict=True):
        y = integrate(f, y, [t, t_next], method)
    assert integrate(f, 1.0, grid, method) == y


@each_method
def test_slopes_are_asked_for_between_the_ends_of_a_step(method):
    times = []
    integrate(lambda t, y: times.append(t) or 0.0, 1.0, [2.0, 1.0], method)
    assert times[0] == 2.0
    assert all(1.0 <= t <= 2.0 for t in times)


@each_method
@pytest.mark.parametrize("kind", ["list", "iterator", "array", "tensor"])
def test_grid_may_be_any_iterable(method, kind):
    f, points = PROBLEMS["time-dependent"][0], uniform(0.0, 1.0, 8)
    grid = {
        "list": points,
        "iterator": iter(points),
        "array": np.array(points),
        "tensor": torch.tensor(points, dtype=torch.float64),
    }[kind]
    assert float(integrate(f, 1.0, grid, method)) == pytest.approx(
        integrate(f, 1.0, points, method), rel=1e-14
    )


@each_method
def test_floats_arrays_and_tensors_agree_and_keep_their_kind(method):
    def f(t, y):
        return t - y * y

    grid, start = uniform(0.0, 1.0, 8), [0.1, 0.5, -0.3]
    floats = [integrate(f, y, grid, method) for y in start]
    array = integrate(f, np.array(start), grid, method)
    tensor = integrate(f, torch.tensor(start, dtype=torch.float64), grid, method)
    assert isinstance(floats[0], float)
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(array, floats, rtol=1e-14)
    np.testing.assert_allclose(tensor.numpy(), floats, rtol=1e-14)


@each_method
def test_state_of_the_caller_is_not_written_to(method):
    y = torch.ones(3)
    integrate(lambda t, y: -y, y, [0.0, 0.5, 1.0], method)
    assert torch.equal(y, torch.ones(3))


def test_single_point_grid_returns_the_start():
    assert integrate(lambda t, y: 1 / 0, 3.0, [1.0]) == 3.0


@each_method
def test_solution_is_differentiable_in_its_start(method):
    y = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    end = integrate(lambda t, y: -2 * t * y**2, y, uniform(0.0, 1.0, 8), method)
    (slope,) = torch.autograd.grad(end, y)
    h = 1e-6
    ends = [
        integrate(lambda t, y: -2 * t * y**2, 0.7 + e, uniform(0.0, 1.0, 8), method)
        for e in (h, -h)
    ]
    assert slope.item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-8)


def test_an_unknown_method_is_refused_with_the_legal_names():
    with pytest.raises(ValueError, match="method must be one of: euler, heun, rk4. Got 'foo'"):
        integrate(lambda t, y: y, 1.0, [0.0, 1.0], "foo")
