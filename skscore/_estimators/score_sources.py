r"""What a sampler asks of what it samples, and the members that answer.

A *source* stands between :class:`skscore.ScoreBasedSampler` and a score.  It says at which noise
levels the score is known, where chains start and in which coordinates they move, and runs them.

Rows of a source are in its own *space*: that of X, or of the last step of a pipeline.  A chain
that moves at a level does so in coordinates in which its noise is ``N(0, sigma^2 I)``, so that
the jump of a walk-jump is right.  Where nothing is noised, coordinates are free, and those in
which the rows are uncorrelated let chains move fastest:

    x = location + F z,    score of z = F' (score of x).

To add a member, write its class and register it with :func:`score_source`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import array
from skscore._backend.evaluators import run_callable_reverse, run_field_reverse
from skscore._densities import CLOSED_FORMS, has_edges
from skscore._estimators.base import BaseScoreEstimator
from skscore._estimators.callables import (
    ChainRun,
    Coordinates,
    ReverseRun,
    at_level,
    at_own_level,
    chains_by,
    checked_scores,
    descent,
    seed_of,
    takes_levels,
    takes_sigma,
)
from skscore._estimators.density import DensityScoreEstimator
from skscore._estimators.diffusion import DiffusionScoreEstimator
from skscore._estimators.draws import MAX_STARTS
from skscore._validation import check_fitted, check_rows, unnamed
from skscore.exceptions import SamplingDivergedError
from skscore.samplers import Chains, ReverseSampler

_LEAST_STARTS = 1000  # own draws, that steps may be measured at and chains start from


class ScoreSource(ABC):
    """Contract: levels, starts, chains, and draws from noise where all levels are known.

    Parameters
    ----------
    part : estimator or callable
        What the score is one of.
    """

    all_levels = False
    """Whether the score is known at every noise level, and so `run_reverse` there."""

    def __init__(self, part: Any) -> None:
        self.part = part

    @abstractmethod
    def level(self, sigma: float | None) -> float | None:
        """Level of Gaussian noise of the score that chains move by, for the one asked for.

        None is the score of the rows themselves, or one that no level is known of.
        """

    def enter(self, X: ArrayLike) -> np.ndarray:
        """Rows of X, checked, in the space of the source, (n, d)."""
        known = hasattr(self.part, "n_features_in_")
        return np.asarray(check_rows(self.part, X) if known else X, dtype=np.float64)

    def leave(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the space in the units of X, (m, d), and which of them (n,) have one there."""
        return rows, np.ones(len(rows), dtype=bool)

    def starts(self, n: int, rng: np.random.RandomState) -> np.ndarray | None:
        """Rows of the space for n chains to start from: kept training rows, else own draws."""
        if hasattr(self.part, "chain_starts_"):
            return self.part.chain_starts_
        if not hasattr(self.part, "sample"):
            return None
        n = min(max(n, _LEAST_STARTS), MAX_STARTS)
        return np.asarray(self.part.sample(n, random_state=rng), dtype=np.float64)

    @abstractmethod
    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        """Chains at a level from rows of the space: draws (n_draws * n_chains, d), and a record."""

    def run_reverse(self, run: ReverseRun, rng: np.random.RandomState) -> np.ndarray:
        """Draws (n_samples, d) from noise, down all levels."""
        raise self.refusal(run.sampler)

    def refusal(self, sampler: ReverseSampler) -> ValueError:
        """What to say where the score is not known at all levels."""
        return ValueError(
            f"{type(sampler).__name__} needs the score at every noise level: that of a "
            "DiffusionScoreEstimator, of a DensityScoreEstimator with a closed form "
            f"({CLOSED_FORMS}), or a callable score(X, sigma). Got {self.part!r}: "
            "use method='langevin' or 'walk_jump'."
        )


