"""Stochastic reverse samplers: each step adds noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skscore._math.angles import AngularField, denoiser, noise, score
from skscore._params import check_count, check_in_range, check_positive
from skscore.samplers._reverse import ReverseSampler, angle_of, field_at, normal_like


def _langevin_step(
    field: AngularField, y: Tensor, theta: float, h: float, generator: torch.Generator
) -> Tensor:
    """``y <- y + h s(y) + sqrt(2 h) z`` at an angle."""
    s = score(field_at(field, y, theta), y, angle_of(y, theta))
    return y + h * s + math.sqrt(2 * h) * normal_like(y, generator)


def _posterior_step(
    F: Tensor, y: Tensor, theta: float, theta_next: float, eta: float, generator: torch.Generator
) -> Tensor:
    """Draw from ``q(y_next | y, x_0 = D)``, with eta times its standard deviation rho.

    ``y_next = cos(next) D + sqrt(sin^2(next) - eta^2 rho^2) eps + eta rho z``.
    """
    sin, sin_next, angle = math.sin(theta), math.sin(theta_next), angle_of(y, theta)
    variance = math.sin(theta - theta_next) * math.sin(theta + theta_next)
    rho = eta * (sin_next / sin) * math.sqrt(variance) / math.cos(theta_next)
    D, eps = denoiser(F, y, angle), noise(F, y, angle)
    y = math.cos(theta_next) * D + math.sqrt(max(sin_next**2 - rho**2, 0.0)) * eps
    return y + rho * normal_like(y, generator) if rho else y


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
        """Refuse parameters that are out of range."""
        check_count(self, "n_corrections", self.n_corrections)
        check_positive(self, "step_size", self.step_size)

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
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

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """One step in tau."""
        h = math.log(math.cos(theta_next) / math.cos(theta))
        s = score(field_at(field, y, theta), y, angle_of(y, theta))
        return y + h * (y + 2 * s) + math.sqrt(2 * h) * normal_like(y, generator), None


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

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """One draw."""
        F = field_at(field, y, theta)
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
        """Refuse parameters that are out of range."""
        check_in_range(self, "eta", self.eta, 0.0, 1.0)

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """One draw."""
        F = field_at(field, y, theta)
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
        """Refuse parameters that are out of range."""
        check_count(self, "n_corrections", self.n_corrections)
        check_positive(self, "snr", self.snr)

    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """Predict, then correct."""
        F = field_at(field, y, theta)
        y = _posterior_step(F, y, theta, theta_next, 1.0, generator)
        h = 2 * (self.snr * math.sin(theta_next)) ** 2
        for _ in range(self.n_corrections):
            y = _langevin_step(field, y, theta_next, h, generator)
        return y, None
