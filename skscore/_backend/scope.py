"""The scope in which torch is entered, whatever state its caller has put it in.

Autocast, inference mode, grad mode and the number of threads belong to a thread, and are set
here for the length of a call.  The default dtype, the default device and torch's generator
are left alone, not even changed for a moment: other threads read them.  What is made below
names its dtype, its device and its generator; :func:`building_scope` does so for the
networks, whose layers know of no generator.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DEVICES = ("cpu", "cuda")
_CHANGING_THREADS = threading.Lock()


@contextmanager
def torch_scope(n_threads: int | None = 1) -> Iterator[None]:
    """Full precision, ordinary tensors, gradients and given threads (None: those there are).

    What is made outside, under the caller's inference mode, is of no use inside: make it here.
    """
    with ExitStack() as states:
        states.enter_context(_threads(n_threads))
        states.enter_context(torch.inference_mode(False))
        states.enter_context(torch.enable_grad())
        for device in _DEVICES:
            if torch.is_autocast_enabled(device):
                states.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def _threads(n_threads: int | None) -> Iterator[None]:
    if n_threads is None:
        yield
        return
    before = _set_threads(n_threads)
    try:
        yield
    finally:
        _set_threads(before)


def _set_threads(n_threads: int) -> int:
    """Set the number of threads of the calling thread alone; the number before."""
    with _CHANGING_THREADS:
        before = torch.get_num_threads()
        if n_threads != before:
            with _new_threads_unchanged():
                torch.set_num_threads(n_threads)
    return before


@contextmanager
def _new_threads_unchanged() -> Iterator[None]:
    """Keep the number that new threads begin with, which is what was set last in any thread.

    A fresh thread, which has that number, waits and sets it again.
    """
    ready, changed = threading.Event(), threading.Event()

    def keep() -> None:
        n_threads = torch.get_num_threads()
        ready.set()
        changed.wait()
        torch.set_num_threads(n_threads)

    fresh = threading.Thread(target=keep)
    fresh.start()
    try:
        ready.wait()
        yield
    finally:
        changed.set()
        fresh.join()


@contextmanager
def building_scope(generator: torch.Generator) -> Iterator[None]:
    """A scope for building networks: in float32 on the CPU, drawn from `generator`."""
    with torch_scope(), _Building(generator):
        yield


_FLOATING = {
    torch.empty,
    torch.eye,
    torch.linspace,
    torch.logspace,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.scalar_tensor,
    torch.zeros,
}
_INFERRED = {torch.arange, torch.as_tensor, torch.asarray, torch.full, torch.tensor}
_WHOLE = {torch.randint, torch.randperm, torch.tril_indices, torch.triu_indices}
_RANDOM = {
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    torch.bernoulli,
    torch.multinomial,
    torch.normal,
    torch.poisson,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    Tensor.bernoulli,
    Tensor.bernoulli_,
    Tensor.cauchy_,
    Tensor.exponential_,
    Tensor.geometric_,
    Tensor.log_normal_,
    Tensor.multinomial,
    Tensor.normal_,
    Tensor.random_,
    Tensor.uniform_,
}
_RANDOM_LIKE = {torch.rand_like: Tensor.uniform_, torch.randn_like: Tensor.normal_}
_TAKING = {
    "device": _FLOATING | _INFERRED | _WHOLE,
    "dtype": _FLOATING,
    "generator": _RANDOM,
}


class _Building(TorchFunctionMode):
    """Names device, dtype and generator wherever a function of torch is called without."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._values: dict[str, Any] = {
            "device": "cpu",
            "dtype": torch.float32,
            "generator": generator,
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM_LIKE:
            like = torch.empty_like(*args, **kwargs)
            return _RANDOM_LIKE[func](like, generator=self._values["generator"])
        kwargs = kwargs | {
            name: self._values[name]
            for name, functions in _TAKING.items()
            if func in functions and kwargs.get(name) is None
        }
        result = func(*args, **kwargs)
        if func in _INFERRED and kwargs.get("dtype") is None and result.is_floating_point():
            return func(*args, **kwargs | {"dtype": torch.float32})
        return result


def global_state() -> dict[str, Any]:
    """What torch holds for a thread or for all, and no call of skscore may change."""
    state = {
        "generator": torch.get_rng_state().numpy().tobytes(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "check for NaN": torch.is_anomaly_check_nan_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "deterministic warnings": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "autocast cache": torch.is_autocast_cache_enabled(),
    }
    for device in _DEVICES:
        state[f"autocast of {device}"] = torch.is_autocast_enabled(device)
        state[f"autocast dtype of {device}"] = torch.get_autocast_dtype(device)
    with _CHANGING_THREADS, ThreadPoolExecutor(1) as fresh:
        state["threads of a new thread"] = fresh.submit(torch.get_num_threads).result()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        generators = torch.cuda.get_rng_state_all()
        state["generators of cuda"] = [each.numpy().tobytes() for each in generators]
    return {f"torch {name}": value for name, value in state.items()}


@contextmanager
def moved_generator() -> Iterator[None]:
    """The global generator of torch somewhere else than where a seed leaves it; put back after."""
    state = torch.get_rng_state()
    torch.rand(7)
    try:
        yield
    finally:
        torch.set_rng_state(state)
