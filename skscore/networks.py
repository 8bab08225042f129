r"""Networks: the functions that are fitted.

A *body* maps (n, d_in) to (n, d_out), every row by itself.  Bodies are plain
``torch.nn.Module`` classes built by ``factory(in_features, out_features,
hidden_layer_sizes, activation)`` and named in :data:`NETWORKS`; to add one,
write the class and name it there.  Any importable factory of that signature is
accepted by the estimators as well.

A *score network* wraps a body so that the untrained model (zero last layer) is
already the score of a standard normal law, noised to level sigma, and the body
has targets of order one at every level.  With theta = arctan(sigma),

    s(x) = -cos(theta)^2 x - k F(cos(theta) x),    k = cos(theta)^2 / sin(theta),

F the body, which is the score at one level of Karras et al. (2022) in the
coordinate ``y = cos(theta) x``.  Without noise (sigma = 0) ``k`` is one.  In the
conservative form F is the gradient of a scalar body, and s minus the gradient
of an energy.

References
----------
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models.
Gorishniy, Rubachev, Khrulkov and Babenko (2021). Revisiting deep learning
models for tabular data (the residual network).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from skscore._calculus import gradient

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


class MLP(nn.Module):
    """Linear maps with an activation between them; the last one starts at zero.

    Parameters
    ----------
    in_features, out_features : int in [1, inf)
    hidden_layer_sizes : sequence of int in [1, inf)
        Width of each hidden layer.
    activation : str, default="tanh"
        A key of :data:`ACTIVATIONS`.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import MLP
    >>> MLP(2, 2, (16, 16))(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden_layer_sizes:
            layers += [nn.Linear(in_features, width), ACTIVATIONS[activation]()]
            in_features = width
        self.layers = nn.Sequential(*layers, _zero(nn.Linear(in_features, out_features)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        return self.layers(x)


class ResNet(nn.Module):
    """Residual blocks on a trunk as wide as the first hidden layer.

    Block i adds ``A_i act(B_i norm(x))`` to the trunk, with ``hidden_layer_sizes[i]``
    units inside, and the norm taken over the units of one row (layer norm).

    Parameters
    ----------
    in_features, out_features, hidden_layer_sizes, activation
        As for :class:`MLP`; one residual block per hidden layer size.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import ResNet
    >>> ResNet(2, 2, (16, 32, 32))(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        trunk = hidden_layer_sizes[0]
        if trunk < 2:
            raise ValueError(
                "The 'hidden_layer_sizes' of ResNet must begin with at least 2: the norm over "
                f"a trunk of one unit is constant. Got {tuple(hidden_layer_sizes)!r} instead."
            )
        self.entrance = nn.Linear(in_features, trunk)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(trunk),
                nn.Linear(trunk, width),
                ACTIVATIONS[activation](),
                nn.Linear(width, trunk),
            )
            for width in hidden_layer_sizes
        )
        self.exit = nn.Sequential(
            nn.LayerNorm(trunk),
            ACTIVATIONS[activation](),
            _zero(nn.Linear(trunk, out_features)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        x = self.entrance(x)
        for block in self.blocks:
            x = x + block(x)
        return self.exit(x)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "resnet": ResNet}
"""Factories by name."""


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _Preconditioned(nn.Module):
    """A body with the coefficients of the score at its level."""

    def __init__(self, body: nn.Module, sigma: float = 0.0) -> None:
        super().__init__()
        if not 0 <= sigma < math.inf:
            raise ValueError(
                f"The 'sigma' parameter of {type(self).__name__} must be in the range "
                f"[0.0, inf). Got {sigma!r} instead."
            )
        self.body = body
        theta = math.atan(sigma)
        self.inner = math.cos(theta)
        self.gain = math.cos(theta) ** 2 / math.sin(theta) if sigma > 0 else 1.0


class ScoreNetwork(_Preconditioned):
    """A free vector field: the body has as many outputs as inputs.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) to (n, d).
    sigma : float in [0, inf)
        Level of the noised law whose score is learnt, for data of unit variance.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import MLP, ScoreNetwork
    >>> untrained = ScoreNetwork(MLP(1, 1, (8,)), sigma=1.0)
    >>> untrained(torch.tensor([[2.0]])).detach().round(decimals=4)
    tensor([[-1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row, (n, d) to (n, d)."""
        y = self.inner * x
        return -self.inner * y - self.gain * self.body(y)


class EnergyNetwork(_Preconditioned):
    """A gradient field: the body has one output, and the score is minus its energy's gradient.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) to (n, 1), twice differentiable.
    sigma : float in [0, inf)
        Level of the noised law whose score is learnt, for data of unit variance.
    """

    def energy(self, x: Tensor) -> Tensor:
        """``E(x)``, with ``-grad E = s``, (n, d) to (n,)."""
        y = self.inner * x
        return 0.5 * y.square().sum(1) + (self.gain / self.inner) * self.body(y)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row, (n, d) to (n, d)."""
        return -gradient(self.energy, x)
