"""Distances and tests of two tables against slow twins, closed forms, and their words."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skscore.exceptions import NonFiniteResultError
from skscore.metrics import (
    TestResult,
    _two_sample,
    classifier_two_sample_test,
    energy_distance,
    maximum_mean_discrepancy,
    sliced_wasserstein_distance,
)

LOGISTIC = LogisticRegression()
METRICS = {
    "maximum_mean_discrepancy": maximum_mean_discrepancy,
    "energy_distance": energy_distance,
    "sliced_wasserstein_distance": lambda X, Y: sliced_wasserstein_distance(X, Y, random_state=0),
    "classifier_two_sample_test": lambda X, Y: classifier_two_sample_test(
        X, Y, classifier=LOGISTIC, random_state=0
    ),
}
U_STATISTICS = {
    "maximum_mean_discrepancy": lambda X, Y: maximum_mean_discrepancy(X, Y, bandwidth=1.5),
    "energy_distance": energy_distance,
}
KERNELS = {
    "maximum_mean_discrepancy": lambda x, y: np.exp(-np.sum((x - y) ** 2) / (2 * 1.5**2)),
    "energy_distance": lambda x, y: -np.linalg.norm(x - y),
}
each_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
each_u_statistic = pytest.mark.parametrize("name", U_STATISTICS)
each_random = pytest.mark.parametrize(
    "metric",
    [
        sliced_wasserstein_distance,
        lambda X, Y, **seed: classifier_two_sample_test(X, Y, classifier=LOGISTIC, **seed),
    ],
    ids=["sliced_wasserstein_distance", "classifier_two_sample_test"],
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Two threads for small tables are slow on shared cores."""
    with threadpool_limits(1):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def twin(kernel, X, Y):
    """The U-statistic as one reads it."""
    within = [
        np.mean([kernel(a, b) for i, a in enumerate(Z) for j, b in enumerate(Z) if i != j])
        for Z in (X, Y)
    ]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in X for b in Y])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_two_sample, "_BLOCK", 4)


@each_u_statistic
@pytest.mark.parametrize(("n", "m"), [(2, 2), (9, 9), (7, 12), (8, 3)])
def test_a_distance_is_its_double_loop_in_any_blocks(name, n, m, small_blocks):
    X, Y = normal(n, 3), 0.5 + normal(m, 3, seed=1)
    assert U_STATISTICS[name](X, Y) == pytest.approx(twin(KERNELS[name], X, Y), abs=1e-14)


@each_u_statistic
def test_real_blocks_give_the_value_of_small_ones(name, monkeypatch):
    X, Y = normal(_two_sample._BLOCK + 30, 2), normal(2 * _two_sample._BLOCK + 1, 2, seed=1)
    value = U_STATISTICS[name](X, Y)
    monkeypatch.setattr(_two_sample, "_BLOCK", 100)
    assert value == pytest.approx(U_STATISTICS[name](X, Y), abs=1e-13)


@each_u_statistic
def test_no_block_is_larger_than_a_square(name, monkeypatch):
    shapes, plain = [], _two_sample.cdist
    monkeypatch.setattr(
        _two_sample, "cdist", lambda a, b, *m: shapes.append((len(a), len(b))) or plain(a, b, *m)
    )
    U_STATISTICS[name](normal(600, 1), normal(700, 1))
    assert np.max(shapes) == _two_sample._BLOCK
    assert np.prod(shapes, axis=1).sum() < 0.8 * 1300**2  # halves of what is symmetric


@each_metric
def test_values_are_plain_floats(metric):
    value = metric(normal(20, 2), normal(20, 2, seed=1))
    values = value if isinstance(value, TestResult) else (value,)
    assert all(type(v) is float for v in values)


@each_u_statistic
def test_two_tables_may_be_exchanged(name):
    X, Y = normal(30, 2), 1 + normal(40, 2, seed=1)
    assert U_STATISTICS[name](X, Y) == pytest.approx(U_STATISTICS[name](Y, X))


@pytest.mark.parametrize(
    "metric",
    [
        maximum_mean_discrepancy,
        energy_distance,
        METRICS["sliced_wasserstein_distance"],
    ],
)
def test_rows_may_be_shuffled_and_moved_far_from_the_origin(metric):
    X, Y = normal(50, 3), 0.5 + normal(60, 3, seed=1)
    X, Y = np.round(X * 2**10) / 2**10, np.round(Y * 2**10) / 2**10  # exact where they move to
    value = metric(X, Y)
    assert metric(X[::-1], np.roll(Y, 7, axis=0)) == pytest.approx(value)
    assert metric(X + 2.0**30, Y + 2.0**30) == pytest.approx(value, rel=1e-10)


