r"""Log-densities of diffusion models, exact and bounded from below.

The probability flow ``dy/dtheta = F(y, theta)`` carries a row from theta = 0 to N(0, I) at
theta = pi/2 (:mod:`skscore._canonical`), and the change of variables along it is::

    log p(x) = log N(y(pi/2); 0, I) + int_0^{pi/2} div F(y(theta), theta) dtheta.

:func:`log_density` follows both, to a tolerance.  First all rows take the same even steps in u,
``theta = (pi/4) (u^2 + u^3)``, of one evaluation each; they are short where theta is small and F
varies with its logarithm.  As if F did not depend on theta before 0, the slopes there that a
multistep formula asks for are polynomials in u, too.  Rows whose estimated error is too large
are solved anew, by steps that each of them chooses for itself.

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

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skscore._canonical import AngularField, noised
from skscore._integrate import RowField, distance, integrate_adaptively, integrate_evenly

__all__ = [
    "FieldAndDivergence",
    "log_density",
    "lower_bound",
    "standard_normal",
]

FieldAndDivergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Rows (n, d) and angles (n, 1) or (1, 1) to F (n, d) and divergences (n, m), m estimates."""

_FIRST_STEP = 2.5  # of the solvers, in units of the smallest level, the finest scale of F
_LAST_DRAWS = 4
_COMMON_STEPS, _LEAST_STEPS, _MOST_STEPS = 36, 8, 200  # the first at a tolerance of 5e-4
_SLACK = 20.0  # error of all common steps together, in tolerances of one step


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
    field: FieldAndDivergence, x: Tensor, sigma_min: float, tol: float, n_estimates: int = 1
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
        Largest error of a step, of a row and of its log-density together; twenty times
        that is the most for the sum of all common steps.
    n_estimates : int in [1, inf), default=1
        The m of the field.

    Returns
    -------
    Tensor of shape (n, n_estimates)
        In nats.

    Examples
    --------
    >>> import torch
    >>> from skscore.likelihood import log_density
    >>> standard_normal = lambda y, theta: (0 * y, 0 * y[:, :1])
    >>> log_density(standard_normal, torch.zeros(1, 2), sigma_min=0.002, tol=1e-3).round(decimals=4)
    tensor([[-1.8379]])
    """
    d = x.shape[1]

    def slopes(theta: Tensor, state: Tensor) -> Tensor:
        return torch.cat(field(state[:, :d], theta), dim=1)

    start = torch.cat([x, x.new_zeros(len(x), n_estimates)], dim=1)
    end, settled = _common_steps(slopes, start, tol)
    rest = (~settled).nonzero()[:, 0]
    if len(rest):
        first_step = _FIRST_STEP * sigma_min
        end[rest] = integrate_adaptively(slopes, start[rest], 0.0, math.pi / 2, tol, first_step)
    return standard_normal(end[:, :d])[:, None] + end[:, d:]


def _common_steps(slopes: RowField, y: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """States at pi/2 by even steps in u, and which of them are good enough."""
    n_steps = max(_LEAST_STEPS, math.ceil(_COMMON_STEPS * (5e-4 / tol) ** 0.25))
    if n_steps > _MOST_STEPS:
        return torch.empty_like(y), torch.zeros_like(y[:, 0], dtype=torch.bool)
    step = 1 / n_steps

    def rate(u: float) -> float:
        return 0.25 * math.pi * (2 * u + 3 * u**2)

    def slopes_in_u(u: float, y: Tensor) -> Tensor:
        theta = 0.25 * math.pi * (u**2 + u**3)
        return rate(u) * slopes(y.new_full((1, 1), theta), y)

    first = slopes(y.new_zeros(1, 1), y)
    history = [rate(-j * step) * first for j in range(4)]
    end, error = integrate_evenly(slopes_in_u, y, history, 0.0, step, n_steps)
    return end, error <= _SLACK * tol * distance(end)[:, 0]


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
    points = SobolEngine(d + 1, scramble=True, seed=seed).draw(n_draws, dtype=torch.float64)
    source = torch.Generator().manual_seed(seed)
    mixing = 1e3 * torch.empty(d, d + 1, dtype=torch.float64).normal_(generator=source)
    shifts = x.double() @ mixing.to(x.device)
    for point in points.to(x.device):
        yield (point + shifts).remainder(1.0).clamp(1e-12, 1 - 1e-12)


def _excess(field: AngularField, x: Tensor, eps: Tensor, theta: Tensor) -> Tensor:
    """``|F - v|^2 - |v|^2`` at an angle, averaged over eps and -eps."""
    excess = torch.zeros_like(x[:, 0])
    for noise in (eps, -eps):
        y, v = noised(x, noise, theta)
        F = field(y, theta)
        excess += 0.5 * (F * (F - 2 * v)).sum(1)
    return excess
