"""The noise level of a denoising estimator, from one network over all levels for each split.

A search over levels by fitting each of them costs a fit for each level and fold.  Here one network
``F(y, theta)`` learns all the levels of a grid from the training rows of a fold, by the
same objective, and is judged at each level by Hyvarinen's criterion on the rows left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.parallel import Parallel, delayed

from skscore._backend.batches import Portion
from skscore._backend.fitted import Start
from skscore._changes.standardizer import Standardizer
from skscore._fitting.criterion import level_criterion
from skscore._fitting.data import FitData, split_rows
from skscore._fitting.defaults import given_spec
from skscore._fitting.run import carry_out, has_diverged, training_run
from skscore._messages import warn_user
from skscore._rows import std_errors_of_means
from skscore._validation import finite_results
from skscore.exceptions import ConvergenceWarning, NoiseRangeWarning
from skscore.losses import DiffusionScoreMatching
from skscore.noise import VarianceExploding

SIGMA_RANGE = (0.01, 1.0)
"""Ends of the grid where only its length is given."""

N_LEVELS = 10

_TIES = (
    " Where columns repeat values, dequantize=True keeps the criterion from rewarding ever finer "
    "levels."
)

Fold = tuple[Portion, Portion]


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
        return std_errors_of_means(values, self.weights)

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

    def warn_of_edge(self, chosen: int, owner: str, advice: str) -> None:
        """Warn where the chosen level is the least or the largest: a better one may lie beyond."""
        if 0 < chosen < len(self.sigmas) - 1:
            return
        inner = 1 if chosen == 0 else len(self.sigmas) - 2
        gains = self.values[[chosen]] - self.values[inner]
        gain = self.means()[chosen] - self.means()[inner]
        end, ties = ("least", _TIES) if chosen == 0 else ("largest", "")
        warn_user(
            f"{owner} chose the {end} of its noise levels, {self.sigmas[chosen]:.3g}, so the best "
            f"one may lie beyond. The criterion is {gain:.3g} +- {self.std_errors(gains)[0]:.2g} "
            f"above that of the next level, {self.sigmas[inner]:.3g}. {advice}{ties}",
            NoiseRangeWarning,
        )


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
    held = [np.ones(len(h)) if h.weights is None else h.weights for _, h in folds]
    weights = np.concatenate(held)
    ends = np.cumsum([0, *(len(part) for part in held)])
    parts = tuple(np.arange(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True))
    values = np.concatenate([criterion for criterion, _ in judged], axis=1)
    _warn_of_diverged(estimator, [diverged for _, diverged in judged])
    finite_results(values.T, f"the criterion of {type(estimator).__name__}")
    return LevelSearch(sigmas, values, weights, parts)


def _judge(
    estimator: BaseEstimator, data: FitData, sigmas: np.ndarray, fold: Fold, seed: int
) -> tuple[np.ndarray, bool]:
    """Criterion (n_levels, n_held) of the rows a fold leaves out; whether training diverged."""
    training, held = fold
    rng = np.random.RandomState(seed)
    patience = -(-estimator.n_iter_no_change // 2)  # the mean over levels is a smoother guide
    estimator = clone(estimator).set_params(n_iter_no_change=patience)
    rows, weights = data.X[training.index], training.weights
    standardizer = Standardizer.fit(
        rows,
        weights,
        form=estimator.standardize,
        dequantize=estimator.dequantize,
        warn=False,
        ties=data.ties,
    )
    part = FitData(rows, weights, standardizer, rng)
    sigma_range = float(sigmas[0]), float(sigmas[-1])
    spec = given_spec(estimator, rows.shape[1], sigma_range=sigma_range)
    process = VarianceExploding(*sigma_range)
    loss = DiffusionScoreMatching(process, levels="loguniform", weighting="sigma2")
    run = training_run(estimator, part, split_rows(estimator, part), loss, estimator.max_iter)
    network, record = carry_out(run, Start(spec), rng)
    rows = standardizer.transform(data.X[held.index])
    criterion = level_criterion(network, standardizer, estimator.device, rows, sigmas)
    return criterion, has_diverged(record)


def _warn_of_diverged(estimator: BaseEstimator, diverged: list[bool]) -> None:
    """Say so where levels were judged by networks that learnt nothing."""
    if any(diverged):
        warn_user(
            f"Training of {type(estimator).__name__} diverged in {sum(diverged)} of "
            f"{len(diverged)} splits of the search for its noise level, which were judged all the "
            f"same. Lower learning_rate_init (it is {estimator.learning_rate_init}).",
            ConvergenceWarning,
        )