@singledispatch
def score_source(part: Any) -> ScoreSource:
    """The source of a score estimator (fitted to be sampled), or of a callable score.

    Parameters
    ----------
    part : estimator or callable
        Not wrapped in a ``FrozenEstimator`` or a search.

    Raises
    ------
    ValueError
        For what has no score.
    """
    if hasattr(part, "score_function"):
        return EstimatorSource(part)
    if callable(part) and not hasattr(part, "fit"):
        return CallableSource(part)
    raise ValueError(
        "The 'estimator' parameter of ScoreBasedSampler must be an estimator with `fit` and "
        "`score_function`, such a one in a FrozenEstimator or a search, or a callable score. "
        f"Got {part!r}: put scikit-learn's densities into a DensityScoreEstimator, and use "
        "DensityPipeline in place of Pipeline."
    )


# -- trained estimators -------------------------------------------------------------------------


class TrainedSource(ScoreSource):
    """A trained estimator of one score, in its standardised coordinates."""

    def level(self, sigma: float | None) -> float | None:
        check_fitted(self.part)
        known = getattr(self.part, "sigma_", None)
        if sigma is not None and sigma != known:
            raise ValueError(_other_level(self.part, known, sigma))
        return known if getattr(self.part, "noise", "gaussian") == "gaussian" else None

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        return self.part._trained().run_chains(run.sampler, starts, rng, run.sigma, **run.steps)


@score_source.register
def _(part: BaseScoreEstimator) -> ScoreSource:
    return TrainedSource(part)


class DiffusionSource(TrainedSource):
    """A trained estimator of the scores of all levels."""

    all_levels = True

    def level(self, sigma: float | None) -> float:
        return self.part._check_sigma(sigma)

    def run_reverse(self, run: ReverseRun, rng: np.random.RandomState) -> np.ndarray:
        return np.asarray(
            self.part.sample(run.n_samples, rng, method=run.sampler, n_steps=run.n_steps)
        )


@score_source.register
def _(part: DiffusionScoreEstimator) -> ScoreSource:
    return DiffusionSource(part)


# -- densities ----------------------------------------------------------------------------------


class ClosedFormSource(ScoreSource):
    """A mixture of Gaussians, known at all levels; these are in the units of X."""

    all_levels = True

    def level(self, sigma: float | None) -> float | None:
        check_fitted(self.part)
        return sigma

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        law, d = self.part._law(sigma=run.sigma), starts.shape[1]
        coordinates = _decorrelated(self.part) if run.sigma is None else Coordinates.of(d)
        return chains_by(law.score, coordinates, run, starts, rng)

    def run_reverse(self, run: ReverseRun, rng: np.random.RandomState) -> np.ndarray:
        check_fitted(self.part)
        z, shape = _decorrelated(self.part), (run.n_samples, self.part.n_features_in_)
        field = self.part._law().field(z.location, z.inverse)
        path = run_field_reverse(run.sampler, field, shape, descent(run)[0], seed_of(rng))
        return z.leave(array(path.draws))


class DifferencesSource(ScoreSource):
    """A density of which only the log-density is known, and only without noise."""

    def __init__(self, part: DensityScoreEstimator) -> None:
        super().__init__(part)
        density = part._density()
        if has_edges(density):
            raise ValueError(
                f"ScoreBasedSampler cannot sample {density!r}: a density with the kernel "
                f"{density.kernel!r} ends at edges and has no score there, and chains run over "
                "them. Use kernel='gaussian' or 'exponential'; DensityScoreEstimator draws from a "
                "tophat kernel without a score."
            )

    def level(self, sigma: float | None) -> None:
        check_fitted(self.part)
        if sigma is not None:
            raise ValueError(_other_level(self.part._density(), None, sigma))

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        score = partial(_within_support, self.part._law().score)
        return chains_by(score, _decorrelated(self.part), run, starts, rng)


@score_source.register
def _(part: DensityScoreEstimator) -> ScoreSource:
    return ClosedFormSource(part) if part._has_closed_form() else DifferencesSource(part)


