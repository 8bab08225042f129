"""Toy distributions that know their own score and log-density.

Every ``make_*`` returns a distribution with ``sample(n_samples, random_state)``,
``score_function(X)`` and ``score_samples(X)`` (in nats), all exact, so that an
estimate can be held to the truth.  :func:`dequantize` is for real tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state

from skscore._backend.closed_form import ClosedForm
from skscore._backend.convert import from_user
from skscore._changes.ties import column_ties
from skscore._params import check_count, check_positive
from skscore._validation import check_n_samples, check_table, refuse_masked, rows_like

__all__ = [
    "Distribution",
    "dequantize",
    "make_checkerboard",
    "make_correlated_gaussian",
    "make_funnel",
    "make_gaussian",
    "make_gaussian_mixture",
    "make_moons",
    "make_random_mixture",
    "make_ring",
    "make_two_gaussians",
]


class Distribution(ABC):
    """Contract of a toy: draws rows, and knows its score and log-density.

    The public methods check, the private ones compute.
    """

    n_features: int

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows, (n_samples, n_features)."""
        return self._draw(check_n_samples(n_samples), check_random_state(random_state))

    def score_function(self, X: ArrayLike) -> np.ndarray:
        """``grad_x log p(x)``, (n, n_features)."""
        return self._score(self._checked(X))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """``log p(x)`` in nats, (n,)."""
        return self._log_density(self._checked(X))

    def _checked(self, X: ArrayLike) -> np.ndarray:
        refuse_masked("X", X)
        rows: np.ndarray = check_array(from_user(X), dtype=np.float64)
        if rows.shape[1] != self.n_features:
            raise ValueError(
                f"This distribution has {self.n_features} columns. Got {rows.shape[1]} of them."
            )
        return rows

    @abstractmethod
    def _draw(self, n: int, rng: np.random.RandomState) -> np.ndarray: ...

    @abstractmethod
    def _score(self, X: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _log_density(self, X: np.ndarray) -> np.ndarray: ...


class _Mixture(Distribution):
    """Gaussian mixture; also every law that is one up to rounding."""

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike) -> None:
        self.weights = np.asarray(weights, dtype=np.float64)
        self.means = np.asarray(means, dtype=np.float64)
        self.covariances = np.asarray(covariances, dtype=np.float64)
        _check_mixture(self.weights, self.means, self.covariances)
        self.n_features = self.means.shape[1]
        self._law = ClosedForm(self.weights, self.means, self.covariances)

    def _draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        z = rng.standard_normal((n, self.means.shape[1]))
        factors = np.linalg.cholesky(self.covariances)
        return self.means[component] + np.einsum("nij,nj->ni", factors[component], z)

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._law.score(X)

    def _log_density(self, X: np.ndarray) -> np.ndarray:
        return self._law.log_density(X)


class _Moons(Distribution):
    """Two half circles, uniform along the arc, with Gaussian noise across and along."""

    n_features = 2

    def __init__(self, noise: float) -> None:
        check_positive(self, "noise", noise)
        self.noise = noise
        nodes, weights = np.polynomial.legendre.leggauss(8)
        n_panels = int(np.ceil(np.pi / noise))
        angles = (np.arange(n_panels)[:, None] + (nodes + 1) / 2).ravel() * np.pi / n_panels
        means = np.concatenate([self._points(angles, True), self._points(angles, False)])
        shares = np.tile(weights / (4 * n_panels), 2 * n_panels)
        self._law = ClosedForm(shares, means, variance=noise**2)

    @staticmethod
    def _points(angles: np.ndarray, upper: ArrayLike) -> np.ndarray:
        x = np.where(upper, np.cos(angles), 1 - np.cos(angles))
        y = np.where(upper, np.sin(angles), 0.5 - np.sin(angles))
        return np.stack([x, y], axis=1)

    def _draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        angles, upper = rng.uniform(0, np.pi, n), rng.uniform(size=n) < 0.5
        return self._points(angles, upper) + self.noise * rng.standard_normal((n, 2))

    def _score(self, X: np.ndarray) -> np.ndarray:
        return self._law.score(X)

    def _log_density(self, X: np.ndarray) -> np.ndarray:
        return self._law.log_density(X)


