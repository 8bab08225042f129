"""Schedules and weightings: how often a level is seen, and how much it counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from skscore._math.calculus import value_and_slope
from skscore.noise._processes import NoiseProcess, truncated_normal

_ROUNDING = 1e-6  # relative, of levels that are reached


# -- schedules: u in [0, 1] to angles, from arctan(sigma_min) to arctan(sigma_max) ------------
@lru_cache(maxsize=64)
def _time_range(
    process: type[NoiseProcess], params: tuple[float, ...], sigma_min: float, sigma_max: float
) -> tuple[float, float]:
    """When a process of these parameters enters and leaves a range of levels."""
    ends = torch.tensor([sigma_min, sigma_max], dtype=torch.float64, device="cpu").atan()
    start, stop = process(*params).time(ends).tolist()
    return start, stop


def _time(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    params = tuple(process.get_params().values())
    start, stop = _time_range(type(process), params, sigma_min, sigma_max)
    theta = process.theta(start + (stop - start) * u.double())
    return theta.clamp(math.atan(sigma_min), math.atan(sigma_max)).to(u.dtype)


def _theta(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.atan(sigma_min), math.atan(sigma_max)
    return low + (high - low) * u


def _sqrt_theta(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.sqrt(math.atan(sigma_min)), math.sqrt(math.atan(sigma_max))
    return (low + (high - low) * u.double()).square().to(u.dtype)


def _loguniform(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.log(sigma_min), math.log(sigma_max)
    return (low + (high - low) * u).exp().atan()


def _lognormal(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.log(sigma_min), math.log(sigma_max)
    return truncated_normal(u, -1.0, 1.4, low, high).exp().atan()


def _karras(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    rho = 7.0
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (low + (high - low) * u).pow(rho).atan()


Schedule = Callable[[Tensor, NoiseProcess, float, float], Tensor]


SCHEDULES: dict[str, Schedule] = {
    "time": _time,
    "theta": _theta,
    "sqrt_theta": _sqrt_theta,
    "loguniform": _loguniform,
    "lognormal": _lognormal,
    "karras": _karras,
}
"""Schedules by name: even in the process's own time; in theta; in its square root; in log sigma;
in the quantiles of log sigma ~ N(-1, 1.4^2); in the seventh root of sigma.  Each is
``f(u, process, sigma_min, sigma_max)``, u of any shape to angles of that shape."""


def training_angles(process: NoiseProcess, u: Tensor) -> Tensor:
    """Angles of a process's own levels at u in [0, 1], of the shape of u.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import StraightFlow
    >>> from skscore.noise._levels import training_angles
    >>> training_angles(StraightFlow(), torch.tensor([0.0, 1.0])).tan().round(decimals=3)
    tensor([2.0000e-03, 8.0000e+01])
    """
    return SCHEDULES[process.levels](u, process, *process.sigma_range)


def check_reach(schedule: str, process: NoiseProcess, sigma_min: float, sigma_max: float) -> None:
    """Refuse a range of levels that a schedule does not cover, since the process has an end.

    Examples
    --------
    >>> from skscore.noise._processes import VariancePreserving
    >>> from skscore.noise._levels import check_reach
    >>> check_reach("time", VariancePreserving(), 0.002, 80.0)
    """
    u, wanted = torch.tensor(
        [[0.0, 1.0], [sigma_min, sigma_max]], dtype=torch.float64, device="cpu"
    )
    reached = SCHEDULES[schedule](u, process, sigma_min, sigma_max).tan()
    if ((reached - wanted).abs() > _ROUNDING * wanted).any():
        low, high = reached.tolist()
        raise ValueError(
            f"{process!r} reaches noise levels from {low:.4g} to {high:.4g}, and not all from "
            f"{sigma_min!r} to {sigma_max!r}. Give sigma_min and sigma_max within what it reaches, "
            f"another process, or a schedule other than {schedule!r}."
        )


def solver_angles(
    schedule: str,
    process: NoiseProcess,
    n_steps: int,
    sigma_min: float,
    sigma_max: float,
    *,
    from_infinity: bool,
) -> list[float]:
    """Angles where the steps of a solver end: `n_steps` + 1 of them, falling to zero.

    The first is ``arctan(sigma_max)``, or pi/2 for solvers that may start from infinity.

    Examples
    --------
    >>> from skscore.noise._processes import VarianceExploding
    >>> from skscore.noise._levels import solver_angles
    >>> angles = solver_angles("theta", VarianceExploding(), 4, 0.002, 80.0, from_infinity=True)
    >>> [round(angle, 2) for angle in angles]
    [1.57, 1.17, 0.78, 0.39, 0.0]
    """
    process.check()
    u = torch.linspace(1, 0, n_steps + 1, dtype=torch.float64, device="cpu")
    angles = SCHEDULES[schedule](u, process, sigma_min, sigma_max).tolist()
    return [math.pi / 2 if from_infinity else angles[0], *angles[1:-1], 0.0]


# -- weightings: levels sigma and the rate d log sigma / du of their draws to lambda(sigma) --
Weighting = Callable[[Tensor, Callable[[], Tensor]], Tensor]


WEIGHTINGS: dict[str, Weighting] = {
    "sigma2": lambda sigma, rate: sigma.square(),
    "likelihood": lambda sigma, rate: 2 * sigma.square() * rate(),
    "edm": lambda sigma, rate: sigma.square() * (1 + sigma.square()),
}
"""Weightings by name, ``f(sigma, rate)``; the rate, which costs a derivative, is computed when
it is called for.  ``"sigma2"`` makes the squared error that of the predicted noise,
``"edm"`` that of the field F, whose target has variance one at every level; ``"likelihood"``
makes the expected loss the variational bound on the log-density, whatever the draws."""


def level_weights(process: NoiseProcess, sigma: Tensor, u: Tensor) -> Tensor:
    """``lambda(sigma)`` of a process at its levels, those of :func:`training_angles` at u.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import StraightFlow
    >>> from skscore.noise._levels import level_weights, training_angles
    >>> process, u = StraightFlow(), torch.tensor([0.5])
    >>> sigma = training_angles(process, u).tan()
    >>> bool(torch.isclose(level_weights(process, sigma, u), sigma**2))
    True
    """

    def rate() -> Tensor:
        return value_and_slope(lambda u: training_angles(process, u).tan().log(), u)[1].detach()

    if callable(process.weighting):
        return process.weighting(sigma)
    return WEIGHTINGS[process.weighting](sigma, rate)
