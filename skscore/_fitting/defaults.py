"""Constructor parameters checked, and the values that stand for "auto"."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skscore._backend.convert import resolve_device
from skscore._validation import (
    check_parameters,
    check_picklable,
    importable,
)
from skscore.networks import NETWORKS, SMOOTH_ACTIVATIONS

_DROPOUT, _DROPOUT_ROWS = 0.2, 100.0  # the largest rate; rows of one more network unit dropped
# Three layers learn more; two have a trace whose cost does not grow with the columns.
_FEW_COLUMNS, _MANY_COLUMNS = (5, (128, 128, 128)), (192, 192)
_FEW_ROUNDS, _MANY_ROUNDS = 40, 60
_FEW_ROWS, _MEMBER = 4000, (96, 96)  # short tables want an ensemble


def check_constructor(estimator: BaseEstimator) -> None:
    """Hold the parameters to what is allowed."""
    check_parameters(estimator)
    resolve_device(estimator.device)
    name = type(estimator).__name__
    widths = hidden_widths(estimator)
    if not widths or not all(isinstance(w, int) and w >= 1 for w in widths):
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


def hidden_widths(
    estimator: BaseEstimator, n_features: int = 1, network: Any = "mlp"
) -> tuple[int, ...]:
    """Widths of the network; those of "auto" depend on its kind and the number of columns."""
    sizes = estimator.hidden_layer_sizes
    if not isinstance(sizes, str):
        return tuple(np.atleast_1d(sizes).tolist())
    if network == "ensemble":
        return _MEMBER
    return _FEW_COLUMNS[1] if n_features <= _FEW_COLUMNS[0] else _MANY_COLUMNS


def n_rounds(estimator: BaseEstimator, n_rows: int) -> int:
    """Rounds of a fit to so many rows; those of "auto" are fewer for short tables."""
    if isinstance(estimator.max_iter, str):
        return _FEW_ROUNDS if n_rows < _FEW_ROWS else _MANY_ROUNDS
    return estimator.max_iter


def resolve_architecture(estimator: BaseEstimator, n_rows: int, n_features: int) -> dict[str, Any]:
    """Kind, widths and dropout of a network for so many rows to train on."""
    network = estimator.network
    if isinstance(network, str) and network == "auto":
        network = "ensemble" if n_rows < _FEW_ROWS else "mlp"
    make = {"network": network}
    make["hidden_layer_sizes"] = hidden_widths(estimator, n_features, network)
    if isinstance(network, str) and network == "ensemble":
        make["dropout"] = min(_DROPOUT, _DROPOUT_ROWS / n_rows)
    return make
