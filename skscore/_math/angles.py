r"""One coordinate for all noise levels, and the forms of a model there.

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

In the functions theta is a tensor of shape (n, 1), an angle for each row, or (1, 1), one for all;
a :class:`Level` is a single angle, and has the forms at rows x~.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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


def field_weights(score_weights: Tensor, sigma: Tensor) -> Tensor:
    """Factors of the squared error of F that weight that of the score of x~ at levels sigma.

    An error of F is one of that score times ``cos(theta)^2 / sin(theta)``, whose square is ``1 /
    (sigma^2 + sigma^4)``.
    """
    square = sigma.square()
    return score_weights / (square + square.square())


@dataclass(frozen=True)
class Level:
    """One noise level, and what a field F at ``y = cos(theta) x~`` says of the rows x~ there.

    Attributes
    ----------
    theta, cos : float
        The angle, and its cosine.
    gain : float
        The factor of F in the score of x~, ``cos(theta)^2 / sin(theta)``, which grows without
        bound towards theta = 0.  For one network without noise (sigma = 0) it is one.
    """

    theta: float
    cos: float
    gain: float

    @classmethod
    def of(cls, sigma: float) -> Level:
        """The level sigma in [0, inf)."""
        theta = math.atan(sigma)
        cos = math.cos(theta)
        return cls(theta, cos, cos**2 / math.sin(theta) if sigma > 0 else 1.0)

    def y(self, x: Tensor) -> Tensor:
        """``cos(theta) x~``."""
        return self.cos * x

    def score(self, F: Tensor, y: Tensor) -> Tensor:
        """The score of x~, ``-cos(theta) (y + cot(theta) F)``, (n, d)."""
        return -self.cos * y - self.gain * F

    def score_forms(self, forms: Tensor, directions: Tensor) -> Tensor:
        """``sum_k v_k' (ds/dx~) v_k`` from ``sum_k v_k' (dF/dy) v_k``, directions (m, d)."""
        return -(self.cos**2 * directions.square().sum()) - self.cos * self.gain * forms

    def energy(self, potential: Tensor, y: Tensor) -> Tensor:
        """E (n,) with ``-dE/dx~`` the score of x~, where F is the gradient of a potential (n,)."""
        return 0.5 * y.square().sum(1) + (self.gain / self.cos) * potential


def flow(field: AngularField, y: Tensor, start: float, end: float, tol: float) -> Tensor:
    """Rows (n, d) carried along ``dy/dtheta = F`` between two angles, to `tol` a step.

    Solved in w with ``theta = c sinh(w)``, which is even in log theta down to c: on the way down
    a step in theta itself overlooks what F does at the smallest levels, or is tried in vain.
    """

    def slope(w: Tensor, y: Tensor) -> Tensor:
        return field(y, _FINEST * w.sinh()) * (_FINEST * w.cosh())

    first, last = (math.asinh(angle / _FINEST) for angle in (start, end))
    return integrate_adaptively(slope, y, first, last, tol, _FIRST_STEP)
