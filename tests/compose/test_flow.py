"""The probability flow as a transformer."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from skscore import DenoisingScoreEstimator, DiffusionScoreEstimator, FlowTransformer
from skscore.datasets import make_two_gaussians
from skscore.exceptions import NotFittedError, StepLimitError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAW = make_two_gaussians(0.7, 5.0)
X = LAW.sample(1000, 0)


@pytest.fixture(scope="module")
def flow():
    est = DiffusionScoreEstimator(
        hidden_layer_sizes=(64, 64), max_iter=60, standardize="whiten", random_state=0
    )
    return FlowTransformer(est).fit(X)


def test_rows_become_independent_and_normal(flow):
    y = flow.transform(LAW.sample(2000, 1))
    np.testing.assert_allclose(np.cov(y.T), np.eye(2), atol=0.12)
    assert all(kstest(column, "norm").statistic < 0.06 for column in y.T)


def test_the_inverse_takes_rows_back(flow):
    rows = LAW.sample(300, 2)
    np.testing.assert_allclose(flow.inverse_transform(flow.transform(rows)), rows, atol=2e-3)


def test_normal_rows_become_rows_of_the_law(flow):
    rows = flow.inverse_transform(np.random.default_rng(0).normal(size=(2000, 2)))
    assert abs((rows[:, 0] > 2.5).mean() - LAW.sample(20_000, 3)[:, 0].__gt__(2.5).mean()) < 0.05
    np.testing.assert_allclose(rows.mean(0), X.mean(0), atol=0.2)


def test_its_jacobian_is_that_of_the_estimators_density(flow):
    row, h = np.array([[0.3, -0.4]]), 1e-3
    steps = np.concatenate([row + h * np.eye(2), row - h * np.eye(2)])
    y = flow.transform(steps)
    jacobian = (y[:2] - y[2:]) / (2 * h)
    y0 = flow.transform(row)
    log_density = -0.5 * (y0**2).sum() - np.log(2 * np.pi) + np.linalg.slogdet(jacobian)[1]
    assert log_density == pytest.approx(flow.estimator_.score_samples(row)[0], abs=0.02)


def test_it_is_a_step_of_a_pipeline_with_named_columns(flow):
    frame = pd.DataFrame(X, columns=["a", "b"])
    brief = DiffusionScoreEstimator(hidden_layer_sizes=(16, 16), max_iter=2, random_state=0)
    pipeline = make_pipeline(FlowTransformer(brief), LinearRegression()).fit(frame, X[:, 0])
    assert pipeline.predict(frame).shape == (1000,)
    names = list(pipeline[0].get_feature_names_out())
    assert names == ["flowtransformer0", "flowtransformer1"]
    pipeline[0].set_output(transform="pandas")
    latent = pipeline[0].transform(frame)
    np.testing.assert_allclose(pipeline[0].inverse_transform(latent), X, atol=1e-3)


def test_a_frozen_estimator_is_taken_over_as_it_is(flow):
    frozen = FlowTransformer(FrozenEstimator(flow.estimator_)).fit(X[:10])
    np.testing.assert_array_equal(frozen.transform(X[:5]), flow.transform(X[:5]))
    assert frozen.estimator_ is flow.estimator_


def test_what_is_not_a_diffusion_estimator_is_refused():
    for other in (DenoisingScoreEstimator(), FrozenEstimator(DenoisingScoreEstimator())):
        with pytest.raises(ValueError, match="'estimator' parameter of FlowTransformer must be"):
            FlowTransformer(other).fit(X)
    unfitted = FlowTransformer(FrozenEstimator(DiffusionScoreEstimator()))
    with pytest.raises(NotFittedError):
        unfitted.fit(X)


def test_the_number_of_columns_is_held_both_ways(flow):
    for method in (flow.transform, flow.inverse_transform):
        with pytest.raises(ValueError, match="3 features, but .* is expecting 2"):
            method(np.zeros((4, 3)))


def test_curved_columns_are_part_of_the_map():
    skewed = np.random.RandomState(5).lognormal(size=(600, 2))
    est = DiffusionScoreEstimator(
        hidden_layer_sizes=(16, 16), max_iter=2, standardize="normal", random_state=0
    )
    flow = FlowTransformer(est).fit(skewed)
    np.testing.assert_allclose(flow.inverse_transform(flow.transform(skewed)), skewed, rtol=1e-2)
    test_its_jacobian_is_that_of_the_estimators_density(flow)


def test_rows_that_run_out_of_steps_are_named(flow, monkeypatch):
    monkeypatch.setattr("skscore._math.integrate._MOST_STEPS", 2)
    monkeypatch.setattr("skscore._math.integrate._MOST_IMPLICIT_STEPS", 2)
    monkeypatch.setattr("skscore.likelihood._SLACK", 0.0)
    message = "ran out of steps for 3 of 3 rows of X, the first of them row 0"
    density = flow.estimator_.score_samples
    calls = {
        "score_samples of DiffusionScoreEstimator .* raise density_tol": density,
        "inverse_transform of FlowTransformer .* raise tol": flow.inverse_transform,
        "transform of FlowTransformer .* raise tol": flow.transform,
    }
    for words, call in calls.items():
        with pytest.raises(StepLimitError, match=words.replace(".*", message + ".*")):
            call(X[:3])


def test_far_rows_of_a_trained_network_are_as_exact_as_others(flow):
    rows = X[:60].copy()
    rows[:, 0] += 5 * X[:, 0].std()
    est = flow.estimator_
    coarse = est.score_samples(rows)
    try:
        fine = est.set_params(density_tol=1e-6).score_samples(rows)
    finally:
        est.set_params(density_tol=5e-4)
    assert np.quantile(np.abs(fine - coarse), 0.95) < 0.01
