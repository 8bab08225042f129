"""Differences that adapt their steps, and round trips."""

import numpy as np
import pytest

from skscore.compose._numerical import differentiated, line_derivatives, returns, spreads

X = np.random.RandomState(0).normal(size=(50, 3))
ROWS = X[:3]


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_differences_are_in_the_units_of_the_columns(unit):
    def field(x):
        return 7 * np.sin(x / unit)

    for columnwise in (False, True):
        found = differentiated(
            field, ROWS * unit, spreads(X) * unit, np.full(3, 7.0), columnwise=columnwise
        )
        found = found if columnwise else np.diagonal(found, axis1=1, axis2=2)
        np.testing.assert_allclose(found, 7 * np.cos(ROWS) / unit, rtol=1e-8)


def test_differences_shorten_their_steps_near_the_end_of_a_domain():
    x = np.array([[1.0], [1e-3], [1e-5], [1e-7]])
    for columnwise in (False, True):
        found = differentiated(np.log, x, np.ones(1), np.ones(1), columnwise=columnwise)
        np.testing.assert_allclose(found.ravel(), 1 / x[:, 0], rtol=1e-6)


def test_differences_shorten_their_steps_where_a_function_is_steep():
    """A long step passes over a steep part, and its error estimate may not notice."""
    x = np.array([[1e-3], [1e-4], [1e-5], [1e-6]])
    found = differentiated(np.cbrt, x, np.ones(1), np.ones(1))[:, 0, 0]
    np.testing.assert_allclose(found, np.cbrt(x[:, 0]) ** -2 / 3, rtol=1e-5)


def test_differences_beyond_a_domain_are_no_numbers_rather_than_wrong_ones():
    rows, unit = np.array([[-1.0], [1.0]]), np.ones(1)
    assert np.isnan(differentiated(np.log, rows, unit, unit)[0, 0, 0])
    rng = np.random.RandomState(0)
    noise = differentiated(lambda x: rng.normal(size=x.shape), rows, unit, unit)
    assert np.isnan(noise).all()


def test_maps_between_rows_of_other_widths_are_differentiated_too():
    found = differentiated(lambda x: x[:, :1] * x[:, 1:2], ROWS, spreads(X), np.ones(1))
    np.testing.assert_allclose(
        found[:, 0], np.c_[ROWS[:, 1], ROWS[:, 0], 0 * ROWS[:, 0]], atol=1e-9
    )


def test_derivatives_along_lines_are_first_and_second():
    x = np.array([0.3, -1.2, 2.0])
    first, second = line_derivatives(lambda t: np.exp(2 * (x + t)), np.array([1.0, 0.1, 3.0]))
    np.testing.assert_allclose(first, 2 * np.exp(2 * x), rtol=1e-9)
    np.testing.assert_allclose(second, 4 * np.exp(2 * x), rtol=1e-6)


def test_derivatives_along_lines_survive_an_end_of_the_domain():
    x = np.array([0.03, 0.01, 1e-3])
    first, second = line_derivatives(lambda t: np.log(x + t), np.ones(3))
    np.testing.assert_allclose(first, 1 / x, rtol=1e-6)
    np.testing.assert_allclose(second, -1 / x**2, rtol=1e-4)


def test_a_round_trip_is_measured_in_spreads_and_in_digits():
    def off_by(a):
        return lambda x: x + a

    def identity(x):
        return x

    rows = np.array([[0.0], [1e6]])
    assert returns(identity, off_by(0.9e-3), rows, np.ones(1)).all()
    assert not returns(identity, off_by(1.2e-3), rows, np.ones(1))[0]
    assert returns(identity, off_by(1.2e-3), rows, np.full(1, 2.0)).all()
    assert returns(identity, off_by(0.9e-3), rows, np.zeros(1)).tolist() == [False, True]


def test_rows_without_a_finite_image_do_not_come_back():
    rows = np.array([[-1.0], [0.0], [1.0]])
    assert returns(np.log, np.exp, rows, np.ones(1)).tolist() == [False, False, True]
    assert returns(np.log, np.exp, rows[:2], np.ones(1)).tolist() == [False, False]


def test_a_constant_column_has_spread_one():
    np.testing.assert_array_equal(spreads(np.array([[1.0, 0.0], [1.0, 2.0]])), [1.0, 1.0])
