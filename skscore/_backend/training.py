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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

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
BatchLoss = Callable[[nn.Module], Tensor]
"""Losses (b,) of the rows of a batch, as a function of the model."""


class Rows(Protocol):
    """A source of rows: those at an index (b,), as (b, d)."""

    def take(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Rows at `index`."""


@dataclass(frozen=True)
class Portion:
    """Some rows of a table by their numbers (m,), and how much each counts; None is alike.

    The training loop visits rows as often as they count.
    """

    index: Any
    weights: Any = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def n_rows(self) -> float:
        """How many rows they stand for."""
        return float(len(self.index) if self.weights is None else self.weights.sum())


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
    validation_seed: int
    decays: bool = False
    later_rounds: int = 0


@dataclass
class Record:
    """What training leaves: the chosen state and how it came about.

    `first_loss` and `kept_loss` are those of the state before the first step and of the one that
    was kept, on held-out rows or, where there are none, on some that are trained on.
    """

    average: State
    last: State
    moments: dict[int, dict[str, Tensor]]
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


def _batches(rows: Portion, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches from passes that are shuffled anew."""
    places = rows.index[:0]
    while True:
        while len(places) < size:
            order = _pass(rows, generator)
            places = torch.cat([places, order]) if len(places) else order
        yield rows.index[places[:size]]
        places = places[size:]


def _pass(rows: Portion, generator: torch.Generator) -> Tensor:
    """As many places as there are rows, in random order: each once, or as often as it counts.

    Weighted ones are systematic draws: a row that counts r times the mean comes ``floor(r)`` or
    ``ceil(r)`` times.
    """
    n, device = len(rows), rows.index.device
    order = torch.randperm(n, generator=generator, device=device)
    if rows.weights is None:
        return order
    ends = rows.weights[order].cumsum(0)
    shift = torch.rand(1, generator=generator, device=device, dtype=ends.dtype)
    points = (torch.arange(n, device=device, dtype=ends.dtype) + shift) * (ends[-1] / n)
    drawn = order[torch.searchsorted(ends, points).clamp_max(n - 1)]
    return drawn[torch.randperm(n, generator=generator, device=device)]


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
        self,
        model: nn.Module,
        learning_rate: float,
        resume: Record | None,
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self.learning_rate, self.last_step = learning_rate, None
        self.average = copy.deepcopy(model)
        self._weights, self._means = _flattened(model), _flattened(self.average)
        self.average.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self._weights, lr=learning_rate, fused=True)
        self.n_steps = 0
        if resume is not None:
            self.model.load_state_dict(resume.last)
            self.average.load_state_dict(resume.average)
            saved = self.optimizer.state_dict()
            saved["state"] = resume.moments
            self.optimizer.load_state_dict(saved)
            self.n_steps = resume.n_steps

    def step(self, losses: BatchLoss) -> tuple[Tensor, Tensor]:
        """Move once; the loss and whether the step was skipped, both on the device."""
        self.optimizer.param_groups[0]["lr"] = self._learning_rate()
        for vector in self._weights:
            vector.grad.zero_()
        value = losses(self.model).mean()
        value.backward()
        norms = [torch.linalg.vector_norm(vector.grad).float() for vector in self._weights]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        skipped = 1.0 - (norm < math.inf).float()
        # The fused kernel divides gradients by this, which clips their norm ...
        self.optimizer.grad_scale = (norm / _MAX_NORM).clamp_min(1.0)
        # ... and leaves weights, moments and step count alone where this is one.
        self.optimizer.found_inf = skipped
        self.optimizer.step()
        self._update_average()
        return value.detach(), skipped

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
        for mean, value in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mean.copy_(value)

    def moments(self) -> dict[int, dict[str, Tensor]]:
        return copy.deepcopy(self.optimizer.state_dict()["state"])


def _prepared(
    loss: Loss, x: Tensor, n_batches: int, generator: torch.Generator
) -> Iterable[BatchLoss]:
    """Losses of equal parts of the rows, drawn all at once where the loss knows how."""
    if hasattr(loss, "prepared"):
        return loss.prepared(x, n_batches, generator)
    parts = x.chunk(n_batches)
    return (partial(loss, x=part, generator=generator) for part in parts)


