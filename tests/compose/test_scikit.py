"""scikit-learn's transformers as changes of variables, and densities carried through each."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from skscore import (
    BoundedTransformer,
    DensityPipeline,
    DiffusionScoreEstimator,
    FlowTransformer,
    make_density_pipeline,
)
from skscore._changes.algebra import Linear
from skscore.compose import change_of_variables
from skscore.compose._numerical import Numerical, NumericalColumnwise
from skscore.compose._scikit import UFUNCS, chain_of
from skscore.exceptions import SupportWarning, TiesWarning

RNG = np.random.RandomState(0)
X = 0.1 + 0.8 * RNG.beta(2.0, 3.0, size=(300, 2)) ** [1.0, 1.5]  # within (0.1, 0.9), skewed
ROWS = np.array([[0.31, 0.42], [0.52, 0.23], [0.237, 0.613]])
M = np.array([[1.3, 0.4], [0.4, 0.6]])
METRICS = np.stack([M * (1 + i) + i * np.eye(2) for i in range(len(ROWS))])
INVERSES = {
    np.log: np.exp,
    np.log1p: np.expm1,
    np.log2: np.exp2,
    np.log10: lambda y: 10.0**y,
    np.cbrt: lambda y: y**3,
    np.exp: np.log,
    np.expm1: np.log1p,
    np.sqrt: np.square,
    np.square: np.sqrt,
    np.arcsinh: np.sinh,
    np.sinh: np.arcsinh,
    logit: expit,
    expit: logit,
}


def powered(method, lambdas, standardize=True):
    """A power transformer whose powers are given, not estimated."""
    fitted = PowerTransformer(method, standardize=standardize).fit(X)
    fitted.lambdas_ = np.array(lambdas, dtype=float)
    return fitted


def mix(X):
    return np.c_[X[:, 0] + 0.5 * X[:, 1] ** 2, X[:, 1] * np.exp(X[:, 0] / 4)]


def unmix(Y):
    a, b = Y[:, 0].copy(), Y[:, 1].copy()
    for _ in range(60):  # a contraction
        a = Y[:, 0] - 0.5 * (Y[:, 1] * np.exp(-a / 4)) ** 2
    b = Y[:, 1] * np.exp(-a / 4)
    return np.c_[a, b]


def micro(X):
    return 1e-6 * X


def mega(X):
    return 1e6 * X


class Foreign(TransformerMixin, BaseEstimator):
    """A third party's transformer: the whitening rotation and a cube."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=0)
        return self

    def transform(self, X):
        Z = (X - self.mean_) @ np.array([[1.0, 1.0], [-1.0, 1.0]])
        return Z + Z**3

    def inverse_transform(self, Y):
        Z = np.cbrt(Y / 2 + np.sqrt(Y**2 / 4 + 1 / 27))
        Z = Z + np.cbrt(Y / 2 - np.sqrt(Y**2 / 4 + 1 / 27))
        return Z @ np.array([[1.0, -1.0], [1.0, 1.0]]) / 2 + self.mean_


def columns(*parts, **options):
    return ColumnTransformer(list(parts), **options)


