"""What messages advise works."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)

from skscore import (
    DenoisingScoreEstimator,
    DensityPipeline,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
    make_density_pipeline,
)
from skscore.networks import NETWORKS

RNG = np.random.RandomState(0)
X = RNG.normal(size=(200, 2))
HOLES = np.where(RNG.uniform(size=X.shape) < 0.1, np.nan, X)
MIXED = pd.DataFrame({"age": X[:, 0], "town": np.where(X[:, 1] > 0, "Paris", "Rome")})
YEARS = 2000 + X[:, :1]  # Box and Cox's powers of these lose their digits


def encoding(encoder):
    return ColumnTransformer([("code", encoder, ["town"])], remainder="passthrough")


PREPARATIONS = {
    "mean": (SimpleImputer(), HOLES, "fills in missing values"),
    "neighbours": (KNNImputer(), HOLES, "fills in missing values"),
    "iterations": (IterativeImputer(), HOLES, "fills in missing values"),
    "nested": (make_pipeline(StandardScaler(), SimpleImputer()), HOLES, "fills in missing values"),
    "frozen": (FrozenEstimator(SimpleImputer().fit(HOLES)), HOLES, "fills in missing values"),
    "codes": (encoding(OrdinalEncoder()), MIXED, "writes numbers for categories"),
    "dummies": (encoding(OneHotEncoder(drop="first")), MIXED, "writes numbers for categories"),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.parametrize("name", PREPARATIONS)
def test_steps_that_prepare_rows_go_before_the_pipeline(name):
    step, table, reason = PREPARATIONS[name]
    pipeline = make_density_pipeline(step, StandardScaler(), GaussianMixture())
    words = rf"cannot be a step of a DensityPipeline: .*{reason}.* make_pipeline\(preparation, "
    with pytest.raises(ValueError, match=words):
        pipeline.fit(table)
    with pytest.raises(ValueError, match=reason):
        pipeline.fit(X)  # rows that need no preparation are no excuse
    assert not hasattr(pipeline, "n_features_in_")
    density = make_density_pipeline(StandardScaler(), GaussianMixture())
    model = make_pipeline(step, density).fit(table)
    assert np.isfinite(model.score_samples(table)).all()
    assert np.isfinite(model.score(table))
    assert density.sample(3).shape == (3, density.n_features_in_)


@pytest.mark.parametrize("method", ["score_samples", "score_function", "score", "denoise", "fit"])
@pytest.mark.parametrize(
    "est",
    [
        make_density_pipeline(StandardScaler(), GaussianMixture()),
        DensityScoreEstimator(GaussianMixture()),
    ],
)
def test_missing_values_are_filled_in_before(est, method):
    est.fit(X)
    words = r"NaN in column \d \(first in row \d+\)\. .*SimpleImputer, in a plain make_pipeline"
    with pytest.raises(ValueError, match=words):
        getattr(est, method)(HOLES)


@pytest.mark.parametrize(
    "steps", [3, "nonsense", [], None, [1, 2], ["ab"], {"a": 1}, [("scale", StandardScaler()), 3]]
)
def test_steps_that_are_none_are_refused_by_name(steps):
    pipeline = DensityPipeline(steps)
    assert not hasattr(pipeline, "sample")
    with pytest.raises(ValueError, match=r"'steps' parameter of DensityPipeline must be a list of"):
        pipeline.fit(X)


@pytest.mark.parametrize("column", [YEARS, 1e-9 * np.exp(X[:, :1]), 1e12 * np.exp(X[:, :1])])
@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), PowerTransformer()],
        [MinMaxScaler((1, 2)), PowerTransformer(method="box-cox")],
    ],
)
def test_powers_that_lose_digits_are_had_as_the_message_says(column, steps):
    lossy = make_density_pipeline(PowerTransformer(method="box-cox"), GaussianMixture())
    with pytest.raises(ValueError, match=r"before PowerTransformer\(\), or MinMaxScaler\(\(1, 2"):
        lossy.fit(YEARS)
    model = make_density_pipeline(*steps, GaussianMixture()).fit(column)
    assert np.isfinite(model.score_samples(column)).all()


@pytest.mark.parametrize(
    "cls",
    [
        DenoisingScoreEstimator,
        DiffusionScoreEstimator,
        ImplicitScoreEstimator,
        SlicedScoreEstimator,
    ],
)
def test_a_network_without_a_name_is_refused_with_those_there_are(cls):
    with pytest.raises(ValueError, match="importable|imported by its name") as error:
        cls(network=lambda *_: None).fit(X)
    assert all(repr(name) in str(error.value) for name in NETWORKS)


@pytest.mark.parametrize("bandwidth", ["scott", "silverman", 0.5])
def test_rows_of_no_weight_are_none(bandwidth):
    weights, density = (X[:, 0] > 0).astype(float), KernelDensity(bandwidth=bandwidth)
    alone = DensityScoreEstimator(density).fit(X[X[:, 0] > 0])
    weighted = DensityScoreEstimator(density).fit(X, sample_weight=weights)
    np.testing.assert_allclose(weighted.score_samples(X), alone.score_samples(X), rtol=1e-12)
    pipeline = make_density_pipeline(StandardScaler(), density)
    found = pipeline.fit(X, kerneldensity__sample_weight=weights).score_samples(X)
    again = pipeline.fit(X[X[:, 0] > 0]).score_samples(X)
    np.testing.assert_allclose(found, again, rtol=1e-12)
