"""Score matching and score-based density estimation for scikit-learn."""

from skscore._density import DensityScoreEstimator
from skscore._diffusion import DiffusionScoreEstimator
from skscore._sampler import ScoreBasedSampler
from skscore._score_matching import (
    DenoisingScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)
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
