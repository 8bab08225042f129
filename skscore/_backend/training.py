"""The training loop: stochastic gradients, averaged weights, early stopping.

One round is one pass over the rows, at least 50 and at most 1000 steps.  After
each round the *average* of the weights over about the last tenth of all steps
(Polyak and Juditsky 1992, with a horizon that grows) is judged on the
validation rows, always with the same draws; the best state is what comes back,
and the untrained one competes.  Under a loss without lower bound a state must
win by a standard error: a spike that happens to sit on one held-out row gains
much and proves nothing.

Nothing here copies between host and device inside a round.  A step whose
gradient is not finite changes nothing and is counted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from skscore._backend.adamw import AdamW, Moments
from skscore._backend.batches import Batch, Rows, Split, batch_indices
from skscore.losses import Loss
from skscore.networks import Dropout

MIN_STEPS, MAX_STEPS = 50, 1000
"""Least and most optimiser steps in a round."""

_AVERAGED_PART = 9.0  # weights are averaged with weight ~ t^8: the last tenth of t steps
_MAX_NORM = 10.0
_WARM_STEPS = 100  # over which a learning rate rises that later falls
_VALIDATION_DRAWS = 2000
_VALIDATION_CHUNK = 2048
_UNBOUNDED_MARGIN = 1.0  # standard errors by which a state must win under an unbounded loss

_BLOCK = 4096  # rows that are taken, and whose noise is drawn, at once

State = dict[str, Tensor]
OnRound = Callable[[dict[str, Any]], None]
BatchLoss = Callable[[nn.Module], Tensor]
"""The mean loss of a batch, as a function of the model."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; `patience` None trains all rounds.

    With `decays` the learning rate rises over the first steps and then falls in a straight line
    to zero, at the end of these rounds and of those that are to follow in `later_rounds`.
    """

    n_rounds: int
    batch_size: int
    learning_rate: float
    patience: int | None
    tol: float
    validation_seed: int = 0
    decays: bool = False
    later_rounds: int = 0


@dataclass(frozen=True)
class TrainingRun:
    """A training, all but the network: built once, and handed down to the loop.

    `owner` is the name of the estimator, for messages.  `on_round` receives a dictionary after
    every round.  The row numbers (int64) and weights (float64) of the split are tensors where the
    loop reads them, and arrays above it.
    """

    owner: str
    loss: Loss
    rows: Rows
    split: Split
    plan: Plan
    on_round: OnRound | None = None


@dataclass
class Record:
    """What training leaves: the chosen state and how it came about.

    `first_loss` and `kept_loss` are those of the state before the first step and of the one that
    was kept, on held-out rows or, where there are none, on some that are trained on.
    """

    average: State
    last: State
    moments: Moments
    n_steps: int
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    first_loss: float = math.nan
    kept_loss: float = math.nan
    best_score: float | None = None
    best_round: int = 0
    n_skipped: int = 0
    status: str = "max_iter"

    def followed_by(self, later: Record) -> Record:
        """Both as one; `later` went on from this state."""
        later.first_loss = self.first_loss
        later.best_round += len(self.loss_curve) if later.best_round else self.best_round
        later.loss_curve[:0] = self.loss_curve
        later.validation_scores[:0] = self.validation_scores
        later.n_skipped += self.n_skipped
        return later


def steps_per_round(n_rows: int, batch_size: int) -> int:
    """Optimiser steps in one round of `n_rows` rows."""
    return min(max(math.ceil(n_rows / batch_size), MIN_STEPS), MAX_STEPS)


def _snapshot(model: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _flattened(model: nn.Module) -> list[nn.Parameter]:
    """The trained parameters of a model and their gradients, as one vector for each dtype.

    They become views of these vectors, so that a step is a few operations on the vectors,
    whatever the number of layers.
    """
    kinds: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kinds.setdefault(parameter.dtype, []).append(parameter)
    return [_gathered(parameters) for parameters in kinds.values()]


def _gathered(parameters: list[nn.Parameter]) -> nn.Parameter:
    vector = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
    vector.grad = torch.zeros_like(vector)
    sizes = [p.numel() for p in parameters]
    values, slopes = vector.detach().split(sizes), vector.grad.split(sizes)
    for parameter, value, slope in zip(parameters, values, slopes, strict=True):
        parameter.data, parameter.grad = value.view_as(parameter), slope.view_as(parameter)
    return vector


class _Trainer:
    """A model, its average and its optimiser, moved by `step`."""

    def __init__(
        self, model: nn.Module, learning_rate: float, previous: Record | None = None
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.learning_rate = learning_rate
        self.last_step: int | None = None
        self.average = copy.deepcopy(model)
        self._weights, self._means = _flattened(model), _flattened(self.average)
        self.average.requires_grad_(False)
        self.optimizer = AdamW(self._weights, None if previous is None else previous.moments)
        self.n_steps = 0
        if previous is not None:
            self._go_on_from(previous)

    def _go_on_from(self, previous: Record) -> None:
        self.model.load_state_dict(previous.last)
        self.average.load_state_dict(previous.average)
        self.n_steps = previous.n_steps

    def step(self, loss: BatchLoss) -> tuple[Tensor, Tensor]:
        """Move once; the loss and whether the step was skipped, both on the device."""
        self._zero_gradients()
        value = loss(self.model)
        value.backward()
        norm = self._gradient_norm()
        skipped = 1.0 - (norm < math.inf).float()
        divisor = (norm / _MAX_NORM).clamp_min(1.0)  # which clips the norm of the gradients
        self.optimizer.step(self._learning_rate(), divisor, skipped)
        self._update_average()
        return value.detach(), skipped

    def _zero_gradients(self) -> None:
        for vector in self._weights:
            if vector.grad is not None:
                vector.grad.zero_()

    def _gradient_norm(self) -> Tensor:
        norms = [torch.linalg.vector_norm(vector.grad).float() for vector in self._weights]
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))

    def _learning_rate(self) -> float:
        """That of the next step; it falls to zero where `last_step` is set."""
        if self.last_step is None:
            return self.learning_rate
        rise, fall = (self.n_steps + 1) / _WARM_STEPS, 1 - self.n_steps / self.last_step
        return self.learning_rate * min(1.0, rise) * fall

    @torch.no_grad()
    def _update_average(self) -> None:
        self.n_steps += 1
        share = _AVERAGED_PART / (self.n_steps + _AVERAGED_PART - 1)
        for mean, weight in zip(self._means, self._weights, strict=True):
            mean.lerp_(weight, share)
        for kept, value in zip(self.average.buffers(), self.model.buffers(), strict=True):
            kept.copy_(value)

    def moments(self) -> Moments:
        return copy.deepcopy(self.optimizer.moments)


def _batch_losses(
    loss: Loss, rows: Batch, n_batches: int, generator: torch.Generator
) -> Iterator[BatchLoss]:
    """Mean losses of equal parts of the rows, drawn all at once where the loss knows how."""
    for batch, values in zip(
        rows.parts(n_batches), loss.prepared(rows.x, n_batches, generator), strict=True
    ):
        yield partial(_mean_loss, batch, values)


def _mean_loss(batch: Batch, values: Callable[..., Tensor], model: nn.Module) -> Tensor:
    return batch.mean(values(batch.conditioned(model)))


def _run_round(
    trainer: _Trainer,
    run: TrainingRun,
    batches: Iterator[Tensor],
    n_steps: int,
    generator: torch.Generator,
) -> tuple[float, int]:
    """Mean loss over the steps that counted, and the number of those that did not."""
    trainer.model.train()
    # Not lists of tensors: small ones that stay would keep the heap from being used again.
    values, skipped = torch.empty(2, n_steps, dtype=torch.float32, device=trainer.device)
    done = 0
    while done < n_steps:
        block = [next(batches)]
        n_batches = min(max(1, _BLOCK // len(block[0])), n_steps - done)
        block.extend(islice(batches, n_batches - 1))
        rows = run.rows.take(torch.cat(block), generator)
        for loss in _batch_losses(run.loss, rows, n_batches, generator):
            values[done], skipped[done] = trainer.step(loss)
            done += 1
    return values[skipped == 0].mean().item(), int(skipped.sum().item())


@dataclass(frozen=True)
class _Verdict:
    """Loss and weight of every held-out row."""

    losses: Tensor
    weights: Tensor

    def score(self) -> float:
        """Minus the weighted mean loss."""
        score = -(self.weights * self.losses).sum().item() / self.weights.sum().item()
        return score if math.isfinite(score) else -math.inf

    def gain_over(self, other: _Verdict, margin: float) -> float:
        """Mean gain over another verdict, less `margin` standard errors of the differences."""
        if not math.isfinite(self.score()) or not math.isfinite(other.score()):
            return -math.inf if math.isinf(self.score()) else math.inf
        share, gains = self.weights / self.weights.sum(), other.losses - self.losses
        mean, n = share @ gains, len(gains)
        squares = share.square() * (gains - mean).square()
        error = (squares.sum() * n / max(n - 1, 1)).sqrt()
        return (mean - margin * error).item()


class _Judge:
    """Losses on the rows held out, or on some that are trained on, with the same draws each time.

    Under a random loss a row is visited as often as it counts, and at least once.
    """

    def __init__(self, run: TrainingRun) -> None:
        training, validation = run.split
        step = math.ceil(len(training) / _VALIDATION_DRAWS)
        self._rows = training.every(step) if validation is None else validation
        self._run = run

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> _Verdict:
        rows, loss, device = self._rows, self._run.loss, self._rows.index.device
        generator = torch.Generator(device).manual_seed(self._run.plan.validation_seed)
        weights = rows.weights
        if weights is None:
            weights = torch.ones(len(rows), dtype=torch.float64, device=device)
        visits = self._visits(weights)
        model.eval()
        place = torch.arange(len(rows), device=device).repeat_interleave(visits)
        losses = []
        for part in rows.index[place].split(_VALIDATION_CHUNK):
            batch = self._run.rows.take(part, generator)
            losses.append(loss(batch.conditioned(model), batch.x, generator=generator).double())
        sums = torch.zeros_like(weights).index_add_(0, place, torch.cat(losses))
        return _Verdict(sums / visits, weights)

    def _visits(self, weights: Tensor) -> Tensor:
        """How often each row is visited."""
        if not self._run.loss.random:
            return torch.ones_like(weights, dtype=torch.int64)
        repeats = math.ceil(_VALIDATION_DRAWS / len(weights))
        return (repeats * weights / weights.mean()).ceil().long()


class _Selection:
    """The best state so far, its record, and how long ago a better one came."""

    def __init__(self, run: TrainingRun, trainer: _Trainer) -> None:
        self._run, self._trainer, self._judge = run, trainer, _Judge(run)
        self._margin = 0.0 if run.loss.bounded else _UNBOUNDED_MARGIN
        self._waited = 0
        self.record = Record({}, {}, {}, 0)
        self._keep()
        self._best = self._reference = self._judge(trainer.average)
        self.record.first_loss = -self._best.score()

    def _keep(self) -> None:
        record, trainer = self.record, self._trainer
        record.average, record.last = _snapshot(trainer.average), _snapshot(trainer.model)
        record.moments, record.n_steps = trainer.moments(), trainer.n_steps
        record.best_round = len(record.loss_curve)

    def end_round(self, mean: float, n_skipped: int) -> str | None:
        """Take note of a round; how training has ended, if it has."""
        self.record.n_skipped += n_skipped
        if not math.isfinite(mean):
            return "diverged"
        self.record.loss_curve.append(mean)
        score = self._compare()
        if self._run.on_round is not None:
            number = len(self.record.loss_curve)
            self._run.on_round({"round": number, "loss": mean, "validation_score": score})
        patience = self._run.plan.patience
        impatient = score is not None and patience is not None and self._waited >= patience
        return "converged" if impatient else None

    def _compare(self) -> float | None:
        """Keep the state where it is the best; its score on held-out rows, if there are any."""
        if self._run.split.validation is None:
            self._keep()
            return None
        verdict = self._judge(self._trainer.average)
        self.record.validation_scores.append(verdict.score())
        if verdict.gain_over(self._best, self._margin) > 0:
            self._best = verdict
            self._keep()
        if verdict.gain_over(self._reference, self._margin) > self._run.plan.tol:
            self._reference, self._waited = verdict, 0
        else:
            self._waited += 1
        return verdict.score()

    def conclude(self, status: str) -> Record:
        """The record of a training that has ended."""
        self.record.status = status
        if self._run.split.validation is None:
            self._best = self._judge(self._trainer.average)
        else:
            self.record.best_score = self._best.score()
        self.record.kept_loss = -self._best.score()
        return self.record


def optimise(
    model: nn.Module,
    run: TrainingRun,
    *,
    generator: torch.Generator,
    previous: Record | None = None,
) -> Record:
    """Fit a model to the training rows of a run.

    Parameters
    ----------
    model : Module
        Moved in place.
    run : TrainingRun
        Of tensors.  Without validation rows every round is trained and the last average is kept.
    generator : Generator
        On the device of the model.
    previous : Record or None
        Go on from this state instead of the model's.

    Returns
    -------
    Record
        Its `status` is "converged", "max_iter" or "diverged".
    """
    plan, training = run.plan, run.split.training
    trainer = _Trainer(model, plan.learning_rate, previous)
    batches = batch_indices(training, plan.batch_size, generator)
    n_steps = steps_per_round(len(training), plan.batch_size)
    if plan.decays:
        trainer.last_step = trainer.n_steps + (plan.n_rounds + plan.later_rounds) * n_steps
    for part in model.modules():
        if isinstance(part, Dropout):
            part.source = generator
    selection = _Selection(run, trainer)
    for _ in range(plan.n_rounds):
        status = selection.end_round(*_run_round(trainer, run, batches, n_steps, generator))
        if status is not None:
            return selection.conclude(status)
    return selection.conclude("max_iter")
