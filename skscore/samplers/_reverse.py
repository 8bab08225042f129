r"""Reverse samplers: from noise to rows, down the noise levels.

All work in the coordinate ``y = cos(theta) x_0 + sin(theta) eps`` of
:mod:`skscore._math.angles`, with a field F(y, theta) that stands for the score at every
level.  There every linear noise process is an Ornstein-Uhlenbeck process in the time
``tau = -log cos(theta)``, and the reverse family is

    deterministic   dy/dtheta = F
    stochastic      dy = -(y + 2 s) d tau + sqrt(2) dW,    s = -(y + cot(theta) F),

run from theta = pi/2, where y is exactly N(0, I), to theta = 0.  A sampler is one ``step``
between two angles; the loop is :func:`run_reverse`.  To add one, write its class here and
name it in ``samplers/__init__.py``.

References
----------
Song and Ermon (2019). Generative modeling by estimating gradients of the data distribution.
Ho, Jain and Abbeel (2020). Denoising diffusion probabilistic models.
Song, Meng and Ermon (2021). Denoising diffusion implicit models.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations.
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models.
Lu, Zhou, Bao, Chen, Li and Zhu (2022). DPM-Solver++: fast solver for guided sampling of
diffusion probabilistic models.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from skscore._math.angles import AngularField, denoiser, flow, noise, score
from skscore._math.integrate import METHODS
from skscore._params import Part, check_count, check_in_range, check_positive

_CHUNK = 4096  # rows moved together


class ReverseSampler(Part, ABC):
    """Contract: a step between two positive angles, and the last one, from an angle to rows.

    ``order`` is the power of the step length with which the error of the law that is drawn
    falls (None where the length of the steps is not what limits it), ``n_evaluations`` the
    calls of the field in a step (None where they vary).  ``from_infinity`` says whether steps
    may start at theta = pi/2; others start at the largest trained level, with the same draw.
    """

    order: int | None = 1
    n_evaluations: int | None = 1
    from_infinity = True
    n_steps = 50

    def check(self) -> None:
        """Refuse parameters that are out of range."""

    @abstractmethod
    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """Rows (n, d) at the lower angle, and what the next step may want to know."""

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """Rows (n, d) at theta = 0: the posterior mean ``D(y, theta)``."""
        return denoiser(_at(field, y, theta), y, _angle(y, theta))


def _angle(y: Tensor, theta: float) -> Tensor:
    return y.new_full((1, 1), theta)


def _at(field: AngularField, y: Tensor, theta: float) -> Tensor:
    return field(y, _angle(y, theta))


def _normal(y: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(y).normal_(generator=generator)


def _langevin_step(
    field: AngularField, y: Tensor, theta: float, h: float, generator: torch.Generator
) -> Tensor:
    """``y <- y + h s(y) + sqrt(2 h) z`` at an angle."""
    s = score(_at(field, y, theta), y, _angle(y, theta))
    return y + h * s + math.sqrt(2 * h) * _normal(y, generator)


def _posterior_step(
    F: Tensor, y: Tensor, theta: float, theta_next: float, eta: float, generator: torch.Generator
) -> Tensor:
    """Draw from ``q(y_next | y, x_0 = D)``, with eta times its standard deviation rho.

    ``y_next = cos(next) D + sqrt(sin^2(next) - eta^2 rho^2) eps + eta rho z``.
    """
    sin, sin_next, angle = math.sin(theta), math.sin(theta_next), _angle(y, theta)
    variance = math.sin(theta - theta_next) * math.sin(theta + theta_next)
    rho = eta * (sin_next / sin) * math.sqrt(variance) / math.cos(theta_next)
    D, eps = denoiser(F, y, angle), noise(F, y, angle)
    y = math.cos(theta_next) * D + math.sqrt(max(sin_next**2 - rho**2, 0.0)) * eps
    return y + rho * _normal(y, generator) if rho else y


class AnnealedLangevin(ReverseSampler):
    """Some Langevin steps at each of a falling sequence of levels (Song and Ermon 2019).

    Parameters
    ----------
    n_corrections : int in [1, inf), default=5
        Langevin steps at a level.
    step_size : float in (0, inf), default=0.5
        Of ``y <- y + h s + sqrt(2 h) z``, in units of the level's ``sin(theta)^2``; stable
        below 2.  The paper has 0.1.

    Notes
    -----
    What is left of a level's law is carried to the next one unchanged, so the levels must be
    close: it needs hundreds of steps where others need tens.  The draws stay too wide, as chains
    lag behind the levels: on N(0, 0.5^2), in Karras' grid, the variance is 4 % too large by
    default and 2 % with twice the steps; with the paper's step size it is 16 %.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import AnnealedLangevin
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, AnnealedLangevin(), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = None
    n_evaluations = None
    from_infinity = False
    n_steps = 200

    def __init__(self, n_corrections: int = 5, step_size: float = 0.5) -> None:
        self.n_corrections = n_corrections
        self.step_size = step_size

    def check(self) -> None:
        check_count(self, "n_corrections", self.n_corrections)
        check_positive(self, "step_size", self.step_size)

    def step(self, field, y, theta, theta_next, memory, generator):
        """Keep ``x~ = y / cos(theta)``, then move in the law of the next level."""
        y = (math.cos(theta_next) / math.cos(theta)) * y
        h = self.step_size * math.sin(theta_next) ** 2
        for _ in range(self.n_corrections):
            y = _langevin_step(field, y, theta_next, h, generator)
        return y, None