class _Checkerboard(Distribution):
    """Uniform on the eight dark squares, of side two, of a board on [-4, 4]^2."""

    n_features = 2

    def _draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        x = rng.uniform(-4, 4, n)
        row = 2 * rng.randint(2, size=n) + np.floor(x / 2) % 2
        return np.stack([x, 2 * row - 4 + rng.uniform(0, 2, n)], axis=1)

    def _score(self, X: np.ndarray) -> np.ndarray:
        """Zero: the density is flat wherever it has a gradient."""
        return np.zeros_like(X)

    def _log_density(self, X: np.ndarray) -> np.ndarray:
        dark = np.floor(X / 2).sum(1) % 2 == 0
        inside = dark & (X >= -4).all(1) & (X < 4).all(1)
        return np.where(inside, -np.log(32.0), -np.inf)


class _Funnel(Distribution):
    """Neal's funnel: ``v ~ N(0, 3^2)``, then the others ``N(0, e^v)``."""

    def __init__(self, n_features: int) -> None:
        check_count(self, "n_features", n_features)
        self.n_features = n_features

    def _draw(self, n: int, rng: np.random.RandomState) -> np.ndarray:
        z = rng.standard_normal((n, self.n_features))
        v = 3 * z[:, :1]
        return np.concatenate([v, np.exp(v / 2) * z[:, 1:]], axis=1)

    def _score(self, X: np.ndarray) -> np.ndarray:
        v, x = X[:, 0], X[:, 1:]
        precision = np.exp(-v)
        along = -v / 9 + 0.5 * (precision * (x**2).sum(1) - x.shape[1])
        return np.concatenate([along[:, None], -precision[:, None] * x], axis=1)

    def _log_density(self, X: np.ndarray) -> np.ndarray:
        v, x = X[:, 0], X[:, 1:]
        k = x.shape[1]
        constant = np.log(3) + 0.5 * (k + 1) * np.log(2 * np.pi)
        return -(v**2) / 18 - 0.5 * (np.exp(-v) * (x**2).sum(1) + k * v) - constant


