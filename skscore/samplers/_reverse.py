r"""Reverse samplers: from noise to rows, down the noise levels.

All work in the coordinate ``y = cos(theta) x_0 + sin(theta) eps`` of
:mod:`skscore._math.angles`, with a field F(y, theta) that stands for the score at every
level.  There every linear noise process is an Ornstein-Uhlenbeck process in the time
``tau = -log cos(theta)``, and the reverse family is

    deterministic   dy/dtheta = F
    stochastic      dy = -(y + 2 s) d tau + sqrt(2) dW,    s = -(y + cot(theta) F),

run from theta = pi/2, where y is exactly N(0, I), to theta = 0.  A sampler is one ``step``
between two angles; the loop is :func:`run_reverse`.  Stochastic steps are in
:mod:`skscore.samplers._stochastic`, those of the flow in :mod:`skscore.samplers._flows`.

References
----------
Song and Ermon (2019). Generative modeling by estimating gradients of the data distribution.
Ho, Jain and Abbeel (2020). Denoising diffusion probabilistic models.
Song, Meng and Ermon (2021). Denoising diffusion implicit models.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations.
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models.
Lu, Zhou, Bao, Chen, Li and Zhu (2022). DPM-Solver++: fast solver for guided sampling of
diffusion probabilistic models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from skscore._math.angles import AngularField, denoiser
from skscore._params import Part

_CHUNK = 2048  # rows moved together: what a processor's cache holds of their layers


class ReverseSampler(Part, ABC):
    """Contract: a step between two positive angles, and the last one, from an angle to rows.

    ``order`` is the power of the step length with which the error of the law that is drawn
    falls (None where the length of the steps is not what limits it), ``n_evaluations`` the
    calls of the field in a step (None where they vary).  ``from_infinity`` says whether steps
    may start at theta = pi/2; others start at the largest trained level, with the same draw.
    ``grid`` is the schedule in which its steps are even, where nobody says another; None leaves
    that to the process.
    """

    order: int | None = 1
    n_evaluations: int | None = 1
    from_infinity = True
    n_steps = 50
    grid: str | None = None

    def check(self) -> None:
        """Refuse parameters that are out of range."""

    @abstractmethod
    def step(
        self,
        field: AngularField,
        y: Tensor,
        theta: float,
        theta_next: float,
        memory: Any,
        generator: torch.Generator,
    ) -> tuple[Tensor, Any]:
        """Rows (n, d) at the lower angle, and what the next step may want to know."""

    def finish(self, field: AngularField, y: Tensor, theta: float) -> Tensor:
        """Rows (n, d) at theta = 0: the posterior mean ``D(y, theta)``."""
        return denoiser(field_at(field, y, theta), y, angle_of(y, theta))


def angle_of(y: Tensor, theta: float) -> Tensor:
    """An angle (1, 1), of the dtype and on the device of y."""
    return y.new_full((1, 1), theta)


def field_at(field: AngularField, y: Tensor, theta: float) -> Tensor:
    """F of rows y at one angle, (n, d)."""
    return field(y, angle_of(y, theta))


def normal_like(y: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from N(0, I) of the shape of y."""
    return torch.empty_like(y).normal_(generator=generator)


@dataclass(frozen=True)
class Path:
    """What :func:`run_reverse` returns.

    Attributes
    ----------
    draws : Tensor of shape (n, d)
    states : Tensor of shape (n_steps + 1, n, d), or None
        y at every angle, where they were asked for.
    """

    draws: Tensor
    states: Tensor | None


@torch.no_grad()
def run_reverse(
    sampler: ReverseSampler,
    field: AngularField,
    y: Tensor,
    angles: Sequence[float],
    *,
    keep_states: bool = False,
    generator: torch.Generator,
) -> Path:
    """Carry rows of noise down the angles.

    Parameters
    ----------
    sampler : ReverseSampler
    field : callable
        ``F(y, theta)``; see :mod:`skscore._math.angles`.
    y : Tensor of shape (n, d)
        Draws from N(0, I); not changed.
    angles : sequence of float
        From the first angle, at most pi/2, falling to 0.
    keep_states : bool, default=False
    generator : torch.Generator

    Returns
    -------
    Path

    Examples
    --------
    >>> import torch
    >>> from skscore.samplers import DDIM, run_reverse
    >>> point_mass = lambda y, theta: (theta.cos() * y - 3.0) / theta.sin()
    >>> generator = torch.Generator().manual_seed(0)
    >>> path = run_reverse(
    ...     DDIM(), point_mass, torch.zeros(1, 1), [1.5, 0.7, 0.0], generator=generator)
    >>> path.draws
    tensor([[3.]])
    """
    sampler.check()
    chunks = []
    for part in y.split(_CHUNK):
        states, memory = [part], None
        for theta, theta_next in pairwise(angles[:-1]):
            part, memory = sampler.step(field, part, theta, theta_next, memory, generator)
            if keep_states:
                states.append(part)
        part = sampler.finish(field, part, angles[-2])
        chunks.append(torch.stack([*states, part]) if keep_states else part)
    if not keep_states:
        return Path(torch.cat(chunks), None)
    whole = torch.cat(chunks, dim=1)
    return Path(whole[-1], whole)
