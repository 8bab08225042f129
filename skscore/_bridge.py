"""The threshold between arrays and tensors: the only module that knows both.

Below it live torch and nothing of numpy or scikit-learn; above it numpy and
scikit-learn and no torch.  What crosses is made here: tensors, arrays, seeds to
generators, states to arrays.  Networks train in float32.  They are evaluated in
float64, so that the result for a row does not depend on the rows beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skscore import _gaussian, likelihood
from skscore._calculus import jacobian, quadratic_forms
from skscore._canonical import AngularField, field_of_score, flow
from skscore._gaussian import KernelField, MixtureField
from skscore._scope import building_scope, torch_scope
from skscore._training import Plan, Portion, Record, train
from skscore.losses import Loss
from skscore.networks import (
    NETWORKS,
    ConservativeDiffusionNetwork,
    DiffusionNetwork,
    EnergyNetwork,
    LevelFeatures,
    ScoreNetwork,
)
from skscore.samplers import Chains, Path, ReverseSampler, Sampler, run_chains, run_reverse

CHUNK = 1024
"""Rows evaluated at a time."""

_CACHE_BYTES = 2**28
_ROWS_IN_CACHE = 512
_CACHED_ENTRIES, _FEWEST_ROWS = 2**17, 16  # of rows with every component of a mixture
_LARGE_NETWORK = 2_000_000
_LEAST_VARIANCE = 1e-8  # of a mixture's component along any direction


def resolve_device(name: str) -> torch.device:
    """The device of a name; "auto" is the GPU when there is one."""
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(_device_message(name)) from error
    usable = device.type == "cpu" or (
        device.type == "cuda" and has_cuda and (device.index or 0) < torch.cuda.device_count()
    )
    if not usable:
        raise ValueError(_device_message(name))
    return device


def _device_message(name: object) -> str:
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ", ".join(repr(f"cuda:{i}") for i in range(n_gpus)) or "no CUDA device on this machine"
    return (
        "The 'device' parameter must be 'auto', 'cpu', 'cuda' or 'cuda:<number>' of a "
        f"device that exists ({here}). Got {name!r} instead."
    )


@torch.inference_mode(False)
def tensor(rows: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float64) -> Tensor:
    """A tensor of its own memory: the caller's array (maybe read-only) is never aliased."""
    return torch.tensor(np.ascontiguousarray(rows), dtype=dtype, device=device)


def array(values: Tensor) -> np.ndarray:
    """A float64 array."""
    return values.detach().to("cpu", torch.float64).numpy()


def from_user(values: Any) -> Any:
    """A tensor of the user's as an array of its numbers, on the CPU; anything else as it is."""
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on a device; no global state is involved."""
    return torch.Generator(device).manual_seed(seed)


def _n_threads(network: nn.Module) -> int | None:
    """One thread for a small network; None leaves them as they are."""
    return 1 if sum(p.numel() for p in network.parameters()) <= _LARGE_NETWORK else None


def apply_in_chunks(
    fn: Callable[[np.ndarray], np.ndarray], X: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
    """`fn` of `chunk` rows at a time, joined."""
    parts = [fn(X[start : start + chunk]) for start in range(0, len(X), chunk)]
    return np.concatenate(parts)


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network, in plain values.

    It is a score network at level `sigma`, or with `sigma_range` one over all levels, which may
    rest on a mixture of `n_components`.  `dropout` is for networks that have it.
    """

    network: str | Callable[..., nn.Module]
    n_features: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    conservative: bool
    sigma: float = 0.0
    sigma_range: tuple[float, float] | None = None
    n_components: int = 0
    dropout: float | None = None

    def build(self, seed: int = 0) -> nn.Module:
        """An untrained network in float32 on the CPU; no global state is read or changed."""
        with building_scope(generator(seed)):
            return self._build().float()

    def _build(self) -> nn.Module:
        factory = NETWORKS[self.network] if isinstance(self.network, str) else self.network
        out_features = 1 if self.conservative else self.n_features
        shape = (self.n_features, out_features, self.hidden_layer_sizes, self.activation)
        if self.sigma_range is None:
            wrapper = EnergyNetwork if self.conservative else ScoreNetwork
            return wrapper(factory(*shape), self.sigma)
        options = {} if self.dropout is None else {"dropout": self.dropout}
        body = factory(*shape, context_features=LevelFeatures.n_features, **options)
        if self.conservative:
            return ConservativeDiffusionNetwork(body, self.sigma_range[0])
        k = self.n_components
        mixture = MixtureField(k, self.n_features) if k else None
        return DiffusionNetwork(body, self.sigma_range[0], mixture)


