"""Errors and warnings that skscore raises, by name."""

from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError

__all__ = [
    "ConvergenceWarning",
    "DegenerateColumnsWarning",
    "NoiseRangeWarning",
    "NonFiniteResultError",
    "NotFittedError",
    "SamplingDivergedError",
    "SlowMixingWarning",
    "SupportWarning",
    "TiesWarning",
    "TrainingDivergedError",
]


class TiesWarning(DataConversionWarning):
    """Columns repeat values, which log-densities and Hyvarinen's criterion reward as spikes."""


class DegenerateColumnsWarning(DataConversionWarning):
    """Columns are constant or depend linearly on each other; a floor stands in for variance."""


class TrainingDivergedError(FloatingPointError):
    """Training met no finite gradient from its first round on."""


class SamplingDivergedError(FloatingPointError):
    """Markov chains left the finite numbers."""


class SlowMixingWarning(ConvergenceWarning):
    """Markov chains stayed near the rows that they started from: their draws are near-copies."""


class NonFiniteResultError(FloatingPointError):
    """A result that ought to be a number is NaN or infinite."""


class NoiseRangeWarning(DataConversionWarning):
    """The noise levels do not cover the scale of the rows."""


class SupportWarning(UserWarning):
    """Rows lie outside the support of a density; their log-density is minus infinity."""
