"""Metrics, arrays in and a float out, and scorers for scikit-learn's searches."""

from skscore.metrics._fisher import (
    fisher_divergence,
    hyvarinen_score,
    hyvarinen_score_samples,
    relative_fisher_divergence,
)
from skscore.metrics._scorers import (
    Scorer,
    hyvarinen_scorer,
    log_likelihood_scorer,
    multi_level_denoising_scorer,
    sliced_scorer,
)

__all__ = [
    "Scorer",
    "fisher_divergence",
    "hyvarinen_score",
    "hyvarinen_score_samples",
    "hyvarinen_scorer",
    "log_likelihood_scorer",
    "multi_level_denoising_scorer",
    "relative_fisher_divergence",
    "sliced_scorer",
]
