"""Curved maps of single columns: closed forms, derivatives, inverses, far rows."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import kstest, norm

from skscore._changes import curves
from skscore._changes.curves import BehindLens, Lens, MixtureCurve
from skscore._changes.margins import Margins

RNG = np.random.RandomState(0)
SKEWED = np.stack(
    [RNG.lognormal(size=3000), RNG.gamma(2.0, size=3000), RNG.standard_t(2, size=3000)], axis=1
)
M = Margins.fit(SKEWED)
PAIR = MixtureCurve(np.array([0.3, 0.7]), np.array([-2.0, 1.0]), np.array([0.5, 1.5]))


def differences(fn, X, h=1e-5):
    return (fn(X + h) - fn(X - h)) / (2 * h)


def log_slopes(margins):
    return lambda X: margins.at(X).log_slopes


def curvatures(margins):
    return lambda X: margins.at(X).slopes[1]


def test_the_map_of_a_mixture_is_the_quantile_of_its_distribution_function():
    x = np.linspace(-4, 6, 101)[:, None]
    t = (x - PAIR.means) / PAIR.scales
    u = norm.ppf((PAIR.weights * norm.cdf(t)).sum(1))
    np.testing.assert_allclose(PAIR.at(x[:, 0]).u, u, rtol=1e-10, atol=1e-12)
    density = (PAIR.weights * norm.pdf(t) / PAIR.scales).sum(1)
    slope = np.exp(PAIR.at(x[:, 0]).log_slope)
    np.testing.assert_allclose(slope, density / norm.pdf(u), rtol=1e-9)


def test_skewed_columns_become_normal():
    fresh = np.random.RandomState(1)
    rows = [fresh.lognormal(size=3000), fresh.gamma(2.0, size=3000), fresh.standard_t(2, 3000)]
    U = M.transform(np.stack(rows, axis=1))
    assert M.curved.all()
    assert all(kstest(u, "norm").statistic < 0.04 for u in U.T)


def test_slopes_and_curvatures_are_derivatives():
    X = SKEWED[:200]
    a, r, c = M.at(X).slopes
    np.testing.assert_allclose(a, differences(M.transform, X), rtol=1e-5)
    np.testing.assert_allclose(r, differences(log_slopes(M), X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(c, differences(curvatures(M), X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(M.log_det(X), np.log(a).sum(1), rtol=1e-12)


def test_the_inverse_takes_rows_back():
    U = np.linspace(-40, 40, 2001)[:, None] * np.ones(3)
    X = M.inverse_transform(U)
    assert np.isfinite(X).all()
    np.testing.assert_allclose(M.transform(X), U, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(M.inverse_transform(M.transform(SKEWED)), SKEWED, rtol=1e-9)


def mixture(*components):
    weights, means, scales = np.array(components).T
    return MixtureCurve(weights / weights.sum(), means, scales)


MIXTURES = {
    "fitted": M.curves[0],
    "pair": PAIR,
    "single": mixture((1, 3.0, 0.2)),
    "far apart": mixture((1, -5e3, 1.0), (1, 5e3, 1e-2), (1e-6, 0.0, 1e4)),
    "atoms": mixture((5, 0.0, 1.0), (1, 0.3, 1e-6), (1, 0.30001, 1e-7), (1e-4, 0.0, 20.0)),
    "offset": mixture((1, 1e6, 1.0), (2, 1e6 + 3, 0.1)),
    "lens": BehindLens(Lens(1.0, 0.1), mixture((1, -3.0, 1.0), (2, 1.0, 0.3), (1e-3, 0.0, 5.0))),
}
HEIGHTS = np.concatenate([np.linspace(-38, 38, 305), RNG.standard_normal(1000), [1e-300, -1e-9]])


def bisected(curve, u):
    """The inverse by halves of intervals, all the way down to rounding."""
    if isinstance(curve, BehindLens):
        return curve.lens.inverse(bisected(curve.curve, u))
    ends = curve.means + curve.scales * np.array([[-40.0], [40.0]])
    low, high = np.full(len(u), ends.min()), np.full(len(u), ends.max())
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = curve.at(middle).u < u
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


@pytest.mark.parametrize("name", MIXTURES)
def test_the_inverse_is_that_by_halves_of_intervals(name):
    """As exact in x, or in u where the map is so flat that neighbouring values have one u."""
    curve = MIXTURES[name]
    x, truth = curve.inverse(HEIGHTS), bisected(curve, HEIGHTS)
    size = 1e-13 * abs(truth) + 1e-14 * np.exp(-curve.at(truth).log_slope) * (1 + abs(HEIGHTS))
    assert (abs(x - truth) <= size).all()


@pytest.mark.parametrize("name", MIXTURES)
def test_nearly_all_of_the_inverse_is_found_from_a_table(name, monkeypatch):
    slow = []
    monkeypatch.setattr(curves, "_newton", lambda curve, u, low, high: slow.extend(u) or u)
    u = RNG.standard_normal(20_000)
    MIXTURES[name].inverse(u)
    assert len(slow) < 0.002 * len(u)


def test_an_inverse_of_what_is_no_number_is_none():
    x = PAIR.inverse(np.array([0.5, np.nan, 1.0]))
    assert np.isnan(x).tolist() == [False, True, False]


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
    values = [M.transform(X), M.at(X).log_slopes, *M.at(X).slopes]
    assert all(np.isfinite(each).all() for each in values)
    widest = np.array([curve.scales.max() for curve in M.curves])
    np.testing.assert_allclose(values[2], 1 / widest * np.ones((2, 1)), rtol=0.15)
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
    assert not some.at(X).slopes[1][:, [0, 3]].any()
    np.testing.assert_allclose(some.inverse_transform(some.transform(X)), X, rtol=1e-9)


def test_components_are_no_spikes():
    """Four hundred rows in a thousandth of a deviation draw no component that narrow."""
    x = np.append(RNG.standard_normal(3000), 1 + 1e-6 * RNG.standard_normal(400))[:, None]
    assert Margins.fit(x).curves[0].scales.min() > 0.003 * x.std() * 0.99


def test_it_beats_a_gaussian_on_rows_that_it_has_not_seen():
    fit, rows = Margins.fit(SKEWED[:1500]), SKEWED[1500:]
    gains = norm.logpdf(fit.transform(rows)) + fit.at(rows).log_slopes
    plain = norm.logpdf(rows, SKEWED[:1500].mean(0), SKEWED[:1500].std(0))
    assert (gains.mean(0) > plain.mean(0) + 0.1).all()


def far_value(rng):
    x = rng.standard_normal(600)
    x[7] = 1e8
    return x, rng.standard_normal(1000), norm.logpdf


def missing_value_code(rng):
    x = np.where(rng.uniform(size=2000) < 0.03, -99999.0, rng.standard_normal(2000))
    return x, rng.standard_normal(1000), lambda x: norm.logpdf(x) + np.log(0.97)


def far_cluster(rng):
    x = rng.standard_normal(1000) + 1e5 * (rng.uniform(size=1000) < 0.2)
    return x, rng.standard_normal(1000), lambda x: norm.logpdf(x) + np.log(0.8)


def wide_lognormal(rng):
    x, fresh = np.exp(5 * rng.standard_normal((2, 1500)))
    return x, fresh, lambda x: norm.logpdf(np.log(x), scale=5) - np.log(x)


def two_wide_tails(rng):
    x, fresh = rng.choice([-1, 1], size=(2, 2000)) * np.exp(4 * rng.standard_normal((2, 2000)))
    return x, fresh, lambda x: norm.logpdf(np.log(abs(x)), scale=4) - np.log(2 * abs(x))


SPREAD_OUT = [far_value, missing_value_code, far_cluster, wide_lognormal, two_wide_tails]


@cache
def spread_out(make):
    """Training values, fresh ones, their log-density, and the map of the first."""
    x, fresh, law = make(np.random.RandomState(0))
    return x, fresh, law, Margins.fit(x[:, None])


@pytest.mark.parametrize("make", SPREAD_OUT)
def test_rows_far_out_do_not_cost_the_others_their_density(make):
    """One value at 1e8 among N(0, 1) cost two nats a row, a lognormal of sigma 5 two hundred."""
    _, fresh, law, margins = spread_out(make)
    held = norm.logpdf(margins.transform(fresh[:, None]))[:, 0] + margins.log_det(fresh[:, None])
    assert held.mean() == pytest.approx(law(fresh).mean(), abs=0.08)


@pytest.mark.parametrize("make", SPREAD_OUT)
@pytest.mark.parametrize(("a", "b"), [(1e-6, 0.0), (-3.0, 10.0)])
def test_the_map_of_rows_far_out_is_smooth_goes_back_and_has_no_units(make, a, b):
    x, fresh, _, margins = spread_out(make)
    X = fresh[:100, None]
    slope, r, c = margins.at(X).slopes
    h = 1e-4 / slope
    slopes = (margins.transform(X + h) - margins.transform(X - h)) / (2 * h)
    bends = (log_slopes(margins)(X + h) - log_slopes(margins)(X - h)) / (2 * h)
    seconds = (curvatures(margins)(X + h) - curvatures(margins)(X - h)) / (2 * h)
    np.testing.assert_allclose(slope, slopes, rtol=1e-4)
    # Where curvature and slope are both far from zero, digits of the differences are lost.
    np.testing.assert_allclose(r * h, bends * h, atol=1e-6)
    np.testing.assert_allclose(c * h**2, seconds * h**2, atol=1e-9)
    np.testing.assert_allclose(margins.inverse_transform(margins.transform(X)), X, rtol=1e-8)
    moved = Margins.fit(a * x[:, None] + b)
    np.testing.assert_allclose(
        np.sign(a) * moved.transform(a * X + b), margins.transform(X), atol=0.02
    )


@pytest.mark.parametrize("make", SPREAD_OUT)
def test_weights_equal_repetition_far_out_too(make):
    x, fresh, _, _ = spread_out(make)
    w = RNG.randint(1, 4, size=len(x))
    weighted, repeated = Margins.fit(x[:, None], w), Margins.fit(np.repeat(x, w)[:, None])
    U = repeated.transform(fresh[:, None])
    np.testing.assert_allclose(weighted.transform(fresh[:, None]), U, rtol=1e-5, atol=1e-5)


def test_draws_of_a_column_with_rows_far_out_are_its_rows():
    """Quartiles of draws were -28 and 28."""
    for make in SPREAD_OUT:
        x, _, _, margins = spread_out(make)
        draws = margins.inverse_transform(RNG.standard_normal((2000, 1)))[:, 0]
        assert np.isfinite(draws).all()
        below = (draws < np.quantile(x, [[0.1], [0.25], [0.5], [0.75]])).mean(1)
        np.testing.assert_allclose(below, [0.1, 0.25, 0.5, 0.75], atol=0.05)


def test_usual_columns_have_no_lens():
    for scale in (0.5, 1.0, 1.5):
        column = np.exp(scale * RNG.standard_normal((2000, 1)))
        assert not isinstance(Margins.fit(column).curves[0], BehindLens)
    few = np.append(RNG.standard_normal(12), 1e6)
    assert not isinstance(Margins.fit(few[:, None]).curves[0], BehindLens)
