"""What sampling needs besides a sampler: starts of chains, seeds, and the rows that come out."""

from __future__ import annotations

import os
import threading
from numbers import Integral
from typing import Any

import numpy as np

from skscore._validation import integer_seeds
from skscore.exceptions import SamplingDivergedError

MAX_STARTS = 10_000
"""Most training rows kept as starts of Markov chains."""
_FAR = 1e4

_counting = threading.Lock()
_HERE = int(np.random.SeedSequence().generate_state(1)[0])  # tells apart processes of one number


def _process() -> tuple[int, int]:
    return os.getpid(), _HERE


class SamplingStream:
    """Seeds for calls of `sample` without one: two integers, a seed and a counter.

    A copy in the same process goes on where the stream was.  One that is unpickled in another
    process, or forked into it, starts anew from fresh entropy: copies that are sent to workers
    would all draw the same else.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.counter, self.process = seed, 0, _process()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_anew_elsewhere()

    def _start_anew_elsewhere(self) -> None:
        if self.process != _process():
            seed = int(np.random.SeedSequence().entropy)
            self.seed, self.counter, self.process = seed, 0, _process()

    def next(self, random_state: Any) -> int:
        """A seed from `random_state`, or the next one of the stream where that is None."""
        if random_state is not None:
            return integer_seeds(random_state, 1)[0]
        with _counting:
            self._start_anew_elsewhere()
            self.counter += 1
            words = np.random.SeedSequence([self.seed, self.counter]).generate_state(1)
        return int(words[0])


def check_n_samples(n_samples: Any, name: str = "n_samples") -> int:
    """Refuse a number of samples (steps, draws) that is not a positive whole number."""
    whole = isinstance(n_samples, Integral) and not isinstance(n_samples, bool)
    if not whole or n_samples < 1:
        raise ValueError(f"{name} must be an int in the range [1, inf). Got {n_samples!r} instead.")
    return int(n_samples)


def resample(
    rows: np.ndarray, weights: np.ndarray | None, size: int, rng: np.random.RandomState
) -> np.ndarray:
    """At most `size` rows that stand for weighted ones, all alike afterwards.

    Equal weights (None) give the rows themselves, or a subset without repeats; others
    give systematic draws, whose numbers are within one of the exact shares.
    """
    if weights is None:
        if len(rows) > size:
            rows = rows[np.sort(rng.choice(len(rows), size, replace=False))]
        return np.array(rows, dtype=np.float64)
    shares = np.cumsum(weights) / np.sum(weights)
    points = (np.arange(size) + rng.uniform()) / size
    index = np.minimum(np.searchsorted(shares, points), len(rows) - 1)
    return np.asarray(rows[index], dtype=np.float64)


def merged_starts(
    starts: np.ndarray,
    n_seen: float,
    rows: np.ndarray,
    weights: np.ndarray | None,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Starts that stand for `n_seen` earlier rows together with new weighted ones."""
    weights = np.ones(len(rows)) if weights is None else weights
    together = np.concatenate([np.full(len(starts), n_seen / len(starts)), weights])
    even = None if (together == together[0]).all() else together
    return resample(np.concatenate([starts, rows]), even, MAX_STARTS, rng)


def pick(starts: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
    """`size` starts at random, each as often as any other (to within one)."""
    rounds = -(-size // len(starts))
    order = np.concatenate([rng.permutation(len(starts)) for _ in range(rounds)])
    return starts[order[:size]]


def check_draws(draws: np.ndarray, starts: np.ndarray, step_size: float, owner: str) -> np.ndarray:
    """Refuse draws of chains that blew up: not finite, or beyond all comparison with the starts."""
    centre = starts.mean(axis=0)
    spread = np.abs(starts - centre).max() or np.abs(centre).max() or 1.0
    lost = ~(np.abs(draws - centre) < _FAR * spread).all(axis=1)
    if lost.any():
        raise SamplingDivergedError(
            f"{lost.sum()} of {len(draws)} draws of {owner} are not finite or lie over {_FAR:g} "
            "times as far out as the starts: the chains blew up, or the score is not finite. The "
            f"step size was {step_size:g}; use ScoreBasedSampler with a smaller step_size, or "
            "starts nearer to the data."
        )
    return draws


def check_finite_draws(draws: np.ndarray, owner: str) -> np.ndarray:
    """Refuse draws from noise that are not finite."""
    lost = ~np.isfinite(draws).all(axis=1)
    if lost.any():
        raise SamplingDivergedError(
            f"{lost.sum()} of {len(draws)} draws of {owner} are not finite: the score is not "
            "finite somewhere on the way from noise, or the steps are too few. Take more n_steps, "
            "and look at the score far from the rows and at large noise levels."
        )
    return draws