CASES = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without scale": StandardScaler(with_std=False),
    "robust": RobustScaler(),
    "robust with unit variance": RobustScaler(unit_variance=True, quantile_range=(10, 60)),
    "robust without scale": RobustScaler(with_scaling=False),
    "largest": MaxAbsScaler(),
    "range": MinMaxScaler(),
    "other range": MinMaxScaler((-3, 5)),
    "clipped": MinMaxScaler((-3, 5), clip=True),
    "components": PCA(),
    "whitened": PCA(whiten=True),
    "power": PowerTransformer(),
    "power as it is": PowerTransformer(standardize=False),
    "box-cox": PowerTransformer("box-cox"),
    "box-cox as it is": PowerTransformer("box-cox", standardize=False),
    "uniform quantiles": QuantileTransformer(n_quantiles=20),
    "normal quantiles": QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    "bounded": BoundedTransformer((0, 1)),
    "bounded below": BoundedTransformer((0, None)),
    "bounded above": BoundedTransformer([(None, 1), None]),
    "no function": FunctionTransformer(None),
    "mixing function": FunctionTransformer(mix, unmix),
    "small units": FunctionTransformer(micro, mega),
    "foreign": Foreign(),
    "frozen": FrozenEstimator(StandardScaler().fit(X)),
    "frozen quantiles": FrozenEstimator(QuantileTransformer(n_quantiles=15).fit(X)),
    "nested": Pipeline([("a", PCA()), ("b", "passthrough"), ("c", PowerTransformer())]),
    "nested twice": make_pipeline(make_pipeline(StandardScaler(), None), PCA(whiten=True)),
    "columns": columns(("a", BoundedTransformer((0, None)), [1]), ("b", RobustScaler(), [0])),
    "columns in another order": columns(("a", PCA(), [1, 0])),
    "columns passed": columns(("a", PowerTransformer(), [1]), remainder="passthrough"),
    "columns left over": columns(("a", "passthrough", [1]), remainder=PowerTransformer()),
    "columns by slice and mask": columns(
        ("a", StandardScaler(), slice(1, 2)), ("b", PowerTransformer(), [True, False])
    ),
    "no columns": columns(("a", QuantileTransformer(), []), ("b", PCA(), [0, 1])),
    "columns of chains": make_pipeline(
        columns(("a", make_pipeline(RobustScaler(), PowerTransformer()), [1]),
                remainder=FunctionTransformer(np.log, np.exp)), PCA()),
} | {
    f"{function.__name__}": FunctionTransformer(function, inverse)
    for function, inverse in INVERSES.items()
}  # fmt: skip
POWERS = {
    f"{method} {a} {b} {'standardised' if s else ''}": powered(method, (a, b), s)
    for method in ("box-cox", "yeo-johnson")
    for a, b in ((0, 1), (2, 0.5), (-1, 3), (2.5, -0.3))
    for s in (True, False)
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
maps = pytest.mark.parametrize("case", (CASES | POWERS).values(), ids=CASES | POWERS)


def fitted(case):
    return case if hasattr(case, "lambdas_") else clone(case).fit(X, None)


def change_of(case):
    return change_of_variables(fitted(case), X)


def differences(fn, x, h=1e-4):
    """The slow twin: central differences of order four, (n, m, d)."""
    steps = h * np.eye(x.shape[1])
    ends = [fn(x - 2 * e) - 8 * fn(x - e) + 8 * fn(x + e) - fn(x + 2 * e) for e in steps]
    return np.stack(ends, axis=-1) / (12 * h)


def normalized(change):
    """Mean and deviation of transformed rows, for laws as wide as they spread."""
    Y = change.transform(X)
    return Y.mean(axis=0), Y.std(axis=0)


def law(change):
    """log q of y, its score and Hessian: a correlated Gaussian as wide as the rows spread."""
    mean, std = normalized(change)
    P = np.linalg.inv(np.array([[1.0, 0.4], [0.4, 2.0]])) / np.outer(std, std)
    return (
        lambda y: -0.5 * np.einsum("ni,ij,nj->n", y - mean, P, y - mean),
        lambda y: -(y - mean) @ P,
        -P,
    )


def test_the_table_of_functions_is_covered():
    assert set(INVERSES) == set(UFUNCS)


@maps
def test_changes_are_the_maps_of_the_transformers(case):
    transformer = fitted(case)
    change = change_of_variables(transformer, X)
    np.testing.assert_array_equal(change.transform(ROWS), transformer.transform(ROWS))
    np.testing.assert_allclose(change.inverse_transform(change.transform(ROWS)), ROWS, atol=1e-9)
    assert change.inside(ROWS).all()
    assert change.reaches(change.transform(ROWS)).all()


@maps
def test_log_det_and_pushed_metrics_are_those_of_the_jacobian_by_differences(case):
    change = change_of(case)
    J = differences(fitted(case).transform, ROWS)
    np.testing.assert_allclose(change.log_det(ROWS), np.linalg.slogdet(J)[1], atol=1e-7)
    for metric in (M, METRICS):
        pushed = np.broadcast_to(change.push_metric(ROWS, metric), J.shape)
        expected = J @ metric @ np.swapaxes(J, 1, 2)
        np.testing.assert_allclose(pushed, expected, rtol=1e-6, atol=1e-6 * np.abs(J).max() ** 2)


@maps
def test_pulled_scores_are_gradients_of_the_carried_log_density(case):
    change = change_of(case)
    log_q, score, _ = law(change)

    def log_p(x):
        return (log_q(change.transform(x)) + change.log_det(x))[:, None]

    pulled = change.pull_score(ROWS, score(change.transform(ROWS)))
    np.testing.assert_allclose(pulled, differences(log_p, ROWS)[:, 0], rtol=1e-5, atol=1e-5)


@maps
def test_divergences_are_those_of_the_pulled_score_by_differences(case):
    change = change_of(case)
    _, score, H = law(change)
    y = change.transform(ROWS)
    slopes = differences(lambda x: change.pull_score(x, score(change.transform(x))), ROWS)
    for metric in (M, METRICS):
        pushed = change.push_metric(ROWS, metric)
        claimed = np.einsum("...ij,ji->...", pushed, H)
        claimed = claimed + change.curvature(ROWS, score(y), metric)
        expected = np.einsum("...ij,...ji->...", metric, slopes)
        np.testing.assert_allclose(claimed, expected, rtol=1e-4, atol=1e-4)


@maps
def test_everywhere_and_onto_are_what_far_rows_say(case):
    """Where a change says that it takes all rows, or reaches all, far ones come and go."""
    change = change_of(case)
    far = np.array([[-3.0, 4.0], [5.0, -6.0]])
    y = change.transform(X).mean(axis=0) + 20 * change.transform(X).std(axis=0) * np.sign(far)
    if change.everywhere:
        assert change.inside(far).all()
        assert np.isfinite(change.transform(far)).all()
        assert np.isfinite(change.log_det(far)).all()
    if change.onto:
        assert change.reaches(y).all()
        assert np.isfinite(change.inverse_transform(y)).all()


@pytest.mark.parametrize("name", ["box-cox", "yeo-johnson"])
@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("standardize", [True, False])
def test_the_image_of_a_power_ends_where_its_inverse_does(name, power, standardize):
    transformer = powered(name, (power, power), standardize)
    change = change_of_variables(transformer, X)
    ends = {
        ("box-cox", -1.0): (-np.inf, 1.0),
        ("box-cox", 0.5): (-2.0, np.inf),
        ("box-cox", 1.0): (-1.0, np.inf),
        ("box-cox", 2.0): (-0.5, np.inf),
        ("box-cox", 3.0): (-1 / 3, np.inf),
        ("yeo-johnson", -1.0): (-np.inf, 1.0),
        ("yeo-johnson", 3.0): (-1.0, np.inf),
    }
    low, high = ends.get((name, power), (-np.inf, np.inf))
    assert change.onto == (np.isinf(low) and np.isinf(high))
    assert change.everywhere == (name == "yeo-johnson")
    scaler = transformer._scaler if standardize else None
    for end, sign in ((low, 1), (high, -1)):
        if np.isinf(end):
            end = -50.0 * sign
            probes, expected = [end], [True]
        else:
            probes, expected = [end - 1e-6 * sign, end, end + 1e-6 * sign], [False, False, True]
        Y = np.array([[p, p] for p in probes])
        Y = scaler.transform(Y) if standardize else Y
        inner = change_of_variables(StandardScaler(with_std=False).fit(X), X).transform(X)[:1]
        for j in (0, 1):  # one column at the end, the other well inside
            rows = np.repeat(transformer.transform(ROWS[:1]), len(Y), axis=0)
            rows[:, j] = Y[:, j]
            assert change.reaches(rows).tolist() == expected
        assert np.isfinite(inner).all()


def test_box_cox_takes_positive_rows_only():
    change = change_of(PowerTransformer("box-cox"))
    rows = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, -1.0]])
    assert change.inside(rows).tolist() == [True, False, False]


