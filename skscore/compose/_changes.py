r"""Changes of variables: what a fitted transformer does to a density.

A row x becomes ``y = T(x)`` with the Jacobian ``J = dy/dx``.  A density q of y, its score s(y)
and the Jacobian H of that become, in the space of x,

    log p(x)      = log q(y) + log |det J|
    score         = J' s + grad log |det J|
    tr(M grad s)  = tr(J M J' H) + sum_k s_k tr(M grad^2 T_k) + tr(M grad^2 log |det J|)

So metrics are pushed forward and scores are pulled back; the last two terms are the
*curvature* of the change.  The domain of T is where a row of x may lie, its image where a
row of y may: beyond the first the density of x is zero, and mass that q has beyond the
second is no row of x.

:class:`Change` is the contract, with one member for each form of T; which transformer has
which form is written in ``_scikit``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.differentiate import derivative, jacobian

from skscore._bridge import apply_in_chunks
from skscore._validation import rows_like

MAX_NUMERICAL = 20
"""Most columns of a transformer whose Jacobian is taken by differences."""

_STEPS = (0.05, 0.01, 2e-3, 1e-4, 5e-6, 1e-8)  # of differences, in spreads of the columns
_LINE_STEPS = (0.05, 0.02, 8e-3, 3e-3, 1e-3, 3e-4, 8e-5, 1e-5, 1e-6)
_ACCURATE, _USELESS = 1e-7, 1e-2  # relative errors of differences
_LOOK = 50  # rows that tell whether columns act by themselves
_CHUNK = 256
_ROUND_TRIP = 1e-3  # spreads by which a row may differ after transform and inverse_transform


Ends = tuple[Any, Any]
Slopes = tuple[np.ndarray, np.ndarray, np.ndarray]


class Change(ABC):
    """A fitted transformer as a change of variables, on float64 arrays of rows (n, d).

    It is given copies of rows: one made with ``copy=False`` writes to them.

    Parameters
    ----------
    transformer : fitted transformer
    X : rows as the transformer is given them, an array or a data frame
        A few of those it was fitted to.
    """

    everywhere = True
    """Whether every row is in the domain."""
    onto = True
    """Whether every row is in the image."""
    smooth = True
    """Whether scores can be pulled back, and not only log-densities."""
    exact = True
    """Whether there is a formula, and no differences are taken."""

    def __init__(self, transformer: Any, X: Any) -> None:
        self.transformer = transformer
        self._input = _without_rows(X)
        self._output = _without_rows(transformer.transform(X.copy()))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """``y = T(x)``."""
        return _array(self.transformer.transform(rows_like(self._input, X.copy())))

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        """``x = T^-1(y)``, for rows of the image."""
        return _array(self.transformer.inverse_transform(rows_like(self._output, Y.copy())))

    def inside(self, X: np.ndarray) -> np.ndarray:
        """Which rows are in the domain, (n,)."""
        return np.ones(len(X), dtype=bool)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        """Which rows are in the image, (n,)."""
        return np.ones(len(Y), dtype=bool)

    @abstractmethod
    def log_det(self, X: np.ndarray) -> np.ndarray:
        """``log |det J|``, (n,)."""

    @abstractmethod
    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """``J' s + grad log |det J|`` for scores at T(x), (n, d)."""

    @abstractmethod
    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        """``J V`` for columns V, (d, m) or (n, d, m); (d, m) again where that is so for all x."""

    @abstractmethod
    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        """``sum_k s_k tr(M grad^2 T_k) + tr(M grad^2 log |det J|)``, (n,)."""

    def push_metric(self, X: np.ndarray, M: np.ndarray) -> np.ndarray:
        """``J M J'``, (d, d) or (n, d, d)."""
        pushed = self.push(X, np.swapaxes(self.push(X, M), -1, -2))
        return 0.5 * (pushed + np.swapaxes(pushed, -1, -2))


def _array(rows: Any) -> np.ndarray:
    return np.asarray(rows, dtype=np.float64)


def _without_rows(X: Any) -> Any:
    """The columns of a data frame; nothing of an array."""
    return X.iloc[:0] if hasattr(X, "iloc") else None


