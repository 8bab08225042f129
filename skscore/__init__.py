"""Score matching and score-based density estimation for scikit-learn."""

from skscore._estimators.denoising import DenoisingScoreEstimator
from skscore._estimators.density import DensityScoreEstimator
from skscore._estimators.diffusion import DiffusionScoreEstimator
from skscore._estimators.sampler import ScoreBasedSampler
from skscore._estimators.score_matching import ImplicitScoreEstimator, SlicedScoreEstimator
from skscore.compose import (
    BoundedTransformer,
    DensityPipeline,
    FlowTransformer,
    make_density_pipeline,
)
from skscore.model_selection import DenoisingScoreEstimatorCV

__version__ = "0.1.0"

__all__ = [
    "BoundedTransformer",
    "DenoisingScoreEstimator",
    "DenoisingScoreEstimatorCV",
    "DensityPipeline",
    "DensityScoreEstimator",
    "DiffusionScoreEstimator",
    "FlowTransformer",
    "ImplicitScoreEstimator",
    "ScoreBasedSampler",
    "SlicedScoreEstimator",
    "make_density_pipeline",
]
