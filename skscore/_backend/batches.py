"""What the training loop asks of a table: portions of it, and batches of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Portion:
    """Some rows of a table by their numbers (m,), and how much each counts; None is alike.

    The training loop visits rows as often as they count.
    """

    index: Any
    weights: Any = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_rows(self) -> float:
        """How many rows they stand for."""
        return float(len(self.index) if self.weights is None else self.weights.sum())

    def every(self, step: int) -> Portion:
        """Every `step`-th row."""
        weights = None if self.weights is None else self.weights[::step]
        return Portion(self.index[::step], weights)


class Split(NamedTuple):
    """The rows that are trained on, and those held out to judge by; None are none."""

    training: Portion
    validation: Portion | None = None


@dataclass(frozen=True)
class Batch:
    """Rows (b, d), how much each counts in a mean, and what each is conditioned on (b, c).

    `weight` None is alike, `context` None is nothing.  A table's weights are not here: its rows
    are drawn as often as they count.
    """

    x: Tensor
    weight: Tensor | None = None
    context: Tensor | None = None

    def parts(self, number: int) -> list[Batch]:
        """As many equal parts."""
        columns = self.x, self.weight, self.context
        chunks = [(None,) * number if c is None else c.chunk(number) for c in columns]
        return [Batch(*part) for part in zip(*chunks, strict=True)]

    def conditioned(self, model: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A model of rows and their contexts as one of rows alone.

        A loss may call it with all of the rows several times over, one below the other.
        """
        context = self.context
        if context is None:
            return model

        def of_rows(x: Tensor, *level: Tensor) -> Tensor:
            return model(x, *level, context.repeat(len(x) // len(context), 1))

        return of_rows

    def mean(self, values: Tensor) -> Tensor:
        """The weighted mean of one value for each row."""
        if self.weight is None:
            return values.mean()
        return self.weight @ values / self.weight.sum()


class Rows(Protocol):
    """A source of rows, on a device."""

    device: torch.device

    def take(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The rows at an index (b,)."""


def batch_indices(rows: Portion, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless row numbers (size,) from passes that are shuffled anew."""
    places = rows.index[:0]
    while True:
        while len(places) < size:
            order = _pass(rows, generator)
            places = torch.cat([places, order]) if len(places) else order
        yield rows.index[places[:size]]
        places = places[size:]


def _pass(rows: Portion, generator: torch.Generator) -> Tensor:
    """As many places as there are rows, in random order: each once, or as often as it counts.

    Weighted ones are systematic draws: a row that counts r times the mean comes ``floor(r)`` or
    ``ceil(r)`` times.
    """
    n, device = len(rows), rows.index.device
    order = torch.randperm(n, generator=generator, device=device)
    if rows.weights is None:
        return order
    ends = rows.weights[order].cumsum(0)
    shift = torch.rand(1, generator=generator, device=device, dtype=ends.dtype)
    points = (torch.arange(n, device=device, dtype=ends.dtype) + shift) * (ends[-1] / n)
    drawn = order[torch.searchsorted(ends, points).clamp_max(n - 1)]
    return drawn[torch.randperm(n, generator=generator, device=device)]
