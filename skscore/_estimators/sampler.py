"""A sampler for any score: that of an estimator, fitted here or before, or a plain callable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._estimators.all_levels import DEFAULT_METHOD
from skscore._estimators.draws import (
    HOME,
    Run,
    SamplingStream,
    check_draws,
    check_finite_draws,
    displacement,
    draw_enough,
    pick,
    this_process,
    warn_of_copies,
)
from skscore._estimators.held import fit_part
from skscore._estimators.kinds import OneKindOfScore
from skscore._estimators.output import SetOutput, contained
from skscore._estimators.score_sources import ScoreSource, Shown, score_source
from skscore._validation import (
    FrozenEstimator,
    HasMethods,
    Interval,
    StrOptions,
    available_if,
    check_n_samples,
    check_parameters,
    first_rows,
    integer_seeds,
    unwrapped,
)
from skscore.exceptions import NotFittedError
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, ReverseSampler, Sampler

_OF_CHAINS = ("sigma", "step_size", "burn_in", "n_chains")


def _part_has(name: str) -> Callable[[ScoreBasedSampler], bool]:
    def check(self: ScoreBasedSampler) -> bool:
        getattr(_inner(self), name)
        return True

    return check


class ScoreBasedSampler(SetOutput, OneKindOfScore, BaseEstimator):
    """Draws rows from the score of an estimator, or from a callable score, by any method.

    ``estimator.sample(n)`` is this with its best defaults; here the method, its steps and the
    bookkeeping of chains can be set, and looked at afterwards.  Methods are of two kinds.
    *Markov chains* (``"walk_jump"``, ``"kinetic_langevin"``, ``"langevin"``) need one score and
    rows to start from.  *Reverse samplers* (``"heun"``, ``"ddpm"``, ...) need the score at every
    noise level and start from noise.

    Parameters
    ----------
    estimator : estimator with `score_function`, or callable
        An estimator is cloned and fitted by `fit`, unless it is wrapped in a
        ``FrozenEstimator``; of a search the best estimator is sampled.  A callable takes rows
        (n, d) and returns their scores (n, d); for reverse samplers also takes the standard
        deviation of the noise, (n, 1), as a second argument.  It needs `init`.
    method : "auto", str, Sampler or ReverseSampler, default="auto"
        A key of :data:`skscore.samplers.SAMPLERS` or
        :data:`skscore.samplers.REVERSE_SAMPLERS`, or one of their members.  "auto" is
        "heun" where the score is known at all levels and no parameter of chains is given,
        "walk_jump" where it is known at the given level, or at its own, of Gaussian noise, else
        "kinetic_langevin".
    sigma : float in (0, inf) or None, default=None
        Noise level of the score that chains move by, and that a walk-jump jumps from; None takes
        the estimator's `sigma_`, or the score without noise.
    n_steps : int in [1, inf) or None, default=None
        Steps of a reverse sampler; None takes its own number.
    step_size : float in (0, inf) or None, default=None
        Of chains; None leaves it to the method, see :mod:`skscore.samplers`.
    burn_in : int in [0, inf) or None, default=None
        Steps of a chain before its first draw.  None takes 20 to 1000, as many as the
        sampler needs to cover the starts' standard deviation with its step size; of
        "langevin" at least 100.
    thin : int in [1, inf), default=10
        Steps between two draws of a chain; reverse samplers have none.
    n_chains : int in [1, inf) or None, default=None
        None moves one chain for every row that is asked for.
    init : array-like of shape (n_starts, n_features) or None, default=None
        Rows for chains to start from, in the units of X; None takes the estimator's
        `chain_starts_`, or draws from an estimator that keeps none but can `sample`.  For a
        callable's reverse sampler they only tell location and scale.
    random_state : int, RandomState or None, default=None
        Of `fit` (where the estimator has none of its own) and of the sampling stream; copies in
        other processes, fitted or not, take a fresh stream.

    Attributes
    ----------
    estimator_ : estimator or callable
        The part whose score is used; a search as it was fitted.
    n_features_in_ : int
    n_steps_ : int
        Steps that each row or chain of the last call made.
    step_size_ : float
        Of the chains of the last call of `sample`, in its coordinates.
    displacement_ : ndarray of shape (n_features,) or None
        Root mean square distance between the starts of the last call and the chains' last
        draws, in units of X: near zero, the draws are hardly more than the starts.
    r_hat_ : ndarray of shape (n_features,) or None
        Split R-hat of the last call (Gelman and Rubin 1992), where there were at least two
        chains of four draws.  Above 1.05, no chain visits all that the chains together do;
        with separated modes that is so even where the starts give each its weight.

    Notes
    -----
    The chains of a trained estimator run in its standardised coordinates, in which
    `sigma` and `step_size` are then understood; those of other estimators with a
    `covariance_` in coordinates decorrelated by it; those of a callable in the units of X.

    A :class:`DensityScoreEstimator` over a mixture of Gaussians (``KernelDensity`` with the
    gaussian kernel too) is known at all levels in closed form.  Its `sigma` is in the units of X,
    as that of its `score_function`, and chains at a level move in these; without one they move
    in coordinates decorrelated by its `covariance_`.  Other densities have the score without
    noise only; kernels that end at edges have none there, and are refused.

    A :class:`DensityPipeline` is sampled in the coordinates of its last step, as that alone would
    be, and what is drawn is carried back by the inverse of the transformers.  There `sigma` and
    `step_size` are understood; `init`, `displacement_` and `r_hat_` are in the units of X.  Draws
    that no row of X leads to are drawn again, and `r_hat_` is then None.

    `step_size_`, `displacement_` and `r_hat_` are of chains only.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ScoreBasedSampler
    >>> starts = np.random.default_rng(0).normal(size=(500, 2))
    >>> sampler = ScoreBasedSampler(lambda X: -X, method="langevin", init=starts)
    >>> rows = sampler.sample(2000, random_state=0)
    >>> bool(np.abs(np.cov(rows.T) - np.eye(2)).max() < 0.15)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimator": [HasMethods(["fit"]), callable],
        "method": [StrOptions({"auto", *SAMPLERS, *REVERSE_SAMPLERS}), Sampler, ReverseSampler],
        "sigma": [Interval(Real, 0, None, closed="neither"), None],
        "n_steps": [Interval(Integral, 1, None, closed="left"), None],
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "burn_in": [Interval(Integral, 0, None, closed="left"), None],
        "thin": [Interval(Integral, 1, None, closed="left")],
        "n_chains": [Interval(Integral, 1, None, closed="left"), None],
        "init": ["array-like", None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        method: str | Sampler | ReverseSampler = "auto",
        *,
        sigma: float | None = None,
        n_steps: int | None = None,
        step_size: float | None = None,
        burn_in: int | None = None,
        thin: int = 10,
        n_chains: int | None = None,
        init: ArrayLike | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.sigma = sigma
        self.n_steps = n_steps
        self.step_size = step_size
        self.burn_in = burn_in
        self.thin = thin
        self.n_chains = n_chains
        self.init = init
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> ScoreBasedSampler:
        """Fit a clone of the estimator; with a frozen one or a callable, only validate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            For the estimator; of a pipeline, for all steps that take weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Before any training: for what has no score, a kernel density that ends at edges, or
            a method that needs levels that the score is not known at.
        """
        self.__dict__.pop("estimator_", None)
        check_parameters(self)
        source = score_source(unwrapped(self.estimator))  # before any training
        self._reverse_sampler(source)
        rows, described = first_rows(self, X)
        part = self.estimator
        if not self._is_ready():
            part = fit_part(part, X, self.random_state, sample_weight)
            score_source(unwrapped(part))  # a search may have chosen what has no score
        elif isinstance(part, FrozenEstimator):
            part = part.estimator
        stream, frame = (
            SamplingStream(integer_seeds(self.random_state, 2)[1]),
            location_and_scale(rows),
        )
        self.__dict__.update(described | {"_stream": stream, "_rows": frame, "estimator_": part})
        return self

    def __getstate__(self) -> dict[str, Any]:
        """With the process that it comes from: a copy draws anew elsewhere, fitted or not."""
        return {"_origin": this_process()} | super().__getstate__()

    def _is_ready(self) -> bool:
        """Whether there is nothing to fit."""
        return isinstance(self.estimator, FrozenEstimator) or not hasattr(self.estimator, "fit")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_") or self._is_ready()

    def _part(self) -> Any:
        """The fitted estimator or the callable."""
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet: call fit, or wrap an estimator "
                "that is fitted in sklearn.frozen.FrozenEstimator."
            )
        return _inner(self)

    @contained
    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        init: ArrayLike | None = None,
    ) -> np.ndarray:
        """Draw rows.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.
        init : array-like of shape (n_starts, n_features), default=None
            Rows to start from, in place of those of the constructor.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Of chains, the first draw of every chain, then the second of every chain, and so on.

        Raises
        ------
        ValueError
            Where there are no starts, or the score is not known at the noise level that is asked
            for, or at all of them where the method goes down these.
        SamplingDivergedError
            Where a chain leaves the finite numbers.

        Warns
        -----
        SlowMixingWarning
            Where more than one chain in twenty ends as a near-copy of the row it started from.
        """
        n_samples = check_n_samples(n_samples)
        check_parameters(self)
        source = score_source(self._part())
        sampler = self._reverse_sampler(source)
        init = self.init if init is None else init
        shown = None if init is None else first_rows(self, init, least=1)[0]
        if not hasattr(self, "_stream"):
            origin = getattr(self, "_origin", HOME)
            self._stream = SamplingStream(integer_seeds(self.random_state, 1)[0], origin)
        rng = np.random.RandomState(self._stream.next(random_state))
        if sampler is None:
            rows = self._sample_chains(source, n_samples, init, rng)
        else:
            shown = getattr(self, "_rows", None) if shown is None else location_and_scale(shown)
            rows = self._sample_reverse(source, sampler, n_samples, shown, rng)
        return check_finite_draws(rows, type(self).__name__)

    def _sample_reverse(
        self,
        source: ScoreSource,
        sampler: ReverseSampler,
        n_samples: int,
        shown: Shown | None,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        for name in _OF_CHAINS:
            if getattr(self, name) is not None:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} is one of Markov chains; "
                    f"{type(sampler).__name__} goes down all noise levels in n_steps. "
                    f"Got {name}={getattr(self, name)!r}: leave it None."
                )
        for name in ("step_size_", "displacement_", "r_hat_"):
            self.__dict__.pop(name, None)
        self.n_steps_ = self.n_steps or sampler.n_steps

        def draw(n: int) -> np.ndarray:
            return source.leave(source.run_reverse(sampler, n, self.n_steps_, rng, shown))[0]

        return draw_enough(draw, n_samples)

    def _sample_chains(
        self,
        source: ScoreSource,
        n_samples: int,
        init: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        if self.n_steps is not None:
            raise ValueError(
                f"The 'n_steps' parameter of {type(self).__name__} is one of samplers over all "
                f"levels; the steps of a chain are set by burn_in and thin. Got {self.n_steps!r}."
            )
        sampler, sigma = self._chain(source)
        starts = self._starts(source, init, n_samples, rng)
        runs: list[Run] = []

        def draw(n: int) -> np.ndarray:
            n_chains = min(self.n_chains or n, n)
            begun = pick(starts, n_chains, rng)
            steps = {"burn_in": self.burn_in, "thin": self.thin, "n_draws": -(-n // n_chains)}
            drawn, chains = source.run_chains(sampler, begun, sigma, rng, **steps)
            check_draws(drawn, begun, chains.step_size, type(self).__name__)
            warn_of_copies(drawn[-n_chains:], begun, starts, type(self).__name__)
            runs.append(Run(chains, *source.leave(drawn), *source.leave(begun)))
            return runs[-1].rows[: np.count_nonzero(runs[-1].kept[:n])]

        rows = draw_enough(draw, n_samples)
        self.step_size_, self.n_steps_ = runs[0].chains.step_size, runs[0].chains.n_steps
        self.displacement_, self.r_hat_ = displacement(runs), runs[0].r_hat()
        return rows

    def _reverse_sampler(self, source: ScoreSource) -> ReverseSampler | None:
        """The method, where it goes down all levels: refused where the score does not know them."""
        method = self.method
        if isinstance(method, str) and method == "auto":
            of_chains = any(getattr(self, name) is not None for name in _OF_CHAINS)
            method = DEFAULT_METHOD if source.all_levels and not of_chains else None
        if isinstance(method, str) and method in REVERSE_SAMPLERS:
            method = REVERSE_SAMPLERS[method]()
        if not isinstance(method, ReverseSampler):
            return None
        if not source.all_levels:
            raise source.refusal(method)
        return method

    def _chain(self, source: ScoreSource) -> tuple[Sampler, float | None]:
        """The method, with the parameters of this object that it knows, and its level."""
        sigma = source.level(self._asked_level())
        if isinstance(self.method, Sampler):
            return self.method, sigma
        name = self.method
        if name == "auto":
            name = "kinetic_langevin" if sigma is None else "walk_jump"
        cls, given = SAMPLERS[name], {"sigma": sigma, "step_size": self.step_size}
        if "sigma" in cls._parameter_names() and sigma is None:
            raise ValueError(
                f"method={name!r} of {type(self).__name__} needs the noise level of the score, "
                f"and {source.part!r} has no sigma_. Pass sigma where it knows several, or use "
                "method='langevin'."
            )
        return cls(**{key: given[key] for key in cls._parameter_names() if key in given}), sigma

    def _asked_level(self) -> float | None:
        """That of this object, or of a method that is an object with one."""
        own = getattr(self.method, "sigma", None)
        if None not in (own, self.sigma) and own != self.sigma:
            raise ValueError(
                f"The 'sigma' parameter of {type(self).__name__} must be that of its method, "
                f"{self.method!r}, or None. Got {self.sigma!r} instead."
            )
        return self.sigma if own is None else own

    def _starts(
        self, source: ScoreSource, init: ArrayLike | None, n: int, rng: np.random.RandomState
    ) -> np.ndarray:
        """Given rows, else those that the source has, in its space."""
        starts = source.starts(n, rng) if init is None else source.enter(init)
        if starts is None:
            raise ValueError(
                f"{type(self).__name__} has no rows for its chains to start from: pass init, an "
                "array of shape (n_starts, n_features) that covers every mode of the density."
            )
        return starts

    @property
    def covariance_(self) -> np.ndarray:
        """The estimator's `covariance_`, the metric of its `score`."""
        return self._part().covariance_

    @available_if(_part_has("score_function"))
    def score_function(self, X: ArrayLike, **options: Any) -> np.ndarray:
        """The estimator's `score_function`."""
        return self._part().score_function(X, **options)

    @available_if(_part_has("score_divergence"))
    def score_divergence(self, X: ArrayLike, **options: Any) -> np.ndarray:
        """The estimator's `score_divergence`."""
        return self._part().score_divergence(X, **options)

    @available_if(_part_has("score_samples"))
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """The estimator's `score_samples`."""
        return self._part().score_samples(X)

    @available_if(_part_has("score"))
    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """The estimator's `score`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            Higher is better; in which units, the estimator says.
        """
        self._warn_of_kind()
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._part().score(X, y, **weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


def _inner(sampler: ScoreBasedSampler) -> Any:
    """The estimator, fitted or not yet, without what is wrapped around it, or the callable."""
    return unwrapped(getattr(sampler, "estimator_", sampler.estimator))


@score_source.register
def _(part: ScoreBasedSampler) -> ScoreSource:
    return score_source(_inner(part))


def location_and_scale(rows: np.ndarray) -> Shown:
    return rows.mean(axis=0), float(np.sqrt(rows.var(axis=0).mean())) or 1.0
