"""The density of transformed rows, carried back to the space of the rows themselves.

With ``y = T(x)`` and a density q of y, the density of x is that of the algebra of changes of
variables, divided by the mass that q has on what T reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import apply_in_chunks
from skscore._changes.algebra import Chain
from skscore._estimators.callables import ChainRun, ReverseRun
from skscore._estimators.draws import draw_enough
from skscore._estimators.score_sources import ScoreSource
from skscore._messages import name_columns, warn_user
from skscore._validation import (
    finite_results,
    integer_seeds,
    metric_for,
    rows_like,
    unwrapped,
    without_rows,
)
from skscore.compose._scikit import chain_of
from skscore.compose._steps import check_round_trip, scored, warn_of_jumps
from skscore.exceptions import SupportWarning
from skscore.samplers import Chains

_MASS_DRAWS = 10_000
_ENTRIES = 2**22  # of the matrices of one chunk


@dataclass(frozen=True)
class Passage:
    """Fitted transformers as a change of variables, with the container of what they return.

    Parameters
    ----------
    change : Chain
    columns : data frame without rows, or None
        Of transformed rows; None where these are an array.
    """

    change: Chain
    columns: Any

    def enter(self, X: np.ndarray) -> Any:
        """Transformed rows, in the container that the last step was fitted to."""
        return rows_like(self.columns, self.change.transform(X))

    def leave(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transformed rows carried back, those in the image, and which these are, (n,)."""
        inside = self.change.reaches(rows)
        if not inside.any():
            return np.empty((0, rows.shape[1])), inside
        return self.change.inverse_transform(rows[inside]), inside

    def supported(self, X: np.ndarray) -> np.ndarray:
        """Rows unchanged, or an error where one of them lies outside the domain."""
        inside = self.change.inside(X)
        if not inside.all():
            raise ValueError(
                f"Row {int(np.argmin(inside))} of X lies outside the support of the density, what "
                "the transformers take, and has no score there. score_samples is minus infinity."
            )
        return X


def passage_through(
    transformers: list[tuple[str, Any]], look: Any, names: list[str], output: Any
) -> Passage:
    """Fitted transformers, tried on some rows as they were given; `output` is what they return.

    From here to the end of the current context the columns are called what they became.
    """
    change = chain_of(transformers, look)
    steps = [step for _, step in transformers if step not in (None, "passthrough")]
    check_round_trip(change, np.asarray(look, dtype=np.float64), steps)
    warn_of_jumps(change.jumps(names))
    if steps:
        name_columns(change.names(names))
    return Passage(change, without_rows(output))


