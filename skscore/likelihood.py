r"""Log-densities of diffusion models, exact and bounded from below.

The probability flow ``dy/dtheta = F(y, theta)`` carries a row from theta = 0 to N(0, I) at
theta = pi/2 (:mod:`skscore._math.angles`), and the change of variables along it is::

    log p(x) = log N(y(pi/2); 0, I) + int_0^{pi/2} div F(y(theta), theta) dtheta.

:func:`log_density` follows both, to a tolerance in nats: an error e_y of the row and one of the
integral, e_l, come to ``|y . e_y| + |e_y| + |e_l|``.  All rows take even steps in u, ``theta =
(pi/4) (u^2 + u^3)``, of one evaluation each; they are short where theta is small and F varies
with its logarithm.  As if F did not depend on theta before 0, the slopes there that a multistep
formula asks for are polynomials in u, too.  The divergence, which costs many times as much as F, is
smooth along the way, and its integral takes every other step; the error is estimated from that of
every fourth.  There are several such grids: a row far out starts with a finer one, and
rows whose estimated error is too large go on to the grid that their estimate calls for.

Between clusters the flow is stiff.  Neighbouring rows run together at rates that grow with the
depth of the valley, ``-log p``, and steps of any explicit formula must be as short.  What the
finest grid does not solve takes implicit steps
(:func:`skscore._math.integrate.integrate_implicitly`), in w with ``theta = sigma_min sinh(w)``;
their number hardly grows with the depth.

The stochastic process with the same field has another law, whose log-density has the
lower bound (Kingma et al. 2021; with N(0, I) reached exactly there is no term of the prior)::

    log p(x) >= -(d/2) log(2 pi sigma_0^2) - E |x - D(y, theta_0)|^2 / (2 sigma_0^2)
                - int_{theta_0}^{pi/2} cot(theta) E |F(y, theta) - v|^2 dtheta,

with ``v`` the velocity of ``y = cos(theta) x + sin(theta) eps``, ``sigma_0 = tan(theta_0)`` the
smallest level, and a Gaussian about the denoised row as the last step.

References
----------
Chen, Rubanova, Bettencourt and Duvenaud (2018). Neural ordinary differential equations.
Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud (2019). FFJORD.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations.
Kingma, Salimans, Poole and Ho (2021). Variational diffusion models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skscore._math import calculus
from skscore._math.angles import AngularField, noised
from skscore._math.integrate import (
    ErrorMeasure,
    RowField,
    RowJacobian,
    integrate_evenly,
    integrate_implicitly,
)

__all__ = [
    "FieldAndDivergence",
    "log_density",
    "lower_bound",
    "standard_normal",
]

FieldAndDivergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Rows (n, d) and angles (n, 1) or (1, 1) to F (n, d) and divergences (n, m), m estimates."""

_LAST_DRAWS = 4
_STEPS, _LEAST_STEPS, _MOST_STEPS = 36, 12, 600  # even ones, the first at a tolerance of 5e-4
_GRIDS = (1.0, 1.5, 2.0, 3.0, 4.0)  # how many times as many
_FAR = (2.0, 4.0, 16.0)  # root mean squares of a row's columns from which it starts a grid later
_SLACK, _SLACK_IMPLICIT = 60.0, 0.5  # of all even steps, and of one implicit, in tolerances
_COARSER = 0.6  # weight of the difference to the integral of half the points, ten times the error
_ACROSS = 10.0  # weight of errors of the row in implicit steps
_FIRST_STEP = 0.5  # in w
_DEEP = 50.0  # nats a column, from which on errors are relative


def standard_normal(y: Tensor) -> Tensor:
    """``log N(y; 0, I)``, (n, d) to (n,).

    Examples
    --------
    >>> import torch
    >>> from skscore.likelihood import standard_normal
    >>> standard_normal(torch.zeros(1, 2)).round(decimals=4)
    tensor([-1.8379])
    """
    return -0.5 * (y.square().sum(1) + y.shape[1] * math.log(2 * math.pi))


