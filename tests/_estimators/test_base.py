"""What the trained estimators share: bad input, units, weights, rounds, going on, state."""

import contextlib
import io
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone

from skscore import (
    DenoisingScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    SlicedScoreEstimator,
)
from skscore.datasets import make_gaussian, make_two_gaussians
from skscore.exceptions import (
    ConvergenceWarning,
    DegenerateColumnsWarning,
    NonFiniteResultError,
    NotFittedError,
    TiesWarning,
    TrainingDivergedError,
)
from skscore.metrics import relative_fisher_divergence
from skscore.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LAW = make_gaussian([3.0, -20.0], [[4.0, 3.0], [3.0, 25.0]])
X = LAW.sample(300, 0)
BRIEF = {"hidden_layer_sizes": (16, 16), "max_iter": 2, "random_state": 0}
ALL = [DenoisingScoreEstimator, SlicedScoreEstimator, ImplicitScoreEstimator]


def brief(cls=DenoisingScoreEstimator, **changes):
    return cls(**BRIEF | changes)


# -- bad input --------------------------------------------------------------------------------

BAD_ROWS = {
    "nan": (np.where(np.eye(300, 2, dtype=bool), np.nan, X), "contains NaN in column 0"),
    "infinity": (np.where(np.eye(300, 2, dtype=bool), np.inf, X), "contains infinity in column 0"),
    "1-D": (X[:, 0], "Expected 2D array, got 1D"),
    "3-D": (X[None], "dim 3"),
    "empty": (X[:0], "0 sample"),
    "one row": (X[:1], "1 sample"),
    "one row repeated": (np.tile(X[:1], (5, 1)), "at least two different rows"),
    "strings": (np.array([["a", "b"]] * 5), "column 0 of X holds other values"),
    "complex": (X + 1j, "Complex data not supported"),
}


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows_are_refused_before_training_and_leave_it_unfitted(cls, kind, monkeypatch):
    bad, words = BAD_ROWS[kind]
    before = bad.copy()
    est = brief(cls).fit(X)
    monkeypatch.setattr("skscore._fitting.run.fit_network", None)  # training would fail loudly
    with pytest.raises(ValueError, match=words):
        est.fit(bad)
    np.testing.assert_array_equal(bad, before)
    with pytest.raises(NotFittedError):
        est.score_function(X)
    assert not hasattr(est, "n_features_in_")


@pytest.mark.parametrize("cls", ALL)
def test_sparse_rows_are_refused(cls):
    with pytest.raises(TypeError, match="dense data is required"):
        brief(cls).fit(csr_array(X))


BAD_PARAMETERS = [
    ({"sigma": 0}, r"'sigma' parameter of DenoisingScoreEstimator .*\(0\.0, inf\).* Got 0"),
    ({"sigma": -1}, "'sigma' .* Got -1"),
    ({"sigma": np.nan}, "'sigma' .* Got nan"),
    ({"sigma": np.inf}, "'sigma' .* Got inf"),
    ({"max_iter": 0}, r"'max_iter' parameter .* \[1, inf\). Got 0"),
    ({"device": "gpu"}, "'device' parameter must be 'auto', 'cpu', 'cuda'.* Got 'gpu'"),
    ({"network": "cnn"}, "'network' .*among .*'resnet'.* Got 'cnn'"),
    ({"network": lambda *a: MLP(*a)}, "'network' .* can be imported by its name"),
    ({"activation": "sine"}, "'activation' .*'tanh'.* Got 'sine'"),
    ({"activation": "relu", "conservative": True}, "must be smooth .*'silu'.* Got 'relu'"),
    ({"noise": "cauchy"}, "'noise' .*'gaussian'.* Got 'cauchy'"),
    ({"standardize": "robust"}, "'standardize' .*'scale'.* Got 'robust'"),
    ({"hidden_layer_sizes": (8, 0)}, r"'hidden_layer_sizes' .* Got \(8, 0\)"),
    ({"hidden_layer_sizes": ()}, r"'hidden_layer_sizes' .* at least one int"),
    ({"hidden_layer_sizes": (8.5,)}, r"'hidden_layer_sizes' .* Got \(8.5,\)"),
    ({"batch_size": 0}, "'batch_size' .* Got 0"),
    ({"learning_rate_init": -0.1}, "'learning_rate_init' .* Got -0.1"),
    ({"validation_fraction": 1.0}, "'validation_fraction' .* Got 1.0"),
    ({"n_iter_no_change": 0}, "'n_iter_no_change' .* Got 0"),
    ({"tol": -1.0}, "'tol' .* Got -1.0"),
]


