"""Columns within bounds: the maps, their ends, all ways to say the bounds, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skscore import BoundedTransformer, make_density_pipeline
from skscore.exceptions import NonFiniteResultError, NotFittedError, SupportWarning

RNG = np.random.RandomState(0)
X = RNG.beta(0.7, 1.5, size=(400, 1))
RANGES = [(0, 1), (0, None), (None, 1), (-2.0, 3), (None, None), (0, np.inf), (-np.inf, 1)]
ranges = pytest.mark.parametrize("pair", RANGES, ids=str)


def ends(pair):
    low, high = pair
    return (-np.inf if low is None else low), (np.inf if high is None else high)


@ranges
def test_the_maps_are_logit_and_logarithms(pair):
    (a, b), rows = ends(pair), X[:50]
    expected = np.zeros_like(rows) if np.isfinite([a, b]).any() else rows
    expected = expected + (np.log(rows - a) if np.isfinite(a) else 0)
    expected = expected - (np.log(b - rows) if np.isfinite(b) else 0)
    found = BoundedTransformer(pair).fit_transform(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (np.argsort(found[:, 0]) == np.argsort(rows[:, 0])).all()


@ranges
def test_the_inverse_takes_rows_back(pair):
    fitted = BoundedTransformer(pair).fit(X)
    np.testing.assert_allclose(
        fitted.inverse_transform(fitted.transform(X)), X, rtol=1e-12, atol=1e-15
    )
    y = np.linspace(-8, 8, 33)[:, None]
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(y)), y, atol=1e-9)


@ranges
def test_slopes_are_those_of_the_map(pair):
    fitted, x, h = BoundedTransformer(pair).fit(X), np.array([[0.2], [0.5], [0.83]]), 1e-5
    a, r, c = fitted._slopes(x)
    rise = fitted.transform(x + h) - fitted.transform(x - h)
    np.testing.assert_allclose(a, rise / (2 * h), rtol=1e-8)
    (a1, r1, _), (a0, r0, _) = fitted._slopes(x + h), fitted._slopes(x - h)
    np.testing.assert_allclose(r, np.log(a1 / a0) / (2 * h), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(c, (r1 - r0) / (2 * h), rtol=1e-7, atol=1e-7)


@ranges
def test_all_that_comes_back_is_strictly_within_the_bounds(pair):
    a, b = ends(pair)
    y = np.array([[-700.0], [-50.0], [-1.0], [0.0], [1.0], [50.0], [700.0]])
    rows = BoundedTransformer(pair).fit(X).inverse_transform(y)
    assert (rows > a).all()
    assert (rows < b).all()
    assert (np.diff(rows[:, 0]) >= 0).all()


def test_digits_are_kept_near_both_ends():
    fitted = BoundedTransformer((0, 1)).fit(X)
    near = np.array([[1e-300], [1e-17], [3e-9], [1 - 2.0**-50], [1 - 2.0**-30]])
    y = fitted.transform(near)
    np.testing.assert_allclose(y[:3, 0], np.log(near[:3, 0]), rtol=1e-9)
    np.testing.assert_allclose(y[3:, 0], [50 * np.log(2), 30 * np.log(2)], rtol=1e-9)
    np.testing.assert_allclose(fitted.inverse_transform(y)[:3], near[:3], rtol=1e-12)
    np.testing.assert_allclose(1 - fitted.inverse_transform(y)[3:], 1 - near[3:], rtol=1e-4)
    wide = BoundedTransformer((2.0, 10.0)).fit([[3.0]])
    back = wide.inverse_transform([[-34.0], [30.0]])
    np.testing.assert_allclose(back[0] - 2, 8 * np.exp(-34.0), rtol=0.2)
    np.testing.assert_allclose(10 - back[1], 8 * np.exp(-30.0), rtol=0.02)


def test_a_row_beyond_the_largest_number_is_refused_and_not_made_the_largest():
    with pytest.raises(NonFiniteResultError, match="inverse_transform of BoundedTransformer"):
        BoundedTransformer((0, None)).fit(X).inverse_transform([[1000.0]])


PLANE = np.c_[X[:, 0] + 1, -X[:, 0]]
FRAME = pd.DataFrame(PLANE, columns=["up", "down"])
SAME = {
    "one for each": [(1, None), (None, 0)],
    "a tuple of pairs": ((1, None), [None, 0]),
    "an array": np.array([[1, np.inf], [-np.inf, 0]]),
    "by number": {0: (1, None), 1: (None, 0)},
    "infinite": [(1, np.inf), (-np.inf, 0.0)],
}


@pytest.mark.parametrize("bounds", SAME.values(), ids=SAME)
def test_bounds_are_given_in_many_forms(bounds):
    fitted = BoundedTransformer(bounds).fit(PLANE)
    assert fitted.lower_.tolist() == [1, -np.inf]
    assert fitted.upper_.tolist() == [np.inf, 0]
    assert fitted.lower_.dtype == np.float64


def test_bounds_are_given_by_name_and_unnamed_columns_have_none():
    both = BoundedTransformer({"down": (None, 0), "up": (1, None)}).fit(FRAME)
    assert (both.lower_.tolist(), both.upper_.tolist()) == ([1, -np.inf], [np.inf, 0])
    one = BoundedTransformer({"down": (None, 0)}).fit(FRAME)
    assert (one.lower_.tolist(), one.upper_.tolist()) == ([-np.inf, -np.inf], [np.inf, 0])
    np.testing.assert_array_equal(one.transform(FRAME)[:, 0], PLANE[:, 0])
    nothing = BoundedTransformer({"down": None}).fit(FRAME)
    assert np.isinf(nothing.upper_).all()
    number = BoundedTransformer({1: (None, 0)}).fit(PLANE)
    assert number.upper_.tolist() == [np.inf, 0]


def test_none_is_a_column_without_bounds_and_one_pair_is_for_all():
    fitted = BoundedTransformer([None, (None, 0)]).fit(PLANE)
    np.testing.assert_array_equal(fitted.transform(PLANE)[:, 0], PLANE[:, 0])
    assert BoundedTransformer((-1, 2)).fit(PLANE).lower_.tolist() == [-1, -1]
    assert BoundedTransformer([-1, 2]).fit(PLANE).upper_.tolist() == [2, 2]
    assert BoundedTransformer(np.array([-1, 2])).fit(PLANE).upper_.tolist() == [2, 2]


@pytest.mark.parametrize(
    "bounds",
    [
        None,
        3,
        "ab",
        (0,),
        (0, 1, 2),
        (0, "1"),
        (np.nan, 1),
        [(0, 1)],
        [(0, 1), (0, 1), (0, 1)],
        [(0, 1), 3],
        {0: 1},
        {0: (0, 1, 2)},
        {0: (0, "x")},
    ],
    ids=str,
)
def test_what_is_no_range_is_refused(bounds):
    with pytest.raises(ValueError, match="'bounds' parameter of BoundedTransformer must be a pair"):
        BoundedTransformer(bounds).fit(PLANE)


def test_unknown_names_are_refused_and_numbers_where_columns_have_names():
    for bounds in ({"side": (0, 1)}, {0: (0, 1)}):
        words = rf"not in X: \[{next(iter(bounds))!r}\]. Those of X are \['up', 'down'\]"
        with pytest.raises(ValueError, match=words):
            BoundedTransformer(bounds).fit(FRAME)
    for bounds in ({2: (0, 1)}, {"up": (0, 1)}):
        with pytest.raises(ValueError, match=r"not in X: .* Those of X are \[0, 1\]"):
            BoundedTransformer(bounds).fit(PLANE)


@pytest.mark.parametrize(
    ("pair", "shown"),
    [((1, 0), r"\(1, 0\)"), ((2, 2), r"\(2, 2\)"), ((np.inf, None), r"\(inf, None\)")],
)
def test_a_low_end_must_be_below_its_high_end(pair, shown):
    with pytest.raises(ValueError, match=f"low end below its high end. Got {shown}.* column 1"):
        BoundedTransformer([None, pair]).fit(PLANE)
    with pytest.raises(ValueError, match="for column down"):
        BoundedTransformer({"down": pair}).fit(FRAME)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1.5])
def test_rows_on_a_bound_or_beyond_are_refused_by_fit_and_transform(value):
    rows = np.full((3, 2), 0.5)
    rows[1, 1] = value
    remedy = "half a unit .*dequantize" if value in (0, 1) else "wider bounds"
    pattern = rf"column 1 has {value} in row 1, and its range is \(0.0, 1.0\).*{remedy}"
    with pytest.raises(ValueError, match=pattern):
        BoundedTransformer((0, 1)).fit(rows)
    fitted = BoundedTransformer((0, 1)).fit(rows[:1])
    with pytest.raises(ValueError, match=pattern):
        fitted.transform(rows)


def test_a_failed_fit_leaves_it_unfitted():
    fitted = BoundedTransformer((0, 1)).fit(X)
    with pytest.raises(ValueError, match="strictly within"):
        fitted.fit(X - 1)
    with pytest.raises(NotFittedError):
        fitted.transform(X)
    for name in ("lower_", "upper_", "n_features_in_"):
        assert not hasattr(fitted, name)


def test_names_of_columns_are_kept_and_asked_for():
    fitted = BoundedTransformer({"up": (1, None)}).fit(FRAME)
    assert fitted.get_feature_names_out().tolist() == ["up", "down"]
    named = fitted.set_output(transform="pandas").transform(FRAME)
    assert named.columns.tolist() == ["up", "down"]
    np.testing.assert_allclose(fitted.inverse_transform(named), PLANE, rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(FRAME[["down", "up"]])
    for method in (fitted.transform, fitted.inverse_transform):
        with pytest.raises(ValueError, match="3 features, but .* is expecting 2"):
            method(np.full((2, 3), 0.5))


def test_float32_rows_come_out_in_float64():
    fitted = BoundedTransformer((0, 1)).fit(X.astype(np.float32))
    assert fitted.transform(X.astype(np.float32)).dtype == np.float64
    assert fitted.inverse_transform(X.astype(np.float32)).dtype == np.float64


def test_only_nonnegative_rows_are_promised_where_the_low_end_is_not_negative():
    promised = [(0, None), (0.5, 2), (-1, 1), (None, 3), (None, None), {0: (0, 1)}, [(0, 1)]]
    tags = [BoundedTransformer(b).__sklearn_tags__().input_tags.positive_only for b in promised]
    assert tags == [True, True, False, False, False, False, False]


# -- densities --------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0, 1), (0, None), (None, 1)], ids=str)
@pytest.mark.parametrize("last", [GaussianMixture(2), KernelDensity(bandwidth=0.4)], ids=["g", "k"])
def test_all_mass_is_within_the_bounds(pair, last):
    a, b = ends(pair)
    steps = BoundedTransformer(pair), StandardScaler(), clone(last)
    pipeline = make_density_pipeline(*steps).fit(X)
    assert (pipeline.mass_, pipeline.mass_std_error_) == (1.0, 0.0)
    rows = pipeline.sample(2000, random_state=0)
    assert (rows > a).all()
    assert (rows < b).all()
    t = np.linspace(-40, 40, 20_001)[:, None]
    x = pipeline[0].inverse_transform(t)[:, 0]
    x = np.unique(x)
    mass = trapezoid(np.exp(pipeline.score_samples(x[:, None])), x)
    assert mass == pytest.approx(1, abs=2e-3)
    with pytest.warns(SupportWarning, match=r"2 of 3 rows .* The first is row 1") as record:
        values = pipeline.score_samples(
            [[0.5], [a if np.isfinite(a) else b], [7.0 if b == 1 else -7]]
        )
    assert len(record) == 1
    assert np.isneginf(values).tolist() == [False, True, True]


def test_the_density_of_a_lognormal_column_is_known_in_closed_form():
    rows = np.exp(RNG.normal(0.3, 0.5, size=(5000, 1)))
    pipeline = make_density_pipeline(BoundedTransformer((0, None)), GaussianMixture()).fit(rows)
    logs = np.log(rows)
    mean, variance = logs.mean(), logs.var() + 1e-6
    x = np.array([[0.2], [1.0], [4.0]])
    expected = -0.5 * (np.log(x) - mean) ** 2 / variance - np.log(x)
    expected -= 0.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(pipeline.score_samples(x), expected[:, 0], rtol=1e-9)
    score = -(np.log(x) - mean) / variance / x - 1 / x
    np.testing.assert_allclose(pipeline.score_function(x), score, rtol=1e-9)


@parametrize_with_checks(
    [
        BoundedTransformer((None, None)),
        BoundedTransformer((-1e4, None)),
        BoundedTransformer((-1e4, 1e4)),
    ]
)
def test_scikit_learn_compatible(estimator, check):
    """Not for (0, None): the positive tables of these checks have zeros, which are on the bound."""
    check(estimator)
