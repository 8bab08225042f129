"""Stein discrepancies against automatic differentiation, closed forms, and their words."""

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.spatial.distance import pdist
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from skscore import DensityScoreEstimator
from skscore.datasets import make_gaussian_mixture
from skscore.exceptions import NonFiniteResultError
from skscore.metrics import (
    TestResult,
    _stein,
    _two_sample,
    goodness_of_fit_test,
    kernel_stein_discrepancy,
    stein_thinning,
)

STEIN = {
    "kernel_stein_discrepancy": kernel_stein_discrepancy,
    "goodness_of_fit_test": lambda X, score, **options: goodness_of_fit_test(
        X, score, n_bootstrap=20, random_state=0, **options
    ),
    "stein_thinning": lambda X, score, **options: stein_thinning(X, score, 4, **options).tolist(),
}
each = pytest.mark.parametrize("stein", STEIN.values(), ids=STEIN)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Two threads for products of small matrices are slow on shared cores."""
    with threadpool_limits(1):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def some(n=9, d=3):
    """Rows that are not standardised, and scores that are no gradient of anything."""
    return 5 + normal(n, d) * np.arange(1, d + 1), normal(n, d, seed=1) / np.arange(1, d + 1)


def twin(X, scores, h):
    """All ``k_0(x_i, x_j)``, with the derivatives of the kernel by automatic differentiation."""
    sd = X.std(axis=0)
    z, s = torch.tensor(X / sd), torch.tensor(sd * scores)

    def kernel(x, y):
        return (1 + ((x - y) ** 2).sum() / h**2) ** -0.5

    in_x, in_y = torch.func.grad(kernel, 0), torch.func.grad(kernel, 1)
    trace = torch.func.jacrev(in_y, 0)

    def stein(x, s_x, y, s_y):
        values = s_x @ s_y * kernel(x, y) + s_x @ in_y(x, y) + s_y @ in_x(x, y)
        return values + torch.trace(trace(x, y))

    all_y = torch.func.vmap(stein, (None, None, 0, 0))
    return torch.func.vmap(all_y, (0, 0, None, None))(z, s, z, s).numpy()


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_two_sample, "_BLOCK", 4)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("h", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("n", [2, 8, 9])
def test_discrepancy_is_the_stein_kernel_by_automatic_differentiation(n, d, h, small_blocks):
    X, scores = some(n, d)
    exact = off_diagonal(twin(X, scores, h)).mean()
    assert kernel_stein_discrepancy(X, scores, bandwidth=h) == pytest.approx(exact, abs=1e-12)


def test_real_blocks_give_the_value_of_small_ones(monkeypatch):
    X, scores = some(2 * _two_sample._BLOCK + 1)
    value, test = (stein(X, scores) for stein in list(STEIN.values())[:2])
    monkeypatch.setattr(_two_sample, "_BLOCK", 100)
    assert kernel_stein_discrepancy(X, scores) == pytest.approx(value)
    assert STEIN["goodness_of_fit_test"](X, scores) == pytest.approx(test)


def test_means_over_pairs_are_those_of_every_column_of_signs(small_blocks):
    X, scores = some(11)
    kernel = twin(X, scores, 1.0)
    np.fill_diagonal(kernel, 0)
    signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.int8), size=(11, 7))
    exact = np.einsum("ib,ij,jb->b", signs, kernel, signs) / (11 * 10)
    means = _two_sample.pair_means(_stein._SteinKernel(X, scores, 1.0), signs)
    np.testing.assert_allclose(means, exact, atol=1e-12)


def test_the_pvalue_is_the_share_of_signs_with_as_large_a_mean():
    X, scores = some()
    kernel = twin(X, scores, 1.0)
    np.fill_diagonal(kernel, 0)
    every = np.array(list(product([-1.0, 1.0], repeat=9)))
    draws = np.einsum("bi,ij,bj->b", every, kernel, every)
    share = np.mean(draws >= kernel.sum() - 1e-12)
    assert 0.05 < share < 0.95
    result = goodness_of_fit_test(X, scores, bandwidth=1.0, n_bootstrap=20_000, random_state=1)
    assert result.pvalue == pytest.approx(share, abs=0.015)


def test_the_statistic_counts_as_one_of_the_draws():
    X = normal(50, 1)
    for n_bootstrap in (1, 9):
        result = goodness_of_fit_test(X, 9 - X, n_bootstrap=n_bootstrap, random_state=0)
        assert result.pvalue == pytest.approx(1 / (1 + n_bootstrap))


def test_the_test_and_the_discrepancy_have_one_statistic():
    X, scores = some(300)
    result = goodness_of_fit_test(X, scores, bandwidth=0.7, n_bootstrap=5)
    value = kernel_stein_discrepancy(X, scores, bandwidth=0.7)
    assert result.statistic == pytest.approx(value)
    assert [type(value)] * 3 == [float, type(result.statistic), type(result.pvalue)]
    assert isinstance(result, TestResult)


def test_multipliers_of_a_quadratic_form_are_signs(monkeypatch):
    seen = []
    monkeypatch.setattr(
        _stein,
        "pair_means",
        lambda kernel, signs: seen.append(signs) or np.zeros(signs.shape[1]),
    )
    goodness_of_fit_test(normal(400, 1), normal(400, 1), n_bootstrap=100, random_state=0)
    (signs,) = seen
    assert signs.dtype == np.int8
    assert signs.shape == (400, 101)
    assert (signs[:, 0] == 1).all()
    assert set(np.unique(signs)) == {-1, 1}
    assert abs(signs[:, 1:].mean()) < 4 / 40_000**0.5
    assert np.abs(signs[:, 1:].mean(axis=0)).max() < 5 / 400**0.5


@pytest.mark.parametrize("d", [1, 4])
def test_rows_of_the_law_have_no_discrepancy_on_average(d):
    values = [
        kernel_stein_discrepancy(3 * X, -X / 3)
        for X in (normal(40, d, seed=seed) for seed in range(300))
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5
    assert 0.3 < np.mean(np.less(values, 0)) < 0.8


def test_a_shifted_normal_score_has_the_discrepancy_of_the_closed_form():
    m, h, d, n = np.array([0.5, -0.5, 0.5]), 1.3, 3, 300
    values = [
        kernel_stein_discrepancy(X, m - X, bandwidth=h)
        for X in (normal(n, d, seed=seed) for seed in range(30))
    ]
    mean_kernel, _ = quad(lambda c: (1 + 2 * c / h**2) ** -0.5 * stats.chi2.pdf(c, d), 0, np.inf)
    exact = m @ m * mean_kernel
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 30**0.5 + exact / n)


def test_the_discrepancy_is_the_kernel_between_differences_of_scores():
    X, tau, h, n = normal(1500, 2), 1.5, 1.0, 1500
    z = X / X.std(axis=0)
    difference = X.std(axis=0) * (X - X / tau**2)
    kernel = (1 + np.square(z[:, None] - z).sum(axis=2) / h**2) ** -0.5
    exact = ((difference @ difference.T) * kernel)[~np.eye(n, dtype=bool)].mean()
    value = kernel_stein_discrepancy(X, -X / tau**2, bandwidth=h)
    assert value == pytest.approx(exact, rel=0.15)


@each
def test_units_of_the_columns_and_the_origin_do_not_matter(stein):
    X, scores = some(40)
    scale = np.array([1e-6, 7.0, 1e9])
    for options in ({}, {"bandwidth": 0.8}):
        moved = stein(scale * (X + 100), scores / scale, **options)
        assert moved == pytest.approx(stein(X, scores, **options))


@each
def test_rows_far_from_the_origin_keep_their_digits(stein):
    X, scores = some(40)
    X = np.round(X * 2**10) / 2**10  # exact where they move to
    assert stein(X + 2.0**30, scores) == pytest.approx(stein(X, scores), rel=1e-10)


def test_the_order_of_rows_does_not_matter():
    X, scores = some(600)
    order = np.random.default_rng(0).permutation(600)
    value = kernel_stein_discrepancy(X, scores)
    assert kernel_stein_discrepancy(X[order], scores[order]) == pytest.approx(value)
    chosen, there = stein_thinning(X, scores, 20), stein_thinning(X[order], scores[order], 20)
    np.testing.assert_array_equal(order[there], chosen)


@each
def test_the_median_bandwidth_is_in_standard_deviations(stein):
    X, scores = some(30)
    median = np.median(pdist(X / X.std(axis=0)))
    assert stein(X, scores) == pytest.approx(stein(X, scores, bandwidth=median))
    assert stein(X, scores) != pytest.approx(stein(X, scores, bandwidth=median / 3))


@pytest.mark.parametrize(("n", "d"), [(40, 1), (150, 3)])
def test_rows_of_the_law_are_rejected_as_often_as_they_should(n, d):
    pvalues = np.array(
        [
            goodness_of_fit_test(2 * X, -X / 2, n_bootstrap=199, random_state=seed).pvalue
            for seed, X in enumerate(np.random.default_rng(0).normal(size=(400, n, d)))
        ]
    )
    for level in (0.05, 0.2, 0.5):
        assert stats.binomtest(int(np.sum(pvalues <= level)), 400, level).pvalue > 1e-3


MODES = make_gaussian_mixture([0.5, 0.5], [[-1.2, 0.0], [1.2, 0.0]], [0.5 * np.eye(2)] * 2)
WRONG = {
    "mean": (lambda X: X, lambda X: 0.4 - X),
    "scale": (lambda X: 1.3 * X, lambda X: -X),
    "missing mode": (lambda X: 0.5**0.5 * X + [1.2, 0.0], MODES.score_function),
}


@pytest.mark.parametrize(("rows", "score"), WRONG.values(), ids=WRONG)
def test_a_wrong_score_is_mostly_rejected(rows, score):
    pvalues = [
        goodness_of_fit_test(rows(normal(400, 2, seed=s)), score, n_bootstrap=199).pvalue
        for s in range(20)
    ]
    assert np.mean(np.less(pvalues, 0.05)) > 0.8


def test_the_mixture_itself_is_not_rejected():
    X = MODES.sample(400, random_state=0)
    assert goodness_of_fit_test(X, MODES, random_state=0).pvalue > 0.05


def greedy_twin(X, scores, n, h):
    kernel, chosen = twin(X, scores, h), []
    for _ in range(n):
        gains = [kernel[i, i] / 2 + sum(kernel[j, i] for j in chosen) for i in range(len(X))]
        chosen.append(int(np.argmin(gains)))
    return chosen


@pytest.mark.parametrize("h", [0.5, 2.0])
@pytest.mark.parametrize("d", [1, 3])
def test_thinning_is_the_greedy_choice_written_out(d, h):
    X, scores = some(12, d)
    for scores in (scores, -(X - 5) / X.std(axis=0) ** 2):  # noqa: B020
        chosen = stein_thinning(X, scores, 15, bandwidth=h)
        assert chosen.tolist() == greedy_twin(X, scores, 15, h)


def test_rows_may_be_chosen_again():
    X = normal(5, 2)
    chosen = stein_thinning(X, -X, 30)
    assert chosen.shape == (30,)
    assert np.issubdtype(chosen.dtype, np.integer)
    assert set(chosen) <= set(range(5))


def test_thinning_for_fewer_rows_is_its_beginning():
    X, scores = some(50)
    np.testing.assert_array_equal(stein_thinning(X, scores, 7), stein_thinning(X, scores, 20)[:7])


def walk(n, seed=0):
    """A random walk Metropolis chain for N(0, I) that starts far off."""
    rng, x, chain = np.random.default_rng(seed), np.array([8.0, -8.0]), []
    for _ in range(n):
        proposal = x + 0.5 * rng.normal(size=2)
        x = proposal if np.log(rng.uniform()) < (x @ x - proposal @ proposal) / 2 else x
        chain.append(x)
    return np.array(chain)


def test_thinning_drops_the_start_of_a_chain_and_stands_for_its_law():
    chain, n = walk(2000), 60
    chosen = stein_thinning(chain, -chain, n)
    assert np.linalg.norm(chain[chosen], axis=1).max() < 4

    def distance(rows):
        """V-statistic: the discrepancy of the rows as they are, in one scale for all."""
        return twin(np.asarray(rows), -np.asarray(rows), 1.0).mean()

    thinned, first, every = chain[chosen], chain[:n], chain[np.linspace(0, 1999, n).astype(int)]
    assert distance(thinned) < 0.2 * distance(first)
    assert distance(thinned) < 0.5 * distance(every)


def test_a_score_is_an_array_an_estimator_or_a_callable():
    frame = pd.DataFrame(normal(60, 2), columns=["a", "b"])
    est = DensityScoreEstimator(GaussianMixture(2, random_state=0)).fit(frame)
    scores = est.score_function(frame)
    seen = []
    for stein in STEIN.values():
        value = stein(frame, scores)
        for score in (est, est.score_function, scores.tolist(), pd.DataFrame(scores)):
            assert stein(frame, score) == pytest.approx(value)
        stein(frame, lambda X: seen.append(X) or scores)
        assert seen[-1] is frame
        assert stein(frame.to_numpy(), scores) == pytest.approx(value)


def test_a_fitted_estimator_passes_on_held_out_rows_and_a_poor_one_does_not():
    X, held_out = MODES.sample(4000, random_state=0), MODES.sample(400, random_state=1)
    for n_components, passes in ((2, True), (1, False)):
        est = DensityScoreEstimator(GaussianMixture(n_components, random_state=0)).fit(X)
        assert (goodness_of_fit_test(held_out, est, random_state=0).pvalue > 0.05) == passes


def test_seeds_repeat_and_differ():
    X, scores = some(30)

    def test(**seed):
        return goodness_of_fit_test(X, scores, n_bootstrap=300, **seed).pvalue

    assert test(random_state=0) == test(random_state=0)
    assert len({test(random_state=seed) for seed in range(9)}) > 1
    assert len({test() for _ in range(9)}) > 1
    state = np.random.RandomState(0)
    assert test(random_state=np.random.RandomState(0)) == test(random_state=state)
    assert len({test(random_state=state) for _ in range(9)}) > 1


@each
def test_the_global_generator_and_the_arrays_are_left_alone(stein):
    X, scores = some()
    copies = X.copy(), scores.copy()
    X.flags.writeable = scores.flags.writeable = False
    before = repr(np.random.get_state(legacy=False))  # noqa: NPY002
    stein(X, scores)
    goodness_of_fit_test(X, scores, n_bootstrap=5)
    assert repr(np.random.get_state(legacy=False)) == before  # noqa: NPY002
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(scores, copies[1])


@given(st.integers(2, 20), st.integers(1, 4), st.floats(0.1, 10))
def test_the_mean_over_all_pairs_is_a_squared_norm(n, d, h):
    X, scores = some(n, d)
    diagonal = np.square(X.std(axis=0) * scores).sum(axis=1) + d / h**2
    value = kernel_stein_discrepancy(X, scores, bandwidth=h)
    assert (n - 1) * value + diagonal.mean() > -1e-9


@each
@pytest.mark.parametrize(
    ("X", "score", "words"),
    [
        (normal(1, 2), normal(1, 2), "X must have at least two rows and one column"),
        (normal(5), normal(5), "X must be a 2-D array"),
        ([[0.0], [np.nan]], [[0.0], [1.0]], "X must be finite numbers, but row 1 is not"),
        (normal(5, 2), normal(5, 3), "array of shape (5, 2) for these rows, a fitted estimator"),
        (normal(5, 2), normal(5, 3), "Got (5, 3) instead"),
        (normal(5, 2), normal(4, 2), "Got (4, 2) instead"),
        (normal(5, 2), lambda X: X[:, 0], "Got (5,) instead"),
        (normal(5, 2), None, "Got None instead"),
        (normal(5, 2), GaussianMixture(), "Got GaussianMixture() instead"),
        (normal(3, 1), [[0.0], [0.0], [np.inf]], "score must be finite numbers, but row 2 is not"),
        (normal(5, 2) * [1, 0] + 0.1, normal(5, 2), "every column, but column 1 is constant"),
    ],
)
def test_wrong_rows_and_scores_are_named(stein, X, score, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        stein(X, score)


@each
@pytest.mark.parametrize("bandwidth", [0, -1.0, np.nan, np.inf, True, "mean", None])
def test_a_wrong_bandwidth_is_named(stein, bandwidth):
    with pytest.raises(ValueError, match=r'bandwidth must be "median" or a number in \(0, inf\)'):
        stein(normal(5, 2), normal(5, 2), bandwidth=bandwidth)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, None])
def test_a_wrong_count_is_named(n):
    with pytest.raises(ValueError, match=r"^n must be an int in the range \[1, inf\). Got"):
        stein_thinning(normal(5, 2), normal(5, 2), n)
    with pytest.raises(
        ValueError, match=r"n_bootstrap must be an int in the range \[1, inf\). Got"
    ):
        goodness_of_fit_test(normal(5, 2), normal(5, 2), n_bootstrap=n)


@each
def test_arithmetic_that_overflows_is_an_error(stein):
    with np.errstate(all="ignore"), pytest.raises(NonFiniteResultError, match="is not finite"):
        stein(normal(5, 2), 1e200 * normal(5, 2))