@pytest.mark.parametrize(("params", "words"), BAD_PARAMETERS, ids=range(len(BAD_PARAMETERS)))
def test_bad_parameters_are_refused_by_name_before_training(params, words, monkeypatch):
    monkeypatch.setattr("skscore._fitting.run.fit_network", None)
    est = brief(**params)
    with pytest.raises(ValueError, match=words):
        est.fit(X)
    with pytest.raises(NotFittedError):
        est.sample()


def test_a_legal_names_message_lists_all_of_them():
    with pytest.raises(ValueError, match="activation") as info:
        brief(activation="sine").fit(X)
    names = ["silu", "gelu", "softplus", "tanh", "elu", "relu"]
    assert all(repr(name) in str(info.value) for name in names)


def test_frames_are_known_by_their_columns():
    frame = pd.DataFrame(X, columns=["a", "b"])
    est = brief().fit(frame)
    assert est.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="same order"):
        est.score_function(frame[["b", "a"]])


def test_rows_out_of_all_reach_are_an_error_not_a_nan():
    with pytest.raises(NonFiniteResultError, match="score_function of Denoising.* for row 1"):
        brief().fit(1e-6 * X).score_function([[0.0, 0.0], [1e306, -1e306]])


@pytest.mark.parametrize("size", [0, 2.5])
def test_sample_refuses_a_bad_number(size):
    with pytest.raises(ValueError, match="n_samples must be an int"):
        brief().fit(X).sample(size)


# -- units, columns, ties ---------------------------------------------------------------------


def accurate(**changes):
    return DenoisingScoreEstimator(0.2, max_iter=20, random_state=0, **changes)


@pytest.mark.parametrize(("a", "b"), [(1e-6, 0.0), (1e12, 0.0), (1.0, 1e6), (1e3, 1e9)])
def test_units_and_offsets_make_no_difference(a, b):
    """The score is that of the law of aX + b, as well as for X itself."""
    scores = accurate().fit(a * X + b).score_function(a * X + b) * a
    assert relative_fisher_divergence(scores, LAW.score_function(X)) < 0.1


def test_float32_rows_fit_as_well():
    scores = accurate().fit(X.astype(np.float32)).score_function(X)
    assert relative_fisher_divergence(scores, LAW.score_function(X)) < 0.1


def test_constant_and_collinear_columns_fit_with_one_warning_and_come_back_in_samples():
    wide = np.c_[X, np.full(len(X), 7.0), X[:, 0] + X[:, 1]]
    with pytest.warns(DegenerateColumnsWarning, match="constant: 2.*rank is 2") as record:
        est = accurate().fit(wide)
    assert sum(isinstance(w.message, DegenerateColumnsWarning) for w in record) == 1
    rows = est.sample(200, random_state=0)
    np.testing.assert_allclose(rows[:, 2], 7.0, atol=1e-6)
    np.testing.assert_allclose(rows[:, 3], rows[:, 0] + rows[:, 1], atol=1e-3)
    assert np.isfinite(est.score(wide))


def test_implicit_training_does_not_run_away_on_null_directions():
    wide = np.c_[X, X[:, 0] + X[:, 1]]
    with pytest.warns(DegenerateColumnsWarning):
        est = SlicedScoreEstimator(max_iter=20, random_state=0).fit(wide)
    whitened = est.score_function(wide) @ np.linalg.cholesky(est.covariance_)
    assert np.mean(whitened**2) < 3.0


def test_ties_are_named_and_dequantize_takes_them_away():
    rounded = pd.DataFrame({"x": X[:, 0], "grade": X[:, 1].round()})
    with pytest.warns(TiesWarning, match="columns: 'grade'"):
        brief().fit(rounded)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TiesWarning)
        est = brief(dequantize=True).fit(rounded)
    assert est.covariance_[1, 1] > rounded["grade"].var(ddof=0)


# -- weights ----------------------------------------------------------------------------------


