"""Arrays to tensors and back, seeds to generators, names to devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CHUNK = 1024
"""Rows evaluated at a time."""


_LARGE_NETWORK = 2_000_000


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


def n_threads_for(network: nn.Module) -> int | None:
    """One thread for a small network; None leaves them as they are."""
    return 1 if sum(p.numel() for p in network.parameters()) <= _LARGE_NETWORK else None


def apply_in_chunks(
    fn: Callable[[np.ndarray], np.ndarray], X: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
    """`fn` of `chunk` rows at a time, joined."""
    parts = [fn(X[start : start + chunk]) for start in range(0, len(X), chunk)]
    return np.concatenate(parts)
