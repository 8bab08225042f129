"""Tangents that go through layers beside the values: forward-mode differentiation.

Along m directions the values (n, h) of a layer change by tangents (n, m, h), or (1, m, h) where
rows do not differ in them yet.  All directions go through a layer in one product of matrices.

Those of a residual network are of the dtype of the directions: in single precision, beside
values in double, they take half the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_IN_CACHE, _IN_MEMORY = 512, 2**18  # rows times directions


def contracted(ends: Tensor, tangents: Tensor) -> Tensor:
    """``sum_k ends_k * tangents_k``, for ends (..., m, h) and tangents (..., m, h)."""
    return (ends * tangents).sum(-2)


def perceptron_forms(
    directions: Tensor, layers: Sequence[tuple[Tensor, Tensor]], ends: Tensor
) -> Tensor:
    """``sum_k v_k' J v_k`` of the layers of a perceptron, (..., n).

    With slopes d_i, ``J = W3 D2 W2 D1 W1`` of two hidden layers makes the sum ``d2' (W2 o (W1 V'V
    W3)') d1``: about one more layer, whatever d is.  A further layer takes a product for every
    direction.

    Parameters
    ----------
    directions : Tensor of shape (m, d)
    layers : sequence of (Tensor, Tensor)
        Weights (..., h', h) and slopes (..., n, h') behind them, of all hidden layers.
    ends : Tensor of shape (..., m, h')
        The directions, taken back through the last layer.
    """
    n, m = layers[-1][1].shape[-2], len(directions)
    parts = [slice(None)] if len(layers) <= 2 else row_parts(n, m, directions.device)
    return torch.cat([_forms(directions, layers, ends, rows) for rows in parts], dim=-1)


def _forms(
    directions: Tensor, layers: Sequence[tuple[Tensor, Tensor]], ends: Tensor, rows: slice
) -> Tensor:
    tangents, slopes = directions[None], torch.ones_like(directions[:1])
    for weight, own_slopes in layers[:-1]:
        tangents = (slopes[..., None, :] * tangents) @ weight.mT.unsqueeze(-3)
        slopes = own_slopes[..., rows, :]
    weight, own_slopes = layers[-1]
    ends = ends.unsqueeze(-3)
    if tangents.shape[-3] == 1:  # rows do not differ in them: sum over directions first
        forms = (ends.mT @ tangents)[..., 0, :, :]
        sums = slopes @ (weight * forms).mT
    else:
        behind = (slopes[..., None, :] * tangents) @ weight.mT.unsqueeze(-3)
        sums = contracted(ends, behind)
    return (own_slopes[..., rows, :] * sums).sum(-1)


def row_parts(n: int, m: int, device: torch.device) -> list[slice]:
    """Rows whose tangents along m directions a processor's cache holds, or a GPU's memory."""
    size = max(16, (_IN_CACHE if device.type == "cpu" else _IN_MEMORY) // m)
    return [slice(start, start + size) for start in range(0, n, size)]


class Normalised:
    """Values after the layer norm, and what it makes of their tangents.

    Parameters
    ----------
    norm : LayerNorm
    x : Tensor of shape (n, h)

    Attributes
    ----------
    values, unit : Tensor of shape (n, h)
        After the norm, and before its gains and shifts.
    inverse : Tensor of shape (n, 1)
        One over the deviations.
    gains : Tensor of shape (h,)
    """

    def __init__(self, norm: nn.LayerNorm, x: Tensor) -> None:
        centred = x - x.mean(1, keepdim=True)
        self.inverse = (centred.square().mean(1, keepdim=True) + norm.eps).rsqrt()
        self.unit = centred * self.inverse
        self.values = torch.addcmul(norm.bias, self.unit, norm.weight)
        self.gains = norm.weight

    def contracted(self, ends: Tensor, tangents: Tensor, rows: slice) -> Tensor:
        """``sum_k ends_k * tangents_k`` behind the norm, for ends (m, h), of some rows."""
        unit = self.unit[rows].to(tangents)
        means, shares = tangents.mean(2), along(unit, tangents) / unit.shape[1]
        taken = means @ ends + unit * (shares @ ends)
        return (contracted(ends, tangents) - taken) * self.gains * self.inverse[rows]


class BlockTangents:
    """What a residual block ``A act(B norm(x))`` makes of tangents.

    With x^ the unit rows and s their deviations, a tangent T becomes ``T + A D (B T - B x^ (x^ . T)
    / h) / s``, B with the gains of the norm and of mean zero along its rows.

    Parameters
    ----------
    normed : Normalised
    inner, outer : Tensor of shape (h', h) and (h, h')
        B and A.
    slopes : Tensor of shape (n, h')
        The diagonal D.
    dtype : dtype
        Of the tangents.
    """

    def __init__(
        self, normed: Normalised, inner: Tensor, outer: Tensor, slopes: Tensor, dtype: torch.dtype
    ) -> None:
        inner = inner * normed.gains
        taken = normed.unit @ inner.mT / inner.shape[1]
        self._unit, self._taken = normed.unit.to(dtype), taken.to(dtype)
        self._inner = (inner - inner.mean(1, keepdim=True)).mT.to(dtype)
        self._outer = outer.mT.to(dtype)
        self._scale = (slopes * normed.inverse).to(dtype)

    def push(self, tangents: Tensor, rows: slice) -> Tensor:
        """The tangents (n, m, h) of some rows behind the block."""
        shares = along(self._unit[rows], tangents)[:, :, None]
        inside = torch.addcmul(tangents @ self._inner, self._taken[rows, None], shares, value=-1)
        return tangents + (self._scale[rows, None] * inside) @ self._outer


def along(rows: Tensor, tangents: Tensor) -> Tensor:
    """Inner products of rows (n, h) with their tangents, (n, m)."""
    if len(tangents) == 1:
        return rows @ tangents[0].mT
    return (tangents @ rows[:, :, None])[:, :, 0]