@dataclass(frozen=True)
class CarriedDensity:
    """A fitted last step as a density of the rows X, float64 arrays (n, d).

    A `sigma` is a noise level of the last step's score, in its coordinates; None is its own.

    Parameters
    ----------
    part : estimator
        The fitted last step, with a score.
    passage : Passage
        The way to its rows and back.
    mass, mass_std_error : float
        Probability that the part gives to the image, and its standard error.
    """

    part: Any
    passage: Passage
    mass: float
    mass_std_error: float

    @property
    def change(self) -> Chain:
        """The change of variables to the rows of the last step."""
        return self.passage.change

    def log_density(self, X: np.ndarray) -> np.ndarray:
        """``log q(T(x)) + log |det J| - log mass``, (n,); minus infinity outside the support."""
        inside = self.change.inside(X)
        values = np.full(len(X), -np.inf)
        if inside.any():
            rows = X[inside]
            latent = np.asarray(self.part.score_samples(self.passage.enter(rows)))
            values[inside] = latent + self.change.log_det(rows) - math.log(self.mass)
        if not inside.all():
            warn_user(
                f"{np.sum(~inside)} of {len(X)} rows lie outside the support of the density, what "
                "the transformers take: their log-density is minus infinity. The first is row "
                f"{int(np.argmin(inside))}.",
                SupportWarning,
            )
        self._finite(np.where(np.isneginf(values), 0.0, values), "score_samples")
        return values

    def score(self, X: np.ndarray, sigma: float | None) -> np.ndarray:
        """``J' s(T(x)) + grad log |det J|``, (n, d)."""
        rows = self.passage.enter(self.passage.supported(X))
        scores = self.part.score_function(rows, **_level(sigma))
        return self._finite(self.change.pull_score(X, scores), "score_function")

    def score_divergence(
        self, X: np.ndarray, sigma: float | None, metric: ArrayLike | None
    ) -> np.ndarray:
        """``tr(metric grad s)``, (n,)."""
        X = self.passage.supported(X)
        M = metric_for(X, metric)

        def divergence(index: np.ndarray) -> np.ndarray:
            x, metrics = X[index], M if M.ndim == 2 else M[index]
            here = self.change.at(x)
            y = rows_like(self.passage.columns, here.image)
            pushed = self._finite(here.push_metric(metrics), "score_divergence")
            scores = self.part.score_function(y, **_level(sigma))
            latent = self.part.score_divergence(y, **_level(sigma), metric=pushed)
            return latent + here.curvature(scores, metrics)

        chunk = max(1, _ENTRIES // X.shape[1] ** 2)
        values = apply_in_chunks(divergence, np.arange(len(X)), chunk)
        return self._finite(values, "score_divergence")

    def denoise(self, X: np.ndarray, sigma: float | None, names: list[str]) -> np.ndarray:
        """The posterior mean of the transformed row, carried back; `names` are of the columns."""
        rows, named = self.passage.enter(self.passage.supported(X)), copy_context()
        named.run(name_columns, self.change.names(names))  # for what the last step has to say
        clean = np.asarray(named.run(self.part.denoise, rows, **_level(sigma)))
        return finite_results(self.change.inverse_transform(clean), "denoise")

    def sample(self, n_samples: int, random_state: Any) -> np.ndarray:
        """Draws of the last step carried back, again where they are no rows of X."""
        seed = random_state

        def draw(n: int) -> np.ndarray:
            nonlocal seed
            latent = np.asarray(self.part.sample(n, random_state=seed))
            seed = None if seed is None else integer_seeds(seed, 2)[1]
            return self.passage.leave(latent)[0]

        return draw_enough(draw, n_samples, self.mass)

    def warn_of_ends(self) -> None:
        """Say where Hyvarinen's criterion may mislead: at the ends of a support."""
        if not self.change.everywhere:
            warn_user(
                "Hyvarinen's criterion holds for densities that vanish at the ends of their "
                "support, and the transformers of this DensityPipeline give it ends. Where rows "
                "crowd there it may prefer a wrong model: compare by log-likelihood, with a last "
                "step that has score_samples.",
                SupportWarning,
            )

    def _finite(self, values: np.ndarray, name: str) -> np.ndarray:
        if not self.change.exact:
            name += " (by differences: a transformer here has no formula for its Jacobian, and"
            name += " steps fail next to an end of its domain)"
        return finite_results(values, name)


def carried_density(final: Any, passage: Passage, look: np.ndarray) -> CarriedDensity:
    """A fitted last step as a density of the rows; `look` shows some that it was fitted to."""
    part = scored(final)
    if part is not unwrapped(final):  # differences of a density need some rows
        inside = look[passage.change.inside(look)]
        part = part.fit(passage.enter(inside))
    return CarriedDensity(part, passage, *_mass_of_image(final, part, passage.change))


def _mass_of_image(final: Any, part: Any, change: Chain) -> tuple[float, float]:
    """Probability that a density gives to the image of the transformers, and its standard error."""
    if change.onto or not hasattr(part, "score_samples"):
        return 1.0, 0.0
    if not hasattr(part, "sample"):
        raise ValueError(
            "The transformers of this DensityPipeline do not reach all of the space, so the "
            "density must be divided by its mass on what they reach. That takes draws, and "
            f"{final!r} has no `sample`."
        )
    draws = np.asarray(part.sample(_MASS_DRAWS, random_state=0))
    mass = float(change.reaches(draws).mean())
    if mass == 0:
        raise ValueError(
            f"None of {_MASS_DRAWS} draws of the last step are in the image of the "
            "transformers: the density is far off, and cannot be divided by its mass there."
        )
    return mass, math.sqrt(mass * (1 - mass) / _MASS_DRAWS)


def _level(sigma: float | None) -> dict[str, float]:
    return {} if sigma is None else {"sigma": sigma}


class CarriedSource(ScoreSource):
    """The source of a pipeline's last step, in its space, entered and left by transformers.

    Parameters
    ----------
    source : ScoreSource
        Of the last step.
    check : callable
        Takes X to its rows (n, d) as an array, checked.
    passage : Passage
        From rows of X to those of the last step, and back.
    """

    def __init__(
        self, source: ScoreSource, check: Callable[[ArrayLike], np.ndarray], passage: Passage
    ) -> None:
        super().__init__(source.part)
        self._source, self._check, self._passage = source, check, passage
        self.all_levels = source.all_levels

    def level(self, sigma: float | None) -> float | None:
        return self._source.level(sigma)

    def enter(self, X: ArrayLike) -> np.ndarray:
        rows = self._passage.supported(self._check(X))
        return self._source.enter(self._passage.enter(rows))

    def leave(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, kept = self._source.leave(rows)
        rows, inside = self._passage.leave(rows)
        kept[kept] = inside
        return rows, kept

    def starts(self, n: int, rng: np.random.RandomState) -> np.ndarray | None:
        return self._source.starts(n, rng)

    def run_chains(
        self, run: ChainRun, starts: np.ndarray, rng: np.random.RandomState
    ) -> tuple[np.ndarray, Chains]:
        return self._source.run_chains(run, starts, rng)

    def run_reverse(self, run: ReverseRun, rng: np.random.RandomState) -> np.ndarray:
        return self._source.run_reverse(run, rng)
