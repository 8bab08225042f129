"""Noise processes: which levels there are, and where a solver stops between them."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from skscore._math.calculus import gradient
from skscore._params import Part, check_in_range, check_positive

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""Ends of the range of levels, wherever none are given."""

_BISECTIONS = 60
_FIRST_TIME = 1e-9


def check_range(owner: object, sigma_min: float, sigma_max: float) -> None:
    """Refuse a range of levels that is empty or not positive.

    Examples
    --------
    >>> from skscore.noise._processes import VarianceExploding, check_range
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

    A member states the two functions, whose ratio ``sigma / alpha`` increases.  It owns the range
    of its levels, and how they are drawn, weighted and descended: a member states what is its
    own, and :func:`skscore.noise._settled.settled_process` gives a copy what was chosen.

    Attributes
    ----------
    levels : str
        A key of :data:`skscore.noise.SCHEDULES`: how levels are drawn in training.
    weighting : str or callable
        A key of :data:`skscore.noise.WEIGHTINGS`, or ``lambda(sigma)`` as a function of a tensor.
    grid : str
        A key of :data:`skscore.noise.SCHEDULES`: where the steps of a solver end.
    sigma_min, sigma_max : float or None
        Ends of the range of levels.  None is the end of the default range, or of the process
        where it does not get there.
    """

    levels: str = "time"
    weighting: str | Callable[[Tensor], Tensor] = "sigma2"
    grid: str = "time"
    sigma_min: float | None = None
    sigma_max: float | None = None

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Least and largest level."""
        low, high = self.sigma_min, self.sigma_max
        if low is None or high is None:
            first, last = self._reached_range()
            low, high = first if low is None else low, last if high is None else high
        return float(low), float(high)

    def __sklearn_clone__(self) -> NoiseProcess:
        """A copy with what was chosen for it, which the constructor does not take."""
        return copy.deepcopy(self)

    def _reached_range(self) -> tuple[float, float]:
        """The part of the default range that the process reaches."""
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64, device="cpu")
        first, last = self.theta(ends).tolist()
        return (
            math.tan(first) if first > math.atan(SIGMA_MIN) else SIGMA_MIN,
            math.tan(last) if last < math.atan(SIGMA_MAX) else SIGMA_MAX,
        )

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
    >>> from skscore.noise._processes import VarianceExploding
    >>> VarianceExploding(0.01, 100.0).sigma(torch.tensor([0.0, 0.5, 1.0]))
    tensor([1.0000e-02, 1.0000e+00, 1.0000e+02])
    """

    levels = "lognormal"
    weighting = "edm"
    grid = "lognormal"

    sigma_min: float
    sigma_max: float

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
    >>> from skscore.noise._processes import VariancePreserving
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
    >>> from skscore.noise._processes import SubVariancePreserving
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
    >>> from skscore.noise._processes import Cosine
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
    >>> from skscore.noise._processes import LognormalLevels
    >>> LognormalLevels().sigma(torch.tensor([0.5])).log().round(decimals=2)
    tensor([-1.2000])
    """

    weighting = "edm"
    grid = "karras"
    sigma_min: float
    sigma_max: float

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
        return truncated_normal(t, self.log_mean, self.log_std, low, high).exp()


class StraightFlow(NoiseProcess):
    """``alpha = 1 - t``, ``sigma = t``: the straight path of flow matching (Lipman et al. 2023).

    Examples
    --------
    >>> import torch
    >>> from skscore.noise._processes import StraightFlow
    >>> StraightFlow().squared_diffusion(torch.tensor([0.5]))
    tensor([2.])
    """

    def alpha(self, t: Tensor) -> Tensor:
        """``1 - t``."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """``t``."""
        return t.clone()


PROCESSES: dict[str, type[NoiseProcess]] = {
    "ve": VarianceExploding,
    "vp": VariancePreserving,
    "subvp": SubVariancePreserving,
    "cosine": Cosine,
    "edm": LognormalLevels,
    "flow": StraightFlow,
}
"""Processes by name."""


def truncated_normal(u: Tensor, mean: float, std: float, low: float, high: float) -> Tensor:
    """Quantiles of a normal law between two ends, which u = 0 and u = 1 meet exactly."""
    standardized = [(low - mean) / std, (high - mean) / std]
    ends = torch.tensor(standardized, dtype=torch.float64, device="cpu")
    p = torch.special.ndtr(ends).tolist()
    quantile = mean + std * torch.special.ndtri(p[0] + (p[1] - p[0]) * u.double())
    return quantile.clamp(low, high).to(u.dtype)
