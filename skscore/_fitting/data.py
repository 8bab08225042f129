"""What a fit knows of its rows: how they are standardised, and which are held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._backend.batches import Portion, Split
from skscore._changes.standardizer import Standardizer
from skscore._changes.ties import Ties, column_ties
from skscore._fitting.form import likely_forms
from skscore._messages import column_names, warn_user
from skscore._rows import counted_cells, merged_rows, some_rows, split
from skscore._validation import (
    check_rows,
    check_weights,
    first_rows,
    integer_seeds,
)
from skscore.exceptions import FarRowsWarning

_MIN_CHUNK = 10
_LOOK_ROWS = 2000  # of a later chunk
_ANOTHER_PLACE = 2.0  # deviations, beyond which most rows of a chunk are elsewhere


@dataclass(frozen=True)
class FitData:
    """What a training run is about: different rows, and how they are standardised.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    weights : ndarray of shape (n,) or None
        How many of the rows as given each stands for; None is one each.
    standardizer : Standardizer
    rng : RandomState
    ties : Ties or None
        Of the rows as given.
    rival : Standardizer or None
        Another one, which may suit the rows better.
    places, given_weights : ndarray of shape (n_given,) or None
        Where the rows as given are among these, and their weights.
    """

    X: np.ndarray
    weights: np.ndarray | None
    standardizer: Standardizer
    rng: np.random.RandomState
    ties: Ties | None = None
    places: np.ndarray | None = None
    given_weights: np.ndarray | None = None
    rival: Standardizer | None = None

    @property
    def forms(self) -> list[FitData]:
        """The rows in either standardiser."""
        one = replace(self, rival=None)
        return [one] if self.rival is None else [one, replace(one, standardizer=self.rival)]

    @property
    def n_given(self) -> float:
        """Number of the rows as given."""
        return self.rows.n_rows

    @property
    def rows(self) -> Portion:
        """All of the rows."""
        return Portion(np.arange(len(self.X)), self.weights)


def first_data(
    estimator: BaseEstimator, X: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[FitData, dict[str, Any]]:
    """Checked and measured rows of a fit, and the attributes that describe their columns."""
    goes_on = hasattr(estimator, "_network")
    rows, described = (check_rows(estimator, X), {}) if goes_on else first_rows(estimator, X)
    names = column_names(X, rows.shape[1])
    given = check_weights(sample_weight, len(rows))
    rows, weights, places = merged_rows(rows, given)
    ties = column_ties(rows, weights, float(np.sum(places >= 0)))
    weights = counted_cells(rows, weights)
    if len(rows) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least two different rows of positive weight. "
            f"Got n_samples={len(rows)} of them."
        )
    rng = np.random.RandomState(integer_seeds(estimator.random_state, 1)[0])
    standardizer, *rivals = _standardizers(estimator, rows, weights, ties, names)
    data = FitData(rows, weights, standardizer, rng, ties, places, given, *rivals)
    return data, described


def _standardizers(
    estimator: BaseEstimator,
    X: np.ndarray,
    weights: np.ndarray | None,
    ties: Ties,
    names: list[str],
) -> list[Standardizer]:
    """That of the form asked for; of "auto" that of the likeliest, and one that may be better."""
    forms: tuple[str | None, ...] = (estimator.standardize,)
    if estimator.standardize == "auto":  # a warm start keeps what was chosen
        kept = getattr(estimator, "standardize_", None)
        forms = (kept,) if kept else likely_forms(X, weights, ties, estimator.dequantize, names)
        forms = forms if estimator.early_stopping else forms[:1]  # no row could tell
    found = [
        Standardizer.fit(
            X,
            weights,
            form=form,
            dequantize=estimator.dequantize,
            names=names,
            warn=form == forms[0],
            ties=ties,
        )
        for form in forms
    ]
    return found[:1] if found[0].form == found[-1].form else found


def next_data(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    standardizer: Standardizer,
    n_steps: int,
) -> FitData:
    """Checked rows of a later chunk, in the standardisation of the first."""
    rows = check_rows(estimator, X)
    rows, weights, _ = merged_rows(rows, check_weights(sample_weight, len(rows)))
    rng = np.random.RandomState([integer_seeds(estimator.random_state, 1)[0], n_steps])
    data = FitData(rows, weights, standardizer, rng)
    _warn_of_another_place(estimator, data)
    return data


def _warn_of_another_place(estimator: BaseEstimator, data: FitData) -> None:
    """Say that most rows of a chunk lie where the first chunk, which is the measure, had none."""
    X, weights = some_rows(data.X, data.weights, _LOOK_ROWS)
    share = np.full(len(X), 1 / len(X)) if weights is None else weights / weights.sum()
    with np.errstate(over="ignore"):
        distances = np.sqrt(np.mean(data.standardizer.transform(X) ** 2, axis=1))
    order = np.argsort(distances)
    distance = distances[order[np.searchsorted(np.cumsum(share[order]), 0.5)]]
    if distance > _ANOTHER_PLACE:
        name = type(estimator).__name__
        warn_user(
            f"Half of the rows of this chunk lie more than {distance:.3g} standard deviations (the "
            "root of their mean square over the columns) from the mean of the first chunk, whose "
            f"location, scale and correlations {name} keeps for good. Its law will be poor there, "
            "and covariance_ is not theirs. Shuffle the rows before they are cut into chunks, or "
            "begin with a chunk that stands for all.",
            FarRowsWarning,
        )


def split_rows(estimator: BaseEstimator, data: FitData) -> Split:
    """The rows to train on, and with `early_stopping` those to judge by."""
    if not estimator.early_stopping:
        return Split(data.rows)
    return Split(*split(data.rows, estimator.validation_fraction, data.rng))


def check_first_chunk(estimator: BaseEstimator, X: np.ndarray) -> None:
    """Refuse a first chunk too small to fix location, scale and correlations."""
    n, d = X.shape
    least = max(_MIN_CHUNK, 2 * d)
    if n < least:
        raise ValueError(
            f"The first chunk given to partial_fit of {type(estimator).__name__} fixes the "
            f"standardisation and must have at least {least} rows for {d} columns. Got {n} rows."
        )


def refuse_changes(estimator: BaseEstimator, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with what an earlier fit has fixed otherwise."""
    fixed = getattr(estimator, "_fixed", {})  # none between the stages of one fit
    before, now = before | fixed, now | {name: getattr(estimator, name) for name in fixed}
    changed = [name for name in now if not np.array_equal(now[name], before[name])]
    changes = [f"{name} was {before[name]!r}, is {now[name]!r}" for name in changed]
    if changes:
        raise ValueError(
            f"{type(estimator).__name__} cannot go on from its earlier fit: {'; '.join(changes)}. "
            "Fit a clone, or set warm_start=False."
        )