def test_weights_and_repetition_give_the_same_bits():
    w = np.random.RandomState(0).randint(1, 4, size=len(X))
    weighted = brief().fit(X, sample_weight=w)
    repeated = brief().fit(np.repeat(X, w, axis=0))
    np.testing.assert_array_equal(weighted.score_function(X), repeated.score_function(X))
    np.testing.assert_array_equal(weighted.sample(5, 0), repeated.sample(5, 0))


def test_the_scale_of_weights_does_not_matter():
    w = np.random.RandomState(0).uniform(1, 2, size=len(X))
    small, large = (brief().fit(X, sample_weight=c * w) for c in (0.25, 4.0))
    np.testing.assert_allclose(small.score_function(X), large.score_function(X), rtol=1e-4)


def test_score_takes_weights():
    est = brief().fit(X)
    w = np.random.RandomState(0).randint(0, 3, size=len(X))
    assert est.score(X, sample_weight=w) == pytest.approx(est.score(np.repeat(X, w, axis=0)))


# -- rounds, early stopping, going on ----------------------------------------------------------


def test_rounds_leave_their_numbers():
    est = brief(max_iter=5).fit(X)
    assert est.n_iter_ == len(est.loss_curve_) == len(est.validation_scores_) == 5
    assert est.best_validation_score_ >= max(est.validation_scores_)
    plain = brief(early_stopping=False).fit(X)
    assert plain.validation_scores_ is None
    assert plain.best_validation_score_ is None


def test_running_out_of_rounds_is_said_and_settling_down_is_not():
    with pytest.warns(ConvergenceWarning, match="Training of Denoising.* stopped at max_iter=2"):
        brief().fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        brief(max_iter=300, n_iter_no_change=3).fit(X)
        brief(early_stopping=False).fit(X)


def test_warm_start_goes_on_and_a_fresh_fit_does_not():
    cold = brief(early_stopping=False).fit(X)
    first = cold.score_function(X)
    np.testing.assert_array_equal(cold.fit(X).score_function(X), first)
    warm = brief(early_stopping=False, warm_start=True).fit(X).fit(X)
    twice = brief(early_stopping=False, max_iter=4).fit(X)
    assert np.abs(warm.score_function(X) - first).max() > 1e-4
    assert np.abs(warm.loss_curve_[-1] - twice.loss_curve_[-1]) < 0.1
    with pytest.raises(ValueError, match=r"hidden_layer_sizes was \(16, 16\), is \(4,\)"):
        warm.set_params(hidden_layer_sizes=(4,)).fit(X)


@pytest.mark.parametrize("cls", [*ALL, DiffusionScoreEstimator])
def test_a_chunk_far_from_the_first_is_told_and_one_like_it_is_not(cls):
    """Chunks of a sorted table got moments of its first rows, and a poor law, without a word."""
    shuffled, in_order = LAW.sample(600, 0), np.sort(LAW.sample(600, 0), axis=0)
    for chunks, told in ((shuffled, False), (in_order, True)):
        est = brief(cls, max_iter=1).partial_fit(chunks[:100])
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            est.partial_fit(chunks[500:])
        assert any("of this chunk" in str(w.message) for w in record) == told


def test_whether_a_chunk_is_far_from_the_first_counts_its_rows_by_weight():
    near, far = LAW.sample(40, 1), LAW.sample(60, 2) + 200.0
    chunk, heavy = np.r_[near, far], np.r_[np.full(40, 3.0), np.ones(60)]
    for how, told in (((chunk, None), True), ((chunk, heavy), False)):
        est = brief(max_iter=1).partial_fit(X)
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            est.partial_fit(how[0], sample_weight=how[1])
        assert any("of this chunk" in str(w.message) for w in record) == told
    repeated = np.r_[np.repeat(near, 3, axis=0), far]
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        brief(max_iter=1).partial_fit(X).partial_fit(repeated)
    assert not any("of this chunk" in str(w.message) for w in record)


def test_partial_fit_learns_from_chunks():
    est = DenoisingScoreEstimator(0.2, random_state=0)
    for seed in range(15):
        est.partial_fit(LAW.sample(300, seed))
    assert len(est.loss_curve_) == est.n_iter_ == 15
    error = relative_fisher_divergence(est.score_function(X), LAW.score_function(X))
    assert error < 0.1
    assert len(est.chain_starts_) == 15 * 300


