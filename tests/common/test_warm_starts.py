"""What a fit fixes, a warm start and a later chunk keep or refuse."""

import copy
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::skscore.exceptions.NoiseRangeWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

X = np.random.RandomState(0).standard_normal((40, 2))
FRAME = pd.DataFrame(X, columns=["a", "b"])
TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0, "warm_start": True}
TRAINED = {
    "implicit": ImplicitScoreEstimator(**TINY),
    "sliced": SlicedScoreEstimator(**TINY),
    "denoising": DenoisingScoreEstimator(**TINY),
    "denoising, searched": DenoisingScoreEstimator(sigma="auto", **TINY),
    "cross-validated": DenoisingScoreEstimatorCV(2, cv=2, **TINY),
    "diffusion": DiffusionScoreEstimator(**TINY),
    "diffusion on a mixture": DiffusionScoreEstimator(n_components=2, **TINY),
}
CHANGES = {
    "hidden_layer_sizes": ((9,), r"hidden_layer_sizes was \(8,\), is \(9,\)"),
    "network": ("resnet", "network was '(mlp|ensemble)', is 'resnet'"),
    "activation": ("softplus", "activation was '(tanh|silu)', is 'softplus'"),
    "conservative": (True, "conservative was False, is True"),
    "standardize": ("scale", "standardize was '(whiten|auto)', is 'scale'"),
    "dequantize": (True, "dequantize was False, is True"),
    "n_components": (4, r"n_components was \d, is 4"),
    "sigma": (0.7, "sigma was 0.[01]*, is 0.7"),
    "sigmas": ([0.1, 0.2], r"sigmas was 2, is \[0.1, 0.2\]"),
    "sigma_min": (0.01, r"sigma_range was \(0.002, 80.0\), is \(0.01, 80.0\)"),
    "sigma_max": (20.0, r"sigma_range was \(0.002, 80.0\), is \(0.002, 20.0\)"),
}
CASES = [
    pytest.param(name, parameter, id=f"{name}-{parameter}")
    for name, est in TRAINED.items()
    for parameter in CHANGES
    if parameter in est.get_params()
]
GOING_ON = ["fit", "partial_fit"]


@cache
def first_fit(name, framed=False):
    return clone(TRAINED[name]).fit(FRAME if framed else X)


def trained(name, framed=False):
    """A copy of the one fit that all tests begin with."""
    return copy.deepcopy(first_fit(name, framed))


@pytest.mark.parametrize("method", GOING_ON)
@pytest.mark.parametrize(("member", "parameter"), CASES)
def test_what_a_fit_fixed_is_refused_otherwise_with_old_and_new(member, parameter, method):
    """A changed n_components, standardize or grid was ignored while others raised."""
    est = trained(member)
    before = est.score_function(X)
    value, words = CHANGES[parameter]
    est.set_params(**{parameter: value})
    name = type(est).__name__
    with pytest.raises(
        ValueError, match=f"{name} cannot go on .*: .*{words}.* Fit a clone, or set"
    ):
        getattr(est, method)(X)
    np.testing.assert_array_equal(est.score_function(X), before)


@pytest.mark.parametrize(("member", "parameter"), CASES)
def test_a_fresh_fit_takes_every_change(member, parameter):
    value, _ = CHANGES[parameter]
    est = trained(member).set_params(warm_start=False, **{parameter: value})
    fresh = clone(est).fit(X)
    np.testing.assert_array_equal(est.fit(X).score_function(X), fresh.score_function(X))


@pytest.mark.parametrize("method", GOING_ON)
@pytest.mark.parametrize("name", TRAINED)
def test_unchanged_parameters_go_on(name, method):
    est = trained(name)
    standardizer, rounds = est._standardizer, est.n_iter_
    getattr(est, method)(X)
    assert est._network.spec == trained(name)._network.spec
    if method == "partial_fit":
        assert est._standardizer is standardizer
        assert est.n_iter_ == rounds + 1


@pytest.mark.parametrize("method", GOING_ON)
@pytest.mark.parametrize("name", TRAINED)
def test_columns_are_compared_by_name_where_a_fit_goes_on(name, method):
    """Swapped columns went on with the old weights, an array kept old names in silence."""
    est = trained(name, framed=True)
    goes_on, before = getattr(est, method), est.score_function(FRAME)
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        goes_on(FRAME[["b", "a"]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- z"):
        goes_on(FRAME.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="X has 4 features, but .* is expecting 2"):
        goes_on(np.c_[X, X])
    np.testing.assert_array_equal(est.score_function(FRAME), before)
    with pytest.warns(UserWarning, match="does not have valid feature names, but .* was fitted"):
        goes_on(X)
    goes_on(FRAME)
    assert list(est.feature_names_in_) == ["a", "b"]


@pytest.mark.parametrize("name", TRAINED)
def test_a_fresh_fit_takes_the_columns_that_it_is_given(name):
    est = trained(name, framed=True).set_params(warm_start=False)
    assert list(est.fit(FRAME[["b", "a"]]).feature_names_in_) == ["b", "a"]
    assert not hasattr(est.fit(X), "feature_names_in_")


@pytest.mark.parametrize("same", [[0.1, 1.0], (0.1, 1.0), np.array([0.1, 1.0])])
def test_levels_may_come_as_any_sequence(same):
    est = DenoisingScoreEstimatorCV([0.1, 1.0], cv=2, **TINY).fit(X)
    est.set_params(sigmas=same).fit(X)
    assert list(est.sigmas_) == [0.1, 1.0]
