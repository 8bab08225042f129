"""The standardiser: its change of variables, floors, shrinkage, ties and warnings."""

import warnings

import numpy as np
import pytest

from skscore._changes.curves import Line
from skscore._changes.moments import _SHRINKAGES, _shrinkage
from skscore._changes.standardizer import Standardizer
from skscore._changes.ties import column_ties
from skscore.datasets import make_correlated_gaussian, make_gaussian
from skscore.exceptions import DegenerateColumnsWarning, TiesWarning

FORMS = ["whiten", "scale", None]
LAW = make_gaussian([10.0, -3.0, 0.0], [[4.0, 3.0, 0.0], [3.0, 9.0, 1.0], [0.0, 1.0, 0.25]])
X = LAW.sample(1000, 0)


class Lines:
    """The score ``J y``."""

    def __init__(self, J):
        self.J = J

    def score(self, rows):
        return rows @ self.J.T

    def jacobian(self, rows):
        return np.broadcast_to(self.J, (len(rows), *self.J.shape))

    def score_and_divergence(self, rows, v):
        return self.score(rows), np.full(len(rows), np.einsum("ki,ij,kj", v, self.J, v))


SKEWED = np.random.RandomState(3).lognormal(size=(800, 2)) @ [[1.0, 0.4], [0.0, 1.0]]


@pytest.mark.parametrize("form", FORMS)
def test_inverse_transform_is_the_inverse(form):
    z = Standardizer.fit(X, form=form)
    np.testing.assert_allclose(z.inverse_transform(z.transform(X)), X, atol=1e-12)


def test_whitened_rows_have_mean_zero_and_nearly_unit_covariance():
    Z = Standardizer.fit(X).transform(X)
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(Z.T, bias=True), np.eye(3), atol=0.02)


def test_scaled_rows_have_unit_variance_and_none_keeps_the_units():
    np.testing.assert_allclose(Standardizer.fit(X, form="scale").transform(X).std(0), 1)
    Z = Standardizer.fit(X, form=None).transform(X)
    np.testing.assert_allclose(Z, X - X.mean(0), atol=1e-12)


def test_whitening_keeps_columns_recognisable():
    Z = Standardizer.fit(X).transform(X)
    correlations = np.corrcoef(X.T, Z.T)[:3, 3:]
    assert (np.abs(correlations).argmax(1) == np.arange(3)).all()
    assert correlations.diagonal().min() > 0.85