@pytest.mark.parametrize("function", INVERSES, ids=lambda f: f.__name__)
def test_functions_have_the_domain_and_image_of_the_table(function):
    _, domain, image = UFUNCS[function]
    change = change_of(FunctionTransformer(function, INVERSES[function]))
    for (low, high), test in ((domain, change.inside), (image, change.reaches)):
        middle = np.clip(0.5, low + 0.1, high - 0.1)
        for end in (low, high):
            probe = np.array([[middle, end if np.isfinite(end) else 100 * np.sign(end)]])
            assert test(probe)[0] == np.isinf(end)
            if np.isfinite(end):
                nearer = probe + [[0, 1e-9 * np.sign(middle - end)]]
                assert test(nearer)[0]
    assert change.everywhere == np.isinf(domain).all()
    assert change.onto == np.isinf(image).all()


@pytest.mark.parametrize("function", INVERSES, ids=lambda f: f.__name__)
def test_rows_are_inside_where_function_and_inverse_lead_back(function):
    inverse = INVERSES[function]
    change = change_of(FunctionTransformer(function, inverse))
    x = np.repeat(np.linspace(-2.05, 2.05, 42)[:, None], 2, axis=1)  # off all ends
    with np.errstate(all="ignore"):
        for there, back, test in (
            (function, inverse, change.inside),
            (inverse, function, change.reaches),
        ):
            returned = np.isclose(back(there(x)), x, atol=1e-9).all(axis=1)
            np.testing.assert_array_equal(test(x), returned)