def _check_mixture(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> None:
    """Refuse parts of a mixture that do not make one."""
    k, d = means.shape if means.ndim == 2 else (0, 0)
    if not (k and d and weights.shape == (k,) and covariances.shape == (k, d, d)):
        raise ValueError(
            "A mixture needs weights of shape (k,), means (k, d) and covariances (k, d, d). "
            f"Got {weights.shape}, {means.shape} and {covariances.shape}."
        )
    if not ((weights > 0).all() and np.isclose(weights.sum(), 1)):
        raise ValueError(
            f"The weights of a mixture must be positive and sum to one. Got {weights}."
        )
    symmetric = np.allclose(covariances, covariances.transpose(0, 2, 1))
    if not (symmetric and (np.linalg.eigvalsh(covariances) > 0).all()):
        raise ValueError("The covariances of a mixture must be symmetric and positive definite.")


def make_gaussian(
    mean: ArrayLike = (0.0, 0.0), covariance: ArrayLike | None = None
) -> Distribution:
    """A Gaussian law.

    Parameters
    ----------
    mean : array-like of shape (d,), default=(0, 0)
    covariance : array-like of shape (d, d), default=None
        None is the identity.

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_gaussian
    >>> make_gaussian().score_function([[1.0, 2.0]])
    array([[-1., -2.]])
    """
    mean = np.atleast_1d(np.asarray(mean, dtype=np.float64))
    covariance = np.eye(len(mean)) if covariance is None else np.asarray(covariance)
    return _Mixture([1.0], mean[None], covariance[None])


def make_gaussian_mixture(
    weights: ArrayLike, means: ArrayLike, covariances: ArrayLike
) -> Distribution:
    """A mixture of Gaussians.

    Parameters
    ----------
    weights : array-like of shape (k,)
        Sum to one.
    means : array-like of shape (k, d)
    covariances : array-like of shape (k, d, d)

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_gaussian_mixture
    >>> law = make_gaussian_mixture([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    >>> law.score_function([[0.0]]).round(12) + 0.0
    array([[0.]])
    """
    return _Mixture(weights, means, covariances)


def make_two_gaussians(
    weight: float = 0.9, separation: float = 10.0, n_features: int = 2
) -> Distribution:
    """Two standard Gaussians apart along the first column: a test of mode weights.

    Parameters
    ----------
    weight : float in (0, 1), default=0.9
        Of the left one.
    separation : float, default=10.0
        In standard deviations.
    n_features : int in [1, inf), default=2

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_two_gaussians
    >>> X = make_two_gaussians().sample(1000, random_state=0)
    >>> bool(abs((X[:, 0] < 0).mean() - 0.9) < 0.03)
    True
    """
    means = np.zeros((2, n_features))
    means[:, 0] = -separation / 2, separation / 2
    return _Mixture([weight, 1 - weight], means, np.tile(np.eye(n_features), (2, 1, 1)))


def make_ring(n_modes: int = 8, radius: float = 4.0, scale: float = 0.35) -> Distribution:
    """Round Gaussians evenly spaced on a circle, two columns.

    Parameters
    ----------
    n_modes : int in [1, inf), default=8
    radius, scale : float
        Of the circle, and standard deviation of each mode.

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_ring
    >>> make_ring().sample(3, random_state=0).shape
    (3, 2)
    """
    angles = 2 * np.pi * np.arange(n_modes) / max(n_modes, 1)
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    covariances = np.tile(scale**2 * np.eye(2), (n_modes, 1, 1))
    return _Mixture(np.full(n_modes, 1 / max(n_modes, 1)), means, covariances)


def make_moons(noise: float = 0.1) -> Distribution:
    """Two interleaved half circles with Gaussian noise, two columns.

    The law of ``sklearn.datasets.make_moons``; its density is an integral along the arcs,
    taken by Gauss-Legendre quadrature over arcs no longer than the noise.

    Parameters
    ----------
    noise : float in (0, inf), default=0.1
        Standard deviation.

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_moons
    >>> make_moons().score_samples([[0.0, 1.0]]).round(2)
    array([-0.45])
    """
    return _Moons(noise)


def make_checkerboard() -> Distribution:
    """Uniform on eight squares of a 4 by 4 board on [-4, 4]^2; minus infinity elsewhere.

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_checkerboard
    >>> make_checkerboard().score_samples([[1.0, 1.0], [1.0, -1.0]]).round(2)
    array([-3.47,  -inf])
    """
    return _Checkerboard()


def make_funnel(n_features: int = 10) -> Distribution:
    """Neal's funnel: a wide end and a neck, whose scales differ by e^9 and more.

    Parameters
    ----------
    n_features : int in [1, inf), default=10

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_funnel
    >>> make_funnel(2).score_function([[0.0, 1.0]])
    array([[ 0., -1.]])
    """
    return _Funnel(n_features)


def make_random_mixture(
    n_components: int = 20, n_features: int = 10, random_state: Any = 0
) -> Distribution:
    """A mixture of Gaussians with random means, covariances and weights.

    Parameters
    ----------
    n_components, n_features : int in [1, inf)
    random_state : int, RandomState or None, default=0

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_random_mixture
    >>> make_random_mixture().sample(3, random_state=0).shape
    (3, 10)
    """
    rng = check_random_state(random_state)
    factors = rng.standard_normal((n_components, n_features, n_features)) / np.sqrt(n_features)
    covariances = factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(n_features)
    means = 2 * rng.standard_normal((n_components, n_features))
    return _Mixture(rng.dirichlet(np.full(n_components, 5.0)), means, covariances)


def make_correlated_gaussian(n_features: int = 50, correlation: float = 0.9) -> Distribution:
    """A Gaussian whose columns i and j correlate by ``correlation ** |i - j|``.

    Parameters
    ----------
    n_features : int in [1, inf), default=50
    correlation : float in (-1, 1), default=0.9

    Returns
    -------
    Distribution

    Examples
    --------
    >>> from skscore.datasets import make_correlated_gaussian
    >>> make_correlated_gaussian(3).sample(2, random_state=0).shape
    (2, 3)
    """
    lags = np.abs(np.subtract.outer(np.arange(n_features), np.arange(n_features)))
    return make_gaussian(np.zeros(n_features), correlation**lags)


def dequantize(X: Any, random_state: Any = None) -> Any:
    """Spread tied values: columns with many repeats get uniform noise one gap wide.

    A column counts as tied when more than 5 % of its values repeat; its gap is the median
    distance between neighbouring distinct values.  Rounded measurements then have a
    density again.

    Parameters
    ----------
    X : array-like or data frame of shape (n, d)
        Finite numbers.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ndarray or data frame of shape (n, d)
        A new one, a frame where X is one; untied columns are as they were.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.datasets import dequantize
    >>> X = np.repeat([[1.0], [2.0], [3.0]], 100, axis=0)
    >>> len(np.unique(dequantize(X, random_state=0)))
    300
    """
    rows = check_table(X, "dequantize")
    noise = check_random_state(random_state).uniform(-0.5, 0.5, size=rows.shape)
    return rows_like(X, rows + column_ties(rows).gaps * noise)
