"""The steps of a fit: check what comes in, measure the rows, split, train, report.

Free functions of an estimator (read for its parameters, never written to) and
of plain values, in the order in which ``fit`` calls them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from skscore._bridge import (
    Evaluator,
    FittedNetwork,
    Mixture,
    NetworkSpec,
    RowSource,
    apply_in_chunks,
    resolve_device,
    train_network,
)
from skscore._choice import chosen_form
from skscore._messages import column_names, warn_user
from skscore._rows import counted_cells, effective_number, merged_rows
from skscore._standardize import Standardizer, Ties, column_ties
from skscore._training import Plan, Portion, Record
from skscore._validation import (
    check_parameters,
    check_picklable,
    check_rows,
    check_weights,
    first_rows,
    importable,
    integer_seeds,
)
from skscore.exceptions import ConvergenceWarning, NoiseRangeWarning, TrainingDivergedError
from skscore.losses import Loss
from skscore.metrics import hyvarinen_score_samples
from skscore.networks import NETWORKS, SMOOTH_ACTIVATIONS

_MIN_CHUNK = 10
_LEAST_BATCH = 64
_SPREAD = 0.03  # deviations by which rows are spread under a loss that rewards spikes on them
_LOST = 1.0  # least rise of the loss, which is of the order of the columns, that is a divergence
_FEW_ROWS, _MEMBER = 4000, (96, 96)  # short tables want an ensemble
_FEW_ROUNDS, _MANY_ROUNDS = 40, 60
# Three layers learn more; two have a trace whose cost does not grow with the columns.
_FEW_COLUMNS, _MANY_COLUMNS = (5, (128, 128, 128)), (192, 192)
_DROPOUT, _DROPOUT_ROWS = 0.2, 100.0  # the largest rate; rows of one more network unit dropped


@dataclass(frozen=True)
class FitData:
    """What a training run is about: different rows, and how they are standardised.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    weights : ndarray of shape (n,) or None
        How many of the rows as given each stands for; None is one each.
    standardizer : Standardizer
    rng : RandomState
    ties : Ties or None
        Of the rows as given.
    places, given_weights : ndarray of shape (n_given,) or None
        Where the rows as given are among these, and their weights.
    """

    X: np.ndarray
    weights: np.ndarray | None
    standardizer: Standardizer
    rng: np.random.RandomState
    ties: Ties | None = None
    places: np.ndarray | None = None
    given_weights: np.ndarray | None = None

    @property
    def n_given(self) -> float:
        """Number of the rows as given."""
        return self.rows.n_rows

    @property
    def rows(self) -> Portion:
        """All of the rows."""
        return Portion(np.arange(len(self.X)), self.weights)


@dataclass(frozen=True)
class Objective:
    """What a network is trained to: the loss, the levels of its spec, what their choice left."""

    loss: Loss
    levels: dict[str, Any] = field(default_factory=dict)
    learnt: dict[str, Any] = field(default_factory=dict)


def check_constructor(estimator: BaseEstimator) -> None:
    """Hold the parameters to what is allowed."""
    check_parameters(estimator)
    resolve_device(estimator.device)
    name = type(estimator).__name__
    widths = hidden_widths(estimator)
    if not widths or not all(isinstance(w, int) and w >= 1 for w in widths):
        raise ValueError(
            f"The 'hidden_layer_sizes' parameter of {name} must hold at least one int, each in "
            f"the range [1, inf). Got {estimator.hidden_layer_sizes!r} instead."
        )
    if estimator.conservative and estimator.activation not in SMOOTH_ACTIVATIONS:
        legal = ", ".join(repr(a) for a in SMOOTH_ACTIVATIONS)
        raise ValueError(
            f"The 'activation' parameter of {name} must be smooth with conservative=True, "
            f"one of: {legal}. Got {estimator.activation!r} instead."
        )
    if callable(estimator.network) and not importable(estimator.network):
        raise ValueError(
            f"The 'network' parameter of {name} must be one of {sorted(NETWORKS)}, or a factory "
            "that can be imported by its name, so that the estimator can be pickled. Got "
            f"{estimator.network!r} instead: define it at the top level of a module."
        )
    check_picklable(estimator)


def hidden_widths(
    estimator: BaseEstimator, n_features: int = 1, network: Any = "mlp"
) -> tuple[int, ...]:
    """Widths of the network; those of "auto" depend on its kind and the number of columns."""
    sizes = estimator.hidden_layer_sizes
    if not isinstance(sizes, str):
        return tuple(np.atleast_1d(sizes).tolist())
    if network == "ensemble":
        return _MEMBER
    return _FEW_COLUMNS[1] if n_features <= _FEW_COLUMNS[0] else _MANY_COLUMNS


def n_rounds(estimator: BaseEstimator, n_rows: int) -> int:
    """Rounds of a fit to so many rows; those of "auto" are fewer for short tables."""
    if isinstance(estimator.max_iter, str):
        return _FEW_ROUNDS if n_rows < _FEW_ROWS else _MANY_ROUNDS
    return estimator.max_iter


def network_make(estimator: BaseEstimator, n_rows: int, n_features: int) -> dict[str, Any]:
    """Kind, widths and dropout of a network for so many rows to train on."""
    network = estimator.network
    if isinstance(network, str) and network == "auto":
        network = "ensemble" if n_rows < _FEW_ROWS else "mlp"
    make = {"network": network}
    make["hidden_layer_sizes"] = hidden_widths(estimator, n_features, network)
    if isinstance(network, str) and network == "ensemble":
        make["dropout"] = min(_DROPOUT, _DROPOUT_ROWS / n_rows)
    return make


def first_data(
    estimator: BaseEstimator, X: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[FitData, dict[str, Any]]:
    """Checked and measured rows of a fit, and the attributes that describe their columns."""
    goes_on = hasattr(estimator, "_network")
    rows, described = (check_rows(estimator, X), {}) if goes_on else first_rows(estimator, X)
    names = column_names(X, rows.shape[1])
    given = check_weights(sample_weight, len(rows))
    rows, weights, places = merged_rows(rows, given)
    ties = column_ties(rows, weights, np.sum(places >= 0))
    weights = counted_cells(rows, weights)
    if len(rows) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least two different rows of positive weight. "
            f"Got n_samples={len(rows)} of them."
        )
    rng = np.random.RandomState(integer_seeds(estimator.random_state, 1)[0])
    form, dequantize = estimator.standardize, estimator.dequantize
    if form == "auto":  # a warm start keeps what was chosen
        kept = getattr(estimator, "standardize_", None)
        form = kept or chosen_form(rows, weights, ties, dequantize, names)
    standardizer = Standardizer.fit(
        rows, weights, form=form, dequantize=dequantize, names=names, ties=ties
    )
    return FitData(rows, weights, standardizer, rng, ties, places, given), described


def next_data(
    estimator: BaseEstimator,
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    standardizer: Standardizer,
    n_steps: int,
) -> FitData:
    """Checked rows of a later chunk, in the standardisation of the first."""
    rows = check_rows(estimator, X)
    rows, weights, _ = merged_rows(rows, check_weights(sample_weight, len(rows)))
    rng = np.random.RandomState([integer_seeds(estimator.random_state, 1)[0], n_steps])
    return FitData(rows, weights, standardizer, rng)


def check_first_chunk(estimator: BaseEstimator, X: np.ndarray) -> None:
    """Refuse a first chunk too small to fix location, scale and correlations."""
    n, d = X.shape
    least = max(_MIN_CHUNK, 2 * d)
    if n < least:
        raise ValueError(
            f"The first chunk given to partial_fit of {type(estimator).__name__} fixes the "
            f"standardisation and must have at least {least} rows for {d} columns. Got {n} rows."
        )


def train(
    estimator: BaseEstimator,
    data: FitData,
    spec: NetworkSpec,
    loss: Loss,
    *,
    training: Portion,
    validation: Portion | None,
    n_rounds: int,
    previous: FittedNetwork | None,
    mixture: Mixture | None = None,
    decays: bool = False,
    later_rounds: int = 0,
    validation_seed: int | None = None,
) -> tuple[FittedNetwork, Record]:
    """One run of the workshop.

    `decays` and `later_rounds` are those of a :class:`~skscore._training.Plan`, and a new network
    may rest on a `mixture`.  Runs with one `validation_seed` are judged on the same draws.
    """
    if previous is not None:
        _refuse_changes(estimator, asdict(previous.spec), asdict(spec))
    seeds = [int(seed) for seed in data.rng.randint(2**31 - 1, size=3)]
    least = estimator._least_batch
    number = effective_number(training)
    least = min(least, max(_LEAST_BATCH, number // 4))
    size, auto = estimator.batch_size, min(max(least, number // 1000), 1024)
    plan = Plan(
        n_rounds=n_rounds,
        batch_size=auto if size == "auto" else min(size, number),
        learning_rate=estimator.learning_rate_init,
        patience=estimator.n_iter_no_change,
        tol=estimator.tol,
        validation_seed=seeds[2] if validation_seed is None else validation_seed,
        decays=decays,
        later_rounds=later_rounds,
    )
    z = data.standardizer
    normal = z.normal if loss.bounded else np.vstack([z.normal, z.spread(_SPREAD)])
    device = resolve_device(estimator.device)
    network, record = train_network(
        spec,
        loss,
        RowSource(data.X, z.transform, z.uniform, normal, device),
        training,
        validation,
        plan,
        seeds=(seeds[0], seeds[1]),
        resume=previous,
        mixture=mixture,
        on_round=_print_round(type(estimator).__name__) if estimator.verbose else None,
    )
    _refuse_lost(estimator, record)
    return network, record


def _refuse_changes(estimator: BaseEstimator, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with what an earlier fit has fixed otherwise."""
    fixed = getattr(estimator, "_fixed", {})  # none between the stages of one fit
    before, now = before | fixed, now | {name: getattr(estimator, name) for name in fixed}
    changed = [name for name in now if not np.array_equal(now[name], before[name])]
    changes = [f"{name} was {before[name]!r}, is {now[name]!r}" for name in changed]
    if changes:
        raise ValueError(
            f"{type(estimator).__name__} cannot go on from its earlier fit: {'; '.join(changes)}. "
            "Fit a clone, or set warm_start=False."
        )


