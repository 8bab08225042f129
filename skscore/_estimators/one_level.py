"""Estimators of one score: that of the rows (implicit, sliced), or of noised rows (denoising).

:class:`OneLevelScoreEstimator` holds the public methods of all: model selection by Hyvarinen's
criterion, and draws by Markov chains.  :class:`DataScoreEstimator` and
:class:`NoisedScoreEstimator` say which score it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.batches import Split
from skscore._backend.fitted import FittedNetwork
from skscore._estimators.base import BaseScoreEstimator
from skscore._estimators.draws import check_draws, pick, warn_of_copies
from skscore._estimators.output import contained
from skscore._fitting.data import FitData
from skscore._fitting.defaults import given_spec
from skscore._fitting.run import Objective
from skscore._messages import column_names
from skscore._validation import check_fitted, check_metrics, check_n_samples, check_rows
from skscore.losses import DenoisingScoreMatching, Loss
from skscore.metrics import hyvarinen_scorer
from skscore.noise import KERNELS
from skscore.samplers import KineticLangevin, Sampler, WalkJump


class OneLevelScoreEstimator(BaseScoreEstimator, ABC):
    """Model selection by Hyvarinen's criterion, and sampling by Markov chains."""

    @abstractmethod
    def _sampler(self) -> Sampler:
        """The sampler of `sample`, on standardised rows."""

    def _default_level(self) -> None:
        """The network knows no other."""

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
        trained = self._trained()
        draws, chains = trained.run_chains(self._sampler(), starts, rng, None, burn_in=None)
        check_draws(draws, starts, chains.step_size, type(self).__name__)
        warn_of_copies(draws, starts, rows, type(self).__name__)
        return draws

    def _starts(self, init: ArrayLike | None) -> np.ndarray:
        """Rows for chains to start from."""
        if init is not None:
            return check_rows(self, init)
        if not hasattr(self, "chain_starts_"):
            raise ValueError(
                f"{type(self).__name__} was fitted with store_starts=False and kept no training "
                "rows: pass the rows that chains start from as init."
            )
        return self.chain_starts_


class DataScoreEstimator(OneLevelScoreEstimator, ABC):
    """The score of the rows themselves."""

    @abstractmethod
    def _loss(self) -> Loss:
        """The objective, on standardised rows."""

    def _objective(self, data: FitData, split: Split, previous: FittedNetwork | None) -> Objective:
        return Objective(given_spec(self, data.X.shape[1]), self._loss())

    def _fitted_attributes(
        self, data: FitData, split: Split, network: FittedNetwork
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
        return self._trained().score(check_rows(self, X), None)

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
        trained = self._trained()
        return trained.divergence(*check_metrics(self, X, metric), None)


class NoisedScoreEstimator(OneLevelScoreEstimator, ABC):
    """The score of the rows with Gaussian noise of one level, `sigma_`."""

    noise: str

    @abstractmethod
    def _choose_level(
        self, data: FitData, previous: FittedNetwork | None
    ) -> tuple[float, dict[str, Any]]:
        """The noise level, and the fitted attributes that tell of its choice."""

    def _objective(self, data: FitData, split: Split, previous: FittedNetwork | None) -> Objective:
        sigma, attributes = self._choose_level(data, previous)
        loss = DenoisingScoreMatching(KERNELS[self.noise](sigma), weighting="sigma2")
        spec = given_spec(self, data.X.shape[1], sigma=sigma)
        return Objective(spec, loss, attributes=attributes)

    def _fitted_attributes(
        self, data: FitData, split: Split, network: FittedNetwork
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
        return self._trained().score(check_rows(self, X), None)

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
        trained = self._trained()
        return trained.divergence(*check_metrics(self, X, metric), None)

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
        trained, rows = self._trained(), check_rows(self, X)
        return trained.denoise(rows, self.sigma_, column_names(X, rows.shape[1]))