def _within_support(score: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    scores = score(rows)
    lost = ~np.isfinite(scores).all(axis=1)
    if lost.any():
        raise SamplingDivergedError(
            f"{lost.sum()} of {len(rows)} chains left the support of the density, or came to its "
            "edge: it has no score there. Langevin steps are for densities that are positive "
            "everywhere; a transformer that takes the support to the whole space (such as "
            "BoundedTransformer in a DensityPipeline) makes one of another."
        )
    return scores


# -- estimators of others, and callables ------------------------------------------------------


class EstimatorSource(ScoreSource):
    """Any estimator with a `score_function`, which may take a level as `sigma`.

    Where it has a `covariance_`, chains move in the coordinates that this decorrelates, and
    levels are understood there.
    """

    def level(self, sigma: float | None) -> float | None:
        known = getattr(self.part, "sigma_", None)
        if sigma is None or known is None or takes_sigma(self.part.score_function):
            return known if sigma is None else sigma
        if sigma != known:
            raise ValueError(_other_level(self.part, known, sigma))
        return known

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        score = at_own_level(unnamed(self.part).score_function, run.sigma)
        known = hasattr(self.part, "covariance_") and hasattr(self.part, "location_")
        z = _decorrelated(self.part) if known else Coordinates.of(starts.shape[1])
        return chains_by(score, z, run, starts, rng)


class CallableSource(ScoreSource):
    """A callable ``score(X)``, or ``score(X, sigma)`` of all levels, in the units of X.

    One whose `sigma` is None by default, such as the `score_function` of an estimator, is of the
    first kind, and is given the level that is asked for.
    """

    def __init__(self, part: Callable[..., Any]) -> None:
        super().__init__(part)
        self.all_levels = takes_levels(part)

    def level(self, sigma: float | None) -> float | None:
        if self.all_levels and sigma is None:
            raise ValueError(
                "A chain moves at one noise level, and the score is one of every level, score(X, "
                "sigma): pass sigma to ScoreBasedSampler, or use a sampler over all levels."
            )
        return sigma

    def starts(self, n: int, rng: np.random.RandomState) -> None:
        return None

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        score = (at_level if self.all_levels else at_own_level)(self.part, run.sigma)
        return chains_by(score, Coordinates.of(starts.shape[1]), run, starts, rng)

    def run_reverse(self, run: ReverseRun, rng: np.random.RandomState) -> np.ndarray:
        if not self.all_levels:
            raise self.refusal(run.sampler)
        if run.shown is None:
            raise ValueError(
                "ScoreBasedSampler does not know the location and scale of the rows that the "
                "score belongs to: pass some such rows as init, or to fit."
            )
        location, scale = run.shown
        z = Coordinates.of(len(location), location, scale)
        angles, levels = descent(run)

        def standardized_score(rows: np.ndarray, sigma: np.ndarray) -> np.ndarray:
            return z.score(checked_scores(self.part(z.leave(rows), scale * sigma), rows))

        shape = (run.n_samples, len(location))
        path = run_callable_reverse(
            run.sampler, standardized_score, shape, angles, levels, seed_of(rng)
        )
        return z.leave(array(path.draws))


# -- what the members share ---------------------------------------------------------------------


def _decorrelated(part: Any) -> Coordinates:
    return Coordinates.decorrelated(part.location_, part.covariance_)


def _other_level(part: Any, known: float | None, sigma: float) -> str:
    """What to say where a score is not known at the level that is asked for."""
    if known is None:
        return (
            "The 'sigma' parameter of ScoreBasedSampler, and of a WalkJump, must be a level that "
            f"the score is known at, and that of {part!r} is known without noise only: leave "
            f"sigma=None, and use method='langevin'. Got {sigma!r} instead."
        )
    return (
        "The 'sigma' parameter of ScoreBasedSampler must be the level that the estimator was "
        f"fitted at, {known}, or None. Got {sigma!r} instead."
    )
