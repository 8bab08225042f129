"""Fitted networks: how one is built, trained, kept as arrays and opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skscore._backend.closed_form import Mixture
from skscore._backend.convert import generator, n_threads_for, resolve_device
from skscore._backend.evaluators import Evaluator, FlowEvaluator
from skscore._backend.row_source import RowSource, on_device
from skscore._backend.scope import building_scope, torch_scope
from skscore._backend.training import Plan, Portion, Record, train
from skscore._math.gaussian import MixtureField
from skscore.losses import Loss
from skscore.networks import (
    NETWORKS,
    ConservativeDiffusionNetwork,
    DiffusionNetwork,
    EnergyNetwork,
    LevelFeatures,
    ScoreNetwork,
)


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
    with torch_scope(n_threads_for(network)):
        record = train(
            network,
            loss,
            rows,
            on_device(training, device),
            None if validation is None else on_device(validation, device),
            plan,
            generator=generator(seeds[1], device),
            resume=None if resume is None else resume.to_record(device),
            on_round=on_round,
        )
    return FittedNetwork.from_record(spec, record), record
