"""Flow matching with torchcfm: its probability path and its regression target.

Independent coupling and a straight path, the package's ``ConditionalFlowMatcher``, on a network of
three hidden layers of 256 units with averaged weights.  The log-density is that of the flow, by
Runge-Kutta steps with the exact divergence.  The velocity at time t holds the score of rows with
noise of level ``(1 - t) / t``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from contestants import Fitted
from torch import Tensor
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
from training import TimeMLP, best_level, by_chunks, train, with_divergence

TRAINING = {"learning_rate": 1e-3, "most_steps": 10_000, "average": 0.999}
STEPS = 12  # mean errors are about a thousandth of a nat
State = tuple[Tensor, ...]
MATCHER = ConditionalFlowMatcher(sigma=0.0)


def fit_flow_matching(X: np.ndarray, seed: int) -> Fitted:
    torch.manual_seed(seed)
    network, held = train(TimeMLP(X.shape[1]), _loss, X, seed, **TRAINING)
    network.requires_grad_(False)
    score_at = partial(_score_at, network)
    sigma = best_level(score_at, held)

    def sample(n: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        noise = torch.randn(n, X.shape[1]).numpy()
        return by_chunks(lambda x: _flow(network, x, STEPS), noise)

    return Fitted(
        sample=sample,
        log_density=lambda rows: by_chunks(partial(_log_density, network, STEPS), rows),
        score=lambda rows: by_chunks(lambda x: score_at(x, sigma), rows),
        finer_log_density=lambda rows: by_chunks(partial(_log_density, network, 2 * STEPS), rows),
        notes={"sigma": sigma, "solver": f"Runge-Kutta 4, {STEPS} steps; finer is twice as many"},
    )


def _loss(network: TimeMLP, x: Tensor) -> Tensor:
    t, x_t, u_t = MATCHER.sample_location_and_conditional_flow(torch.randn_like(x), x)
    return (network(x_t, t) - u_t).square().mean()


def _score_at(network: TimeMLP, x: Tensor, sigma: float) -> Tensor:
    """Of ``x + sigma eps``: the noise that the velocity at ``t = 1 / (1 + sigma)`` expects."""
    t = 1 / (1 + sigma)
    noise = t * x - t * network(t * x, torch.tensor(t))
    return -noise / sigma


def _runge_kutta(
    f: Callable[[Tensor, State], State], state: State, start: float, stop: float, steps: int
) -> State:
    """The classical method of order four, in equal steps."""
    h = (stop - start) / steps

    def moved(by: float, slopes: State) -> State:
        return tuple(s + by * k for s, k in zip(state, slopes, strict=True))

    for i in range(steps):
        t = torch.tensor(start + i * h)
        a = f(t, state)
        b = f(t + h / 2, moved(h / 2, a))
        c = f(t + h / 2, moved(h / 2, b))
        d = f(t + h, moved(h, c))
        slopes = zip(a, b, c, d, strict=True)
        state = moved(h, tuple((p + 2 * q + 2 * r + s) / 6 for p, q, r, s in slopes))
    return state


def _flow(network: TimeMLP, x: Tensor, steps: int) -> Tensor:
    return _runge_kutta(lambda t, state: (network(state[0], t),), (x,), 0.0, 1.0, steps)[0]


def _log_density(network: TimeMLP, steps: int, x: Tensor) -> Tensor:
    """Back from the row to noise: ``log N(x_0) - int_0^1 div v dt``."""

    def slopes(t: Tensor, state: State) -> State:
        return with_divergence(lambda row: network(row, t), state[0])

    noise, integral = _runge_kutta(slopes, (x, torch.zeros(len(x))), 1.0, 0.0, steps)
    return -0.5 * (noise.square() + math.log(2 * math.pi)).sum(1) + integral
