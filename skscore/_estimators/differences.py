"""The score of a density of which only the log-density is known."""

from __future__ import annotations

import copy
from inspect import signature
from typing import Any

import numpy as np

from skscore._backend.convert import apply_in_chunks
from skscore._changes.standardizer import Standardizer
from skscore._densities import CLOSED_FORMS, with_plain_sums
from skscore._validation import rows_like, unnamed


class Differences:
    """A fitted density of which only the log-density is known.

    Central differences of order four (Abramowitz and Stegun 1964, 25.3), f_k at ``x + k u``:

        |u|   f'  = (f_-2 - 8 f_-1 + 8 f_1 - f_2) / 12
        |u|^2 f'' = (-f_-2 + 16 f_-1 - 30 f_0 + 16 f_1 - f_2) / 12

    A step of h deviations costs ``h^4`` by truncation and ``eps / h`` (``eps / h^2``) by the
    rounding eps of f.  With ``h = eps^(1/4)`` and ``eps^(1/6)`` both stay small where the density
    varies on a scale a hundred times finer than the rows spread, or coarser.
    """

    def __init__(self, density: Any, standardizer: Standardizer, like: Any) -> None:
        density = with_plain_sums(density)
        named = hasattr(like, "columns") and hasattr(density, "feature_names_in_")
        self._density, self._z = density if named else unnamed(density), standardizer.whitening
        self._like = like if named else None

    def noised(self, sigma: float) -> Differences:
        """Refused."""
        raise ValueError(
            f"The score of {type(self._density).__name__} is taken by differences and known of "
            f"the density itself only: leave sigma=None. Got sigma={sigma!r}, and noise levels "
            f"are known for {CLOSED_FORMS}."
        )

    def _values(self, rows: np.ndarray) -> np.ndarray:
        """Log-densities (n,), in the precision that the density gives them."""
        rows = rows_like(self._like, rows.astype(np.float64))
        values = np.asarray(self._density.score_samples(rows))
        if values.shape not in ((len(rows),), (len(rows), 1)):
            raise ValueError(
                f"score_samples of {type(self._density).__name__} must return one value for each "
                f"of {len(rows)} rows. It returned an array of shape {values.shape}."
            )
        return values.reshape(len(rows))

    def log_density(self, X: np.ndarray) -> np.ndarray:
        """``log p(x)`` in nats, (n,)."""
        return apply_in_chunks(self._values, X).astype(np.float64)

    def score(self, X: np.ndarray) -> np.ndarray:
        """``grad_x log p(x)``, (n, d)."""
        h = self._rounding(X) ** (1 / 4)

        def slopes(rows: np.ndarray) -> np.ndarray:
            columns = []
            for e in np.eye(rows.shape[1]):
                a, b, c, d = self._around(rows, h * e)
                columns.append((a - 8 * b + 8 * c - d) / (12 * h))
            return self._z.pull_score(rows, np.stack(columns, axis=1))

        with np.errstate(invalid="ignore"):
            return apply_in_chunks(slopes, X)

    def score_divergence(self, X: np.ndarray, metric: np.ndarray) -> np.ndarray:
        """``tr(metric grad s)``, (n,), along the eigenvectors of the metric in whitened space."""
        h = self._rounding(X) ** (1 / 6)

        def traces(index: np.ndarray) -> np.ndarray:
            rows, M = X[index], metric if metric.ndim == 2 else metric[index]
            values, vectors = np.linalg.eigh(self._z.push_metric(rows, M))
            centre, total = self._values(rows).astype(np.float64), np.zeros(len(rows))
            for k in range(rows.shape[1]):
                a, b, c, d = self._around(rows, h * vectors[..., k])
                total += values[..., k] * (16 * (b + c) - 30 * centre - a - d) / (12 * h**2)
            return total

        with np.errstate(invalid="ignore"):
            return apply_in_chunks(traces, np.arange(len(X)))

    def _rounding(self, X: np.ndarray) -> float:
        return float(np.finfo(self._values(X[:1]).dtype).eps)

    def _around(self, X: np.ndarray, step: np.ndarray) -> np.ndarray:
        """log p at x - 2u, x - u, x + u and x + 2u, (4, n); u is the step, given whitened."""
        u = step @ self._z.inverse_matrix * self._z.scale
        ends = np.concatenate([X - 2 * u, X - u, X + u, X + 2 * u])
        return self._values(ends).astype(np.float64).reshape(4, len(X))

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Rows (n, d) by the density's own method, in random order."""
        if "random_state" in signature(self._density.sample).parameters:
            drawn = self._density.sample(n, random_state=seed)
        else:
            drawn = copy.deepcopy(self._density).set_params(random_state=seed).sample(n)
        rows = drawn[0] if isinstance(drawn, tuple) else drawn
        return np.random.RandomState(seed).permutation(np.asarray(rows, dtype=np.float64))