def test_every_step_of_a_chain_is_looked_at_with_the_rows_it_is_given():
    steps = [("s", StandardScaler()), ("f", FunctionTransformer(mix, unmix))]
    fitted = Pipeline([*steps, ("last", "passthrough")]).fit(1000 * X)
    change = chain_of(fitted.steps, 1000 * X)
    np.testing.assert_allclose(change._changes[1]._spread, 1)
    assert len(change._changes) == 2


def test_functions_with_arguments_are_not_those_of_the_table():
    plain = FunctionTransformer(np.log, np.exp)
    with_arguments = FunctionTransformer(np.log, np.exp, kw_args={"where": True})
    assert change_of(plain).exact
    assert isinstance(change_of(with_arguments), NumericalColumnwise)
    back = FunctionTransformer(np.log, np.exp, inv_kw_args={"where": True})
    assert isinstance(change_of(back), NumericalColumnwise)


# -- scalers that clip, quantiles ---------------------------------------------------------------


CLIPPING = [MinMaxScaler(clip=True)]
if "clip" in MaxAbsScaler().get_params():  # later than scikit-learn 1.6
    CLIPPING.append(MaxAbsScaler(clip=True))


@pytest.mark.parametrize("scaler", CLIPPING)
def test_clipped_rows_are_outside_and_the_ends_inside(scaler):
    rows = X - 0.4 if isinstance(scaler, MaxAbsScaler) else X
    change = change_of_variables(clone(scaler).fit(rows), rows)
    largest = np.abs(rows).max(0)
    low, high = (rows.min(0), rows.max(0)) if rows is X else (-largest, largest)
    ends = np.stack([low, high, low - [0, 1e-9], high + [1e-9, 0]])
    assert change.inside(ends).tolist() == [True, True, False, False]
    floor = 0.0 if rows is X else -1.0
    image = np.array([[floor, 0.5], [1.0, 0.5], [floor + 1e-9, 1 - 1e-9]])
    assert change.reaches(image).tolist() == [False, False, True]
    np.testing.assert_allclose(change.log_det(ends), -np.log(high - low).sum() + np.log(
        (1 - floor) ** 2), rtol=1e-12)  # fmt: skip
    assert (
        not change_of_variables(clone(scaler).set_params(clip=False).fit(rows), rows)
        .reaches(image - 5)
        .__invert__()
        .any()
    )


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_the_density_between_knots_is_the_share_of_rows_over_the_width(output):
    transformer = QuantileTransformer(n_quantiles=11, output_distribution=output).fit(X)
    change = change_of_variables(transformer, X)
    knots = transformer.quantiles_
    for k in range(10):
        rows = np.stack([knots[k] * (1 - t) + knots[k + 1] * t for t in (0.25, 0.5, 0.9)])
        log_density = change.log_det(rows)
        if output == "normal":
            log_density = log_density + norm.logpdf(change.transform(rows)).sum(axis=1)
        expected = 2 * np.log(0.1) - np.log(knots[k + 1] - knots[k]).sum()
        np.testing.assert_allclose(log_density, expected, rtol=1e-9)


def test_a_knot_has_the_density_to_its_right():
    transformer = QuantileTransformer(n_quantiles=11).fit(X)
    change, knots = change_of_variables(transformer, X), transformer.quantiles_
    at, beyond = change.log_det(knots[:-1]), change.log_det(knots[:-1] + 1e-9)
    np.testing.assert_allclose(at, beyond, rtol=1e-12)


