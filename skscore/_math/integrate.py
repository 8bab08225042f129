"""Explicit Runge-Kutta steps, on a given grid or with steps that every row chooses itself.

A method is a table (nodes ``c``, stages ``a``, weights ``b``) and the order it
declares; the step and the loop are written once.  On a grid the state may be
anything that adds and scales: a number, an array, a tensor.

:func:`integrate_evenly` takes even steps of one evaluation each, by the formulas of Adams,
and estimates the error of every row.  :func:`integrate_adaptively` moves a batch of rows, each
with its own time and its own step, by the pair of orders 5 and 4 of Dormand and Prince, and
:func:`integrate_implicitly` by extrapolated linearly implicit Euler steps, whose length is not
bounded by how fast neighbouring rows run together.  What a row does never depends on the rows
beside it.

References
----------
Dormand and Prince (1980). A family of embedded Runge-Kutta formulae.
Deuflhard (1985). Recent progress in extrapolation methods for ordinary differential equations.
Hairer, Norsett and Wanner (1993). Solving ordinary differential equations I (III.1 for the
formulas of Adams).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RungeKutta:
    """``y += h sum_i b_i k_i`` with the slopes ``k_i = f(t + c_i h, y + h sum_j a_ij k_j)``."""

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    def step(self, f: Callable[[float, Any], Any], t: float, y: Any, h: float) -> Any:
        """One step of length h of ``dy/dt = f(t, y)``."""
        slopes: list[Any] = []
        for c_i, a_i in zip(self.c, self.a, strict=True):
            slopes.append(f(t + c_i * h, _advance(y, h, a_i, slopes)))
        return _advance(y, h, self.b, slopes)


def _advance(y: Any, h: Any, weights: Iterable[float], slopes: list[Any]) -> Any:
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            y = y + (h * weight) * slope
    return y


METHODS = {
    "euler": RungeKutta(1, (0.0,), ((),), (1.0,)),
    "heun": RungeKutta(2, (0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": RungeKutta(
        4,
        (0.0, 0.5, 0.5, 1.0),
        ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
}


def integrate(
    f: Callable[[float, Any], Any], y: Any, grid: Iterable[float], method: str = "rk4"
) -> Any:
    """Solution at the end of `grid` of ``dy/dt = f(t, y)`` that starts at its beginning in `y`.

    The grid may run either way; its points are where the steps end.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of: {', '.join(METHODS)}. Got {method!r} instead.")
    rule = METHODS[method]
    for t, t_next in pairwise(grid):
        y = rule.step(f, t, y, t_next - t)
    return y


# -- what is held against a tolerance ---------------------------------------------------

_FAR = 10.0

RowField = Callable[[Tensor, Tensor], Tensor]
"""Times (n, 1) or (1, 1) and rows (n, k) to (n, k) slopes, every row by itself."""
ErrorMeasure = Callable[[Tensor, Tensor], Tensor]
"""States and their errors, both (n, k), to sizes (n, 1)."""


def distance(y: Tensor) -> Tensor:
    """What tolerances of rows are relative to, (n, k) to (n, 1): one within ``10 sqrt(k)``."""
    return (y.norm(dim=1, keepdim=True) / (_FAR * y.shape[1] ** 0.5)).clamp_min(1.0)


def relative_norm(y: Tensor, error: Tensor) -> Tensor:
    """Euclidean norm of the error over the distance of its row; an :data:`ErrorMeasure`."""
    return error.norm(dim=1, keepdim=True) / distance(y)


# -- even steps of one evaluation -------------------------------------------------------

_BASHFORTH = (55 / 24, -59 / 24, 37 / 24, -9 / 24)  # of the last slope, the one before, ...
_MOULTON = (9 / 24, 19 / 24, -5 / 24, 1 / 24)
_MILNE = 19 / 270  # of the difference of the two, the error of the second