def test_units_are_those_of_the_columns():
    X, Y = normal(50, 3), 0.5 + normal(60, 3, seed=1)
    assert maximum_mean_discrepancy(9 * X, 9 * Y) == pytest.approx(maximum_mean_discrepancy(X, Y))
    for metric in (energy_distance, METRICS["sliced_wasserstein_distance"]):
        assert metric(9 * X, 9 * Y) == pytest.approx(9 * metric(X, Y))


@pytest.mark.parametrize("metric", [maximum_mean_discrepancy, energy_distance])
def test_equal_laws_are_at_distance_zero_on_average(metric):
    values = [metric(normal(30, 2, seed=s), normal(40, 2, seed=1000 + s)) for s in range(300)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 300**0.5
    assert 0.3 < np.mean(np.less(values, 0)) < 0.8


@pytest.mark.parametrize("h", [0.5, 2.0])
def test_mmd_of_shifted_normals_is_the_closed_form(h):
    m, d = np.array([0.6, -0.8, 0.0]), 3
    values = [
        maximum_mean_discrepancy(
            normal(100, d, seed=s), m + normal(80, d, seed=99 - s), bandwidth=h
        )
        for s in range(40)
    ]
    exact = 2 * (h**2 / (h**2 + 2)) ** (d / 2) * (1 - np.exp(-m @ m / (2 * (h**2 + 2))))
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 40**0.5)
    assert np.std(values) < exact


def test_median_bandwidth_is_the_median_distance_of_all_rows():
    X, Y = normal(20, 2), 3 + normal(30, 2, seed=1)
    both = np.concatenate([X, Y])
    pairs = [np.linalg.norm(both[i] - both[j]) for i in range(50) for j in range(i)]
    assert maximum_mean_discrepancy(X, Y) == maximum_mean_discrepancy(
        X, Y, bandwidth=np.median(pairs)
    )


@pytest.mark.parametrize("period", [1, 2, 5])
def test_median_bandwidth_of_many_rows_is_that_of_all_whatever_their_order(period):
    """Rows evenly spread are of one kind where kinds take turns."""
    rows = np.linspace(0, 1, 5000)[:, None] + 10.0 * (np.arange(5000) % period == 0)[:, None]
    every = np.median(pdist(rows))
    assert _two_sample.bandwidth_of("median", rows) == pytest.approx(every, rel=0.05)


def test_energy_distance_is_the_square_of_that_of_scipy_but_for_rows_paired_with_themselves():
    x, y = normal(50), 1 + 2 * normal(70, seed=1)
    n, m = len(x), len(y)
    within_x, within_y = (np.abs(np.subtract.outer(z, z)).sum() / len(z) ** 2 for z in (x, y))
    ours = energy_distance(x[:, None], y[:, None])
    theirs = stats.energy_distance(x, y) ** 2
    assert ours == pytest.approx(theirs - within_x / (n - 1) - within_y / (m - 1))


def test_energy_distance_of_shifted_normals_is_the_closed_form():
    m = 0.7
    values = [
        energy_distance(normal(100, 1, seed=s), m + normal(80, 1, seed=99 - s)) for s in range(40)
    ]
    across = 2 / np.pi**0.5 * np.exp(-(m**2) / 4) + m * (1 - 2 * stats.norm.cdf(-m / 2**0.5))
    exact = 2 * across - 4 / np.pi**0.5
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 40**0.5)
    assert np.std(values) < exact


@given(st.integers(1, 30), st.integers(1, 30))
def test_coupling_of_any_sizes_is_that_of_all_repeated_to_one_size(n, m):
    shares, from_x, from_y = _two_sample._coupling(n, m)
    x, y = normal(n), normal(m, seed=1)
    exact = np.mean((np.repeat(x, m) - np.repeat(y, n)) ** 2)
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).all()
    assert shares @ (x[from_x] - y[from_y]) ** 2 == pytest.approx(exact)


def test_coupling_of_two_large_tables_is_in_exact_integers():
    shares, from_x, from_y = _two_sample._coupling(100_000, 99_999)
    assert shares.min() == pytest.approx(1 / (100_000 * 99_999))
    assert (from_x.max(), from_y.max()) == (99_999, 99_998)