def _print_round(name: str) -> Any:
    def show(round_: dict[str, Any]) -> None:
        line = f"[{name}] round {round_['round']}: loss {round_['loss']:.6g}"
        if round_["validation_score"] is not None:
            line += f", validation score {round_['validation_score']:.6g}"
        print(line)

    return show


def _refuse_lost(estimator: BaseEstimator, record: Record) -> None:
    """Refuse a training without a single good round."""
    if record.status == "diverged" and not record.loss_curve:
        raise TrainingDivergedError(
            f"{type(estimator).__name__} met no finite gradient in its first round of training. "
            f"Lower learning_rate_init (it is {estimator.learning_rate_init}), and look for "
            "extreme values in X."
        )


def report(estimator: BaseEstimator, record: Record, *, open_end: bool) -> None:
    """Say how the training of `fit` or `partial_fit` ended, unless well."""
    name, rate = type(estimator).__name__, estimator.learning_rate_init
    kept = "last state" if record.best_score is None else "best state"
    advice = f"the {kept} was kept. Lower learning_rate_init (it is {rate})."
    if record.status == "diverged":
        n_rounds = len(record.loss_curve) + 1
        message = f"Training of {name} diverged in round {n_rounds}; {advice}"
    elif _was_lost(record):
        last = max(record.loss_curve[-1], record.kept_loss)
        message = (
            f"Training of {name} diverged: its loss was {record.first_loss:.3g} before the first "
            f"step and {last:.3g} at the end; {advice}"
        )
    elif record.status == "max_iter" and open_end:
        message = (
            f"Training of {name} stopped at max_iter={estimator.max_iter} rounds, before "
            f"n_iter_no_change={estimator.n_iter_no_change} rounds went by without a better "
            "validation score. The best state was kept; a larger max_iter may find a better one."
        )
    else:
        return
    warn_user(message, ConvergenceWarning)


