"""The score of scikit-learn's densities: exact where there is a formula, else by differences.

Two kinds of laws stand behind one estimator, with the same methods: ``ClosedForm`` knows
everything, at every noise level; ``Differences`` a log-density and nothing else.
"""

from __future__ import annotations

from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.neighbors import KernelDensity

from skscore._backend.closed_form import ClosedForm
from skscore._changes.standardizer import Standardizer
from skscore._changes.ties import column_ties
from skscore._densities import (
    CLOSED_FORMS,
    EUCLIDEAN,
    closed_form,
    is_mixture,
    is_plain_pipeline,
    why_no_log_density,
)
from skscore._estimators.differences import Differences
from skscore._estimators.draws import SamplingStream
from skscore._estimators.held import unseeded
from skscore._estimators.output import SetOutput, contained
from skscore._messages import column_names, listed, warn_user
from skscore._rows import merged_rows
from skscore._validation import (
    FrozenEstimator,
    available_if,
    check_fitted,
    check_metric,
    check_metric_rows,
    check_n_samples,
    check_rows,
    check_weights,
    finite_results,
    first_rows,
    integer_seeds,
    unwrapped,
)
from skscore.exceptions import DegenerateColumnsWarning, SupportWarning
from skscore.metrics import log_likelihood_scorer

_LARGEST = 1e150  # level: its square is finite
_SPOILT = 1e-3  # part of a column's variance above which reg_covar is reported


def _has_levels(estimator: DensityScoreEstimator) -> bool:
    if not estimator._has_closed_form():
        raise AttributeError(f"Densities with noise are known for {CLOSED_FORMS}.")
    return True


def _can_sample(estimator: DensityScoreEstimator) -> bool:
    density = estimator._density()
    if isinstance(density, KernelDensity):  # draws the same for other kernels and metrics
        right = density.kernel in ("gaussian", "tophat") and density.metric in EUCLIDEAN
    else:
        taken = signature(density.sample).parameters  # AttributeError where it has none
        right = "random_state" in taken or "random_state" in density.get_params(deep=False)
    if not right:
        raise AttributeError(f"{density!r} has no sample that takes a seed.")
    return True


