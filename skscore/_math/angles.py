r"""One coordinate for all noise levels, and the four forms of what a network says there.

Every linear noise process ``x_t = alpha x_0 + sigma eps`` is, up to a change of scale and
of time, the rotation

    y = cos(theta) x_0 + sin(theta) eps,    theta = arctan(sigma / alpha) in [0, pi/2],

from the rows (theta = 0) to pure noise (theta = pi/2).  Rows at level ``sigma`` are
``x~ = x_0 + sigma eps = y / cos(theta)`` with ``sigma = tan(theta)``.  Equivalent forms of
a model at (y, theta):

====================  ==============================  =================================
field F               ``E[dy / dtheta | y]``          probability flow ``dy/dtheta = F``
denoiser D            ``E[x_0 | y]``                  ``cos(theta) y - sin(theta) F``
noise                 ``E[eps | y]``                  ``sin(theta) y + cos(theta) F``
score of y            ``grad_y log p_theta(y)``       ``-(y + cot(theta) F)``
score of x~           ``grad log p_sigma(x~)``        ``cos(theta)`` times that of y
====================  ==============================  =================================

Rows of identity covariance keep it at every theta, and F = 0 where they are Gaussian.

Everywhere theta is a tensor of shape (n, 1), an angle for each row, or (1, 1), one for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from skscore._math.integrate import integrate_adaptively

_FINEST, _FIRST_STEP = 0.005, 0.5  # of the flow: the scale c of angles, and a step in w

AngularField = Callable[[Tensor, Tensor], Tensor]
"""``F(y, theta)``: rows (n, d) and angles (n, 1) or (1, 1) to (n, d)."""


def noised(x: Tensor, eps: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Rows y at theta, and their velocity ``dy / dtheta``, which F is regressed on."""
    cos, sin = theta.cos(), theta.sin()
    return cos * x + sin * eps, cos * eps - sin * x


def noised_pairs(x: Tensor, eps: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and velocities by eps and, below them, by -eps; both (..., 2 n, d)."""
    cos, sin = theta.cos(), theta.sin()
    near, far, turn, fall = cos * x, sin * eps, cos * eps, sin * x
    y, v = (near + far, near - far), (turn - fall, -turn - fall)
    return torch.cat(y, dim=-2), torch.cat(v, dim=-2)


def denoiser(F: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """``D = E[x_0 | y]``."""
    return theta.cos() * y - theta.sin() * F


def noise(F: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """``E[eps | y]``."""
    return theta.sin() * y + theta.cos() * F


def score(F: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """``grad_y log p_theta(y)``, for theta > 0."""
    return -(y + F / theta.tan())


def field_from_denoiser(D: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """F of a denoiser, for theta > 0."""
    return (theta.cos() * y - D) / theta.sin()


def field_from_noise(eps: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """F of a noise prediction, for theta < pi/2."""
    return (eps - theta.sin() * y) / theta.cos()


def field_from_score(s: Tensor, y: Tensor, theta: Tensor) -> Tensor:
    """F of the score of y, for theta < pi/2."""
    return -theta.tan() * (y + s)


def field_of_score(
    level_score: Callable[[Tensor, Tensor], Tensor], sigma_min: float, sigma_max: float
) -> AngularField:
    """The field of a score ``s(x~, sigma)`` known at levels in a range; the nearest outside."""

    def field(y: Tensor, theta: Tensor) -> Tensor:
        theta = theta.clamp(math.atan(sigma_min), math.atan(sigma_max))
        cos = theta.cos()
        return field_from_score(level_score(y / cos, theta.tan()) / cos, y, theta)

    return field


def flow(field: AngularField, y: Tensor, start: float, end: float, tol: float) -> Tensor:
    """Rows (n, d) carried along ``dy/dtheta = F`` between two angles, to `tol` a step.

    Solved in w with ``theta = c sinh(w)``, which is even in log theta down to c: on the way down
    a step in theta itself overlooks what F does at the smallest levels, or is tried in vain.
    """

    def slope(w: Tensor, y: Tensor) -> Tensor:
        return field(y, _FINEST * w.sinh()) * (_FINEST * w.cosh())

    ends = (math.asinh(angle / _FINEST) for angle in (start, end))
    return integrate_adaptively(slope, y, *ends, tol, _FIRST_STEP)
