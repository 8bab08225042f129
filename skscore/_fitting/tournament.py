"""Short trainings in place of rules: what a network rests on, and what columns it sees.

Two standardisers, or a network with and without a mixture of Gaussians below it, are often too
near for a rule, and the loss of denoising does not tell.  So what decides is the log-density of
held-out rows, in the units of X, after the first part of the training; the best then goes on.
Mixtures themselves take part as they are, against what the network promises to become; where that
is in doubt, a network with and one without the mixture are trained to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from skscore._backend.closed_form import ClosedForm, Mixture
from skscore._backend.convert import apply_in_chunks
from skscore._backend.fitted import FittedNetwork, Start
from skscore._backend.training import Record, TrainingRun
from skscore._fitting.data import FitData
from skscore._fitting.mixture import LEAST_ROWS, MOST_ROWS, fit_mixture, standardised_rows
from skscore._fitting.run import carry_out
from skscore._rows import drawn_index, judging_number
from skscore.exceptions import TrainingDivergedError

_MOST_HELD, _ENOUGH_HELD = 500, 200
_PART = 0.25  # of the rounds, after which networks are judged
_CLEAR, _BETTER = 2.0, 1.0  # standard errors that are beyond doubt, and that are enough
_TOL = 1e-3
_LEAST_SOLVED, _LOST = 0.95, -1e9  # part of the rows; nats of all where fewer are solved

Contender = tuple[FitData, TrainingRun]
Fitted = tuple[FittedNetwork, Record]


def best_training(
    contenders: Sequence[Contender], start: Start, n_components: int | str
) -> tuple[FitData, FittedNetwork, Record]:
    """Train a network on the rows in the standardiser that suits it best.

    The network rests on a mixture where it is new and that is better.  0 components are no mixture;
    so is "auto" without held-out rows, with a single other row, and where a network without one
    promises to be about as good on the held-out rows.  Without these, or with a network that goes
    on, the first standardiser is taken.
    """
    data, run = contenders[0]
    training, held = run.split.training, run.split.validation
    if start.previous is not None:
        return data, *carry_out(run, start, data.rng)
    _check_components(run, n_components)
    if held is None or len(training) < LEAST_ROWS or _n_rounds(run) == 0:
        return data, *carry_out(run, _start_without_trial(run, start, data, n_components), data.rng)
    index, seed = drawn_index(held, _MOST_HELD, data.rng), int(data.rng.randint(2**31 - 1))
    entries = [_Entry(data, run, start, n_components, index, seed) for data, run in contenders]
    if len(entries) == 1 and not entries[0].has_rival:
        return data, *carry_out(run, entries[0].start, data.rng)
    best = reduce(_better, entries)
    return best.data, *best.finished()


def _better(first: _Entry, other: _Entry) -> _Entry:
    """The first, unless the other one is ahead; beyond doubt, where it is not the curved one.

    Curved columns have wide tails, and the rows that need them may all be missing here.
    """
    if first.diverged or other.diverged:
        return other if first.diverged else first
    n_errors = 0.0 if other.data.standardizer.form == "normal" else _CLEAR
    return other if first.is_ahead(other.values - first.values, n_errors) else first


def _start_without_trial(
    run: TrainingRun, start: Start, data: FitData, n_components: int | str
) -> Start:
    """A start on a mixture or not, where no network can be asked."""
    training, held = run.split.training, run.split.validation
    auto = n_components == "auto"
    if n_components == 0 or (auto and (held is None or len(training) < LEAST_ROWS)):
        return start
    judged = standardised_rows(data, training if held is None else held, _MOST_HELD)
    known = standardised_rows(data, training, MOST_ROWS)
    mixture = fit_mixture(known, judged, n_components, int(data.rng.randint(2**31 - 1)))
    return start if auto and len(mixture.weights) == 1 else start.on(mixture)


class _Entry:
    """A standardiser, and what is known of the networks and the mixture on its rows."""

    def __init__(
        self,
        data: FitData,
        run: TrainingRun,
        start: Start,
        n_components: int | str,
        index: np.ndarray,
        seed: int,
    ) -> None:
        self.data, self._run, self.start, self._seed = data, run, start, seed
        z, X = data.standardizer, data.X[index]
        self._judged = z.jitter(z.transform(X), np.random.RandomState(seed))
        self._volume = z.log_det(X)
        self._mixture: Mixture | None = None  # one that the network has to beat
        if n_components == 0:
            return
        known = standardised_rows(data, run.split.training, MOST_ROWS)
        mixture = fit_mixture(known, self._judged, n_components, seed)
        if n_components != "auto":
            self.start = start.on(mixture)
        elif len(mixture.weights) > 1:  # one is where any network starts
            self._mixture = mixture

    @property
    def has_rival(self) -> bool:
        """Whether there is a mixture that the network has to beat."""
        return self._mixture is not None

    @cached_property
    def _trial(self) -> _Trial:
        return _Trial.of(self._run, self.start, self.data, self._seed)

    @cached_property
    def diverged(self) -> bool:
        """Whether the network had no good round."""
        try:
            return self._trial is None
        except TrainingDivergedError:
            return True

    @cached_property
    def _now(self) -> np.ndarray:
        """Log-densities of the judged rows by the network as it is after the trial."""
        return _flow_log_density(self._trial.network, self._run, self._judged)

    @cached_property
    def _promise(self) -> np.ndarray:
        """Log-densities that the whole training may come to.

        Those of a training that falls short by a part that is inverse to its length.
        """
        half = _flow_log_density(self._trial.half, self._run, self._judged)
        return self._now + (1 - _PART) * (self._now - half)

    @cached_property
    def _of_mixture(self) -> np.ndarray | None:
        if self._mixture is None:
            return None
        law = ClosedForm(*(getattr(self._mixture, n) for n in ("weights", "means", "covariances")))
        return law.log_density(self._judged)

    @cached_property
    def values(self) -> np.ndarray:
        """Log-densities, in the units of X, of the better of network and mixture."""
        values = [self._promise, self._of_mixture]
        return max((v for v in values if v is not None), key=np.mean) + self._volume

    def finished(self) -> Fitted:
        """The whole training; both, where neither network nor mixture is clearly ahead.

        Few rows would not tell: then the mixture stays out.
        """
        if self._mixture is None or self._of_mixture is None:
            return self._trial.finished()
        if self.is_ahead(self._of_mixture - self._promise, _CLEAR):
            return self._on(self._mixture)
        if self._of_mixture.mean() < self._now.mean() or self._number < _ENOUGH_HELD:
            return self._trial.finished()
        plain = self._trial.finished()
        try:
            resting = self._on(self._mixture)
        except TrainingDivergedError:
            return plain
        before, after = (self._final(fitted) for fitted in (plain, resting))
        return resting if self.is_ahead(after - before, _BETTER) else plain

    def _on(self, mixture: Mixture) -> Fitted:
        """The whole training of a network that rests on the mixture."""
        start = self.start.on(mixture)
        return carry_out(self._run, start, self.data.rng, validation_seed=self._seed)

    def _final(self, fitted: Fitted) -> np.ndarray:
        """Log-densities after the whole training."""
        return _flow_log_density(fitted[0], self._run, self._judged)

    def is_ahead(self, gains: np.ndarray, n_errors: float) -> bool:
        """Whether gains on the judged rows are above zero by so many standard errors."""
        return bool(gains.mean() > n_errors * gains.std() / self._number**0.5)

    @property
    def _number(self) -> int:
        """Number of rows that the judgement rests on."""
        judges, number = self._run.split.validation, len(self._judged)
        return number if judges is None else min(number, judging_number(judges, self.data.rows))


@dataclass(frozen=True)
class _Trial:
    """The first part of a training, which may go on, and the network after half of it."""

    run: TrainingRun
    start: Start
    data: FitData
    seed: int
    half: FittedNetwork
    network: FittedNetwork
    record: Record

    @classmethod
    def of(cls, run: TrainingRun, start: Start, data: FitData, seed: int) -> _Trial:
        """Train that part; trials of one seed are judged on the same draws."""
        n_rounds = _n_rounds(run)
        network, record = _rounds(run, start, data, seed, range(n_rounds // 2))
        trial = cls(run, start, data, seed, network, network, record)
        return trial._trained(range(n_rounds // 2, n_rounds))

    def finished(self) -> Fitted:
        """The whole training, with one fall of the learning rate."""
        whole = self._trained(range(_n_rounds(self.run), self.run.plan.n_rounds))
        return whole.network, whole.record

    def _trained(self, rounds: range) -> _Trial:
        """The same after more rounds, if training has not ended."""
        if self.record.status != "max_iter":
            return self
        start = replace(self.start, previous=self.network)
        try:
            network, record = _rounds(self.run, start, self.data, self.seed, rounds)
        except TrainingDivergedError:  # the earlier rounds were good
            return replace(self, record=replace(self.record, status="diverged"))
        return replace(self, network=network, record=self.record.followed_by(record))


def _flow_log_density(network: FittedNetwork, run: TrainingRun, z: np.ndarray) -> np.ndarray:
    """Of standardised rows; the few that are not solved count as the worst of the others."""
    flow = network.open_flow(str(run.rows.device))
    values = apply_in_chunks(lambda z: flow.log_density(z, _TOL, None), z)[:, 0]
    solved = np.isfinite(values)
    if solved.mean() < _LEAST_SOLVED:
        return np.full(len(values), _LOST)
    return np.where(solved, values, values[solved].min())


def _rounds(run: TrainingRun, start: Start, data: FitData, seed: int, rounds: range) -> Fitted:
    """Some rounds of a training, at the rates that they have in the whole."""
    later = run.plan.n_rounds - rounds.stop
    plan = replace(run.plan, n_rounds=len(rounds), later_rounds=later)
    return carry_out(replace(run, plan=plan), start, data.rng, validation_seed=seed)


def _n_rounds(run: TrainingRun) -> int:
    """Of a trial, an even number."""
    return 2 * int(_PART / 2 * run.plan.n_rounds)


def _check_components(run: TrainingRun, number: int | str) -> None:
    """Refuse more components of the mixture than rows it would be fitted to."""
    n_rows = len(run.split.training)
    if number not in ("auto", 0) and n_rows < (least := max(LEAST_ROWS, int(number))):
        raise ValueError(
            f"{run.owner} with n_components={number} needs at least {least} different rows to "
            f"train on. Got {n_rows}, held-out rows aside: give more rows, or set "
            "n_components='auto' or 0."
        )
