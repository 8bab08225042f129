"""Noise kernels: noisy rows from clean ones, and the scores of those draws."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skscore._params import Part, check_positive


class NoiseKernel(Part, ABC):
    """Contract of additive noise that is symmetric about the clean row.

    Parameters
    ----------
    sigma : float in (0, inf)
        Scale of the noise, in the units of the rows.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = sigma

    @abstractmethod
    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one noisy row for every clean row, (n, d) to (n, d)."""

    @abstractmethod
    def target(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """``grad log q(noisy | clean)`` with respect to the noisy row, (n, d)."""


class GaussianNoise(NoiseKernel):
    """``x~ = x + sigma eps`` with ``eps ~ N(0, I)``; target ``-(x~ - x) / sigma^2``.

    Parameters
    ----------
    sigma : float in (0, inf), default=0.1
        Standard deviation, in the units of the rows.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise._kernels import GaussianNoise
    >>> noise = GaussianNoise(sigma=0.5)
    >>> noise.target(torch.tensor([[1.0]]), torch.tensor([[0.0]]))
    tensor([[-4.]])
    """

    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one noisy row for every clean row, (n, d) to (n, d)."""
        check_positive(self, "sigma", self.sigma)
        eps = torch.empty_like(x).normal_(generator=generator)
        return x + self.sigma * eps

    def target(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """``-(noisy - clean) / sigma^2``, (n, d)."""
        return (clean - noisy) / self.sigma**2


KERNELS: dict[str, type[NoiseKernel]] = {"gaussian": GaussianNoise}
"""Kernels by name."""
