"""Score matching and score-based density estimation for scikit-learn."""

from skscore._score_matching import (
    DenoisingScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)

__version__ = "0.1.0"

__all__ = [
    "DenoisingScoreEstimator",
    "ImplicitScoreEstimator",
    "SlicedScoreEstimator",
]
