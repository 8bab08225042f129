"""A sampler for any score: that of an estimator, fitted here or before, or a plain callable."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._base import BaseScoreEstimator
from skscore._bridge import array, run_callable_chains, run_callable_reverse
from skscore._chains import (
    SamplingStream,
    check_draws,
    check_finite_draws,
    check_n_samples,
    pick,
    warn_of_copies,
)
from skscore._diffusion import DEFAULT_METHOD, DiffusionScoreEstimator
from skscore._fitting import fit_part
from skscore._validation import (
    FrozenEstimator,
    HasMethods,
    Interval,
    StrOptions,
    available_if,
    check_parameters,
    check_rows,
    first_rows,
    integer_seeds,
)
from skscore.exceptions import NotFittedError
from skscore.noise import VarianceExploding, solver_angles
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS, Chains, ReverseSampler, Sampler

_OWN_STARTS = 1000


def _part_has(name: str) -> Callable[[ScoreBasedSampler], bool]:
    def check(self: ScoreBasedSampler) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class ScoreBasedSampler(BaseEstimator):
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
        ``FrozenEstimator``.  A callable takes rows (n, d) and returns their scores (n, d); for
        reverse samplers also takes the standard deviation of the noise, (n, 1), as a second
        argument.  It needs `init`.
    method : "auto", str, Sampler or ReverseSampler, default="auto"
        A key of :data:`skscore.samplers.SAMPLERS` or
        :data:`skscore.samplers.REVERSE_SAMPLERS`, or one of their members.  "auto" is
        "heun" where the score is known at all levels, "walk_jump" where it is known at one
        level of Gaussian noise, else "kinetic_langevin".
    sigma : float in (0, inf) or None, default=None
        Noise level of the score, for chains that need one; None takes the estimator's
        `sigma_`.
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
        Rows for chains to start from; None takes the estimator's `chain_starts_`, or draws
        from an estimator that keeps none but can `sample`.  For a callable's reverse sampler
        they only tell location and scale.
    random_state : int, RandomState or None, default=None
        Of `fit` (where the estimator has none of its own) and of the sampling stream.

    Attributes
    ----------
    estimator_ : estimator or callable
        The part whose score is used.
    n_features_in_ : int
    n_steps_ : int
        Steps that each row or chain of the last call made.
    step_size_ : float
        Of the chains of the last call of `sample`, in its coordinates.
    displacement_ : ndarray of shape (n_features,)
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
        "estimator": [HasMethods(["fit", "score_function"]), callable],
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

        Returns
        -------
        self
        """
        self.__dict__.pop("estimator_", None)
        check_parameters(self)
        if self._is_ready():
            part = self._part()
        else:
            part = fit_part(self.estimator, X, self.random_state, sample_weight)
        rows, described = first_rows(self, X)
        stream, frame = SamplingStream(integer_seeds(self.random_state, 2)[1]), _frame(rows)
        self.__dict__.update(described | {"_stream": stream, "_rows": frame, "estimator_": part})
        return self

    def _is_ready(self) -> bool:
        """Whether there is nothing to fit."""
        frozen = isinstance(self.estimator, FrozenEstimator)
        return frozen or not hasattr(self.estimator, "score_function")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_") or self._is_ready()

    def _part(self) -> Any:
        """The fitted estimator or the callable."""
        if hasattr(self, "estimator_"):
            return self.estimator_
        if not self._is_ready():
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet: call fit, or wrap an estimator "
                "that is fitted in sklearn.frozen.FrozenEstimator."
            )
        frozen = isinstance(self.estimator, FrozenEstimator)
        return self.estimator.estimator if frozen else self.estimator

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
            None draws anew at every call, an integer repeats.
        init : array-like of shape (n_starts, n_features), default=None
            Rows to start from, in place of those of the constructor.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Of chains, the first draw of every chain, then the second of every chain, and so on.

        Raises
        ------
        ValueError
            Where there are no starts, or the method needs a noise level, or all of them, and the
            score has none.
        SamplingDivergedError
            Where a chain leaves the finite numbers.

        Warns
        -----
        SlowMixingWarning
            Where more than one chain in twenty ends as a near-copy of the row it started from.
        """
        n_samples = check_n_samples(n_samples)
        check_parameters(self)
        part = self._part()
        sampler = self._sampler(part)
        if not hasattr(self, "_stream"):
            self._stream = SamplingStream(integer_seeds(self.random_state, 1)[0])
        rng = np.random.RandomState(self._stream.next(random_state))
        if isinstance(sampler, ReverseSampler):
            return self._sample_reverse(part, sampler, n_samples, init, rng)
        return self._sample_chains(part, sampler, n_samples, init, rng)

    def _sample_chains(
        self,
        part: Any,
        sampler: Sampler,
        n_samples: int,
        init: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        if self.n_steps is not None:
            raise ValueError(
                f"The 'n_steps' parameter of {type(self).__name__} is one of samplers over all "
                f"levels; the steps of a chain are set by burn_in and thin. Got {self.n_steps!r}."
            )
        n_chains = min(self.n_chains or n_samples, n_samples)
        rows = self._starts(part, init, rng)
        starts = pick(rows, n_chains, rng)
        n_draws = -(-n_samples // n_chains)
        steps = {"burn_in": self.burn_in, "thin": self.thin, "n_draws": n_draws}
        draws, chains = _run(part, sampler, starts, rng, steps, self.sigma)
        check_draws(draws, starts, chains.step_size, type(self).__name__)
        by_draw = draws.reshape(n_draws, n_chains, -1)
        warn_of_copies(by_draw[-1], starts, rows, type(self).__name__)
        self.step_size_, self.n_steps_ = chains.step_size, chains.n_steps
        self.displacement_ = np.sqrt(np.mean((by_draw[-1] - starts) ** 2, axis=0))
        self.r_hat_ = split_r_hat(by_draw)
        return draws[:n_samples]

    def _sample_reverse(
        self,
        part: Any,
        sampler: ReverseSampler,
        n_samples: int,
        init: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        for name in ("sigma", "step_size", "burn_in", "n_chains"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"The {name!r} parameter of {type(self).__name__} is one of Markov chains; "
                    f"{type(sampler).__name__} goes down all noise levels in n_steps. "
                    f"Got {name}={getattr(self, name)!r}: leave it None."
                )
        for name in ("step_size_", "displacement_", "r_hat_"):
            self.__dict__.pop(name, None)
        self.n_steps_ = self.n_steps or sampler.n_steps
        if isinstance(part, DiffusionScoreEstimator):
            return part.sample(n_samples, rng, method=sampler, n_steps=self.n_steps_)
        init = self.init if init is None else init
        if init is None and not hasattr(self, "_rows"):
            raise ValueError(
                f"{type(self).__name__} does not know the location and scale of the rows that the "
                "score belongs to: pass some such rows as init, or to fit."
            )
        frame = self._rows if init is None else _frame(first_rows(self, init)[0])
        draws = _run_callable_reverse(part, sampler, n_samples, self.n_steps_, frame, rng)
        return check_finite_draws(draws, type(self).__name__)

    def _sampler(self, part: Any) -> Sampler | ReverseSampler:
        """The method, with the parameters of this object that it knows."""
        sampler = self.method
        if isinstance(sampler, str):
            name = self._automatic(part) if sampler == "auto" else sampler
            sampler = REVERSE_SAMPLERS[name]() if name in REVERSE_SAMPLERS else None
        if isinstance(sampler, ReverseSampler) and not _knows_all_levels(part):
            raise ValueError(
                f"{type(sampler).__name__} needs the score at every noise level: that of a "
                "DiffusionScoreEstimator, or a callable score(X, sigma). Got "
                f"{part!r}: use method='langevin' or 'walk_jump'."
            )
        return self._chain_sampler(name, part) if sampler is None else sampler

    def _automatic(self, part: Any) -> str:
        """The name of the method "auto"."""
        if _knows_all_levels(part):
            return DEFAULT_METHOD
        jumps = self._level(part) is not None and getattr(part, "noise", "gaussian") == "gaussian"
        return "walk_jump" if jumps else "kinetic_langevin"

    def _level(self, part: Any) -> float | None:
        """Noise level of the score: the given one where it is known, else that of the part."""
        known = getattr(part, "sigma_", None)
        if self.sigma is None or isinstance(part, DiffusionScoreEstimator):
            return self.sigma or known
        if known not in (None, self.sigma):
            raise ValueError(
                f"The 'sigma' parameter of {type(self).__name__} must be the level that the "
                f"estimator was fitted at, {known}, or None. Got {self.sigma!r} instead."
            )
        return self.sigma

    def _chain_sampler(self, name: str, part: Any) -> Sampler:
        cls, sigma = SAMPLERS[name], self._level(part)
        given = {"sigma": sigma, "step_size": self.step_size}
        if "sigma" in cls._parameter_names() and sigma is None:
            raise ValueError(
                f"method={name!r} of {type(self).__name__} needs the noise level of the score, "
                f"and {part!r} has no sigma_. Pass sigma, or use method='langevin'."
            )
        return cls(**{key: given[key] for key in cls._parameter_names() if key in given})

    def _starts(self, part: Any, init: ArrayLike | None, rng: np.random.RandomState) -> np.ndarray:
        """Given rows, else the part's kept training rows, else draws of its own."""
        init = self.init if init is None else init
        if init is None and hasattr(part, "chain_starts_"):
            return part.chain_starts_
        if init is None and hasattr(part, "sample"):
            return part.sample(_OWN_STARTS, random_state=rng)
        if init is None:
            raise ValueError(
                f"{type(self).__name__} has no rows for its chains to start from: pass init, an "
                "array of shape (n_starts, n_features) that covers every mode of the density."
            )
        if hasattr(part, "n_features_in_"):
            return check_rows(part, init).astype(np.float64)
        return first_rows(self, init, least=1)[0].astype(np.float64)

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
    def score(self, X: ArrayLike, y: object = None, **options: Any) -> float:
        """The estimator's `score`."""
        return self._part().score(X, y, **options)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


