"""Changes of variables: what a fitted transformer does to a density.

A transformer is a map of rows (:mod:`skscore._changes.maps`) with ends: its domain is where a row
x may lie, its image where ``y = T(x)`` may.  Beyond the first the density of x is zero, and mass
that a density of y has beyond the second is no row of x.

:class:`Change` is the contract, with one member for each form of T; which transformer has
which form is written in ``compose/_scikit``.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from skscore._changes.maps import (
    Asked,
    Composition,
    LinearMap,
    Local,
    LocalColumns,
    LocalMap,
    Map,
    Slopes,
)
from skscore._validation import rows_like, without_rows

Ends = tuple[Any, Any]


class Change(Map):
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
        self._input = without_rows(X)
        self._output = without_rows(transformer.transform(copy.copy(X)))

    def transform(self, X: np.ndarray) -> np.ndarray:
        """``y = T(x)``."""
        return float_rows(self.transformer.transform(rows_like(self._input, X.copy())))

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        """``x = T^-1(y)``, for rows of the image."""
        return float_rows(self.transformer.inverse_transform(rows_like(self._output, Y.copy())))

    def inside(self, X: np.ndarray) -> np.ndarray:
        """Which rows are in the domain, (n,)."""
        return np.ones(len(X), dtype=bool)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        """Which rows are in the image, (n,)."""
        return np.ones(len(Y), dtype=bool)

    def at(self, X: np.ndarray) -> Local:
        """The change at rows X, for several questions about the same rows."""
        return Asked(self, X)

    def names(self, names: list[str]) -> list[str]:
        """What to call the columns of y in messages, where those of x have the given names."""
        return [f"output {j} of {type(self.transformer).__name__}" for j in range(len(names))]

    def jumps(self, names: list[str]) -> list[str]:
        """Names of the columns of x in which the map jumps over a value."""
        return []


def float_rows(rows: Any) -> np.ndarray:
    """Rows of an array or a data frame, (n, d) float64."""
    return np.asarray(rows, dtype=np.float64)


class Linear(LinearMap, Change):
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
        Change.__init__(self, transformer, X)
        LinearMap.__init__(self, matrix.T, np.linalg.slogdet(matrix)[1])

    def names(self, names: list[str]) -> list[str]:
        alone = (self._jacobian == np.diag(self._jacobian.diagonal())).all()
        return names if alone else super().names(names)


class Columnwise(LocalMap, Change):
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

    def names(self, names: list[str]) -> list[str]:
        return names

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

    def at(self, X: np.ndarray) -> Local:
        return _ByFormula(self, X)


class _ByFormula(LocalColumns):
    """Columns whose slopes a change states."""

    def __init__(self, change: Columnwise, rows: np.ndarray) -> None:
        super().__init__(rows)
        self._change = change

    @cached_property
    def image(self) -> np.ndarray:
        return self._change.transform(self.rows)

    @cached_property
    def slopes(self) -> Slopes:
        return self._change.slopes(self.rows)

    def log_det(self) -> np.ndarray:
        return np.log(np.abs(self.slopes[0])).sum(axis=1)


def _unbounded(ends: Ends) -> bool:
    return all(bool(np.isinf(end).all()) for end in ends)


class Chain(Composition, Change):
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

    @property
    def parts(self) -> Sequence[Change]:
        return self._changes

    def names(self, names: list[str]) -> list[str]:
        for change in self._changes:
            names = change.names(names)
        return names

    def jumps(self, names: list[str]) -> list[str]:
        found: list[str] = []
        for change in self._changes:
            found += change.jumps(names)
            names = change.names(names)
        return found

    def inside(self, X: np.ndarray) -> np.ndarray:
        return _passed([(c.inside, c.transform, c.everywhere) for c in self._changes], X)

    def reaches(self, Y: np.ndarray) -> np.ndarray:
        back = reversed(self._changes)
        return _passed([(c.reaches, c.inverse_transform, c.onto) for c in back], Y)


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

    def names(self, names: list[str]) -> list[str]:
        after = list(names)
        for change, inputs, outputs in self._parts:
            for j, name in zip(outputs, change.names([names[i] for i in inputs]), strict=True):
                after[j] = name
        return after

    def jumps(self, names: list[str]) -> list[str]:
        parts = [change.jumps([names[i] for i in inputs]) for change, inputs, _ in self._parts]
        return [name for found in parts for name in found]

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
        parts = (change.log_det(X[:, inputs]) for change, inputs, _ in self._parts)
        return sum(parts, np.zeros(len(X)))

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
        parts = (
            change.curvature(X[:, i], scores[:, o], M[..., i[:, None], i])
            for change, i, o in self._parts
        )
        return sum(parts, np.zeros(len(X)))
