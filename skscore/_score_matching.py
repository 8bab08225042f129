"""Score estimators without noise (implicit, sliced) and at one noise level (denoising).

:class:`_OneLevel` holds the public methods of all: they know one score, and draw rows by Markov
chains in its law.  :class:`_WithoutNoise` and :class:`OneNoiseLevel` say which score it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._base import BaseScoreEstimator
from skscore._bridge import FittedNetwork
from skscore._chains import check_draws, check_n_samples, pick, warn_of_copies
from skscore._documentation import shared_documentation
from skscore._fitting import FitData, Objective
from skscore._level_search import level_grid, search_levels
from skscore._output import contained
from skscore._rows import split
from skscore._training import Portion
from skscore._validation import Interval, StrOptions, check_fitted
from skscore.losses import (
    PROJECTIONS,
    DenoisingScoreMatching,
    ImplicitScoreMatching,
    Loss,
    SlicedScoreMatching,
)
from skscore.metrics import hyvarinen_scorer
from skscore.noise import KERNELS
from skscore.samplers import KineticLangevin, Sampler, WalkJump

_SEARCH_FRACTION = 0.2  # rows on which sigma="auto" judges the levels
_EDGE_ADVICE = "Search a wider range by the sigmas of DenoisingScoreEstimatorCV, or give a sigma."


class _OneLevel(ABC):
    """Model selection by Hyvarinen's criterion, and sampling by Markov chains."""

    @abstractmethod
    def _sampler(self) -> Sampler:
        """The sampler of `sample`, on standardised rows."""

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Hyvarinen's criterion on the rows, in the metric of `covariance_`; higher is better.

        ``-(1/n) sum [ 1/2 s' M s + tr(M grad s) ]`` with ``M = covariance_`` is, up to a
        constant of the data, minus the Fisher divergence to the law of the rows.  It is the
        same in all units, and comparable over noise levels, networks and estimators.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            The Gaussian fit scores about n_features / 2 on any table.
        """
        check_fitted(self)
        return hyvarinen_scorer(self, X, y, sample_weight)

    @contained
    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        init: ArrayLike | None = None,
    ) -> np.ndarray:
        """Draw rows by Markov chains, one chain a row.

        Chains start at training rows, drawn at random, so that separated modes keep their
        weights.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.
        init : array-like of shape (n_starts, n_features), default=None
            Rows to start from instead of training rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)

        Raises
        ------
        SamplingDivergedError
            Where a chain leaves the finite numbers.

        Warns
        -----
        SlowMixingWarning
            Where more than one draw in twenty is a near-copy of the row it started from.
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        rng = np.random.RandomState(self._stream.next(random_state))
        rows = self._starts(init)
        starts = pick(rows, n_samples, rng)
        draws, chains = self._run_chains(self._sampler(), starts, rng, burn_in=None)
        check_draws(draws, starts, chains.step_size, type(self).__name__)
        warn_of_copies(draws, starts, rows, type(self).__name__)
        return draws