class Linear(Change):
    """``y = x A + b``.

    Parameters
    ----------
    transformer, X
        As for :class:`Change`.
    matrix : ndarray of shape (d, d)
        A.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skscore.compose import Linear
    >>> X = np.array([[0.0], [8.0]])
    >>> scaler = StandardScaler().fit(X)
    >>> Linear(scaler, X, np.diag(1 / scaler.scale_)).pull_score(X, np.ones((2, 1))).tolist()
    [[0.25], [0.25]]
    """

    def __init__(self, transformer: Any, X: Any, matrix: np.ndarray) -> None:
        super().__init__(transformer, X)
        self._matrix = matrix
        self._log_det = np.linalg.slogdet(matrix)[1]

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self._log_det)

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return scores @ self._matrix.T

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        return self._matrix.T @ V

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


class Columnwise(Change):
    """``y_j = T_j(x_j)``, each column by itself; a member says its slopes.

    Parameters
    ----------
    transformer, X
        As for :class:`Change`.
    domain, image : (low, high), default=(-inf, inf)
        Numbers or arrays (d,); rows on the ends of the image are not in it, those on the ends of
        the domain are where `closed`.
    closed : bool, default=False
    """

    def __init__(
        self,
        transformer: Any,
        X: Any,
        *,
        domain: Ends = (-np.inf, np.inf),
        image: Ends = (-np.inf, np.inf),
        closed: bool = False,
    ) -> None:
        super().__init__(transformer, X)
        self._domain, self._image, self._closed = domain, image, closed
        self.everywhere, self.onto = _unbounded(domain), _unbounded(image)

    @abstractmethod
    def slopes(self, X: np.ndarray) -> Slopes:
        """``a = dy/dx``, and first and second derivative of ``log |a|``, (n, d) each."""

    def inside(self, X: np.ndarray) -> np.ndarray:
        low, high = self._domain
        within = (low <= X) & (high >= X) if self._closed else (low < X) & (high > X)
        return within.all(axis=1)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        low, high = self._image
        return ((low < Y) & (high > Y)).all(axis=1)

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return np.log(np.abs(self.slopes(X)[0])).sum(axis=1)

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        a, r, _ = self.slopes(X)
        return a * scores + r

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        return self.slopes(X)[0][:, :, None] * V

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        a, r, c = self.slopes(X)
        return (np.diagonal(M, axis1=-2, axis2=-1) * (scores * a * r + c)).sum(axis=1)


def _unbounded(ends: Ends) -> bool:
    return all(bool(np.isinf(end).all()) for end in ends)


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
        self._spread = spreads(_array(X))
        self._spread_after = spreads(self.transform(_array(X)))

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
        return sum(self._bend(X, scores, roots[:, :, k]) for k in range(roots.shape[2]))

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
    return alone if alone.holds(_array(X)[:_LOOK]) else Numerical(transformer, X)


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


class Chain(Change):
    """One change after another, as in a pipeline.

    Parameters
    ----------
    changes : sequence of Change
    """

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = list(changes)
        self.everywhere = all(change.everywhere for change in self._changes)
        self.onto = all(change.onto for change in self._changes)
        self.smooth = all(change.smooth for change in self._changes)
        self.exact = all(change.exact for change in self._changes)

    def _states(self, X: np.ndarray) -> list[np.ndarray]:
        """The rows before each change."""
        states = []
        for change in self._changes:
            states.append(X)
            X = change.transform(X)
        return states

    def transform(self, X: np.ndarray) -> np.ndarray:
        for change in self._changes:
            X = change.transform(X)
        return X

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        for change in reversed(self._changes):
            Y = change.inverse_transform(Y)
        return Y

    def inside(self, X: np.ndarray) -> np.ndarray:
        return _passed([(c.inside, c.transform, c.everywhere) for c in self._changes], X)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        back = reversed(self._changes)
        return _passed([(c.reaches, c.inverse_transform, c.onto) for c in back], Y)

    def log_det(self, X: np.ndarray) -> np.ndarray:
        states = zip(self._changes, self._states(X), strict=True)
        return sum((change.log_det(x) for change, x in states), np.zeros(len(X)))

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        for change, x in zip(self._changes[::-1], self._states(X)[::-1], strict=True):
            scores = change.pull_score(x, scores)
        return scores

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        for change, x in zip(self._changes, self._states(X), strict=True):
            V = change.push(x, V)
        return V

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        states, metrics = self._states(X), []
        for change, x in zip(self._changes, states, strict=True):
            metrics.append(M)
            M = change.push_metric(x, M)
        total = np.zeros(len(X))
        for change, x, M in zip(self._changes[::-1], states[::-1], metrics[::-1], strict=True):
            total += change.curvature(x, scores, M)
            scores = change.pull_score(x, scores)
        return total


