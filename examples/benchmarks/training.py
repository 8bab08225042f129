"""What the neural peers share: training with early stopping, a network of time, divergences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jacfwd, vmap
from torch.optim.swa_utils import AveragedModel

from skscore.metrics import hyvarinen_score

BATCH = 256
STEPS_BETWEEN_LOOKS = 50
PATIENCE = 0.3  # of the most steps, without a better validation loss
VALIDATION = 0.1
LEVELS = np.geomspace(0.01, 1.0, 13).tolist()
LEVEL_ROWS = 200
CHUNK = 512


def train(
    module: nn.Module,
    loss: Callable[[nn.Module, Tensor], Tensor],
    X: np.ndarray,
    seed: int,
    *,
    learning_rate: float,
    most_steps: int,
    average: float | None = None,
) -> tuple[nn.Module, Tensor]:
    """Adam until the validation loss rests; the module at its best look and the held-out rows.

    With `average` the weights are averaged exponentially, with this decay in the long run.
    """
    train_rows, held = split(X, seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=learning_rate)
    averaged = None if average is None else AveragedModel(module, avg_fn=_decay(average))
    judged = module if averaged is None else averaged.module
    batches = _batches(train_rows)
    best, best_state, best_step = math.inf, None, 0
    for step in range(1, most_steps + 1):
        optimiser.zero_grad()
        loss(module, next(batches)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimiser.step()
        if averaged is not None:
            averaged.update_parameters(module)
        if step % STEPS_BETWEEN_LOOKS == 0:
            value = _validation_loss(loss, judged, held)
            if value < best:
                best, best_state, best_step = value, deepcopy(judged.state_dict()), step
            elif step - best_step >= PATIENCE * most_steps:
                break
    judged.load_state_dict(best_state)
    return judged, held


def split(X: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
    """Training and held-out rows; sets the seed of all that follows."""
    torch.manual_seed(seed)
    rows = torch.as_tensor(X, dtype=torch.float32)[torch.randperm(len(X))]
    n_held = max(1, round(VALIDATION * len(X)))
    return rows[n_held:], rows[:n_held]


def _decay(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Short averages at first, so that the untrained weights are soon forgotten."""

    def update(averaged: Tensor, current: Tensor, n: Tensor) -> Tensor:
        return torch.lerp(current, averaged, min(decay, (1 + int(n)) / (10 + int(n))))

    return update


def _batches(rows: Tensor) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(len(rows))
        for start in range(0, max(len(rows) - BATCH, 0) + 1, BATCH):
            yield rows[order[start : start + BATCH]]


@torch.no_grad()
def _validation_loss(
    loss: Callable[[nn.Module, Tensor], Tensor], module: nn.Module, held: Tensor
) -> float:
    """With the same noise at every look."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return float(loss(module, held))


class TimeMLP(nn.Module):
    """Three hidden layers of 256 units on the row and a few waves of the time."""

    def __init__(self, d: int, time_scale: float = 1.0, width: int = 256, n_waves: int = 4) -> None:
        super().__init__()
        self.time_scale = time_scale
        self.register_buffer("frequencies", math.pi / 2 * 2.0 ** torch.arange(n_waves))
        layers = [nn.Linear(d + 1 + 2 * n_waves, width), nn.SiLU()]
        layers += [nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, d))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """`x` of shape (..., d), `t` a number or of shape (...,)."""
        t = (self.time_scale * t).expand(x.shape[:-1])[..., None]
        waves = t * self.frequencies
        return self.layers(torch.cat([x, t, waves.sin(), waves.cos()], dim=-1))


def with_divergence(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Of a function of single rows: its values (n, d) and exact divergences (n,) at rows."""

    def twice(row: Tensor) -> tuple[Tensor, Tensor]:
        value = f(row)
        return value, value

    jacobian, value = vmap(jacfwd(twice, has_aux=True))(x)
    return value, jacobian.diagonal(dim1=1, dim2=2).sum(1)


@torch.no_grad()
def best_level(score_at: Callable[[Tensor, float], Tensor], held: Tensor) -> float:
    """The noise level whose score has the highest Hyvarinen criterion on held-out rows."""
    rows = held[:LEVEL_ROWS]

    def criterion(sigma: float) -> float:
        score, divergence = with_divergence(lambda x: score_at(x, sigma), rows)
        return hyvarinen_score(score.numpy(), divergence.numpy())

    return max(LEVELS, key=criterion)


def by_chunks(f: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
    """A function of tensors on an array, some hundred rows at a time."""
    parts = torch.as_tensor(rows, dtype=torch.float32).split(CHUNK)
    return torch.cat([f(part).detach() for part in parts]).double().numpy()
