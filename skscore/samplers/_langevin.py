r"""Langevin chains, with and without velocities.

Unadjusted Langevin, with step size h and ``z ~ N(0, I)``:

    x <- x + (h / 2) s(x) + sqrt(h) z.

Its law is that of the score up to a bias of order h (for N(0, tau^2) the
variance comes out as ``tau^2 / (1 - h / (4 tau^2))``).

Kinetic Langevin gives every chain a velocity v, which the score turns and friction g
renews.  With the time step ``t = sqrt(h)`` and ``c = exp(-g t)``:

    x <- x + (t / 2) v,  v <- c v + sqrt(1 - c^2) z,  x <- x + (t / 2) v,  v <- v + t s(x).

The law of x is that of the score up to a bias of order h^2, and none at all for a Gaussian,
whatever the step, as long as ``h < 4 / lambda`` with lambda the largest curvature of
``-log p``.  Where the law is a thin one, of length L and width w, it takes some L / w steps
and Langevin ``(L / w)^2``.

References
----------
Roberts and Tweedie (1996). Exponential convergence of Langevin distributions
and their discrete approximations.
Leimkuhler and Matthews (2013). Rational construction of stochastic numerical methods for
molecular sampling.
Zhang, Liu, Yan, Tuckerman and Liu (2019). Unified efficient thermostat scheme for the canonical
ensemble (the order of the parts of a kinetic step).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from skscore._math.calculus import Field
from skscore._params import check_positive
from skscore.samplers._markov import Sampler, curvatures, largest_curvature, normal_like, spread

_LEAST_LANGEVIN_STEPS = 100
_TRAVEL = 0.25  # variances of the starts that a free Langevin chain covers
_TRAVERSES = 5.0  # deviations of the starts that a free kinetic chain covers


class UnadjustedLangevin(Sampler):
    """Langevin steps in the law of the score itself.

    Parameters
    ----------
    step_size : float in (0, inf) or None, default=None
        None takes ``0.1 / lambda`` with lambda the largest curvature of ``-log p`` at a
        start, averaged over the starts: the variance is then off by some 3 % where the
        density is narrowest, and by less elsewhere.

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import UnadjustedLangevin, run_chains
    >>> generator = torch.Generator().manual_seed(0)
    >>> chains = run_chains(
    ...     UnadjustedLangevin(), lambda x: -x, torch.randn(2000, 2, generator=generator),
    ...     burn_in=50, generator=generator)
    >>> bool((chains.draws.var(0) - 1).abs().max() < 0.1)
    True
    """

    def __init__(self, step_size: float | None = None) -> None:
        self.step_size = step_size

    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        return 0.1 / largest_curvature(score, x, generator)

    def steps_to_cover(self, length: float) -> float:
        """Steps in which a free chain moves half of the length, but at least 100."""
        return max(_TRAVEL * length**2 / self.step_size, _LEAST_LANGEVIN_STEPS)

    def step(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """``x + (h / 2) s(x) + sqrt(h) z``."""
        h = self.step_size
        return state + 0.5 * h * score(state) + h**0.5 * normal_like(state, generator)


def with_velocities(x: Tensor, generator: torch.Generator) -> Tensor:
    """First states (n, 2, d) of rows x, with velocities from N(0, I)."""
    return torch.stack([x, normal_like(x, generator)], dim=1)


class Kinetic(Sampler):
    """What chains with a velocity share: the state (n, 2, d) of rows and velocities, and a step."""

    friction: Any  # a number once tuned

    def _tune_rest(self, x: Tensor) -> None:
        if self.friction is None:
            self.friction = 2 / max(spread(x), self.step_size**0.5)
        check_positive(self, "friction", self.friction)

    def steps_to_cover(self, length: float) -> float:
        """Steps in which a free chain that keeps its velocity moves five lengths."""
        return _TRAVERSES * length / self.step_size**0.5

    def step(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """Half a drift, a renewal of the velocity, half a drift, a kick of the score."""
        x, v = state.unbind(1)
        t = self.step_size**0.5
        kept = math.exp(-self.friction * t)
        x = x + 0.5 * t * v
        v = kept * v + math.sqrt(1 - kept**2) * normal_like(v, generator)
        x = x + 0.5 * t * v
        return torch.stack([x, v + t * score(x)], dim=1)


class KineticLangevin(Kinetic):
    """Kinetic Langevin steps in the law of the score itself.

    Parameters
    ----------
    step_size : float in (0, inf) or None, default=None
        Square of the time step.  None takes ``1 / lambda`` with lambda the largest curvature of
        ``-log p`` at any of 256 starts, a quarter of what is stable.
    friction : float in (0, inf) or None, default=None
        Rate at which velocities are renewed, in one over the units of the rows.  None takes two
        over the starts' root mean square deviation, which forgets a start soonest where
        the law is as wide as that.

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import KineticLangevin, run_chains
    >>> generator = torch.Generator().manual_seed(0)
    >>> chains = run_chains(
    ...     KineticLangevin(), lambda x: -x, torch.zeros(2000, 2), burn_in=50, generator=generator)
    >>> bool((chains.draws.var(0) - 1).abs().max() < 0.1)
    True
    """

    def __init__(self, step_size: float | None = None, friction: float | None = None) -> None:
        self.step_size = step_size
        self.friction = friction

    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        return 1 / curvatures(score, x, generator).max().item()

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rows with velocities from N(0, I)."""
        return with_velocities(x, generator)

    def finish(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """The rows without their velocities."""
        return state[:, 0]
