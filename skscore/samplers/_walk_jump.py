r"""Walk-jump: chains in the law of noised rows, and draws of the clean rows.

Walk-jump (Saremi and Hyvarinen 2019) walks in the smoother law of ``y = x + sigma eps``, here by
kinetic steps, then jumps back to the clean row x.  Its mean and covariance given y are
(Tweedie's formula, and its second order)

    m(y) = y + sigma^2 s(y),    C(y) = sigma^2 (I + sigma^2 grad s(y)),

and the jump draws from N(m, C).  The mean alone, the jump of that paper, gives rows that are
too narrow: of N(0, 1) the variance ``1 / (1 + sigma^2)``.

References
----------
Saremi and Hyvarinen (2019). Neural empirical Bayes.
Efron (2011). Tweedie's formula and selection bias.
Saad (1992). Analysis of some Krylov subspace approximations to the matrix exponential operator
(functions of a matrix from a few of its products).
"""

from __future__ import annotations

import torch
from torch import Tensor

from skscore._math.calculus import Field
from skscore._params import check_positive
from skscore.samplers._langevin import Kinetic, with_velocities
from skscore.samplers._markov import curvatures, normal_like

_PRODUCTS = 16  # with a Jacobian, from which the root of a posterior covariance is taken
_DIFFERENCE = 0.03  # half the distance between the points of a difference, in noise levels
_JUMP_NUMBERS = 2**22  # in the arrays of a jump


class WalkJump(Kinetic):
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
        largest = curvatures(score, x, generator, longest=0.3 * self.sigma).max().item()
        return max(1 / largest, self.sigma**2 / 4)

    def start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Noise the clean rows (n, d) to the level of the walk, and give them velocities."""
        check_positive(self, "sigma", self.sigma)
        return with_velocities(x + self.sigma * normal_like(x, generator), generator)

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

    z = normal_like(y, generator)
    return y + sigma**2 * score(y) + sigma * _root_product(product, z)


def _root_product(product: Field, z: Tensor) -> Tensor:
    """``A^(1/2) z`` of every row, for the symmetric part of A without its negative eigenvalues.

    With an orthonormal basis V of ``z, A z, A^2 z, ...`` (Arnoldi) and ``T = V' A V``
    it is ``V T^(1/2) V' z``: exact where V spans all columns.
    """
    basis: list[Tensor] = []
    images: list[Tensor] = []
    v = z
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
