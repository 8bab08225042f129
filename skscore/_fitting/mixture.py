"""Mixtures of Gaussians that a network may rest on.

The field of a mixture is known in closed form at all levels, so a network may rest on it and
learn the rest.  That is worth much where rows are clustered.  Where the mixture has learnt its
own rows by heart it does harm (:mod:`skscore._fitting.tournament` decides).
"""

from __future__ import annotations

import numpy as np
from sklearn.mixture import GaussianMixture

from skscore._backend.batches import Portion
from skscore._backend.closed_form import Mixture
from skscore._changes.mixtures import best_mixture, fitted_mixture
from skscore._fitting.data import FitData
from skscore._rows import drawn_index

LEAST_ROWS = 2
"""Fewest rows that a mixture is fitted to."""
MOST_ROWS = 5000
"""Most of them."""
_COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 32)
_MOST_NUMBERS = 200_000  # in all covariances together
_EM_STEPS = 60
_PATIENCE = 2


def fit_mixture(rows: np.ndarray, held: np.ndarray, n_components: int | str, seed: int) -> Mixture:
    """Mixture of standardised rows (n, d); "auto" takes the number that held-out rows like best."""

    def fit(number: int) -> tuple[GaussianMixture, float]:
        law = fitted_mixture(rows, number, _EM_STEPS, seed)
        return law, law.score(held)

    numbers = _numbers(*rows.shape) if isinstance(n_components, str) else [n_components]
    best, _ = best_mixture(numbers, fit, _PATIENCE)
    return Mixture(best.weights_, best.means_, best.covariances_)


def _numbers(n: int, d: int) -> list[int]:
    """Numbers of components to try on n rows of d columns."""
    most = max(1, min(n // (2 * d), _MOST_NUMBERS // d**2))
    return [k for k in _COMPONENTS if k <= most]


def standardised_rows(data: FitData, rows: Portion, most: int) -> np.ndarray:
    """Rows as training sees them, at most so many, as often as they count."""
    index = drawn_index(rows, most, data.rng)
    z = data.standardizer
    return z.jitter(z.transform(data.X[index]), data.rng)
