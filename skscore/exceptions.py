"""Errors and warnings that skscore raises, by name."""

from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError

__all__ = [
    "ConvergenceWarning",
    "DegenerateColumnsWarning",
    "FarRowsWarning",
    "NoiseRangeWarning",
    "NonFiniteResultError",
    "NotFittedError",
    "SamplingDivergedError",
    "ScoreKindWarning",
    "SlowMixingWarning",
    "StepLimitError",
    "SupportWarning",
    "TiesWarning",
    "TrainingDivergedError",
]


class TiesWarning(DataConversionWarning):
    """Columns repeat values, which log-densities and Hyvarinen's criterion reward as spikes."""


class DegenerateColumnsWarning(DataConversionWarning):
    """Columns are constant or depend linearly on each other; a floor stands in for variance."""


class FarRowsWarning(DataConversionWarning):
    """Rows lie so far out that a standard deviation, or a noise level, says nothing of them."""


class TrainingDivergedError(FloatingPointError):
    """Training met no finite gradient from its first round on."""


class SamplingDivergedError(FloatingPointError):
    """Markov chains left the finite numbers."""


class SlowMixingWarning(ConvergenceWarning):
    """Markov chains stayed near the rows that they started from: their draws are near-copies."""


class NonFiniteResultError(FloatingPointError):
    """A result that ought to be a number is NaN or infinite."""


class StepLimitError(NonFiniteResultError):
    """Rows took more steps along the probability flow than are allowed."""


class NoiseRangeWarning(DataConversionWarning):
    """The noise levels do not cover the scale of the rows."""


class ScoreKindWarning(UserWarning):
    """A search may compare log-densities with Hyvarinen's criterion."""


class SupportWarning(UserWarning):
    """Rows lie outside the support of a density; their log-density is minus infinity."""
