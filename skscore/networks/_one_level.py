"""Networks that are a score, or an energy, at one noise level."""

from __future__ import annotations

import math

from torch import Tensor, nn

from skscore._math.angles import Level
from skscore._math.calculus import divergence, gradient
from skscore._params import check_in_range


def divergence_of(
    body: nn.Module, x: Tensor, directions: Tensor, *context: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs and ``sum_k v_k' J v_k``, by the body's own formula where it has one."""
    formula = getattr(body, "divergence", None)
    if formula is not None:
        values, forms = formula(x, directions, *context)
        return values, forms
    return divergence(lambda x: body(x, *context), x, directions)


class _Preconditioned(nn.Module):
    """A body, and the level at which it is the field."""

    def __init__(self, body: nn.Module, sigma: float = 0.0) -> None:
        super().__init__()
        check_in_range(self, "sigma", sigma, 0.0, math.inf)
        self.body = body
        self.level = Level.of(sigma)


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
        y = self.level.y(x)
        return self.level.score(self.body(y), y)

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        y = self.level.y(x)
        F, forms = divergence_of(self.body, y, directions)
        return self.level.score(F, y), self.level.score_forms(forms, directions)


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
        y = self.level.y(x)
        return self.level.energy(self.body(y)[:, 0], y)

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row, (n, d) to (n, d)."""
        return -gradient(self.energy, x)

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        return divergence(self, x, directions)
