"""The residual network, which tables of the other common tests are too small for, at every door."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skscore import DiffusionScoreEstimator, ScoreBasedSampler
from skscore.compose import make_density_pipeline

D = 6
MIXING = np.random.default_rng(0).normal(size=(D, D))
X = np.random.default_rng(1).normal(size=(2900, D)) @ MIXING
WEIGHTS = np.random.default_rng(2).integers(1, 4, len(X))
TRUTH = -0.5 * (
    (np.linalg.solve(MIXING.T, X.T) ** 2).sum(0)
    + D * np.log(2 * np.pi)
    + 2 * np.linalg.slogdet(MIXING)[1]
)


def estimator(**params):
    params = {"max_iter": 9, "random_state": 0, "hidden_layer_sizes": (24, 24)} | params
    return DiffusionScoreEstimator(**params)


def near_the_truth(values, rows=50):
    return np.abs(values - TRUTH[:rows]).mean() < 0.3


@pytest.fixture(scope="module")
def weighted():
    est = estimator().fit(X, sample_weight=WEIGHTS)
    assert est._network.spec.network == "resnet"
    return est


def test_it_is_cloned_pickled_and_repeats(weighted):
    expected = weighted.score_samples(X[:50])
    assert near_the_truth(expected)
    again = clone(weighted).fit(X, sample_weight=WEIGHTS)
    for copy in (again, pickle.loads(pickle.dumps(weighted))):
        np.testing.assert_array_equal(copy.score_samples(X[:50]), expected)
        np.testing.assert_array_equal(copy.sample(3, 0), weighted.sample(3, 0))


def test_rows_do_not_depend_on_those_beside_them(weighted):
    together = weighted.score_samples(X[:30])
    alone = np.concatenate([weighted.score_samples(row[None]) for row in X[:5]])
    np.testing.assert_allclose(alone, together[:5], rtol=0, atol=1e-6)


def test_it_goes_on_by_warm_start_and_partial_fit(weighted):
    est = pickle.loads(pickle.dumps(weighted)).set_params(warm_start=True)
    assert near_the_truth(est.fit(X).partial_fit(X[:300]).score_samples(X[:50]))
    assert est._network.spec == weighted._network.spec


def test_it_is_conservative_where_that_is_asked_for():
    est = estimator(conservative=True, max_iter=2).fit(X)
    assert est._network.spec.network == "resnet"
    assert near_the_truth(est.score_samples(X[:50]))


def test_pipelines_samplers_and_searches_take_it(weighted):
    pipeline = make_density_pipeline(StandardScaler(), estimator(max_iter=2)).fit(X)
    assert near_the_truth(pipeline.score_samples(X[:50]))
    assert ScoreBasedSampler(weighted).fit(X).sample(4, random_state=0).shape == (4, D)
    search = GridSearchCV(estimator(max_iter=2), {"sigma_min": [0.002, 0.02]}, cv=2)
    assert np.isfinite(search.fit(np.vstack([X, -X])).best_score_)
    assert search.best_estimator_._network.spec.network == "resnet"
