"""A mixture of Gaussians that a network may rest on, and the rule that decides for it.

The field of a mixture is known in closed form at all levels, so a network may rest on it and
learn the rest.  That is worth much where rows are clustered.  Where the mixture has learnt its
own rows by heart it does harm, and the loss of denoising does not tell.  So what decides is the
log-density of held-out rows: of the mixture, and of a network without it after the first part of
its training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.mixture import GaussianMixture

from skscore._backend.batches import Portion
from skscore._backend.closed_form import ClosedForm, Mixture
from skscore._backend.convert import apply_in_chunks
from skscore._backend.fitted import FittedNetwork, Start
from skscore._backend.training import Record, TrainingRun
from skscore._changes.mixtures import best_mixture, fitted_mixture
from skscore._fitting.data import FitData
from skscore._fitting.run import carry_out
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


def fit_on_mixture(
    run: TrainingRun, start: Start, data: FitData, n_components: int | str
) -> tuple[FittedNetwork, Record]:
    """Train a network, which rests on a mixture where it is new and that is better.

    0 is no mixture; so is "auto" without held-out rows, with a single other row, and where a
    network without one is about as good on the held-out rows.
    """
    training, held = run.split
    none = n_components == "auto" and (held is None or len(training) < LEAST_ROWS)
    if start.previous is not None or n_components == 0 or none:
        return carry_out(run, start, data.rng)
    _check_components(run, n_components)
    judges = training if held is None else held
    judged = standardised_rows(data, judges, _MOST_HELD)
    known = standardised_rows(data, training, _MOST_ROWS)
    seed = int(data.rng.randint(2**31 - 1))
    mixture = fit_mixture(known, judged, n_components, seed)
    resting = start.on(mixture)
    n_trial = int(_TRIAL * run.plan.n_rounds)
    if n_components == "auto" and len(mixture.weights) == 1:  # where any network starts
        return carry_out(run, start, data.rng)
    if n_components != "auto" or n_trial == 0:
        return carry_out(run, resting, data.rng)
    trial, later = _stages(run, n_trial)
    network, record = carry_out(trial, start, data.rng, validation_seed=seed)
    device = str(run.rows.device)
    gains = _log_density(mixture, judged) - _network_log_density(network, judged, device)
    number = min(len(gains), judging_number(judges, data.rows))
    if gains.mean() > _MARGIN * gains.std() / number**0.5:
        return carry_out(run, resting, data.rng, validation_seed=seed)
    if record.status != "max_iter":
        return network, record
    network, rest = carry_out(
        later, replace(start, previous=network), data.rng, validation_seed=seed
    )
    return network, record.followed_by(rest)


def _check_components(run: TrainingRun, number: int | str) -> None:
    """Refuse more components of the mixture than rows it would be fitted to."""
    n_rows = len(run.split.training)
    if number != "auto" and n_rows < (least := max(LEAST_ROWS, int(number))):
        raise ValueError(
            f"{run.owner} with n_components={number} needs at least {least} different rows to "
            f"train on. Got {n_rows}, held-out rows aside: give more rows, or set "
            "n_components='auto' or 0."
        )


def _stages(run: TrainingRun, n_rounds: int) -> tuple[TrainingRun, TrainingRun]:
    """The first rounds of a run, and those that are left, with one fall of the learning rate."""
    rest = run.plan.n_rounds - n_rounds
    first = replace(run.plan, n_rounds=n_rounds, later_rounds=rest)
    return replace(run, plan=first), replace(run, plan=replace(run.plan, n_rounds=rest))


def _log_density(mixture: Mixture, rows: np.ndarray) -> np.ndarray:
    law = ClosedForm(mixture.weights, mixture.means, mixture.covariances)
    return law.log_density(rows)


def _network_log_density(network: FittedNetwork, rows: np.ndarray, device: str) -> np.ndarray:
    flow = network.open_flow(device)
    return apply_in_chunks(lambda z: flow.log_density(z, _TOL, None), rows)[:, 0]