def log_density(
    field: FieldAndDivergence,
    x: Tensor,
    sigma_min: float,
    tol: float,
    n_estimates: int = 1,
    *,
    drift: AngularField | None = None,
    even: FieldAndDivergence | None = None,
    at_once: int = 1024,
) -> Tensor:
    """Log-density of the probability flow.

    Parameters
    ----------
    field : callable
        See :data:`FieldAndDivergence`.
    x : Tensor of shape (n, d)
    sigma_min : float in (0, inf)
        Smallest level at which F was trained.
    tol : float in (0, inf)
        What a step may contribute to the error, in nats; sixty times that is the most for the
        estimates of all even steps of a row together, which lie far above the error.  Where row
        and integral come to more than 50 nats a column, it is relative to them.
    n_estimates : int in [1, inf), default=1
        The m of the field.
    drift : AngularField or None, default=None
        F alone; None is that of the field.
    even : callable or None, default=None
        A cheaper field for the even steps, whose divergence may be in single precision; None is
        `field`.
    at_once : int in [1, inf), default=1024
        Rows solved at a time.

    Returns
    -------
    Tensor of shape (n, n_estimates)
        In nats; NaN where F is not finite, infinite where 2000 implicit steps do not do.

    Examples
    --------
    >>> import torch
    >>> from skscore.likelihood import log_density
    >>> standard_normal = lambda y, theta: (0 * y, 0 * y[:, :1])
    >>> log_density(standard_normal, torch.zeros(1, 2), sigma_min=0.002, tol=1e-3).round(decimals=4)
    tensor([[-1.8379]])
    """
    d = x.shape[1]
    F = (lambda y, theta: field(y, theta)[0]) if drift is None else drift

    def slopes(theta: Tensor, state: Tensor) -> Tensor:
        return torch.cat(field(state[:, :d], theta), dim=1)

    def jacobian(theta: Tensor, state: Tensor) -> Tensor:
        return calculus.jacobian(lambda y: F(y, theta), state[:, :d]).detach()

    start = torch.cat([x, x.new_zeros(len(x), n_estimates)], dim=1)
    end, settled = _even_steps(F, field if even is None else even, start, d, tol, at_once)
    for rows in _parts(~settled, at_once):
        end[rows] = _implicit_steps(slopes, jacobian, start[rows], d, sigma_min, tol)
    solved = standard_normal(end[:, :d])[:, None] + end[:, d:]
    return torch.where(end[:, d:].isposinf(), end[:, d:], solved)


def _parts(chosen: Tensor, at_once: int) -> list[Tensor]:
    """The places where `chosen` is true, so many at a time."""
    places = chosen.nonzero()[:, 0]
    return list(places.split(at_once)) if len(places) else []


def _nats(d: int) -> ErrorMeasure:
    """What errors of states, d columns of a row and its integrals, come to in its log-density.

    Errors of the row count ten times: they may move it out of a narrow valley.
    """

    def measure(state: Tensor, error: Tensor) -> Tensor:
        size = _moved(state[:, :d], error[:, :d], _ACROSS) + _largest(error[:, d:])
        return size / _depth(state[:, :d], state[:, d:])

    return measure


def _moved(y: Tensor, e_y: Tensor, across: float) -> Tensor:
    """What errors of rows come to in their log-densities, (n, 1)."""
    return (y * e_y).sum(1, keepdim=True).abs() + across * e_y.norm(dim=1, keepdim=True)


def _depth(y: Tensor, integrals: Tensor) -> Tensor:
    """What errors in nats are relative to, (n, 1): one down to 50 nats a column."""
    depth = 0.5 * y.square().sum(1, keepdim=True) + _largest(integrals)
    return (depth / (_DEEP * y.shape[1])).clamp_min(1.0)


def _largest(values: Tensor) -> Tensor:
    return values.abs().amax(dim=1, keepdim=True)


def _even_grids(tol: float) -> list[int]:
    """Numbers of even steps, each more than the one before and a multiple of four."""
    fewest = max(_LEAST_STEPS, _STEPS * (5e-4 / tol) ** 0.25)
    return [n for n in (4 * math.ceil(fewest * times / 4) for times in _GRIDS) if n <= _MOST_STEPS]


