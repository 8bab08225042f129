"""The noise level of a denoising estimator, from one network over all levels for each split.

A search over levels by fitting each of them costs a fit for each level and fold.  Here one network
``F(y, theta)`` learns all the levels of a grid from the training rows of a fold, by the
same objective, and is judged at each level by Hyvarinen's criterion on the rows left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.parallel import Parallel, delayed

from skscore._bridge import NetworkSpec
from skscore._fitting import (
    FitData,
    has_diverged,
    hidden_widths,
    level_criterion,
    split_rows,
    train,
)
from skscore._standardize import Standardizer
from skscore._validation import finite_results
from skscore.exceptions import ConvergenceWarning
from skscore.losses import DiffusionScoreMatching
from skscore.noise import VarianceExploding

SIGMA_RANGE = (0.01, 1.0)
"""Ends of the grid where only its length is given."""

N_LEVELS = 10

Fold = tuple[np.ndarray, np.ndarray]


def level_grid(data: FitData, standardize: str | None, n_levels: int = N_LEVELS) -> np.ndarray:
    """Levels from 0.01 to 1 standard deviations, even in their logarithm, rising."""
    variances = np.diag(data.standardizer.covariance)
    unit = 1.0 if standardize is not None else float(np.exp(0.5 * np.log(variances).mean()))
    return unit * np.geomspace(*SIGMA_RANGE, n_levels)


@dataclass(frozen=True)
class LevelSearch:
    """The criterion of held-out rows at every level, (n_levels, n_rows), and their weights.

    `folds` are the numbers of the rows of each fold; together they hold every row of `values`.
    """

    sigmas: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    folds: tuple[np.ndarray, ...]

    def means(self, rows: Any = slice(None)) -> np.ndarray:
        """Weighted mean criterion of each level."""
        return np.average(self.values[:, rows], axis=1, weights=self.weights[rows])

    def std_errors(self, values: np.ndarray) -> np.ndarray:
        """Standard errors of the weighted means of `values` (n_levels, n_rows)."""
        share = self.weights / self.weights.sum()
        centred = values - (values @ share)[:, None]
        n = np.count_nonzero(share)
        return np.sqrt(centred**2 @ share**2 * n / max(n - 1, 1))

    def best(self, *, one_std_error: bool = False) -> int:
        """Number of the level of highest criterion.

        With `one_std_error` the largest level that is within one standard error of it; that of
        the differences, row by row, since what all levels find hard cancels.
        """
        means = self.means()
        best = int(np.argmax(means))
        if not one_std_error:
            return best
        gaps = self.values[best] - self.values
        close = means[best] - means <= self.std_errors(gaps)
        return int(np.flatnonzero(close)[-1])


def search_levels(
    estimator: BaseEstimator,
    data: FitData,
    sigmas: np.ndarray,
    folds: Sequence[Fold],
    n_jobs: int | None = None,
) -> LevelSearch:
    """Judge the levels `sigmas`, rising, on the rows that each fold leaves out.

    `estimator` is read for how its networks are made and trained.
    """
    least = min(len(training) for training, _ in folds)
    if least < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least two different rows for training in each "
            f"split to choose a noise level. Got {least} of {len(data.X)}: give more rows, or a "
            "level."
        )
    seeds = data.rng.randint(2**31 - 1, size=len(folds))
    judged = Parallel(n_jobs=n_jobs)(
        delayed(_judge)(estimator, data, sigmas, fold, int(seed))
        for fold, seed in zip(folds, seeds, strict=True)
    )
    held = np.concatenate([fold[1] for fold in folds])
    weights = np.ones(len(held)) if data.weights is None else data.weights[held]
    ends = np.cumsum([0, *(len(fold[1]) for fold in folds)])
    parts = tuple(np.arange(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True))
    values = np.concatenate([criterion for criterion, _ in judged], axis=1)
    _warn_of_diverged(estimator, [diverged for _, diverged in judged])
    finite_results(values.T, f"the criterion of {type(estimator).__name__}")
    return LevelSearch(sigmas, values, weights, parts)


def _judge(
    estimator: BaseEstimator, data: FitData, sigmas: np.ndarray, fold: Fold, seed: int
) -> tuple[np.ndarray, bool]:
    """Criterion (n_levels, n_held) of the rows a fold leaves out; whether training diverged."""
    index, held = fold
    rng = np.random.RandomState(seed)
    patience = -(-estimator.n_iter_no_change // 2)  # the mean over levels is a smoother guide
    estimator = clone(estimator).set_params(n_iter_no_change=patience)
    rows, weights = data.X[index], None if data.weights is None else data.weights[index]
    standardizer = Standardizer.fit(
        rows, weights, form=estimator.standardize, dequantize=estimator.dequantize, warn=False
    )
    part = FitData(rows, weights, standardizer, rng)
    split = np.arange(len(rows)), None
    if estimator.early_stopping:
        split = split_rows(len(rows), estimator.validation_fraction, rng)
    sigma_range = float(sigmas[0]), float(sigmas[-1])
    spec = NetworkSpec(
        estimator.network,
        rows.shape[1],
        hidden_widths(estimator, rows.shape[1]),
        estimator.activation,
        estimator.conservative,
        sigma_range=sigma_range,
    )
    loss = DiffusionScoreMatching(VarianceExploding(), *sigma_range, "loguniform", "sigma2")
    network, record = train(
        estimator,
        part,
        spec,
        loss,
        training=split[0],
        validation=split[1],
        n_rounds=estimator.max_iter,
        previous=None,
    )
    rows = standardizer.transform(data.X[held])
    criterion = level_criterion(network, standardizer, estimator.device, rows, sigmas)
    return criterion, has_diverged(record)


def _warn_of_diverged(estimator: BaseEstimator, diverged: list[bool]) -> None:
    """Say so where levels were judged by networks that learnt nothing."""
    if any(diverged):
        warnings.warn(
            f"Training of {type(estimator).__name__} diverged in {sum(diverged)} of "
            f"{len(diverged)} splits of the search for its noise level, which were judged by the "
            "last good state. Lower learning_rate_init "
            f"(it is {estimator.learning_rate_init}).",
            ConvergenceWarning,
            stacklevel=6,
        )
