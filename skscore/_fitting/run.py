"""A training run: built from an estimator and its rows, carried out, and reported on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skscore._backend.batches import Split
from skscore._backend.convert import resolve_device
from skscore._backend.fitted import FittedNetwork, NetworkSpec, Start, fit_network
from skscore._backend.row_source import RowSource
from skscore._backend.training import OnRound, Plan, Record, TrainingRun
from skscore._fitting.data import FitData, refuse_changes
from skscore._fitting.defaults import batch_size, patience
from skscore._messages import warn_user
from skscore._rows import effective_number
from skscore.exceptions import ConvergenceWarning, NoiseRangeWarning, TrainingDivergedError
from skscore.losses import Loss

_SPREAD = 0.03  # deviations by which rows are spread under a loss that rewards spikes on them
_LOST = 1.0  # least rise of the loss, which is of the order of the columns, that is a divergence


@dataclass(frozen=True)
class Objective:
    """What an estimator learns from a table: which network, by which loss.

    The network may rest on a mixture of `n_components`.  `attributes` are fitted attributes that
    are known before training.
    """

    spec: NetworkSpec
    loss: Loss
    n_components: int | str = 0
    attributes: dict[str, Any] = field(default_factory=dict)

    def start(self, estimator: BaseEstimator, previous: FittedNetwork | None) -> Start:
        """A new network, or the one of the fit before, from which it must not differ."""
        if previous is not None:
            refuse_changes(estimator, asdict(previous.spec), asdict(self.spec))
        return Start(self.spec, previous)


def training_run(
    estimator: BaseEstimator,
    data: FitData,
    split: Split,
    loss: Loss,
    n_rounds: int,
    *,
    decays: bool = False,
) -> TrainingRun:
    """The training that an estimator's parameters describe, on a split of the rows."""
    name = type(estimator).__name__
    return TrainingRun(
        owner=name,
        loss=loss,
        rows=_row_source(data, loss, estimator.device),
        split=split,
        plan=Plan(
            n_rounds=n_rounds,
            batch_size=batch_size(estimator, effective_number(split.training)),
            learning_rate=estimator.learning_rate_init,
            patience=patience(estimator, n_rounds),
            tol=estimator.tol,
            decays=decays,
        ),
        on_round=_print_round(name) if estimator.verbose else None,
    )


def _row_source(data: FitData, loss: Loss, device: str) -> RowSource:
    """Standardised rows, spread by a little noise where the loss rewards spikes on them."""
    z = data.standardizer
    normal = z.normal if loss.bounded else np.vstack([z.normal, z.spread(_SPREAD)])
    return RowSource(data.X, z.transform, z.uniform, normal, resolve_device(device))


def carry_out(
    run: TrainingRun,
    start: Start,
    rng: np.random.RandomState,
    *,
    validation_seed: int | None = None,
) -> tuple[FittedNetwork, Record]:
    """Train from a start on; runs with one `validation_seed` are judged on the same draws."""
    weights, draws, judging = (int(seed) for seed in rng.randint(2**31 - 1, size=3))
    judging = judging if validation_seed is None else validation_seed
    run = replace(run, plan=replace(run.plan, validation_seed=judging))
    network, record = fit_network(start, run, (weights, draws))
    _raise_if_diverged(run, record)
    return network, record


def _print_round(name: str) -> OnRound:
    def show(round_: dict[str, Any]) -> None:
        line = f"[{name}] round {round_['round']}: loss {round_['loss']:.6g}"
        if round_["validation_score"] is not None:
            line += f", validation score {round_['validation_score']:.6g}"
        print(line)

    return show


def _raise_if_diverged(run: TrainingRun, record: Record) -> None:
    """Refuse a training without a single good round."""
    if record.status == "diverged" and not record.loss_curve:
        raise TrainingDivergedError(
            f"{run.owner} met no finite gradient in its first round of training. "
            f"Lower learning_rate_init (it is {run.plan.learning_rate}), and look for "
            "extreme values in X."
        )


def report(estimator: BaseEstimator, record: Record, *, judged: bool) -> None:
    """Say how a training ended, unless well; `judged` is whether rows were held out."""
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
    elif record.status == "max_iter" and judged and not estimator._decays:
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
