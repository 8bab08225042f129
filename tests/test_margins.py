"""Curved maps of single columns: closed forms, derivatives, inverses, far rows."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from skscore._margins import Margins

RNG = np.random.RandomState(0)
SKEWED = np.stack(
    [RNG.lognormal(size=3000), RNG.gamma(2.0, size=3000), RNG.standard_t(2, size=3000)], axis=1
)
M = Margins.fit(SKEWED)
PAIR = Margins(
    np.array([[0.3, 0.7]]), np.array([[-2.0, 1.0]]), np.array([[0.5, 1.5]]), lenses=(None,)
)


def differences(fn, X, h=1e-5):
    return (fn(X + h) - fn(X - h)) / (2 * h)


def test_the_map_of_a_mixture_is_the_quantile_of_its_distribution_function():
    x = np.linspace(-4, 6, 101)[:, None]
    t = (x - PAIR.means) / PAIR.scales
    u = norm.ppf((PAIR.weights * norm.cdf(t)).sum(1))
    np.testing.assert_allclose(PAIR.transform(x)[:, 0], u, rtol=1e-10, atol=1e-12)
    density = (PAIR.weights * norm.pdf(t) / PAIR.scales).sum(1)
    np.testing.assert_allclose(PAIR.slopes(x)[:, 0], density / norm.pdf(u), rtol=1e-9)


def test_skewed_columns_become_normal():
    fresh = np.random.RandomState(1)
    rows = [fresh.lognormal(size=3000), fresh.gamma(2.0, size=3000), fresh.standard_t(2, 3000)]
    U = M.transform(np.stack(rows, axis=1))
    assert M.curved.all()
    assert all(kstest(u, "norm").statistic < 0.04 for u in U.T)


def test_slopes_and_curvatures_are_derivatives():
    X = SKEWED[:200]
    np.testing.assert_allclose(M.slopes(X), differences(M.transform, X), rtol=1e-5)
    np.testing.assert_allclose(M.curvatures(X), differences(M.log_slopes, X), rtol=1e-4, atol=1e-5)
    bends = differences(M.curvatures, X)
    np.testing.assert_allclose(M.curvature_slopes(X), bends, rtol=1e-4, atol=1e-4)
    for one, other in zip(
        M.derivatives(X), (M.slopes(X), M.curvatures(X), M.curvature_slopes(X)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_inverse_takes_rows_back():
    U = np.linspace(-40, 40, 2001)[:, None] * np.ones(3)
    X = M.inverse_transform(U)
    assert np.isfinite(X).all()
    np.testing.assert_allclose(M.transform(X), U, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(M.inverse_transform(M.transform(SKEWED)), SKEWED, rtol=1e-9)


def test_a_row_does_not_feel_the_rows_beside_it():
    U = RNG.standard_normal((50, 3)) * 5
    alone = np.concatenate([M.inverse_transform(u[None]) for u in U])
    np.testing.assert_allclose(M.inverse_transform(U), alone, rtol=1e-12)
    empty = M.inverse_transform(U[:0])
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("deviations", [200.0, 1e6])
def test_far_out_the_map_is_nearly_linear_and_all_is_finite(deviations):
    location, scale = SKEWED.mean(0), SKEWED.std(0)
    X = location + scale * deviations * np.array([[-1.0], [1.0]])
    values = [M.transform(X), M.log_slopes(X), *M.derivatives(X)]
    assert all(np.isfinite(each).all() for each in values)
    np.testing.assert_allclose(M.slopes(X), 1 / M.scales.max(1) * np.ones((2, 1)), rtol=0.15)
    np.testing.assert_allclose(M.inverse_transform(values[0]), X, rtol=1e-9)


def test_weights_equal_repetition():
    w = RNG.randint(0, 4, size=len(SKEWED))
    weighted, repeated = Margins.fit(SKEWED, w), Margins.fit(np.repeat(SKEWED, w, axis=0))
    np.testing.assert_allclose(
        weighted.transform(SKEWED), repeated.transform(SKEWED), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("a", [1e-6, -3.0, 1e8])
def test_units_and_offsets_make_no_difference(a):
    moved = Margins.fit(a * SKEWED + 5 * a)
    U = np.sign(a) * moved.transform(a * SKEWED + 5 * a)
    np.testing.assert_allclose(U, M.transform(SKEWED), rtol=1e-5, atol=1e-5)


def test_linear_and_normal_columns_are_only_scaled():
    X = np.column_stack([SKEWED, RNG.standard_normal(3000)])
    some = Margins.fit(X, linear=np.array([True, False, False, False]))
    assert some.curved.tolist() == [False, True, True, False]
    lines = (X - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(some.transform(X)[:, [0, 3]], lines[:, [0, 3]], atol=1e-12)
    assert not some.curvatures(X)[:, [0, 3]].any()
    np.testing.assert_allclose(some.inverse_transform(some.transform(X)), X, rtol=1e-9)


def test_components_are_no_spikes():
    """Four hundred rows in a thousandth of a deviation draw no component that narrow."""
    x = np.append(RNG.standard_normal(3000), 1 + 1e-6 * RNG.standard_normal(400))[:, None]
    assert Margins.fit(x).scales.min() > 0.003 * x.std() * 0.99


def test_it_beats_a_gaussian_on_rows_that_it_has_not_seen():
    fit, rows = Margins.fit(SKEWED[:1500]), SKEWED[1500:]
    gains = norm.logpdf(fit.transform(rows)) + fit.log_slopes(rows)
    plain = norm.logpdf(rows, SKEWED[:1500].mean(0), SKEWED[:1500].std(0))
    assert (gains.mean(0) > plain.mean(0) + 0.1).all()
