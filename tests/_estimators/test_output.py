"""Rows come out in the container that `set_output` or the global configuration asks for."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler

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
from skscore.datasets import dequantize
from skscore.testing import check_density_estimator

polars = pytest.importorskip("polars")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.RandomState(0)
TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
DIFFUSION = DiffusionScoreEstimator(n_components=0, **TINY)
FRAME = pd.DataFrame(RNG.normal(size=(80, 2)), columns=["a", "b"], index=np.arange(80) + 7)
TABLES = {"pandas": FRAME, "polars": polars.DataFrame(FRAME), "array": FRAME.to_numpy()}
FRAMES = {"pandas": pd.DataFrame, "polars": polars.DataFrame}
SHIFT = FunctionTransformer(
    np.arcsinh, np.sinh, feature_names_out="one-to-one", check_inverse=False
)  # the check knows no frames of polars
ESTIMATORS = {
    "implicit": ImplicitScoreEstimator(**TINY),
    "sliced": SlicedScoreEstimator(**TINY),
    "denoising": DenoisingScoreEstimator(**TINY),
    "denoising CV": DenoisingScoreEstimatorCV([0.2, 0.5], cv=2, **TINY),
    "diffusion": DIFFUSION,
    "adapted": DensityScoreEstimator(GaussianMixture()),
    "pipeline": make_density_pipeline(StandardScaler(), PowerTransformer(), GaussianMixture()),
    "pipeline of a network": make_density_pipeline(SHIFT, DenoisingScoreEstimator(**TINY)),
    "pipeline of a flow": make_density_pipeline(FlowTransformer(DIFFUSION), GaussianMixture()),
    "nested pipeline": make_density_pipeline(
        StandardScaler(), make_density_pipeline(PowerTransformer(), GaussianMixture())
    ),
    "chains": ScoreBasedSampler(DenoisingScoreEstimator(**TINY)),
    "reverse": ScoreBasedSampler(DIFFUSION, n_steps=3),
}


def rows_of(est, X):
    """What draws and denoises: pairs of a name and its rows."""
    found = {"sample": est.sample(3, random_state=0)}
    if hasattr(est, "denoise"):
        found["denoise"] = est.denoise(X, sigma=getattr(est, "sigma_", 0.3))
    return found


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_draws_come_in_the_container_that_is_asked_for(name, kind):
    X, names = TABLES[kind], list(getattr(TABLES[kind], "columns", []))
    est = clone(ESTIMATORS[name]).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays = rows_of(est, X)
        assert {type(rows) for rows in arrays.values()} == {np.ndarray}
        asked = {}
        for output in FRAMES:
            with sklearn.config_context(transform_output=output):
                asked[output] = rows_of(est, X)
        for output, frame in FRAMES.items():
            again = rows_of(est.set_output(transform=output), X)
            for key, rows in arrays.items():
                for found in (asked[output][key], again[key]):
                    assert isinstance(found, frame)
                    assert not names or list(found.columns) == names
                    np.testing.assert_array_equal(found.to_numpy(), rows)
        for rows in rows_of(est.set_output(transform="default"), X).values():
            assert isinstance(rows, np.ndarray)


@pytest.mark.parametrize(("kind", "output"), [("pandas", "polars"), ("polars", "pandas")])
@pytest.mark.parametrize("name", [name for name in ESTIMATORS if "pipeline" in name])
def test_a_fit_under_set_output_is_the_same_and_says_nothing_of_names(name, kind, output):
    plain, X = clone(ESTIMATORS[name]).fit(FRAME), TABLES[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        est = clone(ESTIMATORS[name]).set_output(transform=output).fit(X)
        np.testing.assert_allclose(np.asarray(est.sample(3, 0)), plain.sample(3, 0), rtol=1e-5)
        for method in ("score_samples", "score_function", "score_divergence", "score"):
            if hasattr(est, method):
                values = getattr(est, method)(X[:9])
                np.testing.assert_allclose(values, getattr(plain, method)(FRAME[:9]), rtol=1e-4)


def test_the_setting_is_cloned_pickled_and_checked():
    est = DensityScoreEstimator(GaussianMixture()).set_output(transform="pandas")
    for twin in (clone(est).fit(FRAME), pickle.loads(pickle.dumps(est.fit(FRAME)))):
        assert isinstance(twin.set_output().sample(2), pd.DataFrame)
    with pytest.raises(ValueError, match="'transform' of set_output of DensityScoreEst.*'frames'"):
        est.set_output(transform="frames")


def test_denoised_rows_keep_the_index_of_theirs():
    est = DensityScoreEstimator(GaussianMixture()).fit(FRAME).set_output(transform="pandas")
    assert est.denoise(FRAME, sigma=1.0).index.equals(FRAME.index)
    assert est.denoise(X=FRAME, sigma=1.0).index.equals(FRAME.index)
    assert est.sample(3).index.tolist() == [0, 1, 2]


def test_states_of_a_draw_stay_arrays():
    est = clone(DIFFUSION).fit(FRAME).set_output(transform="pandas")
    rows, states, thetas = est.sample(3, n_steps=4, return_states=True)
    assert isinstance(rows, pd.DataFrame)
    assert isinstance(states, np.ndarray)
    assert len(thetas) == 5


@pytest.mark.parametrize("name", ["denoising", "implicit", "diffusion", "denoising CV"])
def test_a_pickle_holds_training_rows_unless_told_not_to(name):
    X, est = FRAME.to_numpy(), clone(ESTIMATORS[name])
    for kept in (True, False):
        stored = pickle.dumps(est.set_params(store_starts=kept).fit(X))
        assert {value.tobytes() in stored for value in X.ravel()} == {kept}


def test_a_sampler_of_a_fitted_estimator_knows_its_names():
    frozen = FrozenEstimator(DenoisingScoreEstimator(**TINY).fit(FRAME))
    sampler = ScoreBasedSampler(frozen).set_output(transform="polars")
    assert sampler.sample(2).columns == ["a", "b"]


@pytest.mark.parametrize("output", FRAMES)
def test_the_promises_hold_for_frames(output):
    check_density_estimator(DensityScoreEstimator(GaussianMixture()).set_output(transform=output))


@pytest.mark.parametrize("kind", FRAMES)
def test_a_dequantized_frame_is_a_frame(kind):
    rounded = FRAME.round({"b": 0})
    X = rounded if kind == "pandas" else polars.DataFrame(rounded)
    found = dequantize(X, random_state=0)
    assert isinstance(found, FRAMES[kind])
    assert list(found.columns) == ["a", "b"]
    np.testing.assert_array_equal(found.to_numpy(), dequantize(rounded.to_numpy(), random_state=0))
    assert kind == "polars" or found.index.equals(rounded.index)
    with pytest.raises(ValueError, match="column 'a' .*dequantize takes finite numbers only"):
        dequantize(FRAMES[kind]({"a": [1.0, np.nan], "b": [1.0, 2.0]}))
