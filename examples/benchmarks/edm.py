"""The diffusion of Karras et al. (2022) with azula: its denoiser, its loss and its sampler.

Elucidating the design space of diffusion-based generative models: levels are drawn with ``log
sigma ~ N(-1.2, 1.2^2)`` between 0.002 and 80.  A network of three hidden layers of 256 units with
averaged weights; Heun's method draws.  The package gives no density.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from azula.denoise import KarrasDenoiser
from azula.noise import VESchedule
from azula.sample import HeunSampler
from contestants import Fitted
from torch import Tensor
from training import TimeMLP, best_level, by_chunks, train

TRAINING = {"learning_rate": 1e-3, "most_steps": 10_000, "average": 0.999}
STEPS = 32
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
LOG_MEAN, LOG_DEVIATION = -1.2, 1.2
TIME_SCALE = 0.25  # of log sigma, as in the paper


def fit_edm(X: np.ndarray, seed: int) -> Fitted:
    torch.manual_seed(seed)
    denoiser = KarrasDenoiser(
        TimeMLP(X.shape[1], time_scale=TIME_SCALE), VESchedule(SIGMA_MIN, SIGMA_MAX)
    )
    denoiser, held = train(denoiser, _loss, X, seed, **TRAINING)
    denoiser.requires_grad_(False)
    sampler = HeunSampler(denoiser, steps=STEPS, silent=True)

    def score_at(x: Tensor, sigma: float) -> Tensor:
        return (denoiser(x, torch.tensor(_time(math.log(sigma)))).mean - x) / sigma**2

    sigma = best_level(score_at, held)

    def sample(n: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        noise = sampler.init((n, X.shape[1])).numpy()
        return by_chunks(sampler, noise)

    return Fitted(
        sample=sample,
        score=lambda rows: by_chunks(lambda x: score_at(x, sigma), rows),
        notes={"sigma": sigma, "sampler": f"Heun, {STEPS} steps"},
    )


def _time(log_sigma: float | Tensor) -> float | Tensor:
    """The time in [0, 1] at which azula's schedule has this level."""
    low, high = math.log(SIGMA_MIN), math.log(SIGMA_MAX)
    return (log_sigma - low) / (high - low)


def _loss(denoiser: KarrasDenoiser, x: Tensor) -> Tensor:
    t = _time(LOG_MEAN + LOG_DEVIATION * torch.randn(len(x)))
    return denoiser.loss(x, t.clamp(0, 1))
