r"""Noise: what denoising score matching adds to the rows, at one level or at all of them.

A *noise kernel* ``q(x~ | x)`` says how a noisy row is drawn from a clean one
and what the score of that draw is, ``grad_x~ log q(x~ | x)``, the target that a
denoising loss regresses on (Vincent 2011).  To add a kernel, write the two
methods and name the class in :data:`KERNELS`.

A *noise process* ``x_t = alpha(t) x_0 + sigma(t) eps`` leads from rows to noise as
t goes from 0 to 1.  To add one, state the two functions and name the class in
:data:`PROCESSES`; what follows from them is in the base class.  All processes pass
through the same laws, those of the rows at noise level ``sigma(t) / alpha(t)``
(see :mod:`skscore._canonical`), so a network trained under one serves all.  What
a process decides is which levels training sees how often, how much each counts,
and where a solver stops on its way.  These three have names of their own:

* a *schedule* maps u in [0, 1] to levels, increasing.  Uniform u are the draws of
  training, evenly spaced u the grid of a solver (:data:`SCHEDULES`);
* a *weighting* is the factor ``lambda(sigma)`` of ``1/2 |s - target|^2`` at a level
  (:data:`WEIGHTINGS`).

References
----------
Vincent (2011). A connection between score matching and denoising autoencoders.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations (ve, vp, subvp).
Song, Durkan, Murray and Ermon (2021). Maximum likelihood training of score-based
diffusion models (the likelihood weighting).
Nichol and Dhariwal (2021). Improved denoising diffusion probabilistic models (cosine).
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models (edm).
Lipman, Chen, Ben-Hamu, Nickel and Le (2023). Flow matching for generative modeling (flow).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from skscore._calculus import gradient
from skscore._params import Part, check_in_range, check_positive

__all__ = [
    "KERNELS",
    "PROCESSES",
    "SCHEDULES",
    "WEIGHTINGS",
    "Cosine",
    "GaussianNoise",
    "LognormalLevels",
    "NoiseKernel",
    "NoiseProcess",
    "StraightFlow",
    "SubVariancePreserving",
    "VarianceExploding",
    "VariancePreserving",
    "solver_angles",
]

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""Ends of the range of levels, wherever none are given."""
_DEFAULT_RANGE = {"sigma_min": SIGMA_MIN, "sigma_max": SIGMA_MAX}

_BISECTIONS = 60
_FIRST_TIME = 1e-9
_ROUNDING = 1e-6  # relative, of levels that are reached


