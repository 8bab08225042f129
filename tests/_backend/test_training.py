"""The training loop: rounds, averages, early stopping, steps that do not count."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from skscore._backend.adamw import AdamW
from skscore._backend.batches import Batch, Portion, Split, batch_indices
from skscore._backend.training import (
    MAX_STEPS,
    MIN_STEPS,
    Plan,
    TrainingRun,
    _Judge,
    _Trainer,
    optimise,
    steps_per_round,
)
from skscore.losses import Loss


class Rows:
    """One column of given values."""

    def __init__(self, values):
        self.x = torch.tensor(values, dtype=torch.float32)[:, None]
        self.asked = []

    def take(self, index, generator):
        self.asked.append(index)
        return Batch(self.x[index])


def portion(index, weights=None):
    """Rows by number; their weights, where they have some."""
    return Portion(
        torch.as_tensor(index),
        None if weights is None else torch.tensor(weights, dtype=torch.float64),
    )


class Mean(nn.Module):
    """A model that is one number."""

    def __init__(self, start=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([start]))

    def forward(self, x):
        return self.value.expand_as(x)


class Square(Loss):
    """Half the squared distance of the number from the row; NaN from call `bad_from` on."""

    random = False

    def __init__(self, bad_from=math.inf):
        self.bad_from = bad_from
        self.n_calls = 0

    def __call__(self, score, x, *, generator=None):
        self.n_calls += 1
        values = 0.5 * (score(x) - x).square().sum(1)
        return values * math.nan if self.n_calls > self.bad_from else values


def plan(**changes):
    options = {
        "n_rounds": 20,
        "batch_size": 16,
        "learning_rate": 0.05,
        "patience": None,
        "tol": 0.0,
        "validation_seed": 0,
    }
    return Plan(**options | changes)


def run(rows, loss=None, training=None, validation=None, model=None, previous=None, **changes):
    training = portion(range(len(rows.x))) if training is None else training
    generator = torch.Generator().manual_seed(0)
    split = Split(training, validation)
    return optimise(
        model or Mean(),
        TrainingRun("Test", loss or Square(), rows, split, plan(**changes)),
        generator=generator,
        previous=previous,
    )


@pytest.mark.parametrize(("n", "steps"), [(10, 50), (12_800, 100), (10**7, 1000)])
def test_a_round_is_a_pass_within_50_and_1000_steps(n, steps):
    assert (MIN_STEPS, MAX_STEPS) == (50, 1000)
    assert steps_per_round(n, 128) == steps


def test_every_pass_visits_every_row_once():
    batches = batch_indices(portion(range(10)), 4, torch.Generator().manual_seed(0))
    seen = torch.cat([next(batches) for _ in range(10)])
    assert torch.equal(seen.bincount(), torch.full((10,), 4))


def test_every_pass_visits_rows_as_often_as_they_count():
    rows = portion([7, 3, 5, 1], [5.0, 1.0, 1.0, 1.0])
    batches = batch_indices(rows, 4, torch.Generator().manual_seed(0))
    passes = torch.stack([next(batches) for _ in range(4000)])
    numbers = torch.stack([(passes == row).sum(1) for row in rows.index])
    assert set(numbers[0].tolist()) == {2, 3}  # 2.5 on average
    assert set(numbers[1:].flatten().tolist()) == {0, 1}
    shares = numbers.double().mean(1) / 4
    torch.testing.assert_close(shares, rows.weights / 8, atol=0.01, rtol=0)
    places = (passes == 7).double().mean(0)  # nor do copies keep together
    torch.testing.assert_close(places, torch.full((4,), 5 / 8).double(), atol=0.03, rtol=0)


def test_batches_may_be_larger_than_the_table():
    batch = next(batch_indices(portion(range(3)), 7, torch.Generator().manual_seed(0)))
    assert torch.equal(batch.bincount().sort().values, torch.tensor([2, 2, 3]))


def test_the_average_finds_the_minimum():
    record = run(Rows([1.0, 2.0, 3.0, 6.0]))
    assert record.average["value"].item() == pytest.approx(3.0, abs=0.05)
    assert len(record.loss_curve) == 20
    assert record.status == "max_iter"


def test_weights_move_the_minimum_to_the_weighted_mean():
    record = run(Rows([0.0, 4.0]), training=portion([0, 1], [0.5, 1.5]))
    assert record.average["value"].item() == pytest.approx(3.0, abs=0.05)


def test_weights_move_the_verdict_to_the_weighted_mean():
    """Held-out rows 2 and 10, of weights 7 and 1: the best of a way from 0 to 10 is 3."""
    rows = Rows([10.0, 2.0, 10.0])
    held = portion([1, 2], [7.0, 1.0])
    record = run(rows, training=portion([0]), validation=held, n_rounds=80, learning_rate=0.002)
    assert record.average["value"].item() == pytest.approx(3.0, abs=0.2)


def test_heavy_rows_are_judged_with_as_many_draws_as_they_count():
    seen = []

    class Noted(Square):
        random = True

        def __call__(self, score, x, *, generator=None):
            seen.append(x[:, 0])
            return super().__call__(score, x)

    held = portion([0, 1], [9.0, 1.0])
    split = Split(held, held)
    verdict = _Judge(TrainingRun("Test", Noted(), Rows([1.0, 2.0]), split, plan()))(Mean())
    rows, numbers = torch.cat(seen).unique(return_counts=True)
    assert rows.tolist() == [1.0, 2.0]
    assert numbers.tolist() == [1800, 200]
    assert verdict.losses.tolist() == [0.5, 2.0]
    assert verdict.score() == pytest.approx(-(9 * 0.5 + 2.0) / 10)


def test_the_average_is_steadier_than_the_last_state():
    torch.manual_seed(0)
    rows = Rows(torch.randn(512).tolist())
    record = run(rows, n_rounds=30)
    truth = rows.x.mean().item()
    error = {s: abs(getattr(record, s)["value"].item() - truth) for s in ("average", "last")}
    assert error["average"] < error["last"]


def test_validation_rows_are_never_in_a_batch():
    rows = Rows([0.0, 1.0, 2.0, 50.0])
    held = portion([3])
    run(rows, training=portion(range(3)), validation=held, n_rounds=2)
    asked = [index for index in rows.asked if not torch.equal(index, held.index)]
    assert torch.cat(asked).max() == 2


def test_training_stops_when_the_validation_score_does_and_keeps_the_best():
    rows = Rows([10.0] * 8 + [2.0])
    record = run(
        rows,
        training=portion(range(8)),
        validation=portion([8]),
        patience=3,
        n_rounds=200,
        learning_rate=0.005,
    )
    assert record.status == "converged"
    best = max(range(len(record.validation_scores)), key=record.validation_scores.__getitem__)
    assert len(record.validation_scores) == best + 1 + 3
    assert record.average["value"].item() == pytest.approx(2.0, abs=0.4)


def test_the_untrained_state_is_a_candidate():
    """Training leads away from the held-out row: the start must come back."""
    rows = Rows([10.0] * 8 + [0.0])
    record = run(rows, training=portion(range(8)), validation=portion([8]), patience=3)
    assert record.average["value"].item() == 0.0
    assert record.n_steps == 0
    assert record.best_score == 0.0 > max(record.validation_scores)


def test_validation_draws_are_frozen():
    class Noisy(Square):
        random = True

        def __call__(self, score, x, *, generator=None):
            noise = torch.empty_like(x).normal_(generator=generator)
            return (score(x) - x + noise).square().sum(1)

    rows = Rows([1.0, 2.0, 3.0])
    record = run(
        rows,
        Noisy(),
        training=portion(range(2)),
        validation=portion([2]),
        learning_rate=1e-30,
        n_rounds=3,
    )
    assert len(set(record.validation_scores)) == 1


def test_a_step_without_a_finite_gradient_changes_nothing_and_is_counted():
    class OneBad(Square):
        def __call__(self, score, x, *, generator=None):
            values = super().__call__(score, x, generator=generator)
            return values * math.nan if self.n_calls == 7 else values

    record = run(Rows([1.0, 5.0]), OneBad(), n_rounds=3)
    assert record.n_skipped == 1
    assert all(math.isfinite(v) for v in record.loss_curve)
    assert record.moments[0]["step"].item() == 3 * 50 - 1


def test_divergence_keeps_the_last_good_state():
    record = run(Rows([1.0, 5.0]), Square(bad_from=120))
    assert record.status == "diverged"
    assert len(record.loss_curve) == 3  # the third round had some good steps, the fourth none
    assert math.isfinite(record.average["value"].item())


def test_divergence_from_the_first_step_leaves_no_round():
    record = run(Rows([1.0, 5.0]), Square(bad_from=0))
    assert record.status == "diverged"
    assert record.loss_curve == []


def test_going_on_from_a_record_is_training_on():
    rows = Rows([4.0] * 8)
    half = run(rows, n_rounds=1, learning_rate=0.01)
    more = run(rows, n_rounds=1, learning_rate=0.01, previous=half)
    fresh = run(rows, n_rounds=2, learning_rate=0.01)
    assert more.n_steps == fresh.n_steps == 100
    torch.testing.assert_close(more.average, fresh.average)


def test_grad_clipping_bounds_a_step_against_outliers():
    """One enormous gradient must not blow up the second moment for good."""
    record = run(Rows([1.0] * 15 + [1e6]), n_rounds=1, batch_size=1)
    assert record.moments[0]["exp_avg_sq"].item() <= 100.0


def test_the_callback_hears_every_round():
    heard = []
    generator = torch.Generator().manual_seed(0)
    rows = Rows([1.0, 2.0])
    split = Split(portion(range(2)))
    described = TrainingRun("Test", Square(), rows, split, plan(n_rounds=3), heard.append)
    optimise(Mean(), described, generator=generator)
    assert [h["round"] for h in heard] == [1, 2, 3]
    assert all(h["validation_score"] is None for h in heard)


@pytest.mark.parametrize("bounded", [True, False])
def test_a_gain_on_one_held_out_row_wins_only_under_a_bounded_loss(bounded):
    """The model moves to 10, where one of the eleven held-out rows is; the others stay at 0."""

    class Spiky(Square):
        def __call__(self, score, x, *, generator=None):
            return super().__call__(score, x) * torch.where(x[:, 0] > 5, 20.0, 1.0)

    Spiky.bounded = bounded
    rows = Rows([10.0] * 8 + [0.0] * 10 + [10.0])
    record = run(rows, Spiky(), training=portion(range(8)), validation=portion(range(8, 19)))
    assert (record.n_steps > 0) == bounded


class Several(nn.Module):
    """Numbers of two dtypes, one of them not trained."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))
        self.second = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.fixed = nn.Parameter(torch.tensor([7.0]), requires_grad=False)

    def forward(self, x):
        return (self.value + self.second.float() + 0 * self.fixed).expand_as(x)


