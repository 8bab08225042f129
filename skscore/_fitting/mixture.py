"""A mixture of Gaussians that a network may rest on, and the rule that decides for it.

The field of a mixture is known in closed form at all levels, so a network may rest on it and
learn the rest.  That is worth much where rows are clustered.  Where the mixture has learnt its
own rows by heart it does harm, and the loss of denoising does not tell.  So what decides is the
log-density of held-out rows: of the mixture, and of a network without it after the first part of
its training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.mixture import GaussianMixture

from skscore._backend.closed_form import ClosedForm, Mixture
from skscore._backend.convert import apply_in_chunks
from skscore._backend.fitted import FittedNetwork, NetworkSpec
from skscore._backend.training import Portion, Record
from skscore._changes.mixtures import best_mixture, fitted_mixture
from skscore._fitting.data import FitData
from skscore._rows import drawn_index, judging_number

LEAST_ROWS = 2
"""Fewest rows that a mixture is fitted to."""
_COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 32)
_MOST_ROWS, _MOST_HELD = 5000, 500
_MOST_NUMBERS = 200_000  # in all covariances together
_EM_STEPS = 60
_PATIENCE = 2
_TRIAL = 0.25  # part of the rounds after which a network without mixture is judged
_MARGIN = 2.0  # standard errors by which the mixture must be ahead: the network still learns
_TOL = 1e-3

Run = Callable[..., tuple[FittedNetwork, Record]]


def fit_mixture(rows: np.ndarray, held: np.ndarray, n_components: int | str, seed: int) -> Mixture:
    """Mixture of standardised rows (n, d); "auto" takes the number that held-out rows like best."""

    def fit(number: int) -> tuple[GaussianMixture, float]:
        law = fitted_mixture(rows, number, _EM_STEPS, seed)
        return law, law.score(held)

    numbers = _numbers(*rows.shape) if isinstance(n_components, str) else [n_components]
    best, _ = best_mixture(numbers, fit, _PATIENCE)
    return Mixture(best.weights_, best.means_, best.covariances_)


def _numbers(n: int, d: int) -> list[int]:
    """Numbers of components to try on n rows of d columns."""
    most = max(1, min(n // (2 * d), _MOST_NUMBERS // d**2))
    return [k for k in _COMPONENTS if k <= most]


def standardised_rows(data: FitData, rows: Portion, most: int) -> np.ndarray:
    """Rows as training sees them, at most so many, as often as they count."""
    index = drawn_index(rows, most, data.rng)
    z = data.standardizer
    return z.jitter(z.transform(data.X[index]), data.rng)


def train_on_mixture(
    run: Run,
    spec: NetworkSpec,
    data: FitData,
    rows: tuple[Portion, Portion | None],
    n_components: int | str,
    n_rounds: int,
    device: str,
) -> tuple[FittedNetwork, Record]:
    """Train a network that rests on a mixture, or one that does not, where held-out rows say so.

    `run` is :func:`skscore._fitting.run.train` but for `spec`, `n_rounds`, `previous`, and what has
    a default there.  Without held-out rows, or with a single other one, "auto" is no mixture.
    """
    training, held = rows
    if n_components == "auto" and (held is None or len(training) < LEAST_ROWS):
        return run(spec=spec, n_rounds=n_rounds, previous=None)
    judges = training if held is None else held
    judging = standardised_rows(data, judges, _MOST_HELD)
    known = standardised_rows(data, training, _MOST_ROWS)
    seed = int(data.rng.randint(2**31 - 1))
    mixture = fit_mixture(known, judging, n_components, seed)
    resting = replace(spec, n_components=len(mixture.weights))
    n_trial = int(_TRIAL * n_rounds)
    if n_components == "auto" and resting.n_components == 1:  # where any network starts
        return run(spec=spec, n_rounds=n_rounds, previous=None)
    if n_components != "auto" or n_trial == 0:
        return run(spec=resting, n_rounds=n_rounds, previous=None, mixture=mixture)
    later_rounds = n_rounds - n_trial
    run = partial(run, validation_seed=seed)  # both stages are judged on the same draws
    trial, record = run(spec=spec, n_rounds=n_trial, previous=None, later_rounds=later_rounds)
    gains = _log_density(mixture, judging) - _network_log_density(trial, judging, device)
    if (
        gains.mean()
        > _MARGIN * gains.std() / min(len(gains), judging_number(judges, data.rows)) ** 0.5
    ):
        return run(spec=resting, n_rounds=n_rounds, previous=None, mixture=mixture)
    if record.status != "max_iter":
        return trial, record
    network, later = run(spec=spec, n_rounds=later_rounds, previous=trial)
    return network, record.followed_by(later)


def _log_density(mixture: Mixture, rows: np.ndarray) -> np.ndarray:
    law = ClosedForm(mixture.weights, mixture.means, mixture.covariances)
    return law.log_density(rows)


def _network_log_density(network: FittedNetwork, rows: np.ndarray, device: str) -> np.ndarray:
    flow = network.open_flow(device)
    return apply_in_chunks(lambda z: flow.log_density(z, _TOL, None), rows)[:, 0]
