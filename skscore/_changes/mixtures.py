"""Mixtures of Gaussians, with as many components as the rows ask for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

Law = TypeVar("Law")
Part = tuple[np.ndarray, np.ndarray, np.ndarray]

_EM_STEPS, _EM_TOL = 100, 1e-5
_VARIANCE_FLOOR = 1e-4  # for rows of unit variance
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
    """A mixture of rows (n, d) of about unit variance; full covariances, floored."""
    law = GaussianMixture(
        n_components,
        reg_covar=_VARIANCE_FLOOR,
        max_iter=n_steps,
        init_params="k-means++",
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return law.fit(rows)


def column_mixture(
    v: np.ndarray, mass: np.ndarray, number: int, floor: float
) -> tuple[Part, float]:
    """Weights, means and scales of a mixture of sorted values, and its mean log-likelihood.

    The values (n,) have the weights `mass`, which add up to one, and no variance is less than
    `floor`.  EM starts from blocks of equal mass.
    """
    middle = np.cumsum(mass) - 0.5 * mass
    shares = np.eye(number)[np.minimum((number * middle).astype(int), number - 1)]
    before = -np.inf
    for _ in range(_EM_STEPS):
        weights = np.maximum(mass @ shares, 1e-12)
        means = (mass * v) @ shares / weights
        spread = mass[:, None] * shares * (v[:, None] - means) ** 2
        scales = np.sqrt(spread.sum(0) / weights + floor)
        t = (v[:, None] - means) / scales
        joint = weights / scales * np.exp(-0.5 * t**2) + 1e-300
        density = joint.sum(1)
        shares = joint / density[:, None]
        value = float(mass @ np.log(density)) - _HALF_LOG_2PI
        if value - before < _EM_TOL:
            break
        before = value
    return (weights / weights.sum(), means, scales), value
