"""Explicit Runge-Kutta steps on a given grid.

A method is a table (nodes ``c``, stages ``a``, weights ``b``) and the order it
declares; the step and the loop are written once.  The state may be anything
that adds and scales: a number, an array, a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


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


def _advance(y: Any, h: float, weights: Iterable[float], slopes: list[Any]) -> Any:
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