def test_small_chunks_are_not_learnt_by_heart():
    """Fifty steps on each of forty chunks alone made a relative error of 11."""
    est = DenoisingScoreEstimator(0.1, random_state=0)
    rows = LAW.sample(2000, 0)
    for chunk in np.split(rows, 40):
        est.partial_fit(chunk)
    assert relative_fisher_divergence(est.score_function(X), LAW.score_function(X)) < 0.6


def test_a_batch_is_no_larger_than_the_table():
    huge, all_rows = (brief(batch_size=size).fit(X) for size in (10**6, 270))
    np.testing.assert_array_equal(huge.score_function(X), all_rows.score_function(X))


def test_the_first_chunk_fixes_the_standardisation_and_must_be_large_enough():
    with pytest.raises(ValueError, match="at least 10 rows for 2 columns. Got 9 rows"):
        brief().partial_fit(X[:9])
    est = brief().partial_fit(X)
    location = est.location_.copy()
    est.partial_fit(X[:1] + 100)
    np.testing.assert_array_equal(est.location_, location)
    with pytest.raises(ValueError, match="3 features"):
        est.partial_fit(np.c_[X, X[:, 0]])


def test_divergence_from_the_start_is_a_named_error_and_leaves_it_unfitted(monkeypatch):
    class Broken(DenoisingScoreEstimator):
        def _objective(self, data, split, previous):
            objective = super()._objective(data, split, previous)
            loss = type("NaN", (type(objective.loss),), {"__call__": nan_loss})
            return replace(objective, loss=loss(objective.loss.noise))

    def nan_loss(self, score, x, *, generator=None):
        return score(x).sum(1) * torch.nan

    est = Broken(**BRIEF)
    with pytest.raises(TrainingDivergedError, match="no finite gradient .* learning_rate_init"):
        est.fit(X)
    with pytest.raises(NotFittedError):
        est.score_function(X)


def test_an_interrupted_fit_leaves_it_unfitted(monkeypatch):
    est = brief().fit(X)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skscore._fitting.run.fit_network", interrupt)
    with pytest.raises(KeyboardInterrupt):
        est.fit(X)
    assert not hasattr(est, "location_")


def test_verbose_prints_a_line_a_round():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        brief(verbose=True).fit(X)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[DenoisingScoreEstimator] round 2: loss ")
    assert "validation score" in lines[1]


# -- state ------------------------------------------------------------------------------------


