"""Denoising score matching over all noise levels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from skscore._math.angles import AngularField, field_weights, noised, noised_pairs
from skscore.losses._base import Generator, Loss
from skscore.noise import NoiseProcess
from skscore.noise._levels import check_reach, level_weights, training_angles
from skscore.noise._processes import SIGMA_MAX, SIGMA_MIN
from skscore.noise._settled import settled_process


class DiffusionScoreMatching(Loss):
    """Denoising score matching over a continuum of levels, for the field F.

    Called with ``F(y, theta)`` in place of the score (:mod:`skscore._math.angles`).  A row x and
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
    >>> from skscore.losses._diffusion import DiffusionScoreMatching
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
        process = settled_process(self, self.process)
        check_reach(process.levels, process, *process.sigma_range)
        if callable(process.weighting):
            self._check_weighting(process.weighting, *process.sigma_range)

    def _check_weighting(
        self, weighting: Callable[[Tensor], Tensor], sigma_min: float, sigma_max: float
    ) -> None:
        """Refuse a function that gives no weights for two levels of the range."""
        levels = torch.tensor(
            [[sigma_min], [(sigma_min * sigma_max) ** 0.5]], dtype=torch.float32, device="cpu"
        )
        weights = weighting(levels)
        right = isinstance(weights, Tensor) and weights.shape == levels.shape
        if not right or not bool(((weights >= 0) & weights.isfinite()).all()):
            raise ValueError(
                f"The 'weighting' of {type(self).__name__} must turn a tensor of levels into a "
                "tensor of that shape, finite and not negative. For levels "
                f"{levels.flatten().tolist()} it returned {weights!r}."
            )

    def draw_angles(
        self, x: Tensor, generator: Generator, n_batches: int = 1
    ) -> tuple[Tensor, Tensor]:
        """An angle for every row and the factor ``w`` of its square, both (n, 1).

        Stratified within each of `n_batches` equal parts of the rows.
        """
        process = settled_process(self, self.process)
        size = len(x) // n_batches
        rand = partial(torch.rand, generator=generator, dtype=x.dtype, device=x.device)
        strata = rand(n_batches, size).argsort(1)
        u = ((strata + rand(n_batches, 1)) / size).reshape(-1, 1)
        theta = training_angles(process, u)
        sigma = theta.tan()
        return theta, field_weights(level_weights(process, sigma, u), sigma)

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
