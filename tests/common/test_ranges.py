"""One range of noise levels for a process and for what holds it."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skscore import DiffusionScoreEstimator
from skscore._backend.batches import Split
from skscore._fitting.data import FitData
from skscore.losses import DiffusionScoreMatching
from skscore.noise import (
    PROCESSES,
    SCHEDULES,
    LognormalLevels,
    NoiseProcess,
    StraightFlow,
    VarianceExploding,
)
from skscore.noise._levels import check_reach
from skscore.noise._settled import settled_process
from skscore.samplers import reverse_sampler

X = np.random.RandomState(0).standard_normal((40, 2))
TINY = {
    "network": "mlp",
    "hidden_layer_sizes": (8,),
    "n_components": 0,
    "max_iter": 1,
    "standardize": "whiten",
    "random_state": 0,
}
RANGED = [VarianceExploding, LognormalLevels]


class Short(NoiseProcess):
    """A process that ends at the level one, and begins at 0.1."""

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return 0.1 + 0.9 * t


def tiny(*args, **params):
    return DiffusionScoreEstimator(*args, **TINY | params)


def loss_of(est):
    """What it is trained by."""
    data = FitData(X, None, est._standardizer, np.random.RandomState(0))
    return est._objective(data, Split(data.rows), None).loss


def estimator_range(process, **ends):
    return tiny(process, **ends).fit(X).sigma_range_


def loss_range(process, **ends):
    loss = DiffusionScoreMatching(process, **ends)
    loss.check()
    return settled_process(loss, loss.process).sigma_range


OWNERS = [estimator_range, loss_range]


@pytest.mark.parametrize("range_of", OWNERS)
@pytest.mark.parametrize("process", RANGED)
def test_an_end_that_is_set_on_one_side_wins(process, range_of):
    assert range_of(process()) == (0.002, 80.0)
    assert range_of(process(0.05, 10.0)) == (0.05, 10.0)
    assert range_of(process(0.05), sigma_max=10.0) == (0.05, 10.0)
    assert range_of(process(), sigma_min=0.05, sigma_max=10.0) == (0.05, 10.0)
    assert range_of(process(0.05, 10.0), sigma_min=0.05, sigma_max=10) == (0.05, 10.0)


@pytest.mark.parametrize("process", RANGED)
def test_two_ends_that_were_set_must_agree_and_both_are_named(process, monkeypatch):
    monkeypatch.setattr("skscore._fitting.run.fit_network", None)  # refused before any training
    cls = process.__name__
    for owner in (tiny, DiffusionScoreMatching):
        for name, ends in (("sigma_min", (0.05, 10.0)), ("sigma_max", (0.01, 9.0))):
            held = owner(process(*ends), **{name: 1.0})
            words = (
                f"'{name}' parameter of {type(held).__name__} is 1.0, .* {cls}.*{name}={ends[0]}"
            )
            words = words if name == "sigma_min" else words.replace(str(ends[0]), "9.0")
            with pytest.raises(ValueError, match=f"{words}.* leave one of the two at its default"):
                held.fit(X) if owner is tiny else held.check()
            if owner is tiny:
                with pytest.raises(NotFittedError):
                    held.sample()


@pytest.mark.parametrize("range_of", OWNERS)
def test_a_range_that_is_empty_across_both_is_refused(range_of):
    with pytest.raises(ValueError, match="sigma_min' parameter of .* less than its 'sigma_max'"):
        range_of(VarianceExploding(5.0), sigma_max=2.0)


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_trains_on_the_range_that_is_reported(name):
    """VarianceExploding(.05, 10.) was trained on (.002, 80.), the estimator's own."""
    for process in (name, PROCESSES[name]()):
        est = tiny(process, 0.05, 9.0).fit(X)
        levels = loss_of(est).draw_angles(torch.zeros(4000, 1), torch.Generator().manual_seed(0))
        levels = levels[0].tan()
        assert est.sigma_range_ == est._network.spec.sigma_range == (0.05, 9.0)
        assert 0.05 * (1 - 1e-5) < levels.min() < 0.06
        assert 7.0 < levels.max() < 9.0 * (1 + 1e-5)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_processes_by_name_have_the_default_range(name):
    assert settled_process(tiny(), PROCESSES[name]()).sigma_range == (0.002, 80.0)


def test_the_range_ends_where_a_process_does():
    assert settled_process(tiny(), Short()).sigma_range == pytest.approx((0.1, 1.0))
    assert settled_process(tiny(sigma_min=0.2), Short()).sigma_range == pytest.approx((0.2, 1.0))


