"""scikit-learn's common checks and our own, over all estimators."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skscore import (
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
from skscore.networks import MLP
from skscore.noise import VarianceExploding
from skscore.testing import density_estimator_checks

BRIEF = {"max_iter": 2, "hidden_layer_sizes": (16, 16)}

SKLEARN_CASES = [
    DenoisingScoreEstimator(),
    DenoisingScoreEstimator(conservative=True, **BRIEF),
    DenoisingScoreEstimator(network="resnet", standardize="scale", dequantize=True, **BRIEF),
    ImplicitScoreEstimator(max_iter=1),
    ImplicitScoreEstimator(conservative=True, early_stopping=False, **BRIEF),
    SlicedScoreEstimator(max_iter=1),
    SlicedScoreEstimator(conservative=True, standardize=None, **BRIEF),
    DenoisingScoreEstimatorCV(sigmas=2, cv=2, **BRIEF),
    DiffusionScoreEstimator(max_iter=3),
    DiffusionScoreEstimator(process="vp", conservative=True, divergence="probes", **BRIEF),
    FlowTransformer(DiffusionScoreEstimator(**BRIEF)),
    DensityScoreEstimator(KernelDensity()),
    DensityScoreEstimator(KernelDensity(kernel="exponential")),
    ScoreBasedSampler(DenoisingScoreEstimator(**BRIEF)),
    ScoreBasedSampler(DiffusionScoreEstimator(**BRIEF)),
    ScoreBasedSampler(DensityScoreEstimator(KernelDensity())),
    ScoreBasedSampler(make_density_pipeline(StandardScaler(), KernelDensity())),
    ScoreBasedSampler(GridSearchCV(DensityScoreEstimator(KernelDensity()), {}, cv=2)),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@parametrize_with_checks(SKLEARN_CASES)
def test_scikit_learn_compatible(estimator, check):
    check(estimator)


OUR_CASES = [
    DenoisingScoreEstimator(),
    DenoisingScoreEstimator(conservative=True),
    DenoisingScoreEstimator(network="resnet", standardize="scale", hidden_layer_sizes=(64, 64)),
    DenoisingScoreEstimatorCV([0.05, 0.1], cv=2, hidden_layer_sizes=(32, 32), max_iter=20),
    SlicedScoreEstimator(),
    SlicedScoreEstimator(projection="sphere", conservative=True, hidden_layer_sizes=(64, 64)),
    ImplicitScoreEstimator(),
    DiffusionScoreEstimator(n_iter_no_change=10),
    DiffusionScoreEstimator("flow", network="resnet", hidden_layer_sizes=(32, 32), max_iter=20),
    DiffusionScoreEstimator(
        conservative=True, standardize="scale", hidden_layer_sizes=(32, 32), max_iter=20
    ),
    DensityScoreEstimator(KernelDensity()),
    DensityScoreEstimator(GaussianMixture()),
    DensityScoreEstimator(BayesianGaussianMixture()),
    DensityScoreEstimator(PCA()),
    ScoreBasedSampler(DenoisingScoreEstimator()),
    ScoreBasedSampler(SlicedScoreEstimator(), method="langevin"),
    ScoreBasedSampler(DiffusionScoreEstimator(max_iter=10), method="heun"),
]


SLOW_CASES = [OUR_CASES[k] for k in (1, 3, 5, 8, 9, 16)]  # variants, two minutes together


def our_checks():
    found = []
    for number, case in enumerate(OUR_CASES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, check in density_estimator_checks(case):
                marks = [pytest.mark.slow] if case in SLOW_CASES else []
                case_id = f"{number}-{type(case).__name__}-{name}"
                found.append(pytest.param(check, id=case_id, marks=marks))
    return found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("check", our_checks())
def test_keeps_the_promises_of_a_density_estimator(check):
    check()


def local(base, *arguments):
    """A member of a class that no pickle finds."""

    class Local(base):
        pass

    return Local(*arguments)


UNPICKLABLE = {
    "network": lambda *shape: MLP(*shape),
    "weighting": lambda sigma: sigma**2,
    "process": local(VarianceExploding),
    "cv": local(KFold, 2),
}
TRAINED = [
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DiffusionScoreEstimator,
]


@pytest.mark.parametrize("cls", TRAINED)
def test_parameters_that_cannot_be_pickled_are_refused_before_training(cls, monkeypatch):
    monkeypatch.setattr("skscore._fitting.run.fit_network", None)
    X, names = np.random.RandomState(0).standard_normal((20, 2)), cls().get_params()
    for name in names & UNPICKLABLE.keys():
        est = cls(**{name: UNPICKLABLE[name]})
        with pytest.raises(ValueError, match=f"'{name}' parameter of {cls.__name__} must be"):
            est.fit(X)
        with pytest.raises(NotFittedError):
            est.score_function(X)
