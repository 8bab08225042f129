"""Users are spoken to at their own line, once, and by the names of their own columns."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler

import skscore
from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
    _messages,
    make_density_pipeline,
)
from skscore._messages import listed
from skscore.compose import change_of_variables
from skscore.exceptions import SupportWarning, TiesWarning

RNG = np.random.RandomState(0)
TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}
FRAME = pd.DataFrame(RNG.normal(size=(120, 3)), columns=["a", "b", "c"]).round({"c": 0})
DENSITIES = {
    "implicit": ImplicitScoreEstimator(**TINY),
    "sliced": SlicedScoreEstimator(**TINY),
    "denoising": DenoisingScoreEstimator(**TINY),
    "denoising CV": DenoisingScoreEstimatorCV([0.2, 0.5], cv=2, **TINY),
    "diffusion": DiffusionScoreEstimator(**TINY, n_components=0),
    "adapted": DensityScoreEstimator(GaussianMixture()),
}
REORDERED = ColumnTransformer([("rest", StandardScaler(), ["c", "b"])], remainder="passthrough")


def said(record, category):
    return [w for w in record if issubclass(w.category, category)]


@pytest.fixture
def usual():
    """Warnings under Python's usual filter, recorded; nothing has been said yet."""
    _messages._said.clear()
    with warnings.catch_warnings(record=True) as record:
        warnings.resetwarnings()
        yield record


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)])
def test_every_estimator_warns_at_the_users_line(name, wrap):
    with pytest.warns(TiesWarning) as record:
        wrap(DENSITIES[name]).fit(FRAME)
    assert {w.filename for w in record} == {__file__}


@pytest.mark.parametrize("name", DENSITIES)
def test_ties_are_said_once_for_a_table_and_line(name, usual):
    for _ in range(3):
        DENSITIES[name].fit(FRAME)
        DENSITIES[name].fit(FRAME.to_numpy())  # another line
    assert len(said(usual, TiesWarning)) == 2
    DENSITIES[name].fit(FRAME[["c", "a"]])
    assert len(said(usual, TiesWarning)) == 3


@pytest.mark.parametrize("last", [DenoisingScoreEstimator(**TINY), KernelDensity()])
def test_a_search_says_once_what_all_its_folds_have_to_say(last, usual):
    pipeline = make_density_pipeline(StandardScaler(), last)
    GridSearchCV(pipeline, {"standardscaler__with_mean": [True, False]}, cv=3).fit(FRAME)
    ties = said(usual, TiesWarning)
    assert len(ties) == 1
    assert ties[0].filename == __file__


def test_filters_of_the_user_mean_what_they_always_do():
    est = DensityScoreEstimator(KernelDensity())
    for action, expected in (("always", 3), ("ignore", 0)):
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter(action)
            for _ in range(3):
                est.fit(FRAME)
        assert len(record) == expected
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="More than 5%", category=TiesWarning)
        for _ in range(2):
            with pytest.raises(TiesWarning):
                est.fit(FRAME)
    with warnings.catch_warnings(record=True) as record:
        warnings.resetwarnings()
        warnings.filterwarnings("always", module=__name__.replace(".", r"\."))
        warnings.filterwarnings("ignore", module="skscore")
        for _ in range(2):
            est.fit(FRAME)
    assert len(record) == 2


def test_many_columns_are_counted():
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(j) for j in range(10)]).endswith("8, 9")
    assert listed([str(j) for j in range(22)]).endswith("8, 9 and 12 more")
    wide = RNG.normal(size=(120, 22)).round()
    with pytest.warns(TiesWarning, match="columns: 0, .* 9 and 12 more. Log-densities"):
        DensityScoreEstimator(KernelDensity()).fit(wide)


@pytest.mark.parametrize("last", [DENSITIES["denoising"], KernelDensity()])
@pytest.mark.parametrize(
    ("steps", "output"),
    [
        ([REORDERED], "default"),
        ([REORDERED], "pandas"),
        ([StandardScaler(), REORDERED], "pandas"),
        ([make_pipeline(PowerTransformer())], "default"),
    ],
)
def test_a_pipeline_names_columns_of_the_users_table(last, steps, output):
    pipeline = make_density_pipeline(*steps, last).set_output(transform=output)
    with pytest.warns(TiesWarning, match="these columns: 'c'. Log-densities") as record:
        pipeline.fit(FRAME)
    assert {w.filename for w in record} == {__file__}


def test_a_pipeline_of_arrays_numbers_the_users_columns():
    swap = ColumnTransformer([("last", StandardScaler(), [2])], remainder="passthrough")
    nested = make_density_pipeline(swap, make_density_pipeline(StandardScaler(), KernelDensity()))
    for pipeline in (make_density_pipeline(swap, KernelDensity()), nested):
        with pytest.warns(TiesWarning, match="these columns: 2. Log-densities"):
            pipeline.fit(FRAME.to_numpy())
    with pytest.warns(TiesWarning, match="these columns: 2. Log-densities"):
        DensityScoreEstimator(KernelDensity()).fit(FRAME.to_numpy())  # the names ended with the fit


def test_all_warnings_go_one_way():
    others = [
        path.name
        for path in Path(skscore.__file__).parent.rglob("*.py")
        if "warnings.warn(" in path.read_text() and path.name != "_messages.py"
    ]
    assert not others


def test_mixed_columns_are_called_outputs():
    pca = PCA().fit(FRAME)
    assert change_of_variables(pca, FRAME).names(["a", "b", "c"])[1] == "output 1 of PCA"
    root = FunctionTransformer(np.cbrt, lambda y: y**3).fit(FRAME)
    assert change_of_variables(root, FRAME).names(["a", "b", "c"]) == ["a", "b", "c"]


def test_warnings_of_methods_point_at_the_users_line():
    pipeline = make_density_pipeline(
        FunctionTransformer(np.log, np.exp), DensityScoreEstimator(GaussianMixture())
    ).fit(np.exp(FRAME[["a"]].to_numpy()))
    for call in (pipeline.score_samples, pipeline.score):
        with pytest.warns(SupportWarning) as record:
            call([[1.0], [-1.0]])
        assert {w.filename for w in record} == {__file__}


SCRIPT = """
import numpy as np
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from skscore import DensityScoreEstimator
X = np.random.RandomState(0).normal(size=(60, 2)).round()
est = DensityScoreEstimator(KernelDensity())
for _ in range(5):
    est.fit(X)
GridSearchCV(est, {"density__bandwidth": [0.5, 1.0]}).fit(X)
"""


def test_a_script_of_many_fits_says_each_thing_once_a_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=300
    )
    ties = [line for line in done.stderr.splitlines() if "TiesWarning" in line]
    assert [line.split(":")[1] for line in ties] == ["9", "10"]
