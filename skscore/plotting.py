"""Pictures: displays that compute once, keep the numbers, and draw (needs matplotlib)."""

from __future__ import annotations

from typing import Any

import numpy as np

from skscore._validation import check_rows

__all__ = ["ScoreFieldDisplay"]


class ScoreFieldDisplay:
    """The score as arrows over two columns, the others held at one value.

    Parameters
    ----------
    grid : ndarray of shape (n, 2)
        Where the arrows stand.
    arrows : ndarray of shape (n, 2)
        Score along the two columns.
    names : tuple of str
        Of the two columns.

    Attributes
    ----------
    ax_, figure_
        Matplotlib's, after `plot`.
    quiver_
        The arrows drawn.

    Examples
    --------
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.datasets import make_moons
    >>> from skscore.plotting import ScoreFieldDisplay
    >>> from sklearn.neighbors import KernelDensity
    >>> X = make_moons().sample(200, random_state=0)
    >>> est = DensityScoreEstimator(KernelDensity(bandwidth=0.2)).fit(X)
    >>> ScoreFieldDisplay.from_estimator(est, X, n_points=5, plot=False).arrows.shape
    (25, 2)
    """

    def __init__(self, grid: np.ndarray, arrows: np.ndarray, names: tuple[str, str]) -> None:
        self.grid = grid
        self.arrows = arrows
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        columns: tuple[int | str, int | str] = (0, 1),
        *,
        n_points: int = 20,
        plot: bool = True,
        ax: Any = None,
    ) -> ScoreFieldDisplay:
        """Evaluate a fitted estimator on a grid over two columns of X.

        Parameters
        ----------
        estimator : fitted estimator with `score_function`
        X : array-like of shape (n_samples, n_features)
            Rows whose range the grid spans; the other columns are held at their medians.
        columns : pair of int or str, default=(0, 1)
            Numbers, or names where the estimator was fitted with names.
        n_points : int in [2, inf), default=20
            Along each side.
        plot : bool, default=True
        ax : matplotlib axes, default=None

        Returns
        -------
        ScoreFieldDisplay
        """
        rows = check_rows(estimator, X)
        labels = list(getattr(estimator, "feature_names_in_", range(rows.shape[1])))
        pair: list[Any] = [labels.index(c) if c in labels else c for c in columns]
        if len(set(pair)) != 2 or not set(pair) <= set(range(rows.shape[1])) or n_points < 2:
            raise ValueError(
                f"A score field needs two different columns out of {labels} (or their numbers) "
                f"and n_points of at least 2. Got columns={columns!r}, n_points={n_points!r}."
            )
        low, high = np.quantile(rows[:, pair], [0.005, 0.995], axis=0)
        sides = [np.linspace(a, b, n_points) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
        where = np.tile(np.median(rows, axis=0), (len(grid), 1))
        where[:, pair] = grid
        label = [name if isinstance(name := labels[j], str) else f"column {j}" for j in pair]
        if hasattr(X, "columns"):
            where = type(X)(where, columns=X.columns)
        display = cls(grid, estimator.score_function(where)[:, pair], (label[0], label[1]))
        return display.plot(ax) if plot else display

    def plot(self, ax: Any = None, **quiver_options: Any) -> ScoreFieldDisplay:
        """Draw the arrows; directions are as on the page, lengths are of the score per deviation.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            None makes a new figure.
        **quiver_options
            For ``matplotlib.axes.Axes.quiver``.

        Returns
        -------
        ScoreFieldDisplay
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        # In units of the picture's sides an arrow points where the log-density rises fastest.
        side = np.ptp(self.grid, axis=0)
        arrows = self.arrows * side
        length = np.linalg.norm(arrows, axis=1, keepdims=True)
        arrows = arrows / np.maximum(length, 1e-12) * np.log1p(length / np.median(length))
        options = {"angles": "uv", "color": "0.25", "width": 0.003} | quiver_options
        self.quiver_ = ax.quiver(*self.grid.T, *arrows.T, **options)
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self
