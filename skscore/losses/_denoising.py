"""Denoising score matching at one noise level."""

from __future__ import annotations

import torch
from torch import Tensor

from skscore._math.calculus import Field
from skscore._params import check_choice
from skscore.losses._base import Generator, PerBatchLoss
from skscore.noise import NoiseKernel


def _noisy_rows(
    noise: NoiseKernel, x: Tensor, antithetic: bool, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Noisy rows and their clean ones; with antithetic pairs, ``x + e`` and ``x - e``."""
    noisy = noise.sample(x, generator)
    if not antithetic:
        return noisy, x
    return torch.cat([noisy, 2 * x - noisy]), torch.cat([x, x])


class DenoisingScoreMatching(PerBatchLoss):
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
    >>> from skscore.losses._denoising import DenoisingScoreMatching
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


class DenoisingAutoencoder(PerBatchLoss):
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
    >>> from skscore.losses._denoising import DenoisingAutoencoder
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