def integrate_evenly(
    f: Callable[[float, Tensor], Tensor],
    y: Tensor,
    history: list[Tensor],
    start: float,
    step: float,
    n_steps: int,
    measure: ErrorMeasure = relative_norm,
) -> tuple[Tensor, Tensor]:
    """Solution of ``dy/dt = f(t, y)`` after even steps, and its estimated error.

    The predictor of Adams and Bashforth and the corrector of Adams and Moulton, both of order
    4, with one evaluation a step: the slope at the predicted state serves for both.

    Parameters
    ----------
    f : callable
        A time and rows (n, k) to slopes (n, k), every row by itself.
    y : Tensor of shape (n, k)
        State at `start`; not changed.
    history : list of 4 Tensors of shape (n, k)
        Slopes at ``start``, ``start - step``, ``start - 2 step`` and ``start - 3 step``.
    start, step : float
    n_steps : int in [1, inf)
    measure : ErrorMeasure

    Returns
    -------
    y : Tensor of shape (n, k)
    error : Tensor of shape (n,)
        Sum over the steps of the estimated error of a step.
    """
    error = torch.zeros_like(y[:, :1])
    for n in range(1, n_steps + 1):
        predicted = _advance(y, step, _BASHFORTH, history)
        history = [f(start + n * step, predicted), *history[:3]]
        y = _advance(y, step, _MOULTON, history)
        error = error + measure(y, _MILNE * (y - predicted))
    return y, error[:, 0]


# -- steps chosen row by row ------------------------------------------------------------

