r"""Networks: the functions that are fitted.

A *body* maps (n, d_in) to (n, d_out), every row by itself. Bodies are plain
``torch.nn.Module`` classes built by ``factory(in_features, out_features,
hidden_layer_sizes, activation, context_features)`` and named in
:data:`NETWORKS`; to add one, write the class and name it there. Any importable
factory of that signature is accepted by the estimators as well (those of one
noise level do not pass `context_features`). A factory may have a function
``automatic_architecture(n_rows, n_features)`` that says what widths "auto"
stands for, and which further arguments it takes. They call it where tensors
are float32 on the CPU and random numbers come from their `random_state`,
whatever torch's defaults are; its ``forward`` should take dtype and device
from its input. A method ``divergence(x, directions)``, of outputs and ``sum_k v_k' J v_k``,
is used in place of automatic differentiation; with ``single_tangents = True`` it is
given directions in float32 beside rows in float64, too. With `context_features` a body is
called with a second argument, the features (n, context_features) or (1, context_features)
of the noise level.

A *score network* wraps a body so that the untrained model (zero last layer) is
already the score of a standard normal law, noised to level sigma, and the body
has targets of order one at every level.  With theta = arctan(sigma),

    s(x) = -cos(theta)^2 x - k F(cos(theta) x),    k = cos(theta)^2 / sin(theta),

F the body, which is the score at one level of Karras et al. (2022) in the
coordinate ``y = cos(theta) x``.  Without noise (sigma = 0) ``k`` is one.  In the
conservative form F is the gradient of a scalar body, and s minus the gradient
of an energy.

A *diffusion network* is F(y, theta) itself, for all levels (:mod:`skscore._math.angles`);
``at(sigma)`` is its score at one of them.

References
----------
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models.
Gorishniy, Rubachev, Khrulkov and Babenko (2021). Revisiting deep learning
models for tabular data (the residual network).
Perez, Strub, de Vries, Dumoulin and Courville (2018). FiLM: visual reasoning with a
general conditioning layer (gains and shifts from a context).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from skscore.networks._activations import ACTIVATIONS, SMOOTH_ACTIVATIONS
from skscore.networks._all_levels import (
    ConservativeDiffusionNetwork,
    DiffusionNetwork,
    LevelFeatures,
    ScoreAtLevel,
)
from skscore.networks._bodies import MLP, ResNet
from skscore.networks._dropout import Dropout
from skscore.networks._ensemble import Ensemble
from skscore.networks._one_level import EnergyNetwork, ScoreNetwork

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "resnet": ResNet,
    "ensemble": Ensemble,
}
"""Factories by name."""


def network_factory(network: str | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The factory of a name; a factory is its own.

    Examples
    --------
    >>> from skscore.networks import network_factory
    >>> network_factory("mlp").__name__
    'MLP'
    """
    return NETWORKS[network] if isinstance(network, str) else network


def automatic_architecture(
    network: str | Callable[..., nn.Module], n_rows: int, n_features: int
) -> dict[str, Any]:
    """Widths of the hidden layers, and options of the factory, for a table of that size.

    A factory may say so itself, by a function `automatic_architecture` of `n_rows` and
    `n_features`; the widths of others are those of the perceptron.

    Examples
    --------
    >>> from skscore.networks import automatic_architecture
    >>> automatic_architecture("ensemble", n_rows=1000, n_features=2)
    {'hidden_layer_sizes': (96, 96), 'options': {'dropout': 0.1}}
    """
    factory = network_factory(network)
    rule = getattr(factory, "automatic_architecture", MLP.automatic_architecture)
    return rule(n_rows, n_features)


__all__ = [
    "ACTIVATIONS",
    "MLP",
    "NETWORKS",
    "SMOOTH_ACTIVATIONS",
    "ConservativeDiffusionNetwork",
    "DiffusionNetwork",
    "Dropout",
    "EnergyNetwork",
    "Ensemble",
    "LevelFeatures",
    "ResNet",
    "ScoreAtLevel",
    "ScoreNetwork",
    "automatic_architecture",
    "network_factory",
]
