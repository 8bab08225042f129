"""The training of a network: rows, loss and plan in, a fitted network and its report out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skscore._backend.closed_form import Mixture
from skscore._backend.convert import resolve_device
from skscore._backend.fitted import FittedNetwork, NetworkSpec, train_network
from skscore._backend.row_source import RowSource
from skscore._backend.training import Plan, Portion, Record
from skscore._fitting.data import FitData, refuse_changes
from skscore._messages import warn_user
from skscore._rows import effective_number
from skscore.exceptions import ConvergenceWarning, NoiseRangeWarning, TrainingDivergedError
from skscore.losses import Loss

_LEAST_BATCH = 64
_SPREAD = 0.03  # deviations by which rows are spread under a loss that rewards spikes on them
_LOST = 1.0  # least rise of the loss, which is of the order of the columns, that is a divergence


@dataclass(frozen=True)
class Objective:
    """What a network is trained to: the loss, the levels of its spec, what their choice left."""

    loss: Loss
    levels: dict[str, Any] = field(default_factory=dict)
    learnt: dict[str, Any] = field(default_factory=dict)


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

    `decays` and `later_rounds` are those of a :class:`~skscore._backend.training.Plan`, and a new
    network may rest on a `mixture`.  Runs with one `validation_seed` are judged on the same draws.
    """
    if previous is not None:
        refuse_changes(estimator, asdict(previous.spec), asdict(spec))
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
    _raise_if_diverged(estimator, record)
    return network, record


def _print_round(name: str) -> Any:
    def show(round_: dict[str, Any]) -> None:
        line = f"[{name}] round {round_['round']}: loss {round_['loss']:.6g}"
        if round_["validation_score"] is not None:
            line += f", validation score {round_['validation_score']:.6g}"
        print(line)

    return show


def _raise_if_diverged(estimator: BaseEstimator, record: Record) -> None:
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