def test_the_first_and_last_knots_are_in_the_support_of_quantiles():
    for output in ("uniform", "normal"):
        fitted = QuantileTransformer(n_quantiles=11, output_distribution=output).fit(X)
        change = change_of_variables(fitted, X)
        ends = np.stack([X.min(0), X.max(0), X.min(0) - [0, 1e-9], X.max(0) + [1e-9, 0]])
        assert change.inside(ends).tolist() == [True, True, False, False]
        assert np.isfinite(change.log_det(ends[:2])).all()
        limit = 1.0 if output == "uniform" else -norm.ppf(1e-7)
        low = 0.0 if output == "uniform" else -limit
        y = np.array([[limit, 0.5], [0.5, low], [limit - 1e-9, low + 1e-9], [0.5, 0.5]])
        assert change.reaches(y).tolist() == [False, False, True, True]


def test_ties_of_quantiles_are_found_in_all_compositions():
    tied = X.copy()
    tied[:150, 1] = 0.5
    plain, twin = QuantileTransformer(n_quantiles=20), QuantileTransformer(n_quantiles=20)
    swap = columns(("s", StandardScaler(), [1]), ("p", "passthrough", [0]))
    for steps, expected in (
        ([("q", plain)], ["1"]),
        ([("s", StandardScaler()), ("q", plain)], ["1"]),
        ([("p", make_pipeline(StandardScaler(), plain))], ["1"]),
        ([("c", columns(("q", plain, [1]), ("r", "passthrough", [0])))], ["1"]),
        ([("r", swap), ("q", twin)], ["1"]),
        ([("c", columns(("q", plain, []), ("r", RobustScaler(), [0, 1])))], []),
        ([("f", FrozenEstimator(plain.fit(tied)))], ["1"]),
        ([("s", StandardScaler()), ("n", "passthrough"), ("m", None)], []),
    ):
        pipeline = Pipeline([*steps, ("last", GaussianMixture())]).fit(tied)
        assert chain_of(pipeline.steps[:-1], tied).jumps(["0", "1"]) == expected


# -- densities through each ---------------------------------------------------------------------


KERNELS = ("standard", "box-cox", "normal quantiles", "bounded", "columns of chains", "foreign")


@pytest.mark.parametrize(
    ("case", "last"),
    [(case, GaussianMixture(2, random_state=0)) for case in CASES.values()]
    + [(CASES[name], KernelDensity(bandwidth=0.3)) for name in KERNELS],
    ids=[*CASES, *(f"{name} and kernels" for name in KERNELS)],
)
def test_scores_and_divergences_of_a_pipeline_are_those_of_its_density(case, last):
    scaled = make_pipeline(clone(case), StandardScaler())  # so that one bandwidth fits all
    pipeline = make_density_pipeline(scaled, clone(last)).fit(X)
    scores = pipeline.score_function(ROWS)
    expected = differences(lambda x: pipeline.score_samples(x)[:, None], ROWS)[:, 0]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=2e-5)
    J = differences(pipeline.score_function, ROWS)
    for metric in (None, M, METRICS):
        claimed = pipeline.score_divergence(ROWS, metric=metric)
        expected = np.einsum("...ij,...ji->...", np.eye(2) if metric is None else metric, J)
        np.testing.assert_allclose(claimed, expected, rtol=1e-3, atol=1e-2)


@cases
def test_samples_lie_in_the_support_and_are_as_many_as_asked_for(case):
    pipeline = make_density_pipeline(clone(case), GaussianMixture(random_state=0)).fit(X)
    rows = pipeline.sample(200, random_state=0)
    assert rows.shape == (200, 2)
    assert np.isfinite(pipeline.score_samples(rows)).all()


@cases
def test_a_pipeline_carries_rows_as_its_own_steps_do(case):
    pipeline = make_density_pipeline(clone(case), GaussianMixture(random_state=0)).fit(X)
    log_q = pipeline.steps[-1][1].score_samples(pipeline[:-1].transform(ROWS))
    expected = log_q + change_of(case).log_det(ROWS) - np.log(pipeline.mass_)
    np.testing.assert_allclose(pipeline.score_samples(ROWS), expected, atol=1e-8)


LINE = {name: case for name, case in CASES.items() if "columns" not in name and name not in (
    "mixing function", "foreign", "bounded above", "frozen", "frozen quantiles", "nested twice"
)}  # fmt: skip


