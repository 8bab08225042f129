"""Activations, and their slopes in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "relu": nn.ReLU,
}
"""Activations by name."""


SMOOTH_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name not in ("elu", "relu"))
"""Those with a continuous second derivative, which a gradient field needs."""


def _silu(x: Tensor) -> tuple[Tensor, Tensor]:
    share = x.sigmoid()
    values = x * share
    return values, torch.addcmul(share, values, 1 - share)


def _gelu(x: Tensor) -> tuple[Tensor, Tensor]:
    share = 0.5 * torch.special.erfc(-x / math.sqrt(2))
    bell = (-0.5 * x.square()).exp() / math.sqrt(2 * math.pi)
    return x * share, torch.addcmul(share, x, bell)


def _softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(x), x.sigmoid()


def _tanh(x: Tensor) -> tuple[Tensor, Tensor]:
    values = x.tanh()
    return values, 1 - values.square()


def _elu(x: Tensor) -> tuple[Tensor, Tensor]:
    return functional.elu(x), x.clamp_max(0).exp()


def _relu(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.relu(), (x > 0).to(x)


VALUES_AND_SLOPES: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "tanh": _tanh,
    "elu": _elu,
    "relu": _relu,
}
"""Activations and their derivatives, elementwise, by name."""