def holds_only_plain_values(value):
    if isinstance(value, (np.ndarray, np.generic, str, int, float, bool, type(None))):
        return True
    if isinstance(value, dict):
        return all(holds_only_plain_values(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(map(holds_only_plain_values, value))
    return hasattr(value, "__dict__") and holds_only_plain_values(vars(value))


@pytest.mark.parametrize("cls", ALL)
def test_fitted_state_is_arrays_and_plain_values(cls):
    est = brief(cls).fit(X)
    assert holds_only_plain_values(vars(est))
    assert b"torch" not in pickle.dumps(est)


def test_a_factory_by_its_import_name_is_a_network():
    est = brief(network=MLP).fit(X)
    twin = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(est.score_function(X), twin.score_function(X))
    np.testing.assert_array_equal(
        est.score_function(X), brief(network="mlp").fit(X).score_function(X)
    )


def test_network_is_the_score_of_standardised_rows():
    est = brief().fit(X)
    z = est._standardizer.transform(X)
    s = est.network_(torch.tensor(z, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(
        est._standardizer.pull_score(X, s), est.score_function(X), rtol=1e-3, atol=1e-5
    )


def test_fitting_within_no_grad_and_inference_mode_makes_no_difference():
    plain = brief().fit(X).score_function(X)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            np.testing.assert_array_equal(brief().fit(X).score_function(X), plain)


def test_energy_needs_a_gradient_field():
    est = brief().fit(X)
    assert not hasattr(est, "energy")
    with pytest.raises(AttributeError) as info:
        est.log_density_ratio(X, X)
    assert "has an energy with conservative=True only" in str(info.value.__cause__)


def test_log_density_ratio_compares_row_by_row_or_with_one_row():
    est = brief(conservative=True).fit(X)
    ratio = est.log_density_ratio(X[:4], X[4:8])
    np.testing.assert_allclose(ratio, est.energy(X[4:8]) - est.energy(X[:4]))
    np.testing.assert_allclose(est.log_density_ratio(X[:4], X[:1])[0], 0.0, atol=1e-12)
    with pytest.raises(ValueError, match="X0 must have one row or as many as X, 4. Got 2 rows"):
        est.log_density_ratio(X[:4], X[:2])


def test_without_stored_starts_sample_needs_init():
    est = brief(store_starts=False).fit(X)
    assert not hasattr(est, "chain_starts_")
    with pytest.raises(ValueError, match="store_starts=False .* as init"):
        est.sample(3)
    assert est.sample(3, init=X[:2], random_state=0).shape == (3, 2)


def test_starts_are_at_most_ten_thousand_rows_and_follow_the_weights():
    many = make_two_gaussians(0.5).sample(12_000, 0)
    assert len(brief(max_iter=1).fit(many).chain_starts_) == 10_000
    w = np.where(many[:, 0] > 0, 9.0, 1.0)
    starts = brief(max_iter=1).fit(many, sample_weight=w).chain_starts_
    assert (starts[:, 0] > 0).mean() == pytest.approx(0.9, abs=0.01)


def test_clone_forgets_what_was_learnt():
    est = clone(brief().fit(X))
    with pytest.raises(NotFittedError):
        est.score_function(X)


MEMORY_MAP = """
import sys, warnings
import numpy as np
from skscore import DenoisingScoreEstimator
warnings.simplefilter("ignore")
X = np.load(sys.argv[1], mmap_mode="r")
est = DenoisingScoreEstimator(hidden_layer_sizes=(8,), max_iter=1, random_state=0).fit(X)
est.score(X), est.denoise(X), est.sample(3), est.partial_fit(X)
print(est.score_function(X).sum())
"""


@pytest.mark.slow
def test_read_only_memory_maps_work(tmp_path):
    """In a process of its own: writing through one kills the interpreter."""
    path = tmp_path / "rows.npy"
    for dtype in (np.float64, np.float32):
        np.save(path, X.astype(dtype))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY_MAP, str(path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert np.isfinite(float(done.stdout))


def test_a_metric_that_is_none_is_refused():
    est = brief().fit(X)
    for bad, words in [
        (-np.eye(2), "positive semi-definite. Its least eigenvalue is -1"),
        ([[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        (np.eye(3), r"of shape \(2, 2\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            est.score_divergence(X, metric=bad)


TINY = {"hidden_layer_sizes": (8, 8), "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize("standardize", ["whiten", "scale", None])
@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("cls", [DenoisingScoreEstimator, DiffusionScoreEstimator])
def test_a_metric_for_each_row_is_a_call_for_each_row(cls, conservative, standardize):
    est = cls(conservative=conservative, standardize=standardize, **TINY).fit(X)
    rows, roots = X[:6], np.random.RandomState(0).standard_normal((6, 2, 2))
    metrics = roots @ np.swapaxes(roots, 1, 2)
    alone = [est.score_divergence(rows[i : i + 1], metric=metrics[i])[0] for i in range(6)]
    together = est.score_divergence(rows, metric=metrics)
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert len(set(np.round(together, 12))) == 6
    same = est.score_divergence(rows, metric=np.broadcast_to(metrics[0], (6, 2, 2)))
    np.testing.assert_allclose(same, est.score_divergence(rows, metric=metrics[0]), rtol=1e-9)


def test_metrics_for_other_rows_are_refused():
    with pytest.raises(ValueError, match="one matrix for each of 300 rows: 3"):
        brief().fit(X).score_divergence(X, metric=np.tile(np.eye(2), (3, 1, 1)))


def test_score_of_an_unfitted_one_says_so():
    with pytest.raises(NotFittedError):
        brief().score(X)


def test_warnings_point_at_the_users_line():
    for rows in (X.round(), np.c_[X, np.ones(len(X))]):
        with pytest.warns((TiesWarning, DegenerateColumnsWarning)) as record:
            brief().fit(rows)
        data = [w for w in record if not isinstance(w.message, ConvergenceWarning)]
        assert {w.filename for w in data} == {__file__}
        assert {w.filename for w in record} == {__file__}
