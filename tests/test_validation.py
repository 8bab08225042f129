"""What comes in from users is refused with a sentence that helps."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator

from skscore._validation import (
    check_metric,
    check_picklable,
    check_rows,
    check_unnamed_rows,
    check_weights,
    finite_results,
    first_rows,
    importable,
    integer_seeds,
)
from skscore.datasets import dequantize
from skscore.exceptions import NonFiniteResultError
from skscore.metrics import hyvarinen_score_samples


class Est(BaseEstimator):
    """Holds what `first_rows` describes."""

    def fit(self, X):
        return self


def fitted(X):
    est = Est()
    est.__dict__.update(first_rows(est, X)[1])
    return est


def test_first_rows_leave_the_estimator_untouched():
    est = Est()
    rows, described = first_rows(est, np.zeros((3, 2)))
    assert vars(est) == {}
    assert described == {"n_features_in_": 2}
    assert rows.shape == (3, 2)


def test_names_of_a_frame_are_described():
    frame = pd.DataFrame(np.zeros((3, 2)), columns=["a", "b"])
    assert first_rows(Est(), frame)[1]["feature_names_in_"].tolist() == ["a", "b"]


def test_float32_rows_are_not_copied():
    X = np.zeros((3, 2), dtype=np.float32)
    assert first_rows(Est(), X)[0] is X


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_bad_number_is_named_with_its_column_row_and_remedy(value, word):
    frame = pd.DataFrame(np.zeros((5, 2)), columns=["age", "income"])
    frame.loc[3, "income"] = value
    pattern = rf"X contains {word} in column 'income' \(first in row 3\)\. Est takes finite"
    with pytest.raises(ValueError, match=pattern):
        first_rows(Est(), frame)
    with pytest.raises(ValueError, match="SimpleImputer" if word == "NaN" else "Clip or drop"):
        first_rows(Est(), frame.to_numpy())


def test_a_column_of_text_is_named_with_the_remedy():
    frame = pd.DataFrame({"age": [1.0, 2.0], "town": ["Paris", "Rome"]})
    with pytest.raises(ValueError, match="column 'town' of X .*Paris.*OrdinalEncoder"):
        first_rows(Est(), frame)
    with pytest.raises(ValueError, match="column 1 of X"):
        first_rows(Est(), frame.to_numpy())


def frames():
    polars = pytest.importorskip("polars")
    return [pd.DataFrame, polars.DataFrame]


DATES = {
    "dates": np.array(["2020-01-01", "2020-01-03", "NaT"], dtype="M8[ns]"),
    "durations": np.array([1, 2, 3], dtype="m8[ns]"),
}


@pytest.mark.parametrize("kind", DATES)
def test_a_column_of_dates_is_named_with_the_remedy(kind):
    words = r"column 'when' of X holds dates or durations\. Turn them into numbers, such as days"
    for frame in frames():
        for columns in ({"age": [1.0, 2.0, 3.0], "when": DATES[kind]}, {"when": DATES[kind]}):
            with pytest.raises(TypeError, match=words):
                first_rows(Est(), frame(columns))
    with pytest.raises(TypeError, match="column 0 of X holds dates"):
        first_rows(Est(), DATES[kind][:, None])
    with pytest.raises(TypeError, match="column 1 of X .* of dates as days since the first"):
        first_rows(Est(), np.array([[1.0, pd.Timestamp("2020")]] * 3, dtype=object))


def test_columns_of_one_name_are_told_apart():
    twins = pd.DataFrame([[1.0, "x"], [2.0, "y"]], columns=["a", "a"])
    with pytest.raises(ValueError, match="column 'a' of X holds other values"):
        first_rows(Est(), twins)


TENSORS = {
    "of a graph": lambda X: torch.tensor(X, requires_grad=True),
    "float32": lambda X: torch.tensor(X, dtype=torch.float32),
    "bfloat16": lambda X: torch.tensor(X, dtype=torch.bfloat16),
    "whole numbers": lambda X: torch.tensor(X).long(),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_are_taken_for_their_numbers(kind):
    X = np.arange(12.0).reshape(4, 3)
    given = TENSORS[kind](X)
    rows, described = first_rows(Est(), given)
    np.testing.assert_array_equal(rows, X)
    est = Est()
    est.__dict__.update(described)
    for check in (check_rows, check_unnamed_rows):
        np.testing.assert_array_equal(check(est, given), X)
    np.testing.assert_array_equal(check_weights(given[0], 3), X[0] / 2)
    np.testing.assert_array_equal(check_metric(given.new_ones(3).diag(), 3), np.eye(3))
    criterion = hyvarinen_score_samples(given, given[:, 0])
    np.testing.assert_array_equal(criterion, -np.square(X).sum(axis=1) / 2 - X[:, 0])
    assert dequantize(given).shape == (4, 3)


@pytest.mark.parametrize(
    ("X", "pattern"),
    [
        (np.zeros(4), "Expected 2D array, got 1D array"),
        (np.zeros((2, 2, 2)), "Found array with dim 3"),
        (np.zeros((0, 2)), "Found array with 0 sample"),
        (np.zeros((1, 2)), r"Found array with 1 sample\(s\)"),
        (np.zeros((3, 0)), "Found array with 0 feature"),
        (np.zeros((3, 2), dtype=complex), "Complex data not supported"),
    ],
)
def test_arrays_of_the_wrong_kind_are_refused(X, pattern):
    with pytest.raises(ValueError, match=pattern):
        first_rows(Est(), X)


def test_sparse_rows_are_refused():
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match="dense data is required"):
        first_rows(Est(), csr_array(np.eye(3)))


def test_width_and_order_of_columns_are_those_of_fit():
    frame = pd.DataFrame(np.zeros((3, 2)), columns=["a", "b"])
    est = fitted(frame)
    with pytest.raises(ValueError, match="must be in the same order"):
        check_rows(est, frame[["b", "a"]])
    with pytest.raises(ValueError, match="3 features, but Est is expecting 2"):
        check_rows(fitted(np.zeros((3, 2))), np.zeros((3, 3)))


def test_equal_weights_are_none():
    assert check_weights(None, 3) is None
    assert check_weights(2.0, 3) is None
    assert check_weights([2, 2, 2], 3) is None
    assert check_weights([1, 2, 2], 3).tolist() == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("weights", "pattern"),
    [
        ([1.0, -1.5, -1.0], r"not negative\. Got -1\.5 for row 1, the first of 2 such values"),
        ([1.0, 1.0, math.nan], r"not negative\. Got nan for row 2, the first of 1 such values"),
        ([0.0, 0.0, 0.0], "at least one non-zero"),
        ([1.0, 2.0], r"expected \(3,\)"),
        ([[1.0, 2.0, 3.0]], "must be 1D"),
        (["a", "b", "c"], "must be numbers, one for each of the 3 rows"),
    ],
)
def test_bad_weights_are_refused(weights, pattern):
    with pytest.raises(ValueError, match=pattern):
        check_weights(weights, 3)


def test_seeds_repeat_for_an_integer_and_differ_without_one():
    assert integer_seeds(3, 2) == integer_seeds(3, 2)
    assert integer_seeds(None, 2) != integer_seeds(None, 2)


def test_seeds_without_an_integer_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    integer_seeds(None, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_result_that_is_no_number_is_an_error_with_its_row():
    with pytest.raises(NonFiniteResultError, match="score of Est is not finite for row 1 of X"):
        finite_results(np.array([0.0, np.nan]), "score of Est")


def test_only_what_has_an_importable_name_is_importable():
    assert importable(math.sqrt)
    assert importable(Est)
    assert not importable(lambda: None)
    assert not importable(test_only_what_has_an_importable_name_is_importable.__class__.__call__)


class Holder(BaseEstimator):
    def __init__(self, held=None, other=1):
        self.held = held
        self.other = other


def test_parameters_that_no_pickle_takes_are_named():
    check_picklable(Holder(np.sqrt))
    words = "The 'held' parameter of Holder must be something that can be pickled.* Got <function"
    with pytest.raises(ValueError, match=words):
        check_picklable(Holder(lambda x: x))
