"""Errors and warnings are named, and are what scikit-learn's users catch."""

import pytest
from sklearn.exceptions import DataConversionWarning

from skscore import exceptions


@pytest.mark.parametrize("name", ["TiesWarning", "DegenerateColumnsWarning", "NoiseRangeWarning"])
def test_warnings_about_data_are_data_conversion_warnings(name):
    assert issubclass(getattr(exceptions, name), DataConversionWarning)


@pytest.mark.parametrize(
    "name",
    ["TrainingDivergedError", "SamplingDivergedError", "NonFiniteResultError", "StepLimitError"],
)
def test_numbers_gone_wrong_are_floating_point_errors(name):
    assert issubclass(getattr(exceptions, name), FloatingPointError)


def test_everything_public_is_listed():
    assert all(hasattr(exceptions, name) for name in exceptions.__all__)
