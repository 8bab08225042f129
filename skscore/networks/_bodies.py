"""Bodies: functions of rows, and of the features of a noise level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skscore.networks._activations import ACTIVATIONS, VALUES_AND_SLOPES
from skscore.networks._dropout import Dropout, dropout_rate
from skscore.networks._tangents import BlockTangents, Normalised, perceptron_forms, row_parts

_RESIDUAL_WIDTHS = (128, 128, 128)
_DROPPED_ROWS = 600.0  # of a residual network; see the developer guide

FEW_COLUMNS = 5
"""Three layers learn more; two have a trace whose cost does not grow with more columns."""
_FEW_COLUMNS_WIDTHS, _MANY_COLUMNS_WIDTHS = (128, 128, 128), (192, 192)


class _Modulated(nn.Module):
    """An affine map, and gains and shifts of its outputs that a context sets."""

    gain: nn.Linear | None
    shift: nn.Linear | None

    def __init__(self, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.affine = nn.Linear(in_features, out_features)
        self.gain = self.shift = None
        if context_features:
            self.gain = nn.Linear(context_features, out_features)
            self.shift = nn.Linear(context_features, out_features)
            nn.init.ones_(self.gain.bias)
            nn.init.zeros_(self.shift.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``gain(context) * affine(x) + shift(context)``."""
        return self.with_weight(x, context)[0]

    def with_weight(self, x: Tensor, context: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """The outputs; the map's weight, and the gains on it, where rows differ in them.

        A context of one row for all is an affine map of other weights.
        """
        weight, bias = self.affine.weight, self.affine.bias
        if self.gain is None or self.shift is None:
            return self.affine(x), weight, None
        gain, shift = self.gain(context), self.shift(context)
        if len(context) > 1:
            return torch.addcmul(shift, gain, self.affine(x)), weight, gain
        weight = gain.mT * weight
        return functional.linear(x, weight, (gain * bias + shift)[0]), weight, None


class MLP(nn.Module):
    """Affine maps with an activation between them; the last one starts at zero.

    Parameters
    ----------
    in_features, out_features : int in [1, inf)
    hidden_layer_sizes : sequence of int in [1, inf)
        Width of each hidden layer.
    activation : str, default="tanh"
        A key of :data:`ACTIVATIONS`.
    context_features : int in [0, inf), default=0
        Features of a context, which sets gains and shifts of the hidden units.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._bodies import MLP
    >>> MLP(2, 2, (16, 16))(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    hidden: Any

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str = "tanh",
        context_features: int = 0,
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(_Modulated(*w, context_features) for w in pairwise(widths))
        self.activation = ACTIVATIONS[activation]()
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.exit = zeroed(nn.Linear(widths[-1], out_features))

    @staticmethod
    def automatic_architecture(n_rows: int, n_features: int) -> dict[str, Any]:
        """Widths for a table of that size."""
        few = n_features <= FEW_COLUMNS
        return {"hidden_layer_sizes": _FEW_COLUMNS_WIDTHS if few else _MANY_COLUMNS_WIDTHS}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        for layer in self.hidden:
            x = self.activation(layer(x, context))
        return self.exit(x)

    def divergence(
        self, x: Tensor, directions: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The outputs, and ``sum_k v_k' J v_k`` for directions (m, d).

        Two hidden layers have a closed form whose cost does not grow with d; see
        :func:`skscore.networks._tangents.perceptron_forms`.
        """
        layers = []
        for layer in self.hidden:
            x, weight, gain = layer.with_weight(x, context)
            x, slope = self._value_and_slope(x)
            layers.append((weight, slope if gain is None else gain * slope))
        return self.exit(x), perceptron_forms(directions, layers, directions @ self.exit.weight)


class _Block(nn.Module):
    """``A act(B norm(x))``, the gains and shifts of a context on the units inside."""

    def __init__(
        self, trunk: int, width: int, activation: str, context_features: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(trunk)
        self.inner = _Modulated(trunk, width, context_features)
        self.activation = nn.Sequential(ACTIVATIONS[activation](), Dropout(dropout))
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.outer = nn.Linear(width, trunk)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.outer(self.activation(self.inner(self.norm(x), context)))

    def with_tangents(
        self, x: Tensor, context: Any, dtype: torch.dtype
    ) -> tuple[Tensor, BlockTangents]:
        """The trunk behind the block, and what the block makes of tangents."""
        normed = Normalised(self.norm, x)
        inside, weight, gain = self.inner.with_weight(normed.values, context)
        inside, slope = self._value_and_slope(inside)
        slope = slope if gain is None else gain * slope
        pushed = BlockTangents(normed, weight, self.outer.weight, slope, dtype)
        return x + self.outer(inside), pushed


class ResNet(nn.Module):
    """Residual blocks on a trunk as wide as the first hidden layer.

    Block i adds ``A_i act(B_i norm(x))`` to the trunk, with ``hidden_layer_sizes[i]``
    units inside, and the norm taken over the units of one row (layer norm).

    Parameters
    ----------
    in_features, out_features, hidden_layer_sizes, activation, context_features
        As for :class:`MLP`; one residual block per hidden layer size.
    dropout : float in [0, 1), default=0
        Rate, of the units inside the blocks.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._bodies import ResNet
    >>> ResNet(2, 2, (16, 32, 32))(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    blocks: Any
    exit: Any
    single_tangents = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str = "tanh",
        context_features: int = 0,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        trunk = hidden_layer_sizes[0]
        if trunk < 2:
            raise ValueError(
                "The 'hidden_layer_sizes' of ResNet must begin with at least 2: the norm over "
                f"a trunk of one unit is constant. Got {tuple(hidden_layer_sizes)!r} instead."
            )
        self.entrance = nn.Linear(in_features, trunk)
        self.blocks = nn.ModuleList(
            _Block(trunk, width, activation, context_features, dropout)
            for width in hidden_layer_sizes
        )
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.exit = nn.Sequential(
            nn.LayerNorm(trunk),
            ACTIVATIONS[activation](),
            zeroed(nn.Linear(trunk, out_features)),
        )

    @staticmethod
    def automatic_architecture(n_rows: int, n_features: int) -> dict[str, Any]:
        """Widths for any table, and a dropout that is larger for a short one."""
        rate = dropout_rate(_DROPPED_ROWS, n_rows)
        return {"hidden_layer_sizes": _RESIDUAL_WIDTHS, "options": {"dropout": rate}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        x = self.entrance(x)
        for block in self.blocks:
            x = x + block(x, context)
        return self.exit(x)

    def divergence(
        self, x: Tensor, directions: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The outputs, and ``sum_k v_k' J v_k`` for directions (m, d), all pushed along at once.

        Tangents are of the dtype of the directions, which may be in single precision.
        """
        start = (directions @ self.entrance.weight.mT.to(directions))[None]
        x = self.entrance(x)
        blocks = []
        for block in self.blocks:
            x, pushed = block.with_tangents(x, context, directions.dtype)
            blocks.append(pushed)
        norm, _, last = self.exit
        normed, ends = Normalised(norm, x), directions @ last.weight.to(directions)
        values, slopes = self._value_and_slope(normed.values)
        sums = []
        for rows in row_parts(len(x), len(directions), x.device):
            tangents = start
            for pushed in blocks:
                tangents = pushed.push(tangents, rows)
            sums.append(normed.contracted(ends, tangents, rows))
        return last(values), (slopes * torch.cat(sums)).sum(1)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer itself, with weights and biases of zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
