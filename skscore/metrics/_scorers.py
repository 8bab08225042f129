"""Scorers: a number for a fitted estimator and rows, for every search of scikit-learn.

They are callables ``scorer(estimator, X, y=None, sample_weight=None)``, higher is better, and
take weights by metadata routing:

>>> import numpy as np
>>> from sklearn.model_selection import cross_val_score
>>> from sklearn.neighbors import KernelDensity
>>> from skscore.metrics import log_likelihood_scorer
>>> X = np.random.default_rng(0).normal(size=(300, 1))
>>> values = cross_val_score(KernelDensity(), X, scoring=log_likelihood_scorer, cv=3)
>>> bool((np.abs(values + 1.6) < 0.2).all())
True

Draws and directions are the same at every call, so that candidates are compared on
the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import from_user
from skscore._densities import (
    bare,
    has_edges,
    is_plain_pipeline,
    log_densities,
    why_no_log_density,
)
from skscore._validation import (
    MetadataRequester,
    refuse_masked,
    rows_like,
    score_request,
    unwrapped,
)
from skscore.metrics._fisher import check_finite, hyvarinen_score, unit_weights

_DIFFERENCE = 1e-4  # half the width of differences, in standard deviations
_LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0)


class Scorer(MetadataRequester):
    """A function of a fitted estimator and rows that takes part in metadata routing.

    Parameters
    ----------
    function : callable
        ``f(estimator, X, y=None, sample_weight=None, **options)``.
    sample_weight : bool, str or None, default=None
        As for :meth:`set_score_request`.
    """

    def __init__(
        self, function: Callable[..., float], sample_weight: bool | str | None = None
    ) -> None:
        self._function, self._asks = function, sample_weight
        self._metadata_request = score_request(self, sample_weight)
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    def __call__(
        self,
        estimator: Any,
        X: ArrayLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        **options: Any,
    ) -> float:
        return self._function(estimator, from_user(X), y, sample_weight, **options)

    def set_score_request(self, *, sample_weight: bool | str | None) -> Scorer:
        """A copy of this scorer that asks for weights where metadata is routed.

        Parameters
        ----------
        sample_weight : bool, str or None
            True asks for ``sample_weight``, a str for metadata of that name; False goes without;
            with None, as at first, a search that is given weights raises an error.

        Returns
        -------
        Scorer
        """
        return type(self)(self._function, sample_weight)

    def __repr__(self) -> str:
        return self.__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.__name__, self._asks)


def _restore(name: str, asks: bool | str | None) -> Scorer:
    scorer = globals()[name]
    return scorer if asks is None else scorer.set_score_request(sample_weight=asks)


@Scorer
def log_likelihood_scorer(
    estimator: Any, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
) -> float:
    """Mean normalised log-density in nats, ``score_samples(X).mean()``; higher is better.

    scikit-learn's ``KernelDensity`` and mixtures are taken by their formula: the bounds of the
    tree behind ``KernelDensity.score_samples`` are off by whole nats in many columns.

    Parameters
    ----------
    estimator : fitted estimator with `score_samples`
        A density, or a fitted search over densities.
    X : array-like of shape (n, d)
    y : ignored
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For what has no normalised log-density of the rows: an outlier detector, a kernel density
        of another metric, or a plain ``Pipeline`` with transformers, whose number is that of the
        transformed rows (use :class:`skscore.DensityPipeline`).

    Examples
    --------
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore.metrics import log_likelihood_scorer
    >>> X = [[0.0], [1.0], [2.0]]
    >>> model = GaussianMixture().fit(X)
    >>> bool(abs(log_likelihood_scorer(model, X) - model.score(X)) < 1e-12)
    True
    """
    refuse_masked("X", X)
    estimator = bare(estimator)
    _method(estimator, "score_samples", "log_likelihood_scorer")
    reason = why_no_log_density(estimator)
    if reason is not None:
        raise ValueError(f"log_likelihood_scorer needs normalised log-densities. {reason}")
    values = log_densities(estimator, X)
    w = unit_weights(sample_weight, len(values))
    return float(w[w > 0] @ values[w > 0])  # a row of weight zero may lie outside the support


@Scorer
def hyvarinen_scorer(
    estimator: Any, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
) -> float:
    """Hyvarinen's criterion in the metric of the estimator's `covariance_`; higher is better.

    On the same training rows the metric is the same for every estimator of skscore, so
    that a search may run over noise levels, networks and kinds of estimators.  It is proper for
    densities that vanish at the ends of their range: for rows that crowd at a hard edge, as
    those of an exponential law at zero, use the log-likelihood.

    Parameters
    ----------
    estimator : fitted estimator with `score_function`, `score_divergence` and `covariance_`
    X : array-like of shape (n, d)
    y : ignored
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.metrics import hyvarinen_scorer
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> bool(abs(hyvarinen_scorer(DensityScoreEstimator(GaussianMixture()).fit(X), X) - 2) < 0.1)
    True
    """
    refuse_masked("X", X)
    estimator = bare(estimator)
    _refuse_edges(estimator, "hyvarinen_scorer")
    score_function = _method(estimator, "score_function", "hyvarinen_scorer")
    score_divergence = _method(estimator, "score_divergence", "hyvarinen_scorer")
    M = _method(estimator, "covariance_", "hyvarinen_scorer")
    divergences = score_divergence(X, metric=M)
    return hyvarinen_score(score_function(X), divergences, M, sample_weight=sample_weight)


@Scorer
def sliced_scorer(
    estimator: Any,
    X: ArrayLike,
    y: object = None,
    sample_weight: ArrayLike | None = None,
    *,
    n_projections: int = 8,
) -> float:
    """Hyvarinen's criterion by differences along random directions; higher is better.

    ``-(1/n) sum [ 1/2 s' M s + mean_v v' (grad s) v ]`` with ``E vv' = M = covariance_``: the
    number of :data:`hyvarinen_scorer` on average, for estimators that have no
    `score_divergence`, or a slow one.  The derivatives are central differences of
    `score_function`, two evaluations for each direction (Pang et al. 2020).

    Parameters
    ----------
    estimator : fitted estimator with `score_function` and `covariance_`
    X : array-like of shape (n, d)
    y : ignored
    sample_weight : array-like of shape (n,), default=None
    n_projections : int in [1, inf), default=8
        Directions of each row.

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.metrics import hyvarinen_scorer, sliced_scorer
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> model = DensityScoreEstimator(GaussianMixture(2, random_state=0)).fit(X)
    >>> bool(abs(sliced_scorer(model, X) - hyvarinen_scorer(model, X)) < 0.02)
    True
    """
    refuse_masked("X", X)
    estimator = bare(estimator)
    _refuse_edges(estimator, "sliced_scorer")
    score_function = _method(estimator, "score_function", "sliced_scorer")
    M = _method(estimator, "covariance_", "sliced_scorer")
    rows, rng, root = np.asarray(X, dtype=np.float64), np.random.RandomState(0), _square_root(M)
    slopes = np.zeros(len(rows))
    for _ in range(n_projections):
        v = rng.choice([-1.0, 1.0], size=rows.shape) @ root
        ends = (score_function(rows_like(X, rows + h * v)) for h in (_DIFFERENCE, -_DIFFERENCE))
        change = next(ends) - next(ends)
        slopes += np.einsum("ni,ni->n", v, change) / (2 * _DIFFERENCE * n_projections)
    return hyvarinen_score(score_function(X), slopes, M, sample_weight=sample_weight)


@Scorer
def multi_level_denoising_scorer(
    estimator: Any,
    X: ArrayLike,
    y: object = None,
    sample_weight: ArrayLike | None = None,
    *,
    sigmas: Sequence[float] = _LEVELS,
) -> float:
    """Minus the denoising loss at fixed noise levels, averaged; higher is better.

    ``-1/2 |sigma R s(x~) + eps|^2`` at ``x~ = x + sigma R eps``, R the square root of
    `covariance_`: the loss of denoising score matching in whitened coordinates.  Levels and
    draws are the same for every candidate.  An estimator that was trained at many levels (one
    with `sigma_range_`) is asked for its score at each, within its range; its levels are those of
    whitened coordinates too with ``standardize="whiten"``; with curved columns, of its own or of
    a transformer before it, they are not, and its loss is higher.  Any other is asked for the one
    score it has, so a search over its own level by this finds a compromise of the fixed ones;
    search by the default scoring there.  Noised rows must be in the support of the density.

    Parameters
    ----------
    estimator : fitted estimator with `score_function` and `covariance_`
    X : array-like of shape (n, d)
    y : ignored
    sample_weight : array-like of shape (n,), default=None
    sigmas : sequence of float in (0, inf), default=(0.05, 0.1, 0.2, 0.5, 1.0)

    Returns
    -------
    float
        A score of zero gets ``-n_features / 2``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.metrics import multi_level_denoising_scorer
    >>> X = np.random.default_rng(0).normal(size=(1000, 4))
    >>> model = DensityScoreEstimator(GaussianMixture()).fit(X)
    >>> best = -0.5 * 4 / (1 + 0.5**2)  # of the score of N(0, I) noised to level 0.5
    >>> bool(abs(multi_level_denoising_scorer(model, X, sigmas=[0.5]) - best) < 0.1)
    True
    """
    refuse_masked("X", X)
    estimator = bare(estimator)
    score_function = _method(estimator, "score_function", "multi_level_denoising_scorer")
    root = _square_root(_method(estimator, "covariance_", "multi_level_denoising_scorer"))
    low_high = getattr(estimator, "sigma_range_", None)
    rows, rng = np.asarray(X, dtype=np.float64), np.random.RandomState(0)
    losses = np.zeros(len(rows))
    for sigma in sigmas:
        level = {} if low_high is None else {"sigma": float(np.clip(sigma, *low_high))}
        half = rng.standard_normal(rows.shape)
        for eps in (half, -half):
            noised = rows_like(X, rows + sigma * eps @ root)
            scores = check_finite("scores", score_function(noised, **level))
            losses += 0.5 * np.square(sigma * scores @ root + eps).sum(axis=1)
    return -float(unit_weights(sample_weight, len(rows)) @ losses) / (2 * len(sigmas))


def _method(estimator: Any, name: str, scorer: str) -> Any:
    if is_plain_pipeline(estimator):
        raise ValueError(
            f"{scorer} cannot compare a plain Pipeline: its density is that of the transformed "
            "rows, and changes with their units. Use skscore.DensityPipeline with the same steps, "
            f"whose numbers are those of the rows themselves. Got {estimator!r}."
        )
    if not hasattr(estimator, name):
        raise ValueError(f"{scorer} needs a fitted estimator with `{name}`. Got {estimator!r}.")
    return getattr(estimator, name)


def _refuse_edges(estimator: Any, scorer: str) -> None:
    """Hyvarinen's criterion forgets the mass at the edges of a density, and may be anything."""
    final = estimator
    while hasattr(final, "steps"):
        final = unwrapped(final.steps[-1][1])
    density = unwrapped(getattr(final, "density_", final))
    if has_edges(density):
        raise ValueError(
            f"{scorer} cannot judge {density!r}: a density with the kernel {density.kernel!r} ends "
            "at edges, of which Hyvarinen's criterion knows nothing. Use log_likelihood_scorer, or "
            "kernel='gaussian'."
        )


def _square_root(M: np.ndarray) -> np.ndarray:
    """The symmetric R with ``R R = M``."""
    values, vectors = np.linalg.eigh(M)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


_SCORERS = (
    hyvarinen_scorer,
    log_likelihood_scorer,
    multi_level_denoising_scorer,
    sliced_scorer,
)
__test__ = {scorer.__name__: scorer.__doc__ for scorer in _SCORERS}  # for doctest