def _knows_all_levels(part: Any) -> bool:
    """Whether the score is one of every level: a diffusion estimator's, or of (X, sigma)."""
    if isinstance(part, DiffusionScoreEstimator):
        return True
    if hasattr(part, "score_function"):
        return False
    try:
        arguments = list(inspect.signature(part).parameters.values())
    except ValueError:  # a callable that does not say what it takes
        return False
    return len(arguments) > 1 and (
        arguments[1].name == "sigma" or arguments[1].default is inspect.Parameter.empty
    )


def _frame(rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Location (d,) and root mean square deviation of rows."""
    return rows.mean(axis=0), float(np.sqrt(rows.var(axis=0).mean())) or 1.0


def _run_callable_reverse(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    sampler: ReverseSampler,
    n_samples: int,
    n_steps: int,
    frame: tuple[np.ndarray, float],
    rng: np.random.RandomState,
) -> np.ndarray:
    """Draws in the units of X of a score that is known at every level."""
    location, scale = frame
    process = VarianceExploding()
    levels = process.sigma_min, process.sigma_max
    angles = solver_angles(
        process.grid, process, n_steps, *levels, from_infinity=sampler.from_infinity
    )

    def standardized_score(z: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return scale * _checked_scores(score(location + scale * z, scale * sigma), z)

    shape, seed = (n_samples, len(location)), int(rng.randint(2**31 - 1))
    path = run_callable_reverse(sampler, standardized_score, shape, angles, levels, seed)
    return location + scale * array(path.draws)


def _at_level(score: Callable[..., np.ndarray], sigma: float | None) -> Any:
    """A callable score of every level, at the level of a chain."""
    if sigma is None:
        raise ValueError(
            "A chain moves at one noise level, and the score is one of every level, score(X, "
            "sigma): pass sigma to ScoreBasedSampler, or use a sampler over all levels."
        )
    return lambda X: score(X, np.full((len(X), 1), sigma))


def _checked_scores(scores: Any, rows: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != rows.shape:
        raise ValueError(
            f"The score must return an array of the shape of its rows, {rows.shape}. "
            f"Got {scores.shape} instead."
        )
    return scores


def _run(
    part: Any,
    sampler: Sampler,
    starts: np.ndarray,
    rng: np.random.RandomState,
    steps: dict,
    sigma: float | None,
) -> tuple[np.ndarray, Chains]:
    """Draws in the units of X, from the coordinates that suit the score."""
    if isinstance(part, BaseScoreEstimator):
        return part._run_chains(sampler, starts, rng, sigma, **steps)
    seed = int(rng.randint(2**31 - 1))
    score, location, factor = part, 0.0, np.eye(starts.shape[1])
    if _knows_all_levels(part):
        score = _at_level(part, sigma)
    if hasattr(part, "score_function"):
        score = part.score_function
    if hasattr(part, "covariance_"):
        location, factor = part.location_, np.linalg.cholesky(part.covariance_)

    def standardized_score(z: np.ndarray) -> np.ndarray:
        return _checked_scores(score(location + z @ factor.T), z) @ factor

    z = np.linalg.solve(factor, (starts - location).T).T
    chains = run_callable_chains(sampler, standardized_score, z, seed, **steps)
    return location + array(chains.draws) @ factor.T, chains


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
