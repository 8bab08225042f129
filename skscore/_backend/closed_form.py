"""Densities whose scores have a closed form, for arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skscore._backend.convert import CHUNK, apply_in_chunks, array, generator, tensor
from skscore._backend.scope import building_scope, torch_scope
from skscore._math import gaussian
from skscore._math.angles import AngularField
from skscore._math.gaussian import KernelField, MixtureField

_CACHED_ENTRIES, _FEWEST_ROWS = 2**17, 16  # of rows with every component of a mixture
_LEAST_VARIANCE = 1e-8  # of a mixture's component along any direction


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians of standardised rows: (k,), (k, d) and (k, d, d)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def buffers(self) -> dict[str, Tensor]:
        """Those of a :class:`skscore._math.gaussian.MixtureField`."""
        values, vectors = np.linalg.eigh(self.covariances)
        arrays = {
            "log_weights": np.log(self.weights),
            "means": np.einsum("kij,ki->kj", vectors, self.means),
            "variances": np.maximum(values, _LEAST_VARIANCE),
            "vectors": vectors,
        }
        cpu = torch.device("cpu")
        return {name: tensor(value, cpu, torch.float32) for name, value in arrays.items()}


class ClosedForm:
    """A mixture in closed form, called with arrays; `variance` set means one for all."""

    @torch_scope()
    def __init__(
        self,
        weights: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray | None = None,
        variance: float | None = None,
    ) -> None:
        cpu, d = torch.device("cpu"), means.shape[1]
        self._law: gaussian.GaussianMixture | gaussian.IsotropicMixture
        self._unit_noise: Any
        w, m = tensor(weights, cpu), tensor(means, cpu)
        if variance is not None:
            self._law, self._unit_noise = gaussian.IsotropicMixture(w, m, variance), 1.0
        elif covariances is not None:
            self._law = gaussian.GaussianMixture(w, m, tensor(covariances, cpu))
            self._unit_noise = torch.eye(d, dtype=torch.float64, device=cpu)
        self._chunk = max(1, min(CHUNK, 2**22 // max(1, means.size, d * d)))

    @torch_scope()
    def noised(self, sigma: float) -> ClosedForm:
        """The density of ``x + sigma eps``, eps standard normal; this one is as it was."""
        other = copy.copy(self)
        other._law = self._law.noised(sigma**2 * self._unit_noise)
        return other

    def field(self, location: np.ndarray, matrix: np.ndarray) -> AngularField:
        """The field, at all levels, of the law of ``z = matrix (x - location)``."""
        law, cpu = self._law, torch.device("cpu")
        weights, means = array(law.weights), (array(law.means) - location) @ matrix.T
        if isinstance(law, gaussian.IsotropicMixture):
            variances, vectors = np.linalg.eigh(law.variance * matrix @ matrix.T)
            parts = np.log(weights), means @ vectors, np.maximum(variances, _LEAST_VARIANCE)
            kernels, turn = KernelField(*(tensor(p, cpu) for p in parts)), tensor(vectors, cpu)
            return self._in_chunks(lambda y, theta: kernels(y @ turn, theta) @ turn.mT)
        mixture = Mixture(weights, means, matrix @ array(law.covariances) @ matrix.T)
        with torch_scope(), building_scope(generator(0)):
            field = MixtureField(*means.shape)
            field.load_state_dict(mixture.buffers())
            field.double().refine()
        return self._in_chunks(field)

    def _in_chunks(self, field: AngularField) -> AngularField:
        """A field that is called with as many rows at a time as a processor's cache likes."""
        rows = max(_FEWEST_ROWS, _CACHED_ENTRIES // self._law.means.numel())

        def chunked(y: Tensor, theta: Tensor) -> Tensor:
            return torch.cat([*map(field, y.split(rows), theta.expand(len(y), 1).split(rows))])

        return chunked

    def _apply(self, fn: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        """`fn` of tensors, a chunk of the rows of all arrays at a time."""
        cpu = torch.device("cpu")

        def values(rows: np.ndarray) -> np.ndarray:
            return array(fn(*(tensor(each[rows], cpu) for each in arrays)))

        with torch_scope(), torch.no_grad():
            return apply_in_chunks(values, np.arange(len(arrays[0])), self._chunk)

    def log_density(self, X: np.ndarray) -> np.ndarray:
        """``log p(x)`` in nats, (n,)."""
        return self._apply(self._law.log_density, X)

    def score(self, X: np.ndarray) -> np.ndarray:
        """``grad_x log p(x)``, (n, d)."""
        return self._apply(self._law.score, X)

    def score_divergence(self, X: np.ndarray, metric: np.ndarray) -> np.ndarray:
        """``tr(metric grad s)``, (n,), for a metric (d, d), or one for each row, (n, d, d)."""
        if metric.ndim == 3:
            return self._apply(self._law.score_divergence, X, metric)
        A = tensor(metric, torch.device("cpu"))
        return self._apply(lambda x: self._law.score_divergence(x, A), X)

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Draws, (n, d)."""
        law, rng = self._law, np.random.RandomState(seed)
        weights, means = array(law.weights), array(law.means)
        component = rng.choice(len(weights), size=n, p=weights / weights.sum())
        noise = rng.standard_normal((n, means.shape[1]))
        if isinstance(law, gaussian.IsotropicMixture):
            return means[component] + np.sqrt(law.variance) * noise
        factors = np.linalg.cholesky(array(law.covariances))
        return means[component] + np.einsum("nij,nj->ni", factors[component], noise)
