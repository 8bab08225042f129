"""The steps of a fit."""

import numpy as np
import pytest

from skscore._fitting import merged_rows, split_rows


def rng():
    return np.random.RandomState(0)


def test_rows_without_repeats_come_back_themselves():
    X = rng().standard_normal((1000, 3))
    rows, weights, _ = merged_rows(X, None)
    assert rows is X
    assert weights is None


def test_repeats_become_weights_in_order_of_first_appearance():
    X = np.array([[3.0, 1.0], [1.0, 2.0], [3.0, 1.0], [0.0, 0.0], [-0.0, 0.0], [3.0, 1.0]])
    rows, weights, _ = merged_rows(X, None)
    assert rows.tolist() == [[3.0, 1.0], [1.0, 2.0], [0.0, 0.0]]
    assert weights.tolist() == [3.0, 1.0, 2.0]


def test_weights_of_repeats_add_up_and_equal_sums_are_none():
    X = np.array([[1.0], [2.0], [1.0]])
    assert merged_rows(X, np.array([1.0, 5.0, 3.0]))[1].tolist() == [4.0, 5.0]
    assert merged_rows(X, np.array([1.0, 4.0, 3.0]))[1] is None


def test_repetition_and_weights_are_the_same_thing():
    X, w = rng().standard_normal((50, 2)), rng().randint(1, 4, size=50)
    rows, weights, _ = merged_rows(np.repeat(X, w, axis=0), None)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(weights, w)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distinct_rows_are_those_of_a_sort(dtype):
    """Small whole numbers, whose bits are mostly zero, must not collide."""
    X = rng().randint(0, 12, size=(20_000, 4)).astype(dtype)
    rows, weights, _ = merged_rows(X, None)
    values, counts = np.unique(X, axis=0, return_counts=True)
    order = np.lexsort(rows.T[::-1])
    np.testing.assert_array_equal(rows[order], values)
    np.testing.assert_array_equal(weights[order], counts)


def test_rows_that_collide_are_kept_apart(monkeypatch):
    monkeypatch.setattr("skscore._fitting._row_hashes", lambda X: np.zeros(len(X), np.uint64))
    X = np.arange(4.0)[:, None]
    rows, weights, _ = merged_rows(X, None)
    np.testing.assert_array_equal(rows, X)
    assert weights is None


def test_rows_of_zero_weight_are_dropped():
    rows, weights, _ = merged_rows(np.arange(3.0)[:, None], np.array([1.0, 0.0, 2.0]))
    assert rows.ravel().tolist() == [0.0, 2.0]
    assert weights.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("n", "fraction", "n_held"), [(100, 0.1, 10), (3, 0.1, 1), (2, 0.9, 1), (10**6, 0.1, 50_000)]
)
def test_a_split_covers_all_rows_once_and_leaves_both_parts_something(n, fraction, n_held):
    training, validation = split_rows(n, fraction, rng())
    assert len(validation) == n_held
    np.testing.assert_array_equal(np.sort(np.r_[training, validation]), np.arange(n))


def test_places_lead_from_rows_to_merged_ones():
    X = np.array([[3.0], [1.0], [3.0], [2.0], [1.0], [7.0]])
    w = np.array([1.0, 0.0, 2.0, 1.0, 5.0, 0.0])
    rows, _, places = merged_rows(X, w)
    assert places.tolist() == [0, -1, 0, 1, 2, -1]
    np.testing.assert_array_equal(rows[places[w > 0]], X[w > 0])
    rows, _, places = merged_rows(X[[0, 1, 3]], None)
    assert places.tolist() == [0, 1, 2]
