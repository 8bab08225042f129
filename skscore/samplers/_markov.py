r"""Markov chains at one noise level, which draw rows from a score.

A sampler is one ``step``; the loop over steps, chains, burn-in and thinning is
:func:`run_chains`.  All chains move in one batch and never see each other.
To add one, write its class and name it in ``samplers/__init__.py``.

Unadjusted Langevin, with step size h and ``z ~ N(0, I)``:

    x <- x + (h / 2) s(x) + sqrt(h) z.

Its law is that of the score up to a bias of order h (for N(0, tau^2) the
variance comes out as ``tau^2 / (1 - h / (4 tau^2))``).  It moves between
separated modes exponentially slowly, so chains must start in the right modes.

Walk-jump (Saremi and Hyvarinen 2019) walks by Langevin steps in the smoother
law of ``y = x + sigma eps``, then jumps to the posterior mean,
``x = y + sigma^2 s(y)`` (Tweedie's formula).

References
----------
Roberts and Tweedie (1996). Exponential convergence of Langevin distributions
and their discrete approximations.
Saremi and Hyvarinen (2019). Neural empirical Bayes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from skscore._calculus import Field
from skscore._params import Part, check_count, check_positive

_CHUNK = 16_384  # chains moved together
_CURVATURE_ROWS, _POWER_ITERATIONS = 256, 8
_TRAVEL, _LEAST_STEPS, _MOST_STEPS = 0.25, 100, 1000


class Sampler(Part, ABC):
    """Contract: a step, the step size taken when none is given, and two optional ends.

    Parameters
    ----------
    step_size : float in (0, inf) or None, default=None
        The h of the update, in squared units of the rows.
    """

    step_size: float | None

    def resolve_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        """The given step size, else the default for chains that start at x."""
        if self.step_size is None:
            return self._default_step_size(score, x, generator)
        check_positive(self, "step_size", self.step_size)
        return float(self.step_size)

    @abstractmethod
    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        """A stable step size for chains that start at x."""

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn clean rows (n, d) into first states."""
        return x

    def step(self, score: Field, x: Tensor, h: float, generator: torch.Generator) -> Tensor:
        """Move every chain once, (n, d) to (n, d)."""
        z = torch.empty_like(x).normal_(generator=generator)
        return x + 0.5 * h * score(x) + h**0.5 * z

    def finish(self, score: Field, x: Tensor) -> Tensor:
        """Turn states (n, d) into draws."""
        return x


def largest_curvature(score: Field, x: Tensor, generator: torch.Generator) -> float:
    """Largest absolute eigenvalue of the score's Jacobian at a row, averaged over rows.

    By power iteration on differences of scores, so that the score may be any callable.
    """
    x = x[:_CURVATURE_ROWS]
    spread = x.std(0, correction=0).norm().item()
    length = 1e-2 * (spread or x.abs().max().item() or 1.0)
    s, eigenvalues = score(x), torch.zeros(len(x), dtype=x.dtype, device=x.device)
    v = torch.empty_like(x).normal_(generator=generator)
    for _ in range(_POWER_ITERATIONS):
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-30)
        v = (score(x + length * v) - s) / length
        eigenvalues = v.norm(dim=1)
    return eigenvalues.mean().item()


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
        return 0.1 / max(largest_curvature(score, x, generator), 1e-12)


class WalkJump(Sampler):
    """Langevin steps at noise level sigma, then the jump to the posterior mean.

    The score must be that of the rows noised by ``N(0, sigma^2 I)``.

    Parameters
    ----------
    sigma : float in (0, inf)
        Noise level, in the units of the rows.
    step_size : float in (0, inf) or None, default=None
        None takes ``sigma^2 / 2``: the curvature of the noised law is nowhere above
        ``1 / sigma^2``, so this is stable whatever the data.

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import WalkJump, run_chains
    >>> generator = torch.Generator().manual_seed(0)
    >>> point_mass = lambda y: -y / 0.5**2
    >>> chains = run_chains(
    ...     WalkJump(sigma=0.5), point_mass, torch.zeros(3, 2), burn_in=9, generator=generator)
    >>> chains.draws.abs().max()
    tensor(0.)
    """

    def __init__(self, sigma: float, step_size: float | None = None) -> None:
        self.sigma = sigma
        self.step_size = step_size

    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        return 0.5 * self.sigma**2

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Noise the clean rows (n, d) to the level of the walk."""
        check_positive(self, "sigma", self.sigma)
        return x + self.sigma * torch.empty_like(x).normal_(generator=generator)

    def finish(self, score: Field, x: Tensor) -> Tensor:
        """Jump to the posterior mean of the clean row, (n, d) to (n, d)."""
        return x + self.sigma**2 * score(x)


@dataclass(frozen=True)
class Chains:
    """What :func:`run_chains` returns.

    Attributes
    ----------
    draws : Tensor of shape (n_draws * n_chains, d)
        The first draw of every chain, then the second of every chain, and so on.
    step_size : float
        The one that was used.
    n_steps : int
        Steps that every chain made.
    """

    draws: Tensor
    step_size: float
    n_steps: int


@torch.no_grad()
def run_chains(
    sampler: Sampler,
    score: Field,
    x: Tensor,
    *,
    burn_in: int | None,
    thin: int = 1,
    n_draws: int = 1,
    generator: torch.Generator,
) -> Chains:
    """Move one chain from each row of x, and keep states.

    Parameters
    ----------
    sampler : Sampler
    score : callable
        (n, d) to (n, d).
    x : Tensor of shape (n_chains, d)
        Clean rows to start from; not changed.
    burn_in : int in [0, inf) or None
        Steps before the first draw of a chain.  None takes as many, between 100 and 1000, as
        let a free chain move half a standard deviation of the starts.
    thin : int in [1, inf), default=1
        Steps between two draws of a chain.
    n_draws : int in [1, inf), default=1
        Draws from every chain.
    generator : torch.Generator

    Returns
    -------
    Chains
    """
    check_count(sampler, "n_draws", n_draws)
    check_count(sampler, "thin", thin)
    x = sampler.start(x, generator)
    h = sampler.resolve_step_size(score, x, generator)
    if burn_in is None:
        variance = x.var(0, correction=0).mean().item()
        burn_in = int(min(max(_TRAVEL * variance / h, _LEAST_STEPS), _MOST_STEPS))
    columns = []
    for part in x.split(_CHUNK):
        draws = []
        for draw in range(n_draws):
            for _ in range(burn_in if draw == 0 else thin):
                part = sampler.step(score, part, h, generator)
            draws.append(sampler.finish(score, part))
        columns.append(torch.stack(draws))
    draws = torch.cat(columns, dim=1).flatten(0, 1)
    return Chains(draws, h, burn_in + (n_draws - 1) * thin)
