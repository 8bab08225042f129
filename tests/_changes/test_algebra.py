"""Changes of variables: each form against differences, alone, in turn and side by side."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skscore._changes.algebra import Blocks, Chain, Change, Columnwise, Linear
from skscore._changes.margins import Margins
from skscore._changes.standardizer import Standardizer
from skscore.compose._numerical import (
    Numerical,
    NumericalColumnwise,
    by_differences,
    differentiated,
    spreads,
)

RNG = np.random.RandomState(0)
X = RNG.uniform(0.2, 2.0, size=(40, 3))
ROWS = X[:3]
M = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 0.7]])
METRICS = np.stack([M * (1 + i) + i * np.eye(3) for i in range(len(ROWS))])


class Map(BaseEstimator):
    """What a change asks of a transformer: two functions."""

    def __init__(self, there, back):
        self.there, self.back = there, back

    def transform(self, X):
        return self.there(X)

    def inverse_transform(self, X):
        return self.back(X)


A = np.array([[1.0, 0.5, 0.0], [-0.3, 2.0, 0.4], [0.2, 0.1, -1.5]])
B = np.array([0.3, -0.2, 1.0])


def linear():
    return Linear(Map(lambda x: x @ A + B, lambda y: (y - B) @ np.linalg.inv(A)), X, A)


class Sinh(Columnwise):
    def slopes(self, X):
        return np.cosh(X), np.tanh(X), 1 / np.cosh(X) ** 2


def sinh():
    return Sinh(Map(np.sinh, np.arcsinh), X)


class Falling(Columnwise):
    """Minus the logarithm: a decreasing map."""

    def slopes(self, X):
        return -1 / X, -1 / X, 1 / X**2


def falling():
    return Falling(Map(lambda x: -np.log(x), lambda y: np.exp(-y)), X, domain=(0.0, np.inf))


def _mixed(x):
    """x_0, then each column shifted by what is left of it: Jacobian triangular, not diagonal."""
    out = np.array(x, dtype=float)
    out[:, 1:] = x[:, 1:] * np.exp(0.3 * np.sin(x[:, :-1])) + x[:, :-1] ** 2
    return out


def _unmixed(y):
    out = np.array(y, dtype=float)
    for j in range(1, out.shape[1]):
        out[:, j] = (y[:, j] - out[:, j - 1] ** 2) * np.exp(-0.3 * np.sin(out[:, j - 1]))
    return out


def numerical():
    return Numerical(Map(_mixed, _unmixed), X)


def blocks():
    rest = Numerical(Map(_mixed, _unmixed), X[:, [2, 0]])
    parts = [(rest, np.array([2, 0]), np.array([0, 1])), (falling1(), np.array([1]), np.array([2]))]
    return Blocks(parts)


def falling1():
    return Falling(Map(lambda x: -np.log(x), lambda y: np.exp(-y)), X[:, :1], domain=(0.0, np.inf))


# Wide enough for differences: columns of lognormal and two-sided laws, and their standardisers.
TABLE = np.random.RandomState(2).lognormal(size=(500, 3)) @ [[1, 0.3, 0], [0, 1, -0.4], [0, 0, 1]]


FORMS = {
    "margins": lambda: Margins.fit(TABLE),
    "whitened": lambda: Standardizer.fit(TABLE),
    "scaled": lambda: Standardizer.fit(TABLE, form="scale"),
    "standardised curves": lambda: Standardizer.fit(TABLE, form="normal"),
    "linear": linear,
    "columnwise": sinh,
    "decreasing": falling,
    "numerical": numerical,
    "blocks": blocks,
    "empty chain": lambda: Chain([]),
    "chain": lambda: Chain([sinh(), linear(), numerical()]),
    "chain of blocks": lambda: Chain([blocks(), linear()]),
    "blocks of chains": lambda: Blocks(
        [(Chain([falling1(), falling_back()]), np.array([2]), np.array([0])),
         (Numerical(Map(_mixed, _unmixed), X[:, :2]), np.array([0, 1]), np.array([1, 2]))]
    ),
    "blocks of lines": lambda: Blocks(
        [(Linear(Map(lambda x: 3 * x, lambda y: y / 3), X[:, :1], np.diag([3.0])),
          np.array([2]), np.array([0])), (Chain([]), np.array([0, 1]), np.array([1, 2]))]
    ),
}  # fmt: skip


def falling_back():
    return Sinh(Map(np.sinh, np.arcsinh), X[:, :1])


forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def jacobians(fn, x, h=2e-4):
    """The slow twin: central differences of order four, (n, m, d)."""
    steps = h * np.eye(x.shape[1])
    ends = [fn(x - 2 * e) - 8 * fn(x - e) + 8 * fn(x + e) - fn(x + 2 * e) for e in steps]
    return np.stack(ends, axis=-1) / (12 * h)


# A law of y, with a score that is not linear: log q = -|y|^4 / 40 - y'Cy / 2
C = np.array([[1.0, 0.2, 0.0], [0.2, 0.8, -0.1], [0.0, -0.1, 1.5]])


def log_q(y):
    return -(np.square(y).sum(1) ** 2) / 40 - 0.5 * np.einsum("ni,ij,nj->n", y, C, y)


def score_q(y):
    return -np.square(y).sum(1, keepdims=True) * y / 10 - y @ C


def hessian_q(y):
    square = np.square(y).sum(1)[:, None, None]
    return -(square * np.eye(3) + 2 * y[:, :, None] * y[:, None, :]) / 10 - C


@forms
def test_inverse_transform_is_the_inverse(form):
    change = form()
    np.testing.assert_allclose(change.inverse_transform(change.transform(X)), X, atol=1e-12)


@forms
def test_log_det_is_that_of_the_jacobian_by_differences(form):
    change = form()
    expected = np.linalg.slogdet(jacobians(change.transform, ROWS))[1]
    np.testing.assert_allclose(change.log_det(ROWS), expected, atol=1e-8)


@forms
def test_a_pulled_score_is_the_gradient_of_the_carried_log_density(form):
    change = form()

    def log_p(x):
        return (log_q(change.transform(x)) + change.log_det(x))[:, None]

    pulled = change.pull_score(ROWS, score_q(change.transform(ROWS)))
    np.testing.assert_allclose(pulled, jacobians(log_p, ROWS)[:, 0], rtol=5e-6, atol=5e-6)


@forms
@pytest.mark.parametrize("metric", [M, METRICS], ids=["one", "each"])
def test_vectors_and_metrics_are_pushed_by_the_jacobian(form, metric):
    change, J = form(), jacobians(form().transform, ROWS)
    pushed = np.broadcast_to(change.push(ROWS, metric), J.shape)
    np.testing.assert_allclose(pushed, J @ metric, atol=1e-7)
    pushed = np.broadcast_to(change.push_metric(ROWS, metric), J.shape)
    np.testing.assert_allclose(pushed, J @ metric @ np.swapaxes(J, 1, 2), atol=1e-7)
    np.testing.assert_array_equal(pushed, np.swapaxes(pushed, 1, 2))


@forms
@pytest.mark.parametrize("metric", [M, METRICS], ids=["one", "each"])
def test_curvature_is_what_the_pushed_metric_leaves_of_the_divergence(form, metric):
    change = form()

    def score_p(x):
        return change.pull_score(x, score_q(change.transform(x)))

    y = change.transform(ROWS)
    pushed = change.push_metric(ROWS, metric)
    claimed = np.einsum("...ij,...ji->...", pushed, hessian_q(y))
    claimed = claimed + change.curvature(ROWS, score_q(y), metric)
    expected = np.einsum("...ij,...ji->...", metric, jacobians(score_p, ROWS, h=2e-3))
    np.testing.assert_allclose(claimed, expected, rtol=1e-4, atol=1e-4)


class Field:
    """The score of the law of y, as a field."""

    def score(self, y):
        return score_q(y)

    def jacobian(self, y):
        return hessian_q(y)

    def score_and_divergence(self, y, v):
        return score_q(y), np.einsum("ki,nij,kj->n", v, hessian_q(y), v)


@forms
@pytest.mark.parametrize("metric", [None, M, METRICS], ids=["identity", "one", "each"])
def test_a_field_is_measured_as_the_score_of_x_is(form, metric):
    change = form()
    here, M = change.at(ROWS), np.eye(3) if metric is None else metric
    np.testing.assert_allclose(here.image, change.transform(ROWS), rtol=1e-12)
    pulled = change.pull_score(ROWS, score_q(here.image))
    traces = np.einsum("...ij,...ji->...", change.push_metric(ROWS, M), hessian_q(here.image))
    traces = traces + change.curvature(ROWS, score_q(here.image), M)
    in_metric = here.in_metric(metric)
    scores, found = in_metric.measure(Field(), here.image)
    np.testing.assert_allclose(found, traces, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        np.square(in_metric.components(scores)).sum(1),
        np.einsum("ni,nij,nj->n", pulled, np.broadcast_to(M, (3, 3, 3)), pulled),
        rtol=1e-9,
    )


@forms
def test_a_row_does_not_depend_on_the_rows_beside_it(form):
    change = form()
    scores = score_q(change.transform(ROWS))
    for fn in (
        lambda i: change.log_det(ROWS[i]),
        lambda i: change.pull_score(ROWS[i], scores[i]),
        lambda i: change.curvature(ROWS[i], scores[i], M),
    ):
        alone = np.concatenate([fn([i]) for i in (1,)])
        np.testing.assert_allclose(fn([0, 1])[[1]], alone, rtol=1e-7, atol=1e-7)


@forms
def test_rows_that_are_given_are_left_as_they_are(form):
    change, rows = form(), ROWS.copy()
    rows.flags.writeable = False
    change.log_det(rows)
    change.pull_score(rows, np.ones_like(rows))
    change.push_metric(rows, M)
    change.curvature(rows, np.ones_like(rows), M)
    change.inverse_transform(change.transform(rows))
    np.testing.assert_array_equal(rows, ROWS)


def test_a_transformer_that_writes_to_its_rows_is_given_copies():
    change = Linear(
        FunctionTransformer(lambda x: np.multiply(x, 2, out=x), lambda y: np.divide(y, 2, out=y)),
        X.copy(),
        2 * np.eye(3),
    )
    rows = ROWS.copy()
    np.testing.assert_array_equal(change.transform(rows), 2 * ROWS)
    np.testing.assert_array_equal(change.inverse_transform(rows), ROWS / 2)
    np.testing.assert_array_equal(rows, ROWS)


def test_linear_changes_push_one_metric_to_one_metric():
    assert linear().push(ROWS, M).shape == (3, 3)
    assert Chain([linear(), linear()]).push_metric(ROWS, M).shape == (3, 3)
    assert Chain([]).push_metric(ROWS, M).shape == (3, 3)
    assert Standardizer.fit(TABLE).push_metric(ROWS, M).shape == (3, 3)
    assert Standardizer.fit(TABLE, form="normal").push_metric(ROWS, M).shape == (3, 3, 3)
    assert FORMS["blocks of lines"]().push_metric(ROWS, M).shape == (3, 3)
    assert Chain([linear(), sinh()]).push_metric(ROWS, M).shape == (3, 3, 3)


def test_the_jacobian_of_a_mixing_map_has_ten_digits():
    J = np.zeros((3, 3, 3))
    J[:, 0, 0] = 1
    for j in (1, 2):
        a, b = ROWS[:, j - 1], ROWS[:, j]
        J[:, j, j] = np.exp(0.3 * np.sin(a))
        J[:, j, j - 1] = 2 * a + 0.3 * np.cos(a) * b * np.exp(0.3 * np.sin(a))
    found = differentiated(_mixed, ROWS, spreads(X), np.ones(3))
    np.testing.assert_allclose(found, J, rtol=1e-10, atol=1e-10)


def test_columns_that_act_by_themselves_are_found_out():
    alone = Map(lambda x: np.sinh(x) + x, lambda y: y)
    assert isinstance(by_differences(alone, X), NumericalColumnwise)
    assert isinstance(by_differences(Map(_mixed, _unmixed), X), Numerical)
    late = Map(lambda x: np.c_[x[:, :2], x[:, 2:] + 1e-9 * x[:, :1]], lambda y: y)
    assert isinstance(by_differences(late, X), Numerical)


def test_columns_by_themselves_are_taken_by_differences_however_many():
    rows = RNG.normal(size=(60, 40))
    change = by_differences(Map(lambda x: np.sinh(x) + x, lambda y: y), rows)
    x, scores = rows[:5], RNG.normal(size=(5, 40))
    a = np.cosh(x) + 1
    r = np.sinh(x) / a
    c = np.cosh(x) / a - r**2
    np.testing.assert_allclose(change.log_det(x), np.log(a).sum(1), rtol=1e-9)
    np.testing.assert_allclose(change.pull_score(x, scores), a * scores + r, rtol=1e-7, atol=1e-7)
    found = change.curvature(x, scores, np.eye(40))
    np.testing.assert_allclose(found, (scores * a * r + c).sum(1), rtol=1e-4, atol=1e-4)


def test_the_curvature_of_a_singular_metric_is_known():
    change, v = numerical(), np.array([1.0, -2.0, 0.5])
    scores = np.ones_like(ROWS)
    found = change.curvature(ROWS, scores, np.outer(v, v))

    def potential(x):
        return change.transform(x).sum(1) + change.log_det(x)

    h = 1e-3
    ends = potential(ROWS + h * v) - 2 * potential(ROWS) + potential(ROWS - h * v)
    np.testing.assert_allclose(found, ends / h**2, rtol=1e-3, atol=1e-3)
    none = change.curvature(ROWS, scores, np.zeros((3, 3)))
    np.testing.assert_allclose(none, 0, atol=1e-9)


def test_the_curvature_of_a_mixing_map_is_that_of_its_formula():
    """Column j is b e^g(a) + a^2 with g(a) = 0.3 sin a, and log |det J| the sum of the g(a)."""
    expected, scores = np.zeros(3), RNG.normal(size=(3, 3))
    for j in (1, 2):
        a, b = ROWS[:, j - 1], ROWS[:, j]
        g, slope, bend = 0.3 * np.sin(a), 0.3 * np.cos(a), -0.3 * np.sin(a)
        twice = b * np.exp(g) * (slope**2 + bend) + 2
        crossed = np.exp(g) * slope
        expected += scores[:, j] * (M[j - 1, j - 1] * twice + 2 * M[j - 1, j] * crossed)
        expected += M[j - 1, j - 1] * bend
    found = numerical().curvature(ROWS, scores, M)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# -- domain and image -------------------------------------------------------------------------


def test_ends_are_in_an_open_domain_or_image_never_and_in_a_closed_domain_always():
    rows = np.array([[0.0], [0.5], [1.0], [1.5]])
    identity = Map(lambda x: x, lambda y: y)
    for closed, expected in ((False, [0, 1, 0, 0]), (True, [1, 1, 1, 0])):
        change = Sinh(identity, rows, domain=(0.0, 1.0), image=(0.0, 1.0), closed=closed)
        assert change.inside(rows).tolist() == expected
        assert change.reaches(rows).tolist() == [0, 1, 0, 0]
        assert not change.everywhere
        assert not change.onto


def test_a_row_is_inside_where_all_of_its_columns_are():
    change = Sinh(Map(np.sinh, np.arcsinh), X, domain=(np.array([0, 0, -np.inf]), np.inf))
    rows = np.array([[1.0, 1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    assert change.inside(rows).tolist() == [True, False, False]
    assert change.reaches(rows).all()
    assert change.onto
    assert not change.everywhere


def test_one_end_is_enough_for_a_map_not_to_be_everywhere():
    for ends in ((0.0, np.inf), (-np.inf, 0.0), (np.array([-np.inf, 0.0]), np.inf)):
        change = Sinh(Map(np.sinh, np.arcsinh), X, domain=ends, image=ends)
        assert not change.everywhere
        assert not change.onto
    assert sinh().everywhere
    assert sinh().onto


def _log(low=0.0):
    class Log(Columnwise):
        def slopes(self, X):
            return 1 / (X - low), -1 / (X - low), 1 / (X - low) ** 2

    back = Map(lambda x: np.log(x - low), lambda y: np.exp(y) + low)
    return Log(back, X + 5, domain=(low, np.inf))


def _exp():
    class Exp(Columnwise):
        def slopes(self, X):
            return np.exp(X), np.ones_like(X), np.zeros_like(X)

    return Exp(Map(np.exp, np.log), X, image=(0.0, np.inf))


def test_a_row_is_inside_a_chain_where_every_change_takes_what_it_is_given():
    rows = np.array([[-1.0] * 3, [0.5] * 3, [1.0] * 3, [3.0] * 3])
    twice = Chain([_log(), _log()])  # log log x: beyond one
    assert twice.inside(rows).tolist() == [False, False, False, True]
    assert twice.reaches(rows).all()
    assert twice.onto
    assert not twice.everywhere
    assert not twice.inside(rows[:1]).any()


def test_a_row_is_in_the_image_of_a_chain_where_every_way_back_is_open():
    rows = np.array([[-1.0] * 3, [0.5] * 3, [1.0] * 3, [3.0] * 3])
    twice = Chain([_exp(), _exp()])  # exp exp x: beyond one
    assert twice.reaches(rows).tolist() == [False, False, False, True]
    assert twice.inside(rows).all()
    assert twice.everywhere
    assert not twice.onto


def test_gates_after_open_changes_are_looked_at_behind_these():
    moved = Linear(Map(lambda x: x - 1, lambda y: y + 1), X, np.eye(3))
    rows = np.array([[0.5] * 3, [1.5] * 3])
    assert Chain([moved, _log(), moved]).inside(rows).tolist() == [False, True]
    assert Chain([moved, _exp(), moved]).reaches(rows - 1).tolist() == [True, True]
    assert Chain([moved, _exp(), moved]).reaches(rows - 2).tolist() == [False, True]


def test_blocks_ask_each_part_about_its_columns_on_either_side():
    one = np.array([[1.0]])
    parts = [
        (Sinh(Map(np.sinh, np.arcsinh), one, domain=(0.0, np.inf)), np.array([2]), np.array([0])),
        (Sinh(Map(np.sinh, np.arcsinh), one, image=(0.0, np.inf)), np.array([0]), np.array([1])),
        (Chain([]), np.array([1]), np.array([2])),
    ]
    change = Blocks(parts)
    signs = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * 1.0
    assert change.inside(signs).tolist() == [True, True, True, False]
    assert change.reaches(signs).tolist() == [True, True, False, True]
    assert not change.everywhere
    assert not change.onto
    assert change.smooth
    assert Blocks(parts[1:2]).everywhere
    assert Blocks(parts[:1]).onto


def test_scores_pass_a_composition_where_they_pass_all_of_its_parts():
    rough = sinh()
    rough.smooth = False
    assert not Chain([linear(), rough]).smooth
    assert not Blocks([(rough, np.arange(3), np.arange(3))]).smooth
    assert Chain([linear(), sinh()]).smooth


def test_a_map_by_differences_takes_the_rows_that_come_back():
    change = Numerical(Map(np.abs, lambda y: y), X)
    rows = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    assert change.inside(rows).tolist() == [True, False]
    assert change.reaches(rows).tolist() == [True, False]


def test_differences_are_taken_of_twenty_columns_and_no_more():
    rows = RNG.normal(size=(30, 21))
    Numerical(Map(lambda x: x, lambda y: y), rows[:, :20])
    with pytest.raises(ValueError, match="by differences for up to 20 columns only. Got 21"):
        Numerical(Map(lambda x: x, lambda y: y), rows)


def test_chunks_do_not_change_a_jacobian(monkeypatch):
    whole = numerical().log_det(X)
    monkeypatch.setattr("skscore.compose._numerical._CHUNK", 7)
    np.testing.assert_allclose(numerical().log_det(X), whole, rtol=1e-12)


def test_a_change_that_says_nothing_is_everywhere_and_onto():
    change = linear()
    assert change.inside(ROWS).tolist() == [True] * 3
    assert change.reaches(ROWS).tolist() == [True] * 3
    assert change.inside(ROWS).dtype == change.reaches(ROWS).dtype == bool


def test_the_contract_has_no_members_of_its_own():
    with pytest.raises(TypeError, match="abstract"):
        Change(StandardScaler().fit(X), X)