class EulerMaruyama(ReverseSampler):
    """Euler-Maruyama steps of the reverse stochastic differential equation.

    ``y_next = y + h (y + 2 s) + sqrt(2 h) z`` with h the time tau between the angles.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import EulerMaruyama
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, EulerMaruyama(), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    from_infinity = False
    n_steps = 100

    def step(self, field, y, theta, theta_next, memory, generator):
        """One step in tau."""
        h = math.log(math.cos(theta_next) / math.cos(theta))
        s = score(_at(field, y, theta), y, _angle(y, theta))
        return y + h * (y + 2 * s) + math.sqrt(2 * h) * _normal(y, generator), None


class Ancestral(ReverseSampler):
    """Draws from the posterior of the next level given the denoised row (Ho et al. 2020).

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import Ancestral
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, Ancestral(), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    n_steps = 100

    def step(self, field, y, theta, theta_next, memory, generator):
        """One draw."""
        F = _at(field, y, theta)
        return _posterior_step(F, y, theta, theta_next, 1.0, generator), None


class DDIM(ReverseSampler):
    """Ancestral draws with eta times their noise (Song, Meng and Ermon 2021).

    Parameters
    ----------
    eta : float in [0, 1], default=0
        0 follows the probability flow, 1 is :class:`Ancestral`.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import DDIM
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> draws = ScoreBasedSampler(score, DDIM(eta=0.5), init=rows).sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    n_steps = 50

    def __init__(self, eta: float = 0.0) -> None:
        self.eta = eta

    def check(self) -> None:
        check_in_range(self, "eta", self.eta, 0.0, 1.0)

    def step(self, field, y, theta, theta_next, memory, generator):
        """One draw."""
        F = _at(field, y, theta)
        return _posterior_step(F, y, theta, theta_next, self.eta, generator), None


class PredictorCorrector(ReverseSampler):
    """An ancestral draw, then Langevin steps at the level it arrives at (Song et al. 2021).

    Parameters
    ----------
    n_corrections : int in [1, inf), default=1
        Langevin steps at a level.
    snr : float in (0, inf), default=0.16
        Signal-to-noise ratio of a Langevin step: its size is ``2 (snr sin(theta))^2``.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> from skscore.samplers import PredictorCorrector
    >>> rows, score = np.array([[-1.0], [1.0]]), lambda X, sigma: -X / (1 + sigma**2)
    >>> sampler = ScoreBasedSampler(score, PredictorCorrector(), init=rows)
    >>> draws = sampler.sample(2000, random_state=0)
    >>> bool(abs(draws.std() - 1) < 0.1)
    True
    """

    order = None
    n_evaluations = None

    def __init__(self, n_corrections: int = 1, snr: float = 0.16) -> None:
        self.n_corrections = n_corrections
        self.snr = snr

    def check(self) -> None:
        check_count(self, "n_corrections", self.n_corrections)
        check_positive(self, "snr", self.snr)

    def step(self, field, y, theta, theta_next, memory, generator):
        """Predict, then correct."""
        F = _at(field, y, theta)
        y = _posterior_step(F, y, theta, theta_next, 1.0, generator)
        h = 2 * (self.snr * math.sin(theta_next)) ** 2
        for _ in range(self.n_corrections):
            y = _langevin_step(field, y, theta_next, h, generator)
        return y, None


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
        check_in_range(self, "churn", self.churn, 0.0, math.inf)

    def step(self, field, y, theta, theta_next, memory, generator):
        """Noise a little, then one Heun step."""
        raised = min(theta + self.churn * (theta - theta_next), math.pi / 2)
        if raised > theta:
            variance = math.sin(raised - theta) * math.sin(raised + theta)
            scale = 1 / math.cos(theta)
            y = scale * (math.cos(raised) * y + math.sqrt(variance) * _normal(y, generator))
        return _flow_step("heun", field, y, raised, theta_next), None

    def finish(self, field, y, theta):
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

    def step(self, field, y, theta, theta_next, memory, generator):
        """One step."""
        return _flow_step("rk4", field, y, theta, theta_next), None

    def finish(self, field, y, theta):
        """A last step of the flow."""
        return _flow_step("rk4", field, y, theta, 0.0)


def _flow_step(
    method: str, field: AngularField, y: Tensor, theta: float, theta_next: float
) -> Tensor:
    return METHODS[method].step(lambda t, y: _at(field, y, t), theta, y, theta_next - theta)


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

    def step(self, field, y, theta, theta_next, memory, generator):
        """One step; remembers the denoised rows and its length."""
        sin = math.sin(theta)
        D = denoiser(_at(field, y, theta), y, _angle(y, theta))
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
        check_positive(self, "tol", self.tol)

    def step(self, field, y, theta, theta_next, memory, generator):
        """As many steps as it takes."""
        return flow(field, y, theta, theta_next, self.tol), None

    def finish(self, field, y, theta):
        """As many steps as it takes."""
        return flow(field, y, theta, 0.0, self.tol)


@dataclass(frozen=True)
class Path:
    """What :func:`run_reverse` returns.

    Attributes
    ----------
    draws : Tensor of shape (n, d)
    states : Tensor of shape (n_steps + 1, n, d), or None
        y at every angle, where they were asked for.
    """

    draws: Tensor
    states: Tensor | None


@torch.no_grad()
def run_reverse(
    sampler: ReverseSampler,
    field: AngularField,
    y: Tensor,
    angles: Sequence[float],
    *,
    keep_states: bool = False,
    generator: torch.Generator,
) -> Path:
    """Carry rows of noise down the angles.

    Parameters
    ----------
    sampler : ReverseSampler
    field : callable
        ``F(y, theta)``; see :mod:`skscore._math.angles`.
    y : Tensor of shape (n, d)
        Draws from N(0, I); not changed.
    angles : sequence of float
        From the first angle, at most pi/2, falling to 0.
    keep_states : bool, default=False
    generator : torch.Generator

    Returns
    -------
    Path

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import DDIM, run_reverse
    >>> point_mass = lambda y, theta: (theta.cos() * y - 3.0) / theta.sin()
    >>> generator = torch.Generator().manual_seed(0)
    >>> path = run_reverse(
    ...     DDIM(), point_mass, torch.zeros(1, 1), [1.5, 0.7, 0.0], generator=generator)
    >>> path.draws
    tensor([[3.]])
    """
    sampler.check()
    chunks = []
    for part in y.split(_CHUNK):
        states, memory = [part], None
        for theta, theta_next in pairwise(angles[:-1]):
            part, memory = sampler.step(field, part, theta, theta_next, memory, generator)
            if keep_states:
                states.append(part)
        part = sampler.finish(field, part, angles[-2])
        chunks.append(torch.stack([*states, part]) if keep_states else part)
    if not keep_states:
        return Path(torch.cat(chunks), None)
    states = torch.cat(chunks, dim=1)
    return Path(states[-1], states)
