r"""Markov chains at one noise level, which draw rows from a score.

A sampler is one ``step``; the loop over steps, chains, burn-in and thinning is
:func:`run_chains`.  All chains move in one batch and never see each other.  To add one, write its
class beside those of :mod:`skscore.samplers._langevin` and name it in ``samplers/__init__.py``.

No chain moves between separated modes in reasonable time, so chains must start in the right
modes.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skscore._math.calculus import Field
from skscore._params import Part, check_count, check_positive

_CHUNK = 16_384  # chains moved together
_CURVATURE_ROWS, _POWER_ITERATIONS = 256, 8
_LEAST_STEPS, _MOST_STEPS = 20, 1000


class Sampler(Part, ABC):
    """Contract: a step, what is chosen where nothing is given, and two optional ends.

    A chain's state may be more than its row: `start` makes one of any shape ``(n, ...)``, `step`
    moves it, `finish` makes rows of it.

    Parameters
    ----------
    step_size : float in (0, inf) or None, default=None
        The h of the update, in squared units of the rows.
    """

    step_size: Any  # a number once tuned

    def tuned(self, score: Field, x: Tensor, generator: torch.Generator) -> Sampler:
        """A copy with a number for all that is None, for chains that start at x (n, d)."""
        tuned = copy.copy(self)
        if self.step_size is None:
            tuned.step_size = self._default_step_size(score, x, generator)
        check_positive(tuned, "step_size", tuned.step_size)
        tuned._tune_rest(x)
        return tuned

    def _tune_rest(self, x: Tensor) -> None:
        """Give numbers to the parameters other than the step size that are None; there are none."""

    @abstractmethod
    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        """A stable step size for chains that start at x."""

    @abstractmethod
    def steps_to_cover(self, length: float) -> float:
        """Steps after which a chain of a tuned sampler has forgotten a start `length` away."""

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn clean rows (n, d) into first states."""
        return x

    @abstractmethod
    def step(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """Move every chain of a tuned sampler once."""

    def finish(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """Turn states into draws (n, d)."""
        return state


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from N(0, I) of the shape of x."""
    return torch.empty_like(x).normal_(generator=generator)


def spread(x: Tensor) -> float:
    """Root mean square deviation of the columns."""
    return x.var(0, correction=0).mean().sqrt().item()


def curvatures(
    score: Field, x: Tensor, generator: torch.Generator, longest: float = math.inf
) -> Tensor:
    """Largest absolute eigenvalue of the score's Jacobian at each of the first rows, (m,).

    By power iteration on differences of scores, so that the score may be any callable; these
    are over a hundredth of the rows' spread, and no longer than `longest`.
    """
    x = x[:_CURVATURE_ROWS]
    spread = x.std(0, correction=0).norm().item()
    length = min(1e-2 * (spread or x.abs().max().item() or 1.0), longest)
    s, eigenvalues = score(x), torch.zeros(len(x), dtype=x.dtype, device=x.device)
    v = normal_like(x, generator)
    for _ in range(_POWER_ITERATIONS):
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-30)
        v = (score(x + length * v) - s) / length
        eigenvalues = v.norm(dim=1)
    return eigenvalues.clamp_min(1e-12)


def largest_curvature(score: Field, x: Tensor, generator: torch.Generator) -> float:
    """Largest absolute eigenvalue of the score's Jacobian at a row, averaged over rows."""
    return curvatures(score, x, generator).mean().item()


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
        Steps before the first draw of a chain.  None takes as many, between 20 and 1000, as
        the sampler needs to cover the starts' root mean square deviation.
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
    sampler = sampler.tuned(score, x, generator)
    if burn_in is None:
        needed = sampler.steps_to_cover(spread(x))
        burn_in = int(min(max(needed, _LEAST_STEPS), _MOST_STEPS))
    columns = []
    for state in sampler.start(x, generator).split(_CHUNK):
        draws = []
        for draw in range(n_draws):
            for _ in range(burn_in if draw == 0 else thin):
                state = sampler.step(score, state, generator)
            draws.append(sampler.finish(score, state, generator))
        columns.append(torch.stack(draws))
    kept = torch.cat(columns, dim=1).flatten(0, 1)
    return Chains(kept, float(sampler.step_size), burn_in + (n_draws - 1) * thin)