def _to_arrays(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().cpu().numpy().copy()
    return {key: _to_arrays(value) for key, value in tree.items()}


def _to_tensors(tree: Any, device: torch.device) -> Any:
    if isinstance(tree, np.ndarray):
        return torch.tensor(tree, device=device)
    return {key: _to_tensors(value, device) for key, value in tree.items()}


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network as plain values: its spec, its arrays, and those to go on from."""

    spec: NetworkSpec
    average: dict[str, np.ndarray]
    last: dict[str, np.ndarray]
    moments: dict[int, dict[str, np.ndarray]]
    n_steps: int

    @classmethod
    def from_record(cls, spec: NetworkSpec, record: Record) -> FittedNetwork:
        """Arrays of a training record."""
        states = (record.average, record.last, record.moments)
        return cls(spec, *(_to_arrays(state) for state in states), record.n_steps)

    def to_record(self, device: torch.device) -> Record:
        """The training record to go on from."""
        states = (self.average, self.last, self.moments)
        return Record(*(_to_tensors(state, device) for state in states), self.n_steps)

    @torch_scope()
    def module(self) -> nn.Module:
        """The network itself, on the CPU, in float32."""
        network = self.spec.build()
        network.load_state_dict(_to_tensors(self.average, torch.device("cpu")))
        return network.eval()

    @torch_scope()
    def open(self, device: str, sigma: float | None = None) -> Evaluator:
        """Its score on a device, ready for arrays; that at a level where it knows them all."""
        network = self.module()
        return Evaluator(network if sigma is None else network.at(sigma), resolve_device(device))

    def open_levels(self, device: str, sigmas: np.ndarray) -> Iterator[Evaluator]:
        """The scores at several levels of one network that is built once."""
        network = self.module()
        for sigma in sigmas.tolist():
            yield Evaluator(network.at(sigma), resolve_device(device))

    @torch_scope()
    def open_flow(self, device: str) -> FlowEvaluator:
        """The probability flow of a network over all levels on a device, ready for arrays."""
        return FlowEvaluator(self.module(), resolve_device(device), self.spec.sigma_range[0])


class _Opened:
    """A network on a device in float64, and the scope in which it is called."""

    @torch_scope()
    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._device = device
        self._network = network.to(device, torch.float64).requires_grad_(False)
        for part in network.modules():
            if isinstance(part, MixtureField):
                part.refine()
        self._n_threads = _n_threads(network)

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

    def run_chains(
        self, sampler: Sampler, starts: np.ndarray, seed: int, **steps: int | None
    ) -> Chains:
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
        d = rows.shape[1]
        v = tensor(np.eye(d) if probes is None else probes, self._device)

        def exact(y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
            F, trace = self._network.divergence(y, theta, v)
            return F, trace[:, None]

        def estimated(y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
            F, forms = quadratic_forms(lambda y: self._network(y, theta), y, v)
            return F, forms.mT

        field, m = (exact, 1) if probes is None else (estimated, len(probes))
        # What a processor's cache holds; a GPU is better off with all rows at once.
        at_once = _ROWS_IN_CACHE if self._device.type == "cpu" else max(1, len(rows))
        solve = partial(
            likelihood.log_density,
            field,
            sigma_min=self._sigma_min,
            tol=tol,
            n_estimates=m,
            drift=self._network,
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
    **steps: int | None,
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


class RowSource:
    """Standardised rows by index, as float32 tensors on a device.

    A table of up to 256 MiB is standardised once and kept on the device; of a larger one
    each batch is standardised as it is asked for.  `uniform` and `normal` are (m, d)
    directions along which every visit to a row adds U(-1/2, 1/2) and N(0, 1) noise:
    dequantisation, and the law of directions in which the rows do not vary.
    """

    def __init__(
        self,
        X: np.ndarray,
        standardize: Callable[[np.ndarray], np.ndarray],
        uniform: np.ndarray,
        normal: np.ndarray,
        device: torch.device,
    ) -> None:
        self.device = device
        self._X, self._standardize = X, standardize
        with torch_scope():
            self._uniform = tensor(uniform, device, torch.float32)
            self._normal = tensor(normal, device, torch.float32)
            cached = 4 * X.size <= _CACHE_BYTES
            self._table = self._read(X) if cached else None

    def _read(self, X: np.ndarray) -> Tensor:
        rows = np.empty(X.shape, dtype=np.float32)
        for start in range(0, len(X), CHUNK):
            part = slice(start, start + CHUNK)
            rows[part] = self._standardize(X[part])
        return torch.from_numpy(rows).to(self.device)

    def take(self, index: Tensor, source: torch.Generator) -> Tensor:
        """Rows (b, d) at an index (b,)."""
        table = self._table
        if table is None:
            x = self._read(self._X[index.cpu().numpy()])
        else:
            x = table.index_select(0, index)
        if len(self._uniform):
            u = x.new_empty(len(x), len(self._uniform)).uniform_(-0.5, 0.5, generator=source)
            x = x + u @ self._uniform
        if len(self._normal):
            z = x.new_empty(len(x), len(self._normal)).normal_(generator=source)
            x = x + z @ self._normal
        return x


def _on_device(portion: Portion, device: torch.device) -> Portion:
    """A portion of tensors from one of arrays."""
    index = torch.as_tensor(portion.index, device=device)
    weights = portion.weights
    return Portion(index, None if weights is None else tensor(weights, device))


@dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians of standardised rows: (k,), (k, d) and (k, d, d)."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def buffers(self) -> dict[str, Tensor]:
        """Those of a :class:`skscore._gaussian.MixtureField`."""
        values, vectors = np.linalg.eigh(self.covariances)
        arrays = {
            "log_weights": np.log(self.weights),
            "means": np.einsum("kij,ki->kj", vectors, self.means),
            "variances": np.maximum(values, _LEAST_VARIANCE),
            "vectors": vectors,
        }
        cpu = torch.device("cpu")
        return {name: tensor(value, cpu, torch.float32) for name, value in arrays.items()}


def train_network(
    spec: NetworkSpec,
    loss: Loss,
    rows: RowSource,
    training: Portion,
    validation: Portion | None,
    plan: Plan,
    *,
    seeds: tuple[int, int],
    resume: FittedNetwork | None = None,
    mixture: Mixture | None = None,
    on_round: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[FittedNetwork, Record]:
    """Build, or take up, a network and train it; `seeds` are of its weights and of the draws.

    A new network over all levels may rest on a `mixture`.
    """
    device = rows.device
    with torch_scope():
        network = spec.build(seeds[0])
        if mixture is not None:
            network.mixture.load_state_dict(mixture.buffers())
        network.to(device)
    with torch_scope(_n_threads(network)):
        record = train(
            network,
            loss,
            rows,
            _on_device(training, device),
            None if validation is None else _on_device(validation, device),
            plan,
            generator=generator(seeds[1], device),
            resume=None if resume is None else resume.to_record(device),
            on_round=on_round,
        )
    return FittedNetwork.from_record(spec, record), record


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
        w, m = tensor(weights, cpu), tensor(means, cpu)
        if variance is None:
            self._law = _gaussian.GaussianMixture(w, m, tensor(covariances, cpu))
            self._unit_noise = torch.eye(d, dtype=torch.float64, device=cpu)
        else:
            self._law = _gaussian.IsotropicMixture(w, m, variance)
            self._unit_noise = 1.0
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
        if isinstance(law, _gaussian.IsotropicMixture):
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
        if isinstance(law, _gaussian.IsotropicMixture):
            return means[component] + np.sqrt(law.variance) * noise
        factors = np.linalg.cholesky(array(law.covariances))
        return means[component] + np.einsum("nij,nj->ni", factors[component], noise)
