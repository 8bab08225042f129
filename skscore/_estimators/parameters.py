"""The constructor parameters that all trained estimators share: one table.

scikit-learn reads parameters off explicit signatures, so each estimator writes them out.  The
tests hold these signatures, the constraints and the docstrings to this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from skscore._validation import Interval, StrOptions
from skscore.networks import ACTIVATIONS, NETWORKS


@dataclass(frozen=True)
class Parameter:
    """A default, what is allowed, the set of that in words, and what the parameter does."""

    default: Any
    constraint: list[Any]
    domain: str
    text: str


SHARED = {
    "network": Parameter(
        "mlp",
        [StrOptions(set(NETWORKS)), callable],
        "{<networks>} or importable factory",
        "See :mod:`skscore.networks`.",
    ),
    "hidden_layer_sizes": Parameter(
        (128, 128, 128),
        ["array-like", Interval(Integral, 1, None, closed="left")],
        "tuple of int in [1, inf)",
        "Width of each hidden layer, or of each residual block.",
    ),
    "activation": Parameter(
        "tanh",
        [StrOptions(set(ACTIVATIONS))],
        "str",
        "A key of :data:`skscore.networks.ACTIVATIONS`.",
    ),
    "conservative": Parameter(
        False,
        ["boolean"],
        "bool",
        """Whether the score is the gradient of an energy network; `energy` and
        `log_density_ratio` exist then.""",
    ),
    "standardize": Parameter(
        "whiten",
        [StrOptions({"whiten", "scale"}), None],
        '{"whiten", "scale", None}',
        """Coordinates of the network and of noise levels: decorrelated, scaled column by
        column, or in input units (only shifted).""",
    ),
    "dequantize": Parameter(
        False,
        ["boolean"],
        "bool",
        "Whether training adds uniform noise of one gap to columns with repeated values.",
    ),
    "learning_rate_init": Parameter(
        0.004, [Interval(Real, 0, None, closed="neither")], "float in (0, inf)", "Of AdamW."
    ),
    "batch_size": Parameter(
        "auto",
        [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        '"auto" or int in [1, inf)',
        """"auto" is a quarter of the training rows, but at least 64 and at most 128 (256 for
        :class:`DiffusionScoreEstimator`); of larger tables a thousandth of them, at most 1024.  A
        number is at most that of the training rows.""",
    ),
    "max_iter": Parameter(
        500,
        [Interval(Integral, 1, None, closed="left")],
        "int in [1, inf)",
        """Most rounds.  A round is one pass over the rows, but at least 50 and at most 1000
        optimiser steps.""",
    ),
    "early_stopping": Parameter(
        True,
        ["boolean"],
        "bool",
        "Whether rows are held out, and the state that is best on them kept.",
    ),
    "validation_fraction": Parameter(
        0.1,
        [Interval(Real, 0, 1, closed="neither")],
        "float in (0, 1)",
        "Part of the rows held out, at most 50,000 of them.",
    ),
    "n_iter_no_change": Parameter(
        10,
        [Interval(Integral, 1, None, closed="left")],
        "int in [1, inf)",
        "Rounds without a better validation score after which training ends.",
    ),
    "tol": Parameter(
        1e-4,
        [Interval(Real, 0, None, closed="left")],
        "float in [0, inf)",
        "How much better counts.",
    ),
    "warm_start": Parameter(
        False, ["boolean"], "bool", "Whether `fit` goes on from the network of the fit before."
    ),
    "store_starts": Parameter(
        True,
        ["boolean"],
        "bool",
        """Whether up to 10,000 training rows are kept, for `partial_fit` and for chains to start
        from.  A pickle then holds them: with private rows, use False.""",
    ),
    "verbose": Parameter(False, ["verbose"], "bool or int", "Whether each round prints a line."),
    "random_state": Parameter(
        None,
        ["random_state"],
        "int, RandomState or None",
        "Of the split, the network, the batches and the noise.",
    ),
    "device": Parameter(
        "auto",
        [str],
        "str",
        '"auto" (the GPU when there is one), "cpu", "cuda" or "cuda:<number>".',
    ),
}
"""By name, in the order of the signatures."""

CONSTRAINTS = {name: parameter.constraint for name, parameter in SHARED.items()}


def shared_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a constructor's arguments that are shared."""
    return {name: arguments[name] for name in SHARED}
