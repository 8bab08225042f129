"""Scores that are functions of arrays: coordinates for chains by them, and their levels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skscore._backend.convert import array
from skscore._backend.evaluators import run_callable_chains
from skscore.noise import VarianceExploding, solver_angles
from skscore.samplers import Chains, ReverseSampler, Sampler

_LEAST_EIGENVALUE = 1e-14  # of a correlation matrix


Shown = tuple[np.ndarray, float]
"""Location (d,) and root mean square deviation of rows that a sampler was shown."""


@dataclass(frozen=True)
class ChainRun:
    """Chains by a score at one noise level (None where none is known), and how long they are."""

    sampler: Sampler
    sigma: float | None
    burn_in: int | None
    thin: int
    n_draws: int = 1

    def of(self, n_draws: int) -> ChainRun:
        """The same with so many draws of every chain."""
        return replace(self, n_draws=n_draws)

    @property
    def steps(self) -> dict[str, int | None]:
        """What :func:`skscore.samplers.run_chains` is told of their length."""
        return {"burn_in": self.burn_in, "thin": self.thin, "n_draws": self.n_draws}


@dataclass(frozen=True)
class ReverseRun:
    """Draws from noise down all levels."""

    sampler: ReverseSampler
    n_samples: int
    n_steps: int
    shown: Shown | None


@dataclass(frozen=True)
class Coordinates:
    """``x = location + F z`` with a factor F and its inverse, (d, d)."""

    location: np.ndarray | float
    factor: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, d: int, location: np.ndarray | float = 0.0, scale: float = 1.0) -> Coordinates:
        """Shifted, and all columns divided by one number."""
        return cls(location, scale * np.eye(d), np.eye(d) / scale)

    @classmethod
    def decorrelated(cls, location: np.ndarray, covariance: np.ndarray) -> Coordinates:
        """Those in which a covariance is the identity; columns are first brought to one scale."""
        scale = np.sqrt(covariance.diagonal())
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        roots = np.sqrt(np.maximum(values, _LEAST_EIGENVALUE))
        return cls(location, scale[:, None] * vectors * roots, (vectors / roots).T / scale)

    def enter(self, x: np.ndarray) -> np.ndarray:
        """z of rows x, (n, d)."""
        return (x - self.location) @ self.inverse.T

    def leave(self, z: np.ndarray) -> np.ndarray:
        """Rows x of z, (n, d)."""
        return self.location + z @ self.factor.T

    def score(self, scores: np.ndarray) -> np.ndarray:
        """Scores of z from those of x, (n, d)."""
        return scores @ self.factor


def seed_of(rng: np.random.RandomState) -> int:
    """A seed for torch."""
    return int(rng.randint(2**31 - 1))


def descent(run: ReverseRun) -> tuple[list[float], tuple[float, float]]:
    """Angles of the steps of a score that brings no process of its own, and the range of levels."""
    process = VarianceExploding()
    first = {"from_infinity": run.sampler.from_infinity}
    grid = run.sampler.grid or process.grid
    angles = solver_angles(grid, process, run.n_steps, *process.sigma_range, **first)
    return angles, process.sigma_range


def chains_by(
    score: Callable[[np.ndarray], Any],
    coordinates: Coordinates,
    run: ChainRun,
    starts: np.ndarray,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, Chains]:
    """Chains by a score of rows x, in the coordinates z."""
    enter, leave = coordinates.enter, coordinates.leave

    def standardized_score(z: np.ndarray) -> np.ndarray:
        return coordinates.score(checked_scores(score(leave(z)), z))

    chains = run_callable_chains(
        run.sampler, standardized_score, enter(starts), seed_of(rng), **run.steps
    )
    return leave(array(chains.draws)), chains


def checked_scores(scores: Any, rows: np.ndarray) -> np.ndarray:
    """Scores as float64, of the shape of their rows."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != rows.shape:
        raise ValueError(
            f"The score must return an array of the shape of its rows, {rows.shape}. "
            f"Got {scores.shape} instead."
        )
    return scores


def at_level(score: Callable[..., Any], sigma: float | None) -> Callable[[np.ndarray], Any]:
    """A score of every level, at one."""
    return lambda rows: score(rows, np.full((len(rows), 1), sigma))


def at_own_level(score: Callable[..., Any], sigma: float | None) -> Callable[[np.ndarray], Any]:
    """A score that may be told its level."""
    return partial(score, sigma=sigma) if sigma is not None and takes_sigma(score) else score


def _parameters(score: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(score).parameters.values())
    except ValueError:  # a callable that does not say what it takes
        return []


def takes_sigma(score: Callable[..., Any]) -> bool:
    """Whether there is an argument of that name."""
    return "sigma" in [parameter.name for parameter in _parameters(score)]


def takes_levels(score: Callable[..., Any]) -> bool:
    """Whether a callable is a score of every level, of (X, sigma)."""
    for second in _parameters(score)[1:2]:
        needed = second.default is inspect.Parameter.empty
        return needed or (second.name == "sigma" and second.default is not None)
    return False
