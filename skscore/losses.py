r"""Losses: the objectives of score matching, one value per row.

A loss is called ``loss(score, x, generator=None)`` with a *callable* score,
(n, d) to (n, d), and rows x of shape (n, d); it returns n values whose mean is
the objective.  It can therefore be tried on an exact score, and sample weights
cost nothing.  With ``J = grad_x s(x)``, ``p`` the law of the rows and ``s* =
grad log p``:

====================  =========================================================
explicit              1/2 E |s - s*|^2
implicit              E [ 1/2 |s|^2 + tr J ], which is explicit - 1/2 E |s*|^2
sliced                E [ 1/2 (v's)^2 + v'Jv ] with E vv' = I: implicit on average
..  variance reduced  E [ 1/2 |s|^2 + v'Jv ]: implicit on average
..  differences       both from s(x + hv) and s(x - hv): sliced + O(h^2)
denoising             1/2 E |s(x~) - grad log q(x~|x)|^2: explicit against the
                      law of x~, plus a constant that no model changes
autoencoder           1/2 E |D(x~) - x|^2: sigma^4 denoising for the score
                      s = (D(x~) - x~) / sigma^2 of Gaussian noise
diffusion             denoising at levels drawn anew for every row, weighted
====================  =========================================================

To add a loss, subclass :class:`Loss` here.

References
----------
Hyvarinen (2005). Estimation of non-normalized statistical models by score matching.
Vincent (2011). A connection between score matching and denoising autoencoders.
Song, Garg, Shi and Ermon (2019). Sliced score matching.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations.
Pang, Xu, Li, Song, Ermon and Zhu (2020). Efficient learning of generative models
via finite-difference score matching.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from skscore._calculus import Field, divergence, quadratic_forms, value_and_slope
from skscore._canonical import AngularField, noised, noised_pairs
from skscore._params import Part, check_choice, check_count, check_positive
from skscore.noise import (
    SCHEDULES,
    SIGMA_MAX,
    SIGMA_MIN,
    WEIGHTINGS,
    NoiseKernel,
    NoiseProcess,
    check_reach,
    settled_process,
)

__all__ = [
    "PROJECTIONS",
    "DenoisingAutoencoder",
    "DenoisingScoreMatching",
    "DiffusionScoreMatching",
    "ExplicitScoreMatching",
    "FiniteDifferenceSlicedScoreMatching",
    "ImplicitScoreMatching",
    "Loss",
    "SlicedScoreMatching",
]

Generator = torch.Generator | None


class Loss(Part, ABC):
    """Contract of a loss.

    ``random`` says whether two calls may differ.  ``bounded`` says whether the values have a
    lower bound; without one a spike of the score on a single row, of width w, gains 1 / w^2,
    and training must guard against it.
    """

    random = True
    bounded = True

    @abstractmethod
    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """One value per row: callable, (n, d) and a generator in, (n,) out."""


class ExplicitScoreMatching(Loss):
    """``1/2 |s(x) - s*(x)|^2`` against a known score, the Fisher divergence.

    Parameters
    ----------
    true_score : callable
        (n, d) tensor to (n, d) tensor.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses import ExplicitScoreMatching
    >>> ExplicitScoreMatching(lambda x: -x)(lambda x: -2 * x, torch.ones(1, 2))
    tensor([1.])
    """

    random = False

    def __init__(self, true_score: Field) -> None:
        self.true_score = true_score

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        return 0.5 * (score(x) - self.true_score(x)).square().sum(1)


class ImplicitScoreMatching(Loss):
    """``1/2 |s|^2 + tr J`` with the exact trace (Hyvarinen 2005); d backward passes.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses import ImplicitScoreMatching
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


class _Sliced(Loss):
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
    >>> from skscore.losses import SlicedScoreMatching
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
    >>> from skscore.losses import FiniteDifferenceSlicedScoreMatching
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


