"""Which network goes on: the form of its columns, and the mixture below it."""

from types import SimpleNamespace

import numpy as np
import pytest

from skscore import DiffusionScoreEstimator
from skscore._backend.batches import Portion
from skscore._changes.ties import column_ties
from skscore._fitting import data as data_module
from skscore._fitting import form, tournament
from skscore.datasets import make_ring
from skscore.exceptions import ConvergenceWarning, TrainingDivergedError

RING = make_ring().sample(600, 0)
SMALL = {"hidden_layer_sizes": (32, 32), "max_iter": 16, "random_state": 0}
BOTH = ("whiten", "normal")


def n_components(est):
    return est._network.spec.n_components


def worthless_mixture(monkeypatch):
    def log_density(law, rows):
        return np.full(len(rows), -1e6)

    monkeypatch.setattr(tournament.ClosedForm, "log_density", log_density)


def check_record(est, n_rounds):
    """The curves of a training that was done in parts are those of one training."""
    assert est.n_iter_ == len(est.loss_curve_) == len(est.validation_scores_) == n_rounds
    assert est.best_validation_score_ == max(est.validation_scores_)
    assert est.validation_scores_[est.best_iter_ - 1] == est.best_validation_score_


def test_a_network_that_is_ahead_of_the_mixture_goes_on(monkeypatch):
    worthless_mixture(monkeypatch)
    est = DiffusionScoreEstimator(**SMALL, n_iter_no_change=16).fit(RING)
    assert n_components(est) == 0
    check_record(est, 16)


def test_a_mixture_that_is_clearly_ahead_is_taken():
    est = DiffusionScoreEstimator(**SMALL).fit(RING)
    assert n_components(est) > 1


@pytest.mark.parametrize("preferred", ["network", "mixture"])
def test_in_doubt_both_are_trained_and_the_better_one_is_kept(preferred, monkeypatch):
    finals = []

    def final(entry, fitted):
        finals.append(fitted)
        on_mixture = fitted[0].spec.n_components > 0
        return np.full(60, float(on_mixture == (preferred == "mixture")))

    monkeypatch.setattr(tournament, "_CLEAR", np.inf)  # no lead is beyond doubt
    monkeypatch.setattr(tournament, "_ENOUGH_HELD", 60)
    monkeypatch.setattr(tournament._Entry, "_final", final)
    est = DiffusionScoreEstimator(**SMALL).fit(RING)
    assert len(finals) == 2
    assert (n_components(est) > 0) == (preferred == "mixture")


def test_in_doubt_few_held_out_rows_leave_the_mixture_out(monkeypatch):
    monkeypatch.setattr(tournament, "_CLEAR", np.inf)
    assert n_components(DiffusionScoreEstimator(**SMALL).fit(RING)) == 0


def test_a_promise_is_exact_for_a_shortfall_inverse_to_the_length(monkeypatch):
    """At parts t of a training log-densities of 1 - c / t come to 1 - c."""
    c = np.array([0.01, 0.2])
    values = {"half": 1 - c / (tournament._PART / 2), "now": 1 - c / tournament._PART}
    monkeypatch.setattr(tournament, "_flow_log_density", lambda network, run, z: values[network])
    entry = object.__new__(tournament._Entry)
    entry._run = entry._judged = None
    entry._trial = SimpleNamespace(half="half", network="now")
    assert entry._promise == pytest.approx(1 - c)


def diverging(monkeypatch, at):
    """Let the trainings of these numbers have no good round."""
    numbers, original = [], tournament.carry_out

    def carry_out(run, start, rng, **options):
        numbers.append(start)
        if len(numbers) in at:
            raise TrainingDivergedError("no finite gradient")
        return original(run, start, rng, **options)

    monkeypatch.setattr(tournament, "carry_out", carry_out)
    return numbers


@pytest.mark.parametrize("stage", [2, 3])
def test_a_stage_that_diverges_leaves_the_rounds_before_it(stage, monkeypatch):
    worthless_mixture(monkeypatch)
    diverging(monkeypatch, [stage])
    with pytest.warns(ConvergenceWarning, match="diverged"):
        est = DiffusionScoreEstimator(**SMALL).fit(RING)
    assert est.n_iter_ == [2, 4][stage - 2]
    assert np.isfinite(est.score_samples(RING[:5])).all()


def test_a_form_whose_network_diverges_leaves_the_other(monkeypatch):
    monkeypatch.setattr(data_module, "likely_forms", lambda *_: BOTH)
    for at, left in (([1], "normal"), ([3], "whiten")):  # two stages of each
        with monkeypatch.context() as patch:
            diverging(patch, at)
            patch.setattr(tournament._Entry, "is_ahead", None)
            est = DiffusionScoreEstimator(**SMALL, n_components=0).fit(skewed(300))
        assert est.standardize_ == left


