"""Scorers: the numbers they give, and their part in scikit-learn's searches."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_score,
    validation_curve,
)
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skscore import DenoisingScoreEstimator, DensityScoreEstimator, make_density_pipeline
from skscore.datasets import make_gaussian, make_moons
from skscore.metrics import (
    Scorer,
    hyvarinen_scorer,
    log_likelihood_scorer,
    multi_level_denoising_scorer,
    sliced_scorer,
)

SCORERS = [hyvarinen_scorer, log_likelihood_scorer, multi_level_denoising_scorer, sliced_scorer]
MEAN, COVARIANCE = np.array([3.0, -20.0, 0.0]), np.diag([4.0, 25.0, 0.01]) + 0.05
LAW = make_gaussian(MEAN, COVARIANCE)
X, X_TEST = LAW.sample(400, 0), LAW.sample(500, 1)
W = np.random.RandomState(0).randint(0, 4, size=500).astype(float)


class Exact:
    """The law itself as a fitted estimator; `shift` spoils its score, `levels` tells them all."""

    def __init__(self, shift=0.0, levels=False):
        self.covariance_, self.shift = COVARIANCE, shift
        if levels:
            self.sigma_range_ = (0.2, 2.0)
        self.asked = []

    def score_samples(self, rows):
        return LAW.score_samples(rows)

    def score_function(self, rows, sigma=0.0):
        self.asked.append(sigma)
        C = self.covariance_ * (1 + sigma**2)
        return -np.linalg.solve(C, (np.asarray(rows) - MEAN).T).T + self.shift

    def score_divergence(self, rows, metric):
        return np.full(len(rows), -np.trace(np.linalg.solve(self.covariance_, metric)))


@pytest.fixture(scope="module")
def mixture():
    return DensityScoreEstimator(GaussianMixture(3, random_state=0)).fit(X)


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
class TestEveryScorer:
    def test_it_prefers_the_truth(self, scorer):
        spoiled = Exact(shift=[0.5, 0.2, 5.0])
        spoiled.score_samples = lambda rows: LAW.score_samples(rows + [1.0, 1.0, 0.1])
        assert scorer(Exact(), X_TEST) > scorer(spoiled, X_TEST)

    def test_it_repeats(self, scorer, mixture):
        assert scorer(mixture, X_TEST) == scorer(mixture, X_TEST)

    def test_rows_of_weight_zero_do_not_count(self, scorer, mixture):
        moved = X_TEST.copy()
        moved[W == 0] += 1.0
        weighted = scorer(mixture, moved, sample_weight=W)
        assert weighted == pytest.approx(scorer(mixture, X_TEST, sample_weight=W))
        assert weighted != pytest.approx(scorer(mixture, X_TEST), rel=1e-6)

    def test_it_survives_pickle_and_copies(self, scorer):
        for other in (pickle.loads(pickle.dumps(scorer)), copy.deepcopy(scorer)):
            assert other is scorer

    def test_it_has_a_name_and_documentation(self, scorer):
        assert repr(scorer) == scorer.__name__
        assert "higher is better" in scorer.__doc__

    def test_named_columns_stay_named(self, scorer, recwarn):
        frame = pd.DataFrame(X, columns=["a", "b", "c"])
        est = DensityScoreEstimator(GaussianMixture()).fit(frame)
        scorer(est, frame)
        assert not [w for w in recwarn if "feature names" in str(w.message)]

    def test_an_estimator_without_the_method_is_refused_by_name(self, scorer):
        with pytest.raises(ValueError, match=f"{scorer.__name__} needs a fitted estimator with `"):
            scorer(object(), X)

    def test_weights_are_routed_to_it_on_request_only(self, scorer):
        est = DensityScoreEstimator(KernelDensity())
        with config_context(enable_metadata_routing=True):
            est.set_fit_request(sample_weight=False)
            asking = scorer.set_score_request(sample_weight=True)
            for other in (asking, pickle.loads(pickle.dumps(asking))):
                requests = other.get_metadata_routing().score.requests
                assert requests == {"sample_weight": True}
            params = {"sample_weight": W}
            weighted = cross_val_score(est, X_TEST, scoring=asking, cv=2, params=params)
            plain = cross_val_score(est, X_TEST, scoring=scorer, cv=2, params={})
            with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
                cross_val_score(est, X_TEST, scoring=scorer, cv=2, params=params)
        est = DensityScoreEstimator(KernelDensity()).fit(X_TEST[250:])
        by_hand = scorer(est, X_TEST[:250], sample_weight=W[:250])
        assert weighted[0] == pytest.approx(by_hand)
        assert not np.allclose(weighted, plain)

    def test_it_searches_scikit_learns_ways(self, scorer):
        rows = make_moons().sample(200, 0)
        est = DensityScoreEstimator(KernelDensity())
        name, grid = "density__bandwidth", [0.3, 5.0]
        sharp = partial(scorer, sigmas=[0.1])  # one score cannot be right at all levels
        options = {"scoring": sharp if scorer is multi_level_denoising_scorer else scorer, "cv": 2}
        search = GridSearchCV(est, {name: grid}, **options).fit(rows)
        assert search.best_params_ == {name: 0.3}
        halving = HalvingGridSearchCV(est, {name: grid}, random_state=0, **options).fit(rows)
        assert halving.best_params_ == {name: 0.3}
        _, values = validation_curve(est, rows, None, param_name=name, param_range=grid, **options)
        np.testing.assert_allclose(values.mean(1), search.cv_results_["mean_test_score"])


def test_a_scorer_asks_under_the_name_that_is_requested():
    asking = hyvarinen_scorer.set_score_request(sample_weight="count")
    request = asking.get_metadata_routing().score.requests
    assert request == {"sample_weight": "count"}
    assert isinstance(asking, Scorer)


def test_slices_average_to_hyvarinens_criterion(mixture):
    exact = hyvarinen_scorer(mixture, X_TEST)
    assert sliced_scorer(mixture, X_TEST, n_projections=200) == pytest.approx(exact, abs=0.02)


def test_one_slice_of_one_column_is_hyvarinens_criterion():
    est = DensityScoreEstimator(GaussianMixture(2, random_state=0)).fit(X[:, :1])
    rows = X_TEST[:, :1]
    assert sliced_scorer(est, rows, n_projections=1) == pytest.approx(
        hyvarinen_scorer(est, rows), rel=1e-6
    )


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0])
def test_the_denoising_loss_of_the_exact_score_is_in_closed_form(sigma):
    # 1/2 E |eps - sigma (z + sigma eps) / (1 + sigma^2)|^2 = d / 2 (1 + sigma^2)
    value = multi_level_denoising_scorer(Exact(levels=True), LAW.sample(20_000, 2), sigmas=[sigma])
    assert value == pytest.approx(-1.5 / (1 + sigma**2), rel=0.02)


def test_levels_are_the_same_for_all_and_clipped_to_what_is_known():
    est = Exact(levels=True)
    multi_level_denoising_scorer(est, X_TEST, sigmas=[0.1, 0.5])
    assert est.asked == [0.2, 0.2, 0.5, 0.5]


def test_an_estimator_of_one_level_is_asked_for_that():
    est = DenoisingScoreEstimator(hidden_layer_sizes=(8,), max_iter=1, early_stopping=False).fit(X)
    value = multi_level_denoising_scorer(est, X_TEST)
    assert -1.5 < value < 0


def test_a_score_of_zero_gets_minus_half_the_columns():
    est = Exact()
    est.score_function = lambda rows: np.zeros_like(rows)
    assert multi_level_denoising_scorer(est, X_TEST) == pytest.approx(-1.5, abs=0.05)


@pytest.mark.parametrize("scorer", [hyvarinen_scorer, sliced_scorer])
@pytest.mark.parametrize(
    "wrap", [DensityScoreEstimator, lambda d: make_density_pipeline(StandardScaler(), d)]
)
@pytest.mark.parametrize("kernel", ["tophat", "epanechnikov", "linear", "cosine"])
def test_the_score_of_a_density_that_ends_at_edges_is_no_criterion(scorer, wrap, kernel):
    """A tophat of any width beat the true law threefold: the mass at its edges does not count."""
    density = wrap(KernelDensity(kernel=kernel, bandwidth=20.0)).fit(X)
    with pytest.raises(ValueError, match=f"cannot judge .*'{kernel}' ends at edges"):
        scorer(density, X_TEST)
    assert np.isfinite(scorer(wrap(KernelDensity(bandwidth=20.0)).fit(X), X_TEST))
