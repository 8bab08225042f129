"""What the trained score estimators share: parameters, fit, and the methods of a fitted one.

Data flow one way: X, validated rows, standardiser, tensor, loss(score network),
fitted state, score or sample, array.  A subclass says which network is trained, by
which loss, and what else a fit learns; it checks what its public methods are given,
and the private ones here compute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._backend.convert import CHUNK, apply_in_chunks, array
from skscore._backend.evaluators import Evaluator
from skscore._backend.fitted import FittedNetwork, NetworkSpec
from skscore._backend.training import Portion, Record
from skscore._estimators.draws import MAX_STARTS, SamplingStream, merged_starts, resample
from skscore._estimators.output import SetOutput
from skscore._fitting.data import FitData, check_first_chunk, first_data, next_data
from skscore._fitting.defaults import check_constructor, hidden_widths, n_rounds
from skscore._fitting.run import Objective, report, train
from skscore._messages import listed, warn_user
from skscore._rows import effective_number, split
from skscore._validation import (
    Interval,
    StrOptions,
    available_if,
    check_fitted,
    check_metric,
    check_metric_rows,
    check_rows,
    column_names,
    finite_results,
)
from skscore.exceptions import FarRowsWarning
from skscore.networks import ACTIVATIONS, NETWORKS
from skscore.samplers import Chains, Sampler

_HIDDEN_STATE = ("_standardizer", "_network", "_fixed", "_n_seen", "_stream", "_probe_seed")


def _is_conservative(estimator: BaseScoreEstimator) -> bool:
    fitted = getattr(estimator, "_network", None)
    if not (estimator.conservative if fitted is None else fitted.spec.conservative):
        raise AttributeError(
            f"{type(estimator).__name__} has an energy with conservative=True only: "
            "a free vector field need not be the gradient of anything."
        )
    return True


class BaseScoreEstimator(SetOutput, BaseEstimator, ABC):
    """A score network trained by stochastic gradients on standardised rows."""

    _parameter_constraints: dict[str, list[Any]] = {
        "network": [StrOptions(set(NETWORKS)), callable],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "conservative": ["boolean"],
        "standardize": [StrOptions({"whiten", "scale"}), None],
        "dequantize": ["boolean"],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "store_starts": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "device": [str],
    }

    _least_batch = 128  # rows of the smallest "auto" batch
    _fixed_names = ("standardize", "dequantize")  # parameters that `fit` fixes until the next one
    _decays = False  # whether the learning rate falls to zero over the rounds of a fit

    def __init__(
        self,
        *,
        network: str | Callable[..., Any] = "mlp",
        hidden_layer_sizes: Any = (128, 128, 128),
        activation: str = "tanh",
        conservative: bool = False,
        standardize: str | None = "whiten",
        dequantize: bool = False,
        learning_rate_init: float = 0.004,
        batch_size: int | str = "auto",
        max_iter: int = 500,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        store_starts: bool = True,
        verbose: bool | int = False,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.network = network
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.conservative = conservative
        self.standardize = standardize
        self.dequantize = dequantize
        self.learning_rate_init = learning_rate_init
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.store_starts = store_starts
        self.verbose = verbose
        self.random_state = random_state
        self.device = device

    # -- what a subclass says ------------------------------------------------------------

    @abstractmethod
    def _objective(self, data: FitData, previous: FittedNetwork | None) -> Objective:
        """What to train on these rows, or go on with from an earlier network."""

    @abstractmethod
    def _fitted_attributes(
        self, data: FitData, network: FittedNetwork, held: Portion | None
    ) -> dict[str, Any]:
        """Further fitted attributes; `held` are rows not trained on, or None."""

    # -- fitting ---------------------------------------------------------------------------

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> BaseScoreEstimator:
        """Fit to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows of finite numbers.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative; a weight of two counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For parameters and rows that are not allowed, before any training.
        TrainingDivergedError
            Where the first round of training had no finite gradient.

        Warns
        -----
        TiesWarning, DegenerateColumnsWarning
            About columns that repeat values, are constant or depend on each other.
        ConvergenceWarning
            Where `max_iter` ended the training, or it diverged after a good start.
        """
        previous = self._previous() if self.warm_start else None
        if previous is None:
            self._forget()
        check_constructor(self)
        data, described = first_data(self, X, sample_weight)
        rows = data.rows, None
        if self.early_stopping:
            rows = split(data.rows, self.validation_fraction, data.rng)
        objective = self._objective(data, previous)
        network, record = self._train(
            data,
            objective,
            rows,
            n_rounds(self, effective_number(rows[0])),
            previous,
            decays=self._decays,
        )
        report(self, record, open_end=self.early_stopping and not self._decays)
        starts = resample(data.X, data.weights, MAX_STARTS, data.rng)
        learnt = objective.learnt | self._fitted_attributes(data, network, rows[1])
        self._set_fitted(data, network, record, starts, data.n_given, described | learnt)
        return self

    def partial_fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> BaseScoreEstimator:
        """Train one round on a chunk of rows and those kept before; none are held out.

        A small chunk alone would be learnt by heart.  So a round runs over `chain_starts_`
        with the chunk merged in, at most 10,000 rows that stand for all rows seen, or over
        the chunk where it is larger.  With ``store_starts=False`` only the chunk is there:
        give large ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The first chunk fixes location, scale and correlations for good: it must stand
            for the rest, and have at least ``max(10, 2 * n_features)`` rows.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Within the chunk; chunks count alike.

        Returns
        -------
        self
        """
        previous = self._previous()
        check_constructor(self)
        if previous is None:
            data, described = first_data(self, X, sample_weight)
            check_first_chunk(self, data.X)
            starts, n_seen = resample(data.X, data.weights, MAX_STARTS, data.rng), 0.0
        else:
            data = next_data(self, X, sample_weight, self._standardizer, previous.n_steps)
            described: dict[str, Any] = {}
            n_seen = self._n_seen
            earlier = getattr(self, "chain_starts_", data.X[:1])
            starts = merged_starts(earlier, n_seen, data.X, data.weights, data.rng)
        total = n_seen + data.n_given
        if self.store_starts and len(starts) > len(data.X):
            data = FitData(starts, None, data.standardizer, data.rng)
        objective = self._objective(data, previous)
        network, record = self._train(data, objective, (data.rows, None), 1, previous)
        report(self, record, open_end=False)
        if previous is not None:
            record.loss_curve[:0] = self.loss_curve_
        learnt = objective.learnt | self._fitted_attributes(data, network, None)
        self._set_fitted(data, network, record, starts, total, described | learnt)
        return self

    def _train(
        self,
        data: FitData,
        objective: Objective,
        rows: tuple[Portion, Portion | None],
        n_rounds: int,
        previous: FittedNetwork | None,
        *,
        decays: bool = False,
    ) -> tuple[FittedNetwork, Record]:
        """One run of the workshop over training and validation rows."""
        spec = NetworkSpec(
            self.network,
            data.X.shape[1],
            hidden_widths(self, data.X.shape[1]),
            self.activation,
            self.conservative,
            **objective.levels,
        )
        return train(
            self,
            data,
            spec,
            objective.loss,
            training=rows[0],
            validation=rows[1],
            n_rounds=n_rounds,
            previous=previous,
            decays=decays,
        )

    def _set_fitted(
        self,
        data: FitData,
        network: FittedNetwork,
        record: Record,
        starts: np.ndarray,
        n_seen: float,
        described: dict[str, Any],
    ) -> None:
        """Set all that was learnt, at once and last: an interrupted fit leaves nothing."""
        fitted = described | {
            "location_": data.standardizer.mean,
            "covariance_": data.standardizer.covariance,
            "n_iter_": len(record.loss_curve),
            "best_iter_": record.best_round,
            "n_skipped_steps_": record.n_skipped,
            "loss_curve_": record.loss_curve,
            "validation_scores_": record.validation_scores or None,
            "best_validation_score_": record.best_score,
            "_standardizer": data.standardizer,
            "_network": network,
            "_fixed": {name: getattr(self, name) for name in self._fixed_names},
            "_n_seen": n_seen,
            "_stream": SamplingStream(int(data.rng.randint(2**31 - 1))),
        }
        self.__dict__.update(fitted)
        self.__dict__.pop("chain_starts_", None)
        if self.store_starts:
            self.chain_starts_ = starts

    def _previous(self) -> FittedNetwork | None:
        return getattr(self, "_network", None)

    def _forget(self) -> None:
        """Unfit: no old result outlives a fit that fails."""
        learnt = [n for n in vars(self) if n.endswith("_") and not n.startswith("_")]
        for name in (*learnt, *_HIDDEN_STATE):
            self.__dict__.pop(name, None)

    # -- a fitted estimator ----------------------------------------------------------------

    @property
    def network_(self) -> Any:
        """The trained score network on standardised rows, a ``torch.nn.Module`` on the CPU."""
        check_fitted(self)
        return self._network.module()

    def _open(self, sigma: float | None = None) -> Evaluator:
        """The score network; of one over all levels that at `sigma`, or at `sigma_`."""
        if self._network.spec.sigma_range is None:
            return self._network.open(self.device)
        return self._network.open(self.device, self.sigma_ if sigma is None else sigma)

    def _map(
        self,
        name: str,
        X: ArrayLike,
        fn: Callable[[Any, np.ndarray, np.ndarray], np.ndarray],
        network: Any,
        chunk: int = CHUNK,
    ) -> np.ndarray:
        """`fn` of an opened network, standardised rows and rows, for all rows of X."""
        X = check_rows(self, X)
        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(
                lambda x: fn(network, self._standardizer.transform(x), x), X, chunk
            )
        return finite_results(values, f"{name} of {type(self).__name__}")

    def _score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        check_fitted(self)
        at = self._standardizer.at
        return self._map(
            "score_function", X, lambda net, z, x: at(x).pull_score(net.score(z)), self._open(sigma)
        )

    def _score_divergence(
        self, X: ArrayLike, metric: ArrayLike | None, sigma: float | None = None
    ) -> np.ndarray:
        check_fitted(self)
        M, at = check_metric(metric, self.n_features_in_), self._standardizer.at
        network, X = self._open(sigma), check_rows(self, X)
        each = M is not None and M.ndim == 3
        if each:
            check_metric_rows(M, len(X))

        def divergence(index: np.ndarray) -> np.ndarray:
            here = at(X[index])
            return here.in_metric(M[index] if each else M).measure(network, here.image)[1]

        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(divergence, np.arange(len(X)))
        return finite_results(values, f"score_divergence of {type(self).__name__}")

    def _denoise(self, X: ArrayLike, sigma: float) -> np.ndarray:
        """Tweedie's formula at a level of Gaussian noise, within the plane of the rows.

        Along directions without variance the clean row is known.  Of rows far outside the network
        knows nothing, and the linear posterior mean takes its place.
        """
        z = self._standardizer
        with np.errstate(over="ignore", invalid="ignore"):
            rows = apply_in_chunks(z.transform, check_rows(self, X))
        outside = z.outside(rows, sigma)
        if outside.any():
            _warn_outside(self, outside, sigma, column_names(X, outside.shape[1]))

        def clean(net: Evaluator, Z: np.ndarray, _: np.ndarray) -> np.ndarray:
            Z = z.on_plane(Z)
            far = z.outside(Z, sigma).any(axis=1)
            means = Z + sigma**2 * net.score(Z)
            means[far] = Z[far] @ z.linear_denoiser(sigma)
            return z.inverse_transform(z.on_plane(means))

        return self._map("denoise", X, clean, self._open(sigma))

    @available_if(_is_conservative)
    def energy(self, X: ArrayLike) -> np.ndarray:
        """``E(x) = -log p(x)`` up to a constant, with ``-grad E = s``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats.
        """
        check_fitted(self)
        volume = self._standardizer.log_det
        return self._map("energy", X, lambda net, z, x: net.energy(z) - volume(x), self._open())

    @available_if(_is_conservative)
    def log_density_ratio(self, X: ArrayLike, X0: ArrayLike) -> np.ndarray:
        """``log p(x) - log p(x0)`` row by row, ``E(x0) - E(x)``; constants cancel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        X0 : array-like of shape (n_samples, n_features) or (1, n_features)
            One row is compared with all rows of X.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats.
        """
        energies, references = self.energy(X), self.energy(X0)
        if len(references) not in (1, len(energies)):
            raise ValueError(
                f"X0 must have one row or as many as X, {len(energies)}. "
                f"Got {len(references)} rows."
            )
        return references - energies

    def _run_chains(
        self,
        sampler: Sampler,
        starts: np.ndarray,
        rng: np.random.RandomState,
        sigma: float | None = None,
        **steps: int | None,
    ) -> tuple[np.ndarray, Chains]:
        """Draws in input space of chains in standardised coordinates, from rows in input space."""
        z = self._standardizer
        starts = z.jitter(z.transform(starts), rng)
        chains = self._open(sigma).run_chains(sampler, starts, int(rng.randint(2**31 - 1)), **steps)
        return z.inverse_transform(array(chains.draws)), chains

    def _starts(self, init: ArrayLike | None) -> np.ndarray:
        """Rows for chains to start from."""
        if init is not None:
            return check_rows(self, init)
        if not hasattr(self, "chain_starts_"):
            raise ValueError(
                f"{type(self).__name__} was fitted with store_starts=False and kept no training "
                "rows: pass the rows that chains start from as init."
            )
        return self.chain_starts_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


def _warn_outside(
    estimator: BaseScoreEstimator, outside: np.ndarray, sigma: float, names: list[str]
) -> None:
    """Say which rows are no training rows with noise of that level."""
    which = listed([names[j] for j in np.flatnonzero(outside.any(0))])
    rows = np.flatnonzero(outside.any(1))
    warn_user(
        f"{len(rows)} of {len(outside)} rows given to denoise of {type(estimator).__name__} (first "
        f"row {rows[0]}) lie far beyond the training rows in these columns, by more than noise of "
        f"level sigma={sigma:g} explains: {which}. Constant columns get their constant, and where "
        "others are far the posterior mean is the linear one of a Gaussian. A level is in "
        f"standardised coordinates (standardize={estimator.standardize!r}): for noise in the units "
        "of X fit with standardize=None, and give its standard deviation as the level.",
        FarRowsWarning,
    )
