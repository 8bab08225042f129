r"""Hyvarinen's criterion and Fisher divergences: how good scores are.

Hyvarinen's criterion needs no truth.  For scores s and their Jacobians J at
held-out rows, and a metric M,

    S = -(1/n) sum [ 1/2 s' M s + tr(M J) ]

is, up to a constant of the data, minus the Fisher divergence
``1/2 E (s - s*)' M (s - s*)`` to the true score s*: higher is better, and the
largest value in expectation belongs to the truth.  With M the covariance of
the training rows it is the same in all units, and a Gaussian scores about d/2.

References
----------
Hyvarinen (2005). Estimation of non-normalized statistical models by score matching.
Parry, Dawid and Lauritzen (2012). Proper local scoring rules.
"""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import from_user
from skscore._messages import listed
from skscore._validation import check_metric, check_weights, finite_results, refuse_masked
from skscore.exceptions import NonFiniteResultError

_LEAST, _LARGEST = 1e-150, 1e150  # deviations whose squares are numbers


def hyvarinen_score_samples(
    scores: ArrayLike, jacobian_or_divergence: ArrayLike, metric: ArrayLike | None = None
) -> np.ndarray:
    """Hyvarinen's criterion of each row, ``-(1/2 s' M s + tr(M J))``; higher is better.

    Parameters
    ----------
    scores : array-like of shape (n, d)
        ``s(x)`` at the rows.
    jacobian_or_divergence : array-like of shape (n, d, d) or (n,)
        ``J = grad s(x)``, or ``tr(M J)``: with a metric, give the divergence in that metric,
        as ``score_divergence(X, metric=M)`` of the estimators does.
    metric : array-like of shape (d, d), default=None
        The symmetric M; None is the identity.

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import hyvarinen_score_samples
    >>> x = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> hyvarinen_score_samples(-x, np.full(2, -2.0)).tolist()
    [2.0, 1.0]
    """
    refuse_masked("jacobian_or_divergence", jacobian_or_divergence)
    s, J = check_floats("scores", scores, 2), jacobian_or_divergence
    J = np.asarray(from_user(J), dtype=np.float64)
    n, d = s.shape
    if J.shape not in ((n,), (n, d, d)):
        raise ValueError(
            f"jacobian_or_divergence must have shape {(n,)} or {(n, d, d)} for scores of shape "
            f"{(n, d)}. Got {J.shape} instead."
        )
    check_finite("jacobian_or_divergence", J)
    M = _metric(metric, d)
    with np.errstate(over="ignore", invalid="ignore"):
        trace = J if J.ndim == 1 else np.einsum("ij,nji->n", M, J)
        values = -(0.5 * np.einsum("ni,ij,nj->n", s, M, s) + trace)
    return finite_results(values, "Hyvarinen's criterion")


@overload
def hyvarinen_score(
    scores: ArrayLike,
    jacobian_or_divergence: ArrayLike,
    metric: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    return_std_error: Literal[False] = False,
) -> float: ...
@overload
def hyvarinen_score(
    scores: ArrayLike,
    jacobian_or_divergence: ArrayLike,
    metric: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    return_std_error: bool,
) -> float | tuple[float, float]: ...
def hyvarinen_score(
    scores: ArrayLike,
    jacobian_or_divergence: ArrayLike,
    metric: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    return_std_error: bool = False,
) -> float | tuple[float, float]:
    """Hyvarinen's criterion, the mean of :func:`hyvarinen_score_samples`; higher is better.

    Parameters
    ----------
    scores, jacobian_or_divergence, metric
        As for :func:`hyvarinen_score_samples`.
    sample_weight : array-like of shape (n,), default=None
    return_std_error : bool, default=False
        Whether the standard error of the mean comes back too.

    Returns
    -------
    float, or (float, float) with the standard error

    Examples
    --------
    >>> import numpy as np
    >>> from skscore.metrics import hyvarinen_score
    >>> x = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> hyvarinen_score(-x, np.full(2, -2.0), return_std_error=True)
    (1.5, 0.5)
    """
    values = hyvarinen_score_samples(scores, jacobian_or_divergence, metric)
    w = unit_weights(sample_weight, len(values))
    mean = float(w @ values)
    if not return_std_error:
        return mean
    n = np.count_nonzero(w)
    if n < 2:
        raise ValueError("A standard error needs at least two rows of positive weight.")
    return mean, float(np.sqrt(np.sum((w * (values - mean)) ** 2) * n / (n - 1)))


def fisher_divergence(
    scores: ArrayLike,
    true_scores: ArrayLike,
    metric: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """``1/2 E (s - s*)' M (s - s*)`` over rows drawn from the truth; zero is best.

    Parameters
    ----------
    scores, true_scores : array-like of shape (n, d)
    metric : array-like of shape (d, d), default=None
        The symmetric M; None is the identity.
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    float

    Examples
    --------
    >>> from skscore.metrics import fisher_divergence
    >>> fisher_divergence([[1.0, 1.0]], [[0.0, 0.0]])
    1.0
    """
    s, true = _pair(scores, true_scores)
    return finite("fisher_divergence", 0.5 * _mean_square(s - true, metric, sample_weight))


def relative_fisher_divergence(
    scores: ArrayLike,
    true_scores: ArrayLike,
    metric: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """``E|s - s*|^2 / E|s*|^2``: 0 is exact, 1 is what a score of zero gets.

    Parameters
    ----------
    scores, true_scores, metric, sample_weight
        As for :func:`fisher_divergence`.

    Returns
    -------
    float

    Examples
    --------
    >>> from skscore.metrics import relative_fisher_divergence
    >>> relative_fisher_divergence([[1.0, 1.0]], [[2.0, 2.0]])
    0.25
    """
    s, true = _pair(scores, true_scores)
    size = _mean_square(true, metric, sample_weight)
    if size == 0:
        raise ValueError("relative_fisher_divergence needs true_scores that are not all zero.")
    ratio = _mean_square(s - true, metric, sample_weight) / size
    return finite("relative_fisher_divergence", ratio)


def check_floats(name: str, values: ArrayLike, ndim: int) -> np.ndarray:
    refuse_masked(name, values)
    values = np.asarray(from_user(values), dtype=np.float64)
    if values.ndim != ndim or not len(values):
        raise ValueError(
            f"{name} must be a {ndim}-D array with at least one row. Got shape {values.shape}."
        )
    return check_finite(name, values)


def check_finite(name: str, values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        row = np.argwhere(~np.isfinite(values))[0][0]
        raise ValueError(f"{name} must be finite numbers, but row {row} is not.")
    return values


def finite(name: str, value: float) -> float:
    """A plain float, or a named error where the arithmetic overflowed."""
    if not np.isfinite(value):
        raise NonFiniteResultError(
            f"{name} is not finite: values are too large or too small for float64. Rescale the "
            "columns."
        )
    return float(value)


def deviations(name: str, rows: np.ndarray) -> np.ndarray:
    """Standard deviations of the columns; where squares leave the numbers, the column is named."""
    with np.errstate(over="ignore", invalid="ignore"):
        sd = rows.std(axis=0)
    constant = rows.min(axis=0) == rows.max(axis=0)
    lost = ~constant & ~((sd > _LEAST) & (sd < _LARGEST))
    if lost.any():
        raise ValueError(
            f"The values of these columns of {name} are too large or too small: "
            f"{listed([str(j) for j in np.flatnonzero(lost)])}. Standard deviations must lie "
            f"within {_LEAST:g} and {_LARGEST:g}. Divide each column by its typical magnitude, and "
            "drop rows whose value stands for something else, such as a missing one."
        )
    return sd


def _pair(scores: ArrayLike, true_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    s, true = check_floats("scores", scores, 2), check_floats("true_scores", true_scores, 2)
    if s.shape != true.shape:
        raise ValueError(
            f"scores and true_scores must have one shape. Got {s.shape} and {true.shape}."
        )
    return s, true


def _metric(metric: ArrayLike | None, d: int) -> np.ndarray:
    return np.eye(d) if metric is None else check_metric(metric, d)


def unit_weights(sample_weight: ArrayLike | None, n: int) -> np.ndarray:
    """Weights that sum to one."""
    w = check_weights(sample_weight, n)
    return np.full(n, 1 / n) if w is None else w / w.sum()


def _mean_square(
    difference: np.ndarray, metric: ArrayLike | None, sample_weight: ArrayLike | None
) -> float:
    n, d = difference.shape
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ni,ij,nj->n", difference, _metric(metric, d), difference)
    return float(unit_weights(sample_weight, n) @ squares)
