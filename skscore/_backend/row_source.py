"""Rows for training, made tensors a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from skscore._backend.batches import Batch
from skscore._backend.convert import CHUNK, tensor
from skscore._backend.scope import torch_scope

_CACHE_BYTES = 2**28


class RowSource:
    """Standardised rows by index, as float32 tensors on a device.

    A table of up to 256 MiB is standardised once and kept on the device; of a larger one
    each batch is standardised as it is asked for.  `uniform` and `normal` are (m, d)
    directions along which every visit to a row adds U(-1/2, 1/2) and N(0, 1) noise:
    dequantisation, and the law of directions in which the rows do not vary.
    """

    def __init__(
        self,
        X: np.ndarray,
        standardize: Callable[[np.ndarray], np.ndarray],
        uniform: np.ndarray,
        normal: np.ndarray,
        device: torch.device,
    ) -> None:
        self.device = device
        self._X, self._standardize = X, standardize
        with torch_scope():
            self._uniform = tensor(uniform, device, torch.float32)
            self._normal = tensor(normal, device, torch.float32)
            cached = 4 * X.size <= _CACHE_BYTES
            self._table = self._read(X) if cached else None

    def _read(self, X: np.ndarray) -> Tensor:
        rows = np.empty(X.shape, dtype=np.float32)
        for start in range(0, len(X), CHUNK):
            part = slice(start, start + CHUNK)
            rows[part] = self._standardize(X[part])
        return torch.from_numpy(rows).to(self.device)

    def take(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The rows at an index (b,)."""
        table = self._table
        if table is None:
            x = self._read(self._X[index.cpu().numpy()])
        else:
            x = table.index_select(0, index)
        if len(self._uniform):
            u = x.new_empty(len(x), len(self._uniform)).uniform_(-0.5, 0.5, generator=generator)
            x = x + u @ self._uniform
        if len(self._normal):
            z = x.new_empty(len(x), len(self._normal)).normal_(generator=generator)
            x = x + z @ self._normal
        return Batch(x)
