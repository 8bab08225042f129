"""Which steps a :class:`~skscore.DensityPipeline` takes: checks before, between and after fits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.preprocessing import PowerTransformer

from skscore._changes.algebra import Chain
from skscore._estimators.density import DensityScoreEstimator
from skscore._messages import listed, warn_user
from skscore._rows import some_rows
from skscore._validation import FrozenEstimator, some_of, unwrapped
from skscore.compose._numerical import returns, spreads
from skscore.compose._scikit import refuse
from skscore.exceptions import TiesWarning

_LOOK_ROWS = 1000  # training rows on which the transformers are tried
_POWERS = (
    " Where columns lie far from zero, or are tiny or huge, powers lose their digits: put a "
    "StandardScaler before PowerTransformer(), or MinMaxScaler((1, 2)) before one with "
    "method='box-cox', which takes positive values only."
)
_RETURNING = 0.99  # share of those that must come back from a round trip


def scored(final: Any) -> Any:
    """The last step, of a search the best estimator; a density that knows no score, with one."""
    final = unwrapped(final)
    if hasattr(final, "score_function") or not hasattr(final, "score_samples"):
        return final
    return DensityScoreEstimator(FrozenEstimator(final))


def check_form(steps: Any) -> None:
    """Refuse what is no list of names and estimators, which scikit-learn takes for one."""
    pairs = isinstance(steps, (list, tuple)) and all(
        isinstance(step, (list, tuple)) and len(step) == 2 for step in steps
    )
    if not pairs or not steps:
        raise ValueError(
            "The 'steps' parameter of DensityPipeline must be a list of (name, estimator), "
            f"transformers and then a density. Got {steps!r} instead: make_density_pipeline takes "
            "estimators without names."
        )


def check_kinds(transformers: list[tuple[str, Any]], final: Any) -> None:
    """Refuse steps that can never be fitted, whatever the rows."""
    if not hasattr(scored(final), "score_function"):
        raise TypeError(
            "The last step of DensityPipeline must be a density or score estimator, with "
            f"`score_samples` or `score_function`. Got {final!r} instead."
        )
    for _, transformer in transformers:
        refuse(transformer)


def check_weight_name(params: dict[str, Any], last: str) -> None:
    """Weights go by the name of a step, unless metadata is routed."""
    if "sample_weight" in params and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            "DensityPipeline.fit takes sample weights by the name of a step: "
            f"fit(X, {last}__sample_weight=w) for the last one."
        )


def look_at(X: Any) -> Any:
    """A copy of some rows of an array or a data frame, the same at every call."""
    rows = X if hasattr(X, "columns") else np.asarray(X, dtype=np.float64)
    index, _ = some_rows(np.arange(len(rows)), None, _LOOK_ROWS)
    return copy.copy(some_of(rows, index))


def warn_of_jumps(columns: list[str]) -> None:
    """Name columns in which quantiles repeat."""
    if columns:
        warn_user(
            f"QuantileTransformer met repeated values in these columns: {listed(columns)}. Each is "
            "a jump of its map, with a probability of its own and no density. Log-densities hold "
            "between repeated values only, and miss their probability. Spread the values with "
            "skscore.datasets.dequantize first, or use PowerTransformer.",
            TiesWarning,
        )


def _has_powers(steps: list[Any]) -> bool:
    """Whether a step is a PowerTransformer, or holds one."""
    parts = [part for step in steps for part in (step, *step.get_params().values())]
    return any(isinstance(part, PowerTransformer) for part in parts)


def check_round_trip(change: Chain, rows: np.ndarray, steps: list[Any]) -> None:
    """Refuse steps whose inverse does not lead back to training rows."""
    kept, there, back = change.inside(rows), change.transform, change.inverse_transform
    if kept.any():
        kept[kept] = returns(there, back, rows[kept], spreads(rows))
    if kept.mean() < _RETURNING:
        raise ValueError(
            "The transformers of this DensityPipeline lose information: inverse_transform does not "
            f"lead back to {np.sum(~kept)} of {len(rows)} training rows. "
            "A density of their output says nothing about their input. Check that func and "
            "inverse_func of a FunctionTransformer belong together, and leave out steps that round "
            f"or discretise.{_POWERS if _has_powers(steps) else ''}"
        )
