"""A search that compares two kinds of score says so."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skscore import (
    DenoisingScoreEstimator,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    ScoreBasedSampler,
    make_density_pipeline,
)
from skscore.exceptions import ScoreKindWarning
from skscore.metrics import hyvarinen_scorer

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.RandomState(0).normal(size=(90, 2))
TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
DENOISING, IMPLICIT = DenoisingScoreEstimator(**TINY), ImplicitScoreEstimator(**TINY)
DENSITIES = [
    DiffusionScoreEstimator(n_components=0, **TINY),
    DensityScoreEstimator(GaussianMixture()),
]


def holder(name, part):
    """Something that holds a part, and the name of the parameter that does."""
    if name == "sampler":
        return ScoreBasedSampler(part), "estimator"
    pipeline = make_density_pipeline(StandardScaler(), part)
    return pipeline, pipeline.steps[-1][0]


@pytest.mark.parametrize("name", ["pipeline", "sampler"])
@pytest.mark.parametrize("density", DENSITIES)
def test_a_search_over_two_kinds_of_score_says_so(name, density):
    for first, second in ((density, DENOISING), (IMPLICIT, density)):
        model, key = holder(name, first)
        with pytest.warns(ScoreKindWarning, match="cannot be compared: .*hyvarinen_scorer") as seen:
            GridSearchCV(model, {key: [first, second]}, cv=2).fit(X)
        assert {w.filename for w in seen if w.category is ScoreKindWarning} == {__file__}


@pytest.mark.parametrize("name", ["pipeline", "sampler"])
def test_a_search_over_one_kind_of_score_is_silent(name, recwarn):
    for parts in ([DENOISING, IMPLICIT], DENSITIES):
        model, key = holder(name, parts[0])
        GridSearchCV(model, {key: parts}, cv=2).fit(X)
        GridSearchCV(model, {key: parts}, cv=2, refit=False).fit(X)
    model, key = holder(name, DENSITIES[1])
    GridSearchCV(model, {key: [DENOISING, DENSITIES[1]]}, scoring=hyvarinen_scorer, cv=2).fit(X)
    assert not [w for w in recwarn if w.category is ScoreKindWarning]


def test_a_part_that_is_set_back_is_what_it_was(recwarn):
    pipeline = make_density_pipeline(StandardScaler(), KernelDensity())
    pipeline.set_params(kerneldensity=DENOISING).set_params(kerneldensity=KernelDensity())
    pipeline.fit(X).score(X)
    clone(pipeline.set_params(kerneldensity=DENOISING)).fit(X).score(X)  # a fresh start
    assert not [w for w in recwarn if w.category is ScoreKindWarning]