def _run_round(
    trainer: _Trainer,
    loss: Loss,
    rows: Rows,
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
        x = rows.take(torch.cat(block), generator)
        for batch in _prepared(loss, x, n_batches, generator):
            values[done], skipped[done] = trainer.step(batch)
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


def _some(rows: Portion) -> Portion:
    """Every k-th row, so many as are worth a judgement."""
    step = math.ceil(len(rows) / _VALIDATION_DRAWS)
    weights = None if rows.weights is None else rows.weights[::step]
    return Portion(rows.index[::step], weights)


@torch.no_grad()
def _judge(model: nn.Module, loss: Loss, rows: Rows, held: Portion, seed: int) -> _Verdict:
    """Losses on the held-out rows, with the same draws at every call.

    Under a random loss a row is visited as often as it counts, and at least once.
    """
    generator = torch.Generator(held.index.device).manual_seed(seed)
    weights = torch.ones(len(held), dtype=torch.float64, device=held.index.device)
    weights = weights if held.weights is None else held.weights
    repeats = math.ceil(_VALIDATION_DRAWS / len(held)) if loss.random else 1
    visits = (repeats * weights / weights.mean()).ceil().long() if loss.random else repeats
    model.eval()
    place = torch.arange(len(held), device=held.index.device).repeat_interleave(visits)
    losses = []
    for part in held.index[place].split(_VALIDATION_CHUNK):
        x = rows.take(part, generator)
        losses.append(loss(model, x, generator=generator).double())
    sums = torch.zeros_like(weights).index_add_(0, place, torch.cat(losses))
    return _Verdict(sums / visits, weights)


def train(
    model: nn.Module,
    loss: Loss,
    rows: Rows,
    training: Portion,
    validation: Portion | None,
    plan: Plan,
    *,
    generator: torch.Generator,
    resume: Record | None = None,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> Record:
    """Fit `model` to the rows of the portion `training`.

    Parameters
    ----------
    model : Module
        Moved in place.
    loss : Loss
    rows : Rows
    training, validation : Portion
        Tensors of row numbers (int64) and weights (float64); without validation rows every
        round is trained and the last average is kept.
    plan : Plan
    generator : Generator
        On the device of the model.
    resume : Record or None
        Go on from this state instead of the model's.
    on_round : callable or None
        Receives a dictionary after every round.

    Returns
    -------
    Record
        Its `status` is "converged", "max_iter" or "diverged".
    """
    trainer = _Trainer(model, plan.learning_rate, resume)
    batches = _batches(training, plan.batch_size, generator)
    n_steps = steps_per_round(len(training), plan.batch_size)
    if plan.decays:
        trainer.last_step = trainer.n_steps + (plan.n_rounds + plan.later_rounds) * n_steps
    for part in model.modules():
        if isinstance(part, Dropout):
            part.source = generator
    record = Record({}, {}, {}, 0)

    judged = _some(training) if validation is None else validation

    def judge() -> _Verdict:
        return _judge(trainer.average, loss, rows, judged, plan.validation_seed)

    def keep() -> None:
        record.average, record.last = _snapshot(trainer.average), _snapshot(trainer.model)
        record.moments, record.n_steps = trainer.moments(), trainer.n_steps
        record.best_round = len(record.loss_curve)

    keep()
    best = reference = judge()
    record.first_loss = -best.score()
    margin = 0.0 if loss.bounded else _UNBOUNDED_MARGIN
    waited = 0
    for number in range(1, plan.n_rounds + 1):
        mean, n_skipped = _run_round(trainer, loss, rows, batches, n_steps, generator)
        record.n_skipped += n_skipped
        if not math.isfinite(mean):
            record.status = "diverged"
            break
        record.loss_curve.append(mean)
        verdict = score = None
        if validation is None:
            keep()
        else:
            verdict = judge()
            score = verdict.score()
            record.validation_scores.append(score)
            if verdict.gain_over(best, margin) > 0:
                best = verdict
                keep()
            better = verdict.gain_over(reference, margin) > plan.tol
            reference, waited = (verdict, 0) if better else (reference, waited + 1)
        if on_round is not None:
            on_round({"round": number, "loss": mean, "validation_score": score})
        if verdict is not None and plan.patience is not None and waited >= plan.patience:
            record.status = "converged"
            break
    if validation is None:
        best = judge()
    else:
        record.best_score = best.score()
    record.kept_loss = -best.score()
    return record
