"""A sampler for any score: that of an estimator, fitted here or before, or a plain callable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone

from skscore._base import BaseScoreEstimator
from skscore._bridge import array, run_callable_chains
from skscore._chains import SamplingStream, check_draws, check_n_samples, pick
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
from skscore.samplers import SAMPLERS, Chains, Sampler

_OWN_STARTS = 1000


def _part_has(name: str) -> Callable[[ScoreBasedSampler], bool]:
    def check(self: ScoreBasedSampler) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class ScoreBasedSampler(BaseEstimator):
    """Draws rows by Markov chains from the score of an estimator, or from a callable score.

    ``estimator.sample(n)`` is this with its best defaults; here the method, its step size and
    the bookkeeping of the chains can be set, and looked at afterwards.

    Parameters
    ----------
    estimator : estimator with `score_function`, or callable
        An estimator is cloned and fitted by `fit`, unless it is wrapped in a
        ``FrozenEstimator``.  A callable takes rows (n, d) and returns their scores (n, d); it
        needs `init`.
    method : "auto", "langevin", "walk_jump" or Sampler, default="auto"
        A key of :data:`skscore.samplers.SAMPLERS` or one of its members.  "auto" is
        "walk_jump" where the score is known at a Gaussian noise level, else "langevin".
    sigma : float in (0, inf) or None, default=None
        Noise level of the score, for methods that need one; None takes the estimator's
        `sigma_`.
    step_size : float in (0, inf) or None, default=None
        None leaves it to the method; see :mod:`skscore.samplers`.
    burn_in : int in [0, inf) or None, default=None
        Steps of a chain before its first draw.  None takes 100, and more (up to 1000) where
        the step size is small, until a free chain would have moved half a standard deviation
        of the starts.
    thin : int in [1, inf), default=10
        Steps between two draws of a chain.
    n_chains : int in [1, inf) or None, default=None
        None moves one chain for every row that is asked for.
    init : array-like of shape (n_starts, n_features) or None, default=None
        Rows to start from; None takes the estimator's `chain_starts_`, or draws from an
        estimator that keeps none but can `sample`.
    random_state : int, RandomState or None, default=None
        Of `fit` (where the estimator has none of its own) and of the sampling stream.

    Attributes
    ----------
    estimator_ : estimator or callable
        The part whose score is used.
    n_features_in_ : int
    step_size_ : float
        That the last call of `sample` used, in its coordinates.
    n_steps_ : int
        Steps that each chain of the last call made.
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
        "method": [StrOptions({"auto", *SAMPLERS}), Sampler],
        "sigma": [Interval(Real, 0, None, closed="neither"), None],
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
        method: str | Sampler = "auto",
        *,
        sigma: float | None = None,
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
        seeds = integer_seeds(self.random_state, 2)
        if self._is_ready():
            part = self._part()
        else:
            part = clone(self.estimator)
            if self.random_state is not None and part.get_params().get("random_state", 0) is None:
                part.set_params(random_state=seeds[0])
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            part.fit(X, **weights)
        described = first_rows(self, X)[1]
        stream = SamplingStream(seeds[1])
        self.__dict__.update(described | {"_stream": stream, "estimator_": part})
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
            The first draw of every chain, then the second of every chain, and so on.

        Raises
        ------
        ValueError
            Where there are no starts, or the method needs a noise level and has none.
        SamplingDivergedError
            Where a chain leaves the finite numbers.
        """
        n_samples = check_n_samples(n_samples)
        check_parameters(self)
        part = self._part()
        sampler = self._sampler(part)
        if not hasattr(self, "_stream"):
            self._stream = SamplingStream(integer_seeds(self.random_state, 1)[0])
        rng = np.random.RandomState(self._stream.next(random_state))
        n_chains = min(self.n_chains or n_samples, n_samples)
        starts = pick(self._starts(part, init, rng), n_chains, rng)
        n_draws = -(-n_samples // n_chains)
        steps = {"burn_in": self.burn_in, "thin": self.thin, "n_draws": n_draws}
        draws, chains = _run(part, sampler, starts, rng, steps)
        check_draws(draws, starts, chains.step_size, type(self).__name__)
        by_draw = draws.reshape(n_draws, n_chains, -1)
        self.step_size_, self.n_steps_ = chains.step_size, chains.n_steps
        self.displacement_ = np.sqrt(np.mean((by_draw[-1] - starts) ** 2, axis=0))
        self.r_hat_ = split_r_hat(by_draw)
        return draws[:n_samples]

    def _sampler(self, part: Any) -> Sampler:
        """The method, with the parameters of this object that it knows."""
        if isinstance(self.method, Sampler):
            return self.method
        known = getattr(part, "sigma_", None)
        if self.sigma is not None and known not in (None, self.sigma):
            raise ValueError(
                f"The 'sigma' parameter of {type(self).__name__} must be the level that the "
                f"estimator was fitted at, {known}, or None. Got {self.sigma!r} instead."
            )
        sigma = known if self.sigma is None else self.sigma
        jumps = sigma is not None and getattr(part, "noise", "gaussian") == "gaussian"
        name = ("walk_jump" if jumps else "langevin") if self.method == "auto" else self.method
        cls = SAMPLERS[name]
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
    def score_function(self, X: ArrayLike) -> np.ndarray:
        """The estimator's `score_function`."""
        return self._part().score_function(X)

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


def _run(
    part: Any, sampler: Sampler, starts: np.ndarray, rng: np.random.RandomState, steps: dict
) -> tuple[np.ndarray, Chains]:
    """Draws in the units of X, from the coordinates that suit the score."""
    if isinstance(part, BaseScoreEstimator):
        return part._run_chains(sampler, starts, rng, **steps)
    seed = int(rng.randint(2**31 - 1))
    score, location, factor = part, 0.0, np.eye(starts.shape[1])
    if hasattr(part, "score_function"):
        score = part.score_function
    if hasattr(part, "covariance_"):
        location, factor = part.location_, np.linalg.cholesky(part.covariance_)

    def standardized_score(z: np.ndarray) -> np.ndarray:
        scores = np.asarray(score(location + z @ factor.T), dtype=np.float64)
        if scores.shape != z.shape:
            raise ValueError(
                f"The score must return an array of the shape of its rows, {z.shape}. "
                f"Got {scores.shape} instead."
            )
        return scores @ factor

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