class _WithoutNoise(_OneLevel):
    """The score of the rows themselves."""

    @abstractmethod
    def _loss(self) -> Loss:
        """The objective, on standardised rows."""

    def _objective(self, data: FitData, previous: FittedNetwork | None) -> Objective:
        return Objective(self._loss())

    def _learnt(
        self, data: FitData, network: FittedNetwork, held: Portion | None
    ) -> dict[str, Any]:
        return {}

    def _sampler(self) -> Sampler:
        return KineticLangevin()

    def score_function(self, X: ArrayLike) -> np.ndarray:
        """``s(x) = grad_x log p(x)`` in input space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In one over the units of X.
        """
        return self._score_function(X)

    def score_divergence(self, X: ArrayLike, *, metric: ArrayLike | None = None) -> np.ndarray:
        """``tr grad_x s(x)``, exact; with a metric M, ``tr(M grad_x s(x))``.

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
        return self._score_divergence(X, metric)


class OneNoiseLevel(_OneLevel):
    """The score of the rows with Gaussian noise of one level, `sigma_`."""

    @abstractmethod
    def _choose_level(
        self, data: FitData, previous: FittedNetwork | None
    ) -> tuple[float, dict[str, Any]]:
        """The noise level, and the fitted attributes that its choice leaves."""

    def _objective(self, data: FitData, previous: FittedNetwork | None) -> Objective:
        sigma, learnt = self._choose_level(data, previous)
        loss = DenoisingScoreMatching(KERNELS[self.noise](sigma), weighting="sigma2")
        return Objective(loss, {"sigma": sigma}, learnt)

    def _learnt(
        self, data: FitData, network: FittedNetwork, held: Portion | None
    ) -> dict[str, Any]:
        return {"sigma_": network.spec.sigma}

    def _sampler(self) -> Sampler:
        return WalkJump(self.sigma_)

    def _check_level(self, sigma: float | None) -> None:
        check_fitted(self)
        if sigma is not None and sigma != self.sigma_:
            raise ValueError(
                f"{type(self).__name__} knows the score at the one level it was fitted at, "
                f"sigma={self.sigma_}. Got sigma={sigma!r}: fit another estimator for that level."
            )

    def score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Score of the density noised to level `sigma_`, in input space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float or None, default=None
            None or `sigma_`, the only level there is.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In one over the units of X.
        """
        self._check_level(sigma)
        return self._score_function(X)

    def score_divergence(
        self, X: ArrayLike, sigma: float | None = None, *, metric: ArrayLike | None = None
    ) -> np.ndarray:
        """``tr grad_x s(x)``, exact; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float or None, default=None
            None or `sigma_`, the only level there is.
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        self._check_level(sigma)
        return self._score_divergence(X, metric)

    @contained
    def denoise(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Posterior mean of the clean row, ``E[x | x~] = x~ + sigma^2 s(x~)`` (Tweedie).

        In standardised coordinates, and within the plane of the training rows: constant columns
        have their constant.  Of rows farther out than the noise explains it is that of a Gaussian
        with their moments.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with Gaussian noise of standard deviation `sigma_` in standardised coordinates.
            In the units of X its covariance is ``sigma_**2`` times `covariance_` with
            ``standardize="whiten"``, times the diagonal of that with "scale", and times the
            identity with None.
        sigma : float or None, default=None
            None or `sigma_`, the only level there is.

        Returns
        -------
        ndarray of shape (n_samples, n_features)

        Warns
        -----
        FarRowsWarning
            Where rows lie farther outside of the training rows than such noise takes them.
        """
        self._check_level(sigma)
        return self._denoise(X, self.sigma_)


