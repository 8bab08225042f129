"""The criterion of a noise level, from one network of all levels."""

from __future__ import annotations

import numpy as np

from skscore._backend.convert import apply_in_chunks
from skscore._backend.evaluators import Evaluator
from skscore._backend.fitted import FittedNetwork
from skscore._changes.standardizer import Standardizer
from skscore.metrics import hyvarinen_score_samples


def level_criterion(
    network: FittedNetwork,
    standardizer: Standardizer,
    device: str,
    rows: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """Hyvarinen's criterion (n_levels, n) of standardised rows, in the covariance's metric."""
    values = _linear_criterion if standardizer.margins is None else _curved_criterion
    levels = list(network.open_levels(device, sigmas))
    return apply_in_chunks(lambda z: np.stack(values(standardizer, levels, z), 1), rows).T


def _linear_criterion(
    standardizer: Standardizer, levels: list[Evaluator], rows: np.ndarray
) -> list[np.ndarray]:
    """One set of directions serves all rows."""
    v = standardizer.directions(standardizer.covariance)
    parts = [net.score_and_divergence(rows, v) for net in levels]
    return [hyvarinen_score_samples(scores @ v.T, trace) for scores, trace in parts]


def _curved_criterion(
    standardizer: Standardizer, levels: list[Evaluator], rows: np.ndarray
) -> list[np.ndarray]:
    """The Jacobian of every row is needed."""
    M, here = standardizer.covariance, standardizer.at(standardizer.inverse_transform(rows))
    values = []
    for net in levels:
        scores = net.score(rows)
        traces = here.traces(net.jacobian(rows), scores, M)
        values.append(hyvarinen_score_samples(here.score(scores), traces, M))
    return values
