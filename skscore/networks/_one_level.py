"""Networks that are a score, or an energy, at one noise level."""

from __future__ import annotations

import math

from torch import Tensor, nn

from skscore._math.calculus import divergence, gradient


def divergence_of(
    body: nn.Module, x: Tensor, directions: Tensor, *context: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs and ``sum_k v_k' J v_k``, by the body's own formula where it has one."""
    if hasattr(body, "divergence"):
        return body.divergence(x, directions, *context)
    return divergence(lambda x: body(x, *context), x, directions)


class _Preconditioned(nn.Module):
    """A body with the coefficients of the score at its level."""

    def __init__(self, body: nn.Module, sigma: float = 0.0) -> None:
        super().__init__()
        if not 0 <= sigma < math.inf:
            raise ValueError(
                f"The 'sigma' parameter of {type(self).__name__} must be in the range "
                f"[0.0, inf). Got {sigma!r} instead."
            )
        self.body = body
        theta = math.atan(sigma)
        self.inner = math.cos(theta)
        self.gain = math.cos(theta) ** 2 / math.sin(theta) if sigma > 0 else 1.0


class ScoreNetwork(_Preconditioned):
    """A free vector field: the body has as many outputs as inputs.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) to (n, d).
    sigma : float in [0, inf)
        Level of the noised law whose score is learnt, for data of unit variance.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._bodies import MLP
    >>> from skscore.networks._one_level import ScoreNetwork
    >>> untrained = ScoreNetwork(MLP(1, 1, (8,)), sigma=1.0)
    >>> untrained(torch.tensor([[2.0]])).detach().round(decimals=4)
    tensor([[-1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row, (n, d) to (n, d)."""
        y = self.inner * x
        return -self.inner * y - self.gain * self.body(y)

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        y = self.inner * x
        F, forms = divergence_of(self.body, y, directions)
        squares = self.inner**2 * directions.square().sum()
        return -self.inner * y - self.gain * F, -squares - self.inner * self.gain * forms


class EnergyNetwork(_Preconditioned):
    """A gradient field: the body has one output, and the score is minus its energy's gradient.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) to (n, 1), twice differentiable.
    sigma : float in [0, inf)
        Level of the noised law whose score is learnt, for data of unit variance.
    """

    def energy(self, x: Tensor) -> Tensor:
        """``E(x)``, with ``-grad E = s``, (n, d) to (n,)."""
        y = self.inner * x
        return 0.5 * y.square().sum(1) + (self.gain / self.inner) * self.body(y)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row, (n, d) to (n, d)."""
        return -gradient(self.energy, x)

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        return divergence(self, x, directions)
