"""Metrics against hand-made values, their identities, and their words."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from skscore.metrics import (
    fisher_divergence,
    hyvarinen_score,
    hyvarinen_score_samples,
    hyvarinen_scorer,
    log_likelihood_scorer,
    relative_fisher_divergence,
)

N, D = 12, 3
METRICS = {
    "hyvarinen_score": lambda s, j, M, w: hyvarinen_score(s, j, M, sample_weight=w),
    "fisher_divergence": lambda s, j, M, w: fisher_divergence(s, 2 + s**2, M, sample_weight=w),
    "relative_fisher_divergence": lambda s, j, M, w: relative_fisher_divergence(
        s, 2 + s**2, M, sample_weight=w
    ),
}
each_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def spd(seed=1):
    factor = normal(D, D, seed=seed)
    return factor @ factor.T + 0.3 * np.eye(D)


SCORES, JACOBIANS, METRIC = normal(N, D, seed=2), normal(N, D, D, seed=3), spd()


class Gaussian:
    """N(m, C), and rows that have exactly this mean and covariance."""

    mean, covariance = normal(D, seed=4), spd(seed=5)
    precision = np.linalg.inv(covariance)
    unit = D**0.5 * np.vstack([np.eye(D), -np.eye(D)])
    x = mean + unit @ np.linalg.cholesky(covariance).T
    scores = -(x - mean) @ precision
    jacobians = np.broadcast_to(-precision, (2 * D, D, D))


def test_known_values():
    s, divergences = [[3, 4], [0, 0]], [-1, 2]
    assert hyvarinen_score_samples(s, divergences).tolist() == [-11.5, -2.0]
    assert hyvarinen_score(s, divergences) == -6.75
    assert fisher_divergence(s, [[0, 0], [1, 1]]) == (12.5 + 1) / 2
    assert relative_fisher_divergence(s, [[0, 0], [1, 1]]) == (25 + 2) / 2
    assert fisher_divergence([[1, 2]], [[0, 0]], [[1, 1], [1, 4]]) == (1 + 2 * 2 + 16) / 2


@each_metric
def test_value_is_a_plain_float(metric):
    assert type(metric(SCORES, JACOBIANS, METRIC, np.ones(N))) is float


def test_fisher_divergence_carries_the_half():
    assert fisher_divergence(np.ones((5, D)), np.zeros((5, D))) == pytest.approx(D / 2)


def test_relative_fisher_divergence_is_zero_for_the_truth_and_one_for_zero():
    assert relative_fisher_divergence(SCORES, SCORES, METRIC) == 0
    assert relative_fisher_divergence(0 * SCORES, SCORES, METRIC) == pytest.approx(1)
    assert relative_fisher_divergence(-SCORES, SCORES, METRIC) == pytest.approx(4)


@each_metric
def test_identity_is_the_default_metric(metric):
    assert metric(SCORES, JACOBIANS, None, None) == pytest.approx(
        metric(SCORES, JACOBIANS, np.eye(D), None)
    )


@each_metric
def test_integer_weights_equal_repetition(metric):
    w = np.arange(N) % 4
    twice = np.repeat(SCORES, w, axis=0), np.repeat(JACOBIANS, w, axis=0)
    assert metric(SCORES, JACOBIANS, METRIC, w) == pytest.approx(metric(*twice, METRIC, None))
    assert metric(SCORES, JACOBIANS, METRIC, 0.1 * w) == pytest.approx(metric(*twice, METRIC, None))


@pytest.mark.parametrize("metric", [None, METRIC], ids=["identity", "metric"])
def test_jacobian_and_divergence_forms_agree(metric):
    traces = np.trace((np.eye(D) if metric is None else metric) @ JACOBIANS, axis1=1, axis2=2)
    np.testing.assert_allclose(
        hyvarinen_score_samples(SCORES, JACOBIANS, metric),
        hyvarinen_score_samples(SCORES, traces, metric),
    )


def test_score_is_the_mean_of_its_samples():
    values = hyvarinen_score_samples(SCORES, JACOBIANS, METRIC)
    assert values.shape == (N,)
    assert hyvarinen_score(SCORES, JACOBIANS, METRIC) == pytest.approx(values.mean())


def test_standard_error_is_that_of_a_mean():
    values = hyvarinen_score_samples(SCORES, JACOBIANS, METRIC)
    for weights in (None, np.full(N, 7.0)):
        mean, error = hyvarinen_score(
            SCORES, JACOBIANS, METRIC, sample_weight=weights, return_std_error=True
        )
        assert mean == pytest.approx(values.mean())
        assert error == pytest.approx(values.std(ddof=1) / N**0.5)


def test_standard_error_is_the_spread_of_weighted_means_over_samples():
    values, weights = normal(1000, 200), np.random.default_rng(1).exponential(size=(1000, 200))
    results = [
        hyvarinen_score(np.zeros((200, 1)), v, sample_weight=w, return_std_error=True)
        for v, w in zip(values, weights, strict=True)
    ]
    means, errors = np.transpose(results)
    assert errors.mean() == pytest.approx(means.std(), rel=0.1)


def test_one_row_has_no_standard_error():
    assert hyvarinen_score([[1.0]], [0.0]) == -0.5
    with pytest.raises(ValueError, match="at least two rows of positive weight"):
        hyvarinen_score([[1.0]], [0.0], return_std_error=True)


def test_standard_gaussian_scores_half_the_dimension():
    divergences = np.full(2 * D, -float(D))
    assert hyvarinen_score(-Gaussian.unit, divergences) == pytest.approx(D / 2)


def test_any_gaussian_scores_half_the_dimension_in_its_own_metric():
    value = hyvarinen_score(Gaussian.scores, Gaussian.jacobians, Gaussian.covariance)
    assert value == pytest.approx(D / 2)


@pytest.mark.parametrize("metric", [None, METRIC], ids=["identity", "metric"])
def test_criterion_is_a_constant_minus_the_fisher_divergence(metric):
    A, b = normal(D, D, seed=6), normal(D, seed=7)
    scores, jacobians = -(Gaussian.x - b) @ A.T, np.broadcast_to(-A, (2 * D, D, D))
    constant = fisher_divergence(0 * Gaussian.scores, Gaussian.scores, metric)
    assert hyvarinen_score(scores, jacobians, metric) == pytest.approx(
        constant - fisher_divergence(scores, Gaussian.scores, metric)
    )


def test_criterion_is_invariant_under_affine_maps_of_the_rows():
    B = normal(D, D, seed=8)
    inverse = np.linalg.inv(B)
    np.testing.assert_allclose(
        hyvarinen_score_samples(
            SCORES @ inverse, inverse.T @ JACOBIANS @ inverse, B @ METRIC @ B.T
        ),
        hyvarinen_score_samples(SCORES, JACOBIANS, METRIC),
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hyvarinen_score(np.ones(3), np.ones(3)), "scores must be a 2-D array"),
        (lambda: hyvarinen_score(np.ones((0, 2)), []), "at least one row. Got shape (0, 2)"),
        (
            lambda: hyvarinen_score(np.ones((4, 2)), np.ones((4, 2))),
            "shape (4,) or (4, 2, 2) for scores of shape (4, 2). Got (4, 2) instead",
        ),
        (
            lambda: hyvarinen_score(np.ones((4, 2)), np.ones(4), np.eye(3)),
            "metric must be a symmetric matrix of shape (2, 2)",
        ),
        (
            lambda: fisher_divergence([[1.0]], [[1.0]], [1.0]),
            "metric must be a symmetric matrix of shape (1, 1)",
        ),
        (
            lambda: fisher_divergence(np.ones((4, 2)), np.ones((3, 2))),
            "scores and true_scores must have one shape. Got (4, 2) and (3, 2)",
        ),
        (lambda: fisher_divergence([[1.0]], [1.0]), "true_scores must be a 2-D array"),
        (
            lambda: relative_fisher_divergence([[1.0]], [[0.0]]),
            "true_scores that are not all zero",
        ),
    ],
)
def test_wrong_shapes_are_named(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


@each_metric
@pytest.mark.parametrize(
    "weights",
    [np.ones(N - 1), np.ones((N, 1)), np.zeros(N), -np.ones(N), np.full(N, np.nan), [np.inf] * N],
    ids=["short", "2-D", "zero", "negative", "nan", "inf"],
)
def test_wrong_weights_are_named(metric, weights):
    with pytest.raises(ValueError, match="[Ss]ample.weights?.* (must|expected)"):
        metric(SCORES, JACOBIANS, METRIC, weights)


def fitted():
    """An estimator of exactly the Gaussian above, as the scorers see one."""
    return SimpleNamespace(
        covariance_=Gaussian.covariance,
        score_function=lambda X: -(X - Gaussian.mean) @ Gaussian.precision,
        score_divergence=lambda X, metric: np.full(len(X), -np.trace(metric @ Gaussian.precision)),
    )


def test_hyvarinen_scorer_takes_the_metric_from_the_estimator():
    assert hyvarinen_scorer(fitted(), Gaussian.x) == pytest.approx(D / 2)
    X, w = normal(N, D), np.arange(N)
    assert hyvarinen_scorer(fitted(), X, None, w) == pytest.approx(
        hyvarinen_scorer(fitted(), np.repeat(X, w, axis=0))
    )


def test_log_likelihood_scorer_is_the_mean_log_density():
    X, w = normal(N, D), np.arange(N)
    density = KernelDensity().fit(X)
    assert log_likelihood_scorer(density, X) == pytest.approx(density.score(X) / N)
    assert log_likelihood_scorer(density, X, None, w) == pytest.approx(
        log_likelihood_scorer(density, np.repeat(X, w, axis=0))
    )


@pytest.mark.parametrize("missing", ["score_function", "score_divergence", "covariance_"])
def test_hyvarinen_scorer_names_what_the_estimator_lacks(missing):
    estimator = fitted()
    delattr(estimator, missing)
    with pytest.raises(ValueError, match=f"hyvarinen_scorer needs .* with `{missing}`"):
        hyvarinen_scorer(estimator, Gaussian.x)


def test_log_likelihood_scorer_names_what_the_estimator_lacks():
    with pytest.raises(ValueError, match="log_likelihood_scorer needs .* with `score_samples`"):
        log_likelihood_scorer(fitted(), Gaussian.x)


def test_a_row_of_weight_zero_is_absent():
    # Outside the support 0 times minus infinity was NaN; the standard error counted the row.
    class Uniform:
        def score_samples(self, X):
            return np.array([-1.0, -np.inf])

    assert log_likelihood_scorer(Uniform(), None, sample_weight=[1, 0]) == -1
    with_it = hyvarinen_score(
        np.zeros((3, 1)), [0, 1, 5], sample_weight=[1, 1, 0], return_std_error=True
    )
    without = hyvarinen_score(np.zeros((2, 1)), [0, 1], return_std_error=True)
    assert with_it == pytest.approx(without)


def test_numbers_that_are_not_finite_are_refused_with_their_row():
    with pytest.raises(ValueError, match="scores must be finite numbers, but row 1 is not"):
        hyvarinen_score([[0.0], [np.nan]], [0.0, 0.0])
    with pytest.raises(ValueError, match="jacobian_or_divergence must be finite .* row 0"):
        hyvarinen_score([[0.0], [1.0]], [np.inf, 0.0])
