"""Ours, with defaults only, and scikit-learn's two densities, chosen by cross-validation.

Both are searched and evaluated through ``DensityScoreEstimator``: in many columns the bounds of
the tree behind ``KernelDensity.score_samples`` give log-densities that are off by whole nats.
"""

from __future__ import annotations

import warnings

import numpy as np
from contestants import Fitted
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

from skscore import DensityScoreEstimator, DiffusionScoreEstimator

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
LEAST_ROWS_OF_A_COMPONENT = 5
BANDWIDTHS = tuple(np.geomspace(0.02, 2.0, 17))
FINER = 50


def fit_skscore(X: np.ndarray, seed: int) -> Fitted:
    est = DiffusionScoreEstimator(random_state=seed).fit(X)

    def finer_log_density(rows: np.ndarray) -> np.ndarray:
        tolerance = est.density_tol
        try:
            return est.set_params(density_tol=tolerance / FINER).score_samples(rows)
        finally:
            est.set_params(density_tol=tolerance)

    return Fitted(
        sample=est.sample,
        log_density=est.score_samples,
        score=est.score_function,
        finer_log_density=finer_log_density,
        notes={"sigma": est.sigma_},
    )


def fit_gaussian_mixture(X: np.ndarray, seed: int) -> Fitted:
    """Full covariances and scikit-learn's other defaults."""
    most = max(1, len(X) * 2 // 3 // LEAST_ROWS_OF_A_COMPONENT)
    grid = {"n_components": [k for k in COMPONENTS if k <= most]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _fit_best(GaussianMixture(random_state=seed), grid, X, seed)


def fit_kernel_density(X: np.ndarray, seed: int) -> Fitted:
    """The gaussian kernel, whose score is known in closed form."""
    return _fit_best(KernelDensity(), {"bandwidth": BANDWIDTHS}, X, seed)


def _fit_best(density: object, grid: dict, X: np.ndarray, seed: int) -> Fitted:
    folds = KFold(3, shuffle=True, random_state=seed)
    grid = {f"density__{name}": values for name, values in grid.items()}
    search = GridSearchCV(DensityScoreEstimator(density), grid, cv=folds).fit(X)
    est = search.best_estimator_
    chosen = {name.removeprefix("density__"): v for name, v in search.best_params_.items()}
    return Fitted(
        sample=est.sample,
        log_density=est.score_samples,
        score=est.score_function,
        notes={name: float(value) for name, value in chosen.items()},
    )
