"""Adam with decoupled weight decay, in torch's fused kernel.

The class of ``torch.optim`` imports torch's compiler where one is made, a second in every process
that trains a network; the function that it ends in does not.

References
----------
Loshchilov and Hutter (2019). Decoupled weight decay regularization.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

_BETAS, _EPS, _WEIGHT_DECAY = (0.9, 0.999), 1e-8, 0.01

Moments = dict[int, dict[str, Tensor]]
"""By the number of a parameter: averages of its gradient and of the square, and their steps."""


class AdamW:
    """Moves parameters against their gradients.

    Parameters
    ----------
    parameters : list of Parameter
    moments : Moments or None, default=None
        Those to go on from, which are copied.

    Attributes
    ----------
    moments : Moments
    """

    def __init__(self, parameters: list[nn.Parameter], moments: Moments | None = None) -> None:
        self._parameters = parameters
        self.moments = {
            place: _fresh(parameter) if moments is None else _taken_on(moments[place], parameter)
            for place, parameter in enumerate(parameters)
        }

    @torch.no_grad()
    def step(self, learning_rate: float, divisor: Tensor, skipped: Tensor) -> None:
        """Move once.

        Parameters
        ----------
        learning_rate : float
        divisor : Tensor of shape ()
            Of the gradients.
        skipped : Tensor of shape ()
            Where it is one, parameters, moments and their steps are left alone.
        """
        averages, squares, steps = (
            [moments[name] for moments in self.moments.values()]
            for name in ("exp_avg", "exp_avg_sq", "step")
        )
        adamw(
            list(self._parameters),
            [cast("Tensor", parameter.grad) for parameter in self._parameters],
            averages,
            squares,
            [],
            steps,
            fused=True,
            grad_scale=divisor,
            found_inf=skipped,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=learning_rate,
            weight_decay=_WEIGHT_DECAY,
            eps=_EPS,
            maximize=False,
        )


def _fresh(parameter: nn.Parameter) -> dict[str, Tensor]:
    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
    zeros = {name: torch.zeros_like(parameter.detach()) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": step} | zeros


def _taken_on(moments: dict[str, Tensor], parameter: nn.Parameter) -> dict[str, Tensor]:
    """Copies of moments, of the device and the dtypes that those of a parameter have."""
    return {
        name: torch.empty_like(fresh).copy_(moments[name])
        for name, fresh in _fresh(parameter).items()
    }
