"""An ensemble of small networks with dropout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from skscore.networks._activations import ACTIVATIONS, VALUES_AND_SLOPES
from skscore.networks._dropout import Dropout, dropout_rate
from skscore.networks._tangents import perceptron_forms

_WIDTHS = (96, 96)  # of a member
_DROPPED_ROWS = 100.0


class _Stack(nn.Module):
    """The affine maps of several members, (m, n, in_features) to (m, n, out_features)."""

    def __init__(self, m: int, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.weight, self.bias = _stacked_linear(m, in_features, out_features)
        self.gain = self.gain_bias = None
        if context_features:
            self.gain, self.gain_bias = _stacked_linear(m, context_features, 2 * out_features)
            nn.init.zeros_(self.gain_bias)
            nn.init.ones_(self.gain_bias[..., :out_features])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``gain(context) * affine(x) + shift(context)``, member by member."""
        return self.with_weight(x, context)[0]

    def with_weight(self, x: Tensor, context: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """The outputs; the maps' weights, and the gains on them, where rows differ in them."""
        if self.gain is None or self.gain_bias is None:
            return torch.baddbmm(self.bias, x, self.weight), self.weight, None
        gain, shift = torch.baddbmm(self.gain_bias, context, self.gain).chunk(2, dim=2)
        if context.shape[1] > 1:
            x = torch.baddbmm(self.bias, x, self.weight)
            return torch.addcmul(shift, gain, x), self.weight, gain
        weight = gain * self.weight
        return torch.baddbmm(gain * self.bias + shift, x, weight), weight, None


def _stacked_linear(m: int, in_features: int, out_features: int) -> tuple[nn.Parameter, ...]:
    bound = in_features**-0.5
    shapes = (m, in_features, out_features), (m, 1, out_features)
    return tuple(nn.Parameter(torch.empty(shape).uniform_(-bound, bound)) for shape in shapes)


class Ensemble(nn.Module):
    """The mean of several perceptrons that are trained apart; dropout in training.

    In training the rows of a batch are split among the members, so that a batch costs what
    it costs one of them; otherwise every member sees every row.  The mean has less variance
    than any of them, which is what short tables lack.

    Parameters
    ----------
    in_features, out_features, hidden_layer_sizes, activation, context_features
        As for :class:`MLP`, of each member.
    dropout : float in [0, 1), default=0.1
        Rate, after every hidden layer.
    n_members : int in [1, inf), default=4

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._ensemble import Ensemble
    >>> Ensemble(2, 2, (16, 16)).eval()(torch.ones(3, 2)).shape
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
        *,
        dropout: float = 0.1,
        n_members: int = 4,
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(
            _Stack(n_members, *w, context_features) for w in pairwise(widths)
        )
        self.activation = ACTIVATIONS[activation]()
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.dropout = Dropout(dropout)
        self.exit = _Stack(n_members, widths[-1], out_features, 0)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)
        self.n_members = n_members

    @staticmethod
    def automatic_architecture(n_rows: int, n_features: int) -> dict[str, Any]:
        """Widths for a table of that size, and a dropout that is larger for a short one."""
        rate = dropout_rate(_DROPPED_ROWS, n_rows)
        return {"hidden_layer_sizes": _WIDTHS, "options": {"dropout": rate}}

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        n = len(x)
        if context is not None:
            context = self._split_among_members(context.expand(n, -1) if self.training else context)
        x = self._split_among_members(x)
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x, context)))
        x = self.exit(x)
        return x.transpose(0, 1).flatten(0, 1)[:n] if self.training else x.mean(0)

    def _split_among_members(self, rows: Tensor) -> Tensor:
        """Rows (n, k) as seen by the members: all of them, or in training each its own."""
        if not self.training:
            return rows.expand(self.n_members, *rows.shape)
        n = len(rows)
        if n % self.n_members:  # some rows go to two members; the second results are dropped
            rows = rows[torch.arange(n - n % -self.n_members, device=rows.device) % n]
        return rows.reshape(-1, self.n_members, rows.shape[1]).transpose(0, 1)

    def divergence(
        self, x: Tensor, directions: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The outputs, and ``sum_k v_k' J v_k``, by the formula of :class:`MLP` for each member."""
        x = self._split_among_members(x)
        if context is not None:
            context = self._split_among_members(context)
        layers = []
        for layer in self.hidden:
            x, weight, gain = layer.with_weight(x, context)
            x, slope = self._value_and_slope(x)
            layers.append((weight.mT, slope if gain is None else gain * slope))
        forms = perceptron_forms(directions, layers, (self.exit.weight @ directions.mT).mT)
        return self.exit(x).mean(0), forms.mean(0)
