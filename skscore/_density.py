"""The exact score of scikit-learn's own densities."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity

from skscore._bridge import ClosedForm
from skscore._chains import SamplingStream, check_n_samples
from skscore._fitting import distinct_rows, positive_rows
from skscore._standardize import Standardizer
from skscore._validation import (
    FrozenEstimator,
    check_fitted,
    check_metric,
    check_rows,
    check_weights,
    column_names,
    finite_results,
    first_rows,
    integer_seeds,
)
from skscore.metrics import log_likelihood_scorer


class DensityScoreEstimator(BaseEstimator):
    """Score, divergence and energy of a scikit-learn density, in closed form.

    Puts `KernelDensity` (gaussian kernel), `GaussianMixture` and `BayesianGaussianMixture`
    beside the score estimators: the same methods, in the same units.

    Parameters
    ----------
    density : estimator
        Cloned and fitted by `fit`, unless it is wrapped in a ``FrozenEstimator``.

    Attributes
    ----------
    density_ : estimator
        The fitted density.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.
    location_ : ndarray of shape (n_features,)
        Mean of the training rows.
    covariance_ : ndarray of shape (n_features, n_features)
        Of the training rows, as the score estimators measure it; the metric of
        :func:`skscore.metrics.hyvarinen_scorer`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore import DensityScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, 1))
    >>> est = DensityScoreEstimator(GaussianMixture()).fit(X)
    >>> est.score_function([[5.0]]).round(1)
    array([[-0.5]])
    """

    def __init__(self, density: Any) -> None:
        self.density = density

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> DensityScoreEstimator:
        """Fit the density to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            For densities that take weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a density without a closed form here, or weights that it does not take.
        """
        self.__dict__.pop("density_", None)
        frozen = isinstance(self.density, FrozenEstimator)
        density = self.density.estimator if frozen else self.density
        _check_supported(density)
        if frozen:
            check_fitted(density)
        else:
            density = clone(density)
        rows, described = first_rows(self, X)
        weights = check_weights(sample_weight, len(rows))
        passed = {} if weights is None else {"sample_weight": weights}
        if passed and not frozen and "sample_weight" not in signature(density.fit).parameters:
            raise ValueError(
                f"{type(density).__name__} takes no sample_weight. Fit without weights, or use "
                "a density that takes them, such as KernelDensity."
            )
        if not frozen:
            if density.get_params().get("random_state", 0) is None:
                density.set_params(random_state=integer_seeds(None, 1)[0])
            density.fit(rows.astype(np.float64), **passed)
        standardizer = Standardizer.fit(
            *distinct_rows(*positive_rows(rows, weights)), names=column_names(X, rows.shape[1])
        )
        self.__dict__.update(
            described
            | {
                "location_": standardizer.location,
                "covariance_": standardizer.covariance,
                "_stream": SamplingStream(integer_seeds(None, 1)[0]),
                "density_": density,
            }
        )
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "density_")

    def score_function(self, X: ArrayLike) -> np.ndarray:
        """``grad_x log p(x)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        X = check_rows(self, X)
        return finite_results(_closed_form(self.density_).score(X), "score_function")

    def score_divergence(self, X: ArrayLike, *, metric: ArrayLike | None = None) -> np.ndarray:
        """``tr grad_x s(x)``; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = check_rows(self, X)
        M = np.eye(X.shape[1]) if metric is None else check_metric(metric, X.shape[1])
        values = _closed_form(self.density_).score_divergence(X, M)
        return finite_results(values, "score_divergence")

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normalised log-density in nats, ``log p(x)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = check_rows(self, X)
        return finite_results(_closed_form(self.density_).log_density(X), "score_samples")

    def energy(self, X: ArrayLike) -> np.ndarray:
        """``-log p(x)`` in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return -self.score_samples(X)

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Mean log-density of the rows in nats; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        return log_likelihood_scorer(self, X, y, sample_weight)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows from the density.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, an integer repeats.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        rng = np.random.RandomState(self._stream.next(random_state))
        weights, means, covariances = _mixture(self.density_)
        component = rng.choice(len(weights), size=n_samples, p=weights / weights.sum())
        noise = rng.standard_normal((n_samples, means.shape[1]))
        if np.ndim(covariances) == 0:
            return means[component] + np.sqrt(covariances) * noise
        factors = np.linalg.cholesky(covariances)
        return means[component] + np.einsum("nij,nj->ni", factors[component], noise)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


_SUPPORTED = (KernelDensity, GaussianMixture, BayesianGaussianMixture)


def _check_supported(density: Any) -> None:
    if not isinstance(density, _SUPPORTED):
        raise ValueError(
            "The 'density' parameter of DensityScoreEstimator must be one of: "
            f"{', '.join(c.__name__ for c in _SUPPORTED)}. Got {density!r} instead."
        )
    if isinstance(density, KernelDensity) and (
        density.kernel != "gaussian" or density.metric not in ("euclidean", "l2")
    ):
        raise ValueError(
            "DensityScoreEstimator needs a KernelDensity with kernel='gaussian' and "
            f"metric='euclidean', whose score exists everywhere. Got {density!r} instead."
        )


def _mixture(density: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | float]:
    """Weights (k,), means (k, d) and covariances (k, d, d), or one variance for all."""
    if isinstance(density, KernelDensity):
        means = np.asarray(density.tree_.data)
        weights = density.tree_.sample_weight
        weights = np.ones(len(means)) if weights is None else np.asarray(weights)
        kept = weights > 0
        return weights[kept] / weights.sum(), means[kept], float(density.bandwidth_) ** 2
    means, covariances = density.means_, density.covariances_
    k, d = means.shape
    expand = {
        "full": lambda c: c,
        "tied": lambda c: np.broadcast_to(c, (k, d, d)),
        "diag": lambda c: c[:, :, None] * np.eye(d),
        "spherical": lambda c: c[:, None, None] * np.eye(d),
    }
    return density.weights_, means, np.array(expand[density.covariance_type](covariances))


def _closed_form(density: Any) -> ClosedForm:
    weights, means, covariances = _mixture(density)
    if np.ndim(covariances) == 0:
        return ClosedForm(weights, means, variance=float(covariances))
    return ClosedForm(weights, means, covariances)
