"""Short trainings in place of rules: what a network rests on, and what columns it sees.

Two standardisers, or a network with and without a mixture of Gaussians below it, are often too
near for a rule, and the loss of denoising does not tell.  So what decides is the log-density of
held-out rows, in the units of X, after the first part of the training; the best then goes on.
Mixtures themselves take part as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skscore._backend.batches import Portion
from skscore._backend.closed_form import ClosedForm, Mixture
from skscore._backend.convert import apply_in_chunks
from skscore._backend.fitted import FittedNetwork, Start
from skscore._backend.training import Record, TrainingRun
from skscore._fitting.data import FitData
from skscore._fitting.mixture import LEAST_ROWS, MOST_ROWS, fit_mixture, standardised_rows
from skscore._fitting.run import carry_out
from skscore._rows import drawn_index, judging_number

_MOST_HELD = 500
_PART = 0.25  # of the rounds, after which networks are judged
_MARGIN = 2.0  # standard errors by which a mixture must be ahead: the network still learns
_TOL = 1e-3

Contender = tuple[FitData, TrainingRun]
Fitted = tuple[FittedNetwork, Record]


def best_training(
    contenders: Sequence[Contender], start: Start, n_components: int | str
) -> tuple[FitData, FittedNetwork, Record]:
    """Train a network on the rows in the standardiser that suits it best.

    Without held-out rows to ask, or with a network that goes on, that is the first one.
    """
    data, run = contenders[0]
    held, new = run.split.validation, start.previous is None
    if held is None or not new or len(contenders) == 1 or _n_rounds(run) == 0:
        return data, *fit_on_mixture(run, start, data, n_components)
    index = drawn_index(held, _MOST_HELD, data.rng)
    seed = int(data.rng.randint(2**31 - 1))
    trials = [_Trial.of(run, start, data, seed) for data, run in contenders]
    values = [trial.log_density_of_rows(index) for trial in trials]
    best = int(np.argmax([value.mean() for value in values]))
    data, run = contenders[best]
    return data, *fit_on_mixture(run, start, data, n_components, trials[best])


@dataclass(frozen=True)
class _Trial:
    """The first part of a training, which may go on."""

    run: TrainingRun
    start: Start
    data: FitData
    seed: int
    network: FittedNetwork
    record: Record

    @classmethod
    def of(cls, run: TrainingRun, start: Start, data: FitData, seed: int) -> _Trial:
        """Train that part; trials of one seed are judged on the same draws."""
        n_rounds = _n_rounds(run)
        plan = replace(run.plan, n_rounds=n_rounds, later_rounds=run.plan.n_rounds - n_rounds)
        first = replace(run, plan=plan)
        fitted = carry_out(first, start, data.rng, validation_seed=seed)
        return cls(run, start, data, seed, *fitted)

    def finished(self) -> Fitted:
        """The whole training, with one fall of the learning rate."""
        if self.record.status != "max_iter":
            return self.network, self.record
        plan = replace(self.run.plan, n_rounds=self.run.plan.n_rounds - _n_rounds(self.run))
        rest, start = replace(self.run, plan=plan), replace(self.start, previous=self.network)
        network, record = carry_out(rest, start, self.data.rng, validation_seed=self.seed)
        return network, self.record.followed_by(record)

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Of standardised rows."""
        flow = self.network.open_flow(str(self.run.rows.device))
        return apply_in_chunks(lambda z: flow.log_density(z, _TOL, None), z)[:, 0]

    def log_density_of_rows(self, index: np.ndarray) -> np.ndarray:
        """Of rows in the units of X."""
        X, standardizer = self.data.X[index], self.data.standardizer
        z = standardizer.jitter(standardizer.transform(X), np.random.RandomState(self.seed))
        return self.log_density(z) + standardizer.log_det(X)


def _n_rounds(run: TrainingRun) -> int:
    """Of a trial."""
    return int(_PART * run.plan.n_rounds)


def fit_on_mixture(
    run: TrainingRun,
    start: Start,
    data: FitData,
    n_components: int | str,
    trial: _Trial | None = None,
) -> Fitted:
    """Train a network, which rests on a mixture where it is new and that is better.

    0 is no mixture; so is "auto" without held-out rows, with a single other row, and where a
    network without one is about as good on the held-out rows.  A `trial` has begun with that.
    """
    training, held = run.split.training, run.split.validation
    none = n_components == "auto" and (held is None or len(training) < LEAST_ROWS)
    if start.previous is not None or n_components == 0 or none:
        return carry_out(run, start, data.rng) if trial is None else trial.finished()
    _check_components(run, n_components)
    judges = training if held is None else held
    judged = standardised_rows(data, judges, _MOST_HELD)
    seed = int(data.rng.randint(2**31 - 1)) if trial is None else trial.seed
    known = standardised_rows(data, training, MOST_ROWS)
    mixture = fit_mixture(known, judged, n_components, seed)
    if n_components != "auto" or _n_rounds(run) == 0:
        return carry_out(run, start.on(mixture), data.rng)
    if len(mixture.weights) == 1:  # where any network starts
        return carry_out(run, start, data.rng) if trial is None else trial.finished()
    trial = _Trial.of(run, start, data, seed) if trial is None else trial
    gains = _log_density(mixture, judged) - trial.log_density(judged)
    if _is_ahead(gains, judges, data.rows):
        return carry_out(run, start.on(mixture), data.rng, validation_seed=seed)
    return trial.finished()


def _is_ahead(gains: np.ndarray, judges: Portion, rows: Portion) -> bool:
    """Whether a mixture with these gains over a network is to be taken."""
    number = min(len(gains), judging_number(judges, rows))
    return bool(gains.mean() > _MARGIN * gains.std() / number**0.5)


def _check_components(run: TrainingRun, number: int | str) -> None:
    """Refuse more components of the mixture than rows it would be fitted to."""
    n_rows = len(run.split.training)
    if number != "auto" and n_rows < (least := max(LEAST_ROWS, int(number))):
        raise ValueError(
            f"{run.owner} with n_components={number} needs at least {least} different rows to "
            f"train on. Got {n_rows}, held-out rows aside: give more rows, or set "
            "n_components='auto' or 0."
        )


def _log_density(mixture: Mixture, rows: np.ndarray) -> np.ndarray:
    law = ClosedForm(mixture.weights, mixture.means, mixture.covariances)
    return law.log_density(rows)
