"""Score matching and score-based density estimation for scikit-learn."""

from skscore._density import DensityScoreEstimator
from skscore._sampler import ScoreBasedSampler
from skscore._score_matching import (
    DenoisingScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)

__version__ = "0.1.0"

__all__ = [
    "DenoisingScoreEstimator",
    "DensityScoreEstimator",
    "ImplicitScoreEstimator",
    "ScoreBasedSampler",
    "SlicedScoreEstimator",
]
