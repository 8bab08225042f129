"""Dropout with a generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_MOST = 0.2


def dropout_rate(rows_of_a_unit: float, n_rows: int) -> float:
    """A rate in inverse proportion to the number of rows, at most a fifth."""
    return min(_MOST, rows_of_a_unit / n_rows)


class Dropout(nn.Module):
    """Sets values to zero with probability `rate` in training, and scales the rest up.

    Its draws come from `source`, which the training loop sets: no global generator is used.

    Parameters
    ----------
    rate : float in [0, 1)

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._dropout import Dropout
    >>> drop = Dropout(0.5)
    >>> drop.source = torch.Generator().manual_seed(0)
    >>> sorted(set(drop(torch.ones(100)).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.source: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape."""
        if not (self.training and self.rate):
            return x
        return x * self._kept(x).to(x.dtype).div_(1 - self.rate)

    def _kept(self, x: Tensor) -> Tensor:
        """Which values stay, by 16 random bits each: half the time of a draw for each."""
        quarters = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        quarters.random_(-(2**63), 2**63 - 1, generator=self.source)
        bits = quarters.view(torch.int16)[: x.numel()].view(x.shape)
        return bits >= round(self.rate * 2**16) - 2**15
