r"""Two tables of rows: do they come from one law?

:func:`maximum_mean_discrepancy`, :func:`energy_distance` and
:func:`sliced_wasserstein_distance` are distances between laws, in the units of the columns:
a column that is measured in large numbers has most of the say.  Standardise both tables first
(by the same scale) where that is not meant.  :func:`classifier_two_sample_test` asks a
classifier to tell the tables apart.

References
----------
Szekely and Rizzo (2013). Energy statistics: a class of statistics based on distances.
Gretton, Borgwardt, Rasch, Schoelkopf and Smola (2012). A kernel two-sample test.
Bonneel, Rabin, Peyre and Pfister (2015). Sliced and Radon Wasserstein barycenters of measures.
Lopez-Paz and Oquab (2017). Revisiting classifier two-sample tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist
from scipy.stats import hypergeom
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from skscore._params import check_count
from skscore._validation import integer_seeds
from skscore.metrics._fisher import check_floats, finite

_BLOCK = 256  # rows; a square block of float64 stays in a core's cache
_MEDIAN_ROWS = 1000


class TestResult(NamedTuple):
    """What a test says: the statistic, and how likely one as large is where nothing is wrong.

    Examples
    --------
    >>> from skscore.metrics import classifier_two_sample_test
    >>> X = [[0.0], [0.1], [0.2], [0.3]]
    >>> statistic, pvalue = classifier_two_sample_test(X, X, random_state=0)
    >>> pvalue
    1.0
    """

    statistic: float
    pvalue: float


TestResult.__test__ = False  # type: ignore[attr-defined]  # for pytest it is no class of tests


def maximum_mean_discrepancy(
    X: ArrayLike, Y: ArrayLike, *, bandwidth: float | str = "median"
) -> float:
    r"""Squared maximum mean discrepancy of two tables; zero on average for equal laws.

    .. math:: E k(x, x') + E k(y, y') - 2 E k(x, y), \quad k(x, y) = \exp(-|x-y|^2 / (2 h^2))

    The means are over pairs of different rows, so that the value is unbiased (for a given h): for
    equal laws it lies about zero, on either side.  Distances are in the units of the columns.
    The time grows with the square of the number of rows, the memory does not.

    Parameters
    ----------
    X : array-like of shape (n, d)
    Y : array-like of shape (m, d)
    bandwidth : float in (0, inf) or "median", default="median"
        h.  "median" is the median distance between rows of both tables, of at most 1000 of them
        at random, the same at every call.  It differs from table to table: give a number to
        compare values.

    Returns
    -------
    float

    References
    ----------
    Gretton, Borgwardt, Rasch, Schoelkopf and Smola (2012). A kernel two-sample test.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import maximum_mean_discrepancy
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 3))
    >>> abs(maximum_mean_discrepancy(X, Y)) < 0.01 < maximum_mean_discrepancy(X, Y + 1)
    True
    """
    X, Y = _centred(*_two_tables(X, Y))
    h = bandwidth_of(bandwidth, np.concatenate([X, Y]))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = cdist(a, b, "sqeuclidean")
        squares *= -0.5
        return np.exp(squares, out=squares)

    return _within_minus_between("maximum_mean_discrepancy", kernel, X / h, Y / h)


def energy_distance(X: ArrayLike, Y: ArrayLike) -> float:
    """Energy distance of two tables, ``2 E|x - y| - E|x - x'| - E|y - y'|``; no bandwidth.

    The means are over pairs of different rows, so that the value is unbiased: for equal laws it
    lies about zero, on either side.  Distances are in the units of the columns.  The time grows
    with the square of the number of rows, the memory does not.

    ``scipy.stats.energy_distance``, for one column, is the square root of this, with the zero
    distance of each row to itself among the means ``E|x - x'|`` and ``E|y - y'|``.

    Parameters
    ----------
    X : array-like of shape (n, d)
    Y : array-like of shape (m, d)

    Returns
    -------
    float

    References
    ----------
    Szekely and Rizzo (2013). Energy statistics: a class of statistics based on distances.

    Examples
    --------
    >>> from skscore.metrics import energy_distance
    >>> energy_distance([[0.0], [1.0]], [[3.0], [4.0]])
    4.0
    """
    X, Y = _two_tables(X, Y)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return -cdist(a, b)

    return _within_minus_between("energy_distance", kernel, X, Y)


def sliced_wasserstein_distance(
    X: ArrayLike, Y: ArrayLike, *, n_projections: int = 100, random_state: Any = None
) -> float:
    r"""Wasserstein-2 distance of two tables along random lines, root mean square.

    .. math:: \Big( E_v \int_0^1 (Q_{v'X}(u) - Q_{v'Y}(u))^2 du \Big)^{1/2}

    with v uniform on the sphere and Q the quantiles of the projected rows: each line is coupled
    exactly, for any numbers of rows.  A shift by m has the distance ``|m| / sqrt(d)``.  It is in
    the units of the columns, and it is never negative: between two tables of one law of unit
    scale it is about twice ``n ** -0.5``, not zero.

    Parameters
    ----------
    X : array-like of shape (n, d)
    Y : array-like of shape (m, d)
    n_projections : int in [1, inf), default=100
        Directions, drawn in groups of d at right angles, which lowers the variance: a multiple
        of d is best.  One column has one direction.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    float

    References
    ----------
    Rabin, Peyre, Delon and Bernot (2012). Wasserstein barycenter and its application to
    texture mixing.
    Bonneel, Rabin, Peyre and Pfister (2015). Sliced and Radon Wasserstein barycenters of measures.
    Rowland et al. (2019). Orthogonal estimation of Wasserstein distances.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import sliced_wasserstein_distance
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> round(sliced_wasserstein_distance(X, X + [3.0, 0.0, 0.0, 4.0], random_state=0), 6)
    2.5
    """
    X, Y = _centred(*_two_tables(X, Y))
    check_count(None, "n_projections", n_projections)
    rng = np.random.RandomState(integer_seeds(random_state, 1)[0])
    shares, from_x, from_y = _coupling(len(X), len(Y))
    directions = _directions(n_projections, X.shape[1], rng)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = [
            shares @ np.square(np.sort(X @ v)[from_x] - np.sort(Y @ v)[from_y]) for v in directions
        ]
        return finite("sliced_wasserstein_distance", np.sqrt(np.mean(squares)))


def classifier_two_sample_test(
    X: ArrayLike, Y: ArrayLike, *, classifier: Any = None, random_state: Any = None
) -> TestResult:
    """Accuracy of a classifier that tells two tables apart; 0.5 where it cannot.

    The rows are labelled by their table and split at random in halves, with equal numbers of
    either label in each.  The classifier is fitted to the one half and judged on the other.  Of
    the longer table a random subset is used, so that guessing has an accuracy of 0.5.

    The p-value is exact for any classifier: where the laws are equal, all ways to give the
    labels to the rows of the second half are equally likely, whatever is predicted.  So with
    h rows of either label, k of all 2h predicted as rows of Y, the number of hits among these k
    is hypergeometric, and the p-value is the chance of as many hits or more (Fisher's exact
    test).  It holds for independent rows; those of a Markov chain are to be thinned first.

    Parameters
    ----------
    X : array-like of shape (n, d)
    Y : array-like of shape (m, d)
    classifier : scikit-learn classifier, default=None
        Cloned before it is fitted; None is a ``HistGradientBoostingClassifier``, which needs
        some hundred rows.  Every `random_state` in it that is None is drawn from `random_state`.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    TestResult
        ``statistic``, the accuracy on the second half, and ``pvalue``.

    References
    ----------
    Lopez-Paz and Oquab (2017). Revisiting classifier two-sample tests.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skscore.metrics import classifier_two_sample_test
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 3))
    >>> logistic = LogisticRegression()
    >>> classifier_two_sample_test(X, Y + 1, classifier=logistic, random_state=0).pvalue < 0.001
    True
    """
    X, Y = _two_tables(X, Y)
    seed, classifier_seed = integer_seeds(random_state, 2)
    classifier = _seeded(classifier, classifier_seed)
    rng, n = np.random.RandomState(seed), min(len(X), len(Y))
    X, Y = X[rng.permutation(len(X))[:n]], Y[rng.permutation(len(Y))[:n]]
    half = n // 2
    with threadpool_limits(1, user_api="openmp"):  # threads that wait for shared cores cost all
        classifier.fit(np.concatenate([X[:half], Y[:half]]), np.repeat([0, 1], half))
        said = np.asarray(classifier.predict(np.concatenate([X[half:], Y[half:]]))) == 1
    labels = np.repeat([False, True], n - half)
    pvalue = hypergeom.sf(np.sum(said & labels) - 1, len(labels), n - half, said.sum())
    return TestResult(float(np.mean(said == labels)), float(pvalue))


def _seeded(classifier: Any, seed: int) -> Any:
    """An unfitted copy of the classifier that draws nothing from the global generator."""
    classifier = HistGradientBoostingClassifier() if classifier is None else classifier
    if isinstance(classifier, type) or not hasattr(classifier, "predict"):
        raise ValueError(
            f"classifier must be a scikit-learn classifier or None. Got {classifier!r} instead."
        )
    copy = clone(classifier)
    states = [
        name
        for name, value in copy.get_params().items()
        if value is None and name.split("__")[-1] == "random_state"
    ]
    return copy.set_params(**dict.fromkeys(states, seed))


def _directions(n: int, d: int, rng: np.random.RandomState) -> np.ndarray:
    """Unit vectors, uniform up to their signs, in groups of d at right angles."""
    if d == 1:
        return np.ones((1, 1))
    groups = [np.linalg.qr(rng.standard_normal((d, min(d, n))))[0].T for _ in range(-(-n // d))]
    return np.concatenate(groups)[:n]


def _coupling(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of the levels between the steps of two quantile functions, and the ranks there."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m)
    return np.diff(ends, prepend=0) / (n * m), (ends - 1) // m, (ends - 1) // n


def _within_minus_between(
    name: str, kernel: Callable[..., np.ndarray], X: np.ndarray, Y: np.ndarray
) -> float:
    """``E k(x, x') + E k(y, y') - 2 E k(x, y)``, the means over pairs of different rows."""
    with np.errstate(over="ignore", invalid="ignore"):
        between = sum(kernel(X[i], Y[j]).sum() for i in blocks(len(X)) for j in blocks(len(Y)))
        within = _within(kernel, X) + _within(kernel, Y)
        return finite(name, within - 2 * between / (len(X) * len(Y)))


def _within(kernel: Callable[..., np.ndarray], X: np.ndarray) -> float:
    return pair_means(lambda i, j: kernel(X[i], X[j]), np.ones((len(X), 1)))[0]


def pair_means(kernel: Callable[[slice, slice], np.ndarray], signs: np.ndarray) -> np.ndarray:
    """Means of ``w_i w_j k_ij`` over i != j, for each column w of signs; k is symmetric."""
    n, sums = len(signs), np.zeros(signs.shape[1])
    for i in blocks(n):
        here = kernel(i, i)
        np.fill_diagonal(here, 0.0)
        products = 0.5 * here @ signs[i].astype(np.float64)
        for j in blocks(n, i.stop):
            products += kernel(i, j) @ signs[j].astype(np.float64)
        sums += np.einsum("ij,ij->j", signs[i], products)
    return 2 * sums / (n * (n - 1))


def blocks(n: int, start: int = 0) -> Iterator[slice]:
    """Slices of at most `_BLOCK` rows from `start` to n."""
    return (slice(i, min(i + _BLOCK, n)) for i in range(start, n, _BLOCK))


def bandwidth_of(bandwidth: float | str, rows: np.ndarray) -> float:
    """A bandwidth as a number; "median" measures the rows."""
    if isinstance(bandwidth, str) and bandwidth == "median":
        order = np.random.RandomState(0).permutation(len(rows))
        median = float(np.median(pdist(rows[order[:_MEDIAN_ROWS]])))
        if not 0 < median < float("inf"):
            raise ValueError(
                f'bandwidth="median" is {median} for these rows: most are equal, or their values '
                "are too large or too small. Give a number, or rescale the columns."
            )
        return median
    number = isinstance(bandwidth, Real) and not isinstance(bandwidth, bool)
    if not (number and 0 < float(bandwidth) < float("inf")):
        raise ValueError(
            f'bandwidth must be "median" or a number in (0, inf). Got {bandwidth!r} instead.'
        )
    return float(bandwidth)


def check_sample(name: str, values: ArrayLike) -> np.ndarray:
    """Finite float64 rows, two at least, one after the other in memory."""
    values = np.ascontiguousarray(check_floats(name, values, 2))
    if len(values) < 2 or not values.shape[1]:
        raise ValueError(
            f"{name} must have at least two rows and one column. Got shape {values.shape}."
        )
    return values


def _two_tables(X: ArrayLike, Y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    names = [list(getattr(table, "columns", [])) for table in (X, Y)]
    if all(names) and names[0] != names[1]:
        raise ValueError(
            f"X and Y must have the same columns in the same order. Got {names[0]} and {names[1]}."
        )
    X, Y = check_sample("X", X), check_sample("Y", Y)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X and Y must have equal numbers of columns. Got {X.shape[1]} and {Y.shape[1]}."
        )
    return X, Y


def _centred(X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both tables about the origin, where rows lose no digits when they are scaled or projected."""
    centre = X.mean(axis=0)
    return X - centre, Y - centre