def _passed(gates: list[tuple[Callable, Callable, bool]], rows: np.ndarray) -> np.ndarray:
    """Which rows pass every gate, (test, way to the next, whether it is open), in turn."""
    result = np.zeros(len(rows), dtype=bool)
    kept = np.arange(len(rows))
    shut = [number for number, (_, _, is_open) in enumerate(gates) if not is_open]
    for number in range(shut[-1] + 1 if shut else 0):
        test, onward, _ = gates[number]
        passed = test(rows)
        kept, rows = kept[passed], rows[passed]
        if not len(kept):
            break
        rows = onward(rows) if number < shut[-1] else rows
    result[kept] = True
    return result


class Blocks(Change):
    """Changes of groups of columns, side by side.

    Parameters
    ----------
    parts : sequence of (Change, inputs, outputs)
        With the column numbers of each on either side.
    """

    def __init__(self, parts: Sequence[tuple[Change, np.ndarray, np.ndarray]]) -> None:
        self._parts = list(parts)
        self.everywhere = all(change.everywhere for change, _, _ in self._parts)
        self.onto = all(change.onto for change, _, _ in self._parts)
        self.smooth = all(change.smooth for change, _, _ in self._parts)
        self.exact = all(change.exact for change, _, _ in self._parts)

    def transform(self, X: np.ndarray) -> np.ndarray:
        Y = np.empty_like(X)
        for change, inputs, outputs in self._parts:
            Y[:, outputs] = change.transform(X[:, inputs])
        return Y

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        X = np.empty_like(Y)
        for change, inputs, outputs in self._parts:
            X[:, inputs] = change.inverse_transform(Y[:, outputs])
        return X

    def inside(self, X: np.ndarray) -> np.ndarray:
        return np.all([change.inside(X[:, i]) for change, i, _ in self._parts], axis=0)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        return np.all([change.reaches(Y[:, o]) for change, _, o in self._parts], axis=0)

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return sum(change.log_det(X[:, inputs]) for change, inputs, _ in self._parts)

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        pulled = np.empty_like(scores)
        for change, inputs, outputs in self._parts:
            pulled[:, inputs] = change.pull_score(X[:, inputs], scores[:, outputs])
        return pulled

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        pieces = [change.push(X[:, i], V[..., i, :]) for change, i, _ in self._parts]
        lead = np.broadcast_shapes(*(piece.shape[:-2] for piece in pieces))
        pushed = np.empty((*lead, *V.shape[-2:]))
        for piece, (_, _, outputs) in zip(pieces, self._parts, strict=True):
            pushed[..., outputs, :] = piece
        return pushed

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        return sum(
            change.curvature(X[:, i], scores[:, o], M[..., i[:, None], i])
            for change, i, o in self._parts
        )


class Flow(Change):
    """The probability flow of a fitted diffusion estimator: log-densities and rows only.

    The estimator's density is that of the flow, so ``log |det J| = log p(x) - log N(y; 0, I)``.

    Parameters
    ----------
    transformer : FlowTransformer
    X
        As for :class:`Change`.
    """

    smooth = False

    def log_det(self, X: np.ndarray) -> np.ndarray:
        y = self.transform(X)
        normal = -0.5 * (np.square(y) + np.log(2 * np.pi)).sum(axis=1)
        return self.transformer.estimator_.score_samples(rows_like(self._input, X)) - normal

    def _refuse(self, *_: Any) -> np.ndarray:
        raise ValueError(
            "Behind FlowTransformer there are log-densities and samples, but no scores: its "
            "Jacobian is not formed."
        )

    pull_score = push = curvature = _refuse
