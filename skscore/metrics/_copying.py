r"""Are draws new rows, or copies of those that a model was trained on?

A model that hands its training rows back has the best of two-sample distances to them.  What
gives it away are distances to the nearest training row: those of draws are smaller than those
of rows that were held out.

Distances are taken in coordinates in which the training rows have about the identity as
covariance: columns in units of their standard deviations, decorrelated by their correlation
matrix, shrunk towards the identity by d / (n + d) for n rows of d columns.  They are the same
in all units.

References
----------
Meehan, Chaudhuri and Dasgupta (2020). A non-parametric test to detect data-copying in generative
models.
DeLong, DeLong and Clarke-Pearson (1988). Comparing the areas under two or more correlated
receiver operating characteristic curves (the standard error).
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from skscore.metrics._fisher import check_floats, deviations

_BLOCK, _ROW_BLOCK = 256, 4096
_DIGITS = 9  # of a distance; equal rows need not be whitened to the last bit alike


@overload
def data_copying_share(
    draws: ArrayLike,
    train: ArrayLike,
    held_out: ArrayLike,
    *,
    return_std_error: Literal[False] = False,
) -> float: ...
@overload
def data_copying_share(
    draws: ArrayLike, train: ArrayLike, held_out: ArrayLike, *, return_std_error: bool
) -> float | tuple[float, float]: ...
def data_copying_share(
    draws: ArrayLike,
    train: ArrayLike,
    held_out: ArrayLike,
    *,
    return_std_error: bool = False,
) -> float | tuple[float, float]:
    r"""Chance that a draw is nearer to the training rows than a held-out row is; 0.5 is right.

    .. math:: P(d(x) < d(x')) + \tfrac12 P(d(x) = d(x')), \quad d(x) = \min_i |x - x_i|

    for a draw x, a held-out row x' and training rows :math:`x_i`: Mann and Whitney's statistic of
    distances to the nearest training row.  Draws that are as fresh as held-out rows have 0.5,
    copies of training rows have 1.  Well below 0.5, draws lie off the data.  Distances are
    Mahalanobis' in the (slightly shrunk) covariance of `train`, the same in all units.

    The time grows with the product of the numbers of rows, the memory does not.

    Parameters
    ----------
    draws : array-like of shape (n_draws, d)
        Rows of a model that was fitted to `train`.
    train : array-like of shape (n, d)
        At least two rows.
    held_out : array-like of shape (n_held_out, d)
        Rows of the same law as `train`, that the model has not seen.
    return_std_error : bool, default=False
        Whether to return the standard error as well, over draws and held-out rows that are
        independent, given the training rows.

    Returns
    -------
    share : float
        In [0, 1].
    std_error : float
        With `return_std_error`.

    References
    ----------
    Meehan, Chaudhuri and Dasgupta (2020). A non-parametric test to detect data-copying in
    generative models.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import data_copying_share
    >>> train, held_out, fresh = np.random.default_rng(0).normal(size=(3, 500, 2))
    >>> data_copying_share(train, train, held_out)
    1.0
    >>> share, error = data_copying_share(fresh, train, held_out, return_std_error=True)
    >>> abs(share - 0.5) < 2 * error
    True
    """
    draws, train, held_out = _tables(draws=draws, train=train, held_out=held_out)
    W = whitener(train, "train")
    near, far = (
        np.sort(nearest_distances(rows @ W, train @ W)[:, 0]) for rows in (draws, held_out)
    )
    nearer, nearer_than = 1 - _placements(near, far), _placements(far, near)
    share = float(nearer.mean())
    if not return_std_error:
        return share
    variances = [_mean_variance(values) for values in (nearer, nearer_than)]
    return share, float(np.sqrt(sum(variances)))


def _tables(**tables: ArrayLike) -> list[np.ndarray]:
    rows = {name: check_floats(name, table, 2) for name, table in tables.items()}
    shapes = [table.shape for table in rows.values()]
    if len({d for _, d in shapes}) > 1 or len(rows["train"]) < 2:
        raise ValueError(
            "draws, train and held_out must have the same columns, and train at least two rows. "
            f"Got the shapes {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    return list(rows.values())


def _placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the sorted `others` below each value, those equal to it by halves."""
    below, up_to = np.searchsorted(others, values), np.searchsorted(others, values, "right")
    return (below + up_to) / (2 * len(others))


def _mean_variance(values: np.ndarray) -> float:
    """Variance of the mean of independent values."""
    return values.var() / max(len(values) - 1, 1)


def whitener(rows: np.ndarray, name: str = "X") -> np.ndarray:
    """Matrix W (d, d) with which ``rows @ W`` have about the identity as covariance."""
    n, d = rows.shape
    scale = deviations(name, rows)
    scale[scale == 0] = 1.0
    z = (rows - rows.mean(axis=0)) / scale
    values, vectors = np.linalg.eigh(z.T @ z / n)
    return vectors / np.sqrt((n * values.clip(0) + d) / (n + d)) / scale[:, None]


def nearest_distances(X: np.ndarray, rows: np.ndarray, k: int = 1) -> np.ndarray:
    """Distances of each row of X to its k nearest of `rows`, rising, (n, k)."""
    parts = []
    for start in range(0, len(X), _BLOCK):
        block = X[start : start + _BLOCK]
        least = np.empty((len(block), 0))
        for other in range(0, len(rows), _ROW_BLOCK):
            least = np.hstack([least, cdist(block, rows[other : other + _ROW_BLOCK])])
            least = np.sort(np.partition(least, k - 1, axis=1)[:, :k], axis=1)
        parts.append(least)
    return np.concatenate(parts).round(_DIGITS)
