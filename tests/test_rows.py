"""Rows that count differently, and portions that keep their law."""

import numpy as np
import pytest

from skscore._backend.batches import Portion
from skscore._rows import (
    counted_cells,
    drawn_index,
    effective_number,
    folds,
    given_folds,
    judging_number,
    merged_rows,
    some_rows,
    split,
    std_errors_of_means,
)


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
    np.testing.assert_allclose(weights, [3.0, 1.0, 2.0])


def test_weights_of_repeats_add_up_and_equal_sums_are_none():
    X = np.array([[1.0], [2.0], [1.0]])
    np.testing.assert_allclose(merged_rows(X, np.array([1.0, 5.0, 3.0]))[1], [4 / 3, 5 / 3])
    assert merged_rows(X, np.array([1.0, 4.0, 3.0]))[1] is None


def test_repetition_and_weights_are_the_same_thing():
    X, w = rng().standard_normal((50, 2)), rng().randint(1, 4, size=50)
    rows, weights, _ = merged_rows(np.repeat(X, w, axis=0), None)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_allclose(weights, w)
    np.testing.assert_allclose(merged_rows(X, w)[1] * w.sum() / 50, w)


@pytest.mark.parametrize("scale", [1e-320, 1e-170, 1e160, 1e308])
def test_the_scale_of_weights_is_nothing(scale):
    X, w = rng().standard_normal((50, 2)), rng().randint(1, 4, size=50) / 4.0
    np.testing.assert_allclose(merged_rows(X, scale * w)[1], merged_rows(X, w)[1], rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distinct_rows_are_those_of_a_sort(dtype):
    """Small whole numbers, whose bits are mostly zero, must not collide."""
    X = rng().randint(0, 12, size=(20_000, 4)).astype(dtype)
    rows, weights, _ = merged_rows(X, None)
    values, counts = np.unique(X, axis=0, return_counts=True)
    order = np.lexsort(rows.T[::-1])
    np.testing.assert_array_equal(rows[order], values)
    np.testing.assert_allclose(weights[order], counts)


def test_rows_that_collide_are_kept_apart(monkeypatch):
    monkeypatch.setattr("skscore._rows._row_hashes", lambda X: np.zeros(len(X), np.uint64))
    X = np.arange(4.0)[:, None]
    rows, weights, _ = merged_rows(X, None)
    np.testing.assert_array_equal(rows, X)
    assert weights is None


def test_rows_of_zero_weight_are_dropped():
    rows, weights, _ = merged_rows(np.arange(3.0)[:, None], np.array([1.0, 0.0, 2.0]))
    assert rows.ravel().tolist() == [0.0, 2.0]
    np.testing.assert_allclose(weights, [2 / 3, 4 / 3])


def table(n, weights=None):
    return Portion(np.arange(n), weights)


def law(*portions):
    """Mass of every row in portions together, by its number."""
    index = np.concatenate([part.index for part in portions])
    masses = [np.ones(len(p)) if p.weights is None else p.weights for p in portions]
    return np.bincount(index, weights=np.concatenate(masses))


@pytest.mark.parametrize(
    ("n", "fraction", "n_held"), [(100, 0.1, 10), (3, 0.1, 1), (2, 0.9, 1), (10**6, 0.1, 50_000)]
)
def test_a_split_covers_all_rows_once_and_leaves_both_parts_something(n, fraction, n_held):
    training, validation = split(table(n), fraction, rng())
    assert len(validation) == n_held
    np.testing.assert_array_equal(np.sort(np.r_[training.index, validation.index]), np.arange(n))


WEIGHTED = {
    "one atom": np.r_[900.0, np.ones(100)],
    "five atoms": np.r_[np.full(5, 180.0), rng().uniform(0.5, 1.5, 100)],
    "twenty of four percent": np.r_[np.full(20, 40.0), np.ones(200)],
    "all heavy": np.array([30.0, 10.0, 20.0]),
    "one light": np.array([30.0, 1.0]),
    "all light": rng().randint(1, 9, size=100).astype(float),
}


@pytest.mark.parametrize("weights", WEIGHTED.values(), ids=WEIGHTED)
def test_both_parts_of_a_split_have_the_law_of_the_rows(weights):
    """A heavy row was in one of the two, as a whole."""
    training, held = split(table(len(weights), weights), 0.2, rng())
    heavy = weights >= min(10, 0.05 * weights.sum())
    shares = weights / weights.sum()
    for part in (training, held):
        mass = law(part, Portion(np.array([len(weights) - 1]), np.zeros(1)))
        if (~heavy).sum() > 1:
            np.testing.assert_allclose((mass / mass.sum())[heavy], shares[heavy])
    assert not np.intersect1d(training.index[~heavy[training.index]], held.index).size
    if (~heavy).sum() > 1:
        np.testing.assert_allclose(law(training, held).sum(), weights.sum())
    assert len(training)
    assert len(held)


def test_folds_share_heavy_rows_and_part_the_others():
    weights = np.r_[50.0, np.ones(30)]
    parts = folds(table(31, weights), 5, rng())
    np.testing.assert_allclose(law(*(held for _, held in parts)), weights)
    for training, held in parts:
        assert np.intersect1d(training.index, held.index).tolist() == [0]
        np.testing.assert_allclose(law(training, held), weights)
    assert [len(held) for _, held in folds(table(7), 10, rng())] == [1] * 7


def test_splits_of_the_rows_as_given_count_repeats_where_they_stand():
    X = np.array([[0.0], [1.0], [0.0], [2.0], [0.0], [3.0]])
    _, numbers, places = merged_rows(X, None)
    ((training, held),) = given_folds([(np.arange(3), np.arange(3, 6))], places, None, 4)
    np.testing.assert_allclose(numbers, [3, 1, 1, 1])
    assert (training.index.tolist(), training.weights.tolist()) == ([0, 1], [2, 1])
    assert (held.index.tolist(), held.weights.tolist()) == ([0, 2, 3], [1, 1, 1])


def test_weights_of_all_folds_are_in_one_unit():
    """Those of a fold that are alike used to be ones, beside others that are at most one."""
    X, w = rng().standard_normal((6, 2)), np.array([0.2, 0.2, 0.2, 0.4, 1.0, 0.6])
    _, numbers, places = merged_rows(X, w)
    first, last = np.arange(3), np.arange(3, 6)
    parts = given_folds([(last, first), (first, last)], places, w, 6)
    np.testing.assert_allclose(np.concatenate([held.weights for _, held in parts]), numbers)
    assert given_folds([(first, last)], places, w, 6)[0][0].weights is None  # trained on alike


@pytest.mark.parametrize("weighted", [False, True])
def test_some_rows_have_the_means_of_all_and_no_period(weighted):
    """Every k-th row used to be one of two populations that alternate."""
    rows = np.tile([[0.0], [1.0]], (20_000, 1)) + np.arange(40_000)[:, None] * 1e-9
    weights = rng().uniform(0.5, 2.0, size=len(rows)) if weighted else None
    some, its = some_rows(rows, weights, 4000, np.random.RandomState(1))
    assert len(some) == pytest.approx(4000, abs=300)
    assert len(np.unique(some)) == len(some)
    mean = np.average(some[:, 0], weights=its)
    assert mean == pytest.approx(np.average(rows[:, 0], weights=weights), abs=0.03)


def test_some_rows_hold_every_heavy_row_with_its_weight():
    rows, weights = np.arange(10_000.0)[:, None], np.ones(10_000)
    weights[[17, 5000]] = 20_000.0, 100.0
    some, its = some_rows(rows, weights, 500, rng())
    assert its[some[:, 0] == 17] == 20_000
    assert its[some[:, 0] == 5000] == 100
    assert its.sum() == pytest.approx(weights.sum(), rel=0.05)
    assert some_rows(rows, weights, 10_000, rng())[1] is weights


def test_draws_stand_for_the_rows_by_their_shares():
    drawn = drawn_index(table(3, np.array([6.0, 3.0, 1.0])), 100, rng())
    np.testing.assert_allclose(np.bincount(drawn), [60, 30, 10], atol=1)
    assert drawn_index(table(5), 9, rng()).tolist() == [0, 1, 2, 3, 4]


def test_places_lead_from_rows_to_merged_ones():
    X = np.array([[3.0], [1.0], [3.0], [2.0], [1.0], [7.0]])
    w = np.array([1.0, 0.0, 2.0, 1.0, 5.0, 0.0])
    rows, _, places = merged_rows(X, w)
    assert places.tolist() == [0, -1, 0, 1, 2, -1]
    np.testing.assert_array_equal(rows[places[w > 0]], X[w > 0])
    rows, _, places = merged_rows(X[[0, 1, 3]], None)
    assert places.tolist() == [0, 1, 2]


def test_the_error_of_a_mean_counts_a_heavy_row_as_many():
    values = rng().standard_normal((2, 400))
    plain = std_errors_of_means(values, np.ones(400))
    np.testing.assert_allclose(plain, values.std(axis=1, ddof=1) / 20)
    padded = np.concatenate([values, np.full((2, 50), 9.0)], axis=1)
    none = std_errors_of_means(padded, np.r_[np.ones(400), np.zeros(50)])
    np.testing.assert_allclose(none, plain)
    atom, weights = np.r_[5.0, values[0]], np.r_[400.0, np.ones(400)]
    rows = np.r_[np.full(400, 5.0), values[0]]
    expected = rows.std() / np.sqrt(800)
    assert std_errors_of_means(atom, weights) == pytest.approx(expected, rel=0.05)


def test_the_number_of_rows_is_that_of_the_light_ones_weight():
    assert effective_number(table(7)) == 7
    weights = np.r_[60.0, np.full(40, 0.5)]
    assert effective_number(table(41, weights)) == pytest.approx(160)
    assert effective_number(table(41, 3 * weights)) == pytest.approx(160)


CELLS = np.stack(np.meshgrid(np.arange(4.0), [0.5, 1.0, 1.5]), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("X", [CELLS, CELLS[:, :1] * 1e6, np.c_[CELLS, np.ones(12)]])
def test_every_row_of_a_frequency_table_is_in_both_parts(X):
    weights = merged_rows(X, rng().uniform(1, 2, size=len(X)))[1]
    X = merged_rows(X, None)[0]
    cells = counted_cells(X, weights[: len(X)])
    np.testing.assert_allclose(cells / cells.sum(), weights[: len(X)] / weights[: len(X)].sum())
    training, held = split(table(len(X), cells), 0.1, rng())
    assert len(training) == len(held) == len(X)


@pytest.mark.parametrize("X", [rng().normal(size=(15, 2)), rng().normal(size=(15, 2)).round(2)])
def test_a_short_weighted_table_still_holds_rows_out(X):
    """Weights of one to five make no row of fifteen an atom."""
    weights = rng().randint(1, 5, size=15).astype(float)
    assert counted_cells(X, weights) is weights
    training, held = split(table(15, weights), 0.2, rng())
    assert not np.intersect1d(training.index, held.index).size


def test_cells_that_are_all_heavy_are_as_many_rows_as_they_say():
    assert effective_number(table(3, np.array([30.0, 10.0, 20.0]))) == 60


def test_a_mean_over_held_out_rows_rests_on_all_that_a_heavy_row_stands_for():
    weights = np.r_[300.0, np.ones(100)]
    _, held = split(table(101, weights), 0.2, rng())
    assert judging_number(held, table(101, weights)) == 320
    assert judging_number(table(7), table(70)) == 7
