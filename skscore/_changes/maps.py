r"""Smooth invertible maps of rows, and what they do to densities, scores and divergences.

A row x becomes ``y = T(x)`` with the Jacobian ``J = dy/dx``.  A density q of y, its score s(y)
and the Jacobian H of that become, in the space of x,

    log p(x)      = log q(y) + log |det J|
    score         = J' s + grad log |det J|
    tr(M grad s)  = tr(J M J' H) + sum_k s_k tr(M grad^2 T_k) + tr(M grad^2 log |det J|)

So metrics are pushed forward and scores are pulled back; the last two terms are the
*curvature* of the map.  :class:`Map` is the contract, :class:`Local` the map at some rows.  The
standardiser of an estimator and the transformers of a pipeline are made of the same forms: a
matrix, functions of single columns, and one map after another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

Slopes = tuple[np.ndarray, np.ndarray, np.ndarray]


class ScoreField(Protocol):
    """A score s(y) that is known at rows y, (n, d)."""

    def score(self, rows: np.ndarray) -> np.ndarray:
        """s, (n, d)."""

    def jacobian(self, rows: np.ndarray) -> np.ndarray:
        """``grad s``, (n, d, d)."""

    def score_and_divergence(
        self, rows: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """s, and ``sum_k v_k' (grad s) v_k`` (n,) for directions v_k, (m, d)."""


class Map(ABC):
    """A smooth invertible map of rows (n, d)."""

    @abstractmethod
    def transform(self, X: np.ndarray) -> np.ndarray:
        """``y = T(x)``, (n, d) float64."""

    @abstractmethod
    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        """``x = T^-1(y)``, for rows of the image."""

    @abstractmethod
    def at(self, X: np.ndarray) -> Local:
        """The map at rows X, for several questions about the same rows."""

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
        return self.at(X).push_metric(M)


class Local(ABC):
    """A map at some rows (n, d); what several answers share is computed once."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    @property
    @abstractmethod
    def image(self) -> np.ndarray:
        """``T(x)``, (n, d)."""

    @abstractmethod
    def log_det(self) -> np.ndarray:
        """As of the map."""

    @abstractmethod
    def pull_score(self, scores: np.ndarray) -> np.ndarray:
        """As of the map."""

    @abstractmethod
    def push(self, V: np.ndarray) -> np.ndarray:
        """As of the map."""

    @abstractmethod
    def curvature(self, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        """As of the map."""

    def push_metric(self, M: np.ndarray) -> np.ndarray:
        """As of the map."""
        pushed = self.push(np.swapaxes(self.push(M), -1, -2))
        return 0.5 * (pushed + np.swapaxes(pushed, -1, -2))

    def in_metric(self, metric: np.ndarray | None) -> InMetric:
        """Scores and divergences of fields of y, in a metric of x; None is the identity."""
        M = np.eye(self.rows.shape[1]) if metric is None else metric
        pushed = self.push_metric(M)
        if pushed.ndim == 3:
            return _RowByRow(self, M, pushed)
        return _AlongDirections(self.push(M).T if metric is None else roots(pushed))


class InMetric(ABC):
    """What a metric M of rows x makes of scores s(y) of their images."""

    @abstractmethod
    def components(self, scores: np.ndarray) -> np.ndarray:
        """Scores of x along directions whose outer products add up to M, (n, m)."""

    @abstractmethod
    def measure(self, field: ScoreField, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n, d) of a field at the images, and the traces ``tr(M grad s(x))``, (n,)."""