@pytest.mark.parametrize("sizes", [(40, 40), (30, 50)])
def test_sliced_wasserstein_of_one_column_is_exact(sizes):
    x, y = normal(sizes[0]), 1 + 2 * normal(sizes[1], seed=1)
    k = np.lcm(*sizes)
    exact = np.mean((np.repeat(np.sort(x), k // len(x)) - np.repeat(np.sort(y), k // len(y))) ** 2)
    value = sliced_wasserstein_distance(x[:, None], y[:, None], n_projections=3)
    assert value == pytest.approx(exact**0.5)
    if sizes[0] == sizes[1]:  # the coupling that scipy gives the first power of
        assert np.abs(np.sort(x) - np.sort(y)).mean() == pytest.approx(
            stats.wasserstein_distance(x, y)
        )


@pytest.mark.parametrize(("d", "n_projections"), [(1, 1), (4, 8), (5, 100)])
def test_sliced_wasserstein_of_a_shift_is_its_length_over_the_root_of_the_columns(d, n_projections):
    X, m = normal(30, d), normal(d, seed=1)
    value = sliced_wasserstein_distance(X, X + m, n_projections=n_projections)
    assert value == pytest.approx(np.linalg.norm(m) / d**0.5)


def test_directions_are_uniform_on_the_sphere():
    d, rng = 3, np.random.RandomState(0)
    drawn = np.concatenate([_two_sample._directions(7, d, rng) for _ in range(3000)])
    np.testing.assert_allclose((drawn**2).sum(axis=1), 1)
    assert len(drawn) == 7 * 3000
    for squares in (drawn**2).T:  # Archimedes: |v_j| is uniform on [0, 1]
        assert stats.kstest(np.sqrt(squares), "uniform").statistic < 0.02
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), np.eye(d) / d, atol=0.01)


def test_fewer_directions_than_columns_are_at_right_angles():
    drawn = _two_sample._directions(3, 50, np.random.RandomState(0))
    np.testing.assert_allclose(drawn @ drawn.T, np.eye(3), atol=1e-12)


def test_sliced_wasserstein_couples_each_line_by_ranks():
    X, Y = normal(30, 2), 1 + 2 * normal(30, 2, seed=1)
    angles = np.linspace(0, np.pi, 2000, endpoint=False)
    lines = np.stack([np.cos(angles), np.sin(angles)])
    exact = np.mean((np.sort(X @ lines, axis=0) - np.sort(Y @ lines, axis=0)) ** 2)
    value = sliced_wasserstein_distance(X, Y, n_projections=4000, random_state=0)
    assert value == pytest.approx(exact**0.5, rel=1e-3)


def test_accuracy_between_shifted_normals_is_that_of_bayes():
    m, n = np.array([1.0, -1.0]), 8000
    X, Y = normal(n, 2), m + normal(n, 2, seed=1)
    accuracy, pvalue = classifier_two_sample_test(X, Y, classifier=LOGISTIC, random_state=0)
    bayes = stats.norm.cdf(np.linalg.norm(m) / 2)
    assert accuracy == pytest.approx(bayes, abs=4 * (bayes * (1 - bayes) / n) ** 0.5)
    assert pvalue < 1e-6


def test_the_default_classifier_tells_laws_of_equal_moments_apart():
    X = normal(1000, 2)
    Y = np.random.default_rng(1).choice([-1.0, 1.0], size=(1000, 2)) + 0.1 * normal(1000, 2, seed=2)
    assert classifier_two_sample_test(X, Y, random_state=0).statistic > 0.8
    linear = classifier_two_sample_test(X, Y, classifier=LOGISTIC, random_state=0)
    assert linear.statistic == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (61, 200), (200, 35)])
def test_equal_laws_are_rejected_as_often_as_they_should(n, m):
    rng, results = np.random.default_rng(0), []
    for seed in range(300):
        X, Y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
        results.append(classifier_two_sample_test(X, Y, classifier=LOGISTIC, random_state=seed))
    accuracies, pvalues = np.transpose(results)
    assert accuracies.mean() == pytest.approx(0.5, abs=4 * accuracies.std() / 300**0.5)
    for level in (0.05, 0.2, 0.5):
        assert stats.binomtest(int(np.sum(pvalues <= level)), 300, level, "greater").pvalue > 1e-3
    assert np.mean(pvalues <= 0.2) > 0.08  # no more careful than whole numbers of hits make it


def test_shifted_laws_are_mostly_rejected():
    pvalues = [
        classifier_two_sample_test(
            normal(200, 2, seed=s), 0.7 + normal(150, 2, seed=99 - s), classifier=LOGISTIC
        ).pvalue
        for s in range(20)
    ]
    assert np.mean(np.less(pvalues, 0.05)) > 0.9


