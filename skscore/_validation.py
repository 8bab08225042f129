"""What comes in from users: rows, weights, parameters, random states.

This is the one window to scikit-learn's private names.  Rows are refused here
with a sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
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
from sklearn.utils.validation import check_is_fitted, validate_data

from skscore.exceptions import NonFiniteResultError

__all__ = [
    "FrozenEstimator",
    "HasMethods",
    "Interval",
    "MetadataRequester",
    "StrOptions",
    "available_if",
    "check_fitted",
    "check_metric",
    "check_metric_rows",
    "check_parameters",
    "check_rows",
    "check_unnamed_rows",
    "check_weights",
    "column_names",
    "finite_results",
    "first_rows",
    "importable",
    "integer_seeds",
    "refuse_masked",
    "routed_weights",
    "rows_like",
    "score_request",
]

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
    shell = copy.copy(estimator)
    shell.__dict__.pop("feature_names_in_", None)
    return _validated(shell, X if issparse(X) else np.asarray(X), reset=False)


def _validated(estimator: Any, X: ArrayLike, **options: Any) -> np.ndarray:
    refuse_masked("X", X)
    try:
        rows = validate_data(
            estimator,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            **options,
        )
    except (ValueError, TypeError) as error:
        raise _with_column(error, estimator, X) from error
    _refuse_non_finite(estimator, rows, column_names(X, rows.shape[1]))
    return rows


def _with_column(error: Exception, estimator: Any, X: Any) -> Exception:
    """The same error, naming the first column that holds something other than numbers."""
    if issparse(X) or np.ndim(X) != 2 or np.iscomplexobj(X):
        return error
    columns = [X[name] for name in X.columns] if hasattr(X, "columns") else np.asarray(X).T
    for name, column in zip(column_names(X, len(columns)), columns, strict=True):
        try:
            np.asarray(column).astype(np.float64)
        except (ValueError, TypeError):
            kind = TypeError if isinstance(error, TypeError) else ValueError
            return kind(
                f"{type(estimator).__name__} takes numbers only, but column {name} of X holds "
                f"other values ({error}). Encode the column (for instance with "
                "sklearn.preprocessing.OrdinalEncoder) or drop it."
            )
    return error


def column_names(X: Any, n_features: int) -> list[str]:
    """Names to call the columns by in messages: ``'age'`` or ``3``."""
    names = getattr(X, "columns", None)
    return [repr(n) for n in names] if names is not None else [str(j) for j in range(n_features)]


def _refuse_non_finite(estimator: Any, X: np.ndarray, names: list[str]) -> None:
    for start in range(0, len(X), _CHUNK):
        finite = np.isfinite(X[start : start + _CHUNK])
        if finite.all():
            continue
        row, j = np.argwhere(~finite)[0]
        value = "NaN" if np.isnan(X[start + row, j]) else "infinity"
        remedy = (
            "Impute missing values (for instance with sklearn.impute.SimpleImputer) "
            "or drop the rows"
            if value == "NaN"
            else "Clip or drop such values"
        )
        raise ValueError(
            f"Input X contains {value} in column {names[j]} (first in row {start + row}). "
            f"{type(estimator).__name__} takes finite numbers only. {remedy}."
        )


def check_weights(sample_weight: ArrayLike | None, n_rows: int) -> np.ndarray | None:
    """Weights as float64 with some positive value; None where they are all equal."""
    if sample_weight is None:
        return None
    refuse_masked("sample_weight", sample_weight)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
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
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("sample_weight must be finite and not negative.")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return None if (weights == weights[0]).all() else weights


def check_metric(metric: ArrayLike | None, n_features: int) -> np.ndarray | None:
    """A metric as float64, one or one for each row: symmetric and positive semi-definite."""
    if metric is None:
        return None
    refuse_masked("metric", metric)
    M, shape = np.asarray(metric, dtype=np.float64), (n_features, n_features)
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


def rows_like(X: Any, rows: np.ndarray) -> Any:
    """`rows` in a data frame with the columns of X, where X is one of pandas."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        return type(X)(rows, columns=X.columns)
    return rows


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


def importable(factory: Callable[..., Any]) -> bool:
    """Whether a worker or a pickle can find the callable by its name."""
    name = getattr(factory, "__qualname__", "<")
    return getattr(inspect.getmodule(factory), "__name__", None) is not None and "<" not in name


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