class NoiseKernel(Part, ABC):
    """Contract of additive noise that is symmetric about the clean row.

    Parameters
    ----------
    sigma : float in (0, inf)
        Scale of the noise, in the units of the rows.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = sigma

    @abstractmethod
    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one noisy row for every clean row, (n, d) to (n, d)."""

    @abstractmethod
    def target(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """``grad log q(noisy | clean)`` with respect to the noisy row, (n, d)."""


class GaussianNoise(NoiseKernel):
    """``x~ = x + sigma eps`` with ``eps ~ N(0, I)``; target ``-(x~ - x) / sigma^2``.

    Parameters
    ----------
    sigma : float in (0, inf), default=0.1
        Standard deviation, in the units of the rows.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import GaussianNoise
    >>> noise = GaussianNoise(sigma=0.5)
    >>> noise.target(torch.tensor([[1.0]]), torch.tensor([[0.0]]))
    tensor([[-4.]])
    """

    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one noisy row for every clean row, (n, d) to (n, d)."""
        check_positive(self, "sigma", self.sigma)
        eps = torch.empty_like(x).normal_(generator=generator)
        return x + self.sigma * eps

    def target(self, noisy: Tensor, clean: Tensor) -> Tensor:
        """``-(noisy - clean) / sigma^2``, (n, d)."""
        return (clean - noisy) / self.sigma**2


KERNELS: dict[str, type[NoiseKernel]] = {"gaussian": GaussianNoise}
"""Kernels by name."""


def check_range(owner: object, sigma_min: float, sigma_max: float) -> None:
    """Refuse a range of levels that is empty or not positive.

    Examples
    --------
    >>> from skscore.noise import VarianceExploding, check_range
    >>> check_range(VarianceExploding(), 0.01, 1.0)
    """
    check_positive(owner, "sigma_min", sigma_min)
    check_positive(owner, "sigma_max", sigma_max)
    if sigma_min >= sigma_max:
        raise ValueError(
            f"The 'sigma_min' parameter of {type(owner).__name__} must be less than its "
            f"'sigma_max', {sigma_max!r}. Got {sigma_min!r} instead."
        )


class NoiseProcess(Part, ABC):
    """Contract of a linear noise process ``x_t = alpha(t) x_0 + sigma(t) eps``, t in [0, 1].

    A member states the two functions, whose ratio ``sigma / alpha`` increases, and which
    schedule of levels, weighting and solver grid go with it.
    """

    levels = "time"
    weighting = "sigma2"
    grid = "time"

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Factor of the clean row at times t, of the shape of t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise at times t, of the shape of t."""

    def check(self) -> None:
        """Refuse parameters that are out of range."""

    @torch.no_grad()
    def drift(self, t: Tensor) -> Tensor:
        """``f(t) = (log alpha)'`` of ``dx = f x dt + g dW``."""
        return gradient(lambda t: self.alpha(t).log(), t)

    @torch.no_grad()
    def squared_diffusion(self, t: Tensor) -> Tensor:
        """``g(t)^2 = 2 sigma^2 (log(sigma / alpha))'`` of ``dx = f x dt + g dW``."""
        later = t.double().clamp_min(_FIRST_TIME)  # log sigma has no slope where sigma = 0
        rate = gradient(lambda t: self.sigma(t).log() - self.alpha(t).log(), later)
        return (2 * self.sigma(later).square() * rate).to(t.dtype)

    def log_snr(self, t: Tensor) -> Tensor:
        """``log(alpha^2 / sigma^2)``."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def theta(self, t: Tensor) -> Tensor:
        """``arctan(sigma / alpha)``, the level as an angle in [0, pi/2]."""
        return torch.atan2(self.sigma(t), self.alpha(t))

    def prior_scale(self) -> float:
        """Standard deviation of ``x_1``, for rows of unit variance."""
        end = torch.ones(1, dtype=torch.float64, device="cpu")
        return math.hypot(self.alpha(end).item(), self.sigma(end).item())

    def time(self, theta: Tensor) -> Tensor:
        """The time of an angle, by bisection; 0 or 1 where the process does not get there."""
        low, high = torch.zeros_like(theta), torch.ones_like(theta)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self.theta(middle) < theta
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


class VarianceExploding(NoiseProcess):
    """``alpha = 1``, ``sigma = sigma_min (sigma_max / sigma_min)^t`` (Song et al. 2021).

    Trained, by default, on lognormal levels: fewer of those that are easy.

    Parameters
    ----------
    sigma_min : float in (0, inf), default=0.002
    sigma_max : float in (sigma_min, inf), default=80

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import VarianceExploding
    >>> VarianceExploding(0.01, 100.0).sigma(torch.tensor([0.0, 0.5, 1.0]))
    tensor([1.0000e-02, 1.0000e+00, 1.0000e+02])
    """

    levels = "lognormal"
    weighting = "edm"
    grid = "lognormal"

    def __init__(self, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max

    def check(self) -> None:
        """Refuse an empty range of levels."""
        check_range(self, self.sigma_min, self.sigma_max)

    def alpha(self, t: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """``sigma_min (sigma_max / sigma_min)^t``."""
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t


class VariancePreserving(NoiseProcess):
    """``log alpha = -1/2 int_0^t beta``, ``sigma^2 = 1 - alpha^2``, beta linear (Ho et al. 2020).

    Parameters
    ----------
    beta_min, beta_max : float in (0, inf), default=0.1 and 20
        ``beta(t) = beta_min + t (beta_max - beta_min)``.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import VariancePreserving
    >>> process = VariancePreserving()
    >>> -2 * process.drift(torch.tensor([0.0, 0.5, 1.0]))
    tensor([ 0.1000, 10.0500, 20.0000])
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        self.beta_min = beta_min
        self.beta_max = beta_max

    def check(self) -> None:
        """Refuse a beta that is not positive."""
        check_positive(self, "beta_min", self.beta_min)
        check_positive(self, "beta_max", self.beta_max)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * (self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t.square())

    def alpha(self, t: Tensor) -> Tensor:
        """``exp(-1/2 int_0^t beta)``."""
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """``sqrt(1 - alpha^2)``."""
        return (-(2 * self._log_alpha(t)).expm1()).sqrt()


class SubVariancePreserving(VariancePreserving):
    """``alpha`` as for :class:`VariancePreserving`, ``sigma = 1 - alpha^2`` (Song et al. 2021).

    Parameters
    ----------
    beta_min, beta_max : float in (0, inf), default=0.1 and 20

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import SubVariancePreserving
    >>> process, t = SubVariancePreserving(), torch.tensor([0.3])
    >>> bool(torch.isclose(process.sigma(t), 1 - process.alpha(t) ** 2))
    True
    """

    def sigma(self, t: Tensor) -> Tensor:
        """``1 - alpha^2``."""
        return -(2 * self._log_alpha(t)).expm1()


class Cosine(NoiseProcess):
    """``alpha = cos(pi/2 (t + s) / (1 + s)) / cos(pi/2 s / (1 + s))``, ``sigma^2 = 1 - alpha^2``.

    The schedule of Nichol and Dhariwal (2021).

    Parameters
    ----------
    offset : float in (0, inf), default=0.008
        The s above; it makes the first levels less small.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import Cosine
    >>> Cosine().alpha(torch.tensor([0.0, 1.0])).abs().round(decimals=4)
    tensor([1., 0.])
    """

    def __init__(self, offset: float = 0.008) -> None:
        self.offset = offset

    def check(self) -> None:
        """Refuse an offset that is not positive."""
        check_positive(self, "offset", self.offset)

    def _angle(self, t: Tensor) -> Tensor:
        return (math.pi / 2) * (t + self.offset) / (1 + self.offset)

    def alpha(self, t: Tensor) -> Tensor:
        """``cos(pi/2 (t + s) / (1 + s)) / cos(pi/2 s / (1 + s))``."""
        return self._angle(t).cos() / self._angle(torch.zeros_like(t)).cos()

    def sigma(self, t: Tensor) -> Tensor:
        """``sqrt(1 - alpha^2)``."""
        start, angle = self._angle(torch.zeros_like(t)), self._angle(t)
        # 1 - (cos b / cos a)^2 without cancellation at b = a
        return ((angle - start).sin() * (angle + start).sin()).sqrt() / start.cos()


class LognormalLevels(NoiseProcess):
    """``alpha = 1``, and ``log sigma`` runs through a normal law's quantiles (Karras et al. 2022).

    A uniform t gives the lognormal levels that the paper trains on, within the range.

    Parameters
    ----------
    sigma_min : float in (0, inf), default=0.002
    sigma_max : float in (sigma_min, inf), default=80
    log_mean : float, default=-1.2
        Mean of ``log sigma``.
    log_std : float in (0, inf), default=1.2
        Standard deviation of ``log sigma``.

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import LognormalLevels
    >>> LognormalLevels().sigma(torch.tensor([0.5])).log().round(decimals=2)
    tensor([-1.2000])
    """

    weighting = "edm"
    grid = "karras"

    def __init__(
        self,
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        log_mean: float = -1.2,
        log_std: float = 1.2,
    ) -> None:
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.log_mean = log_mean
        self.log_std = log_std

    def check(self) -> None:
        """Refuse an empty range of levels, or a law without spread."""
        check_range(self, self.sigma_min, self.sigma_max)
        check_positive(self, "log_std", self.log_std)
        check_in_range(self, "log_mean", self.log_mean, -100.0, 100.0)

    def alpha(self, t: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """``exp`` of the quantile of ``N(log_mean, log_std^2)`` truncated to the range."""
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return _truncated_normal(t, self.log_mean, self.log_std, low, high).exp()


class StraightFlow(NoiseProcess):
    """``alpha = 1 - t``, ``sigma = t``: the straight path of flow matching (Lipman et al. 2023).

    Examples
    --------
    >>> import torch
    >>> from skscore.noise import StraightFlow
    >>> StraightFlow().squared_diffusion(torch.tensor([0.5]))
    tensor([2.])
    """

    def alpha(self, t: Tensor) -> Tensor:
        """``1 - t``."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """``t``."""
        return t.clone()


def settled_process(
    owner: object, process: NoiseProcess
) -> tuple[NoiseProcess, tuple[float, float]]:
    """One range of levels for a process and for an owner that has `sigma_min` and `sigma_max` too.

    An end that is left at its default follows the other object's; two that were set must agree.
    The process comes back with the range, where it has these parameters; of one that does not, the
    range ends where the process does.

    Examples
    --------
    >>> from skscore.losses import DiffusionScoreMatching
    >>> from skscore.noise import VarianceExploding, settled_process
    >>> loss = DiffusionScoreMatching(VarianceExploding(0.05), sigma_max=10.0)
    >>> settled_process(loss, loss.process)
    (VarianceExploding(sigma_min=0.05, sigma_max=10.0), (0.05, 10.0))
    """
    process.check()
    params = process.get_params(deep=False)
    own = {name: params[name] for name in _DEFAULT_RANGE if name in params}
    known = _reached_range(process) | own
    ends = {name: _settled_end(owner, process, name, known[name], own) for name in known}
    check_range(owner, *ends.values())
    process = copy.copy(process).set_params(**{name: ends[name] for name in own})
    return process, (float(ends["sigma_min"]), float(ends["sigma_max"]))


def _settled_end(
    owner: object, process: NoiseProcess, name: str, known: float, own: dict[str, float]
) -> float:
    end, default = getattr(owner, name), _DEFAULT_RANGE[name]
    if end == default:
        return known
    if name in own and known not in (end, default):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} is {end!r}, but its process, "
            f"{process!r}, has {known!r}: leave one of the two at its default, or set both alike."
        )
    return end


def _reached_range(process: NoiseProcess) -> dict[str, float]:
    """The part of the default range that a process reaches."""
    first, last = process.theta(
        torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
    ).tolist()
    return {
        "sigma_min": math.tan(first) if first > math.atan(SIGMA_MIN) else SIGMA_MIN,
        "sigma_max": math.tan(last) if last < math.atan(SIGMA_MAX) else SIGMA_MAX,
    }


PROCESSES: dict[str, type[NoiseProcess]] = {
    "ve": VarianceExploding,
    "vp": VariancePreserving,
    "subvp": SubVariancePreserving,
    "cosine": Cosine,
    "edm": LognormalLevels,
    "flow": StraightFlow,
}
"""Processes by name."""


# -- schedules: u in [0, 1] to angles, from arctan(sigma_min) to arctan(sigma_max) ------------


def _truncated_normal(u: Tensor, mean: float, std: float, low: float, high: float) -> Tensor:
    """Quantiles of a normal law between two ends, which u = 0 and u = 1 meet exactly."""
    ends = [(low - mean) / std, (high - mean) / std]
    ends = torch.tensor(ends, dtype=torch.float64, device="cpu")
    p = torch.special.ndtr(ends).tolist()
    quantile = mean + std * torch.special.ndtri(p[0] + (p[1] - p[0]) * u.double())
    return quantile.clamp(low, high).to(u.dtype)


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


def _loguniform(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.log(sigma_min), math.log(sigma_max)
    return (low + (high - low) * u).exp().atan()


def _lognormal(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    low, high = math.log(sigma_min), math.log(sigma_max)
    return _truncated_normal(u, -1.0, 1.4, low, high).exp().atan()


def _karras(u: Tensor, process: NoiseProcess, sigma_min: float, sigma_max: float) -> Tensor:
    rho = 7.0
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (low + (high - low) * u).pow(rho).atan()


Schedule = Callable[[Tensor, NoiseProcess, float, float], Tensor]

SCHEDULES: dict[str, Schedule] = {
    "time": _time,
    "theta": _theta,
    "loguniform": _loguniform,
    "lognormal": _lognormal,
    "karras": _karras,
}
"""Schedules by name: even in the process's own time; in theta; in log sigma; in the quantiles
of log sigma ~ N(-1, 1.4^2); in the seventh root of sigma.  Each is ``f(u, process, sigma_min,
sigma_max)``, u of any shape to angles of that shape."""


def check_reach(schedule: str, process: NoiseProcess, sigma_min: float, sigma_max: float) -> None:
    """Refuse a range of levels that a schedule does not cover, since the process has an end.

    Examples
    --------
    >>> from skscore.noise import VariancePreserving, check_reach
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
    >>> from skscore.noise import VarianceExploding, solver_angles
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
