"""A training that diverges says so, wherever it happens."""

import math
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)
from skscore._backend.training import Record
from skscore._fitting import run, tournament
from skscore._fitting.run import has_diverged
from skscore.datasets import make_moons
from skscore.exceptions import TrainingDivergedError

X = np.random.RandomState(0).standard_normal((50, 2))
TINY = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
TRAINED = {
    "implicit": ImplicitScoreEstimator(**TINY),
    "sliced": SlicedScoreEstimator(**TINY),
    "denoising": DenoisingScoreEstimator(**TINY),
    "denoising, searched": DenoisingScoreEstimator(sigma="auto", **TINY),
    "cross-validated": DenoisingScoreEstimatorCV(2, cv=2, **TINY),
    "diffusion": DiffusionScoreEstimator(**TINY),
    "diffusion, long trial": DiffusionScoreEstimator(**TINY | {"max_iter": 8}),
    "diffusion on a mixture": DiffusionScoreEstimator(n_components=2, **TINY),
    "diffusion without": DiffusionScoreEstimator(n_components=0, **TINY),
    "conservative": DiffusionScoreEstimator(conservative=True, **TINY),
}
RATES = [100.0, 1e6]


def says_so(call):
    """Whether a call warns of divergence, or raises for it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except TrainingDivergedError as error:
            return "Lower learning_rate_init" in str(error)
    found = [w for w in caught if w.category is ConvergenceWarning and "diverged" in str(w.message)]
    return any("Lower learning_rate_init (it is" in str(w.message) for w in found)


@pytest.mark.parametrize("n_components", ["auto", 0])
def test_the_untrained_state_is_never_returned_in_silence(n_components):
    """With "auto" the trial that decides about the mixture was never reported."""
    est = DiffusionScoreEstimator(n_components=n_components, learning_rate_init=1e6, random_state=0)
    with pytest.warns(ConvergenceWarning, match="DiffusionScoreEstimator diverged .*it is 1000000"):
        est.fit(X)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("name", TRAINED)
def test_no_fit_hides_its_divergence(name, early_stopping, rate):
    est = TRAINED[name].set_params(learning_rate_init=rate, early_stopping=early_stopping)
    assert says_so(lambda: est.fit(X))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", TRAINED)
def test_no_partial_fit_hides_its_divergence(name, rate):
    est = TRAINED[name].set_params(learning_rate_init=rate)
    est._forget()
    assert says_so(lambda: est.partial_fit(X))
    if hasattr(est, "score_function"):
        assert says_so(lambda: est.set_params(learning_rate_init=1e9).partial_fit(X))


@pytest.mark.parametrize("name", TRAINED)
def test_healthy_training_is_not_called_diverged(name):
    est = TRAINED[name].set_params(learning_rate_init=0.01, early_stopping=True)
    assert not says_so(lambda: est.fit(X))
    assert not says_so(lambda: est.set_params(early_stopping=False).fit(X))
    assert not says_so(lambda: est.partial_fit(X))


@pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning")
@pytest.mark.parametrize(
    ("est", "n_splits"),
    [
        (DenoisingScoreEstimator(sigma="auto", **TINY), 1),
        (DenoisingScoreEstimatorCV(2, cv=3, **TINY, n_jobs=2), 3),  # warnings in workers are lost
    ],
)
def test_folds_of_the_search_for_a_level_report_theirs(est, n_splits):
    with pytest.warns(ConvergenceWarning) as caught:
        est.set_params(learning_rate_init=100.0).fit(X)
    words = f"{type(est).__name__} diverged in {n_splits} of {n_splits} splits of the search"
    assert sum(words in str(w.message) for w in caught) == 1


@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_warning_gives_both_losses_and_what_was_kept(early_stopping):
    est = DenoisingScoreEstimator(learning_rate_init=100.0, early_stopping=early_stopping, **TINY)
    with pytest.warns(ConvergenceWarning) as caught:
        est.fit(X)
    (message,) = [str(w.message) for w in caught]
    kept = "best state" if early_stopping else "last state"
    assert "its loss was 0.9" in message
    assert f"before the first step and {est.loss_curve_[-1]:.3g} at the end; the {kept}" in message
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("record", "lost"),
    [
        ({"loss_curve": [3.0, 2.1], "first_loss": 1.0}, True),
        ({"loss_curve": [3.0, 1.9], "first_loss": 1.0}, False),
        ({"loss_curve": [0.1], "first_loss": -1.0}, True),
        ({"loss_curve": [-0.1], "first_loss": -1.0}, False),
        ({"loss_curve": [35.0], "first_loss": 20.0}, False),
        ({"loss_curve": [9.0], "first_loss": 1.0, "best_score": -0.9, "best_round": 1}, False),
        ({"loss_curve": [9.0], "first_loss": 1.0, "best_score": -1.0, "best_round": 0}, True),
        ({"loss_curve": [0.5], "first_loss": 1.0, "status": "diverged"}, True),
        ({"loss_curve": [], "first_loss": 1.0}, False),
    ],
)
def test_a_loss_far_above_that_of_the_first_state_is_a_divergence(record, lost):
    assert has_diverged(Record({}, {}, {}, 0, **record)) is lost


def test_the_best_score_is_at_least_every_score_of_all_stages(monkeypatch):
    """The stages were judged on different draws, and the best lay below a listed score."""
    plans, fit_network = [], run.fit_network

    def watched(start, run, seeds):
        plans.append(run.plan)
        return fit_network(start, run, seeds)

    monkeypatch.setattr(run, "fit_network", watched)
    monkeypatch.setattr(tournament, "_CLEAR", np.inf)  # the trial goes on
    est = DiffusionScoreEstimator(hidden_layer_sizes=(8,), max_iter=8, random_state=0)
    scores = np.array(est.fit(make_moons().sample(200, 0)).validation_scores_)
    assert [plan.n_rounds for plan in plans] == [1, 1, 6]
    assert len({plan.validation_seed for plan in plans}) == 1
    assert len(scores) == len(est.loss_curve_) == est.n_iter_ > 2
    assert est.best_validation_score_ >= scores.max()
    assert est.best_iter_ == 0 or scores[est.best_iter_ - 1] == est.best_validation_score_


def test_joined_records_keep_the_loss_before_the_first_step():
    first = Record({}, {}, {}, 0, loss_curve=[1.0], first_loss=2.0)
    joined = first.followed_by(Record({}, {}, {}, 0, loss_curve=[0.5], first_loss=0.7))
    assert joined.first_loss == 2.0
    assert joined.loss_curve == [1.0, 0.5]
    assert math.isnan(Record({}, {}, {}, 0).first_loss)
