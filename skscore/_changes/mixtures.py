"""Mixtures of Gaussians, with as many components as the rows ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.mixture import GaussianMixture

Law = TypeVar("Law")
Part = tuple[np.ndarray, np.ndarray, np.ndarray]

_EM_STEPS, _EM_TOL = 100, 1e-5
_TOL = 1e-3  # of a mean log-density
_VARIANCE_FLOOR = 1e-4  # for rows of unit variance
_FAR = 1e5  # where rounding of squares comes to that floor, nearly
_LEAST_BLOCK, _BLOCK, _KEPT = 64, 200_000, 8_000_000  # rows; numbers of features in a cache; kept
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def best_mixture(
    numbers: Iterable[int], fit: Callable[[int], tuple[Law, float]], patience: int
) -> tuple[Law, float]:
    """The mixture of highest value, and that value, trying more components until that does not pay.

    Parameters
    ----------
    numbers : iterable of int
        Numbers of components to try, rising; at least one.
    fit : callable
        The mixture of a number of components and its value: a mean log-density of rows that were
        held out, or an information criterion.
    patience : int
        How many numbers in a row may be no better than the best one before them.
    """
    first, *others = numbers
    best, best_value = fit(first)
    waited = 0
    for number in others:
        if waited == patience:
            break
        law, value = fit(number)
        waited = 0 if value > best_value else waited + 1
        if value > best_value:
            best, best_value = law, value
    return best, best_value


def fitted_mixture(rows: np.ndarray, n_components: int, n_steps: int, seed: int) -> GaussianMixture:
    """A mixture of rows (n, d) of about unit variance; full covariances, floored.

    EM from rows that k-means++ picks, as scikit-learn's, which takes several times as long.
    """
    centre, d = rows.mean(axis=0), rows.shape[1]
    z = rows - centre
    floor = _VARIANCE_FLOOR * max(1.0, (np.abs(z).max() / _FAR) ** 2)
    if n_components == 1:
        weights, means = np.ones(1), np.zeros((1, d))
        covariances = (z.T @ z / len(z) + floor * np.eye(d))[None]
    else:
        weights, means, covariances = _expectation_maximisation(
            z, _starts(rows, n_components, seed), floor, n_steps
        )
    law = GaussianMixture(n_components, reg_covar=floor, random_state=seed)
    law.weights_, law.means_, law.covariances_ = weights, centre + means, covariances
    law.precisions_cholesky_ = _roots(covariances).swapaxes(1, 2)
    return law


def _starts(rows: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Places of rows that are far from each other."""
    return kmeans_plusplus(rows, number, random_state=np.random.RandomState(seed))[1]


def _expectation_maximisation(
    z: np.ndarray, starts: np.ndarray, floor: float, n_steps: int
) -> Part:
    """Weights, means and covariances of a mixture of rows (n, d) about zero."""
    number, d = len(starts), z.shape[1]
    law = np.full(number, 1 / number), z[starts], np.tile(floor * np.eye(d), (number, 1, 1))
    n_features = d * (d + 1) // 2 + d + 1
    blocks = np.array_split(z, -(-len(z) // max(_LEAST_BLOCK, _BLOCK // n_features)))
    kept = [_features(block) for block in blocks] if len(z) * n_features <= _KEPT else None
    before = -np.inf
    for _ in range(n_steps):
        value, sums = _sums(map(_features, blocks) if kept is None else kept, *law)
        law = _moments(sums, d, floor)
        if abs(value - before) < _TOL * len(z):
            break
        before = value
    return law


def _sums(
    blocks: Iterable[np.ndarray],
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Log-density of all rows, and sums of their features (n, q) over each component, (K, q).

    A log-density is linear in the features of a row, which are its products, its values and one:
    so both steps of EM are one matrix product each.
    """
    d = means.shape[1]
    i, j = np.triu_indices(d)
    root = _roots(covariances)
    precisions = root.swapaxes(1, 2) @ root
    pulls = (precisions @ means[:, :, None])[:, :, 0]
    constants = (
        np.log(weights)
        + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        - 0.5 * (pulls * means).sum(1)
        - d * _HALF_LOG_2PI
    )
    products = -np.where(i == j, 0.5, 1.0) * precisions[:, i, j]
    coefficients = np.hstack([products, pulls, constants[:, None]])
    total, sums = 0.0, np.zeros_like(coefficients)
    for features in blocks:
        joint = coefficients @ features.T
        top = joint.max(axis=0)
        shares = np.exp(joint - top)
        density = shares.sum(axis=0)
        total += (top + np.log(density)).sum()
        sums += (shares / density) @ features
    return total, sums


def _features(z: np.ndarray) -> np.ndarray:
    """Products of two values of each row (n, d), as ``triu_indices`` has them, values, and one."""
    n, d = z.shape
    features = np.ones((n, d * (d + 1) // 2 + d + 1))
    place = 0
    for k in range(d):
        np.multiply(z[:, k, None], z[:, k:], out=features[:, place : place + d - k])
        place += d - k
    features[:, place : place + d] = z
    return features


def _moments(sums: np.ndarray, d: int, floor: float) -> Part:
    """Weights, means and floored covariances from sums of features (K, q)."""
    i, j = np.triu_indices(d)
    number = sums[:, -1] + 10 * np.finfo(float).eps
    means = sums[:, -1 - d : -1] / number[:, None]
    products = np.empty((len(sums), d, d))
    products[:, i, j] = products[:, j, i] = sums[:, : len(i)] / number[:, None]
    covariances = products - means[:, :, None] * means[:, None, :] + floor * np.eye(d)
    return number / number.sum(), means, covariances


def _roots(covariances: np.ndarray) -> np.ndarray:
    """Lower triangular L (K, d, d) with ``L' L`` the inverses of covariances."""
    return np.linalg.inv(np.linalg.cholesky(covariances))


def column_mixture(
    v: np.ndarray, mass: np.ndarray, number: int, floor: float
) -> tuple[Part, float]:
    """Weights, means and scales of a mixture of sorted values, and its mean log-likelihood.

    The values (n,) have the weights `mass`, which add up to one, and no variance is less than
    `floor`.  EM starts from blocks of equal mass.
    """
    middle = np.cumsum(mass) - 0.5 * mass
    place = np.minimum((number * middle).astype(int), number - 1)
    parts = mass * np.eye(number)[:, place]
    before = -np.inf
    for _ in range(_EM_STEPS):
        weights = np.maximum(parts.sum(axis=1), 1e-12)
        means = parts @ v / weights
        squares = np.square(v - means[:, None])
        variances = np.einsum("kn,kn->k", parts, squares) / weights + floor
        scales = np.sqrt(variances)
        joint = np.exp(squares * (-0.5 / variances)[:, None])
        joint *= (weights / scales)[:, None]
        joint += 1e-300
        density = joint.sum(axis=0)
        parts = joint * (mass / density)
        value = float(mass @ np.log(density)) - _HALF_LOG_2PI
        if value - before < _EM_TOL:
            break
        before = value
    return (weights / weights.sum(), means, scales), value
