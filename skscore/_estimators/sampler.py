"""A sampler for any score: that of an estimator, fitted here or before, or a plain callable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._estimators.callables import ChainRun, Shown
from skscore._estimators.draws import HOME, SamplingStream, check_finite_draws, this_process
from skscore._estimators.held import fit_part
from skscore._estimators.kinds import OneKindOfScore
from skscore._estimators.methods import (
    RECORD,
    Drawn,
    chain,
    descending,
    draw_chains,
    draw_down,
)
from skscore._estimators.output import SetOutput, contained
from skscore._estimators.score_sources import ScoreSource, score_source
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

if TYPE_CHECKING:
    from typing_extensions import Self

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
    rows to start from.  *Reverse samplers* (``"adams"``, ``"ddpm"``, ...) need the score at every
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
        "adams" where the score is known at all levels and no parameter of chains is given,
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

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
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
        self._descending(source)
        rows, described = first_rows(self, X)
        part = self.estimator
        if not self._is_ready():
            part = fit_part(part, X, self.random_state, sample_weight)
            score_source(unwrapped(part))  # a search may have chosen what has no score
        elif isinstance(part, FrozenEstimator):
            part = part.estimator
        fitted = {
            "_stream": SamplingStream(integer_seeds(self.random_state, 2)[1]),
            "_rows": location_and_scale(rows),
            "estimator_": part,
        }
        self.__dict__.update(described | fitted)
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
        sampler = self._descending(source)
        init = self.init if init is None else init
        given = None if init is None else first_rows(self, init, least=1)[0]
        if not hasattr(self, "_stream"):
            origin = getattr(self, "_origin", HOME)
            self._stream = SamplingStream(integer_seeds(self.random_state, 1)[0], origin)
        rng = np.random.RandomState(self._stream.next(random_state))
        if sampler is None:
            rows, record = self._draw_chains(source, n_samples, init, rng)
        else:
            shown = getattr(self, "_rows", None) if given is None else location_and_scale(given)
            self._refuse_chain_parameters(sampler)
            rows, record = draw_down(source, sampler, n_samples, self.n_steps, shown, rng)
        for name in RECORD:
            self.__dict__.pop(name, None)
        self.__dict__.update(record)
        return check_finite_draws(rows, type(self).__name__)

    def _descending(self, source: ScoreSource) -> ReverseSampler | None:
        """The method, where it goes down all levels."""
        return descending(self.method, source, bool(self._chain_parameters()))

    def _chain_parameters(self) -> dict[str, Any]:
        """Those of Markov chains that are set."""
        given = {name: getattr(self, name) for name in _OF_CHAINS}
        return {name: value for name, value in given.items() if value is not None}

    def _refuse_chain_parameters(self, sampler: ReverseSampler) -> None:
        for name, value in self._chain_parameters().items():
            raise ValueError(
                f"The {name!r} parameter of {type(self).__name__} is one of Markov chains; "
                f"{type(sampler).__name__} goes down all noise levels in n_steps. "
                f"Got {name}={value!r}: leave it None."
            )

    def _draw_chains(
        self,
        source: ScoreSource,
        n_samples: int,
        init: ArrayLike | None,
        rng: np.random.RandomState,
    ) -> Drawn:
        if self.n_steps is not None:
            raise ValueError(
                f"The 'n_steps' parameter of {type(self).__name__} is one of samplers over all "
                f"levels; the steps of a chain are set by burn_in and thin. Got {self.n_steps!r}."
            )
        method = chain(self.method, source, self.sigma, self.step_size)
        starts = source.starts(n_samples, rng) if init is None else source.enter(init)
        if starts is None:
            raise ValueError(
                f"{type(self).__name__} has no rows for its chains to start from: pass init, an "
                "array of shape (n_starts, n_features) that covers every mode of the density."
            )
        run = ChainRun(*method, burn_in=self.burn_in, thin=self.thin)
        return draw_chains(source, run, starts, n_samples, self.n_chains, rng)

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
    """Means of the columns, and one deviation for all of them."""
    return rows.mean(axis=0), float(np.sqrt(rows.var(axis=0).mean())) or 1.0
