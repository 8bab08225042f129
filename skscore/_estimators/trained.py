"""A trained network and its standardiser: what fitted estimators compute with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skscore._backend.convert import CHUNK, apply_in_chunks, array
from skscore._backend.evaluators import Evaluator, FlowEvaluator
from skscore._backend.fitted import FittedNetwork
from skscore._changes.standardizer import Standardizer
from skscore._messages import listed, warn_user
from skscore._validation import finite_results, solved_results
from skscore.exceptions import FarRowsWarning
from skscore.samplers import Chains, Path, ReverseSampler, Sampler

_FLOW_CHUNK = 4096


@dataclass(frozen=True)
class TrainedScore:
    """A network on standardised rows, and the way from the units of X and back.

    Rows X are checked.  `sigma` is a level of a network over all levels, and None for one of a
    single level.  `owner` and `standardize`, the estimator's name and parameter, are for messages.
    """

    owner: str
    network: FittedNetwork
    standardizer: Standardizer
    device: str
    standardize: str | None

    def open(self, sigma: float | None) -> Evaluator:
        """The score network at a level."""
        return self.network.open(self.device, sigma)

    def open_flow(self) -> FlowEvaluator:
        """The probability flow of a network over all levels."""
        return self.network.open_flow(self.device)

    def values(
        self,
        name: str,
        X: np.ndarray,
        fn: Callable[[np.ndarray, np.ndarray], np.ndarray],
        chunk: int = CHUNK,
    ) -> np.ndarray:
        """`fn` of standardised rows and of rows, for all rows of X; `name` is for errors."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(lambda x: fn(self.standardizer.transform(x), x), X, chunk)
        return finite_results(values, f"{name} of {self.owner}")

    def score(self, X: np.ndarray, sigma: float | None) -> np.ndarray:
        """Scores, (n, d)."""
        network, at = self.open(sigma), self.standardizer.at
        return self.values("score_function", X, lambda z, x: at(x).pull_score(network.score(z)))

    def divergence(
        self, X: np.ndarray, metric: np.ndarray | None, sigma: float | None
    ) -> np.ndarray:
        """Divergences of the score in a metric for all rows (d, d), or for each (n, d, d)."""
        network, at = self.open(sigma), self.standardizer.at
        each = metric is not None and metric.ndim == 3

        def divergence(index: np.ndarray) -> np.ndarray:
            here = at(X[index])
            M = metric[index] if metric is not None and each else metric
            return here.in_metric(M).measure(network, here.image)[1]

        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(divergence, np.arange(len(X)))
        return finite_results(values, f"score_divergence of {self.owner}")

    def energy(self, X: np.ndarray, sigma: float | None) -> np.ndarray:
        """Energies of a conservative network, (n,)."""
        network, volume = self.open(sigma), self.standardizer.log_det
        return self.values("energy", X, lambda z, x: network.energy(z) - volume(x))

    def denoise(self, X: np.ndarray, sigma: float, names: list[str]) -> np.ndarray:
        """Tweedie's formula at a level of Gaussian noise, within the plane of the rows.

        Along directions without variance the clean row is known.  Of rows far outside the network
        knows nothing, and the linear posterior mean takes its place.  `names` are those of the
        columns.
        """
        standardizer, network = self.standardizer, self.open(sigma)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = apply_in_chunks(standardizer.transform, X)
        outside = standardizer.outside(rows, sigma)
        if outside.any():
            self._warn_outside(outside, sigma, names)

        def clean(z: np.ndarray, _: np.ndarray) -> np.ndarray:
            z = standardizer.on_plane(z)
            far = standardizer.outside(z, sigma).any(axis=1)
            means = z + sigma**2 * network.score(z)
            means[far] = z[far] @ standardizer.linear_denoiser(sigma)
            return standardizer.inverse_transform(standardizer.on_plane(means))

        return self.values("denoise", X, clean)

    def _warn_outside(self, outside: np.ndarray, sigma: float, names: list[str]) -> None:
        """Say which rows are no training rows with noise of that level."""
        which = listed([names[j] for j in np.flatnonzero(outside.any(0))])
        rows = np.flatnonzero(outside.any(1))
        warn_user(
            f"{len(rows)} of {len(outside)} rows given to denoise of {self.owner} (first row "
            f"{rows[0]}) lie far beyond the training rows in these columns, by more than noise of "
            f"level sigma={sigma:g} explains: {which}. Constant columns get their constant, and "
            "where others are far the posterior mean is the linear one of a Gaussian. A level is "
            f"in standardised coordinates (standardize={self.standardize!r}): for noise in the "
            "units of X fit with standardize=None, and give its standard deviation as the level.",
            FarRowsWarning,
        )

    def run_chains(
        self,
        sampler: Sampler,
        starts: np.ndarray,
        rng: np.random.RandomState,
        sigma: float | None,
        **steps: int | None,
    ) -> tuple[np.ndarray, Chains]:
        """Draws in input space of chains in standardised coordinates, from rows in input space."""
        z = self.standardizer
        starts = z.jitter(z.transform(starts), rng)
        chains = self.open(sigma).run_chains(sampler, starts, int(rng.randint(2**31 - 1)), **steps)
        return z.inverse_transform(array(chains.draws)), chains

    def log_density(self, X: np.ndarray, tol: float, probes: np.ndarray | None) -> np.ndarray:
        """Log-densities of the flow, (n, m) for m probes, (n, 1) without."""
        flow, standardizer = self.open_flow(), self.standardizer

        def log_density(x: np.ndarray) -> np.ndarray:
            values = flow.log_density(standardizer.transform(x), tol, probes)
            return values + standardizer.log_det(x)[:, None]

        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(log_density, X, _FLOW_CHUNK)
        return solved_results(values, f"score_samples of {self.owner}", "density_tol")

    def lower_bound(self, X: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
        """Lower bounds of the log-density, (n,)."""
        flow, volume = self.open_flow(), self.standardizer.log_det
        return self.values(
            "score_lower_bound", X, lambda z, x: flow.lower_bound(z, n_draws, seed) + volume(x)
        )

    def carry(self, rows: np.ndarray, start: float, end: float, tol: float) -> np.ndarray:
        """Standardised rows carried along the probability flow between two angles."""
        flow = self.open_flow()
        return apply_in_chunks(lambda z: flow.flow(z, start, end, tol), rows, _FLOW_CHUNK)

    def run_reverse(
        self, sampler: ReverseSampler, n: int, angles: list[float], seed: int, keep_states: bool
    ) -> Path:
        """Standardised draws from noise down the levels."""
        shape = n, self.network.spec.n_features
        return self.open_flow().run_reverse(sampler, shape, angles, seed, keep_states)
