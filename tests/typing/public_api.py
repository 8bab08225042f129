"""What a type checker makes of the public names: read by mypy, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skscore import (
    BoundedTransformer,
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    FlowTransformer,
    ImplicitScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
    make_density_pipeline,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type


def fit_returns_the_estimator_itself(X: np.ndarray, density: object) -> None:
    assert_type(DenoisingScoreEstimator().fit(X), DenoisingScoreEstimator)
    assert_type(DenoisingScoreEstimatorCV().fit(X), DenoisingScoreEstimatorCV)
    assert_type(DensityScoreEstimator(density).fit(X), DensityScoreEstimator)
    assert_type(DiffusionScoreEstimator().fit(X), DiffusionScoreEstimator)
    assert_type(ImplicitScoreEstimator().fit(X), ImplicitScoreEstimator)
    assert_type(SlicedScoreEstimator().fit(X), SlicedScoreEstimator)
    assert_type(ScoreBasedSampler(DiffusionScoreEstimator()).fit(X), ScoreBasedSampler)
    assert_type(BoundedTransformer((0, None)).fit(X), BoundedTransformer)
    assert_type(FlowTransformer(DiffusionScoreEstimator()).fit(X), FlowTransformer)


def fit_returns_the_same_class_to_a_subclass(X: np.ndarray) -> None:
    class Own(DiffusionScoreEstimator):
        pass

    assert_type(Own().fit(X), Own)


def answers_of_a_fitted_estimator(X: np.ndarray) -> None:
    est = DiffusionScoreEstimator().fit(X)
    est.sample(3)
    assert_type(est.score(X), float)
    assert_type(est.score_function(X), np.ndarray)
    make_density_pipeline(est).fit(X).sample(3)


def unknown_parameters_are_found() -> None:
    DiffusionScoreEstimator(max_itre=5)  # type: ignore[call-arg]