@pytest.mark.parametrize("case", LINE.values(), ids=LINE)
def test_densities_on_the_line_have_mass_one(case):
    """Over a grid of images, carried back: all of the support and no more."""
    column = X[:, :1]
    pipeline = make_density_pipeline(clone(case), GaussianMixture(2, random_state=0)).fit(column)
    change, part = pipeline._change, pipeline.steps[-1][1]
    wide = 8 * np.sqrt(part.covariances_.max())
    y = np.linspace(part.means_.min() - wide, part.means_.max() + wide, 40_001)[:, None]
    x = change.inverse_transform(y[change.reaches(y)])
    mass = np.trapezoid(np.exp(pipeline.score_samples(x)), x[:, 0])
    assert mass == pytest.approx(1, abs=2e-3 + 4 * pipeline.mass_std_error_)


PLANE = (
    "standard", "components", "whitened", "power", "mixing function", "foreign", "columns passed",
    "columns in another order", "nested", "small units", "uniform quantiles", "normal quantiles",
    "bounded", "clipped", "arcsinh",
)  # fmt: skip


@pytest.mark.parametrize("name", PLANE)
def test_densities_on_the_plane_have_mass_one(name):
    pipeline = make_density_pipeline(clone(CASES[name]), GaussianMixture(reg_covar=0)).fit(X)
    n = 71 if "quantiles" not in name else 201
    low, high = (-0.5, 1.7) if pipeline._change.everywhere or "foreign" in name else (0.0, 1.0)
    if name in ("mixing function", "small units"):
        low, high = -0.5, 1.7
    axis = np.linspace(low, high, n + 1)
    axis = 0.5 * (axis[1:] + axis[:-1])  # midpoints
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[pipeline._change.inside(grid)]
    mass = np.exp(pipeline.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=2e-2)


# -- what is refused ----------------------------------------------------------------------------


class Spy(GaussianMixture):
    """A density that must not be trained."""

    def fit(self, X, y=None):
        raise AssertionError("the last step was trained")


def double(X):
    return np.c_[X, X]