class DensityScoreEstimator(SetOutput, BaseEstimator):
    """Score, divergence and energy of a scikit-learn density.

    Puts densities beside the score estimators: the same methods, in the same units.

    ``KernelDensity`` with the gaussian kernel and the Euclidean metric, ``GaussianMixture`` and
    ``BayesianGaussianMixture`` have all in closed form, and not only for the density p: sigma asks
    for ``p_sigma``, the density of ``x + sigma eps`` with standard normal eps.  It is in the units
    of X, for nothing is standardised here.

    Other densities are taken by differences of their `score_samples`: ``4 d`` log-densities a row
    for the score, ``4 d + 1`` for the divergence.  Steps are small parts of the deviations of the
    training rows.  For a log-density as smooth as the rows are spread the relative errors are
    about 1e-10 and 1e-8, for one that varies on a scale a hundred times finer 1e-8 and 1e-4.
    Steps are longer where `score_samples` is float32, and errors about 1e-4 and 1e-2.  Mind that

    - noise levels and `denoise` are unknown, and `sample` is the density's own, where that can be
      seeded;
    - kernels of compact support have rows of log-density minus infinity.  `score_samples` returns
      it, with a ``SupportWarning``; `score_function` and `score_divergence` raise an error there;
    - a kink has no score: at the edge of a compact kernel or the tip of the linear or exponential
      one, and near it, the divergence means nothing.  The score of a tophat kernel is zero;
    - the log-density is normalised if the density's is;
    - a log-density that is itself solved or drawn at random is too rough for differences.

    Parameters
    ----------
    density : estimator
        With `fit` and a `score_samples` that is a log-density, or a search over such ones.  Cloned
        and fitted by `fit`, unless it is wrapped in a ``FrozenEstimator``.

    Attributes
    ----------
    density_ : estimator
        The fitted density, or the fitted search, whose best density is then the one that counts.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.
    location_ : ndarray of shape (n_features,)
        Mean of the training rows.
    covariance_ : ndarray of shape (n_features, n_features)
        Of the training rows, as the score estimators measure it; the metric of
        :func:`skscore.metrics.hyvarinen_scorer`.

    See Also
    --------
    skscore.DensityPipeline : Densities of transformed rows, in the units of X.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore import DensityScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, 1))
    >>> est = DensityScoreEstimator(GaussianMixture()).fit(X)
    >>> est.score_function([[5.0]]).round(1)
    array([[-0.5]])
    >>> est.denoise([[5.0]], sigma=2.0).round(1)  # half way to the mean
    array([[4.]])
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
            For what is no density, weights that it does not take, or columns whose variance is
            not within 1e-300 and 1e300.

        Warns
        -----
        DegenerateColumnsWarning
            Where the `reg_covar` of a mixture is not small beside the variance of a column.
        """
        for name in [n for n in vars(self) if n.endswith("_")]:
            delattr(self, name)
        frozen = isinstance(self.density, FrozenEstimator)
        density = self.density.estimator if frozen else self.density
        _check_density(density)
        rows, described = first_rows(self, X)
        weights = check_weights(sample_weight, len(rows))
        names = column_names(X, rows.shape[1])
        standardizer = _measured(rows, weights, names)  # refuses what no density can be fitted to
        if frozen:
            check_rows(density, X)  # fitted, and to these columns
        else:
            density = _fitted(density, rows.astype(np.float64), weights)
            _check_density(unwrapped(density))  # what a search chose
        _warn_of_regularisation(unwrapped(density), standardizer.covariance.diagonal(), rows, names)
        fitted = {
            "location_": standardizer.mean,
            "covariance_": standardizer.covariance,
            "_standardizer": standardizer,
            "_stream": SamplingStream(integer_seeds(None, 1)[0]),
            "density_": density,
        }
        self.__dict__.update(described | fitted)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "density_")

    def _density(self) -> Any:
        """The density itself, fitted or not yet: of a search the best one."""
        return unwrapped(getattr(self, "density_", self.density))

    def _has_closed_form(self) -> bool:
        return is_mixture(self._density())

    def _finite(self, values: np.ndarray, name: str) -> np.ndarray:
        if not self._has_closed_form():
            name += " by differences (there is none at and beyond the edge of a support)"
        return finite_results(values, name)

    def _law(self, X: Any = None, sigma: float | None = None) -> ClosedForm | Differences:
        """What is known of the density with noise; X shows what the density takes for rows."""
        density = self._density()
        if self._has_closed_form():
            law = closed_form(density)
        else:
            law = Differences(density, self._standardizer, X)
        return law if sigma is None else law.noised(_check_level(sigma))

    def score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """``grad_x log p(x)``, or that of the density with noise, ``grad_x log p_sigma(x)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [0, inf) or None, default=None
            Standard deviation of Gaussian noise in the units of X; None is no noise.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        rows = check_rows(self, X)
        return self._finite(self._law(X, sigma).score(rows), "score_function")

    def score_divergence(
        self, X: ArrayLike, sigma: float | None = None, *, metric: ArrayLike | None = None
    ) -> np.ndarray:
        """``tr grad_x s(x)`` of that score; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [0, inf) or None, default=None
            Standard deviation of Gaussian noise in the units of X; None is no noise.
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = check_rows(self, X)
        M = check_metric(np.eye(rows.shape[1]) if metric is None else metric, rows.shape[1])
        if M.ndim == 3:
            check_metric_rows(M, len(rows))
        return self._finite(self._law(X, sigma).score_divergence(rows, M), "score_divergence")

    @available_if(_has_levels)
    @contained
    def denoise(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Posterior mean of the clean row, ``E[x | x~] = x~ + sigma^2 s_sigma(x~)`` (Tweedie).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with Gaussian noise.
        sigma : float in [0, inf)
            Standard deviation of the noise in the units of X.  A density has no level of its
            own: None is refused.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        rows = check_rows(self, X)
        if sigma is None:
            raise ValueError(
                f"{type(self).__name__} has no noise level of its own: pass the standard deviation "
                "of the noise, in the units of X, as sigma."
            )
        scores = self._law(X, sigma).score(rows)
        return self._finite(rows + float(sigma) ** 2 * scores, "denoise")

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normalised log-density in nats, ``log p(x)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Minus infinity for rows outside the support of a density that has a bounded one.

        Warns
        -----
        SupportWarning
            Where there are such rows.
        """
        rows = check_rows(self, X)
        values = self._law(X).log_density(rows)
        outside = np.isneginf(values) & (not self._has_closed_form())
        if outside.any():
            warn_user(
                f"{outside.sum()} of {len(rows)} rows lie outside the support of "
                f"{self.density_!r}: their log-density is minus infinity.",
                SupportWarning,
            )
        finite_results(np.where(outside, 0.0, values), "score_samples")
        return values

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

    @available_if(_can_sample)
    @contained
    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows from the density.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        return self._law().sample(n_samples, self._stream.next(random_state))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


def _check_density(density: Any) -> None:
    """Refuse what has no log-density of the rows, and what needs no adapter."""
    if hasattr(density, "score_function"):
        raise ValueError(f"{density!r} has a score of its own. Use it without an adapter.")
    inner = getattr(density, "estimator", density)
    if is_plain_pipeline(inner):
        raise ValueError(
            f"{why_no_log_density(inner)} Use skscore.DensityPipeline with the same steps, "
            "the last one a DensityScoreEstimator."
        )
    known = not isinstance(density, type)
    known = known and hasattr(density, "fit") and hasattr(density, "score_samples")
    reason = why_no_log_density(density) if known else None
    if isinstance(density, KernelDensity) and reason is not None:
        raise ValueError(reason)
    if not known or reason is not None:
        raise ValueError(
            f"The 'density' parameter of DensityScoreEstimator must be {CLOSED_FORMS}, or another "
            "estimator with fit and score_samples whose score_samples is a log-density (such as "
            "PCA, FactorAnalysis, a KernelDensity with another kernel, a normalizing flow). "
            f"Got {density!r} instead."
        )


def _check_level(sigma: Any) -> float:
    number = isinstance(sigma, Real) and not isinstance(sigma, bool)
    if not (number and 0 <= sigma < _LARGEST):
        raise ValueError(
            "The 'sigma' of DensityScoreEstimator must be None or the standard deviation of noise "
            f"in the units of X, a finite number that is not negative. Got {sigma!r} instead."
        )
    return float(sigma)


def _fitted(density: Any, rows: np.ndarray, weights: np.ndarray | None) -> Any:
    """A clone of a density, fitted; the global generator has no part in it."""
    if weights is not None:  # rows of no weight are none: a rule for the bandwidth counts rows
        rows, weights = rows[weights > 0], weights[weights > 0]
    passed = {} if weights is None else {"sample_weight": weights}
    if passed and "sample_weight" not in signature(density.fit).parameters:
        raise ValueError(
            f"{type(density).__name__} takes no sample_weight. Fit without weights, or use "
            "a density that takes them, such as KernelDensity."
        )
    density = clone(density)
    names = unseeded(density)
    density.set_params(**dict(zip(names, integer_seeds(None, len(names)), strict=True)))
    density.fit(rows, **passed)
    return density


def _measured(rows: np.ndarray, weights: np.ndarray | None, names: list[str]) -> Standardizer:
    """Location and covariance as the trained estimators measure them."""
    rows, weights, places = merged_rows(rows, weights)
    ties = column_ties(rows, weights, np.sum(places >= 0))
    return Standardizer.fit(rows, weights, names=names, ties=ties)


def _warn_of_regularisation(
    density: Any, variances: np.ndarray, rows: np.ndarray, names: list[str]
) -> None:
    """Say so where what a mixture adds to all variances is not small beside those of columns."""
    added = getattr(density, "reg_covar", 0.0) if is_mixture(density) else 0.0
    spoilt = (added > _SPOILT * variances) & (np.ptp(rows, axis=0) > 0)
    if spoilt.any():
        which = listed([names[j] for j in np.flatnonzero(spoilt)])
        warn_user(
            f"{type(density).__name__} adds reg_covar={added:g} to the variance of every column, "
            f"which is not small beside the variances (least: about {variances[spoilt].min():.0e}) "
            f"of these: {which}. Rescale the columns (with a StandardScaler in a "
            "skscore.DensityPipeline), or lower reg_covar.",
            DegenerateColumnsWarning,
        )
