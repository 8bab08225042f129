r"""Markov chains at one noise level, which draw rows from a score.

A sampler is one ``step``; the loop over steps, chains, burn-in and thinning is
:func:`run_chains`.  All chains move in one batch and never see each other.
To add one, write its class and name it in ``samplers/__init__.py``.

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

No chain moves between separated modes in reasonable time, so chains must start in the right
modes.

Walk-jump (Saremi and Hyvarinen 2019) walks in the smoother law of ``y = x + sigma eps``, here by
kinetic steps, then jumps back to the clean row x.  Its mean and covariance given y are
(Tweedie's formula, and its second order)

    m(y) = y + sigma^2 s(y),    C(y) = sigma^2 (I + sigma^2 grad s(y)),

and the jump draws from N(m, C).  The mean alone, the jump of that paper, gives rows that are
too narrow: of N(0, 1) the variance ``1 / (1 + sigma^2)``.

References
----------
Roberts and Tweedie (1996). Exponential convergence of Langevin distributions
and their discrete approximations.
Leimkuhler and Matthews (2013). Rational construction of stochastic numerical methods for
molecular sampling.
Zhang, Liu, Yan, Tuckerman and Liu (2019). Unified efficient thermostat scheme for the canonical
ensemble (the order of the parts of a kinetic step).
Saremi and Hyvarinen (2019). Neural empirical Bayes.
Efron (2011). Tweedie's formula and selection bias.
Saad (1992). Analysis of some Krylov subspace approximations to the matrix exponential operator
(functions of a matrix from a few of its products).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from skscore._math.calculus import Field
from skscore._params import Part, check_count, check_positive

_CHUNK = 16_384  # chains moved together
_CURVATURE_ROWS, _POWER_ITERATIONS = 256, 8
_LEAST_STEPS, _MOST_STEPS = 20, 1000
_LEAST_LANGEVIN_STEPS = 100
_TRAVEL = 0.25  # variances of the starts that a free Langevin chain covers
_TRAVERSES = 5.0  # deviations of the starts that a free kinetic chain covers
_PRODUCTS = 16  # with a Jacobian, from which the root of a posterior covariance is taken
_DIFFERENCE = 0.03  # half the distance between the points of a difference, in noise levels
_JUMP_NUMBERS = 2**22  # in the arrays of a jump


class Sampler(Part, ABC):
    """Contract: a step, what is chosen where nothing is given, and two optional ends.

    A chain's state may be more than its row: `start` makes one of any shape ``(n, ...)``, `step`
    moves it, `finish` makes rows of it.

    Parameters
    ----------
    step_size : float in (0, inf) or None, default=None
        The h of the update, in squared units of the rows.
    """

    step_size: float | None

    def tuned(self, score: Field, x: Tensor, generator: torch.Generator) -> Sampler:
        """A copy with a number for all that is None, for chains that start at x (n, d)."""
        tuned = copy.copy(self)
        if self.step_size is None:
            tuned.step_size = self._default_step_size(score, x, generator)
        check_positive(tuned, "step_size", tuned.step_size)
        return tuned

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


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(x).normal_(generator=generator)


def _spread(x: Tensor) -> float:
    """Root mean square deviation of the columns."""
    return x.var(0, correction=0).mean().sqrt().item()


def _curvatures(
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
    v = _normal(x, generator)
    for _ in range(_POWER_ITERATIONS):
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-30)
        v = (score(x + length * v) - s) / length
        eigenvalues = v.norm(dim=1)
    return eigenvalues.clamp_min(1e-12)


def largest_curvature(score: Field, x: Tensor, generator: torch.Generator) -> float:
    """Largest absolute eigenvalue of the score's Jacobian at a row, averaged over rows."""
    return _curvatures(score, x, generator).mean().item()


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
        return state + 0.5 * h * score(state) + h**0.5 * _normal(state, generator)


