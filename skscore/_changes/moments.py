"""Location, scale and correlations of the columns of a table, shrunk and floored.

The correlation matrix C is shrunk to ``(1 - a) C + a I`` with the a that maximises the
leave-one-out likelihood of a Gaussian (Hoffbeck and Landgrebe 1996): next to nothing for long
tables, however correlated, and as much as needed for short ones.  Directions without variance get
a floor's variance, relative to the rest, and one warning.

References
----------
Hoffbeck and Landgrebe (1996). Covariance matrix estimation and classification
with limited training data.
"""

from __future__ import annotations

import numpy as np

from skscore._changes.columns import light_weights
from skscore._messages import listed, warn_user
from skscore._rows import some_rows
from skscore.exceptions import DegenerateColumnsWarning

SPACINGS = 16
"""Range, in float spacings at the largest magnitude, up to which a column counts as constant."""

FLOOR = 1e-9
"""Deviation of a constant column, relative to its magnitude."""

RANK = 1e-10
"""Eigenvalue of the correlation matrix, relative to the largest, of a null direction."""

_CHUNK = 65_536
_SHRINKAGE_ROWS = 10_000
_SHRINKAGES = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 33)])


def moments(
    X: np.ndarray, weights: np.ndarray | None, names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Location, scale, correlation matrix and the mask of constant columns."""
    n, d = X.shape
    low, high = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
    with np.errstate(over="ignore"):
        extent = high - low
    magnitude = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(extent).all():
        worst = names[int(np.argmax(~np.isfinite(extent)))]
        raise ValueError(
            f"The values of column {worst} of X span more than 1e308. Divide the column by 1e300, "
            "or drop rows whose value there stands for something else, such as a missing one."
        )
    constant = extent <= SPACINGS * np.spacing(magnitude.astype(X.dtype)).astype(np.float64)
    unit = np.where(constant, 1.0, extent)

    w = np.ones(n) if weights is None else weights
    shift, total = np.zeros(d), w.sum()
    for part in parts(n):
        shift += (w[part] / total) @ ((X[part] - low) / unit)
    location = np.where(constant, (low + high) / 2, low + shift * unit)
    second = np.zeros((d, d))
    for part in parts(n):
        u = (X[part] - location) / unit
        second += (u * (w[part] / total)[:, None]).T @ u
    deviation = np.sqrt(second.diagonal())
    scale = np.where(constant, 1.0, unit * deviation)
    floor = FLOOR * np.where(magnitude > 0, magnitude, scale[~constant].max(initial=0.0) or 1.0)
    scale = np.where(constant, floor, scale)
    safe = np.where(constant, 1.0, deviation)
    correlation = second / safe[:, None] / safe
    correlation[constant] = correlation[:, constant] = 0.0
    np.fill_diagonal(correlation, 1.0)
    return location, scale, correlation, constant


def parts(n: int) -> list[slice]:
    """Slices that cover n rows, of a bounded length."""
    return [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]


def check_variances(variances: np.ndarray, names: list[str]) -> None:
    """Refuse columns whose variance leaves the numbers there are."""
    lost = ~(np.isfinite(variances) & (variances > 0))
    if lost.any():
        which = listed([names[j] for j in np.flatnonzero(lost)])
        raise ValueError(
            f"The values of these columns of X are too large or too small: {which}. Their "
            "variances must lie within 1e-300 and 1e300. Divide each column by its typical "
            "magnitude, and drop rows whose value stands for something else, such as a missing one."
        )


def with_uniform(
    scale: np.ndarray, correlation: np.ndarray, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and correlation of the rows with uniform noise of width `gaps` added."""
    wider = np.hypot(scale, gaps / np.sqrt(12))
    shrunk = correlation * (scale / wider)[:, None] * (scale / wider)
    np.fill_diagonal(shrunk, 1.0)
    return wider, shrunk


def spectrum(
    X: np.ndarray,
    weights: np.ndarray | None,
    location: np.ndarray,
    scale: np.ndarray,
    correlation: np.ndarray,
    constant: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (shrunk, floored) and eigenvectors of the correlations; which are null."""
    values, vectors = np.linalg.eigh(correlation)
    floor = RANK * values.max()
    enough_rows = len(X) > np.sum(~constant)
    null = (values < floor) & enough_rows
    light = light_weights(np.ones(len(X)) if weights is None else weights)
    n_effective = max(2.0, len(X) * (light.mean() ** 2 / np.mean(light**2)))
    rows, w = some_rows(X, weights, _SHRINKAGE_ROWS)
    w = np.ones(len(rows)) if w is None else w
    projections = (((rows - location) / scale) @ vectors[:, ~null]) ** 2
    a = _shrinkage(projections, w, np.maximum(values[~null], 0.0), n_effective)
    values = np.where(null, floor, np.maximum((1 - a) * values + a, floor))
    return values, vectors, null


def _shrinkage(
    squares: np.ndarray, weights: np.ndarray, values: np.ndarray, n_rows: float
) -> float:
    """The shrinkage of best leave-one-out Gaussian likelihood.

    `squares` (n, d) are squared projections of the centred rows on the eigenvectors.
    Leaving row z out of mean and covariance takes ``k z z'`` off ``G = (1 - a) C n / (n - 1)
    + a I``, ``k = (1 - a) n / (n - 1)^2``, and the row then lies ``z n / (n - 1)`` from the
    mean of the others.  With ``q = z' G^-1 z`` its deviance is therefore ``log |G| + log(1 -
    k q) + (n / (n - 1))^2 q / (1 - k q)``.
    """
    share = weights / weights.sum()
    best, best_deviance = 1.0, np.inf
    for a in _SHRINKAGES:
        g = (1 - a) * values * n_rows / (n_rows - 1) + a
        if g.min() <= 0:
            continue
        k = (1 - a) * n_rows / (n_rows - 1) ** 2
        q = squares @ (1 / g)
        rest = 1 - k * q
        if rest.min() <= 0:
            continue
        distance = (n_rows / (n_rows - 1)) ** 2 * q / rest
        deviance = np.log(g).sum() + share @ (np.log(rest) + distance)
        if deviance < best_deviance:
            best, best_deviance = a, deviance
    return best


def warn_degenerate(constant: np.ndarray, null_vectors: np.ndarray, names: list[str]) -> None:
    """One warning for all directions without variance."""
    sentences = []
    if constant.any():
        which = listed([names[j] for j in np.flatnonzero(constant)])
        sentences.append(f"These columns of X are constant: {which}.")
    if null_vectors.size:
        involved = np.flatnonzero(np.abs(null_vectors).max(1) > 1e-4)
        which = listed([names[j] for j in involved])
        d = len(constant)
        rank = d - constant.sum() - null_vectors.shape[1]
        sentences.append(
            f"Columns of X depend linearly on each other: the rank is {rank}, for "
            f"{d - constant.sum()} columns that vary; involved are: {which}."
        )
    if sentences:
        sentences.append("A tiny variance stands in there; consider dropping columns.")
        warn_user(" ".join(sentences), DegenerateColumnsWarning)
