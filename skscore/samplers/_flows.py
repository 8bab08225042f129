"""Reverse samplers that follow the probability flow ``dy/dtheta = F``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skscore._math.angles import AngularField, denoiser, flow
from skscore._math.integrate import METHODS
from skscore._params import check_in_range, check_positive
from skscore.samplers._reverse import ReverseSampler, angle_of, field_at, normal_like


class Heun(ReverseSampler):
    """Heun's second-order steps of the probability flow, with churn (Karras et al. 2022).

    Parameters
    ----------
    churn : float in [0, inf), default=0
        Before a step the rows are noised back up by this fraction of it; a little corrects
        errors of earlier steps.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import Heun
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, Heun(churn=0.1), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = 2
    n_evaluations = 2
    n_steps = 16

    def __init__(self, churn: float = 0.0) -> None:
        self.churn = churn

    def check(self) -> None:
        """Refuse parameters that are out of range."""
        check_in_range(self, "churn", self.churn, 0.0, math.inf)

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """Noise a little, then one Heun step."""
        raised = min(theta + self.churn * (theta - theta_next), math.pi / 2)
        if raised > theta:
            variance = math.sin(raised - theta) * math.sin(raised + theta)
            scale = 1 / math.cos(theta)
            y = scale * (math.cos(raised) * y + math.sqrt(variance) * normal_like(y, generator))
        return _flow_step("heun", field, y, raised, theta_next), None

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """A last step of the flow."""
        return _flow_step("heun", field, y, theta, 0.0)


class RungeKuttaFlow(ReverseSampler):
    """Fourth-order Runge-Kutta steps of the probability flow.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import RungeKuttaFlow
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, RungeKuttaFlow(), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = 4
    n_evaluations = 4
    n_steps = 8

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """One step."""
        return _flow_step("rk4", field, y, theta, theta_next), None

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """A last step of the flow."""
        return _flow_step("rk4", field, y, theta, 0.0)


def _flow_step(
    method: str, field: AngularField, y: Tensor, theta: float, theta_next: float
) -> Tensor:
    return METHODS[method].step(lambda t, y: field_at(field, y, t), theta, y, theta_next - theta)


@dataclass(frozen=True)
class _Past:
    """The angle of the step before and the row there, and the last two angles with their slopes."""

    theta: float
    y: Tensor
    slopes: list[tuple[float, Tensor]]


class AdamsFlow(ReverseSampler):
    """Steps of the probability flow by the formulas of Adams, of order three.

    A step corrects the one before it by the slope where that ended (Adams and Moulton), and
    extrapolates the last three slopes (Adams and Bashforth): one evaluation for both.  Steps may be
    of any length; by default they are even in the square root of the angle.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import AdamsFlow
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, AdamsFlow(), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = 3
    n_steps = 15
    grid = "sqrt_theta"

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """Correct the last step, and take one; remembers both ends of it and three slopes."""
        slopes = [(theta, field_at(field, y, theta))]
        if memory is not None:
            slopes += memory.slopes
            y = _extrapolated(memory.y, slopes, memory.theta, theta)
        y_next = _extrapolated(y, slopes, theta, theta_next)
        return y_next, _Past(theta, y, slopes[:2])

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """A last step of the flow, by Heun's method."""
        return _flow_step("heun", field, y, theta, 0.0)


def _extrapolated(
    y: Tensor, slopes: Iterable[tuple[float, Tensor]], start: float, end: float
) -> Tensor:
    """y and the integral from `start` to `end` of the polynomial through slopes at some angles."""
    angles = [angle for angle, _ in slopes]
    for angle, slope in slopes:
        y = y + _integral(angle, [other for other in angles if other != angle], start, end) * slope
    return y


def _integral(node: float, others: list[float], start: float, end: float) -> float:
    """Of the polynomial that is one at a node and zero at at most three others: Simpson's rule."""

    def value(theta: float) -> float:
        return math.prod((theta - other) / (node - other) for other in others)

    return (end - start) / 6 * (value(start) + 4 * value(0.5 * (start + end)) + value(end))


class DPMSolverMultistep(ReverseSampler):
    """DPM-Solver++ 2M: second order from one evaluation a step (Lu et al. 2022).

    It extrapolates the denoised rows of the last two steps in ``log tan(theta)``; the order is
    that in even steps of it (``grid="loguniform"``).

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import DPMSolverMultistep
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> sampler = ScoreBasedSampler(score, DPMSolverMultistep(), init=rows)
    >>> draws = sampler.sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = 2
    n_steps = 25

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """One step; remembers the denoised rows and its length."""
        sin = math.sin(theta)
        D = denoiser(field_at(field, y, theta), y, angle_of(y, theta))
        h = _log_snr(theta_next) - _log_snr(theta)
        extrapolated = D
        if memory is not None:
            D_before, h_before = memory
            extrapolated = D + (h / (2 * h_before)) * (D - D_before)
        ratio = math.sin(theta_next) / sin
        y = ratio * y + (math.sin(theta - theta_next) / sin) * extrapolated
        return y, (D, h)


def _log_snr(theta: float) -> float:
    """Half the logarithm of the signal-to-noise ratio; finite at pi/2."""
    return math.log(max(math.cos(theta), 1e-15)) - math.log(math.sin(theta))


class DormandPrinceFlow(ReverseSampler):
    """The probability flow by steps of orders 5 and 4 that every row chooses for itself.

    Parameters
    ----------
    tol : float in (0, inf), default=1e-3
        Largest error of a step, in the Euclidean norm of a standardised row.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import DormandPrinceFlow
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> sampler = ScoreBasedSampler(score, DormandPrinceFlow(tol=1e-4), init=rows)
    >>> draws = sampler.sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = None
    n_evaluations = None
    n_steps = 1

    def __init__(self, tol: float = 1e-3) -> None:
        self.tol = tol

    def check(self) -> None:
        """Refuse parameters that are out of range."""
        check_positive(self, "tol", self.tol)

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """As many steps as it takes."""
        return flow(field, y, theta, theta_next, self.tol), None

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """As many steps as it takes."""
        return flow(field, y, theta, 0.0, self.tol)