def half(X):
    return X[:, : X.shape[1] // 2]


def absolute(X):
    return np.abs(X - 0.3)


def shifted(X):
    return X + 0.01


LOSSY = {
    "fewer components": (PCA(1), "keeps 1 of 2 components"),
    "clusters": (KBinsDiscretizer(5, encode="ordinal", strategy="uniform"),
                 r"does not lead back to \d+ of 300 training rows"),
    "no inverse": (FunctionTransformer(np.log), "it has no inverse_func"),
    "another inverse": (FunctionTransformer(np.log, np.expm1), "does not lead back to 300 of 300"),
    "an inverse of my own that is off": (FunctionTransformer(mix, shifted), "does not lead back"),
    "an inverse of half of the rows": (
        FunctionTransformer(absolute, shifted), "does not lead back to"),
    "rounding": (FunctionTransformer(np.round, np.positive), "leave out steps that round"),
    "another width": (FunctionTransformer(double, half), "it turns 2 columns into 4"),
    "dropped columns": (columns(("a", RobustScaler(), [1])), r"it drops columns \[0\]"),
    "dropped by name": (
        columns(("a", RobustScaler(), [1]), ("b", "drop", [0])), r"it drops columns \[0\]"),
    "doubled columns": (columns(("a", RobustScaler(), [0, 1]), ("b", StandardScaler(), [1])),
                        "go to more than one of its transformers"),
    "one-hot": (OneHotEncoder(sparse_output=False), "writes numbers for categories"),
    "no inverse_transform": (FeatureUnion([("a", StandardScaler())]), "it has no inverse_transf"),
    "nested": (make_pipeline(StandardScaler(), PCA(1)), "keeps 1 of 2 components"),
    "in columns": (columns(("a", PCA(1), [0, 1])), "keeps 1 of 2 components"),
    "frozen": (FrozenEstimator(PCA(1).fit(X)), "keeps 1 of 2 components"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("transformer", "message"), LOSSY.values(), ids=LOSSY)
def test_lost_information_is_refused_before_the_last_step_is_trained(transformer, message):
    pipeline = DensityPipeline([("lossy", clone(transformer)), ("density", Spy())])
    with pytest.raises(ValueError, match=message) as error:
        pipeline.fit(X)
    assert "DensityPipeline" in str(error.value)
    with pytest.raises(NotFittedError):
        pipeline.score_samples(X)


@pytest.mark.parametrize("function", [np.square, np.abs], ids=lambda f: f.__name__)
def test_functions_that_fold_the_line_are_refused_on_rows_of_both_signs(function):
    back = np.sqrt if function is np.square else np.positive
    pipeline = make_density_pipeline(FunctionTransformer(function, back), Spy())
    with pytest.raises(ValueError, match="does not lead back"):
        pipeline.fit(X - 0.4)


@pytest.mark.parametrize("transformer", [QuantileTransformer(n_quantiles=9), *CLIPPING])
def test_constant_columns_have_no_quantiles_and_no_clipped_range(transformer):
    rows = np.c_[X[:, 0], np.zeros(len(X))]
    with pytest.raises(ValueError, match="column 1 is constant"):
        make_density_pipeline(transformer, Spy()).fit(rows)


def test_components_without_variance_are_not_whitened_but_turned():
    rows = np.c_[X, X.sum(axis=1)]
    with pytest.raises(ValueError, match="no variance to divide by"):
        make_density_pipeline(PCA(whiten=True), Spy()).fit(rows)
    flat = np.c_[X, np.zeros(len(X))]
    pipeline = make_density_pipeline(PCA(), KernelDensity(bandwidth=0.1)).fit(flat)
    twin = KernelDensity(bandwidth=0.1).fit(flat)
    np.testing.assert_allclose(pipeline.score_samples(flat), twin.score_samples(flat), rtol=1e-9)


def test_a_hundredth_of_the_rows_may_fail_to_return_and_no_more():
    def rounded_above(X):
        return np.minimum(X, cut)

    ordered = np.sort(X[:, 0])
    for lost, refused in ((2, False), (5, True)):
        cut = ordered[-lost - 1]
        pipeline = make_density_pipeline(
            FunctionTransformer(rounded_above, np.positive), GaussianMixture()
        )
        if refused:
            with pytest.raises(ValueError, match="back to 5 of 300 training rows"):
                pipeline.fit(X[:, :1])
        else:
            pipeline.fit(X[:, :1])


def turn(X):
    return X + X[:, ::-1] * np.linspace(0, 0.5, X.shape[1])


def turn_back(Y):
    mixing = np.eye(Y.shape[1]) + np.eye(Y.shape[1])[::-1] * np.linspace(0, 0.5, Y.shape[1])
    return Y @ np.linalg.inv(mixing)


def test_too_many_columns_for_differences_are_refused_by_name():
    rows = RNG.normal(size=(50, 21))
    turned = FunctionTransformer(turn, turn_back)
    with pytest.raises(ValueError, match="no formula for the Jacobian of FunctionTransformer"):
        make_density_pipeline(turned, Spy()).fit(rows)
    make_density_pipeline(turned, KernelDensity()).fit(rows[:, :20])
    make_density_pipeline(FunctionTransformer(micro, mega), KernelDensity()).fit(rows)


# -- a formula of one's own, unknown ones, flows ------------------------------------------------


def test_a_formula_is_registered_for_a_class_of_ones_own():
    class Half(Foreign):
        """Half of the columns, in the reverse order."""

        def transform(self, X):
            return np.asarray(X)[:, ::-1] / 2

        def inverse_transform(self, Y):
            return 2 * np.asarray(Y)[:, ::-1]

    rows = RNG.normal(size=(60, 25))
    with pytest.raises(ValueError, match="skscore.compose.change_of_variables"):
        make_density_pipeline(Half(), GaussianMixture()).fit(rows)
    change_of_variables.register(Half, lambda t, X: Linear(t, X, np.eye(X.shape[1])[::-1] / 2))
    pipeline = make_density_pipeline(Half(), GaussianMixture(reg_covar=0)).fit(rows)
    twin = GaussianMixture(reg_covar=0).fit(rows)
    np.testing.assert_allclose(pipeline.score_samples(rows), twin.score_samples(rows), rtol=1e-6)
    np.testing.assert_allclose(change_of_variables(Half(), rows).log_det(rows), -25 * np.log(2))


def test_transformers_of_other_classes_are_taken_by_differences():
    ica = FastICA(random_state=0, whiten="unit-variance").fit(X)
    change = change_of_variables(ica, X)
    assert isinstance(change, Numerical)
    np.testing.assert_allclose(
        change.log_det(ROWS), np.linalg.slogdet(ica.components_)[1], rtol=1e-8
    )


def test_columns_are_found_by_name_whatever_their_order():
    frame = pd.DataFrame(X, columns=["a", "b"])
    by_name = columns(("one", PowerTransformer(), ["b"]), ("two", RobustScaler(), ["a"]))
    by_number = columns(("one", PowerTransformer(), [1]), ("two", RobustScaler(), [0]))
    named = make_density_pipeline(by_name, GaussianMixture(random_state=0)).fit(frame)
    plain = make_density_pipeline(by_number, GaussianMixture(random_state=0)).fit(X)
    np.testing.assert_array_equal(named.score_samples(frame), plain.score_samples(X))
    np.testing.assert_array_equal(named.score_function(frame), plain.score_function(X))
    np.testing.assert_array_equal(named.sample(9, random_state=1), plain.sample(9, random_state=1))
    shapes = columns(("x", StandardScaler(), ["b", "a"]))
    swapped = make_density_pipeline(shapes, KernelDensity()).fit(frame)
    twin = make_density_pipeline(StandardScaler(), KernelDensity()).fit(X)
    np.testing.assert_allclose(swapped.score_samples(frame), twin.score_samples(X), rtol=1e-12)
    np.testing.assert_allclose(swapped.score_function(frame), twin.score_function(X), rtol=1e-9)


@pytest.fixture(scope="module")
def flow():
    est = DiffusionScoreEstimator(hidden_layer_sizes=(16, 16), max_iter=2, random_state=0)
    return FlowTransformer(est).fit(X)


def test_behind_a_flow_there_are_densities_and_samples_but_no_scores(flow):
    steps = [("scale", StandardScaler()), ("flow", clone(flow)), ("density", GaussianMixture())]
    pipeline = DensityPipeline(steps).fit(X)
    assert hasattr(pipeline, "score_samples")
    assert not hasattr(pipeline, "score_function")
    assert not hasattr(pipeline, "score_divergence")
    assert pipeline.score(X) == pytest.approx(pipeline.score_samples(X).mean())
    assert pipeline.sample(5, random_state=0).shape == (5, 2)
    change = pipeline._change
    assert not change.smooth
    y = change.transform(ROWS)
    for refused in (
        lambda: change.pull_score(ROWS, y),
        lambda: change.push_metric(ROWS, M),
        lambda: change.curvature(ROWS, y, M),
    ):
        with pytest.raises(ValueError, match="Behind FlowTransformer"):
            refused()


def test_the_jacobian_of_a_flow_is_that_of_its_map(flow):
    change = change_of_variables(flow, X)
    J = differences(flow.transform, ROWS, h=2e-3)
    np.testing.assert_allclose(change.log_det(ROWS), np.linalg.slogdet(J)[1], atol=5e-3)


def test_a_standard_normal_behind_a_flow_is_the_density_of_its_estimator(flow):
    normal = GaussianMixture().fit(RNG.normal(size=(10, 2)))
    normal.means_, normal.covariances_ = np.zeros((1, 2)), np.eye(2)[None]
    normal.precisions_cholesky_ = np.eye(2)[None]
    pipeline = make_density_pipeline(FrozenEstimator(flow), FrozenEstimator(normal)).fit(X)
    expected = flow.estimator_.score_samples(ROWS)
    np.testing.assert_allclose(pipeline.score_samples(ROWS), expected, atol=1e-9)


def test_ties_of_quantiles_are_warned_of_once_and_by_column():
    tied = X.copy()
    tied[:150, 1] = 0.5
    pipeline = make_density_pipeline(QuantileTransformer(n_quantiles=20), GaussianMixture())
    with pytest.warns(TiesWarning, match="repeated values in these columns: 1") as record:
        pipeline.fit(tied)
    assert len([w for w in record if "QuantileTransformer met" in str(w.message)]) == 1


def test_rows_beyond_the_quantiles_have_no_density():
    pipeline = make_density_pipeline(QuantileTransformer(n_quantiles=20), KernelDensity()).fit(X)
    with pytest.warns(SupportWarning):
        assert np.isneginf(pipeline.score_samples([[2.0, 0.5]]))[0]
