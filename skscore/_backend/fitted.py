"""Fitted networks: how one is built, trained, kept as arrays and opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skscore._backend.batches import Portion, Split
from skscore._backend.closed_form import Mixture
from skscore._backend.convert import generator, n_threads_for, resolve_device, tensor
from skscore._backend.evaluators import Evaluator, FlowEvaluator
from skscore._backend.scope import building_scope, torch_scope
from skscore._backend.training import Record, TrainingRun, optimise
from skscore._math.gaussian import MixtureField
from skscore.networks import (
    ConservativeDiffusionNetwork,
    DiffusionNetwork,
    EnergyNetwork,
    LevelFeatures,
    ScoreNetwork,
    network_factory,
)


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network, in plain values.

    It is a score network at level `sigma`, or with `sigma_range` one over all levels, which may
    rest on a mixture of `n_components`.  `options` are arguments of its kind alone.
    """

    network: str | Callable[..., nn.Module]
    n_features: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    conservative: bool
    sigma: float = 0.0
    sigma_range: tuple[float, float] | None = None
    n_components: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, seed: int = 0) -> nn.Module:
        """An untrained network in float32 on the CPU; no global state is read or changed."""
        with building_scope(generator(seed)):
            return self._build().float()

    def _build(self) -> nn.Module:
        factory = partial(
            network_factory(self.network),
            self.n_features,
            1 if self.conservative else self.n_features,
            self.hidden_layer_sizes,
            self.activation,
            **self.options,
        )
        if self.sigma_range is None:
            wrapper = EnergyNetwork if self.conservative else ScoreNetwork
            return wrapper(factory(), self.sigma)
        body = factory(context_features=LevelFeatures.n_features)
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
        return cls(
            spec,
            _to_arrays(record.average),
            _to_arrays(record.last),
            _to_arrays(record.moments),
            record.n_steps,
        )

    def to_record(self, device: torch.device) -> Record:
        """The training record to go on from."""
        return Record(
            _to_tensors(self.average, device),
            _to_tensors(self.last, device),
            _to_tensors(self.moments, device),
            self.n_steps,
        )

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest level of a network over all levels."""
        if self.spec.sigma_range is None:
            raise TypeError("A network of one level has no range of levels.")
        return self.spec.sigma_range

    @torch_scope()
    def module(self) -> nn.Module:
        """The network itself, on the CPU, in float32."""
        network = self.spec.build()
        network.load_state_dict(_to_tensors(self.average, torch.device("cpu")))
        return network.eval()

    @torch_scope()
    def open(self, device: str, sigma: float | None = None) -> Evaluator:
        """Its score on a device, ready for arrays; of a network over all levels that at `sigma`."""
        network: Any = self.module()
        if self.spec.sigma_range is not None:
            network = network.at(sigma)
        return Evaluator(network, resolve_device(device))

    def open_levels(self, device: str, sigmas: np.ndarray) -> Iterator[Evaluator]:
        """The scores at several levels of one network that is built once."""
        network: Any = self.module()
        for sigma in sigmas.tolist():
            yield Evaluator(network.at(sigma), resolve_device(device))

    @torch_scope()
    def open_flow(self, device: str) -> FlowEvaluator:
        """The probability flow of a network over all levels on a device, ready for arrays."""
        return FlowEvaluator(self.module(), resolve_device(device), self.sigma_range[0])


@dataclass(frozen=True)
class Start:
    """Where training starts: a new network, which may rest on a mixture, or a fitted one."""

    spec: NetworkSpec
    previous: FittedNetwork | None = None
    mixture: Mixture | None = None

    def on(self, mixture: Mixture) -> Start:
        """A new network of this kind that rests on a mixture."""
        return Start(replace(self.spec, n_components=len(mixture.weights)), mixture=mixture)

    def network(self, seed: int) -> nn.Module:
        """The network, on the CPU; `seed` is of its weights."""
        network: Any = self.spec.build(seed)
        if self.mixture is not None:
            network.mixture.load_state_dict(self.mixture.buffers())
        return network

    def record(self, device: torch.device) -> Record | None:
        """The training record to go on from."""
        return None if self.previous is None else self.previous.to_record(device)


def fit_network(
    start: Start, run: TrainingRun, seeds: tuple[int, int]
) -> tuple[FittedNetwork, Record]:
    """Train the network of a start; `seeds` are of its weights and of the draws."""
    device = run.rows.device
    with torch_scope():
        network = start.network(seeds[0]).to(device)
    with torch_scope(n_threads_for(network)):
        record = optimise(
            network,
            replace(run, split=_on_device(run.split, device)),
            generator=generator(seeds[1], device),
            previous=start.record(device),
        )
    return FittedNetwork.from_record(start.spec, record), record


def _on_device(split: Split, device: torch.device) -> Split:
    """A split of tensors from one of arrays."""

    def moved(portion: Portion) -> Portion:
        index = torch.as_tensor(portion.index, device=device)
        weights = portion.weights
        return Portion(index, None if weights is None else tensor(weights, device))

    training, validation = split
    return Split(moved(training), None if validation is None else moved(validation))
