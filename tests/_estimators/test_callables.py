"""Coordinates of chains, and what a callable score says about levels."""

import numpy as np
import pytest

from skscore._estimators.callables import Coordinates, at_own_level, takes_levels, takes_sigma

SCALES = np.array([1e-8, 1.0, 1e8])
ROWS = np.random.default_rng(0).normal(size=(200, 3)) @ (np.eye(3) + 0.3) * SCALES + 5 * SCALES


@pytest.mark.parametrize(
    "coordinates",
    [
        Coordinates.of(3),
        Coordinates.of(3, ROWS.mean(0), 2.0),
        Coordinates.decorrelated(ROWS.mean(0), np.cov(ROWS.T)),
    ],
)
def test_coordinates_lead_back_and_scores_follow_the_chain_rule(coordinates):
    z = coordinates.enter(ROWS)
    np.testing.assert_allclose(coordinates.leave(z) / SCALES, ROWS / SCALES, rtol=1e-9)
    step = 1e-3 * np.eye(3)[1]
    slope = 1.0 / SCALES  # of a linear log-density of x
    rise = (coordinates.leave(z + step) - coordinates.leave(z)) @ slope
    np.testing.assert_allclose(coordinates.score(np.tile(slope, (200, 1))) @ step, rise, rtol=1e-6)


def test_decorrelated_columns_of_any_scale_have_the_identity_as_covariance():
    z = Coordinates.decorrelated(ROWS.mean(0), np.cov(ROWS.T)).enter(ROWS)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ("score", "levels", "sigma"),
    [
        (lambda X: X, False, False),
        (lambda X, sigma: X, True, True),
        (lambda X, noise: X, True, False),
        (lambda X, sigma=1.0: X, True, True),
        (lambda X, sigma=None: X, False, True),
        (lambda X, scale=1.0: X, False, False),
        (np.negative, False, False),
        (max, False, False),  # which has no signature to look at
    ],
)
def test_the_arguments_of_a_callable_say_which_levels_it_knows(score, levels, sigma):
    assert takes_levels(score) == levels
    assert takes_sigma(score) == sigma


def test_a_score_is_told_its_level_where_it_has_an_argument_for_it():
    assert at_own_level(lambda X, sigma=None: sigma, 0.5)(ROWS) == 0.5
    assert at_own_level(lambda X, sigma=None: sigma, None)(ROWS) is None
    assert at_own_level(lambda X: 7, 0.5)(ROWS) == 7
