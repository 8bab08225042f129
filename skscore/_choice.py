"""Whether the columns of a table are better off as normal ones.

A ring or a mixture is simpler in the rows themselves, a skewed table in columns that are normal
one by one.  A mixture of Gaussians stands for the network: for both forms one is fitted to part of
the standardised rows, and the log-density in the units of X of the rest is compared.  A column
whose deviation says nothing of most rows is better off without asking: the few rows that make it so
may all be held out.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skscore._standardize import (
    Standardizer,
    column_deviations,
    column_gaps,
    spread_out_columns,
)

_LEAST_ROWS, _MOST_ROWS = 60, 2000
_NUMBERS = (1, 3, 8, 20)


def chosen_form(X: np.ndarray, weights: np.ndarray | None, dequantize: bool) -> str:
    """ "normal" where it wins on held-out rows by a standard error, else "whiten"."""
    if _needs_a_curve(X, weights):
        return "normal"
    if len(X) < _LEAST_ROWS:
        return "whiten"
    index = np.random.RandomState(0).permutation(len(X))[:_MOST_ROWS]
    w = np.ones(len(X)) if weights is None else weights
    held, training = np.split(index, [len(index) // 5])
    share = w[held] / w[held].sum()
    values = {}
    for form in ("whiten", "normal"):
        z = Standardizer.fit(X[training], w[training], form=form, dequantize=dequantize, warn=False)
        rows = [z.jitter(z.transform(X[i]), np.random.RandomState(1)) for i in (training, held)]
        chosen = _resampled(rows[0], weights, training)
        values[form] = _best_log_density(chosen, rows[1], share) + z.log_volume(X[held])
    gain = values["normal"] - values["whiten"]
    mean = share @ gain
    error = np.sqrt(share**2 @ (gain - mean) ** 2)
    return "normal" if mean > error else "whiten"


def _needs_a_curve(X: np.ndarray, weights: np.ndarray | None) -> bool:
    """Whether a column that may be curved is spread out."""
    found = spread_out_columns(X, weights, column_deviations(X, weights))
    return bool((found & (column_gaps(X) == 0)).any())


def _resampled(rows: np.ndarray, weights: np.ndarray | None, index: np.ndarray) -> np.ndarray:
    """As many rows drawn by weight; themselves where there are no weights."""
    if weights is None:
        return rows
    share = weights[index] / weights[index].sum()
    return rows[np.random.RandomState(2).choice(len(rows), size=len(rows), p=share)]


def _best_log_density(rows: np.ndarray, held: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Log-densities of held-out rows by the mixture that is best for them."""
    best = None
    for number in _NUMBERS:
        if best is not None and 2 * number * rows.shape[1] > len(rows):
            break
        mixture = GaussianMixture(
            number, reg_covar=1e-4, max_iter=50, init_params="k-means++", random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            values = mixture.fit(rows).score_samples(held)
        if best is not None and share @ values <= share @ best:
            break
        best = values
    return best