def test_where_the_network_on_the_mixture_diverges_the_other_is_kept(monkeypatch):
    monkeypatch.setattr(tournament, "_CLEAR", np.inf)
    monkeypatch.setattr(tournament, "_ENOUGH_HELD", 60)
    diverging(monkeypatch, [4])
    assert n_components(DiffusionScoreEstimator(**SMALL).fit(RING)) == 0


def test_rows_that_are_not_solved_do_not_decide():
    class Network:
        def __init__(self, values):
            self.values = np.array(values)

        def open_flow(self, device):
            return self

        def log_density(self, z, tol, probes):
            return self.values[:, None]

    run = SimpleNamespace(rows=SimpleNamespace(device="cpu"))
    for few in (np.inf, np.nan):
        values = [-1.0] * 98 + [few, -3.0]
        found = tournament._flow_log_density(Network(values), run, RING[:100])
        assert found.tolist() == [-1.0] * 98 + [-3.0, -3.0]
    many = tournament._flow_log_density(Network([-1.0, np.inf]), run, RING[:2])
    assert (many < -1e6).all()


# -- the form of the columns -------------------------------------------------------------------


def skewed(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(size=(n, 2)))


@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]])
def test_forms_that_are_near_are_told_apart_by_networks(order, monkeypatch):
    monkeypatch.setattr(data_module, "likely_forms", lambda *_: order)
    est = DiffusionScoreEstimator(**{**SMALL, "max_iter": 48}, n_components=0).fit(skewed(2000))
    assert est.standardize_ == "normal"
    check_record(est, est.n_iter_)
    rows = skewed(2000, 1)
    truth = -0.5 * np.log(rows) ** 2 - np.log(rows) - 0.5 * np.log(2 * np.pi)
    assert abs((est.score_samples(rows) - truth.sum(1)).mean()) < 0.1


@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]])
@pytest.mark.parametrize(("lead", "noise"), [(-0.1, 0.1), (0.1, 0.6), (0.2, 0.6)])
def test_a_rival_must_be_ahead_and_a_straight_one_beyond_doubt(order, lead, noise, monkeypatch):
    """Of 60 judged rows; leads of -8, 1.3 and 2.6 standard errors."""
    monkeypatch.setattr(data_module, "likely_forms", lambda *_: order)
    signs = np.resize([-1.0, 1.0], 60)

    def values(entry):
        rival = entry.data.standardizer.form == order[1]
        return rival * (lead + noise * signs)

    monkeypatch.setattr(tournament._Entry, "values", property(values))
    est = DiffusionScoreEstimator(**{**SMALL, "max_iter": 8}, n_components=0).fit(skewed(600))
    needed = 0 if order[1] == "normal" else 2
    ahead = lead > needed * noise / 60**0.5
    assert est.standardize_ == order[int(ahead)]


def test_a_form_without_a_rival_is_trained_at_once(monkeypatch):
    trials = []
    original = tournament._Trial.of
    monkeypatch.setattr(
        tournament._Trial, "of", lambda *given: trials.append(1) or original(*given)
    )
    DiffusionScoreEstimator(**SMALL, n_components=0, standardize="normal").fit(skewed(300))
    DiffusionScoreEstimator(**SMALL, n_components=2, standardize="whiten").fit(skewed(300))
    assert not trials


def test_networks_are_asked_only_where_rows_are_many_and_forms_are_near(monkeypatch):
    rng = np.random.default_rng(0)
    near = rng.normal(size=(3000, 2))

    def likely(rows):
        return form.likely_forms(rows, None, column_ties(rows), dequantize=False)

    assert set(likely(near)) == set(BOTH)
    assert likely(near)[0] == "whiten"  # which is simpler
    assert likely(near[:2000]) == ("whiten",)
    assert likely(skewed(3000))[0] == "normal"
    monkeypatch.setattr(form, "_CLEAR", 0.0)
    assert likely(skewed(3000)) == ("normal",)


@pytest.mark.parametrize(("n", "n_parts"), [(60, 5), (100, 3), (290, 2), (300, 1), (2000, 1)])
def test_forms_of_a_short_table_are_judged_on_sixty_rows_at_least(n, n_parts):
    parts = form._splits(Portion(np.arange(n)), np.random.RandomState(0))
    judged = np.concatenate([held.index for _, held in parts])
    assert len(parts) == n_parts
    assert 60 <= len(judged) == len(set(judged))
    for training, held in parts:
        assert sorted([*training.index, *held.index]) == list(range(n))