class Recorder(LogisticRegression):
    """A classifier that keeps what it was given, and always says the sign of column 0."""

    seen = None

    def fit(self, X, y):
        type(self).seen = {"fit": X, "labels": y}
        return self

    def predict(self, X):
        type(self).seen["predict"] = X
        return (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (11, 11), (10, 31), (17, 12)])
def test_half_of_either_label_is_held_out_and_no_row_used_twice(n, m):
    X, Y = normal(n, 2), 1 + normal(m, 2, seed=1)
    accuracy, pvalue = classifier_two_sample_test(X, Y, classifier=Recorder(), random_state=0)
    k = min(n, m)
    fitted, labels, held_out = (
        Recorder.seen["fit"],
        Recorder.seen["labels"],
        Recorder.seen["predict"],
    )
    rows = np.concatenate([fitted, held_out])
    assert len(np.unique(rows, axis=0)) == 2 * k
    assert labels.tolist() == [0] * (k // 2) + [1] * (k // 2)

    def among(rows, table):
        return (rows[:, None] == table).all(axis=2).any(axis=1)

    np.testing.assert_array_equal(among(fitted, Y), labels == 1)
    truth, h = among(held_out, Y), k - k // 2
    assert truth.sum() == len(truth) - truth.sum() == h
    said = held_out[:, 0] > 0
    assert accuracy == np.mean(said == truth)
    table = [[np.sum(said & truth), np.sum(said & ~truth)]]
    table.append([h - table[0][0], h - table[0][1]])
    assert pvalue == pytest.approx(stats.fisher_exact(table, "greater").pvalue)


def test_the_split_and_the_subset_are_drawn_from_all_rows():
    seen = set()
    for seed in range(40):
        classifier_two_sample_test(
            np.arange(4)[:, None],
            10 + np.arange(8)[:, None],
            classifier=Recorder(),
            random_state=seed,
        )
        seen |= set(Recorder.seen["predict"][:, 0].tolist())
    assert seen == set(range(4)) | set(range(10, 18))


def test_the_classifier_given_is_cloned():
    classifier = RandomForestClassifier(3)
    classifier_two_sample_test(normal(20, 2), normal(20, 2), classifier=classifier)
    assert not hasattr(classifier, "classes_")
    assert classifier.random_state is None


@pytest.mark.parametrize(
    "classifier",
    [
        None,
        RandomForestClassifier(3),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
    ],
    ids=["default", "forest", "pipeline"],
)
def test_a_seed_decides_what_the_classifier_draws(classifier):
    X, Y = normal(200, 2), 0.3 + normal(200, 2, seed=1)
    first, second = (
        classifier_two_sample_test(X, Y, classifier=classifier, random_state=3) for _ in range(2)
    )
    assert first == second


def test_the_seed_of_the_classifier_itself_stays():
    class Seeded(Recorder):
        def __init__(self, random_state=None):
            super().__init__(random_state=random_state)

        def fit(self, X, y):
            states.append(self.random_state)
            return super().fit(X, y)

    states = []
    for random_state in (7, None, None):
        classifier_two_sample_test(
            normal(9, 1), normal(9, 1, seed=1), classifier=Seeded(random_state), random_state=0
        )
    assert states[0] == 7
    assert states[1] == states[2]
    assert isinstance(states[1], int)


@each_random
def test_seeds_repeat_and_differ(metric):
    X, Y = normal(40, 3), 0.3 + normal(50, 3, seed=1)
    assert metric(X, Y, random_state=0) == metric(X, Y, random_state=0)
    assert len({metric(X, Y, random_state=seed) for seed in range(5)}) > 1
    assert len({metric(X, Y) for _ in range(5)}) > 1
    state = np.random.RandomState(0)
    assert metric(X, Y, random_state=np.random.RandomState(0)) == metric(X, Y, random_state=state)
    assert len({metric(X, Y, random_state=state) for _ in range(5)}) > 1


def global_state():
    return repr(np.random.get_state(legacy=False))  # noqa: NPY002


@each_metric
def test_the_global_generator_and_the_rows_are_left_alone(metric):
    X, Y = normal(40, 3), normal(50, 3, seed=1)
    copies, before = (X.copy(), Y.copy()), global_state()
    X.flags.writeable = Y.flags.writeable = False
    metric(X, Y)
    assert global_state() == before
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(Y, copies[1])


@pytest.mark.parametrize("classifier", [None, RandomForestClassifier(3)])
def test_without_a_seed_the_global_generator_is_left_alone_too(classifier):
    before = global_state()
    classifier_two_sample_test(normal(60, 2), normal(60, 2, seed=1), classifier=classifier)
    sliced_wasserstein_distance(normal(60, 2), normal(60, 2, seed=1))
    assert global_state() == before


@each_metric
def test_data_frames_and_lists_are_tables_too(metric):
    X, Y = normal(10, 2), normal(12, 2, seed=1)
    value = metric(X, Y)
    assert metric(pd.DataFrame(X, columns=["a", "b"]), Y.tolist()) == value


@each_metric
@pytest.mark.parametrize(
    ("X", "Y", "words"),
    [
        (
            np.ones((5, 2)),
            np.ones((5, 3)),
            "X and Y must have equal numbers of columns. Got 2 and 3",
        ),
        (
            np.ones((1, 2)),
            np.ones((5, 2)),
            "X must have at least two rows and one column. Got shape (1, 2)",
        ),
        (
            np.ones((5, 2)),
            np.ones((1, 2)),
            "Y must have at least two rows and one column. Got shape (1, 2)",
        ),
        (
            np.ones((5, 0)),
            np.ones((5, 0)),
            "X must have at least two rows and one column. Got shape (5, 0)",
        ),
        (np.ones(5), np.ones((5, 2)), "X must be a 2-D array"),
        (np.ones((5, 2)), np.ones(5), "Y must be a 2-D array"),
        ([[0.0], [np.nan]], [[0.0], [1.0]], "X must be finite numbers, but row 1 is not"),
        ([[0.0], [1.0]], [[np.inf], [1.0]], "Y must be finite numbers, but row 0 is not"),
    ],
)
def test_wrong_tables_are_named(metric, X, Y, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        metric(X, Y)


@pytest.mark.parametrize("bandwidth", [0, -1.0, np.nan, np.inf, True, "mean", None])
def test_a_wrong_bandwidth_is_named(bandwidth):
    with pytest.raises(ValueError, match=r'bandwidth must be "median" or a number in \(0, inf\)'):
        maximum_mean_discrepancy(normal(5, 2), normal(5, 2), bandwidth=bandwidth)


def test_a_median_of_zero_is_refused():
    with pytest.raises(
        ValueError, match='bandwidth="median" is 0.0 for these rows: most are equal'
    ):
        maximum_mean_discrepancy(np.zeros((5, 2)), np.zeros((5, 2)))


@pytest.mark.parametrize("n_projections", [0, -1, 2.0, True, None])
def test_a_wrong_number_of_projections_is_named(n_projections):
    with pytest.raises(
        ValueError, match=r"n_projections must be an int in the range \[1, inf\). Got"
    ):
        sliced_wasserstein_distance(normal(5, 2), normal(5, 2), n_projections=n_projections)


@pytest.mark.parametrize("classifier", ["logistic", LogisticRegression, StandardScaler()])
def test_a_wrong_classifier_is_named(classifier):
    with pytest.raises(ValueError, match="classifier must be a scikit-learn classifier or None"):
        classifier_two_sample_test(normal(5, 2), normal(5, 2), classifier=classifier)


def test_arithmetic_that_overflows_is_an_error():
    X = 1e200 * normal(5, 2)
    with np.errstate(all="ignore"):
        with pytest.raises(NonFiniteResultError, match="energy_distance is not finite"):
            energy_distance(X, X)
        with pytest.raises(NonFiniteResultError, match="sliced_wasserstein_distance is not finite"):
            sliced_wasserstein_distance(X, X[:4])
        with pytest.raises(ValueError, match='bandwidth="median" is inf'):
            maximum_mean_discrepancy(X, X)
    assert maximum_mean_discrepancy(X, X / 2, bandwidth=1e200) == pytest.approx(
        maximum_mean_discrepancy(X / 1e200, X / 2e200, bandwidth=1)
    )


def test_a_result_is_a_pair_with_names():
    result = classifier_two_sample_test(normal(9, 1), normal(9, 1), random_state=0)
    statistic, pvalue = result
    assert (statistic, pvalue) == (result.statistic, result.pvalue)
    assert not TestResult.__test__  # or pytest warns of a class of tests
    assert 0 < pvalue <= 1


def test_tables_of_other_column_order_are_refused():
    rows = normal(50, 2)
    X, Y = pd.DataFrame(rows, columns=["a", "b"]), pd.DataFrame(rows, columns=["b", "a"])
    for metric in (energy_distance, maximum_mean_discrepancy, classifier_two_sample_test):
        with pytest.raises(ValueError, match="same columns in the same order"):
            metric(X, Y)
