"""Runge-Kutta methods: order, exactness on polynomials, kinds of state, steps of their own."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from skscore._math import integrate as _integrate
from skscore._math.integrate import (
    METHODS,
    distance,
    integrate,
    integrate_adaptively,
    integrate_evenly,
    integrate_implicitly,
    relative_norm,
)

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


# Even steps of one evaluation


def evenly(n_steps, start, end):
    """Error, and its estimate, of a rotation by ``t + t^2 / 2``, its slopes before given."""
    h = (end - start) / n_steps

    def f(t, y):
        return (1 + t) * torch.stack([-y[:, 1], y[:, 0]], 1)

    def solution(t):
        angle = t + t**2 / 2
        return torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)

    history = [f(start - j * h, solution(start - j * h)) for j in range(4)]
    y, estimate = integrate_evenly(f, solution(start), history, start, h, n_steps)
    return (y - solution(end)).norm().item(), estimate.item()


@pytest.mark.parametrize(("start", "end"), [(0.2, 1.4), (1.4, 0.2)], ids=["up", "down"])
def test_even_steps_have_order_four_and_so_has_their_estimate(start, end):
    steps = [64, 128, 256]
    errors, estimates = np.transpose([evenly(n, start, end) for n in steps])
    assert -np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(4, abs=0.3)
    assert -np.polyfit(np.log(steps), np.log(estimates), 1)[0] == pytest.approx(4, abs=0.3)
    assert (errors < 2 * estimates).all()


def test_even_steps_are_exact_for_polynomials_of_degree_four_and_their_estimate_not_for_five():
    def solve_degree(k):
        h, start = 0.25, 1.0
        history = [torch.full((1, 1), k * (start - j * h) ** (k - 1)).double() for j in range(4)]
        y, estimate = integrate_evenly(
            lambda t, y: torch.full_like(y, k * t ** (k - 1)),
            torch.ones(1, 1).double(),
            history,
            start,
            h,
            1,
        )
        return abs(y.item() - 1.25**k), estimate.item()

    for k in range(1, 5):
        assert max(solve_degree(k)) < 1e-13
    error, estimate = solve_degree(5)
    assert error == pytest.approx(estimate, rel=1e-9)  # Milne's device
    assert error > 1e-4


def test_even_steps_ask_once_a_step_and_change_nothing_of_the_caller():
    y, times = torch.ones(2, 1).double(), []
    history = [torch.zeros_like(y) for _ in range(4)]
    integrate_evenly(lambda t, y: times.append(t) or -y, y, history, 1.0, -0.25, 4)
    assert times == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert torch.equal(y, torch.ones(2, 1).double())
    assert all((slope == 0).all() for slope in history)
    assert len(history) == 4


def test_tolerances_are_relative_for_rows_far_out_only():
    rows = torch.tensor([[3.0, 4.0], [300.0, 400.0]])
    torch.testing.assert_close(distance(rows), torch.tensor([[1.0], [500 / (10 * 2**0.5)]]))


# The pair of orders 5 and 4, and the steps that it chooses row by row

PAIR, ERROR = _integrate._PAIR, np.array(_integrate._ERROR)


def tableau():
    """Nodes c, stages as a matrix, weights b."""
    stages = np.zeros((len(PAIR.c), len(PAIR.c)))
    for i, row in enumerate(PAIR.a):
        stages[i, : len(row)] = row
    return np.array(PAIR.c), stages, np.array(PAIR.b)


def trees(c, A):
    """Elementary weights up to order 5 and their values, order by order (Hairer et al., II.2)."""
    one = np.ones_like(c)
    return {
        1: [(one, 1)],
        2: [(c, 1 / 2)],
        3: [(c**2, 1 / 3), (A @ c, 1 / 6)],
        4: [(c**3, 1 / 4), (c * (A @ c), 1 / 8), (A @ c**2, 1 / 12), (A @ A @ c, 1 / 24)],
        5: [
            (c**4, 1 / 5),
            (c**2 * (A @ c), 1 / 10),
            (c * (A @ c**2), 1 / 15),
            (c * (A @ A @ c), 1 / 30),
            ((A @ c) ** 2, 1 / 20),
            (A @ c**3, 1 / 20),
            (A @ (c * (A @ c)), 1 / 40),
            (A @ A @ c**2, 1 / 60),
            (A @ A @ A @ c, 1 / 120),
        ],
    }


def test_pair_meets_every_condition_of_order_five():
    c, A, b = tableau()
    assert PAIR.order == 5
    np.testing.assert_allclose(A.sum(1), c, atol=1e-14)
    for order in trees(c, A).values():
        for weights, value in order:
            assert b @ weights == pytest.approx(value, abs=1e-14)


def test_last_stage_of_the_pair_is_its_solution():
    _, A, b = tableau()
    assert np.array_equal(A[-1], b)


def test_embedded_error_vanishes_to_order_four_and_not_five():
    c, A, _ = tableau()
    *lower, fifth = trees(c, A).values()
    for order in lower:
        for weights, _ in order:
            assert ERROR @ weights == pytest.approx(0, abs=1e-14)
    assert max(abs(ERROR @ weights) for weights, _ in fifth) > 1e-4


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def solve(f, y, start, end, tol=1e-7, first_step=0.01):
    return integrate_adaptively(f, y, start, end, tol, first_step)


def turning(t, y):
    """Every row its own linear system: the last column is its rate, which stays."""
    u, v, rate = y.T
    return torch.stack([rate * v - 0.3 * u, -rate * u - 0.3 * v, 0 * rate], 1)


def turned(y, time):
    u, v, rate = y.T
    shrunk, cos, sin = math.exp(-0.3 * time), (rate * time).cos(), (rate * time).sin()
    return torch.stack([shrunk * (cos * u + sin * v), shrunk * (cos * v - sin * u), rate], 1)


STIFF = torch.cat([normal(6, 2), torch.tensor([[0.1, 40.0, 1.0, 8.0, 0.0, 3.0]]).T.double()], 1)
TOLERANCES = (1e-3, 1e-5, 1e-7)
each_way = pytest.mark.parametrize(("start", "end"), [(0.2, 1.4), (1.4, 0.2)], ids=["up", "down"])


def slow_twin(f, y, start, end, tol, first_step):
    """One row in plain steps, and where they end."""
    c, A, b = tableau()
    t, h, steps = start, math.copysign(first_step, end - start), []
    while t != end:
        h = math.copysign(min(abs(h), abs(end - t)), h)
        slopes = np.zeros((len(c), len(y)))
        for i in range(len(c)):
            slopes[i] = f(t + c[i] * h, y + h * A[i] @ slopes)
        far = max(1.0, np.linalg.norm(y) / (10 * len(y) ** 0.5))
        error = np.linalg.norm(h * ERROR @ slopes) / (tol * far)
        if error <= 1:
            last = abs(h) == abs(end - t)
            t, y = end if last else t + h, y + h * b @ slopes
            steps.append(t)
        h *= min(5.0, max(0.2, 0.9 * max(error, 1e-10) ** -0.2))
    return y, steps


@each_way
@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-8])
def test_every_row_is_its_slow_twin(start, end, tol):
    def f(t, y):
        return np.array([y[1], -y[0]]) * 10 * t**3 - y * math.cos(9 * t)

    def batched(t, y):
        return torch.stack([y[:, 1], -y[:, 0]], 1) * 10 * t**3 - y * (9 * t).cos()

    rows = STIFF[:, :2] * STIFF[:, 2:]
    solution = solve(batched, rows, start, end, tol, 0.3)
    twins = [slow_twin(f, row, start, end, tol, 0.3) for row in rows.numpy()]
    assert len({len(steps) for _, steps in twins}) > 1
    expected = torch.as_tensor(np.stack([y for y, _ in twins]))
    torch.testing.assert_close(solution, expected, rtol=1e-11, atol=1e-11)


@each_way
def test_linear_system_is_solved_by_its_matrix_exponential(start, end):
    A, y = normal(3, 3, seed=1), normal(5, 3)
    expected = y @ torch.linalg.matrix_exp((end - start) * A).T
    torch.testing.assert_close(
        solve(lambda t, y: y @ A.T, y, start, end), expected, rtol=1e-6, atol=1e-6
    )


@each_way
def test_times_are_asked_for_within_the_interval_and_with_the_right_slopes(start, end):
    seen = []

    def f(t, y):
        seen.append(t.clone())
        return -2 * t * y**2

    y = torch.tensor([[1 / (1 + start**2)]], dtype=torch.float64)
    assert solve(f, y, start, end).item() == pytest.approx(1 / (1 + end**2), abs=1e-7)
    times = torch.cat(seen)
    assert (times >= 0.2 - 1e-12).all()
    assert (times <= 1.4 + 1e-12).all()


@each_way
def test_error_falls_with_the_tolerance_and_stays_about_it(start, end):
    errors = [
        (solve(turning, STIFF, start, end, tol) - turned(STIFF, end - start)).norm(dim=1)
        for tol in TOLERANCES
    ]
    for tol, error in zip(TOLERANCES, errors, strict=True):
        assert (error < 1000 * tol).all()  # one tolerance for each of many steps
    for looser, tighter in pairwise(errors):
        assert (10 * tighter < looser)[STIFF[:, 2] > 2].all()


@each_way
def test_rows_do_not_see_each_other(start, end):
    together = solve(turning, STIFF, start, end, 1e-5)
    for kept in ([1], [4, 0], [5, 3, 1], [2, 1, 0, 5, 4, 3]):
        alone = solve(turning, STIFF[kept], start, end, 1e-5)
        torch.testing.assert_close(alone, together[kept], rtol=1e-12, atol=1e-12)


def count_rows(rows, **options):
    """Rows that slopes are asked for in all."""
    asked = []

    def f(t, y):
        asked.append(len(y))
        assert t.shape == (len(y), 1)
        return turning(t, y)

    solve(f, rows, 0.0, 1.0, **options)
    return sum(asked)


def test_each_row_pays_for_its_own_steps_only():
    assert count_rows(STIFF) == sum(count_rows(row[None]) for row in STIFF)
    slow, fast = (count_rows(STIFF[[k]]) for k in (0, 1))
    assert fast > 10 * slow


def test_a_slope_is_asked_for_once_and_then_six_times_a_step():
    # The last stage of a step is the first of the next.
    assert count_rows(STIFF[[4]], tol=1.0, first_step=1.0) == 1 + 6
    assert count_rows(STIFF[[1]]) % 6 == 1


def test_steps_grow_fivefold_at_most_from_the_first():
    times = []
    solve(lambda t, y: times.append(t.item()) or 0 * y, STIFF[:1], 0.0, 1.0, first_step=0.01)
    assert sorted(set(times[6::6])) == pytest.approx([0.01, 0.06, 0.31, 1.0])


def test_steps_shrink_to_a_fifth_at_least():
    times = []

    def f(t, y):
        times.append(t.item())
        return 1e9 * torch.sin(1e3 * t) + 0 * y

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_integrate, "_MOST_STEPS", 3)
        solve(f, STIFF[:1, :1], 0.0, 1.0, first_step=1.0)
    assert times[6::6] == pytest.approx([1.0, 0.2, 0.04])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("when", [0.0, 0.5])
def test_a_slope_that_is_not_finite_makes_its_row_nan_and_no_other(value, when):
    def f(t, y):
        slopes = turning(t, y)
        return torch.where((y[:, 2:] == 40.0) & (t >= when), value, slopes)

    clean, broken = solve(turning, STIFF, 0.0, 1.0), solve(f, STIFF, 0.0, 1.0)
    others = [0, 2, 3, 4, 5]
    assert broken[1].isnan().all()
    torch.testing.assert_close(broken[others], clean[others], rtol=1e-12, atol=1e-12)


def test_a_lost_row_is_not_asked_for_again():
    asked = []
    y = solve(lambda t, y: asked.append(len(y)) or float("nan") * y, STIFF, 0.0, 1.0)
    assert y.isnan().all()
    assert asked == [len(STIFF)] * 7


def test_a_row_of_too_many_steps_is_infinite_and_no_other(monkeypatch):
    clean = solve(turning, STIFF, 0.0, 1.0)
    monkeypatch.setattr(_integrate, "_MOST_STEPS", 40)
    given_up = solve(turning, STIFF, 0.0, 1.0)
    assert given_up[1].isposinf().all()
    assert torch.equal(given_up[[0, 2, 4]], clean[[0, 2, 4]])


def test_two_thousand_steps_are_the_most():
    assert _integrate._MOST_STEPS == _integrate._MOST_IMPLICIT_STEPS == 2000


def test_no_time_to_pass_leaves_the_state():
    assert torch.equal(solve(turning, STIFF, 0.7, 0.7), STIFF)


@each_way
def test_a_first_step_beyond_the_end_stops_there(start, end):
    y = solve(turning, STIFF, start, end, first_step=1e3)
    torch.testing.assert_close(y, turned(STIFF, end - start), rtol=1e-5, atol=1e-5)


def test_state_at_the_start_is_not_written_to():
    before = STIFF.clone()
    solve(turning, STIFF, 0.0, 1.0)
    assert torch.equal(STIFF, before)


def test_an_empty_batch_has_an_empty_solution():
    assert solve(turning, STIFF[:0], 0.0, 1.0).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_solution_keeps_the_dtype_of_the_state(dtype):
    y = solve(turning, STIFF[[0, 2, 4]].to(dtype), 0.0, 1.0, 1e-5)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), turned(STIFF[[0, 2, 4]], 1.0), rtol=1e-4, atol=1e-4)


# Implicit steps chosen row by row


def decaying(rates, asked=None):
    """``y' = -rate (y - cos t) - sin t`` with an integral of y beside it, and its Jacobian."""

    def f(t, state):
        if asked is not None:
            asked.append(len(state))
        y, rate = state[:, :1], rates[state[:, 2].nan_to_num().long()][:, None]
        return torch.cat([-rate * (y - t.cos()) - t.sin(), y, 0 * y], 1)

    def jacobian(t, state):
        return -rates[state[:, 2].nan_to_num().long()][:, None, None]

    return f, jacobian