class _Kinetic(Sampler):
    """What chains with a velocity share: the state (n, 2, d) of rows and velocities, and a step."""

    friction: float | None

    def tuned(self, score: Field, x: Tensor, generator: torch.Generator) -> Sampler:
        """A copy with a number for all that is None, for chains that start at x (n, d)."""
        tuned = super().tuned(score, x, generator)
        if self.friction is None:
            tuned.friction = 2 / max(_spread(x), tuned.step_size**0.5)
        check_positive(tuned, "friction", tuned.friction)
        return tuned

    def steps_to_cover(self, length: float) -> float:
        """Steps in which a free chain that keeps its velocity moves five lengths."""
        return _TRAVERSES * length / self.step_size**0.5

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rows with velocities from N(0, I)."""
        return torch.stack([x, _normal(x, generator)], dim=1)

    def step(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """Half a drift, a renewal of the velocity, half a drift, a kick of the score."""
        x, v = state.unbind(1)
        t = self.step_size**0.5
        kept = math.exp(-self.friction * t)
        x = x + 0.5 * t * v
        v = kept * v + math.sqrt(1 - kept**2) * _normal(v, generator)
        x = x + 0.5 * t * v
        return torch.stack([x, v + t * score(x)], dim=1)


class KineticLangevin(_Kinetic):
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
        return 1 / _curvatures(score, x, generator).max().item()

    def finish(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """The rows without their velocities."""
        return state[:, 0]


class WalkJump(_Kinetic):
    """Kinetic Langevin steps at noise level sigma, then a draw of the clean row.

    The score must be that of the rows noised by ``N(0, sigma^2 I)``.  The clean row is drawn from
    a Gaussian with the mean and covariance that it has given the noised one,
    ``y + sigma^2 s`` and ``sigma^2 (I + sigma^2 grad s)``: rows of a Gaussian law come out with
    its own covariance.

    Parameters
    ----------
    sigma : float in (0, inf)
        Noise level, in the units of the rows.
    step_size : float in (0, inf) or None, default=None
        Square of the time step.  None takes ``1 / lambda`` with lambda the largest curvature of
        the noised law at any of 256 starts, but at least ``sigma^2 / 4``: that curvature is nowhere
        above ``1 / sigma^2``, whatever the data, unless by an error of the score.
    friction : float in (0, inf) or None, default=None
        As that of :class:`KineticLangevin`.

    Notes
    -----
    The covariance is made symmetric and its eigenvalues are raised to zero where a learnt score
    has them negative.  Its root times a vector comes from at most 16 products with the Jacobian
    (all of them in 16 columns or fewer), each a difference of two scores.

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import WalkJump, run_chains
    >>> generator = torch.Generator().manual_seed(0)
    >>> point_mass = lambda y: -y / 0.5**2
    >>> chains = run_chains(
    ...     WalkJump(sigma=0.5), point_mass, torch.zeros(3, 2), burn_in=9, generator=generator)
    >>> bool(chains.draws.abs().max() < 1e-2)
    True
    """

    def __init__(
        self, sigma: float, step_size: float | None = None, friction: float | None = None
    ) -> None:
        self.sigma = sigma
        self.step_size = step_size
        self.friction = friction

    def _default_step_size(self, score: Field, x: Tensor, generator: torch.Generator) -> float:
        check_positive(self, "sigma", self.sigma)
        largest = _curvatures(score, x, generator, longest=0.3 * self.sigma).max().item()
        return max(1 / largest, self.sigma**2 / 4)

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Noise the clean rows (n, d) to the level of the walk, and give them velocities."""
        check_positive(self, "sigma", self.sigma)
        return super().start(x + self.sigma * _normal(x, generator), generator)

    def finish(self, score: Field, state: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the clean rows (n, d)."""
        rows = state[:, 0]
        at_once = max(1, _JUMP_NUMBERS // (min(_PRODUCTS, rows.shape[1]) * rows.shape[1]))
        return torch.cat([_jump(score, y, self.sigma, generator) for y in rows.split(at_once)])


def _jump(score: Field, y: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Draws from ``N(y + sigma^2 s, sigma^2 A)`` with ``A = I + sigma^2 grad s``, (n, d)."""
    e = _DIFFERENCE * sigma

    def product(v: Tensor) -> Tensor:
        return v + (sigma**2 / (2 * e)) * (score(y + e * v) - score(y - e * v))

    z = _normal(y, generator)
    return y + sigma**2 * score(y) + sigma * _root_product(product, z)


def _root_product(product: Field, z: Tensor) -> Tensor:
    """``A^(1/2) z`` of every row, for the symmetric part of A without its negative eigenvalues.

    With an orthonormal basis V of ``z, A z, A^2 z, ...`` (Arnoldi) and ``T = V' A V``
    it is ``V T^(1/2) V' z``: exact where V spans all columns.
    """
    basis, images, v = [], [], z
    for _ in range(min(_PRODUCTS, z.shape[1])):
        v = _orthonormal(v, basis)
        basis.append(v)
        v = product(v)
        images.append(v)
    V, AV = torch.stack(basis, dim=1), torch.stack(images, dim=1)
    T = V @ AV.mT
    values, vectors = torch.linalg.eigh(0.5 * (T + T.mT))
    roots = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    return (V.mT @ (roots @ (V @ z[..., None])))[..., 0]


def _orthonormal(v: Tensor, basis: list[Tensor]) -> Tensor:
    """The unit vector of v without its parts along a basis; zero where nothing is left."""
    for _ in range(2):  # once loses digits where little is left
        for b in basis:
            v = v - (v * b).sum(1, keepdim=True) * b
        v = v / v.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return v


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
        needed = sampler.steps_to_cover(_spread(x))
        burn_in = int(min(max(needed, _LEAST_STEPS), _MOST_STEPS))
    columns = []
    for state in sampler.start(x, generator).split(_CHUNK):
        draws = []
        for draw in range(n_draws):
            for _ in range(burn_in if draw == 0 else thin):
                state = sampler.step(score, state, generator)
            draws.append(sampler.finish(score, state, generator))
        columns.append(torch.stack(draws))
    draws = torch.cat(columns, dim=1).flatten(0, 1)
    return Chains(draws, float(sampler.step_size), burn_in + (n_draws - 1) * thin)
