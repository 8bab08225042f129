"""Columns of repeated values: which of them are rounded, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skscore._messages import listed, warn_user
from skscore._rows import some_rows
from skscore.exceptions import TiesWarning

TIES = 0.05
"""Part of repeated values above which a column is reported."""

_TIES_ROWS = 100_000
_MANY = 10  # rows that a value of a lattice stands for, where no different rows share it


@dataclass(frozen=True)
class Ties:
    """Which columns have ties.

    Attributes
    ----------
    gaps : ndarray of shape (d,)
        Median distance of neighbouring distinct values of tied columns; zero for others.
    lattice : ndarray of shape (d,)
        Whether values repeat all over the column, and not only a few that have much of the mass.
    """

    gaps: np.ndarray
    lattice: np.ndarray

    def linear(self, dequantize: bool) -> np.ndarray:
        """Which columns (d,) must not be curved: lattices, and those that get noise of one gap."""
        return self.lattice | (self.gaps > 0 if dequantize else False)


def column_ties(
    X: np.ndarray, weights: np.ndarray | None = None, n_given: float | None = None
) -> Ties:
    """The ties of (n, d) rows with optional weights (n,), which stand for `n_given` rows.

    A column is tied where more than 5 % of its values repeat in the rows as given, or where
    *atoms* have more than 5 % of the mass: values of at least 5 % each, and of twice the mean.
    The others are a lattice where more than 5 % repeat in different rows, or stand for ten rows:
    a table of which each row stands a few times has ties and no lattice.
    """
    if weights is not None:
        X, weights = X[weights > 0], weights[weights > 0]
    number = len(X)
    X, weights = some_rows(X, weights, _TIES_ROWS)
    numbers = np.ones(len(X))
    if weights is not None:
        n_given = number if n_given is None else n_given
        numbers = weights * (n_given * len(X) / number / weights.sum())
    gaps, lattice = zip(*(_ties(column, numbers) for column in X.T), strict=True)
    return Ties(np.array(gaps), np.array(lattice))


def _ties(column: np.ndarray, numbers: np.ndarray) -> tuple[float, bool]:
    """Gap of a column whose values stand for so many rows each, and whether it is a lattice."""
    values, place, n_rows = np.unique(column, return_inverse=True, return_counts=True)
    number = np.bincount(place.ravel(), weights=numbers)
    atoms = number >= max(TIES, 2 / len(values)) * number.sum()
    repeated = max(1 - len(values) / number.sum(), number[atoms].sum() / number.sum())
    if len(values) < 2 or repeated <= TIES:
        return 0.0, False
    rest, n_rest = number[~atoms], n_rows[~atoms].sum()
    shared = n_rest == 0 or 1 - len(rest) / n_rest > TIES
    lattice = shared or rest[rest >= _MANY].sum() > TIES * rest.sum()
    return float(np.median(np.diff(values.astype(np.float64)))), bool(lattice)


def warn_ties(gaps: np.ndarray, names: list[str]) -> None:
    """Name the tied columns, those of positive gap."""
    tied = listed([names[j] for j in np.flatnonzero(gaps)])
    warn_user(
        f"More than {TIES:.0%} of the values repeat in these columns: {tied}. Log-densities and "
        "Hyvarinen's criterion reward spikes on repeated values without bound. Spread them with "
        "dequantize=True (or skscore.datasets.dequantize, for other estimators too) if they are "
        "rounded measurements; leave the columns out if they are categories.",
        TiesWarning,
    )
