"""Estimators that choose their own noise level by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from skscore._backend.fitted import FittedNetwork
from skscore._estimators.documentation import shared_documentation
from skscore._estimators.one_level import NoisedScoreEstimator
from skscore._estimators.parameters import CONSTRAINTS, shared_arguments
from skscore._fitting.data import FitData
from skscore._fitting.level_search import Fold, LevelSearch, level_grid, search_levels
from skscore._rows import folds, given_folds
from skscore._validation import HasMethods, Interval, StrOptions
from skscore.noise import KERNELS

__all__ = ["DenoisingScoreEstimatorCV"]


@shared_documentation
class DenoisingScoreEstimatorCV(NoisedScoreEstimator):
    """:class:`~skscore.DenoisingScoreEstimator` with its noise level chosen by cross-validation.

    For each fold ONE network learns the scores of all levels, by denoising score matching with a
    level drawn for every row, and is judged at each by Hyvarinen's criterion on the rows left
    out.  The estimator is then fitted to all rows at the level that was best.  A search by
    ``GridSearchCV`` fits a network for every level and fold instead: its choice is nearly the same
    (within a step of the grid on our tables) and its price many times as high.

    Parameters
    ----------
    sigmas : int in [2, inf) or array-like of float in (0, inf), default=10
        Levels to choose from; a number of them from 0.01 to 1 standard deviations, even in
        their logarithm.
    cv : int in [2, inf), splitter or iterable of (training rows, other rows), default=5
        Number of folds, of shuffled rows; or a splitter of scikit-learn; or the row numbers of
        each fold.  A number of folds splits the different rows, so that no copy of a training
        row is left out, but for rows that stand for ten and more, or 5 % of all: these are in
        all folds.
    one_std_error : bool, default=False
        Whether to take the largest level whose criterion is within one standard error of the
        best, that of the row by row differences: a smoother score where the data do not tell.
    n_jobs : int or None, default=None
        Folds that are trained at the same time, as in ``GridSearchCV``.
    noise : {<kernels>}, default="gaussian"
        A key of :data:`skscore.noise.KERNELS`.
    <parameters>

    Attributes
    ----------
    sigma_ : float
        The level that was chosen.
    sigmas_ : ndarray of shape (n_levels,)
        All of them, rising.
    best_index_ : int
        Of the level that was chosen.
    best_score_ : float
        Its criterion over all rows left out.
    cv_results_ : dict of str to ndarray
        For each level ``mean_test_score``, the criterion over all rows left out,
        ``std_error_test_score``, its standard error over rows, ``split<k>_test_score`` for the
        folds, ``std_test_score``, their standard deviation, ``std_error_difference``, that of the
        row by row differences to the best level, ``rank_test_score``, ``param_sigma`` and
        ``params``.
    <attributes>

    See Also
    --------
    DenoisingScoreEstimator : At a given level; ``sigma="auto"`` searches on a single split.
    sklearn.linear_model.LassoCV : The manner of this one.

    Notes
    -----
    The networks of the search see rows at all levels, with half the patience of
    `n_iter_no_change`; those of a grid search see one level.  They differ in their errors, so the
    criterion of the search is not that of the fitted estimator, only about: evaluate that on rows
    of its own.  Where the chosen level is the least or the largest, a `NoiseRangeWarning` says what
    it gains over the next one: a better level may lie beyond.  With `warm_start` and in
    `partial_fit` the level of the fit before stays.

    References
    ----------
    Vincent (2011). A connection between score matching and denoising autoencoders.
    Breiman, Friedman, Olshen and Stone (1984). Classification and regression trees (the rule of
    one standard error).

    Examples
    --------
    >>> from skscore import DenoisingScoreEstimatorCV
    >>> from skscore.datasets import make_moons
    >>> X = make_moons().sample(300, random_state=0)
    >>> brief = {"hidden_layer_sizes": (32, 32), "max_iter": 10, "random_state": 0}
    >>> est = DenoisingScoreEstimatorCV(sigmas=[0.1, 0.3, 1.0], cv=2, **brief).fit(X)
    >>> est.sigma_
    0.1
    >>> [int(rank) for rank in est.cv_results_["rank_test_score"]]
    [1, 2, 3]
    """

    _parameter_constraints = CONSTRAINTS | {
        "sigmas": [Interval(Integral, 2, None, closed="left"), "array-like"],
        "cv": [
            Interval(Integral, 2, None, closed="left"),
            HasMethods(["split", "get_n_splits"]),
            "array-like",
        ],
        "one_std_error": ["boolean"],
        "n_jobs": [Integral, None],
        "noise": [StrOptions(set(KERNELS))],
    }

    def __init__(
        self,
        sigmas: int | ArrayLike = 10,
        cv: Any = 5,
        *,
        one_std_error: bool = False,
        n_jobs: int | None = None,
        noise: str = "gaussian",
        network: str | Callable[..., Any] = "mlp",
        hidden_layer_sizes: Any = (128, 128, 128),
        activation: str = "tanh",
        conservative: bool = False,
        standardize: str | None = "whiten",
        dequantize: bool = False,
        learning_rate_init: float = 0.004,
        batch_size: int | str = "auto",
        max_iter: int = 500,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        store_starts: bool = True,
        verbose: bool | int = False,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        super().__init__(**shared_arguments(locals()))
        self.sigmas = sigmas
        self.cv = cv
        self.one_std_error = one_std_error
        self.n_jobs = n_jobs
        self.noise = noise

    _fixed_names = (*NoisedScoreEstimator._fixed_names, "sigmas")

    def _choose_level(
        self, data: FitData, previous: FittedNetwork | None
    ) -> tuple[float, dict[str, Any]]:
        if previous is not None:
            names = ("sigmas_", "best_index_", "best_score_", "cv_results_")
            return previous.spec.sigma, {name: getattr(self, name) for name in names}
        search = search_levels(self, data, self._grid(data), self._folds(data), self.n_jobs)
        chosen = search.best(one_std_error=self.one_std_error)
        search.warn_of_edge(chosen, type(self).__name__, "Give levels beyond it as sigmas.")
        return float(search.sigmas[chosen]), {
            "sigmas_": search.sigmas,
            "best_index_": chosen,
            "best_score_": float(search.means()[chosen]),
            "cv_results_": _results(search),
        }

    def _grid(self, data: FitData) -> np.ndarray:
        if isinstance(self.sigmas, Integral):
            return level_grid(data, self.standardize, self.sigmas)
        sigmas = np.unique(np.asarray(self.sigmas, dtype=np.float64))
        positive = (sigmas > 0).all() and np.isfinite(sigmas).all()
        if np.ndim(self.sigmas) != 1 or len(sigmas) < 2 or not positive:
            raise ValueError(
                f"The 'sigmas' parameter of {type(self).__name__} must be a number of levels, or "
                f"at least two different positive finite ones. Got {self.sigmas!r} instead."
            )
        return sigmas

    def _folds(self, data: FitData) -> list[Fold]:
        """Training and left-out rows; splits of the rows of `fit` are merged."""
        if isinstance(self.cv, Integral):
            return folds(data.rows, int(self.cv), data.rng)
        assert data.places is not None  # the rows of `fit` are known by place
        n = len(data.places)
        splits = self.cv.split(np.empty((n, 1))) if hasattr(self.cv, "split") else self.cv
        parts = given_folds(splits, data.places, data.given_weights, len(data.X))
        if not parts or min(min(len(training) - 1, len(held)) for training, held in parts) < 1:
            raise ValueError(
                f"The 'cv' parameter of {type(self).__name__} must leave two different rows of "
                f"positive weight for training in each fold, and one to judge by. Got {self.cv!r}."
            )
        return parts


def _results(search: LevelSearch) -> dict[str, Any]:
    """`cv_results_` of a search."""
    means, best = search.means(), search.best()
    splits = np.stack([search.means(rows) for rows in search.folds])
    return {
        "params": [{"sigma": float(sigma)} for sigma in search.sigmas],
        "param_sigma": search.sigmas,
        **{f"split{k}_test_score": split for k, split in enumerate(splits)},
        "mean_test_score": means,
        "std_test_score": splits.std(axis=0),
        "std_error_test_score": search.std_errors(search.values),
        "std_error_difference": search.std_errors(search.values[best] - search.values),
        "rank_test_score": rankdata(-means, method="min").astype(np.int32),
    }