@pytest.mark.parametrize("owner", [tiny, DiffusionScoreMatching])
def test_levels_that_a_process_does_not_reach_are_refused(owner, monkeypatch):
    monkeypatch.setattr("skscore._fitting.run.fit_network", None)
    held = owner(Short(), sigma_max=20.0)
    with pytest.raises(ValueError, match=r"Short\(\) reaches noise levels from 0.1 to 1, .* 20.0"):
        held.fit(X) if owner is tiny else held.check()
    with pytest.raises(ValueError, match="or a schedule other than 'time'"):
        tiny(Short(), sigma_max=20.0, levels="theta").fit(X)  # the grid of the solver is in time


@pytest.mark.parametrize("schedule", sorted(set(SCHEDULES) - {"time"}))
def test_schedules_of_their_own_need_no_process_that_reaches(schedule):
    check_reach(schedule, Short(), 0.01, 20.0)
    assert estimator_range(Short(), sigma_max=20.0, levels=schedule, grid=schedule)[1] == 20.0


@pytest.mark.parametrize("process", RANGED)
def test_levels_outside_the_range_are_refused_after_fitting(process):
    est = tiny(process(0.05, 10.0)).fit(X)
    for sigma in (0.05, 10.0):
        assert np.isfinite(est.score_function(X, sigma)).all()
    for sigma in (0.04, 11.0):
        with pytest.raises(ValueError, match=r"in the trained range \[0.05, 10.0\]. Got"):
            est.score_function(X, sigma)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_grid_of_the_solver_spans_the_range(name):
    ends = {"sigma_min": 0.05, "sigma_max": 10.0}
    process = PROCESSES[name]
    est = tiny(process(**ends)) if process in RANGED else tiny(process(), **ends)
    angles = np.array(est.fit(X)._angles(reverse_sampler("heun"), 50))
    assert est.sigma_range_ == (0.05, 10.0)
    levels = np.tan(angles[1:-1])
    assert (np.diff(angles) < 0).all()
    assert 0.05 <= levels.min() < 0.15
    assert 5.0 < levels.max() <= 10.0 * (1 + 1e-9)


def test_parameters_of_the_process_are_set_searched_and_left_alone():
    est = tiny(VarianceExploding())
    changed = clone(est).set_params(process__sigma_min=0.05).fit(X)
    assert changed.sigma_range_ == (0.05, 80.0)
    assert est.process.get_params() == VarianceExploding().get_params()
    assert clone(changed).fit(X).sigma_range_ == (0.05, 80.0)
    for name in ("process__sigma_min", "sigma_min"):
        search = GridSearchCV(est, {name: [0.05]}, cv=2).fit(X)
        assert search.best_estimator_.sigma_range_ == (0.05, 80.0)
        assert search.best_estimator_.get_params()[name] == 0.05
    assert est.process.get_params() == VarianceExploding().get_params()


def test_fitting_leaves_the_parameters_as_they_were_given():
    est = tiny(VarianceExploding(0.05), sigma_max=10.0)
    before = repr(est.get_params())
    assert repr(est.fit(X).get_params()) == before


CHOSEN = {"levels": "theta", "weighting": "likelihood", "grid": "karras"}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_owns_all_that_was_chosen_and_the_original_is_left_alone(name):
    process = PROCESSES[name]()
    settled = settled_process(tiny(sigma_min=0.05, sigma_max=9.0, **CHOSEN), process)
    assert type(settled) is type(process)
    for held in (settled, clone(settled), clone(DiffusionScoreMatching(settled)).process):
        assert held.sigma_range == (0.05, 9.0)
        assert {key: getattr(held, key) for key in CHOSEN} == CHOSEN
    assert process.sigma_range == (0.002, 80.0)
    assert {key: getattr(process, key) for key in CHOSEN} == {
        key: getattr(type(process), key) for key in CHOSEN
    }


@pytest.mark.parametrize("name", PROCESSES)
def test_a_settled_process_alone_is_as_good_as_the_shorthands(name):
    shorthands = DiffusionScoreMatching(PROCESSES[name](), 0.05, 9.0, "theta", "likelihood")
    alone = DiffusionScoreMatching(settled_process(shorthands, shorthands.process))
    draws = [
        loss.draw_angles(torch.zeros(50, 2), torch.Generator().manual_seed(0))
        for loss in (shorthands, alone)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))


def test_nothing_chosen_is_what_the_process_has():
    process = settled_process(tiny(), LognormalLevels())
    assert (process.levels, process.weighting, process.grid) == ("time", "edm", "karras")
    twice = settled_process(tiny(), settled_process(tiny(**CHOSEN), LognormalLevels()))
    assert {key: getattr(twice, key) for key in CHOSEN} == CHOSEN


def test_a_range_that_was_settled_must_agree_like_any_other():
    settled = settled_process(tiny(sigma_min=0.05), StraightFlow())
    with pytest.raises(ValueError, match="'sigma_min' .* is 1.0, but its process, .* has 0.05"):
        DiffusionScoreMatching(settled, sigma_min=1.0).check()
