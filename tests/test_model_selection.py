"""DenoisingScoreEstimatorCV, and the level "auto" of DenoisingScoreEstimator."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, PredefinedSplit, ShuffleSplit

from skscore import DenoisingScoreEstimator, DenoisingScoreEstimatorCV
from skscore._estimators import denoising
from skscore.datasets import make_moons
from skscore.exceptions import NoiseRangeWarning
from skscore.metrics import hyvarinen_scorer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = make_moons(noise=0.1).sample(300, 0)
BRIEF = {"hidden_layer_sizes": (32, 32), "max_iter": 8, "random_state": 0}
SIGMAS = np.array([0.03, 0.1, 0.3, 1.0])


@pytest.fixture(scope="module")
def fitted():
    return DenoisingScoreEstimatorCV(SIGMAS, cv=3, **BRIEF).fit(X)


def test_the_choice_is_that_of_a_grid_search_to_one_step(fitted):
    search = GridSearchCV(DenoisingScoreEstimator(**BRIEF), {"sigma": SIGMAS}, cv=3).fit(X)
    theirs = np.searchsorted(SIGMAS, search.best_params_["sigma"])
    assert abs(np.searchsorted(SIGMAS, fitted.sigma_) - theirs) <= 1


def test_it_is_fitted_to_all_rows_at_the_level_it_chose(fitted):
    plain = DenoisingScoreEstimator(sigma=fitted.sigma_, **BRIEF).fit(X)
    assert fitted.network_.level == plain.network_.level
    np.testing.assert_array_equal(fitted.covariance_, plain.covariance_)
    assert fitted.score(X) == pytest.approx(plain.score(X), rel=0.3)
    assert len(fitted.chain_starts_) == 300


def test_results_hold_together(fitted):
    results = fitted.cv_results_
    n = len(fitted.sigmas_)
    splits = np.array([results[f"split{k}_test_score"] for k in range(3)])
    np.testing.assert_allclose(results["mean_test_score"], splits.mean(axis=0))
    np.testing.assert_allclose(results["std_test_score"], splits.std(axis=0))
    best = int(np.argmax(results["mean_test_score"]))
    assert (fitted.best_index_, fitted.best_score_) == (best, results["mean_test_score"][best])
    assert fitted.sigma_ == fitted.sigmas_[best] == results["params"][best]["sigma"]
    assert sorted(results["rank_test_score"]) == list(range(1, n + 1))
    assert results["rank_test_score"][best] == 1
    assert results["std_error_difference"][best] == 0
    assert (results["std_error_test_score"] > 0).all()
    np.testing.assert_array_equal(results["param_sigma"], fitted.sigmas_)


def test_the_rule_of_one_standard_error_takes_a_level_at_least_as_large(fitted):
    est = clone(fitted).set_params(one_std_error=True).fit(X)
    results = est.cv_results_
    best = int(np.argmax(results["mean_test_score"]))
    gap = results["mean_test_score"][best] - results["mean_test_score"]
    close = np.flatnonzero(gap <= results["std_error_difference"])
    assert est.sigma_ == SIGMAS[close[-1]] >= fitted.sigma_


def test_levels_are_sorted_and_may_be_a_number():
    est = DenoisingScoreEstimatorCV([1.0, 0.1, 0.1], cv=2, **BRIEF).fit(X)
    np.testing.assert_array_equal(est.sigmas_, [0.1, 1.0])
    est = DenoisingScoreEstimatorCV(3, cv=2, **BRIEF).fit(X)
    np.testing.assert_allclose(est.sigmas_, [0.01, 0.1, 1.0])


@pytest.mark.parametrize(
    "cv",
    [
        KFold(2),
        ShuffleSplit(2, random_state=0, test_size=50),
        PredefinedSplit(np.arange(300) % 2),
        [(np.arange(200), np.arange(200, 300)), (np.arange(100, 300), np.arange(100))],
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_splitters_of_scikit_learn_are_taken(cv):
    est = DenoisingScoreEstimatorCV(SIGMAS, cv=cv, **BRIEF).fit(X)
    assert {"split0_test_score", "split1_test_score"} <= set(est.cv_results_)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sigmas": [0.1]}, "at least two different positive finite"),
        ({"sigmas": [0.1, -1.0]}, "at least two different positive finite"),
        ({"sigmas": [0.1, np.inf]}, "at least two different positive finite"),
        ({"sigmas": [0.1, np.nan]}, "at least two different positive finite"),
        ({"sigmas": [[0.1, 0.2]]}, "at least two different positive finite"),
        ({"sigmas": 1}, "'sigmas' parameter"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": "five"}, "'cv' parameter"),
        ({"cv": PredefinedSplit(np.zeros(300))}, "must leave two different rows"),
        ({"cv": []}, "must leave two different rows"),
    ],
)
def test_bad_parameters_are_refused_before_training(params, words, monkeypatch):
    monkeypatch.setattr("skscore._fitting.level_search.training_run", None)
    est = DenoisingScoreEstimatorCV(**{"cv": 2} | params | BRIEF)
    with pytest.raises(ValueError, match=words):
        est.fit(X)


def test_copies_of_training_rows_are_not_left_out():
    """Repeated rows are one row with a weight, in the search too."""
    repeated = DenoisingScoreEstimatorCV(SIGMAS, cv=2, **BRIEF).fit(np.repeat(X, 2, axis=0))
    once = DenoisingScoreEstimatorCV(SIGMAS, cv=2, **BRIEF).fit(X)
    np.testing.assert_array_equal(
        repeated.cv_results_["mean_test_score"], once.cv_results_["mean_test_score"]
    )


def test_row_numbers_of_splits_are_those_of_fit():
    """Rows that are repeated, or have no weight, are found again where they went."""
    repeated, w = np.repeat(X, 2, axis=0), np.tile([1.0, 0.0], 300)
    splits = [(np.arange(400), np.arange(400, 600)), (np.arange(200, 600), np.arange(200))]
    halves = [(np.arange(200), np.arange(200, 300)), (np.arange(100, 300), np.arange(100))]
    once = DenoisingScoreEstimatorCV(SIGMAS, cv=halves, **BRIEF).fit(X)
    for weights in (None, w):
        est = DenoisingScoreEstimatorCV(SIGMAS, cv=splits, **BRIEF)
        est.fit(repeated, sample_weight=weights)
        np.testing.assert_array_equal(
            est.cv_results_["mean_test_score"], once.cv_results_["mean_test_score"]
        )


def test_folds_in_parallel_give_the_same_bits(fitted):
    est = clone(fitted).set_params(n_jobs=2).fit(X)
    np.testing.assert_array_equal(
        est.cv_results_["mean_test_score"], fitted.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(est.score_function(X), fitted.score_function(X))


def test_a_warm_start_and_partial_fit_keep_the_level():
    est = DenoisingScoreEstimatorCV(SIGMAS, cv=2, warm_start=True, **BRIEF).fit(X)
    sigma, results = est.sigma_, est.cv_results_
    est.fit(X[:200])
    assert est.sigma_ == sigma
    assert est.cv_results_ is results
    est = DenoisingScoreEstimatorCV(SIGMAS, cv=2, **BRIEF).partial_fit(X[:100])
    sigma = est.sigma_
    assert est.partial_fit(X[100:]).sigma_ == sigma


def test_groups_are_refused_by_the_splitter_that_needs_them():
    with pytest.raises(ValueError, match="groups"):
        DenoisingScoreEstimatorCV(SIGMAS, cv=GroupKFold(2), **BRIEF).fit(X)


def test_auto_searches_a_single_split(monkeypatch):
    folds = []
    search = denoising.search_levels
    monkeypatch.setattr(denoising, "search_levels", lambda *a: folds.append(a[3]) or search(*a))
    est = DenoisingScoreEstimator(sigma="auto", **BRIEF).fit(X)
    ((training, held),) = folds[0]
    assert (len(training), len(held)) == (240, 60)
    assert not set(training.index) & set(held.index)
    assert 0.02 < est.sigma_ < 0.5
    worst = DenoisingScoreEstimator(sigma=1.0, **BRIEF).fit(X)
    fresh = make_moons(noise=0.1).sample(500, 1)
    assert hyvarinen_scorer(est, fresh) > hyvarinen_scorer(worst, fresh)


@pytest.mark.parametrize("est", [DenoisingScoreEstimator("auto"), DenoisingScoreEstimatorCV(3)])
def test_too_few_rows_to_choose_a_level_are_a_clear_error(est):
    with pytest.raises(ValueError, match="at least two different rows"):
        est.fit(X[:2])


def test_the_networks_of_a_search_end_without_a_word(recwarn):
    est = DenoisingScoreEstimatorCV(SIGMAS, cv=2, **BRIEF | {"early_stopping": False}).fit(X)
    assert est.n_iter_ == 8
    assert not [w for w in recwarn if "n_iter_no_change" in str(w.message)]


def test_auto_keeps_its_level_in_partial_fit():
    est = DenoisingScoreEstimator(sigma="auto", **BRIEF).partial_fit(X[:100])
    sigma = est.sigma_
    assert est.partial_fit(X[100:]).sigma_ == sigma


def test_a_word_other_than_auto_is_refused():
    with pytest.raises(ValueError, match="'sigma' parameter of DenoisingScoreEstimator"):
        DenoisingScoreEstimator(sigma="best").fit(X)


TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
EDGES = {
    "auto": lambda: DenoisingScoreEstimator("auto", **TINY),
    "cv": lambda: DenoisingScoreEstimatorCV(cv=2, **TINY),
    "cv, one standard error": lambda: DenoisingScoreEstimatorCV(cv=2, one_std_error=True, **TINY),
}


@pytest.mark.parametrize("make", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize(("best", "edge"), [(0, "least"), (9, "largest"), (4, None)])
def test_a_level_chosen_at_the_edge_of_the_range_is_warned_of(make, best, edge, monkeypatch):
    """Diabetes without `sex` took the least level without a word: 324, 90, 29, 12 down the grid."""

    def criterion(network, standardizer, device, z, sigmas):
        return np.repeat(-np.abs(np.arange(len(sigmas)) - best)[:, None], len(z), axis=1) * 1.0

    monkeypatch.setattr("skscore._fitting.level_search.level_criterion", criterion)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est = make().fit(X[:100])
    assert est.sigma_ == pytest.approx(np.geomspace(0.01, 1, 10)[best])
    said = [w for w in caught if w.category is NoiseRangeWarning]
    assert len(said) == (edge is not None)
    if edge:
        assert f"chose the {edge} of its noise levels" in str(said[0].message)
        assert said[0].filename == __file__
