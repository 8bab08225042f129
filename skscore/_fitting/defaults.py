"""Constructor parameters checked, and the values that stand for "auto"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skscore._backend.convert import resolve_device
from skscore._backend.fitted import NetworkSpec
from skscore._backend.training import steps_per_round
from skscore._validation import (
    check_parameters,
    check_picklable,
    importable,
)
from skscore.networks import NETWORKS, SMOOTH_ACTIVATIONS, automatic_architecture
from skscore.networks._bodies import FEW_COLUMNS

_FEW_ROWS = 2500  # short tables want fewer rounds, and an ensemble
_FEW_ROUNDS, _LEAST_ROUNDS, _MANY_STEPS = 40, 40, 3500
_LEAST_BATCH = 64
_PATIENCE, _LEAST_PATIENCE = 1 / 3, 10  # a part of the rounds, and rounds


def check_constructor(estimator: BaseEstimator) -> None:
    """Hold the parameters to what is allowed."""
    check_parameters(estimator)
    resolve_device(estimator.device)
    name = type(estimator).__name__
    if not _is_auto(estimator, "hidden_layer_sizes") and not _are_widths(given_widths(estimator)):
        raise ValueError(
            f"The 'hidden_layer_sizes' parameter of {name} must hold at least one int, each in "
            f"the range [1, inf). Got {estimator.hidden_layer_sizes!r} instead."
        )
    if estimator.conservative and estimator.activation not in SMOOTH_ACTIVATIONS:
        legal = ", ".join(repr(a) for a in SMOOTH_ACTIVATIONS)
        raise ValueError(
            f"The 'activation' parameter of {name} must be smooth with conservative=True, "
            f"one of: {legal}. Got {estimator.activation!r} instead."
        )
    if callable(estimator.network) and not importable(estimator.network):
        raise ValueError(
            f"The 'network' parameter of {name} must be one of {sorted(NETWORKS)}, or a factory "
            "that can be imported by its name, so that the estimator can be pickled. Got "
            f"{estimator.network!r} instead: define it at the top level of a module."
        )
    check_picklable(estimator)


def _is_auto(estimator: BaseEstimator, name: str) -> bool:
    value = getattr(estimator, name)
    return isinstance(value, str) and value == "auto"


def _are_widths(widths: tuple[Any, ...]) -> bool:
    return bool(widths) and all(isinstance(w, int) and w >= 1 for w in widths)


def given_widths(estimator: BaseEstimator) -> tuple[int, ...]:
    """Widths of the hidden layers, where they are given."""
    return tuple(np.atleast_1d(estimator.hidden_layer_sizes).tolist())


def n_rounds(estimator: BaseEstimator, n_rows: int, n_different: int) -> int:
    """Rounds of a fit; "auto" is few for short tables, else what makes a number of steps.

    A round visits the different rows, which stand for `n_rows`.
    """
    if not _is_auto(estimator, "max_iter"):
        return int(estimator.max_iter)
    if n_rows < _FEW_ROWS:
        return _FEW_ROUNDS
    n_steps = steps_per_round(n_different, batch_size(estimator, n_rows))
    return max(_LEAST_ROUNDS, math.ceil(_MANY_STEPS / n_steps))


def patience(estimator: BaseEstimator, n_rounds: int) -> int:
    """Rounds without a better score that end a training; of "auto" a part of those planned."""
    if _is_auto(estimator, "n_iter_no_change"):
        return max(_LEAST_PATIENCE, round(_PATIENCE * n_rounds))
    return int(estimator.n_iter_no_change)


def batch_size(estimator: BaseEstimator, n_rows: int) -> int:
    """Rows of a batch; of "auto" more for larger tables."""
    if estimator.batch_size != "auto":
        return int(min(estimator.batch_size, n_rows))
    least = min(estimator._least_batch, max(_LEAST_BATCH, n_rows // 4))
    return int(min(max(least, n_rows // 1000), 1024))


def given_spec(estimator: BaseEstimator, n_features: int, **levels: Any) -> NetworkSpec:
    """The network that the parameters describe, at the level or the range of `levels`."""
    return NetworkSpec(
        estimator.network,
        n_features,
        given_widths(estimator),
        estimator.activation,
        estimator.conservative,
        **levels,
    )


def _automatic_network(n_rows: int, n_features: int) -> str:
    """Which kind of network suits a table; depth gains nothing in few columns."""
    if n_rows < _FEW_ROWS:
        return "ensemble"
    return "mlp" if n_features <= FEW_COLUMNS else "resnet"


def resolved_spec(
    estimator: BaseEstimator,
    n_features: int,
    n_rows: int,
    sigma_range: tuple[float, float],
    previous: NetworkSpec | None,
) -> NetworkSpec:
    """A network over all levels for so many rows to train on, with what stands for "auto".

    Where there was a network before, "auto" is what it was there.
    """
    network = estimator.network
    if _is_auto(estimator, "network"):
        network = _automatic_network(n_rows, n_features)
    resolved = automatic_architecture(network, n_rows, n_features) | {"network": network}
    if not _is_auto(estimator, "hidden_layer_sizes"):
        resolved["hidden_layer_sizes"] = given_widths(estimator)
    if previous is not None:
        resolved["n_components"] = 0 if estimator.conservative else estimator.n_components
        names = ("network", "hidden_layer_sizes", "n_components")
        kept = [name for name in names if _is_auto(estimator, name)]
        resolved |= {name: getattr(previous, name) for name in (*kept, "options")}
    return NetworkSpec(
        n_features=n_features,
        activation=estimator.activation,
        conservative=estimator.conservative,
        sigma_range=sigma_range,
        **resolved,
    )