def _noisy_rows(
    noise: NoiseKernel, x: Tensor, antithetic: bool, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Noisy rows and their clean ones; with antithetic pairs, ``x + e`` and ``x - e``."""
    noisy = noise.sample(x, generator)
    if not antithetic:
        return noisy, x
    return torch.cat([noisy, 2 * x - noisy]), torch.cat([x, x])


class DenoisingScoreMatching(Loss):
    """``1/2 |s(x~) - grad log q(x~ | x)|^2`` at one noise level (Vincent 2011).

    Parameters
    ----------
    noise : NoiseKernel
        Draws ``x~`` and knows its target.
    weighting : {None, "sigma2"}, default=None
        ``"sigma2"`` multiplies by ``sigma^2``, which keeps the value of order d.
    antithetic : bool, default=True
        Whether each row is noised by e and by -e and the two values averaged.  Near a
        smooth score the large parts of the two gradients cancel.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses import DenoisingScoreMatching
    >>> from skscore.noise import GaussianNoise
    >>> loss = DenoisingScoreMatching(GaussianNoise(0.5))
    >>> loss(lambda x: -4 * x, torch.zeros(1, 2))
    tensor([0.])
    """

    def __init__(
        self, noise: NoiseKernel, weighting: str | None = None, antithetic: bool = True
    ) -> None:
        self.noise = noise
        self.weighting = weighting
        self.antithetic = antithetic

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        check_choice(self, "weighting", self.weighting, (None, "sigma2"))
        noisy, clean = _noisy_rows(self.noise, x, self.antithetic, generator)
        values = 0.5 * (score(noisy) - self.noise.target(noisy, clean)).square().sum(1)
        weight = self.noise.sigma**2 if self.weighting == "sigma2" else 1.0
        return weight * values.reshape(-1, len(x)).mean(0)


class DenoisingAutoencoder(Loss):
    """``1/2 |D(x~) - x|^2``; called with the denoiser D in place of the score.

    Parameters
    ----------
    noise : NoiseKernel
        Draws ``x~``.
    antithetic : bool, default=True
        As for :class:`DenoisingScoreMatching`.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses import DenoisingAutoencoder
    >>> from skscore.noise import GaussianNoise
    >>> DenoisingAutoencoder(GaussianNoise(0.5))(lambda x: 0 * x, torch.ones(1, 2))
    tensor([1.])
    """

    def __init__(self, noise: NoiseKernel, antithetic: bool = True) -> None:
        self.noise = noise
        self.antithetic = antithetic

    def __call__(self, score: Field, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        noisy, clean = _noisy_rows(self.noise, x, self.antithetic, generator)
        values = 0.5 * (score(noisy) - clean).square().sum(1)
        return values.reshape(-1, len(x)).mean(0)


class DiffusionScoreMatching(Loss):
    """Denoising score matching over a continuum of levels, for the field F.

    Called with ``F(y, theta)`` in place of the score (:mod:`skscore._canonical`).  A row x and
    ``eps ~ N(0, I)`` give ``y = cos(theta) x + sin(theta) eps`` and its velocity ``v = cos(theta)
    eps - sin(theta) x``; the value is ``1/2 w(theta) |F(y, theta) - v|^2``.  With ``sigma =
    tan(theta)`` and ``w = lambda(sigma) cos^4 / sin^2`` this is ``lambda(sigma)`` times the
    denoising loss of the score at level sigma (Song et al. 2021).

    Parameters
    ----------
    process : NoiseProcess
        Names the levels and their weights where these are None.
    sigma_min, sigma_max : float in (0, inf), default=0.002 and 80
        Range of levels, for rows of unit variance; see :func:`skscore.noise.settled_process`
        for a process with a range of its own.
    levels : str or None, default=None
        A key of :data:`skscore.noise.SCHEDULES`: how levels are drawn.  The draws of a batch
        are stratified: one in each of as many equal parts.
    weighting : str, callable or None, default=None
        A key of :data:`skscore.noise.WEIGHTINGS`, or ``lambda(sigma)`` as a function of a
        tensor of levels.
    antithetic : bool, default=True
        Whether each row is noised by eps and by -eps and the two values averaged.

    Examples
    --------
    >>> import torch
    >>> from skscore.losses import DiffusionScoreMatching
    >>> from skscore.noise import VarianceExploding
    >>> loss = DiffusionScoreMatching(VarianceExploding())
    >>> point_mass = lambda y, theta: y / theta.tan()
    >>> loss(point_mass, torch.zeros(3, 2)).max() < 1e-6
    tensor(True)
    """

    def __init__(
        self,
        process: NoiseProcess,
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        levels: str | None = None,
        weighting: str | Callable[[Tensor], Tensor] | None = None,
        antithetic: bool = True,
    ) -> None:
        self.process = process
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.levels = levels
        self.weighting = weighting
        self.antithetic = antithetic

    def check(self) -> None:
        """Refuse what cannot be trained on, before the first draw."""
        levels, process, (low, high) = self._settled()
        check_reach(levels, process, low, high)
        if not callable(self.weighting):
            return
        levels = [[low], [(low * high) ** 0.5]]
        levels = torch.tensor(levels, dtype=torch.float32, device="cpu")
        weights = self.weighting(levels)
        right = isinstance(weights, Tensor) and weights.shape == levels.shape
        if not right or not bool(((weights >= 0) & weights.isfinite()).all()):
            raise ValueError(
                f"The 'weighting' of {type(self).__name__} must turn a tensor of levels into a "
                "tensor of that shape, finite and not negative. For levels "
                f"{levels.flatten().tolist()} it returned {weights!r}."
            )

    def _settled(self) -> tuple[str, NoiseProcess, tuple[float, float]]:
        """The schedule of levels, the process and the range, checked."""
        process, sigma_range = settled_process(self, self.process)
        levels = process.levels if self.levels is None else self.levels
        check_choice(self, "levels", levels, SCHEDULES)
        return levels, process, sigma_range

    def draw_angles(
        self, x: Tensor, generator: Generator, n_batches: int = 1
    ) -> tuple[Tensor, Tensor]:
        """An angle for every row and the factor ``w`` of its square, both (n, 1).

        Stratified within each of `n_batches` equal parts of the rows.
        """
        levels, process, sigma_range = self._settled()
        size = len(x) // n_batches
        rand = partial(torch.rand, generator=generator, dtype=x.dtype, device=x.device)
        strata = rand(n_batches, size).argsort(1)
        u = ((strata + rand(n_batches, 1)) / size).reshape(-1, 1)

        def angles(u: Tensor) -> Tensor:
            return SCHEDULES[levels](u, process, *sigma_range)

        def rate() -> Tensor:
            return value_and_slope(lambda u: angles(u).tan().log(), u)[1].detach()

        theta = angles(u)
        sigma = theta.tan()
        square = sigma.square()
        return theta, self._weights(sigma, rate) / (square + square.square())

    def _weights(self, sigma: Tensor, rate: Callable[[], Tensor]) -> Tensor:
        weighting = self.process.weighting if self.weighting is None else self.weighting
        if callable(weighting):
            return weighting(sigma)
        check_choice(self, "weighting", weighting, WEIGHTINGS)
        return WEIGHTINGS[weighting](sigma, rate)

    def prepared(
        self, x: Tensor, n_batches: int, generator: Generator
    ) -> list[Callable[[AngularField], Tensor]]:
        """The losses of `n_batches` equal parts of the rows, as functions of F.

        All draws are made here, for all parts at once: much cheaper than one by one.
        """
        theta, weights = self.draw_angles(x, generator, n_batches)
        eps = torch.empty_like(x).normal_(generator=generator)
        draws = (each.reshape(n_batches, -1, each.shape[1]) for each in (x, eps, theta))
        x, eps, theta = draws
        if self.antithetic:
            (y, v), weights = noised_pairs(x, eps, theta), 0.5 * weights
            theta = theta.repeat(1, 2, 1)
        else:
            y, v = noised(x, eps, theta)
        batches = zip(y, v, theta, (0.5 * weights).reshape(n_batches, -1), strict=True)
        return [partial(_weighted_squares, *batch) for batch in batches]

    def __call__(self, score: AngularField, x: Tensor, *, generator: Generator = None) -> Tensor:
        """Values of shape (n,)."""
        (losses,) = self.prepared(x, 1, generator)
        return losses(score)


def _weighted_squares(
    y: Tensor, v: Tensor, theta: Tensor, weights: Tensor, field: AngularField
) -> Tensor:
    """``sum_k w_k |F(y_k) - v_k|^2`` over the noisy rows of every row, one below the other."""
    squares = (field(y, theta) - v).square()
    return weights * squares.reshape(-1, len(weights), y.shape[1]).sum((0, 2))
