"""What sampling needs besides a sampler: starts of chains, seeds, and the rows that come out."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skscore._backend.batches import Portion
from skscore._messages import warn_user
from skscore._rows import drawn_index
from skscore._validation import integer_seeds
from skscore.exceptions import SamplingDivergedError, SlowMixingWarning
from skscore.metrics._copying import nearest_distances, whitener
from skscore.samplers import Chains

MAX_STARTS = 10_000
"""Most training rows kept as starts of Markov chains."""


_FAR = 1e4
_MOST_DRAWS = 1000  # for one row that is not lost, before giving up
_COPIES, _LEAST_CHAINS, _MOST_CHAINS = 0.05, 50, 500  # share that is warned of; chains looked at


_counting = threading.Lock()


_HERE = int(np.random.SeedSequence().generate_state(1)[0])  # tells apart processes of one number


def this_process() -> tuple[int, int]:
    """What tells this process apart from all others."""
    return os.getpid(), _HERE


HOME = this_process()
"""The process that has imported the package; one that is forked from it has another number."""


def _fresh_entropy() -> int:
    return sum(int(w) << 32 * i for i, w in enumerate(np.random.SeedSequence().generate_state(4)))


class SamplingStream:
    """Seeds for calls of `sample` without one: two integers, a seed and a counter.

    A copy in the same process goes on where the stream was.  One that is unpickled in another
    process, or forked into it, starts anew from fresh entropy: copies that are sent to workers
    would all draw the same else.  `process` is where the owner of a stream comes from.
    """

    def __init__(self, seed: int, process: tuple[int, int] | None = None) -> None:
        self.seed, self.counter = seed, 0
        self.process = this_process() if process is None else process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_anew_elsewhere()

    def _start_anew_elsewhere(self) -> None:
        if self.process != this_process():
            self.seed, self.counter, self.process = _fresh_entropy(), 0, this_process()

    def next(self, random_state: Any) -> int:
        """A seed from `random_state`, or the next one of the stream where that is None."""
        if random_state is not None:
            return integer_seeds(random_state, 1)[0]
        with _counting:
            self._start_anew_elsewhere()
            self.counter += 1
            words = np.random.SeedSequence([self.seed, self.counter]).generate_state(1)
        return int(words[0])


def resample(
    rows: np.ndarray, weights: np.ndarray | None, size: int, rng: np.random.RandomState
) -> np.ndarray:
    """At most `size` rows that stand for weighted ones, all alike afterwards."""
    index = drawn_index(Portion(np.arange(len(rows)), weights), size, rng)
    return rows[index].astype(np.float64)


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


def draw_enough(
    draw: Callable[[int], np.ndarray], n_samples: int, share: float = 1.0
) -> np.ndarray:
    """Rows from draws of which some are lost, again until there are `n_samples`.

    ``draw(n)`` gives the rows that are left of n draws; `share` is how many these should be.
    """
    rows, n_drawn, missing = [], 0, n_samples
    while missing:
        n = missing if share == 1 else math.ceil(1.1 * missing / share)
        kept = draw(n)[:missing]
        n_drawn, missing = n_drawn + n, missing - len(kept)
        if len(kept):
            rows.append(kept)
        if missing and n_drawn > _MOST_DRAWS * n_samples:
            raise ValueError(
                f"Of {n_drawn} draws of the last step only {n_samples - missing} are in the "
                "image of the transformers: the density is far off."
            )
        share = max((n_samples - missing) / n_drawn, 0.01)
    return np.concatenate(rows)


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


def warn_of_copies(draws: np.ndarray, starts: np.ndarray, rows: np.ndarray, owner: str) -> None:
    """Warn where draws lie nearer to their own starts than all other `rows` do.

    Of chains that have forgotten their starts, one in ``len(rows)`` does by chance.
    """
    k = min(len(draws), _MOST_CHAINS)
    if min(k, len(rows)) < _LEAST_CHAINS:
        return
    W = whitener(rows)
    moved = np.linalg.norm((draws[:k] - starts[:k]) @ W, axis=1)
    gaps = nearest_distances(starts[:k] @ W, rows @ W, k=2)[:, 1]  # the nearest is the start itself
    share = np.mean(moved < gaps)
    if share > _COPIES + 3 / len(rows):
        displacement = np.sqrt(np.mean(moved**2) / rows.shape[1])
        warn_user(
            f"{share:.0%} of the draws of {owner} lie nearer to the row that their chain started "
            "from than any other row does: they are near-copies of it. Their root mean square "
            f"displacement is {displacement:.2g} standard deviations, of independent rows it is "
            "1.4. Fit at a larger sigma, or to more rows; or let ScoreBasedSampler take a larger "
            "burn_in.",
            SlowMixingWarning,
        )


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


@dataclass(frozen=True)
class Run:
    """Chains, the draws and the starts of theirs that are rows of X, and which these are."""

    chains: Chains
    rows: np.ndarray
    kept: np.ndarray
    starts: np.ndarray
    started: np.ndarray

    def moves(self) -> np.ndarray:
        """From the start of a chain to its last draw, where both are rows of X."""
        n_chains = len(self.started)
        both = self.started & self.kept[-n_chains:]
        last, first = np.cumsum(self.kept)[-n_chains:] - 1, np.cumsum(self.started) - 1
        return self.rows[last[both]] - self.starts[first[both]]

    def r_hat(self) -> np.ndarray | None:
        """Split R-hat, where all draws are rows of X."""
        if not self.kept.all():
            return None
        return split_r_hat(self.rows.reshape(-1, len(self.started), self.rows.shape[1]))


def displacement(runs: list[Run]) -> np.ndarray | None:
    """Root mean square move of chains by column, (d,); None where no move is known."""
    moves = np.concatenate([run.moves() for run in runs])
    return np.sqrt(np.mean(moves**2, axis=0)) if len(moves) else None


def split_r_hat(draws: np.ndarray) -> np.ndarray | None:
    """Potential scale reduction of (n_draws, n_chains, d) with every chain cut in two."""
    half = len(draws) // 2
    if half < 2 or draws.shape[1] < 2:
        return None
    halves = np.concatenate([draws[:half], draws[half : 2 * half]], axis=1)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = halves.mean(axis=0).var(axis=0, ddof=1)
    safe = np.where(within > 0, within, 1.0)
    return np.where(within > 0, np.sqrt((half - 1) / half + between / safe), 1.0)
