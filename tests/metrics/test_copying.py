"""Draws beside the rows that a model was trained on."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from skscore.metrics import _copying, data_copying_share
from skscore.metrics._copying import nearest_distances, whitener


def tables(n=400, d=3, seed=0):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    return (rng.normal(size=(n, d)) @ mix for _ in range(3))


def fresh(seed, n=300):
    """Rows of the law of `tables()`."""
    mix = np.random.default_rng(0).normal(size=(3, 3))
    return np.random.default_rng(1 + seed).normal(size=(n, 3)) @ mix


def test_copies_have_a_share_of_one_without_error():
    _, train, held_out = tables()
    copies = train[np.random.default_rng(1).integers(len(train), size=700)]
    assert data_copying_share(copies, train, held_out, return_std_error=True) == (1.0, 0.0)


def test_rows_far_from_all_have_a_share_of_zero():
    _, train, held_out = tables()
    assert data_copying_share(train + 1e3, train, held_out) == 0.0


def test_fresh_rows_have_one_half_and_the_error_is_that_of_repetitions():
    train, _, _ = tables()
    found = []
    for seed in range(60):
        draws, held_out = fresh(seed), fresh(1000 + seed)
        found.append(data_copying_share(draws, train, held_out, return_std_error=True))
    shares, errors = np.array(found).T
    assert shares.mean() == pytest.approx(0.5, abs=0.02)  # what these training rows are worth
    assert errors.mean() == pytest.approx(shares.std(ddof=1), rel=0.3)


def test_half_copies_have_three_quarters():
    others, train, held_out = tables(2000)
    share, error = data_copying_share(
        np.r_[train[:1000], others[:1000]], train, held_out, return_std_error=True
    )
    assert abs(share - 0.75) < 3 * error + 0.01


def test_draws_that_are_the_held_out_rows_count_by_halves():
    _, train, held_out = tables()
    assert data_copying_share(held_out, train, held_out) == pytest.approx(0.5, abs=1e-12)
    same = np.zeros((5, 3))
    assert data_copying_share(same, train, same) == 0.5


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_the_share_is_the_same_in_all_units(scale):
    units = np.array([1.0, scale, -3.0]), np.array([0.0, 5 * scale, 100.0])
    plain = list(tables())
    moved = [rows * units[0] + units[1] for rows in plain]
    assert data_copying_share(*moved) == pytest.approx(data_copying_share(*plain), abs=1e-3)


@pytest.mark.parametrize("d", [1, 3, 60])
def test_whitened_rows_have_about_the_identity_as_covariance(d):
    rng = np.random.default_rng(0)
    train = rng.normal(size=(20_000, d)) + rng.normal(size=(20_000, 1))  # correlations of a half
    covariance = np.cov((train @ whitener(train)).T).reshape(d, d)
    np.testing.assert_allclose(covariance, np.eye(d), atol=0.05)


def test_constant_columns_and_more_columns_than_rows_are_measured_too():
    train = np.random.default_rng(0).normal(size=(10, 30))
    train[:, 3] = 7.0
    assert np.isfinite(whitener(train)).all()
    assert data_copying_share(train, train, train + 0.1) == 1.0


@pytest.mark.parametrize("k", [1, 3])
def test_nearest_distances_in_blocks_are_those_of_the_whole_table(k, monkeypatch):
    X, rows, _ = tables(50)
    monkeypatch.setattr(_copying, "_BLOCK", 7)
    monkeypatch.setattr(_copying, "_ROW_BLOCK", 11)
    expected = np.sort(cdist(X, rows), axis=1)[:, :k]
    np.testing.assert_allclose(nearest_distances(X, rows, k), expected, atol=1e-9)


def test_tables_that_do_not_belong_together_are_refused():
    train = np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"same columns.* Got the shapes \(5, 3\), \(5, 2\)"):
        data_copying_share(np.zeros((5, 3)), train, train)
    with pytest.raises(ValueError, match="at least two rows"):
        data_copying_share(train, train[:1], train)
    with pytest.raises(ValueError, match="held_out"):
        data_copying_share(train, train, np.full((5, 2), np.nan))
