"""Displays keep the numbers they draw."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

from skscore import DensityScoreEstimator
from skscore.plotting import ScoreFieldDisplay

mpl.use("Agg")
X = pd.DataFrame(np.random.RandomState(0).standard_normal((200, 3)), columns=["a", "b", "c"])


@pytest.fixture
def est():
    return DensityScoreEstimator(GaussianMixture()).fit(X)


def test_arrows_are_the_score_with_the_other_columns_at_their_medians(est):
    display = ScoreFieldDisplay.from_estimator(est, X, (0, 2), n_points=4, plot=False)
    rows = np.tile(X.median().to_numpy(), (16, 1))
    rows[:, [0, 2]] = display.grid
    scores = est.score_function(pd.DataFrame(rows, columns=X.columns))
    np.testing.assert_allclose(display.arrows, scores[:, [0, 2]])
    assert display.names == ("a", "c")


def test_arrows_point_uphill_on_the_page(est):
    """From the left edge of a round Gaussian they point right, whatever the columns' units."""
    display = ScoreFieldDisplay.from_estimator(est, X, n_points=5)
    left = display.grid[:, 0] == display.grid[:, 0].min()
    assert (display.quiver_.U[left] > 0).all()
    assert display.ax_.get_xlabel() == "a"
    assert display.figure_ is display.ax_.figure
    mpl.pyplot.close(display.figure_)


def test_columns_without_names_are_numbered():
    est = DensityScoreEstimator(GaussianMixture()).fit(X.to_numpy())
    display = ScoreFieldDisplay.from_estimator(est, X.to_numpy(), (2, 1), n_points=3, plot=False)
    assert display.names == ("column 2", "column 1")


def test_columns_go_by_their_names_too(est):
    by_name = ScoreFieldDisplay.from_estimator(est, X, ("a", "c"), n_points=3, plot=False)
    by_number = ScoreFieldDisplay.from_estimator(est, X, (0, 2), n_points=3, plot=False)
    np.testing.assert_array_equal(by_name.arrows, by_number.arrows)


@pytest.mark.parametrize("options", [{"columns": (0, 9)}, {"columns": (1, 1)}, {"n_points": 1}])
def test_columns_that_are_not_there_are_refused(est, options):
    with pytest.raises(ValueError, match=r"two different columns out of \['a', 'b', 'c'\]"):
        ScoreFieldDisplay.from_estimator(est, X, **options, plot=False)
