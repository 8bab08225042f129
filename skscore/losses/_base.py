"""The contract of a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skscore._params import Part

Generator = torch.Generator | None


class Loss(Part, ABC):
    """Contract of a loss.

    ``random`` says whether two calls may differ.  ``bounded`` says whether the values have a
    lower bound; without one a spike of the score on a single row, of width w, gains 1 / w^2,
    and training must guard against it.
    """

    random = True
    bounded = True

    @abstractmethod
    def __call__(
        self, score: Callable[..., Tensor], x: Tensor, *, generator: Generator = None
    ) -> Tensor:
        """One value per row: callable, (n, d) and a generator in, (n,) out."""

    def prepared(
        self, x: Tensor, n_batches: int, generator: Generator
    ) -> Iterable[Callable[[Any], Tensor]]:
        """The values of `n_batches` equal parts of the rows, as functions of the callable.

        Here each batch makes its draws by itself; a loss may make those of all batches at once.
        """
        return [partial(self, x=part, generator=generator) for part in x.chunk(n_batches)]
