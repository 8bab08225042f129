"""The rows that stand for all rows an estimator has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skscore._estimators.draws import MAX_STARTS, merged_starts, resample
from skscore._fitting.data import FitData


@dataclass(frozen=True)
class SeenRows:
    """A sample of the rows seen, all alike, and how many these are."""

    sample: np.ndarray
    number: float = 0.0

    @classmethod
    def of(cls, data: FitData) -> SeenRows:
        """Those of a first table."""
        return cls(resample(data.X, data.weights, MAX_STARTS, data.rng), data.n_given)

    def with_chunk(self, data: FitData) -> SeenRows:
        """Those and a later chunk."""
        sample = merged_starts(self.sample, self.number, data.X, data.weights, data.rng)
        return SeenRows(sample, self.number + data.n_given)

    def replayed(self, data: FitData) -> FitData:
        """What a round on a chunk runs over: the sample, or the chunk where it is larger."""
        if len(self.sample) <= len(data.X):
            return data
        return FitData(self.sample, None, data.standardizer, data.rng)
