"""The runner of the checks: which apply, in which order, and how a failure reads."""

import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skscore import (
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
)
from skscore.testing import check_density_estimator, density_estimator_checks


class Broken(DensityScoreEstimator):
    """Fails in its own way."""

    def __init__(self, density=None):
        super().__init__(density)

    def sample(self, n_samples=1, random_state=None):
        raise OSError("no disk")


def names(estimator):
    return [name for name, _ in density_estimator_checks(estimator)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_only_what_an_estimator_has_is_asked():
    density = names(DensityScoreEstimator(KernelDensity()))
    trained = names(SlicedScoreEstimator(hidden_layer_sizes=(8,)))
    assert "check_density_integrates_to_one" in density
    assert "check_density_integrates_to_one" not in trained
    assert "check_validation_rows_are_not_trained_on" in trained
    assert "check_validation_rows_are_not_trained_on" not in density
    assert "check_score_is_minus_gradient_of_energy" not in trained


def test_weights_that_are_refused_by_name_are_not_asked_for():
    assert "check_weights_equal_repetition" in names(DensityScoreEstimator(KernelDensity()))
    assert "check_weights_equal_repetition" not in names(DensityScoreEstimator(GaussianMixture()))


def test_any_failure_is_an_assertion_that_starts_with_the_name_of_its_check():
    with pytest.raises(AssertionError, match="^check_outputs_are_finite: no disk"):
        check_density_estimator(Broken(KernelDensity()))


def test_the_checks_made_are_returned():
    estimator = DensityScoreEstimator(KernelDensity())
    assert check_density_estimator(estimator) == names(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_score_at_a_noise_level_is_not_held_to_be_the_gradient_of_the_log_density():
    brief = DiffusionScoreEstimator(hidden_layer_sizes=(8,), max_iter=1, random_state=0)
    name = "check_score_is_gradient_of_log_density"
    assert name not in dict(density_estimator_checks(brief))
    assert name not in dict(density_estimator_checks(ScoreBasedSampler(brief)))
    assert name in dict(density_estimator_checks(DensityScoreEstimator(KernelDensity())))