class _AlongDirections(InMetric):
    """Of a linear map: the same directions (m, d) of y serve all rows."""

    def __init__(self, directions: np.ndarray) -> None:
        self._directions = directions

    def components(self, scores: np.ndarray) -> np.ndarray:
        return scores @ self._directions.T

    def measure(self, field: ScoreField, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return field.score_and_divergence(Y, self._directions)


class _RowByRow(InMetric):
    """Of a map, or a metric, that differs from row to row: each needs its Jacobian."""

    def __init__(self, here: Local, M: np.ndarray, pushed: np.ndarray) -> None:
        self._here, self._metric, self._pushed = here, M, pushed

    def components(self, scores: np.ndarray) -> np.ndarray:
        pulled = self._here.pull_score(scores)
        return (roots(self._metric) @ pulled[:, :, None])[:, :, 0]

    def measure(self, field: ScoreField, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = field.score(Y)
        traces = np.einsum("nij,nji->n", self._pushed, field.jacobian(Y))
        return scores, traces + self._here.curvature(scores, self._metric)


def roots(M: np.ndarray) -> np.ndarray:
    """Rows v_k (..., d, d) with ``sum_k v_k v_k' = M``, for a positive semi-definite M."""
    values, vectors = np.linalg.eigh(M)
    return np.swapaxes(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :], -1, -2)


class Asked(Local):
    """A map that is asked about its rows anew each time."""

    def __init__(self, of: Map, rows: np.ndarray) -> None:
        super().__init__(rows)
        self._of = of

    @cached_property
    def image(self) -> np.ndarray:
        return self._of.transform(self.rows)

    def log_det(self) -> np.ndarray:
        return self._of.log_det(self.rows)

    def pull_score(self, scores: np.ndarray) -> np.ndarray:
        return self._of.pull_score(self.rows, scores)

    def push(self, V: np.ndarray) -> np.ndarray:
        return self._of.push(self.rows, V)

    def curvature(self, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        return self._of.curvature(self.rows, scores, M)


class LinearMap(Map):
    """``y = J x + b``.

    Parameters
    ----------
    jacobian : ndarray of shape (d, d)
    log_det : float
    """

    def __init__(self, jacobian: np.ndarray, log_det: float) -> None:
        self._jacobian, self._log_det = jacobian, log_det

    def at(self, X: np.ndarray) -> Local:
        return Asked(self, X)

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self._log_det)

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return scores @ self._jacobian

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        return self._jacobian @ V

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


class LocalMap(Map):
    """A map that is evaluated at rows as a whole: its members say what it is there."""

    def log_det(self, X: np.ndarray) -> np.ndarray:
        return self.at(X).log_det()

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return self.at(X).pull_score(scores)

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        return self.at(X).push(V)

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        return self.at(X).curvature(scores, M)


class LocalColumns(Local):
    """``y_j = T_j(x_j)``, each column by itself; members say image, slopes and `log_det`."""

    @property
    @abstractmethod
    def slopes(self) -> Slopes:
        """``a = dy/dx``, and first and second derivative of ``log |a|``, (n, d) each."""

    def pull_score(self, scores: np.ndarray) -> np.ndarray:
        a, r, _ = self.slopes
        return a * scores + r

    def push(self, V: np.ndarray) -> np.ndarray:
        return self.slopes[0][:, :, None] * V

    def curvature(self, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        a, r, c = self.slopes
        return (np.diagonal(M, axis1=-2, axis2=-1) * (scores * a * r + c)).sum(axis=1)


class Composition(LocalMap):
    """One map after another."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[Map]:
        """The maps, first one first."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        for part in self.parts:
            X = part.transform(X)
        return X

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        for part in reversed(self.parts):
            Y = part.inverse_transform(Y)
        return Y

    def at(self, X: np.ndarray) -> Local:
        return _LocalComposition(self.parts, X)


class _LocalComposition(Local):
    """One map after another at some rows."""

    def __init__(self, parts: Sequence[Map], rows: np.ndarray) -> None:
        super().__init__(rows)
        self._parts: list[Local] = []
        for part in parts:
            self._parts.append(part.at(self.image))

    @property
    def image(self) -> np.ndarray:
        return self._parts[-1].image if self._parts else self.rows

    def log_det(self) -> np.ndarray:
        return sum((part.log_det() for part in self._parts), np.zeros(len(self.rows)))

    def pull_score(self, scores: np.ndarray) -> np.ndarray:
        for part in reversed(self._parts):
            scores = part.pull_score(scores)
        return scores

    def push(self, V: np.ndarray) -> np.ndarray:
        for part in self._parts:
            V = part.push(V)
        return V

    def curvature(self, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        metrics = []
        for part in self._parts:
            metrics.append(M)
            M = part.push_metric(M)
        total = np.zeros(len(self.rows))
        for part, metric in zip(reversed(self._parts), reversed(metrics), strict=True):
            total += part.curvature(scores, metric)
            scores = part.pull_score(scores)
        return total
