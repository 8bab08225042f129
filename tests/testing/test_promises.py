"""The checks are themselves checked: each mutant breaks one promise, a named check catches it."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from skscore import DenoisingScoreEstimator, DensityScoreEstimator
from skscore.testing import check_density_estimator, density_estimator_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Denoising(DenoisingScoreEstimator):
    """The estimator that the mutants are made of, small and quick."""

    def __init__(
        self,
        sigma=0.2,
        noise="gaussian",
        *,
        hidden_layer_sizes=(32, 32),
        standardize="whiten",
        max_iter=15,
        early_stopping=True,
        validation_fraction=0.1,
        random_state=None,
    ):
        super().__init__(
            sigma,
            noise,
            hidden_layer_sizes=hidden_layer_sizes,
            standardize=standardize,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            random_state=random_state,
        )


class Kernel(DensityScoreEstimator):
    """A density to make mutants of."""

    def __init__(self, density=None):
        super().__init__(density)


class ReversedSign(Denoising):
    def score_function(self, X, sigma=None):
        return -super().score_function(X)

    def score_divergence(self, X, sigma=None, *, metric=None):
        return -super().score_divergence(X, metric=metric)


class StandardizedSpace(Denoising):
    def score_function(self, X, sigma=None):
        return super().score_function(X) * np.sqrt(np.diag(self.covariance_))


class WeightsIgnored(Denoising):
    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X, y)


class BatchDependent(Denoising):
    def score_function(self, X, sigma=None):
        scores = super().score_function(X)
        return scores + 1e-3 * scores.mean(axis=0)


class AllNaN(Denoising):
    def score_function(self, X, sigma=None):
        return np.full_like(super().score_function(X), np.nan)


class SampleIgnoresSeed(Denoising):
    def sample(self, n_samples=1, random_state=None, *, init=None):
        return super().sample(n_samples, init=init)


class SampleRepeats(Denoising):
    def sample(self, n_samples=1, random_state=None, *, init=None):
        return super().sample(n_samples, 0 if random_state is None else random_state, init=init)


class SetsGlobalSeed(Denoising):
    def fit(self, X, y=None, sample_weight=None):
        torch.manual_seed(0)
        return super().fit(X, y, sample_weight)


class ReadsGlobalSeed(Denoising):
    def fit(self, X, y=None, sample_weight=None):
        state = np.random.get_state()  # noqa: NPY002
        super().fit(X + 0.1 * np.random.rand(), y, sample_weight)  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        return self


class SetsThreads(Denoising):
    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        torch.set_num_threads(torch.get_num_threads() + 1)
        return self


class TrainsOnValidationRows(Denoising):
    def _learn(self, data, split, previous, n_rounds, **options):
        split = split._replace(training=data.rows)
        return super()._learn(data, split, previous, n_rounds, **options)


class TraceAveraged(Denoising):
    def score_divergence(self, X, sigma=None, *, metric=None):
        return super().score_divergence(X, metric=metric) / X.shape[1]


class WritesToInput(Denoising):
    def score_function(self, X, sigma=None):
        scores = super().score_function(X)
        X += 0.0
        return scores


class StaysFitted(Denoising):
    def _forget(self):
        pass


class RefitDrifts(Denoising):
    def fit(self, X, y=None, sample_weight=None):
        previous = self._previous()
        super().fit(X, y, sample_weight)
        if previous is not None:
            self._network = previous.__class__(**{**vars(previous), "average": previous.last})
        return self


class AcceptsNaN(Denoising):
    def denoise(self, X, sigma=None):
        return super().denoise(np.nan_to_num(np.asarray(X)[:, : self.n_features_in_]))


class SamplesTooWide(Denoising):
    def sample(self, n_samples=1, random_state=None, *, init=None):
        return self.location_ + 1.5 * (super().sample(n_samples, random_state) - self.location_)


class SamplesInTuple(Denoising):
    def sample(self, n_samples=1, random_state=None, *, init=None):
        return super().sample(n_samples, random_state), None


class Unnormalized(Kernel):
    def score_samples(self, X):
        return super().score_samples(X) + 0.5


class EnergyOfOtherSign(Kernel):
    def energy(self, X):
        return self.score_samples(X)


class ForgottenJacobian(Kernel):
    """A density of standardised rows, given out as that of the rows."""

    def fit(self, X, y=None, sample_weight=None):
        X = np.asarray(X)
        super().fit((X - X.mean(axis=0)) / X.std(axis=0), y, sample_weight)
        self._shift, self._unit = X.mean(axis=0), X.std(axis=0)
        return self

    def score_samples(self, X):
        return super().score_samples((X - self._shift) / self._unit)


MUTANTS = [
    (ReversedSign(), "check_score_of_a_gaussian"),
    (StandardizedSpace(), "check_affine_law"),
    (StandardizedSpace(), "check_score_of_a_gaussian"),
    (WeightsIgnored(), "check_weights_equal_repetition"),
    (WeightsIgnored(), "check_rows_of_zero_weight_are_absent"),
    (BatchDependent(), "check_rows_are_independent"),
    (AllNaN(), "check_outputs_are_finite"),
    (SampleIgnoresSeed(), "check_sample_obeys_its_seed"),
    (SampleRepeats(), "check_sample_obeys_its_seed"),
    (SetsGlobalSeed(), "check_no_global_state_is_touched"),
    (ReadsGlobalSeed(), "check_no_global_state_is_touched"),
    (SetsThreads(), "check_no_global_state_is_touched"),
    (TrainsOnValidationRows(), "check_validation_rows_are_not_trained_on"),
    (TraceAveraged(), "check_score_divergence_is_the_trace_of_the_jacobian"),
    (StaysFitted(), "check_failed_fit_leaves_it_unfitted"),
    (RefitDrifts(), "check_refit_clone_and_pickle_repeat"),
    (AcceptsNaN(), "check_bad_rows_are_refused_by_every_method"),
    (SamplesTooWide(), "check_samples_agree_with_the_rows"),
    (SamplesInTuple(), "check_outputs_are_finite"),
    (Unnormalized(KernelDensity()), "check_density_integrates_to_one"),
    (EnergyOfOtherSign(KernelDensity()), "check_score_is_minus_gradient_of_energy"),
    (ForgottenJacobian(KernelDensity()), "check_density_integrates_to_one"),
    (ForgottenJacobian(KernelDensity()), "check_score_is_gradient_of_log_density"),
]


@pytest.mark.parametrize(("mutant", "name"), MUTANTS, ids=lambda v: str(v).partition("(")[0])
def test_a_mutant_is_caught_by_the_check_of_its_name(mutant, name):
    check = dict(density_estimator_checks(mutant))[name]
    threads = torch.get_num_threads()
    try:
        with pytest.raises(AssertionError):
            check()
    finally:
        torch.set_num_threads(threads)


def test_writing_to_read_only_rows_is_caught():
    check = dict(density_estimator_checks(WritesToInput()))["check_input_is_untouched"]
    with pytest.raises((AssertionError, ValueError)):
        check()


@pytest.mark.parametrize(
    "healthy", [Denoising(), Kernel(KernelDensity())], ids=["score", "density"]
)
def test_what_the_mutants_are_made_of_passes_every_check(healthy):
    made = check_density_estimator(healthy)
    assert {name for mutant, name in MUTANTS if isinstance(mutant, type(healthy))} <= set(made)