_PAIR = RungeKutta(
    5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0
_MOST_STEPS = 2000


def _error(h: Tensor, slopes: list[Tensor]) -> Tensor:
    return h * sum(e * k for e, k in zip(_ERROR, slopes, strict=True) if e)


def integrate_adaptively(
    f: RowField, y: Tensor, start: float, end: float, tol: float, first_step: float
) -> Tensor:
    """Solution at `end` of ``dy/dt = f(t, y)``, to about `tol` a unit of the norm of a row.

    Parameters
    ----------
    f : callable
        Times (m, 1) and rows (m, k) to slopes (m, k), every row by itself.
    y : Tensor of shape (n, k)
        State at `start`; not changed.
    start, end : float
        Either may be the larger one.
    tol : float in (0, inf)
        Largest estimate of the error of one step, in the Euclidean norm of a row; for rows
        further than ``10 sqrt(k)`` from zero, relative to that distance.
    first_step : float in (0, inf)
        Length that every row tries first.

    Returns
    -------
    Tensor of shape (n, k)
        Rows with a slope that is not finite are NaN, rows of more than 2000 steps infinite.
    """
    direction = 1.0 if end >= start else -1.0
    done, going = torch.full_like(y, float("nan")), torch.arange(len(y), device=y.device)
    t = y.new_full((len(y), 1), start)
    h = y.new_full((len(y), 1), direction * first_step)
    slope = f(t, y)
    for _ in range(_MOST_STEPS):
        rest = end - t
        last = h.abs() >= rest.abs()
        h = torch.where(last, rest, h)
        slopes = [slope]
        for c_i, a_i in zip(_PAIR.c[1:], _PAIR.a[1:], strict=True):
            y_i = _advance(y, h, a_i, slopes)
            slopes.append(f(t + c_i * h, y_i))
        error = relative_norm(y, _error(h, slopes)) / tol
        # The last stage stands at the end of the step: its state is the solution there.
        accepted = error <= 1
        t = torch.where(accepted, t + h, t)
        y = torch.where(accepted, y_i, y)
        slope = torch.where(accepted, slopes[-1], slope)
        factor = (_SAFETY * error.clamp_min(1e-10) ** (-1 / _PAIR.order)).clamp(_SHRINK, _GROW)
        finished, lost = (accepted & last)[:, 0], ~error.isfinite()[:, 0]
        done[going[finished]] = y[finished]
        keep = ~(finished | lost)  # how many rows go on is asked of the device, once a step
        if not keep.any():
            break
        going, t, y, slope, h = (v[keep] for v in (going, t, y, slope, h * factor))
    else:
        done[going] = float("inf")
    return done


# -- implicit steps chosen row by row ---------------------------------------------------

_MOST_IMPLICIT_STEPS = 2000
_GROW_IMPLICIT = 4.0
_JUMP, _REFUSED = 20.0, 100.0  # in tolerances; the error that stands for a jump

RowJacobian = Callable[[Tensor, Tensor], Tensor]
"""Times (n, 1) and rows (n, k) to (n, d, d), d <= k: how d slopes change with d columns."""


def _implicit_changes(J: Tensor, step: Tensor) -> Callable[[Tensor], Tensor]:
    """Slopes (n, k) to the changes ``(I - step J)^-1 step slope``, plain ones beyond J's d."""
    d = J.shape[1]
    identity = torch.eye(d, dtype=J.dtype, device=J.device)
    factors = torch.linalg.lu_factor_ex(identity - step[:, :, None] * J)[:2]

    def changes(slope: Tensor) -> Tensor:
        plain = step * slope
        solved = torch.linalg.lu_solve(*factors, plain[:, :d, None])[:, :, 0]
        return torch.cat([solved, plain[:, d:]], dim=1)

    return changes


def _implicit_euler(
    f: RowField, J: Tensor, slope: Tensor, t: Tensor, y: Tensor, h: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """State after linearly implicit Euler steps of ``h / n_steps``, and the last of their slopes.

    All have the same J; columns without a part in it take plain Euler steps.
    """
    step = h / n_steps
    changes = _implicit_changes(J, step)
    for k in range(n_steps):
        slope = f(t + k * step, y) if k else slope
        y = y + changes(slope)
    return y, slope


def _extrapolated_step(
    f: RowField, J: Tensor, slope: Tensor, t: Tensor, y: Tensor, h: Tensor, order: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Aitken and Neville's state at the end of a step, its difference to the one of an order
    less, and the last slope that was asked for on the way.
    """
    row: list[Tensor] = []
    for n in range(1, order + 1):
        coarser = row
        first, last_slope = _implicit_euler(f, J, slope, t, y, h, n)
        row = [first]
        for k, coarse in enumerate(coarser, start=1):
            row.append(row[-1] + (row[-1] - coarse) * (n - k) / k)
    return row[-1], row[-1] - row[-2], last_slope


def integrate_implicitly(
    f: RowField,
    jacobian: RowJacobian,
    y: Tensor,
    end: float,
    tol: float,
    first_step: float,
    order: int,
    measure: ErrorMeasure,
) -> Tensor:
    """Solution at `end` of ``dy/dt = f(t, y)`` from zero on, where rows may be stiff.

    Linearly implicit Euler steps of h, h/2, ..., h/order are extrapolated to h = 0 (Deuflhard
    1985).  The Jacobian need not be exact, and columns that it leaves out are integrals along the
    way.  None of these steps looks at the end of h: one that stops just behind a cliff of the
    slopes would not notice it.  So a step is also refused where the slope at its end is another
    than the last before it, by a quarter of their sum.

    Parameters
    ----------
    f : RowField
    jacobian : RowJacobian
    y : Tensor of shape (n, k)
        State at zero; not changed.
    end : float in (0, inf)
    tol : float in (0, inf)
        Largest estimate of the error of one step, in units of `measure`.
    first_step : float in (0, inf)
        Length that every row tries first.
    order : int in [2, inf)
        A step takes ``1 + order (order - 1) / 2`` evaluations and one of the Jacobian.
    measure : ErrorMeasure

    Returns
    -------
    Tensor of shape (n, k)
        Rows with a slope that is not finite are NaN, rows of more than 2000 steps infinite.
    """
    done, going = torch.full_like(y, float("nan")), torch.arange(len(y), device=y.device)
    t, h = torch.zeros_like(y[:, :1]), torch.full_like(y[:, :1], first_step)
    slope, growth = f(t, y), torch.full_like(t, _GROW_IMPLICIT)
    expected = torch.ones_like(t)
    for _ in range(_MOST_IMPLICIT_STEPS):
        last = h >= end - t
        h = torch.where(last, end - t, h)
        J = jacobian(t, y)
        y_next, error, before = _extrapolated_step(f, J, slope, t, y, h, order)
        slope_next = f(t + h, y_next)
        error = (measure(y_next, error) / tol).nan_to_num(nan=float("inf"))
        changes = _implicit_changes(J, h / order)
        jump = measure(y_next, changes(slope_next - before))
        usual = measure(y_next, changes(slope_next + before))
        hidden = jump > 0.25 * usual + _JUMP * tol
        error = torch.where(hidden, error.clamp_min(_REFUSED), error)
        accepted = error <= 1
        t, y = torch.where(accepted, t + h, t), torch.where(accepted, y_next, y)
        slope = torch.where(accepted, slope_next, slope)
        wanted = _SAFETY * error.clamp_min(1e-10) ** (-1 / order)
        factor = wanted.clamp_min(_SHRINK).minimum(growth)
        # As much as between this step and the one before it may be lost once more.
        trend = factor * (wanted / expected).clamp(_SHRINK, 1.0)
        factor = torch.where(accepted, trend, factor)
        expected = torch.where(accepted, wanted / factor, expected)
        growth = torch.where(accepted, _GROW_IMPLICIT, 1.0).to(h)  # none just after a refusal
        finished, lost = (accepted & last)[:, 0], ~slope.isfinite().all(1)
        done[going[finished]] = y[finished]
        keep = ~(finished | lost)
        state = (going, t, y, h * factor, slope, growth, expected)
        going, t, y, h, slope, growth, expected = (v[keep] for v in state)
        if not len(going):
            break
    else:
        done[going] = float("inf")
    return done
