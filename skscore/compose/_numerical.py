"""Changes of variables without a formula, by differences of the transformer.

A round trip through transform and inverse_transform tells which rows are in the domain and the
image.  First derivatives are those of :mod:`scipy.differentiate`, with steps that adapt to every
row; second ones are differences along lines, of several steps, of which those that agree
decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.differentiate import derivative, jacobian

from skscore._backend.convert import apply_in_chunks
from skscore._changes.algebra import Change, Columnwise, float_rows
from skscore._changes.maps import Slopes

MAX_NUMERICAL = 20
"""Most columns of a transformer whose Jacobian is taken by differences."""

_STEPS = (0.05, 0.01, 2e-3, 1e-4, 5e-6, 1e-8)  # of differences, in spreads of the columns
_LINE_STEPS = (0.05, 0.02, 8e-3, 3e-3, 1e-3, 3e-4, 8e-5, 1e-5, 1e-6)
_ACCURATE, _USELESS = 1e-7, 1e-2  # relative errors of differences
_LOOK = 50  # rows that tell whether columns act by themselves
_CHUNK = 256
_ROUND_TRIP = 1e-3  # spreads by which a row may differ after transform and inverse_transform


class _Tried(Change):
    """A map that nothing is known of: a row is in its domain, or image, if a round trip returns.

    Parameters
    ----------
    transformer, X
        As for :class:`Change`.
    """

    exact = False

    def __init__(self, transformer: Any, X: Any) -> None:
        super().__init__(transformer, X)
        self.everywhere = self.onto = False
        self._spread = spreads(float_rows(X))
        self._spread_after = spreads(self.transform(float_rows(X)))

    def inside(self, X: np.ndarray) -> np.ndarray:
        return returns(self.transform, self.inverse_transform, X, self._spread)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        return returns(self.inverse_transform, self.transform, Y, self._spread_after)


class NumericalColumnwise(_Tried, Columnwise):
    """Each column by itself, by functions that nothing is known of; differences of any columns.

    Parameters
    ----------
    transformer, X
        As for :class:`Change`.
    """

    def holds(self, X: np.ndarray) -> bool:
        """Whether columns of the output stay as they are when all other columns move."""
        moved, alone = np.roll(X, 1, axis=0), self.transform(X)
        for j in range(X.shape[1]):
            rows = moved.copy()
            rows[:, j] = X[:, j]
            if not np.array_equal(self.transform(rows)[:, j], alone[:, j], equal_nan=True):
                return False
        return True

    def _rates(self, X: np.ndarray) -> np.ndarray:
        """``dy/dx``, (n, d)."""
        return apply_in_chunks(
            lambda x: differentiated(
                lambda rows: self.transform(rows.reshape(-1, X.shape[1])).reshape(len(rows), -1),
                x,
                self._spread,
                self._spread_after,
                columnwise=True,
            ),
            X,
            _CHUNK,
        )

    def slopes(self, X: np.ndarray) -> Slopes:
        def log_rates(t: np.ndarray) -> np.ndarray:
            return np.log(np.abs(self._rates(X + t)))

        return self._rates(X), *line_derivatives(log_rates, np.broadcast_to(self._spread, X.shape))


class Numerical(_Tried):
    """An invertible map of a few columns that nothing is known of, by differences.

    Parameters
    ----------
    transformer, X
        As for :class:`Change`.
    """

    def __init__(self, transformer: Any, X: Any) -> None:
        super().__init__(transformer, X)
        d = len(self._spread)
        if d > MAX_NUMERICAL:
            raise ValueError(
                f"DensityPipeline knows no formula for the Jacobian of {transformer!r}, whose "
                "columns depend on each other, and takes it by differences for up to "
                f"{MAX_NUMERICAL} columns only. Got {d} columns: give columns to it through a "
                "ColumnTransformer, or register a formula with "
                "skscore.compose.change_of_variables."
            )

    def _jacobian(self, X: np.ndarray) -> np.ndarray:
        return apply_in_chunks(
            lambda x: differentiated(self.transform, x, self._spread, self._spread_after),
            X,
            _CHUNK,
        )

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return np.linalg.slogdet(self._jacobian(X))[1]

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        nat = np.ones(1)
        slope = differentiated(lambda x: self.log_det(x)[:, None], X, self._spread, nat)[:, 0]
        return np.einsum("nij,ni->nj", self._jacobian(X), scores) + slope

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        return self._jacobian(X) @ V

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(np.broadcast_to(M, (len(X), *M.shape[-2:])))
        roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        bends = (self._bend(X, scores, roots[:, :, k]) for k in range(roots.shape[2]))
        return sum(bends, np.zeros(len(X)))

    def _bend(self, X: np.ndarray, scores: np.ndarray, v: np.ndarray) -> np.ndarray:
        """``d^2/dt^2 [ s' T(x + t v) + log |det J(x + t v)| ]`` at 0, (n,)."""

        def potential(t: np.ndarray) -> np.ndarray:
            x = X + t[:, None] * v
            return (scores * self.transform(x)).sum(axis=1) + self.log_det(x)

        length = np.linalg.norm(v / self._spread, axis=1)
        return line_derivatives(potential, 1 / np.where(length > 0, length, 1.0))[1]


def by_differences(transformer: Any, X: Any) -> Change:
    """The change of a transformer without a formula."""
    alone = NumericalColumnwise(transformer, X)
    return alone if alone.holds(float_rows(X)[:_LOOK]) else Numerical(transformer, X)


def spreads(X: np.ndarray) -> np.ndarray:
    """Standard deviations of columns, one where a column is constant."""
    spread = X.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def returns(
    there: Callable[[np.ndarray], np.ndarray],
    back: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    spread: np.ndarray,
) -> np.ndarray:
    """Which rows a round trip leads back to, (n,)."""
    with np.errstate(all="ignore"):
        Y = there(X)
        kept = np.isfinite(Y).all(axis=1)
        if kept.any():
            gap = np.abs(back(Y[kept]) - X[kept])
            kept[kept] = (gap <= _ROUND_TRIP * spread + 1e-9 * np.abs(X[kept])).all(axis=1)
    return kept


def differentiated(
    fn: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    spread: np.ndarray,
    unit: np.ndarray,
    *,
    columnwise: bool = False,
) -> np.ndarray:
    """Jacobians (n, m, d) of rows (n, d) to rows (n, m), by differences of adaptive steps.

    `spread` and `unit` are the scales of columns on either side.  With `columnwise` they are
    the derivatives (n, d) of each column to itself.  NaN where no step gives two digits.
    """
    d = X.shape[1]

    def field(x: np.ndarray) -> np.ndarray:
        values = fn(x.reshape(d, -1).T)
        return values.T.reshape(-1, *x.shape[1:])

    shape = (d, len(X)) if columnwise else (len(unit), d, len(X))
    scale = spread / unit if columnwise else spread / unit[:, None]
    best, error, todo = np.full(shape, np.nan), np.full(len(X), np.inf), np.arange(len(X))
    for step in _STEPS:  # a long one may leave the domain, or pass over what the function does
        first = step * np.broadcast_to(spread[:, None], (d, len(todo)))
        with np.errstate(all="ignore"):
            if columnwise:
                found = derivative(field, X[todo].T, initial_step=first, preserve_shape=True)
            else:
                found = jacobian(field, X[todo].T, initial_step=first)
            axes = tuple(range(found.df.ndim - 1))
            size = np.abs(found.df * scale[..., None])
            doubt = (
                found.error * scale[..., None] / (1e-3 + (size if columnwise else size.max(axes)))
            )
            doubt = np.where(np.isfinite(found.df), doubt, np.inf).max(axes)
        better = doubt < error[todo]
        best[..., todo[better]], error[todo[better]] = found.df[..., better], doubt[better]
        todo = todo[error[todo] > _ACCURATE]
        if not len(todo):
            break
    best[..., error > _USELESS] = np.nan
    return np.moveaxis(best, -1, 0)


def line_derivatives(
    fn: Callable[[np.ndarray], np.ndarray], unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative at 0 of functions of t, one for each entry of `unit`.

    Differences of order four, of several parts of the unit: the two that agree best decide.
    """
    first, second = [], []
    for step in _LINE_STEPS:
        t = step * unit
        with np.errstate(all="ignore"):
            a, b, f, c, d = (fn(k * t) for k in (-2, -1, 0, 1, 2))
            first.append((a - 8 * b + 8 * c - d) / (12 * t))
            second.append((16 * (b + c) - 30 * f - a - d) / (12 * t**2))
    return _steadiest(np.array(first)), _steadiest(np.array(second))


def _steadiest(estimates: np.ndarray) -> np.ndarray:
    """Of several estimates (k, ...) that which differs least from the one before."""
    gaps = np.abs(np.diff(estimates, axis=0))
    best = np.where(np.isfinite(gaps), gaps, np.inf).argmin(axis=0)
    return np.take_along_axis(estimates, best[None] + 1, axis=0)[0]
