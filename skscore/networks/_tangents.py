"""Tangents that go through layers beside the values: forward-mode differentiation.

Along m directions the values (n, h) of a layer change by tangents (n, m, h), or (1, m, h) where
rows do not differ in them yet.  All directions go through a layer in one product of matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def contracted(ends: Tensor, tangents: Tensor) -> Tensor:
    """``sum_k ends_k * tangents_k``, for ends (..., m, h) and tangents (..., m, h)."""
    return (ends * tangents).sum(-2)


def contracted_behind(ends: Tensor, weight: Tensor, slopes: Tensor, tangents: Tensor) -> Tensor:
    """``sum_k ends_k * weight (slopes * tangents_k)``, the slopes (..., n, h) of an activation.

    Ends are (..., 1, m, h').  Where rows do not differ in the tangents, the sum over directions
    comes first and they cost nothing.
    """
    if tangents.shape[-3] == 1:
        forms = (ends.mT @ tangents)[..., 0, :, :]
        return slopes @ (weight * forms).mT
    behind = (slopes[..., None, :] * tangents) @ weight.mT.unsqueeze(-3)
    return contracted(ends, behind)


class Normalised:
    """Values after the layer norm, and what it makes of their tangents.

    Parameters
    ----------
    norm : LayerNorm
    x : Tensor of shape (n, h)

    Attributes
    ----------
    values : Tensor of shape (n, h)
    deviation : Tensor of shape (n, 1)
    """

    def __init__(self, norm: nn.LayerNorm, x: Tensor) -> None:
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        self.deviation = (variance + norm.eps).sqrt()
        self.values = functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias)
        self._unit = (x - mean) / self.deviation
        self._gains = norm.weight

    def through(self, weight: Tensor, tangents: Tensor) -> Tensor:
        """``deviation`` times the tangents behind the norm and a matrix (h', h), (n, m, h')."""
        weight = weight * self._gains
        centred = weight - weight.mean(1, keepdim=True)
        taken = (self._unit @ weight.mT / self._unit.shape[1])[:, None]
        along = _along(self._unit, tangents)[:, :, None]
        return torch.addcmul(tangents @ centred.mT, taken, along, value=-1)

    def contracted(self, ends: Tensor, tangents: Tensor) -> Tensor:
        """``sum_k ends_k * tangents_k`` behind the norm, for ends (m, h), (n, h)."""
        means, shares = tangents.mean(2), _along(self._unit, tangents) / self._unit.shape[1]
        taken = means @ ends + self._unit * (shares @ ends)
        return (contracted(ends, tangents) - taken) * self._gains / self.deviation


def _along(rows: Tensor, tangents: Tensor) -> Tensor:
    """Inner products of rows (n, h) with their tangents, (n, m)."""
    if len(tangents) == 1:
        return rows @ tangents[0].mT
    return (tangents @ rows[:, :, None])[:, :, 0]
