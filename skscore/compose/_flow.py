"""The probability flow of a diffusion estimator as a transformer."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from skscore._changes.algebra import Change
from skscore._estimators.diffusion import DiffusionScoreEstimator
from skscore._estimators.held import fit_part
from skscore._validation import (
    FrozenEstimator,
    Interval,
    check_fitted,
    check_parameters,
    check_rows,
    check_unnamed_rows,
    finite_results,
    rows_like,
    solved_results,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class FlowTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The probability flow of a diffusion estimator, to independent standard normal columns.

    Every diffusion model contains a continuous normalising flow: the solution of ``dy/dtheta =
    F(y, theta)`` carries each row from theta = 0 to theta = pi/2, where the rows of the fitted
    law are N(0, I).  The map is smooth and invertible; its inverse turns normal rows into rows
    like those of the table.

    Parameters
    ----------
    estimator : DiffusionScoreEstimator
        Cloned and fitted by `fit`, unless it is wrapped in a ``FrozenEstimator``.
    tol : float in (0, inf), default=1e-6
        Largest error of a step of the flow, in the Euclidean norm of a standardised row.
    random_state : int, RandomState or None, default=None
        Of `fit`, where the estimator has none of its own.

    Attributes
    ----------
    estimator_ : DiffusionScoreEstimator
        The fitted one.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.

    See Also
    --------
    sklearn.preprocessing.QuantileTransformer : Normal columns that still depend on each other.

    References
    ----------
    Chen, Rubanova, Bettencourt and Duvenaud (2018). Neural ordinary differential equations.
    Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
    modeling through stochastic differential equations.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import DiffusionScoreEstimator, FlowTransformer
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> flow = FlowTransformer(DiffusionScoreEstimator(max_iter=5, random_state=0)).fit(X)
    >>> bool(np.abs(flow.transform(X).std() - 1) < 0.15)
    True
    >>> bool(np.allclose(flow.inverse_transform(flow.transform(X)), X, atol=1e-3))
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [DiffusionScoreEstimator, FrozenEstimator],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator: Any, *, tol: float = 1e-6, random_state: Any = None) -> None:
        self.estimator = estimator
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit a clone of the estimator; a frozen one is only taken over.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self
        """
        for learnt in ("estimator_", "feature_names_in_"):
            self.__dict__.pop(learnt, None)
        check_parameters(self)
        if isinstance(self.estimator, FrozenEstimator):
            part = _diffusion_part(self.estimator)
            check_fitted(part)
            check_rows(part, X)
        else:
            part = fit_part(self.estimator, X, self.random_state, sample_weight)
        self.n_features_in_ = part.n_features_in_
        if hasattr(part, "feature_names_in_"):
            self.feature_names_in_ = part.feature_names_in_
        self._n_features_out = part.n_features_in_
        self.estimator_ = part
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Rows carried to theta = pi/2, independent standard normal for the fitted law.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_fitted(self)
        X = check_rows(self, X)
        est = self.estimator_
        y = est._trained().carry(est._standardizer.transform(X), 0.0, math.pi / 2, self.tol)
        return solved_results(y, f"transform of {type(self).__name__}", "tol")

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Rows carried back from theta = pi/2, in the units of the table.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        check_fitted(self)
        X = check_unnamed_rows(self, X)
        est = self.estimator_
        name = f"inverse_transform of {type(self).__name__}"
        z = solved_results(est._trained().carry(X, math.pi / 2, 0.0, self.tol), name, "tol")
        return finite_results(est._standardizer.inverse_transform(z), name)


def _diffusion_part(frozen: FrozenEstimator) -> DiffusionScoreEstimator:
    if not isinstance(frozen.estimator, DiffusionScoreEstimator):
        raise ValueError(
            "The 'estimator' parameter of FlowTransformer must be a DiffusionScoreEstimator, or "
            f"a FrozenEstimator that holds one. Got {frozen!r} instead."
        )
    return frozen.estimator


class Flow(Change):
    """The probability flow of a fitted diffusion estimator: log-densities and rows only.

    The estimator's density is that of the flow, so ``log |det J| = log p(x) - log N(y; 0, I)``.

    Parameters
    ----------
    transformer : FlowTransformer
    X
        As for :class:`Change`.
    """

    smooth = False

    def log_det(self, X: np.ndarray) -> np.ndarray:
        y = self.transform(X)
        normal = -0.5 * (np.square(y) + np.log(2 * np.pi)).sum(axis=1)
        return self.transformer.estimator_.score_samples(rows_like(self._input, X)) - normal

    def pull_score(self, X: np.ndarray, scores: np.ndarray) -> np.ndarray:
        raise _without_jacobian()

    def push(self, X: np.ndarray, V: np.ndarray) -> np.ndarray:
        raise _without_jacobian()

    def curvature(self, X: np.ndarray, scores: np.ndarray, M: np.ndarray) -> np.ndarray:
        raise _without_jacobian()


def _without_jacobian() -> ValueError:
    return ValueError(
        "Behind FlowTransformer there are log-densities and samples, but no scores: its "
        "Jacobian is not formed."
    )
