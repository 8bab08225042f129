"""Estimators that another one holds: how they are fitted, seeded and given weights."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skscore._validation import integer_seeds, routing_enabled


def unseeded(estimator: BaseEstimator) -> list[str]:
    """Parameters of an estimator, and of those inside it, that are random states without one."""
    params = estimator.get_params()
    return [
        name for name in params if name.split("__")[-1] == "random_state" and params[name] is None
    ]


def fit_part(
    estimator: BaseEstimator, X: ArrayLike, random_state: Any, sample_weight: ArrayLike | None
) -> BaseEstimator:
    """A fitted clone of an estimator that another one holds; seeded, where it has no seeds."""
    part = clone(estimator)
    if random_state is not None:
        names = unseeded(part)
        part.set_params(**dict(zip(names, integer_seeds(random_state, len(names)), strict=True)))
    weights = {} if sample_weight is None else dict.fromkeys(weight_names(part), sample_weight)
    return part.fit(X, **weights)


def weight_names(part: BaseEstimator) -> list[str]:
    """Parameters of `fit` that weights go to: of a pipeline, those of all steps that take them."""
    part = getattr(part, "estimator", part) if hasattr(part, "refit") else part  # of a search
    if not isinstance(part, Pipeline) or routing_enabled():
        return ["sample_weight"]
    takes = [
        hasattr(step, "steps") or has_fit_parameter(step, "sample_weight") for _, step in part.steps
    ]
    if not takes[-1]:
        raise ValueError(
            f"The last step of {type(part).__name__}, {part.steps[-1][1]!r}, takes no "
            "sample_weight. Fit without weights, or use a density that takes them, such as "
            "KernelDensity."
        )
    steps = [step for step, taken in zip(part.steps, takes, strict=True) if taken]
    return [f"{name}__{inner}" for name, step in steps for inner in weight_names(step)]