def test_parameters_of_all_dtypes_move_and_those_not_trained_stay():
    record = run(Rows([1.0, 2.0, 3.0, 6.0]), model=Several())
    for state in (record.average, record.last):
        assert state["fixed"].item() == 7.0
        assert state["second"].dtype == torch.float64
        assert (state["value"] + state["second"]).item() == pytest.approx(3.0, abs=0.2)
        assert state["second"].item() != 0.0


def test_a_state_holds_memory_of_its_own():
    model = nn.Linear(1, 1)
    record = run(Rows([1.0, 2.0]), model=model, n_rounds=1)
    weight = record.last["weight"].clone()
    with torch.no_grad():
        model.weight.fill_(5.0)
    assert torch.equal(record.last["weight"], weight)


def test_the_norm_of_the_gradient_is_clipped():
    trainer = _Trainer(Mean(), 0.1)
    trainer.step(lambda model: 1e6 * model(torch.ones(4, 1)).mean())
    (state,) = trainer.optimizer.moments.values()
    assert state["exp_avg"].item() == pytest.approx(0.1 * 10.0)  # (1 - beta1) times the bound


# -- a rate that falls -------------------------------------------------------------------------


def rates(monkeypatch, **changes):
    """Learning rates of all steps."""
    seen, step = [], AdamW.step

    def watched(self, *args):
        seen.append(args[0])
        return step(self, *args)

    monkeypatch.setattr(AdamW, "step", watched)
    run(Rows([1.0, 2.0]), **changes)
    return np.array(seen)


def test_the_rate_rises_and_then_falls_to_zero_over_all_rounds(monkeypatch):
    seen = rates(monkeypatch, n_rounds=8, decays=True, learning_rate=0.5)
    t = np.arange(8 * MIN_STEPS)
    np.testing.assert_allclose(seen, 0.5 * np.minimum(1, (t + 1) / 100) * (1 - t / len(t)))


def test_rounds_that_follow_keep_the_rate_up(monkeypatch):
    seen = rates(monkeypatch, n_rounds=2, decays=True, later_rounds=6, learning_rate=0.5)
    assert seen[-1] == pytest.approx(0.5 * (1 - 99 / 400))


def test_without_decay_the_rate_stays(monkeypatch):
    seen = rates(monkeypatch, n_rounds=2, learning_rate=0.5)
    assert (seen == 0.5).all()
