"""What is asked of fitted networks and fields: scores, divergences, draws, log-densities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skscore import likelihood
from skscore._backend.convert import array, generator, n_threads_for, tensor
from skscore._backend.scope import torch_scope
from skscore._math.angles import AngularField, field_of_score, flow
from skscore._math.calculus import jacobian, quadratic_forms
from skscore._math.gaussian import MixtureField
from skscore.samplers import Chains, Path, ReverseSampler, Sampler, run_chains, run_reverse

_ROWS_IN_CACHE = 512


class _Opened:
    """A network on a device in float64, and the scope in which it is called."""

    @torch_scope()
    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._device = device
        # A network of ours: its methods are more than those of every module.
        self._network: Any = network.to(device, torch.float64).requires_grad_(False)
        for part in network.modules():
            if isinstance(part, MixtureField):
                part.refine()
        self._n_threads = n_threads_for(network)

    def _apply(self, fn: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
        with torch_scope(self._n_threads), torch.no_grad():
            return array(fn(tensor(rows, self._device)))

    @contextmanager
    def _in_float32(self) -> Iterator[nn.Module]:
        with torch_scope(self._n_threads):
            try:
                yield self._network.float()
            finally:
                self._network.double()


class Evaluator(_Opened):
    """A score network, called with arrays of standardised rows, (n, d) float64."""

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Scores, (n, d)."""
        return self._apply(self._network, rows)

    def score_and_divergence(
        self, rows: np.ndarray, directions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n, d), and ``sum_k v_k' J v_k`` (n,) for directions of shape (m, d)."""
        v = tensor(directions, self._device)
        with torch_scope(self._n_threads), torch.no_grad():
            scores, divergences = self._network.divergence(tensor(rows, self._device), v)
        return array(scores), array(divergences)

    def jacobian(self, rows: np.ndarray) -> np.ndarray:
        """Jacobians of the score, (n, d, d)."""
        return self._apply(lambda x: jacobian(self._network, x), rows)

    def energy(self, rows: np.ndarray) -> np.ndarray:
        """Energies of a conservative network, (n,)."""
        return self._apply(self._network.energy, rows)

    def run_chains(self, sampler: Sampler, starts: np.ndarray, seed: int, **steps: Any) -> Chains:
        """Chains in float32 on the device; see :func:`skscore.samplers.run_chains`."""
        with self._in_float32() as network:
            x = tensor(starts, self._device, torch.float32)
            source = generator(seed, self._device)
            return run_chains(sampler, network, x, generator=source, **steps)


class FlowEvaluator(_Opened):
    """A network over all levels, called with arrays of standardised rows, (n, d) float64."""

    def __init__(self, network: nn.Module, device: torch.device, sigma_min: float) -> None:
        super().__init__(network, device)
        self._sigma_min = sigma_min

    def flow(self, rows: np.ndarray, start: float, end: float, tol: float) -> np.ndarray:
        """Rows carried along the probability flow between two angles, (n, d)."""
        return self._apply(lambda x: flow(self._network, x, start, end, tol), rows)

    def log_density(self, rows: np.ndarray, tol: float, probes: np.ndarray | None) -> np.ndarray:
        """Log-densities (n, m), one for each of the probes (m, d); exact (n, 1) without."""
        v = tensor(np.eye(rows.shape[1]) if probes is None else probes, self._device)

        def exact(y: Tensor, theta: Tensor, v: Tensor = v) -> tuple[Tensor, Tensor]:
            F, trace = self._network.divergence(y, theta, v)
            return F, trace[:, None]

        def estimated(y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
            F, forms = quadratic_forms(lambda y: self._network(y, theta), y, v)
            return F, forms.mT

        field, m = (exact, 1) if probes is None else (estimated, len(probes))
        single = probes is None and self._network.single_tangents
        even = partial(exact, v=v.float()) if single else field
        # What a processor's cache holds; a GPU is better off with all rows at once.
        at_once = _ROWS_IN_CACHE if self._device.type == "cpu" else max(1, len(rows))
        solve = partial(
            likelihood.log_density,
            field,
            sigma_min=self._sigma_min,
            tol=tol,
            n_estimates=m,
            drift=self._network,
            even=even,
            at_once=at_once,
        )
        return self._apply(solve, rows)

    def lower_bound(self, rows: np.ndarray, n_draws: int, seed: int) -> np.ndarray:
        """Lower bounds of the log-density, (n,)."""
        network, low = self._network, self._sigma_min
        return self._apply(lambda x: likelihood.lower_bound(network, x, low, n_draws, seed), rows)

    def run_reverse(
        self,
        sampler: ReverseSampler,
        shape: tuple[int, int],
        angles: list[float],
        seed: int,
        keep_states: bool,
    ) -> Path:
        """Draws in float32 on the device; see :func:`skscore.samplers.run_reverse`."""
        with self._in_float32() as network:
            source = generator(seed, self._device)
            noise = torch.empty(shape, dtype=torch.float32, device=self._device)
            noise.normal_(generator=source)
            return run_reverse(
                sampler, network, noise, angles, keep_states=keep_states, generator=source
            )


def run_callable_chains(
    sampler: Sampler,
    score: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    seed: int,
    **steps: Any,
) -> Chains:
    """Chains on a score that takes and gives arrays."""
    cpu = torch.device("cpu")
    with torch_scope():
        return run_chains(
            sampler,
            lambda x: tensor(score(array(x)), cpu),
            tensor(starts, cpu),
            generator=generator(seed),
            **steps,
        )


def run_callable_reverse(
    sampler: ReverseSampler,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    shape: tuple[int, int],
    angles: list[float],
    sigma_range: tuple[float, float],
    seed: int,
) -> Path:
    """Draws by a score ``s(x, sigma)`` that takes and gives arrays, a level for each row."""
    cpu = torch.device("cpu")

    def level_score(x: Tensor, sigma: Tensor) -> Tensor:
        return tensor(score(array(x), array(sigma.expand(len(x), 1))), cpu)

    field = field_of_score(level_score, *sigma_range)
    return run_field_reverse(sampler, field, shape, angles, seed)


def run_field_reverse(
    sampler: ReverseSampler,
    field: AngularField,
    shape: tuple[int, int],
    angles: list[float],
    seed: int,
) -> Path:
    """Draws by a field of float64 tensors, on the processor."""
    with torch_scope():
        source = generator(seed)
        cpu = torch.device("cpu")
        noise = torch.empty(shape, dtype=torch.float64, device=cpu).normal_(generator=source)
        return run_reverse(sampler, field, noise, angles, generator=source)
