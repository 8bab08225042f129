"""Metrics, arrays in and a float out, and scorers for scikit-learn's searches."""

from skscore.metrics._copying import data_copying_share
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
from skscore.metrics._stein import goodness_of_fit_test, kernel_stein_discrepancy, stein_thinning
from skscore.metrics._two_sample import (
    TestResult,
    classifier_two_sample_test,
    energy_distance,
    maximum_mean_discrepancy,
    sliced_wasserstein_distance,
)

__all__ = [
    "Scorer",
    "TestResult",
    "classifier_two_sample_test",
    "data_copying_share",
    "energy_distance",
    "fisher_divergence",
    "goodness_of_fit_test",
    "hyvarinen_score",
    "hyvarinen_score_samples",
    "hyvarinen_scorer",
    "kernel_stein_discrepancy",
    "log_likelihood_scorer",
    "maximum_mean_discrepancy",
    "multi_level_denoising_scorer",
    "relative_fisher_divergence",
    "sliced_scorer",
    "sliced_wasserstein_distance",
    "stein_thinning",
]
