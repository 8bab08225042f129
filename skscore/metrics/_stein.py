r"""Rows against a score: were they drawn from the law with this score?

No rows of the law and no normalising constant are needed.  With a kernel k and the score s
of the law, the Stein kernel

.. math:: k_0(x, y) = s(x)' s(y) k + s(x)' \nabla_y k + s(y)' \nabla_x k
    + \operatorname{tr} \nabla_x \nabla_y k

has the mean zero over x drawn from the law, for every y.  Its mean over pairs of rows is the
squared discrepancy; it is ``E (s - s*)(x)' k(x, y) (s - s*)(y)`` for rows with the score s*.

The kernel is the inverse multiquadric ``(1 + |x - y|^2 / h^2) ** -0.5``, which does not lose
rows that go astray, as lighter tails do (Gorham and Mackey 2017).  All is measured in
coordinates ``z = x / sd`` with the standard deviations sd of the columns of X, where scores are
``sd s``: results do not depend on the units of the columns.

References
----------
Chwialkowski, Strathmann and Gretton (2016). A kernel test of goodness of fit.
Liu, Lee and Jordan (2016). A kernelized Stein discrepancy for goodness-of-fit tests.
Gorham and Mackey (2017). Measuring sample quality with kernels.
Riabiz et al. (2022). Optimal thinning of MCMC output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from skscore._params import check_count
from skscore._validation import integer_seeds
from skscore.metrics._fisher import check_floats, deviations, finite
from skscore.metrics._two_sample import (
    TestResult,
    bandwidth_of,
    check_sample,
    pair_means,
)


def kernel_stein_discrepancy(
    X: ArrayLike, score: Any, *, bandwidth: float | str = "median"
) -> float:
    r"""Squared kernel Stein discrepancy of rows and a score; zero on average for rows of its law.

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} k_0(x_i, x_j)

    with the Stein kernel of the inverse multiquadric ``(1 + |z - z'|^2 / h^2) ** -0.5``,
    ``z = x / sd``.  It is unbiased (for a given scale): for rows of the law it lies about zero, on
    either side.  The time grows with the square of the number of rows, the memory does not.

    It hardly sees the shares of modes that lie far apart: scores do not know them.  The mean zero
    needs a density that vanishes at the ends of its range.

    Parameters
    ----------
    X : array-like of shape (n, d)
    score : array-like of shape (n, d), fitted estimator with `score_function`, or callable
        ``grad log p`` at the rows, in the units of X; a callable is called with X.
    bandwidth : float in (0, inf) or "median", default="median"
        h, in standard deviations of the columns.  "median" is the median distance between rows
        (each column divided by its standard deviation), of at most 1000 of them, evenly spread.

    Returns
    -------
    float

    References
    ----------
    Liu, Lee and Jordan (2016). A kernelized Stein discrepancy for goodness-of-fit tests.
    Gorham and Mackey (2017). Measuring sample quality with kernels.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import kernel_stein_discrepancy
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> right, wrong = -X, 0.5 - X
    >>> abs(kernel_stein_discrepancy(X, right)) < 0.02 < kernel_stein_discrepancy(X, wrong)
    True
    """
    kernel = _SteinKernel(X, score, bandwidth)
    value = pair_means(kernel, np.ones((kernel.n_rows, 1)))[0]
    return finite("kernel_stein_discrepancy", value)


def goodness_of_fit_test(
    X: ArrayLike,
    score: Any,
    *,
    bandwidth: float | str = "median",
    n_bootstrap: int = 500,
    random_state: Any = None,
) -> TestResult:
    r"""Test whether rows come from the law with a score, by the kernel Stein discrepancy.

    The statistic is that of :func:`kernel_stein_discrepancy`.  Where the rows come from the law
    it is degenerate, and has the law of

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} w_i w_j k_0(x_i, x_j)

    with random signs w, for many rows (wild bootstrap).  The p-value is the share of draws of the
    signs that are as large as the statistic, which counts as one of them.

    The rows must be independent; those of a Markov chain are to be thinned first.  A score that
    was learnt from the same rows fits them too well: test on held-out rows.

    Parameters
    ----------
    X : array-like of shape (n, d)
    score : array-like of shape (n, d), fitted estimator with `score_function`, or callable
        ``grad log p`` at the rows, in the units of X; a callable is called with X.
    bandwidth : float in (0, inf) or "median", default="median"
        As for :func:`kernel_stein_discrepancy`.
    n_bootstrap : int in [1, inf), default=500
        Draws of the signs.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    TestResult
        ``statistic``, the squared discrepancy, and ``pvalue``.

    References
    ----------
    Chwialkowski, Strathmann and Gretton (2016). A kernel test of goodness of fit.
    Liu, Lee and Jordan (2016). A kernelized Stein discrepancy for goodness-of-fit tests.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import goodness_of_fit_test
    >>> X = np.random.default_rng(1).normal(size=(500, 3))
    >>> right, wrong = -X, 0.5 - X
    >>> goodness_of_fit_test(X, right, random_state=0).pvalue > 0.05
    True
    >>> goodness_of_fit_test(X, wrong, random_state=0).pvalue < 0.01
    True
    """
    kernel = _SteinKernel(X, score, bandwidth)
    check_count(None, "n_bootstrap", n_bootstrap)
    rng = np.random.RandomState(integer_seeds(random_state, 1)[0])
    signs = 2 * rng.randint(2, size=(kernel.n_rows, 1 + n_bootstrap), dtype=np.int8) - 1
    signs[:, 0] = 1
    values = pair_means(kernel, signs)
    statistic = finite("goodness_of_fit_test", values[0])
    return TestResult(statistic, float(np.mean(values >= statistic)))  # it counts itself


def stein_thinning(
    X: ArrayLike, score: Any, n: int, *, bandwidth: float | str = "median"
) -> np.ndarray:
    r"""Choose rows of a Markov chain that stand for the law with a score.

    Greedily, the next row is that with the least

    .. math:: \tfrac12 k_0(x, x) + \sum_j k_0(x_j, x)

    over the rows chosen so far, which leaves the least discrepancy between the chosen rows and the
    law.  The start of a chain is left out, and a chain whose steps are biased is put right, as
    far as it went.  A row may be chosen again, as in the paper.  The time is that of n times all
    rows.

    Parameters
    ----------
    X : array-like of shape (n_rows, d)
    score : array-like of shape (n_rows, d), fitted estimator with `score_function`, or callable
        ``grad log p`` at the rows, in the units of X; a callable is called with X.
    n : int in [1, inf)
        Rows to choose.
    bandwidth : float in (0, inf) or "median", default="median"
        As for :func:`kernel_stein_discrepancy`.

    Returns
    -------
    ndarray of shape (n,), of int
        Positions, in the order of choice: the rows are ``X[positions]``, of a data frame
        ``X.iloc[positions]``.  The first of them are the choice for a smaller n.

    References
    ----------
    Riabiz et al. (2022). Optimal thinning of MCMC output.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import stein_thinning
    >>> chain = np.linspace(5.0, -2.0, 71)[:, None]
    >>> chain[stein_thinning(chain, -chain, 5), 0].round(1).tolist()
    [0.0, 0.0, -0.9, 1.3, -0.7]
    """
    check_count(None, "n", n)
    kernel = _SteinKernel(X, score, bandwidth)
    gains, chosen = kernel.half_diagonal(), np.empty(n, dtype=np.intp)
    finite("stein_thinning", gains.max())
    for step in range(n):
        best = chosen[step] = np.argmin(gains)
        gains += kernel(slice(best, best + 1), slice(None))[0]
    return chosen


class _SteinKernel:
    """Blocks of the Stein kernel of the inverse multiquadric, for slices of rows.

    In coordinates ``u = z / h``, with ``t = h sd s``, ``w = 1 / (1 + |u - v|^2)`` and
    ``b = (t_u - t_v)'(u - v)``,

        h^2 k_0 = w^(1/2) [ t_u' t_v + w (b + d - 3 + 3 w) ].
    """

    def __init__(self, X: ArrayLike, score: Any, bandwidth: float | str) -> None:
        rows = check_sample("X", X)
        scores = _scores_at(score, X, rows.shape)
        sd = _deviations(rows)
        z = (rows - rows.mean(axis=0)) / sd
        h = bandwidth_of(bandwidth, z)
        self.n_rows, d = rows.shape
        self._u, self._sd_scores, self._h2 = z / h, sd * scores, h**2
        t = h * self._sd_scores
        inner, one = np.einsum("ij,ij->i", t, self._u)[:, None], np.ones((len(rows), 1))
        # Factors of (b + d - 3) / h^2: rows are centred, so the products lose no digits.
        self._left = np.hstack([t, self._u, inner, one]) / self._h2
        self._right = np.hstack([-self._u, -t, one, inner + d - 3])

    def __call__(self, i: slice, j: slice) -> np.ndarray:
        w = cdist(self._u[i], self._u[j], "sqeuclidean")
        w += 1
        np.reciprocal(w, out=w)
        values = self._left[i] @ self._right[j].T
        values += (3 / self._h2) * w
        values *= w
        values += self._sd_scores[i] @ self._sd_scores[j].T
        values *= np.sqrt(w, out=w)
        return values

    def half_diagonal(self) -> np.ndarray:
        """``k_0(x, x) / 2``, but for ``d / (2 h^2)``, which is the same for all rows."""
        return 0.5 * np.square(self._sd_scores).sum(axis=1)


def _deviations(rows: np.ndarray) -> np.ndarray:
    constant = np.flatnonzero(np.ptp(rows, axis=0) == 0)
    if len(constant):
        raise ValueError(
            f"X must vary in every column, but column {constant[0]} is constant. Drop the column "
            "from X and from the scores."
        )
    return deviations("X", rows)


def _scores_at(score: Any, X: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    function: Callable[..., Any] | None = getattr(score, "score_function", None)
    if function is None and callable(score):
        function = score
    values = score if function is None else function(X)
    if np.shape(values) != shape:
        raise ValueError(
            f"score must be an array of shape {shape} for these rows, a fitted estimator with "
            "`score_function`, or a callable that returns such an array. Got "
            f"{np.shape(values) or repr(values)} instead."
        )
    return check_floats("score", values, 2)