def _even_steps(
    drift: AngularField,
    field: FieldAndDivergence,
    start: Tensor,
    d: int,
    tol: float,
    at_once: int,
) -> tuple[Tensor, Tensor]:
    """States at pi/2 by even steps in u, and which of them are good enough."""
    end, grids = start.clone(), _even_grids(tol)
    spread = start[:, :d].square().mean(1).sqrt()
    place = torch.bucketize(spread, spread.new_tensor(_FAR)).clamp_max(max(len(grids) - 1, 0))
    finest = start.new_tensor(grids)
    for k, n_steps in enumerate(grids):
        for rows in _parts(place == k, at_once):
            end[rows], error = _common_steps(drift, field, start[rows, :d], n_steps)
            excess = error / (_SLACK * tol)
            wanted = (n_steps * excess**0.25).nan_to_num(nan=math.inf)
            further = torch.searchsorted(finest, wanted).clamp_min(k + 1)
            place[rows] = torch.where(excess <= 1, -1, further)
    return end, place == -1


def _common_steps(
    drift: AngularField, field: FieldAndDivergence, x: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """States at pi/2 by even steps in u, the same for all rows, and their estimated errors.

    A step is the unit of time.  The divergence is asked for at every other one.
    """
    traces: list[Tensor] = []

    def rate(n: float) -> float:
        u = n / n_steps
        return 0.25 * math.pi * (2 * u + 3 * u**2) / n_steps

    def slopes(n: float, y: Tensor) -> Tensor:
        u = n / n_steps
        theta = y.new_full((1, 1), 0.25 * math.pi * (u**2 + u**3))
        if n % 2:
            return rate(n) * drift(y, theta)
        F, trace = field(y, theta)
        traces.append(rate(n) * trace)
        return rate(n) * F

    first, trace = field(x, x.new_zeros(1, 1))
    history = [rate(-j) * first for j in range(4)]
    measure = partial(_moved, across=1.0)
    y, moved = integrate_evenly(slopes, x, history, 0.0, 1.0, n_steps, measure)
    start = 0.5 * math.pi / n_steps**2 * trace  # with which the rate times the trace begins
    fine, coarse = _integral(traces, start, 2), _integral(traces[1::2], start, 4)
    missed = moved[:, None] + _COARSER * _largest(fine - coarse)
    depth = torch.maximum(_depth(x, torch.zeros_like(fine)), _depth(y, fine))
    return torch.cat([y, fine], dim=1), (missed / depth)[:, 0]


def _integral(values: list[Tensor], slope: Tensor, step: float) -> Tensor:
    """The integral from a place where the integrand is zero and has a slope.

    `values` are those at the ends of the steps.  The trapezoids are corrected by Euler and
    Maclaurin's formula at the start and by Gregory's, to the second differences, at the end.
    """
    last, before, third = values[-1], values[-2], values[-3]
    beyond = 5 / 8 * last - 1 / 6 * before + 1 / 24 * third
    return step * (torch.stack(values).sum(0) - beyond) + step**2 / 12 * slope


def _implicit_steps(
    slopes: RowField, jacobian: RowJacobian, y: Tensor, d: int, sigma_min: float, tol: float
) -> Tensor:
    """States at pi/2 by steps in w that every row chooses for itself."""

    def slopes_in_w(w: Tensor, y: Tensor) -> Tensor:
        return (sigma_min * w.cosh()) * slopes(sigma_min * w.sinh(), y)

    def jacobian_in_w(w: Tensor, y: Tensor) -> Tensor:
        return (sigma_min * w.cosh())[:, :, None] * jacobian(sigma_min * w.sinh(), y)

    order = min(8, max(4, math.ceil(-math.log10(tol))))
    end = math.asinh(0.5 * math.pi / sigma_min)
    return integrate_implicitly(
        slopes_in_w,
        jacobian_in_w,
        y,
        end,
        _SLACK_IMPLICIT * tol,
        _FIRST_STEP,
        order,
        _nats(d),
    )


def lower_bound(
    field: AngularField, x: Tensor, sigma_min: float, n_draws: int, seed: int
) -> Tensor:
    """Estimate of the variational lower bound of the log-density.

    Levels, even in ``log sin(theta)``, and noise are a scrambled Sobol sequence, shifted for
    each row by an amount that depends on nothing but the row, so that errors of rows are
    independent and average out; the noise comes in pairs.  What F = 0 would lose is known in
    closed form; only the difference to it is estimated, and for Gaussian rows nothing is left
    to chance.

    Parameters
    ----------
    field : callable
        ``F(y, theta)``.
    x : Tensor of shape (n, d)
    sigma_min : float in (0, inf)
    n_draws : int in [1, inf)
        Levels; two evaluations of the field each.
    seed : int
        Of the scrambling and the shifts.

    Returns
    -------
    Tensor of shape (n,)
        In nats.

    Examples
    --------
    >>> import torch
    >>> from skscore.likelihood import lower_bound
    >>> standard_normal = lambda y, theta: 0 * y
    >>> x = torch.zeros(1, 2, dtype=torch.float64)
    >>> lower_bound(standard_normal, x, sigma_min=0.002, n_draws=4, seed=0).round(decimals=4)
    tensor([-1.8379], dtype=torch.float64)
    """
    n, d = x.shape
    theta_0 = math.atan(sigma_min)
    depth, cos2 = -math.log(math.sin(theta_0)), math.cos(theta_0) ** 2
    total, last = x.new_zeros(n), x.new_zeros(n)
    for k, u in enumerate(_shifted_sobol(x, n_draws, seed)):
        theta = (-depth * u[:, :1]).exp().asin().to(x)
        eps = torch.special.ndtri(u[:, 1:]).to(x)
        total += _excess(field, x, eps, theta)
        if k < _LAST_DRAWS:
            last += _excess(field, x, eps, torch.full_like(theta, theta_0))
    squares, n_last = x.square().sum(1), min(n_draws, _LAST_DRAWS)
    # int cot (cos^2 d + sin^2 |x|^2) dtheta, the loss of F = 0, and the estimate of the rest
    loss = d * (depth - cos2 / 2) + squares * cos2 / 2 + depth * total / n_draws
    residual = cos2 * (cos2 * d + (1 - cos2) * squares + last / n_last)
    return -0.5 * (d * math.log(2 * math.pi * sigma_min**2) + residual) - loss


def _shifted_sobol(x: Tensor, n_draws: int, seed: int) -> Iterator[Tensor]:
    """Points of the open unit cube (n, d + 1), one after another, in double precision."""
    d = x.shape[1]
    points = _sobol(d + 1, n_draws, seed)
    source = torch.Generator("cpu").manual_seed(seed)
    mixing = torch.empty(d, d + 1, dtype=torch.float64, device="cpu")
    mixing.normal_(generator=source).mul_(1e3)
    shifts = x.double() @ mixing.to(x.device)
    for point in points.to(x.device):
        yield (point + shifts).remainder(1.0).clamp(1e-12, 1 - 1e-12)


def _sobol(d: int, n: int, seed: int) -> Tensor:
    """Points (n, d); torch's engine has the first one in the default dtype only."""
    engine = SobolEngine(d, scramble=True, seed=seed)
    first = engine.quasi.double() / 2**engine.MAXBIT
    return torch.cat([first[None], engine.fast_forward(1).draw(n - 1, dtype=torch.float64)])


def _excess(field: AngularField, x: Tensor, eps: Tensor, theta: Tensor) -> Tensor:
    """``|F - v|^2 - |v|^2`` at an angle, averaged over eps and -eps."""
    excess = torch.zeros_like(x[:, 0])
    for noise in (eps, -eps):
        y, v = noised(x, noise, theta)
        F = field(y, theta)
        excess += 0.5 * (F * (F - 2 * v)).sum(1)
    return excess
