"""What an estimator of the scores of all levels answers: scores, densities, draws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import array
from skscore._estimators.base import BaseScoreEstimator
from skscore._estimators.draws import check_finite_draws
from skscore._estimators.output import contained
from skscore._fitting.criterion import level_criterion
from skscore._messages import column_names
from skscore._validation import (
    check_fitted,
    check_metrics,
    check_n_samples,
    check_parameters,
    check_rows,
    check_weights,
    finite_results,
)
from skscore.samplers import ReverseSampler, reverse_sampler

DEFAULT_METHOD = "adams"
CURVE_LEVELS = 40
"""Levels of `sigma_curve`."""


class AllLevelsScoreEstimator(BaseScoreEstimator, ABC):
    """One network that knows the scores of all noise levels, and so a density and its draws.

    A subclass says how it is trained, where the steps of `sample` end, and how the trace of the
    density is taken.
    """

    density_tol: float
    sigma_: float

    @abstractmethod
    def _angles(self, sampler: ReverseSampler, n_steps: int) -> list[float]:
        """Angles between the steps of a sampler, from noise down."""

    @abstractmethod
    def _probes(self) -> np.ndarray | None:
        """Directions of the trace, (n_probes, d); None where it is exact."""

    def _default_level(self) -> float:
        return self.sigma_

    def _check_sigma(self, sigma: float | None) -> float:
        """A level in the trained range; `sigma_` for None."""
        check_fitted(self)
        if sigma is None:
            return self.sigma_
        low, high = self._network.sigma_range
        number = isinstance(sigma, Real) and not isinstance(sigma, bool)
        if not (number and low <= sigma <= high):
            raise ValueError(
                f"The 'sigma' of {type(self).__name__} must be None or a noise level in the "
                f"trained range [{low}, {high}]. Got {sigma!r} instead."
            )
        return float(sigma)

    def score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Score of the density noised to a level, in input space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In one over the units of X.
        """
        level = self._check_sigma(sigma)
        return self._trained().score(check_rows(self, X), level)

    def score_divergence(
        self, X: ArrayLike, sigma: float | None = None, *, metric: ArrayLike | None = None
    ) -> np.ndarray:
        """``tr grad_x s(x)`` at a level, exact; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        level = self._check_sigma(sigma)
        return self._trained().divergence(*check_metrics(self, X, metric), level)

    @contained
    def denoise(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Posterior mean of the clean row, ``E[x | x~] = x~ + sigma^2 s(x~)`` (Tweedie).

        In standardised coordinates, and within the plane of the training rows: constant columns
        have their constant.  Of rows farther out than the noise explains it is that of a Gaussian
        with their moments.  With curved columns (``standardize_="normal"``) it is the posterior
        mean of the standardised row, carried back to the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with Gaussian noise of standard deviation `sigma` in standardised coordinates.
            In the units of X its covariance is ``sigma**2`` times `covariance_` where
            `standardize_` is "whiten", times the diagonal of that where it is "scale", and times
            the identity where it is None; where it is "normal" it is not one for all rows.
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)

        Warns
        -----
        FarRowsWarning
            Where rows lie farther outside of the training rows than such noise takes them.
        """
        level, trained, rows = self._check_sigma(sigma), self._trained(), check_rows(self, X)
        return trained.denoise(rows, level, column_names(X, rows.shape[1]))

    def sigma_curve(
        self, X: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hyvarinen's criterion on rows as a function of the level, over the whole range.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not trained on.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        sigmas : ndarray of shape (40,)
            Levels, evenly spaced in their logarithm.
        scores : ndarray of shape (40,)
            The criterion of ``DenoisingScoreEstimator.score``, with the score at each level;
            higher is better.
        errors : ndarray of shape (40,)
            Standard errors of the scores.
        """
        check_fitted(self)
        X = check_rows(self, X)
        weights = check_weights(sample_weight, len(X))
        weights = np.ones(len(X)) if weights is None else weights
        low, high = self._network.sigma_range
        sigmas = np.geomspace(low, high, CURVE_LEVELS)
        rows = self._standardizer.transform(X)
        values = level_criterion(self._network, self._standardizer, self.device, rows, sigmas)
        values = finite_results(values, f"sigma_curve of {type(self).__name__}")
        share = weights / weights.sum()
        scores = values @ share
        errors = np.sqrt((values - scores[:, None]) ** 2 @ share**2)
        return sigmas, scores, errors

    # -- densities ---------------------------------------------------------------------------

    def score_samples(
        self, X: ArrayLike, *, return_std_error: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Log-density of each row under the probability flow, normalised.

        ``log N(y(pi/2); 0, I) + int div F dtheta + log |det W|`` along the flow from the
        row, W the Jacobian of its standardisation (Song et al. 2021).  Every row takes the steps
        that `density_tol` asks for, whatever the rows beside it; at the default 95 % of rows
        like those of the fit are within 0.01 nats of a fine solution.  More than 50 nats a column
        below, the tolerance is relative to the log-density, and 95 % were within 0.03.  Rows
        between clusters and far outside take more steps; a ``StepLimitError`` names rows for which
        2000 steps of their own do not do.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std_error : bool, default=False
            Whether to return the standard error of ``divergence="probes"``; zero where the
            divergence is exact.  The probes are the same for all rows: their errors are alike,
            and do not average out over rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, of rows in the units of X.
        error : ndarray of shape (n_samples,)
            Only with `return_std_error`.
        """
        trained = self._trained()
        check_parameters(self)
        values = trained.log_density(check_rows(self, X), self.density_tol, self._probes())
        mean = values.mean(axis=1)
        if not return_std_error:
            return mean
        m = values.shape[1]
        error = values.std(axis=1, ddof=1) / math.sqrt(m) if m > 1 else np.zeros(len(values))
        return mean, error

    def score_lower_bound(self, X: ArrayLike, *, n_draws: int = 32) -> np.ndarray:
        """Variational lower bound of the log-density of each row, without solving the flow.

        It bounds the density of the stochastic reverse process, not of the flow; for an exact
        score both are the density of the rows, and the bound is tight.  It needs no divergence
        and no solver.  For a row it is an estimate, with the same draws at every call; errors
        of different rows are independent, so that its mean is far more exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        n_draws : int in [1, inf), default=32
            Levels; two evaluations of the network each.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats, of rows in the units of X.

        References
        ----------
        Kingma, Salimans, Poole and Ho (2021). Variational diffusion models.
        """
        n_draws = check_n_samples(n_draws, "n_draws")
        trained = self._trained()
        return trained.lower_bound(check_rows(self, X), n_draws, self._probe_seed)

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Mean log-density of the rows, in nats; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        values = self.score_samples(X)
        return float(np.average(values, weights=check_weights(sample_weight, len(values))))

    # -- samples -----------------------------------------------------------------------------

    @contained
    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        method: str | ReverseSampler = DEFAULT_METHOD,
        n_steps: int | None = None,
        return_states: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw rows, from noise down the levels.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.
        method : str or ReverseSampler, default="adams"
            A key of :data:`skscore.samplers.REVERSE_SAMPLERS`, or one of its members with
            parameters of its own.
        n_steps : int in [1, inf) or None, default=None
            None takes the method's own number.
        return_states : bool, default=False
            Whether to return where the rows were at every step.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
        states : ndarray of shape (n_steps + 1, n_samples, n_features)
            Only with `return_states`: ``y = cos(theta) x_0 + sin(theta) eps`` in the units of X,
            from draws of the Gaussian fit to the standardised rows.
        thetas : ndarray of shape (n_steps + 1,)
            Only with `return_states`: the angle of each state, pi/2 for pure noise.
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        check_parameters(self)
        sampler = reverse_sampler(method)
        n_steps = sampler.n_steps if n_steps is None else check_n_samples(n_steps, "n_steps")
        rng = np.random.RandomState(self._stream.next(random_state))
        angles, seed = self._angles(sampler, n_steps), int(rng.randint(2**31 - 1))
        path = self._trained().run_reverse(sampler, n_samples, angles, seed, return_states)
        z, name = self._standardizer, type(self).__name__
        rows = check_finite_draws(z.inverse_transform(array(path.draws)), name)
        if path.states is None:
            return rows
        states = np.stack([z.inverse_transform(array(y)) for y in path.states])
        return rows, states, np.array(angles)