@shared_documentation
class ImplicitScoreEstimator(_WithoutNoise, BaseScoreEstimator):
    """Score of a density by Hyvarinen's objective with the exact trace.

    Minimises ``E[ 1/2 |s|^2 + tr grad s ]`` over networks s; its minimum is the score
    ``grad log p`` of the rows themselves.  The trace takes one backward pass per column:
    for more than some ten columns :class:`SlicedScoreEstimator` is cheaper.

    The objective rewards spikes on single rows without bound.  Training therefore spreads
    the rows by normal noise of 0.03 standard deviations, and a state must win on the held-out
    rows by a standard error.  Still, give it thousands of rows, or prefer
    :class:`DenoisingScoreEstimator`.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    SlicedScoreEstimator : The same minimum from random directions.
    DenoisingScoreEstimator : The score of the slightly noised density, more stable.

    References
    ----------
    Hyvarinen (2005). Estimation of non-normalized statistical models by score matching.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ImplicitScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = ImplicitScoreEstimator(max_iter=100, random_state=2).fit(X)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    def _loss(self) -> Loss:
        return ImplicitScoreMatching()


@shared_documentation
class SlicedScoreEstimator(_WithoutNoise, BaseScoreEstimator):
    """Score of a density by sliced score matching.

    Minimises ``E_v E[ v' (grad s) v + 1/2 |s|^2 ]`` over networks s with random directions
    v, ``E vv' = I``: Hyvarinen's objective on average, at one backward pass per direction
    in any number of columns.

    The objective rewards spikes on single rows without bound.  Training therefore spreads
    the rows by normal noise of 0.03 standard deviations, and a state must win on the held-out
    rows by a standard error.  Still, give it thousands of rows, or prefer
    :class:`DenoisingScoreEstimator`.

    Parameters
    ----------
    n_projections : int in [1, inf), default=1
        Directions per row and step.
    projection : {"rademacher", "gaussian", "sphere"}, default="rademacher"
        Law of the directions.
    variance_reduction : bool, default=True
        Whether ``|s|^2`` stands in for ``(v's)^2``, which it equals on average.
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    ImplicitScoreEstimator : With the exact trace, for few columns.
    DenoisingScoreEstimator : The score of the slightly noised density, more stable.

    References
    ----------
    Song, Garg, Shi and Ermon (2019). Sliced score matching: a scalable approach to density
    and score estimation.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import SlicedScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = SlicedScoreEstimator(max_iter=100, random_state=0).fit(X)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    _parameter_constraints = BaseScoreEstimator._parameter_constraints | {
        "n_projections": [Interval(Integral, 1, None, closed="left")],
        "projection": [StrOptions(set(PROJECTIONS))],
        "variance_reduction": ["boolean"],
    }

    def __init__(
        self,
        n_projections: int = 1,
        projection: str = "rademacher",
        variance_reduction: bool = True,
        *,
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
        super().__init__(
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            conservative=conservative,
            standardize=standardize,
            dequantize=dequantize,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            store_starts=store_starts,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.n_projections = n_projections
        self.projection = projection
        self.variance_reduction = variance_reduction

    def _loss(self) -> Loss:
        return SlicedScoreMatching(self.n_projections, self.projection, self.variance_reduction)


@shared_documentation
class DenoisingScoreEstimator(OneNoiseLevel, BaseScoreEstimator):
    """Score of a noised density by denoising score matching at one noise level.

    Rows are noised, ``x~ = x + sigma eps``, and a network s is regressed on the score of
    that draw: it minimises ``1/2 E |s(x~) - grad log q(x~ | x)|^2``, whose minimum is the
    score of the NOISED density.  A small sigma is faithful and noisy to learn, a large one
    smooth; `score` compares them on clean rows, so that a grid search may choose.

    Parameters
    ----------
    sigma : float in (0, inf) or "auto", default=0.1
        Standard deviation of the noise in the standardised coordinates, where every column
        has variance one (with ``standardize=None``: in the units of X).  "auto" holds a fifth of
        the rows out and takes that of ten levels from 0.01 to 1 whose score is best there, by
        the search of :class:`DenoisingScoreEstimatorCV` on this one split; where that is 0.01 or
        1, a `NoiseRangeWarning` says so.
    noise : {"gaussian"}, default="gaussian"
        A key of :data:`skscore.noise.KERNELS`.
    <parameters>

    Attributes
    ----------
    sigma_ : float
        The noise level of the score.
    <attributes>

    See Also
    --------
    DenoisingScoreEstimatorCV : With the level chosen by cross-validation.
    ImplicitScoreEstimator, SlicedScoreEstimator : The score of the rows themselves.

    References
    ----------
    Vincent (2011). A connection between score matching and denoising autoencoders.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import DenoisingScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = DenoisingScoreEstimator(sigma=0.1, max_iter=100, random_state=0).fit(X)
    >>> est.sample(3, random_state=0).shape
    (3, 1)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    _parameter_constraints = BaseScoreEstimator._parameter_constraints | {
        "sigma": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "noise": [StrOptions(set(KERNELS))],
    }

    def __init__(
        self,
        sigma: float | str = 0.1,
        noise: str = "gaussian",
        *,
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
        super().__init__(
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            conservative=conservative,
            standardize=standardize,
            dequantize=dequantize,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            store_starts=store_starts,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
        self.sigma = sigma
        self.noise = noise

    def _choose_level(
        self, data: FitData, previous: FittedNetwork | None
    ) -> tuple[float, dict[str, Any]]:
        if self.sigma != "auto":
            return float(self.sigma), {}
        if previous is not None:
            return previous.spec.sigma, {}
        parts = split(data.rows, _SEARCH_FRACTION, data.rng)
        search = search_levels(self, data, level_grid(data, self.standardize), [parts])
        chosen = search.best()
        search.warn_of_edge(chosen, f"sigma='auto' of {type(self).__name__}", _EDGE_ADVICE)
        return float(search.sigmas[chosen]), {}
