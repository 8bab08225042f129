"""Normalising flows: neural splines and masked autoregression of zuko, and denmarf.

Their score is the gradient of their log-density.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import ceil

import numpy as np
import torch
from contestants import Fitted
from torch import Tensor, nn
from training import VALIDATION, by_chunks, train

MOST_STEPS = 5000
# denmarf: its own defaults of 32 blocks and 1000 epochs take an hour on one core.  Ten blocks are
# twice those of the paper of masked autoregressive flows; 128 units and all else as it has them.
DENMARF_BLOCKS = 10
DENMARF_BATCH = 256
DENMARF_STEPS = 3000
DENMARF_MOST_EPOCHS = 1000  # its default
DENMARF_TEST = 0.01  # it sets rows apart that it does not use: as few as it takes


def fit_nsf(X: np.ndarray, seed: int) -> Fitted:
    """Three autoregressive transforms of eight bins, zuko's defaults, with 2 x 128 units.

    Learning rate 0.0005 as in Durkan et al. (2019), Neural spline flows.
    """
    return _fit_zuko("NSF", X, seed, 5e-4, transforms=3, hidden_features=(128, 128))


def fit_maf(X: np.ndarray, seed: int) -> Fitted:
    """Five transforms in alternate orders, as in Papamakarios et al. (2017), with 2 x 128 units."""
    return _fit_zuko("MAF", X, seed, 5e-4, transforms=5, hidden_features=(128, 128))


def _fit_zuko(
    name: str, X: np.ndarray, seed: int, learning_rate: float, **options: object
) -> Fitted:
    torch.manual_seed(seed)
    flow = getattr(import_module("zuko").flows, name)(X.shape[1], **options)
    flow, _ = train(flow, _loss, X, seed, learning_rate=learning_rate, most_steps=MOST_STEPS)

    @torch.no_grad()
    def sample(n: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return flow().sample((n,)).double().numpy()

    return _fitted(flow().log_prob, sample)


def _loss(flow: nn.Module, x: Tensor) -> Tensor:
    return -flow().log_prob(x).mean()


def fit_denmarf(X: np.ndarray, seed: int) -> Fitted:
    steps_of_an_epoch = ceil(len(X) * (1 - VALIDATION) / DENMARF_BATCH)
    est = import_module("denmarf").DensityEstimate(seed=seed, use_cuda=False)
    est.fit(
        X,
        num_blocks=DENMARF_BLOCKS,
        num_epochs=min(DENMARF_MOST_EPOCHS, DENMARF_STEPS // steps_of_an_epoch),
        batch_size=min(DENMARF_BATCH, len(X)),
        p_train=1 - VALIDATION - DENMARF_TEST,
        p_test=max(DENMARF_TEST, 1.5 / len(X)),
        verbose=False,
    )

    def sample(n: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return est.sample(n).astype(np.float64)

    return _fitted(lambda x: est.model.log_probs(x).squeeze(-1), sample)


def _fitted(log_prob: Callable[[Tensor], Tensor], sample: Callable) -> Fitted:
    def score(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad(log_prob(x).sum(), x)[0]

    def log_density(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return by_chunks(log_prob, rows)

    return Fitted(sample, log_density, lambda rows: by_chunks(score, rows))