RATES = torch.tensor([0.5, 10.0, 1e3, 1e6]).double()
RELAXING = torch.tensor([[1.0, 0.0, k] for k in range(len(RATES))]).double()


def solve_implicitly(f, jacobian, y, tol=1e-3, order=4):
    return integrate_implicitly(f, jacobian, y, 1.5, tol, 0.01, order, relative_norm)


@pytest.mark.parametrize("order", [4, 6])
def test_implicit_steps_are_right_however_stiff_the_row(order):
    y = solve_implicitly(*decaying(RATES), RELAXING, order=order)
    torch.testing.assert_close(y[:, 0], torch.full((4,), math.cos(1.5)).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(y[:, 1], torch.full((4,), math.sin(1.5)).double(), rtol=0, atol=1e-3)


def test_stiffness_costs_implicit_steps_next_to_nothing_and_explicit_ones_dearly():
    costs = []
    for k in (1, 3):
        asked = []
        solve_implicitly(*decaying(RATES, asked), RELAXING[[k]])
        costs.append(sum(asked))
    assert costs[1] < 4 * costs[0]  # for 100,000 times the rate
    asked = []
    solve(decaying(RATES, asked)[0], RELAXING[[2]], 0.0, 1.5, 1e-3)
    assert sum(asked) > 5 * costs[1]  # at a rate of 1e3


def test_implicit_error_falls_with_the_tolerance():
    exact = torch.tensor([math.cos(1.5), math.sin(1.5)]).double()
    errors = [
        (solve_implicitly(*decaying(RATES), RELAXING[:2], tol)[:, :2] - exact).norm(dim=1).max()
        for tol in (1e-3, 1e-5, 1e-7)
    ]
    assert all(10 * tighter < looser for looser, tighter in pairwise(errors))


def test_an_implicit_step_does_not_leap_over_a_cliff():
    """A slope that falls at y = 1 by so much that y stays there; its integral counts the time."""

    def f(t, state):
        y = state[:, :1]
        return torch.cat([1 - 2 * torch.sigmoid(1e4 * (y - 1)), (y > 0.9999).to(y)], 1)

    def jacobian(t, state):
        r = torch.sigmoid(1e4 * (state[:, :1] - 1))
        return (-2e4 * r * (1 - r))[:, :, None]

    rows = torch.tensor([[0.0, 0.0], [0.11, 0.0], [0.37, 0.0]]).double()
    y = integrate_implicitly(f, jacobian, rows, 5.0, 1e-3, 0.1, 4, relative_norm)
    torch.testing.assert_close(y[:, 0], torch.ones(3).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(y[:, 1], 4 + rows[:, 0], rtol=0, atol=0.02)


@pytest.mark.parametrize("place", [0.43, 0.47, 0.4999])
def test_an_implicit_step_sees_a_cliff_between_its_last_stage_and_its_end(place):
    """The stages of a first step of 0.5 end at 0.375; the slope rises between there and 0.5."""

    def f(t, state):
        return (t > place).to(state) + 0 * state

    def jacobian(t, state):
        return torch.zeros(len(state), 1, 1, dtype=state.dtype)

    y = integrate_implicitly(
        f, jacobian, torch.zeros(1, 1).double(), 2.0, 1e-3, 0.5, 4, relative_norm
    )
    assert y.item() == pytest.approx(2.0 - place, abs=0.02)  # what a jump may hide


def test_implicit_rows_do_not_see_each_other():
    together = solve_implicitly(*decaying(RATES), RELAXING)
    for k in range(len(RATES)):
        alone = solve_implicitly(*decaying(RATES), RELAXING[[k]])
        torch.testing.assert_close(alone[0], together[k], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("when", [0.0, 0.5])
def test_an_implicit_row_without_a_finite_slope_is_nan_and_no_other(when):
    f, jacobian = decaying(RATES)

    def broken(t, state):
        return torch.where((state[:, 2:] == 1) & (t >= when), float("nan"), f(t, state))

    y, clean = (solve_implicitly(g, jacobian, RELAXING) for g in (broken, f))
    assert not y[1].isfinite().any()
    torch.testing.assert_close(y[[0, 2, 3]], clean[[0, 2, 3]], rtol=1e-11, atol=1e-11)


def test_an_implicit_row_of_too_many_steps_is_infinite_and_no_other(monkeypatch):
    monkeypatch.setattr(_integrate, "_MOST_IMPLICIT_STEPS", 12)
    f, jacobian = decaying(RATES)
    y = solve_implicitly(
        lambda t, y: f(t, y) * (1 + (y[:, 2:] == 3) * (99 * t).sin()), jacobian, RELAXING, 1e-4
    )
    assert y[3].isposinf().all()
    assert y[0].isfinite().all()
