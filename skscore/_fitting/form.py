"""Whether the columns of a table are better off as normal ones.

A ring or a mixture is simpler in the rows themselves, a skewed table in columns that are normal
one by one.  A mixture of Gaussians stands for the network: for both forms one is fitted to part of
the standardised rows, and the log-density in the units of X of the rest is compared.  Where that
does not tell them apart, and there are rows enough, networks are asked
(:mod:`skscore._fitting.tournament`).  A column
whose deviation says nothing of most rows is better off without asking: the few rows that make it so
may all be held out.
"""

from __future__ import annotations

import math

import numpy as np

from skscore._backend.batches import Portion
from skscore._changes.columns import column_deviations, spread_out_columns
from skscore._changes.mixtures import best_mixture, fitted_mixture
from skscore._changes.standardizer import Standardizer
from skscore._changes.ties import Ties
from skscore._rows import drawn_index, folds, shuffled_split, some_rows, std_errors_of_means

_LEAST_ROWS, _MOST_ROWS = 60, 2000
_PARTS = 5  # one of them is held out,
_LEAST_HELD = 60  # or more of them in turn, until so many rows were
_NUMBERS = (1, 3, 8, 20)
_EM_STEPS = 50
_CLEAR = 5.0  # standard errors of a difference that networks need not be asked about
_TRIED_ROWS = 2500  # fewer of them held out would not tell networks apart


def likely_forms(
    X: np.ndarray,
    weights: np.ndarray | None,
    ties: Ties,
    dequantize: bool,
    names: list[str] | None = None,
) -> tuple[str, ...]:
    """ "normal" where it wins on held-out rows by a standard error, else "whiten"; then the other.

    The other one follows only where networks are to be asked.  `ties` are those of the rows as
    they were given; `names` are for errors.
    """
    if _needs_a_curve(X, weights, ties, dequantize):
        return ("normal",)
    if len(X) < _LEAST_ROWS:
        return ("whiten",)
    rng = np.random.RandomState(0)
    index, some = some_rows(np.arange(len(X)), weights, _MOST_ROWS, rng)
    some = None if some is None else some * (len(some) / some.sum())
    gains, counts = [], []
    for training, held in _splits(Portion(index, some), rng):
        w = np.ones(len(held)) if held.weights is None else held.weights
        drawn = drawn_index(training, len(training), rng)
        values = {}
        for form in ("whiten", "normal"):
            z = Standardizer.fit(
                X[training.index],
                training.weights,
                form=form,
                dequantize=dequantize,
                names=names,
                warn=False,
                ties=ties,
            )
            known, judging = (
                z.jitter(z.transform(X[i]), np.random.RandomState(1)) for i in (drawn, held.index)
            )
            density = _best_log_density(known, judging, w / w.sum())
            values[form] = density + z.log_det(X[held.index])
        gains.append(values["normal"] - values["whiten"])
        counts.append(w)
    gain, w = np.concatenate(gains), np.concatenate(counts)
    mean, error = w @ gain / w.sum(), std_errors_of_means(gain, w)
    forms = ("normal", "whiten") if mean > error else ("whiten", "normal")
    return forms[:1] if len(X) < _TRIED_ROWS or abs(mean) > _CLEAR * error else forms


def _splits(rows: Portion, rng: np.random.RandomState) -> list[tuple[Portion, Portion]]:
    """Rows to fit mixtures to, and rows to compare them on; several of both of a short table.

    In random order: what a mixture starts from depends on the order of its rows.
    """
    number = min(_PARTS, math.ceil(_LEAST_HELD * _PARTS / len(rows)))
    if number == 1:
        return [shuffled_split(rows, len(rows) // _PARTS / len(rows), rng)]
    return [
        (_shuffled(training, rng), held) for training, held in folds(rows, _PARTS, rng)[:number]
    ]


def _shuffled(rows: Portion, rng: np.random.RandomState) -> Portion:
    order = rng.permutation(len(rows))
    return Portion(rows.index[order], None if rows.weights is None else rows.weights[order])


def _needs_a_curve(X: np.ndarray, weights: np.ndarray | None, ties: Ties, dequantize: bool) -> bool:
    """Whether a column that may be curved is spread out."""
    found = spread_out_columns(X, weights, column_deviations(X, weights))
    return bool((found & ~ties.linear(dequantize)).any())


def _best_log_density(rows: np.ndarray, held: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Log-densities of held-out rows by the mixture that is best for them."""
    most = max(1, len(rows) // (2 * rows.shape[1]))

    def fit(number: int) -> tuple[np.ndarray, float]:
        values = fitted_mixture(rows, number, _EM_STEPS, seed=0).score_samples(held)
        return values, float(share @ values)

    return best_mixture([k for k in _NUMBERS if k <= most], fit, patience=1)[0]