@pytest.mark.parametrize("form", FORMS)
def test_input_score_is_the_transposed_jacobian_times_the_score(form):
    """For N(m, S) of standardised rows with score -Z the input score is -(W'W)(x - m)."""
    z = Standardizer.fit(X, form=form)
    W = z.whitening.matrix / z.whitening.scale
    expected = -(X - z.mean) @ (W.T @ W)
    np.testing.assert_allclose(z.pull_score(X, -z.transform(X)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metric", [None, np.diag([1.0, 2.0, 3.0]), np.cov(X.T)])
def test_directions_turn_a_standardised_divergence_into_that_of_the_input(form, metric):
    z = Standardizer.fit(X, form=form)
    W = z.whitening.matrix / z.whitening.scale
    J = np.random.RandomState(0).standard_normal((3, 3))
    M = np.eye(3) if metric is None else metric
    _, traces = z.at(X[:2]).in_metric(metric).measure(Lines(J), z.transform(X[:2]))
    np.testing.assert_allclose(traces, np.trace(M @ W.T @ J @ W))


def test_covariance_is_that_of_the_whitened_coordinates():
    z = Standardizer.fit(X)
    W = z.whitening.matrix / z.whitening.scale
    np.testing.assert_allclose(W @ z.covariance @ W.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(z.covariance, np.cov(X.T, bias=True), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_location_and_covariance_are_the_same_for_every_form(form):
    z, reference = Standardizer.fit(X, form=form), Standardizer.fit(X)
    np.testing.assert_array_equal(z.mean, reference.mean)
    np.testing.assert_array_equal(z.covariance, reference.covariance)


def test_weights_equal_repetition_in_all_moments():
    w = np.random.RandomState(0).randint(1, 4, size=len(X)).astype(float)
    weighted = Standardizer.fit(X, w)
    repeated = np.repeat(X, w.astype(int), axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TiesWarning)
        twin = Standardizer.fit(repeated)
    np.testing.assert_allclose(weighted.mean, twin.mean)
    np.testing.assert_allclose(weighted.covariance, twin.covariance, rtol=1e-3, atol=1e-3)


def test_chunks_do_not_change_the_moments(monkeypatch):
    whole = Standardizer.fit(X)
    monkeypatch.setattr("skscore._changes.moments._CHUNK", 7)
    np.testing.assert_allclose(Standardizer.fit(X).covariance, whole.covariance, rtol=1e-10)


@pytest.mark.parametrize(
    ("a", "b"), [(1e-6, 0.0), (1e12, 0.0), (1.0, 1e6), (1e-150, 0.0), (1e120, 0.0)]
)
def test_units_and_offsets_leave_standardised_rows_alone(a, b):
    Z, moved = Standardizer.fit(X), Standardizer.fit(a * X + b)
    np.testing.assert_allclose(moved.transform(a * X + b), Z.transform(X), atol=1e-7)


def test_float32_rows_are_measured_in_float64():
    far = (X + 1000).astype(np.float32)
    np.testing.assert_allclose(
        Standardizer.fit(far).covariance, Standardizer.fit(far.astype(float)).covariance, rtol=1e-9
    )


def test_values_beyond_the_range_of_variances_are_refused():
    with pytest.raises(ValueError, match=r"columns of X are too large or too small: 'b', 'c'\."):
        Standardizer.fit(X * [1.0, 1e200, 1e-200], names=["'a'", "'b'", "'c'"])
    with pytest.raises(ValueError, match="column 0 of X span more than 1e308"):
        Standardizer.fit(np.array([[-1.7e308, 0.0], [1.7e308, 1.0]]))


# -- shrinkage --------------------------------------------------------------------------------


def test_a_long_table_is_hardly_shrunk_however_correlated():
    law = make_correlated_gaussian(2, correlation=0.9999)
    rows = law.sample(2000, 0)
    Z = Standardizer.fit(rows).transform(rows)
    np.testing.assert_allclose(np.cov(Z.T), np.eye(2), atol=0.02)


def test_a_short_table_is_shrunk_to_a_better_covariance_than_the_plain_one():
    """Kullback-Leibler divergence of the Gaussian fit: shrinkage must help below n = 2d."""
    d, n = 20, 30
    truth = np.array(0.5 ** np.abs(np.subtract.outer(np.arange(d), np.arange(d))))
    rows = make_gaussian(np.zeros(d), truth).sample(n, 0)

    def divergence(S):
        ratio = np.linalg.solve(S, truth)
        return 0.5 * (np.trace(ratio) - d - np.linalg.slogdet(ratio)[1])

    plain = np.cov(rows.T, bias=True)
    assert divergence(Standardizer.fit(rows).covariance) < 0.3 * divergence(plain)


def test_leave_one_out_deviance_is_that_of_refitting_without_the_row():
    """The slow twin: every row left out in turn, mean and covariance measured anew."""
    rows = make_gaussian(np.zeros(4), 0.6 * np.eye(4) + 0.4).sample(12, 0)
    Z = (rows - rows.mean(0)) / rows.std(0)
    values, vectors = np.linalg.eigh(np.cov(Z.T, bias=True))

    def slow(a):
        total = 0.0
        for i in range(len(Z)):
            others = np.delete(Z, i, axis=0)
            S = (1 - a) * np.cov(others.T, bias=True) + a * np.eye(4)
            r = Z[i] - others.mean(0)
            total += np.linalg.slogdet(S)[1] + r @ np.linalg.solve(S, r)
        return total

    # S above divides by n - 1 as G of the fast form does, so the two agree exactly.
    fast = _shrinkage((Z @ vectors) ** 2, np.ones(12), values, 12)
    assert fast == min(_SHRINKAGES, key=slow)


def test_fewer_rows_than_columns_fit_without_a_warning():
    rows = np.random.RandomState(0).standard_normal((10, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = Standardizer.fit(rows)
    assert np.linalg.cond(z.covariance) < 1e6


# -- null directions --------------------------------------------------------------------------


def test_constant_columns_get_a_floor_and_one_warning_that_names_them():
    rows = np.c_[X[:, 0], np.full(len(X), 5.0), X[:, 1], np.zeros(len(X))]
    with pytest.warns(DegenerateColumnsWarning, match=r"are constant: 'b', 'd'\.") as record:
        z = Standardizer.fit(rows, names=["'a'", "'b'", "'c'", "'d'"])
    assert len(record) == 1
    assert z.mean[[1, 3]].tolist() == [5.0, 0.0]
    assert 0 < z.covariance[1, 1] < 1e-15
    assert 0 < z.covariance[3, 3] < 1e-15


@pytest.mark.parametrize(
    ("offset", "width", "dtype"),
    [
        (2460000.5, 2e-3, float),
        (9192631770.0, 1.0, float),
        (1e10, 1e-4, float),
        (1.0, 1e-10, float),
        (1e4, 0.5, np.float32),
    ],
)
def test_narrow_columns_far_from_zero_keep_their_variance(offset, width, dtype):
    """A range of 1e-9 of the magnitude was called constant: Julian dates over three minutes."""
    rows = (offset + width * np.random.RandomState(0).uniform(size=(500, 1))).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DegenerateColumnsWarning)
        warnings.simplefilter("ignore", TiesWarning)
        z = Standardizer.fit(rows)
    exact = rows.astype(float) - offset
    np.testing.assert_allclose(z.covariance, exact.var(), rtol=1e-4)
    Z = z.transform(rows)  # the location is a float, too
    np.testing.assert_allclose(Z[:, 0], (exact - exact.mean())[:, 0] / exact.std(), atol=0.04)
    np.testing.assert_allclose(z.inverse_transform(Z), rows, rtol=1e-15)


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_columns_that_vary_by_rounding_alone_are_constant(dtype):
    steps = np.random.RandomState(0).randint(-3, 4, size=len(X))
    noise = np.asarray(7.3, dtype=dtype) + steps * np.spacing(np.asarray(7.3, dtype=dtype))
    with pytest.warns(DegenerateColumnsWarning, match=r"are constant: 1\."):
        Standardizer.fit(np.c_[X[:, 0], noise].astype(dtype))


def test_collinear_columns_get_a_floor_and_one_warning_that_names_rank_and_columns():
    rows = np.c_[X, X[:, 0] - 2 * X[:, 1], np.random.RandomState(0).standard_normal(len(X))]
    pattern = r"rank is 4, for 5 columns that vary; involved are: 0, 1, 3\."
    with pytest.warns(DegenerateColumnsWarning, match=pattern) as record:
        z = Standardizer.fit(rows)
    assert len(record) == 1
    values = np.linalg.eigvalsh(z.covariance)
    assert 0 < values[0] < 1e-8 * values[-1]


def test_training_noise_fills_null_directions_to_unit_variance():
    rows = np.c_[X, X[:, 0] - 2 * X[:, 1], np.full(len(X), 7.0)]
    with pytest.warns(DegenerateColumnsWarning):
        z = Standardizer.fit(rows)
    Z = z.jitter(z.transform(rows), np.random.RandomState(0))
    np.testing.assert_allclose(np.cov(Z.T), np.eye(5), atol=0.12)
    back = z.inverse_transform(Z)
    np.testing.assert_allclose(back[:, 3], back[:, 0] - 2 * back[:, 1], atol=1e-3)
    np.testing.assert_allclose(back[:, 4], 7.0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_spread_is_in_deviations_of_each_coordinate(form):
    z = Standardizer.fit(X, form=form)
    spread = z.spread(0.03)
    np.testing.assert_allclose(spread, np.diag(0.03 * z.transform(X).std(0)), rtol=0.02, atol=1e-9)


# -- ties -------------------------------------------------------------------------------------


def test_tied_columns_are_named_in_a_warning():
    rows = np.c_[X[:, 0], X[:, 1].round(1)]
    with pytest.warns(TiesWarning, match=r"More than 5% .* these columns: 'grade'\.") as record:
        Standardizer.fit(rows, names=["'x'", "'grade'"])
    assert len(record) == 1


def test_continuous_columns_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Standardizer.fit(X)


def test_gaps_are_the_median_distance_of_distinct_values():
    rows = np.c_[X[:, 0], X[:, 1].round(1)]
    gaps = column_ties(rows).gaps
    assert gaps[0] == 0
    assert gaps[1] == pytest.approx(0.1)


def test_repeats_of_whole_rows_are_ties():
    """Repeats used to be merged before ties were counted: one column had none."""
    x = np.random.default_rng(0).normal(size=(3000, 1)).round()
    for rows in (x, np.c_[x, 2 * x], np.c_[x, x**2, np.sign(x)]):
        assert (column_ties(rows).gaps > 0).all()
        assert column_ties(rows).lattice.all()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_an_atom_is_a_tie_by_repeats_and_by_weight_and_no_lattice(share):
    x = np.random.default_rng(0).lognormal(size=(1000, 1))
    heavy = int(1000 * share / (1 - share)) + 60
    repeated = column_ties(np.r_[np.zeros((heavy, 1)), x])
    weighted = column_ties(np.r_[np.zeros((1, 1)), x], np.r_[float(heavy), np.ones(1000)])
    for ties in (repeated, weighted):
        assert ties.gaps[0] > 0
        assert not ties.lattice[0]


def test_ordinary_weights_make_no_ties():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    for weights in (rng.uniform(0.5, 1.5, 500), rng.integers(1, 4, 500), rng.lognormal(size=500)):
        assert not column_ties(x, weights * 1e160).gaps.any()


def test_a_frequency_table_has_the_ties_of_its_rows():
    x = np.random.default_rng(0).normal(size=(3000, 1)).round()
    values, counts = np.unique(x, axis=0, return_counts=True)
    np.testing.assert_array_equal(column_ties(values, counts).gaps, column_ties(x).gaps)


def test_an_atom_does_not_shrink_the_correlations():
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=1000)
    weights = np.r_[1000.0, np.ones(1000)]
    rows = np.r_[np.zeros((1, 2)), rows]
    z = Standardizer.fit(rows, weights, warn=False)
    correlation = z.covariance[0, 1] / np.sqrt(z.covariance[0, 0] * z.covariance[1, 1])
    assert correlation == pytest.approx(np.corrcoef(rows.T)[0, 1], abs=2e-3)


def test_dequantising_adds_the_variance_of_one_gap_and_no_warning():
    rows = np.c_[X[:, 0], X[:, 1].round()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = Standardizer.fit(rows, dequantize=True)
    noisy = z.inverse_transform(z.jitter(z.transform(rows), np.random.RandomState(0)))
    np.testing.assert_allclose(noisy[:, 0], rows[:, 0], atol=1e-9)
    shift = noisy[:, 1] - rows[:, 1]
    assert np.abs(shift).max() <= 0.5 + 1e-9
    assert shift.var() == pytest.approx(1 / 12, rel=0.1)
    assert z.covariance[1, 1] == pytest.approx(rows[:, 1].var() + 1 / 12, rel=1e-3)


def test_the_normal_form_has_an_inverse_and_standard_columns():
    z = Standardizer.fit(SKEWED, form="normal")
    assert z.curved.all()
    Z = z.transform(SKEWED)
    np.testing.assert_allclose(np.cov(Z.T, bias=True), np.eye(2), atol=0.05)
    np.testing.assert_allclose(z.inverse_transform(Z), SKEWED, rtol=1e-9)


def test_mean_and_covariance_of_the_normal_form_are_those_of_the_rows():
    z, plain = Standardizer.fit(SKEWED, form="normal"), Standardizer.fit(SKEWED)
    np.testing.assert_array_equal(z.mean, plain.mean)
    np.testing.assert_array_equal(z.covariance, plain.covariance)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_long_table_is_measured_on_rows_at_random(weighted, monkeypatch):
    """Every k-th row was taken: one of two populations that alternate stood for both."""
    monkeypatch.setattr("skscore._changes.standardizer._MARGIN_ROWS", 1000)
    monkeypatch.setattr("skscore._changes.moments._SHRINKAGE_ROWS", 1000)
    rng = np.random.RandomState(0)
    rows = np.exp(rng.normal(size=(4000, 2)) + np.where(np.arange(4000) % 2, 2.0, 0.0)[:, None])
    weights = rng.uniform(0.5, 2.0, size=4000) if weighted else None
    Z = Standardizer.fit(rows, weights, form="normal").transform(rows)
    np.testing.assert_allclose(np.average(Z, axis=0, weights=weights), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(Z.T, aweights=weights), np.eye(2), atol=0.12)


@pytest.mark.parametrize("form", [*FORMS, "normal"])
def test_log_volume_is_that_of_the_jacobian(form):
    z, row, h = Standardizer.fit(SKEWED, form=form), SKEWED[:1], 1e-5
    jacobian = (z.transform(row + h * np.eye(2)) - z.transform(row - h * np.eye(2))) / (2 * h)
    np.testing.assert_allclose(z.log_det(row), np.linalg.slogdet(jacobian)[1], atol=1e-6)


@pytest.mark.parametrize("form", [*FORMS, "normal"])
def test_the_chain_is_the_formula_of_whitened_curves(form):
    """The slow twin: all Jacobians in full, row by row."""
    z, rows, rng = Standardizer.fit(SKEWED, form=form), SKEWED[:20], np.random.RandomState(0)
    scores, jacobians = rng.normal(size=(20, 2)), rng.normal(size=(20, 2, 2))
    metrics = np.stack([(B := rng.normal(size=(2, 2))) @ B.T for _ in rows])
    W, location = z.whitening.matrix / z.whitening.scale, z.whitening.location
    curves = z.margins[0].curves if z.margins else [Line(0.0, 1.0)] * 2
    here = z.at(rows)
    pulled = here.pull_score(scores)
    pushed, bends = here.push_metric(metrics), here.curvature(scores, metrics)
    for i, row in enumerate(rows):
        columns = [curve.at(row[[j]]) for j, curve in enumerate(curves)]
        u, a, r, c = (
            np.array([value[0] for value in values])
            for values in zip(
                *((k.u, np.exp(k.log_slope), k.curvature, k.curvature_slope) for k in columns),
                strict=True,
            )
        )
        np.testing.assert_allclose(here.image[i], W @ (u - location), rtol=1e-9, atol=1e-12)
        g = scores[i] @ W
        np.testing.assert_allclose(pulled[i], a * g + r, rtol=1e-9)
        J = np.diag(a) @ W.T @ jacobians[i] @ W @ np.diag(a) + np.diag(a * r * g + c)
        found = np.trace(pushed[i] @ jacobians[i]) + bends[i]
        np.testing.assert_allclose(found, np.trace(metrics[i] @ J), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(
            z.log_det(rows)[i], np.log(a).sum() + np.linalg.slogdet(W)[1], rtol=1e-9
        )


def test_margins_stay_linear_for_tied_columns_and_null_directions():
    tied = np.column_stack([SKEWED, np.round(SKEWED[:, 0])])
    z = Standardizer.fit(tied, form="normal", dequantize=True)
    assert z.curved.tolist() == [True, True, False]
    assert len(z.uniform) == 1
    constant = np.column_stack([SKEWED, np.ones(800)])
    for rows in (constant, X):
        z = Standardizer.fit(rows, form="normal", warn=False)
        assert not z.curved.any()
        assert z.form == "whiten"