def has_diverged(record: Record) -> bool:
    """Whether training met no finite loss, or none near that of the untrained state."""
    return record.status == "diverged" or _was_lost(record)


def _was_lost(record: Record) -> bool:
    """Whether no round, or not the state that was kept, came near the loss before the first."""
    first = record.first_loss
    bound = first + max(_LOST, abs(first))
    learnt = record.best_score is not None and record.best_round > 0
    none_near = bool(record.loss_curve) and min(record.loss_curve) > bound
    return record.kept_loss > bound or (none_near and not learnt)


def warn_of_scales(estimator: BaseEstimator, data: FitData, levels: tuple[float, float]) -> None:
    """Say so where rows that are not standardised are too wide or narrow for the levels."""
    deviations = np.sqrt(np.diag(data.standardizer.covariance))[~data.standardizer.constant]
    narrow, wide = deviations.min(initial=np.inf), deviations.max(initial=0.0)
    covered = 10 * levels[0] < narrow and wide < levels[1] / 10
    if estimator.standardize is None and not covered:
        warn_user(
            f"With standardize=None the noise levels, {levels[0]} to "
            f"{levels[1]}, are in the units of X, whose columns have standard deviations "
            f"from {narrow:.3g} to {wide:.3g}. The network is made for deviations near one: "
            'rescale the columns, or use standardize="scale".',
            NoiseRangeWarning,
        )


def level_criterion(
    network: FittedNetwork,
    standardizer: Standardizer,
    device: str,
    rows: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """Hyvarinen's criterion (n_levels, n) of standardised rows, in the covariance's metric."""
    values = _linear_criterion if standardizer.margins is None else _curved_criterion
    levels = list(network.open_levels(device, sigmas))
    return apply_in_chunks(lambda z: np.stack(values(standardizer, levels, z), 1), rows).T


def _linear_criterion(
    standardizer: Standardizer, levels: list[Evaluator], rows: np.ndarray
) -> list[np.ndarray]:
    """One set of directions serves all rows."""
    v = standardizer.directions(standardizer.covariance)
    parts = [net.score_and_divergence(rows, v) for net in levels]
    return [hyvarinen_score_samples(scores @ v.T, trace) for scores, trace in parts]


def _curved_criterion(
    standardizer: Standardizer, levels: list[Evaluator], rows: np.ndarray
) -> list[np.ndarray]:
    """The Jacobian of every row is needed."""
    M, here = standardizer.covariance, standardizer.at(standardizer.inverse_transform(rows))
    values = []
    for net in levels:
        scores = net.score(rows)
        traces = here.traces(net.jacobian(rows), scores, M)
        values.append(hyvarinen_score_samples(here.score(scores), traces, M))
    return values
