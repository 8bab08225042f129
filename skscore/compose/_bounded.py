"""Columns that live in a range, on the whole line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin

from skscore._messages import column_names
from skscore._validation import check_rows, check_unnamed_rows, finite_results, first_rows

if TYPE_CHECKING:
    from typing_extensions import Self

Range = tuple[float | None, float | None]


class BoundedTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Logit and logarithm of columns with known bounds, so that no density lies beyond them.

    A column in (a, b) becomes ``log (x - a) / (b - x)``, one in (a, inf) ``log(x - a)``, one in
    (-inf, b) ``-log(b - x)``; one without bounds stays as it is.  All are increasing maps onto
    the whole line.  In a :class:`~skscore.DensityPipeline` the density of the transformed columns
    becomes one of the columns themselves, with all of its mass within the bounds.

    Parameters
    ----------
    bounds : (low, high), sequence of (low, high) or None, or dict of column to (low, high)
        One range for all columns; or one for each, None for a column without bounds; or those of
        the columns that have bounds, by name (or number, where columns have no names).  A low or
        high of None is no bound on that side.

    Attributes
    ----------
    lower_, upper_ : ndarray of shape (n_features,)
        Infinite where there is no bound.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.

    See Also
    --------
    sklearn.preprocessing.PowerTransformer : Maps that are fitted, not onto the whole line.

    Notes
    -----
    Rows on a bound have no image and are refused.  Where values such as zeros are rounded
    measurements, give bounds half a unit further out, and spread repeated values with
    :func:`skscore.datasets.dequantize`; where they are a case of their own, a density is the wrong
    model for them.

    Where rows crowd at a bound, as those of an exponential law at zero, compare models by their
    log-likelihood: Hyvarinen's criterion is not valid there.

    Examples
    --------
    >>> from skscore import BoundedTransformer
    >>> BoundedTransformer((0, None)).fit_transform([[1.0], [2.0]]).round(3)
    array([[0.   ],
           [0.693]])
    >>> bounded = BoundedTransformer([(0, 1), None]).fit([[0.5, 7.0], [0.1, -7.0]])
    >>> bounded.inverse_transform([[99.0, 3.0]])
    array([[1., 3.]])
    """

    def __init__(self, bounds: Any) -> None:
        self.bounds = bounds

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the bounds and the rows; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Strictly within the bounds.
        y : ignored

        Returns
        -------
        self
        """
        for learnt in ("lower_", "upper_", "n_features_in_", "feature_names_in_"):
            self.__dict__.pop(learnt, None)
        rows, described = first_rows(self, X, least=1)
        names = [str(name) for name in described.get("feature_names_in_", [])]
        lower, upper = _ends(self.bounds, rows.shape[1], names)
        _check_within(rows, lower, upper, column_names(X, rows.shape[1]))
        self.__dict__.update(described | {"lower_": lower, "upper_": upper})
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Rows without bounds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Strictly within the bounds.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        rows = check_rows(self, X).astype(np.float64)
        _check_within(rows, self.lower_, self.upper_, column_names(X, rows.shape[1]))
        low, high = np.isfinite(self.lower_), np.isfinite(self.upper_)
        Y = np.where(low | high, 0.0, rows)
        Y[:, low] += np.log(rows[:, low] - self.lower_[low])
        Y[:, high] -= np.log(self.upper_[high] - rows[:, high])
        return Y

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Rows within the bounds, strictly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Transformed rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        Y = check_unnamed_rows(self, X).astype(np.float64)
        a, b = self.lower_, self.upper_
        low, high = np.isfinite(a), np.isfinite(b)
        rows, both = Y.copy(), low & high
        with np.errstate(over="ignore"):
            rows[:, low] = a[low] + np.exp(Y[:, low])
            rows[:, high] = b[high] - np.exp(-Y[:, high])
        y, width = Y[:, both], (b - a)[both]
        near = y < 0  # each end by its own distance, which keeps the digits there
        rows[:, both] = np.where(near, a[both] + width * expit(y), b[both] - width * expit(-y))
        inmost = (
            np.where(low, np.nextafter(a, np.inf), a),
            np.where(high, np.nextafter(b, -np.inf), b),
        )
        rows = np.clip(rows, *inmost)
        return finite_results(rows, f"inverse_transform of {type(self).__name__}")

    def _slopes(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``a = dy/dx``, and first and second derivative of ``log a``, (n, d) each."""
        u, v = 1 / (X - self.lower_), 1 / (self.upper_ - X)
        free = np.isinf(self.lower_) & np.isinf(self.upper_)
        return np.where(free, 1.0, u + v), v - u, u**2 + v**2

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        low = self.bounds[0] if _is_range(self.bounds) else None
        tags.input_tags.positive_only = low is not None and low >= 0
        return tags


def _ends(bounds: Any, d: int, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of d columns."""
    ranges = _ranges(bounds, d, names)
    ends = np.array(
        [(-np.inf if a is None else a, np.inf if b is None else b) for a, b in ranges], dtype=float
    )
    wrong = ~(ends[:, 0] < ends[:, 1])
    if wrong.any():
        j = int(np.argmax(wrong))
        raise ValueError(
            "Each range of the 'bounds' parameter of BoundedTransformer must have a low end below "
            f"its high end. Got {ranges[j]!r} for column {names[j] if names else j}."
        )
    return ends[:, 0], ends[:, 1]


def _ranges(bounds: Any, d: int, names: list[str]) -> list[Range]:
    if _is_range(bounds):
        return [tuple(bounds)] * d
    ranges: list[Range] = [(None, None)] * d
    if isinstance(bounds, Mapping):
        places = {name: j for j, name in enumerate(names)} | {j: j for j in range(d) if not names}
        unknown = [column for column in bounds if column not in places]
        if unknown:
            raise ValueError(
                f"The 'bounds' parameter of BoundedTransformer names columns that are not in X: "
                f"{unknown}. Those of X are {list(places)}."
            )
        if _are_ranges(bounds.values()):
            for column, pair in bounds.items():
                ranges[places[column]] = (None, None) if pair is None else tuple(pair)
            return ranges
    elif isinstance(bounds, (list, tuple, np.ndarray)) and len(bounds) == d and _are_ranges(bounds):
        return [(None, None) if pair is None else tuple(pair) for pair in bounds]
    raise ValueError(
        "The 'bounds' parameter of BoundedTransformer must be a pair (low, high), a sequence of "
        f"{d} pairs or None, one for each column, or a dict of column to pair. A low or high is a "
        f"number or None. Got {bounds!r} for columns {names or list(range(d))}."
    )


def _is_range(pair: Any) -> bool:
    if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
        return False
    return all(end is None or (isinstance(end, Real) and not math.isnan(end)) for end in pair)


def _are_ranges(pairs: Any) -> bool:
    return all(pair is None or _is_range(pair) for pair in pairs)


def _check_within(rows: np.ndarray, lower: np.ndarray, upper: np.ndarray, names: list[str]) -> None:
    outside = ~((rows > lower) & (rows < upper))
    if outside.any():
        i, j = np.argwhere(outside)[0]
        value, on_bound = float(rows[i, j]), rows[i, j] in (lower[j], upper[j])
        remedy = (
            "Values on a bound have no image: give bounds half a unit of the rounding further out "
            "(and spread repeated values with skscore.datasets.dequantize)."
            if on_bound
            else "Give wider bounds, or leave such rows out."
        )
        raise ValueError(
            f"BoundedTransformer needs rows strictly within the bounds, but column {names[j]} has "
            f"{value!r} in row {i}, and its range is ({lower[j]}, {upper[j]}). {remedy}"
        )
