"""The criterion of a noise level, from one network of all levels."""

from __future__ import annotations

import numpy as np

from skscore._backend.convert import apply_in_chunks
from skscore._backend.evaluators import Evaluator
from skscore._backend.fitted import FittedNetwork
from skscore._changes.maps import InMetric
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
    levels = list(network.open_levels(device, sigmas))

    def values(z: np.ndarray) -> np.ndarray:
        here = standardizer.at(standardizer.inverse_transform(z))
        in_metric = here.in_metric(standardizer.covariance)
        return np.stack([_values(in_metric, field, z) for field in levels], axis=1)

    return apply_in_chunks(values, rows).T


def _values(in_metric: InMetric, field: Evaluator, z: np.ndarray) -> np.ndarray:
    scores, traces = in_metric.measure(field, z)
    return hyvarinen_score_samples(in_metric.components(scores), traces)
