"""The two ways of sampling a score: Markov chains at one level, and descents of all levels.

Which of them a method is, and whether a source has what it takes, is settled by
:func:`descending` and :func:`chain`; :func:`draw_down` and :func:`draw_chains` give the rows,
and the attributes in which :class:`~skscore.ScoreBasedSampler` says how they were drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skscore._estimators.all_levels import DEFAULT_METHOD
from skscore._estimators.callables import ChainRun, ReverseRun, Shown
from skscore._estimators.draws import (
    Run,
    check_draws,
    displacement,
    draw_enough,
    pick,
    warn_of_copies,
)
from skscore._estimators.score_sources import ScoreSource
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, ReverseSampler, Sampler

RECORD = ("n_steps_", "step_size_", "displacement_", "r_hat_")
"""Attributes that tell how the rows of the last call were drawn."""

_OWNER = "ScoreBasedSampler"

Method = str | Sampler | ReverseSampler
Drawn = tuple[np.ndarray, dict[str, Any]]
"""Rows (n, d), and the attributes to be set."""


def descending(method: Method, source: ScoreSource, for_chains: bool) -> ReverseSampler | None:
    """The method, where it goes down all levels: refused where the score does not know them.

    "auto" does where it can, unless there are parameters `for_chains`.
    """
    if method == "auto" and source.all_levels and not for_chains:
        method = DEFAULT_METHOD
    if isinstance(method, str) and method in REVERSE_SAMPLERS:
        method = REVERSE_SAMPLERS[method]()
    if not isinstance(method, ReverseSampler):
        return None
    if not source.all_levels:
        raise source.refusal(method)
    return method


def chain(
    method: Method, source: ScoreSource, sigma: float | None, step_size: float | None
) -> tuple[Sampler, float | None]:
    """The method, with those of the parameters that it knows, and the level of its score."""
    sigma = source.level(_asked_level(method, sigma))
    if isinstance(method, Sampler):
        return method, sigma
    name = str(method)
    if name == "auto":
        name = "kinetic_langevin" if sigma is None else "walk_jump"
    cls, given = SAMPLERS[name], {"sigma": sigma, "step_size": step_size}
    if "sigma" in cls._parameter_names() and sigma is None:
        raise ValueError(
            f"method={name!r} of {_OWNER} needs the noise level of the score, "
            f"and {source.part!r} has no sigma_. Pass sigma where it knows several, or use "
            "method='langevin'."
        )
    return cls(**{key: given[key] for key in cls._parameter_names() if key in given}), sigma


def _asked_level(method: Method, sigma: float | None) -> float | None:
    """The level asked for, or that of a method that is an object with one."""
    own = getattr(method, "sigma", None)
    if None not in (own, sigma) and own != sigma:
        raise ValueError(
            f"The 'sigma' parameter of {_OWNER} must be that of its method, "
            f"{method!r}, or None. Got {sigma!r} instead."
        )
    return sigma if own is None else own


def draw_down(
    source: ScoreSource,
    sampler: ReverseSampler,
    n_samples: int,
    n_steps: int | None,
    shown: Shown | None,
    rng: np.random.RandomState,
) -> Drawn:
    """Rows from noise, down all levels; `shown` are location and scale of rows of the law."""
    steps = n_steps or sampler.n_steps

    def draw(n: int) -> np.ndarray:
        return source.leave(source.run_reverse(ReverseRun(sampler, n, steps, shown), rng))[0]

    return draw_enough(draw, n_samples), {"n_steps_": steps}


def draw_chains(
    source: ScoreSource,
    run: ChainRun,
    starts: np.ndarray,
    n_samples: int,
    n_chains: int | None,
    rng: np.random.RandomState,
) -> Drawn:
    """Rows from chains, the first draw of every chain, then the second, and so on.

    `run` says how long they are; one chain moves for each row where `n_chains` is None.
    """
    runs: list[Run] = []

    def draw(n: int) -> np.ndarray:
        m = min(n_chains or n, n)
        begun = pick(starts, m, rng)
        drawn, chains = source.run_chains(run.of(-(-n // m)), begun, rng)
        check_draws(drawn, begun, chains.step_size, _OWNER)
        warn_of_copies(drawn[-m:], begun, starts, _OWNER)
        runs.append(Run(chains, *source.leave(drawn), *source.leave(begun)))
        return runs[-1].rows[: np.count_nonzero(runs[-1].kept[:n])]

    rows, first = draw_enough(draw, n_samples), runs[0]
    return rows, {
        "n_steps_": first.chains.n_steps,
        "step_size_": first.chains.step_size,
        "displacement_": displacement(runs),
        "r_hat_": first.r_hat(),
    }
