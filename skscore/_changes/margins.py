"""Curved maps of the columns of a table, each to a standard normal law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skscore._changes.columns import fit_column
from skscore._changes.curves import Curve
from skscore._changes.maps import LocalColumns, LocalMap, Slopes


@dataclass(frozen=True)
class Margins(LocalMap):
    """A curve for each column.

    Attributes
    ----------
    curves : sequence of Curve
    """

    curves: Sequence[Curve]

    @classmethod
    def fit(
        cls, X: np.ndarray, weights: np.ndarray | None = None, linear: np.ndarray | None = None
    ) -> Margins:
        """Fit to (n, d) rows with optional weights (n,); `linear` (d,) marks linear columns."""
        w = np.ones(len(X)) if weights is None else weights
        linear = np.zeros(X.shape[1], dtype=bool) if linear is None else linear
        return cls([fit_column(x, w, line) for x, line in zip(X.T, linear, strict=True)])

    @property
    def curved(self) -> np.ndarray:
        """Which columns (d,) are not mapped linearly."""
        return np.array([curve.curved for curve in self.curves])

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.at(X).image

    def inverse_transform(self, U: np.ndarray) -> np.ndarray:
        X = np.empty(U.shape)
        for j, curve in enumerate(self.curves):
            X[:, j] = curve.inverse(U[:, j])
        return X

    def at(self, X: np.ndarray) -> LocalMargins:
        return LocalMargins(self.curves, X)


class LocalMargins(LocalColumns):
    """The curves at some rows."""

    def __init__(self, curves: Sequence[Curve], rows: np.ndarray) -> None:
        super().__init__(rows)
        self._columns = [curve.at(x) for curve, x in zip(curves, rows.T, strict=True)]

    @cached_property
    def image(self) -> np.ndarray:
        return _table([column.u for column in self._columns])

    @cached_property
    def log_slopes(self) -> np.ndarray:
        """``log du/dx``, (n, d): exact where the slopes themselves underflow."""
        return _table([column.log_slope for column in self._columns])

    @cached_property
    def slopes(self) -> Slopes:
        return (
            np.exp(self.log_slopes),
            _table([column.curvature for column in self._columns]),
            _table([column.curvature_slope for column in self._columns]),
        )

    def log_det(self) -> np.ndarray:
        return self.log_slopes.sum(axis=1)


def _table(columns: list[np.ndarray]) -> np.ndarray:
    """Columns (n,) side by side, (n, d)."""
    return np.stack(columns, axis=-1)
