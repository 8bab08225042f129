"""Score matching on the rows as they are: explicit, implicit and sliced."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skscore._math.calculus import Field, divergence, quadratic_forms
from skscore._params import check_choice, check_count, check_positive
from skscore.losses._base import Generator, PerBatchLoss


class ExplicitScoreMatching(PerBatchLoss):
    """``1/2 |s(x) - s*(x)|^2`` against a known score, the Fisher divergence.

    Parameters
    ----------
    true_score : callable
        (n, d) tensor to (n, d) tensor.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses._score_matching import ExplicitScoreMatching
    >>> ExplicitScoreMatching(lambda x: -x)(lambda x: -2 * x, torch.ones(1, 2))
    tensor([1.])
    """

    random = False

    def __init__(self, true_score: Field) -> None:
        self.true_score = true_score

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        return 0.5 * (score(x) - self.true_score(x)).square().sum(1)


class ImplicitScoreMatching(PerBatchLoss):
    """``1/2 |s|^2 + tr J`` with the exact trace (Hyvarinen 2005); d backward passes.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses._score_matching import ImplicitScoreMatching
    >>> ImplicitScoreMatching()(lambda x: -x, torch.ones(1, 2)).detach()
    tensor([-1.])
    """

    random = False
    bounded = False

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        s, trace = divergence(score, x)
        return 0.5 * s.square().sum(1) + trace


def _rademacher(v: Tensor, generator: Generator) -> Tensor:
    return v.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)


def _gaussian(v: Tensor, generator: Generator) -> Tensor:
    return v.normal_(generator=generator)


def _sphere(v: Tensor, generator: Generator) -> Tensor:
    v.normal_(generator=generator)
    return v * (v.shape[-1] ** 0.5 / v.norm(dim=-1, keepdim=True))


PROJECTIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "rademacher": _rademacher,
    "gaussian": _gaussian,
    "sphere": _sphere,
}
"""Laws of random directions with ``E vv' = I``: each fills the last axis of an empty tensor."""


class _Sliced(PerBatchLoss):
    """What the sliced losses share: their directions and the two forms of the square."""

    bounded = False
    n_projections: int
    projection: str
    variance_reduction: bool

    def _directions(self, x: Tensor, generator: Generator) -> Tensor:
        check_count(self, "n_projections", self.n_projections)
        check_choice(self, "projection", self.projection, PROJECTIONS)
        empty = x.new_empty(self.n_projections, *x.shape)
        return PROJECTIONS[self.projection](empty, generator)

    def _half_square(self, s: Tensor, v: Tensor) -> Tensor:
        if self.variance_reduction:
            return 0.5 * s.square().sum(-1)
        return 0.5 * (v * s).sum(-1).square()


class SlicedScoreMatching(_Sliced):
    """``v'Jv + 1/2 (v's)^2``, or ``+ 1/2 |s|^2`` with variance reduction.

    Parameters
    ----------
    n_projections : int in [1, inf), default=1
        Directions per row, averaged; one backward pass each.
    projection : {"rademacher", "gaussian", "sphere"}, default="rademacher"
        Law of the directions.  The sphere has radius ``sqrt(d)``.
    variance_reduction : bool, default=True
        Whether the square is taken in closed form.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses._score_matching import SlicedScoreMatching
    >>> SlicedScoreMatching()(lambda x: -x, torch.ones(1, 2)).detach()
    tensor([-1.])
    """

    def __init__(
        self,
        n_projections: int = 1,
        projection: str = "rademacher",
        variance_reduction: bool = True,
    ) -> None:
        self.n_projections = n_projections
        self.projection = projection
        self.variance_reduction = variance_reduction

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        v = self._directions(x, generator)
        s, forms = quadratic_forms(score, x, v)
        return (forms + self._half_square(s, v)).mean(0)


class FiniteDifferenceSlicedScoreMatching(_Sliced):
    """Sliced score matching from ``s(x + hv)`` and ``s(x - hv)`` in place of the derivative.

    ``v'Jv`` becomes ``v'(s_+ - s_-) / 2h`` and ``s`` becomes ``(s_+ + s_-) / 2``; both
    are off by a multiple of h^2.

    Parameters
    ----------
    step : float in (0, inf), default=0.01
        Length h of the step, in multiples of the direction.
    n_projections, projection, variance_reduction
        As for :class:`SlicedScoreMatching`.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses._score_matching import FiniteDifferenceSlicedScoreMatching
    >>> loss = FiniteDifferenceSlicedScoreMatching(step=0.5)
    >>> loss(lambda x: -x, torch.ones(1, 2))
    tensor([-1.])
    """

    def __init__(
        self,
        step: float = 0.01,
        n_projections: int = 1,
        projection: str = "rademacher",
        variance_reduction: bool = True,
    ) -> None:
        self.step = step
        self.n_projections = n_projections
        self.projection = projection
        self.variance_reduction = variance_reduction

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        check_positive(self, "step", self.step)
        v = self._directions(x, generator)
        h = self.step
        s_plus, s_minus = score(torch.stack([x + h * v, x - h * v]).flatten(0, 2)).reshape(
            2, *v.shape
        )
        forms = (v * (s_plus - s_minus)).sum(-1) / (2 * h)
        return (forms + self._half_square((s_plus + s_minus) / 2, v)).mean(0)
