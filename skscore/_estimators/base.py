"""What the trained score estimators share: parameters, fit, and the methods of a fitted one.

Data flow one way: X, validated rows, standardiser, tensor, loss(score network),
fitted state, score or sample, array.  A subclass says which network is trained, by
which loss, and what else a fit learns; it checks what its public methods are given,
and the private ones here compute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._backend.batches import Split
from skscore._backend.fitted import FittedNetwork
from skscore._backend.training import Record
from skscore._estimators.draws import SamplingStream
from skscore._estimators.output import SetOutput
from skscore._estimators.parameters import CONSTRAINTS
from skscore._estimators.replay import SeenRows
from skscore._estimators.trained import TrainedScore
from skscore._fitting.data import FitData, check_first_chunk, first_data, next_data, split_rows
from skscore._fitting.defaults import check_constructor, n_rounds
from skscore._fitting.run import Objective, report, training_run
from skscore._fitting.tournament import best_training
from skscore._rows import effective_number
from skscore._validation import available_if, check_fitted, check_rows

if TYPE_CHECKING:
    from typing_extensions import Self

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

    _parameter_constraints: dict[str, list[Any]] = CONSTRAINTS

    _least_batch = 128  # rows of the smallest "auto" batch
    _fixed_names: tuple[str, ...] = (
        "standardize",
        "dequantize",
    )  # parameters that `fit` fixes until the next one
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
    def _objective(self, data: FitData, split: Split, previous: FittedNetwork | None) -> Objective:
        """What to train on these rows, or go on with from an earlier network."""

    @abstractmethod
    def _fitted_attributes(
        self, data: FitData, split: Split, network: FittedNetwork
    ) -> dict[str, Any]:
        """Further fitted attributes."""

    @abstractmethod
    def _default_level(self) -> float | None:
        """The level of `score_function`, of a network over all levels."""

    # -- fitting ---------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
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
        split = split_rows(self, data)
        rounds = n_rounds(self, effective_number(split.training), len(split.training))
        data, network, record, learnt = self._learn(
            data, split, previous, rounds, decays=self._decays
        )
        seen = SeenRows.of(data)
        learnt |= described | self._fitted_attributes(data, split, network)
        self._set_fitted(data, network, record, seen, learnt)
        return self

    def partial_fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
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
            seen = SeenRows.of(data)
        else:
            data = next_data(self, X, sample_weight, self._standardizer, previous.n_steps)
            described = {}
            earlier = getattr(self, "chain_starts_", data.X[:1])
            seen = SeenRows(earlier, self._n_seen).with_chunk(data)
        if self.store_starts:
            data = seen.replayed(data)
        split = Split(data.rows)
        data, network, record, learnt = self._learn(data, split, previous, 1)
        if previous is not None:
            record.loss_curve[:0] = self.loss_curve_
        learnt |= described | self._fitted_attributes(data, split, network)
        self._set_fitted(data, network, record, seen, learnt)
        return self

    def _learn(
        self,
        data: FitData,
        split: Split,
        previous: FittedNetwork | None,
        n_rounds: int,
        *,
        decays: bool = False,
    ) -> tuple[FitData, FittedNetwork, Record, dict[str, Any]]:
        """Train, say how it ended; data, network, record, and what was learnt before training."""
        objective = self._objective(data, split, previous)
        start = objective.start(self, previous)
        contenders = [
            (form, training_run(self, form, split, objective.loss, n_rounds, decays=decays))
            for form in data.forms
        ]
        data, network, record = best_training(contenders, start, objective.n_components)
        report(self, record, judged=split.validation is not None)
        return data, network, record, dict(objective.attributes)

    def _set_fitted(
        self,
        data: FitData,
        network: FittedNetwork,
        record: Record,
        seen: SeenRows,
        attributes: dict[str, Any],
    ) -> None:
        """Set all that was learnt, at once and last: an interrupted fit leaves nothing."""
        fitted = attributes | {
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
            "_n_seen": seen.number,
            "_stream": SamplingStream(int(data.rng.randint(2**31 - 1))),
        }
        self.__dict__.update(fitted)
        self.__dict__.pop("chain_starts_", None)
        if self.store_starts:
            self.chain_starts_ = seen.sample

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

    def _trained(self) -> TrainedScore:
        """What a fitted estimator computes with."""
        check_fitted(self)
        owner = type(self).__name__
        return TrainedScore(owner, self._network, self._standardizer, self.device, self.standardize)

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
        trained = self._trained()
        return trained.energy(check_rows(self, X), self._default_level())

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags
