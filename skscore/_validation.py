"""What comes in from users: rows, weights, parameters, random states.

This is the one window to scikit-learn's private names.  Rows are refused here
with a sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator
from sklearn.impute._base import _BaseImputer as Imputer
from sklearn.preprocessing._encoders import _BaseEncoder as Encoder
from sklearn.utils import _safe_indexing as some_of
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import ADAPTERS_MANAGER, _get_container_adapter
from sklearn.utils.metadata_routing import (
    MetadataRequest,
    process_routing,
)
from sklearn.utils.metadata_routing import (
    _MetadataRequester as MetadataRequester,
)
from sklearn.utils.metadata_routing import (
    _routing_enabled as routing_enabled,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_method_params, check_is_fitted, validate_data

from skscore._backend.convert import from_user
from skscore._messages import column_names
from skscore._params import check_count
from skscore.exceptions import NonFiniteResultError, StepLimitError

__all__ = [
    "CONTAINERS",
    "Encoder",
    "FrozenEstimator",
    "HasMethods",
    "Imputer",
    "Interval",
    "MetadataRequester",
    "StrOptions",
    "available_if",
    "check_fitted",
    "check_metric",
    "check_metric_rows",
    "check_metrics",
    "check_parameters",
    "check_picklable",
    "check_rows",
    "check_table",
    "check_unnamed_rows",
    "check_weights",
    "container_of",
    "finite_results",
    "first_rows",
    "importable",
    "integer_seeds",
    "metric_for",
    "refuse_masked",
    "routed_weights",
    "routing_enabled",
    "rows_like",
    "rows_of",
    "score_request",
    "solved_results",
    "some_of",
    "unnamed",
    "unwrapped",
    "without_rows",
]

CONTAINERS = ADAPTERS_MANAGER.supported_outputs
"""Names of what rows may come in."""

_CHUNK = 65_536


def check_parameters(estimator: Any) -> None:
    """Hold an estimator's parameters to the table in its class."""
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def refuse_masked(name: str, values: Any) -> None:
    """Refuse a masked array that hides entries: numpy would use what lies behind the mask."""
    parts = values if isinstance(values, (list, tuple)) else [values]
    if any(np.ma.is_masked(part) for part in parts):
        raise ValueError(
            f"{name} is a masked array that hides entries: what lies behind a mask is no value. "
            f"Drop the rows, or fill the entries in, for instance by {name}.filled(value)."
        )


def check_fitted(estimator: Any) -> None:
    """Refuse an estimator that is not fitted."""
    check_is_fitted(estimator)


def first_rows(estimator: Any, X: ArrayLike, least: int = 2) -> tuple[np.ndarray, dict[str, Any]]:
    """Validated rows for a first fit, and the attributes that describe them.

    The estimator itself is not touched: the attributes (``n_features_in_`` and, for
    data frames, ``feature_names_in_``) are for its `fit` to set at the end.
    """
    shell = copy.copy(estimator)
    X = _validated(shell, X, reset=True, ensure_min_samples=least)
    names = ("n_features_in_", "feature_names_in_")
    return X, {name: getattr(shell, name) for name in names if hasattr(shell, name)}


def check_rows(estimator: Any, X: ArrayLike) -> np.ndarray:
    """Validated rows for a fitted estimator."""
    check_is_fitted(estimator)
    return _validated(estimator, X, reset=False)


def check_unnamed_rows(estimator: Any, X: ArrayLike) -> np.ndarray:
    """Validated rows for a fitted estimator, of its number of columns but not its own columns."""
    check_is_fitted(estimator)
    refuse_masked("X", X)
    return _validated(
        unnamed(estimator), X if issparse(X) else np.asarray(from_user(X)), reset=False
    )


def unnamed(estimator: Any) -> Any:
    """A shallow copy of a fitted estimator that knows no column names, and asks for none."""
    shell = copy.copy(estimator)
    shell.__dict__.pop("feature_names_in_", None)
    return shell


def unwrapped(estimator: Any) -> Any:
    """What is inside frozen estimators and searches: of a fitted search the best estimator."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "refit") and hasattr(estimator, "estimator"):
            estimator = getattr(estimator, "best_estimator_", estimator.estimator)
        else:
            return estimator


def check_table(X: ArrayLike, owner: str) -> np.ndarray:
    """Validated rows as float64, for a function whose name is `owner`."""
    return _checked(owner, X, partial(check_array, dtype=np.float64))


def _validated(estimator: Any, X: ArrayLike, **options: Any) -> np.ndarray:
    check = partial(validate_data, estimator, dtype=[np.float64, np.float32], **options)
    return _checked(type(estimator).__name__, X, check)


def _checked(owner: str, X: Any, check: Callable[..., np.ndarray]) -> np.ndarray:
    """Rows that a check of scikit-learn lets pass, all of them finite."""
    refuse_masked("X", X)
    X = from_user(X)
    _refuse_dates(owner, X)
    try:
        rows = check(X, ensure_all_finite=False)
    except (ValueError, TypeError) as error:
        raise _with_column(error, owner, X) from error
    _refuse_non_finite(owner, rows, column_names(X, rows.shape[1]))
    return rows


def _refuse_dates(owner: str, X: Any) -> None:
    """Refuse dates and durations, which numpy takes for whole numbers of some unit of time."""
    columns = without_rows(X)
    if columns is None:
        kinds = getattr(getattr(X, "dtype", None), "kind", "f")
    else:
        kinds = [np.asarray(some_of(columns, j, axis=1)).dtype.kind for j in range(X.shape[1])]
    timed = [j for j, kind in enumerate(kinds) if kind in "mM"]
    if timed:
        raise TypeError(
            f"{owner} takes numbers only, but column {column_names(X, len(kinds))[timed[0]]} of X "
            "holds dates or durations. Turn them into numbers, such as days since the first date, "
            "or drop the column."
        )


def _with_column(error: Exception, owner: str, X: Any) -> Exception:
    """The same error, naming the first column that holds something other than numbers."""
    if issparse(X) or np.ndim(X) != 2 or np.iscomplexobj(X):
        return error
    X = np.asarray(X) if without_rows(X) is None else X
    for j, name in enumerate(column_names(X, X.shape[1])):
        try:
            np.asarray(some_of(X, j, axis=1)).astype(np.float64)
        except (ValueError, TypeError):
            kind = TypeError if isinstance(error, TypeError) else ValueError
            return kind(
                f"{owner} takes numbers only, but column {name} of X holds other values ({error}). "
                "Make numbers of them before (of categories with sklearn.preprocessing."
                "OrdinalEncoder, in a plain make_pipeline of scikit-learn; of dates as days since "
                "the first one), or drop the column."
            )
    return error


def _refuse_non_finite(owner: str, X: np.ndarray, names: list[str]) -> None:
    for start in range(0, len(X), _CHUNK):
        finite = np.isfinite(X[start : start + _CHUNK])
        if finite.all():
            continue
        row, j = np.argwhere(~finite)[0]
        value = "NaN" if np.isnan(X[start + row, j]) else "infinity"
        remedy = (
            "Impute missing values before (for instance with sklearn.impute.SimpleImputer, in a "
            "plain make_pipeline of scikit-learn), or drop the rows"
            if value == "NaN"
            else "Clip or drop such values"
        )
        raise ValueError(
            f"Input X contains {value} in column {names[j]} (first in row {start + row}). "
            f"{owner} takes finite numbers only. {remedy}."
        )


def check_weights(sample_weight: ArrayLike | None, n_rows: int) -> np.ndarray | None:
    """Weights as float64, the largest of them one; None where they are all equal."""
    if sample_weight is None:
        return None
    refuse_masked("sample_weight", sample_weight)
    try:
        weights = np.asarray(from_user(sample_weight), dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"sample_weight must be numbers, one for each of the {n_rows} rows."
        ) from error
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar. Got {weights.ndim}D array.")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}!")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            "sample_weight must be finite and not negative. "
            f"Got {weights[first]} for row {first}, the first of {bad.sum()} such values."
        )
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return None if (weights == weights[0]).all() else weights / weights.max()


def rows_of(
    index: np.ndarray, X: Any, y: Any, params: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Some rows of what `fit` is given: X, y, and parameters that have an entry for each row."""
    few = _check_method_params(X, params, indices=index)
    return some_of(X, index), y if y is None else some_of(y, index), few


@overload
def check_metric(metric: None, n_features: int) -> None: ...
@overload
def check_metric(metric: ArrayLike, n_features: int) -> np.ndarray: ...
def check_metric(metric: ArrayLike | None, n_features: int) -> np.ndarray | None:
    """A metric as float64, one or one for each row: symmetric and positive semi-definite."""
    if metric is None:
        return None
    refuse_masked("metric", metric)
    M, shape = np.asarray(from_user(metric), dtype=np.float64), (n_features, n_features)
    right = M.ndim in (2, 3) and M.shape[-2:] == shape and np.isfinite(M).all()
    if not right or not np.allclose(M, np.swapaxes(M, -1, -2)):
        raise ValueError(
            f"metric must be a symmetric matrix of shape {shape}, or one for each row. "
            f"Got {metric!r}."
        )
    values = np.linalg.eigvalsh(M)
    if (values[..., 0] < -1e-8 * np.abs(values[..., -1])).any():
        raise ValueError(
            f"metric must be positive semi-definite. Its least eigenvalue is {values.min():g}."
        )
    return M


def check_metric_rows(metrics: np.ndarray, n_rows: int) -> np.ndarray:
    """Refuse metrics, one for each row, that are not as many as the rows."""
    if len(metrics) != n_rows:
        raise ValueError(f"metric must have one matrix for each of {n_rows} rows: {len(metrics)}.")
    return metrics


def metric_for(X: np.ndarray, metric: ArrayLike | None) -> np.ndarray:
    """A metric for rows (n, d), one (d, d) or one for each (n, d, d); the identity for None."""
    n, d = X.shape
    M = check_metric(np.eye(d) if metric is None else metric, d)
    return M if M.ndim == 2 else check_metric_rows(M, n)


def check_metrics(
    estimator: Any, X: ArrayLike, metric: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows of X and a metric for all of them, or for each, both checked."""
    M = check_metric(metric, estimator.n_features_in_)
    rows = check_rows(estimator, X)
    if M is not None and M.ndim == 3:
        check_metric_rows(M, len(rows))
    return rows, M


def rows_like(X: Any, rows: np.ndarray) -> Any:
    """`rows` in a data frame with the columns of X, where X is one; its index if it has as many."""
    frames = _frames(X)
    if frames is None:
        return rows
    original = X if len(X) == len(rows) else None
    return frames.create_container(rows, original, columns=X.columns)


def without_rows(X: Any) -> Any:
    """The columns of a data frame, for `rows_like`; nothing of an array."""
    return None if _frames(X) is None else X[:0]


def container_of(estimator: Any) -> Any:
    """scikit-learn's adapter for the frames that an estimator is set to return; None for arrays."""
    return _get_container_adapter("transform", estimator)


def _frames(X: Any) -> Any:
    """scikit-learn's adapter for the kind of data frame that X is, None for an array."""
    if not hasattr(X, "columns"):
        return None
    kinds = (kind.__module__.partition(".")[0] for kind in type(X).__mro__)
    return next(filter(None, map(ADAPTERS_MANAGER.adapters.get, kinds)), None)


def integer_seeds(random_state: Any, n_seeds: int) -> list[int]:
    """Seeds drawn from an integer, a RandomState or (None) fresh entropy."""
    if random_state is None:
        random_state = np.random.RandomState(np.random.SeedSequence().generate_state(4))
    return [int(s) for s in check_random_state(random_state).randint(2**31 - 1, size=n_seeds)]


def finite_results(values: np.ndarray, name: str) -> np.ndarray:
    """`values` unchanged, or a named error where one of them is no number."""
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise NonFiniteResultError(
            f"{name} is not finite for row {row} of X. The row lies too far from the training "
            "rows, or the fitted model is broken; compare the row with location_ and covariance_."
        )
    return values


def solved_results(values: np.ndarray, name: str, tolerance: str) -> np.ndarray:
    """`values` of a flow unchanged, or a named error; infinite ones took too many steps."""
    endless = np.isposinf(values).reshape(len(values), -1).any(axis=1)
    if endless.any():
        raise StepLimitError(
            f"{name} ran out of steps for {endless.sum()} of {len(values)} rows of X, the first "
            f"of them row {int(np.argmax(endless))}. The probability flow from there is too rough "
            f"for the tolerance: raise {tolerance}, or leave these rows out. Rows in deep valleys "
            "between clusters, or far from all of them, are such."
        )
    return finite_results(values, name)


def importable(factory: Callable[..., Any]) -> bool:
    """Whether a worker or a pickle can find the callable by its name."""
    name = getattr(factory, "__qualname__", "<")
    return getattr(inspect.getmodule(factory), "__name__", None) is not None and "<" not in name


def check_picklable(estimator: Any) -> None:
    """Refuse parameters that cannot be saved, or sent to a worker, with the fitted estimator."""
    for name, value in estimator.get_params(deep=False).items():
        try:
            pickle.dumps(value)
        except Exception as error:
            raise ValueError(
                f"The {name!r} parameter of {type(estimator).__name__} must be something that can "
                f"be pickled, so that the fitted estimator can. Got {value!r} instead: define "
                "functions and classes at the top level of a module."
            ) from error


def score_request(owner: MetadataRequester, sample_weight: bool | str | None) -> MetadataRequest:
    """What a scorer asks of metadata routing."""
    request = MetadataRequest(owner=owner)
    request.score.add_request(param="sample_weight", alias=sample_weight)
    return request


def routed_weights(
    pipeline: Any, last: str, sample_weight: ArrayLike | None, params: dict[str, Any]
) -> ArrayLike | None:
    """Weights for `score` of a pipeline, also under the name that its last step asks for."""
    if params and routing_enabled():
        return process_routing(pipeline, "score", **params)[last].score.get("sample_weight")
    if params:
        raise TypeError(f"score of {type(pipeline).__name__} takes no {', '.join(params)}.")
    return sample_weight


def check_n_samples(n_samples: Any, name: str = "n_samples") -> int:
    """Refuse a number of samples (steps, draws) that is not a positive whole number."""
    return check_count(None, name, n_samples)
