r"""Networks: the functions that are fitted.

A *body* maps (n, d_in) to (n, d_out), every row by itself.  Bodies are plain
``torch.nn.Module`` classes built by ``factory(in_features, out_features,
hidden_layer_sizes, activation, context_features)`` and named in :data:`NETWORKS`; to add
one, write the class and name it there.  Any importable factory of that signature is
accepted by the estimators as well (those of one noise level do not pass
`context_features`).  They call it where tensors are float32 on the CPU and random numbers come
from their `random_state`, whatever torch's defaults are; its ``forward`` should take dtype and
device from its input.  With `context_features` a body is called with a second argument, the
features (n, context_features) or (1, context_features) of the noise level.

A *score network* wraps a body so that the untrained model (zero last layer) is
already the score of a standard normal law, noised to level sigma, and the body
has targets of order one at every level.  With theta = arctan(sigma),

    s(x) = -cos(theta)^2 x - k F(cos(theta) x),    k = cos(theta)^2 / sin(theta),

F the body, which is the score at one level of Karras et al. (2022) in the
coordinate ``y = cos(theta) x``.  Without noise (sigma = 0) ``k`` is one.  In the
conservative form F is the gradient of a scalar body, and s minus the gradient
of an energy.

A *diffusion network* is F(y, theta) itself, for all levels (:mod:`skscore._canonical`);
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

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from skscore._calculus import divergence, gradient
from skscore._gaussian import MixtureField

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
]

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
    return values, torch.lerp(share, torch.ones_like(share[:1]), values)


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

_BASE_FREQUENCY = (
    0.25  # the slowest feature turns once over 25 e-folds of sigma, the fastest over 3
)


class _Modulated(nn.Module):
    """An affine map, and gains and shifts of its outputs that a context sets."""

    def __init__(self, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.affine = nn.Linear(in_features, out_features)
        self.gain = self.shift = None
        if context_features:
            self.gain = nn.Linear(context_features, out_features)
            self.shift = nn.Linear(context_features, out_features)
            nn.init.ones_(self.gain.bias)
            nn.init.zeros_(self.shift.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``gain(context) * affine(x) + shift(context)``."""
        return self.with_weight(x, context)[0]

    def with_weight(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The outputs; the map's weight, and the gains on it, where rows differ in them.

        A context of one row for all is an affine map of other weights.
        """
        weight, bias = self.affine.weight, self.affine.bias
        if self.gain is None:
            return self.affine(x), weight, None
        gain, shift = self.gain(context), self.shift(context)
        if len(context) > 1:
            return torch.addcmul(shift, gain, self.affine(x)), weight, gain
        weight = gain.mT * weight
        return functional.linear(x, weight, (gain * bias + shift)[0]), weight, None


class MLP(nn.Module):
    """Affine maps with an activation between them; the last one starts at zero.

    Parameters
    ----------
    in_features, out_features : int in [1, inf)
    hidden_layer_sizes : sequence of int in [1, inf)
        Width of each hidden layer.
    activation : str, default="tanh"
        A key of :data:`ACTIVATIONS`.
    context_features : int in [0, inf), default=0
        Features of a context, which sets gains and shifts of the hidden units.

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
        context_features: int = 0,
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(_Modulated(*w, context_features) for w in pairwise(widths))
        self.activation = ACTIVATIONS[activation]()
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.exit = _zero(nn.Linear(widths[-1], out_features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        for layer in self.hidden:
            x = self.activation(layer(x, context))
        return self.exit(x)

    def divergence(
        self, x: Tensor, directions: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The outputs, and ``sum_k v_k' J v_k`` for directions (m, d).

        With two hidden layers of slopes d1 and d2, ``J = W3 D2 W2 D1 W1``, and the sum is
        ``d2' (W2 o (W1 V'V W3)') d1``: about one more layer, whatever d is.
        """
        if len(self.hidden) != 2:
            return divergence(lambda x: self(x, context), x, directions)
        weights, slopes = [], []
        for layer in self.hidden:
            x, weight, gain = layer.with_weight(x, context)
            x, slope = self._value_and_slope(x)
            weights.append(weight)
            slopes.append(slope if gain is None else gain * slope)
        first, second = weights
        ends = (self.exit.weight.mT @ directions.mT) @ (directions @ first.mT)
        return self.exit(x), torch.linalg.vecdot(slopes[0] @ (second * ends).mT, slopes[1])


class _Block(nn.Module):
    """``A act(B norm(x))``, the gains and shifts of a context on the units inside."""

    def __init__(self, trunk: int, width: int, activation: str, context_features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(trunk)
        self.inner = _Modulated(trunk, width, context_features)
        self.activation = ACTIVATIONS[activation]()
        self.outer = nn.Linear(width, trunk)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.outer(self.activation(self.inner(self.norm(x), context)))


class ResNet(nn.Module):
    """Residual blocks on a trunk as wide as the first hidden layer.

    Block i adds ``A_i act(B_i norm(x))`` to the trunk, with ``hidden_layer_sizes[i]``
    units inside, and the norm taken over the units of one row (layer norm).

    Parameters
    ----------
    in_features, out_features, hidden_layer_sizes, activation, context_features
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
        context_features: int = 0,
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
            _Block(trunk, width, activation, context_features) for width in hidden_layer_sizes
        )
        self.exit = nn.Sequential(
            nn.LayerNorm(trunk),
            ACTIVATIONS[activation](),
            _zero(nn.Linear(trunk, out_features)),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        x = self.entrance(x)
        for block in self.blocks:
            x = x + block(x, context)
        return self.exit(x)


class Dropout(nn.Module):
    """Sets values to zero with probability `rate` in training, and scales the rest up.

    Its draws come from `source`, which the training loop sets: no global generator is used.

    Parameters
    ----------
    rate : float in [0, 1)

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import Dropout
    >>> drop = Dropout(0.5)
    >>> drop.source = torch.Generator().manual_seed(0)
    >>> sorted(set(drop(torch.ones(100)).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.source: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape."""
        if not (self.training and self.rate):
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.source)
        return x * kept.div_(1 - self.rate)


class _Stack(nn.Module):
    """The affine maps of several members, (m, n, in_features) to (m, n, out_features)."""

    def __init__(self, m: int, in_features: int, out_features: int, context_features: int) -> None:
        super().__init__()
        self.weight, self.bias = _stacked_linear(m, in_features, out_features)
        self.gain = self.gain_bias = None
        if context_features:
            self.gain, self.gain_bias = _stacked_linear(m, context_features, 2 * out_features)
            nn.init.zeros_(self.gain_bias)
            nn.init.ones_(self.gain_bias[..., :out_features])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``gain(context) * affine(x) + shift(context)``, member by member."""
        return self.with_weight(x, context)[0]

    def with_weight(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The outputs; the maps' weights, and the gains on them, where rows differ in them."""
        if self.gain is None:
            return torch.baddbmm(self.bias, x, self.weight), self.weight, None
        gain, shift = torch.baddbmm(self.gain_bias, context, self.gain).chunk(2, dim=2)
        if context.shape[1] > 1:
            x = torch.baddbmm(self.bias, x, self.weight)
            return torch.addcmul(shift, gain, x), self.weight, gain
        weight = gain * self.weight
        return torch.baddbmm(gain * self.bias + shift, x, weight), weight, None


def _stacked_linear(m: int, in_features: int, out_features: int) -> tuple[nn.Parameter, ...]:
    bound = in_features**-0.5
    shapes = (m, in_features, out_features), (m, 1, out_features)
    return tuple(nn.Parameter(torch.empty(shape).uniform_(-bound, bound)) for shape in shapes)


class Ensemble(nn.Module):
    """The mean of several perceptrons that are trained apart; dropout in training.

    In training the rows of a batch are dealt to the members in turn, so that a batch costs what
    it costs one of them; otherwise every member sees every row.  The mean has less variance
    than any of them, which is what short tables lack.

    Parameters
    ----------
    in_features, out_features, hidden_layer_sizes, activation, context_features
        As for :class:`MLP`, of each member.
    dropout : float in [0, 1), default=0.1
        Rate, after every hidden layer.
    n_members : int in [1, inf), default=4

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import Ensemble
    >>> Ensemble(2, 2, (16, 16)).eval()(torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_layer_sizes: Sequence[int],
        activation: str = "tanh",
        context_features: int = 0,
        *,
        dropout: float = 0.1,
        n_members: int = 4,
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(
            _Stack(n_members, *w, context_features) for w in pairwise(widths)
        )
        self.activation = ACTIVATIONS[activation]()
        self._value_and_slope = VALUES_AND_SLOPES[activation]
        self.dropout = Dropout(dropout)
        self.exit = _Stack(n_members, widths[-1], out_features, 0)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)
        self.n_members = n_members

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(n, in_features) to (n, out_features)."""
        n = len(x)
        if context is not None:
            context = self._handed_out(context.expand(n, -1) if self.training else context)
        x = self._handed_out(x)
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x, context)))
        x = self.exit(x)
        return x.transpose(0, 1).flatten(0, 1)[:n] if self.training else x.mean(0)

    def _handed_out(self, rows: Tensor) -> Tensor:
        """Rows (n, k) as seen by the members: all of them, or in training each its own."""
        if not self.training:
            return rows.expand(self.n_members, *rows.shape)
        n = len(rows)
        if n % self.n_members:  # some are dealt twice, and their second results dropped
            rows = rows[torch.arange(n - n % -self.n_members, device=rows.device) % n]
        return rows.reshape(-1, self.n_members, rows.shape[1]).transpose(0, 1)

    def divergence(
        self, x: Tensor, directions: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The outputs, and ``sum_k v_k' J v_k``: for two hidden layers the formula of MLP."""
        if len(self.hidden) != 2:
            return divergence(lambda x: self(x, context), x, directions)
        x = self._handed_out(x)
        if context is not None:
            context = self._handed_out(context)
        weights, slopes = [], []
        for layer in self.hidden:
            x, weight, gain = layer.with_weight(x, context)
            x, slope = self._value_and_slope(x)
            weights.append(weight)
            slopes.append(slope if gain is None else gain * slope)
        first, second = weights
        ends = (self.exit.weight @ directions.mT) @ (directions @ first)
        forms = torch.linalg.vecdot(slopes[0] @ (second * ends.mT), slopes[1])
        return self.exit(x).mean(0), forms.mean(0)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "resnet": ResNet,
    "ensemble": Ensemble,
}
"""Factories by name."""


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _divergence_of(
    body: nn.Module, x: Tensor, directions: Tensor, *context: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs and ``sum_k v_k' J v_k``, by the body's own formula where it has one."""
    if hasattr(body, "divergence"):
        return body.divergence(x, directions, *context)
    return divergence(lambda x: body(x, *context), x, directions)


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

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        y = self.inner * x
        F, forms = _divergence_of(self.body, y, directions)
        squares = self.inner**2 * directions.square().sum()
        return -self.inner * y - self.gain * F, -squares - self.inner * self.gain * forms


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

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        return divergence(self, x, directions)


class LevelFeatures(nn.Module):
    """Sines and cosines of ``1/2 log(sin(theta)^2 + sigma_min^2)``, smooth at both ends.

    Even in the logarithm of small levels down to `sigma_min`, and flat towards theta = pi/2,
    where F depends on theta through ``cos(theta)^2`` only: there ``log tan(theta)`` would
    make the solvers of the flow take many small steps for nothing.

    Parameters
    ----------
    sigma_min : float in (0, inf)

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import LevelFeatures
    >>> LevelFeatures(0.002)(torch.tensor([[0.5]])).shape
    torch.Size([1, 16])
    """

    n_features = 16

    def __init__(self, sigma_min: float) -> None:
        super().__init__()
        self.floor = sigma_min**2
        frequencies = _BASE_FREQUENCY * torch.arange(1.0, self.n_features // 2 + 1)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, theta: Tensor) -> Tensor:
        """Angles (n, 1) to features (n, n_features)."""
        phase = 0.5 * (theta.sin().square() + self.floor).log() * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=1)


class _AllLevels(nn.Module):
    """What the diffusion networks share: the body, the features, the view at a level."""

    def __init__(self, body: nn.Module, sigma_min: float) -> None:
        super().__init__()
        self.body = body
        self.features = LevelFeatures(sigma_min)

    def at(self, sigma: float) -> ScoreAtLevel:
        """The score at one level, a field of one argument."""
        return ScoreAtLevel(self, sigma)


class DiffusionNetwork(_AllLevels):
    """``F(y, theta)`` for all levels, a free vector field.

    With a mixture it is the body and a share ``g(theta)`` of the mixture's own field, which is
    exact where the rows come from it.  The share is learnt and starts at one: untrained, the
    network is the mixture.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) and a context of ``LevelFeatures.n_features`` to (n, d).
    sigma_min : float in (0, inf)
        Least level that it is trained on; below it stays what it is there.
    mixture : MixtureField or None, default=None

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import MLP, DiffusionNetwork
    >>> body = MLP(1, 1, (8,), context_features=16)
    >>> untrained = DiffusionNetwork(body, 0.002).at(1.0)
    >>> untrained(torch.tensor([[2.0]])).detach().round(decimals=4)
    tensor([[-1.]])
    """

    def __init__(
        self, body: nn.Module, sigma_min: float, mixture: MixtureField | None = None
    ) -> None:
        super().__init__(body, sigma_min)
        self.mixture = mixture
        if mixture is not None:
            self.share = _zero(nn.Linear(LevelFeatures.n_features, 1))
            nn.init.ones_(self.share.bias)

    def forward(self, y: Tensor, theta: Tensor) -> Tensor:
        """F, rows (n, d) and angles (n, 1) or (1, 1) to (n, d)."""
        features = self.features(theta)
        F = self.body(y, features)
        if self.mixture is None:
            return F
        return torch.addcmul(F, self.share(features), self.mixture(y, theta))

    def divergence(self, y: Tensor, theta: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """F and ``sum_k v_k' (dF/dy) v_k`` for directions (m, d)."""
        features = self.features(theta)
        F, forms = _divergence_of(self.body, y, directions, features)
        if self.mixture is None:
            return F, forms
        share = self.share(features)
        field, its_forms = self.mixture.divergence(y, theta, directions)
        return torch.addcmul(F, share, field), torch.addcmul(forms, share[:, 0], its_forms)


class ConservativeDiffusionNetwork(_AllLevels):
    """``F = grad_y phi(y, theta)`` of a scalar body: at every level a gradient field.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) and a context of ``LevelFeatures.n_features`` to (n, 1), twice differentiable.
    sigma_min : float in (0, inf)
        Least level that it is trained on.

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import MLP, ConservativeDiffusionNetwork
    >>> network = ConservativeDiffusionNetwork(MLP(2, 1, (8,), context_features=16), 0.002)
    >>> network(torch.ones(3, 2), torch.tensor([[0.5]])).shape
    torch.Size([3, 2])
    """

    def potential(self, y: Tensor, theta: Tensor) -> Tensor:
        """``phi``, (n,)."""
        return self.body(y, self.features(theta))[:, 0]

    def forward(self, y: Tensor, theta: Tensor) -> Tensor:
        """F, rows (n, d) and angles (n, 1) or (1, 1) to (n, d)."""
        return gradient(lambda y: self.potential(y, theta), y)

    def divergence(self, y: Tensor, theta: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """F and ``sum_k v_k' (dF/dy) v_k`` for directions (m, d)."""
        return divergence(lambda y: self(y, theta), y, directions)


class ScoreAtLevel(nn.Module):
    """A diffusion network seen at one level: ``s(x) = -cos(theta) (y + cot(theta) F(y))``.

    Parameters
    ----------
    network : DiffusionNetwork or ConservativeDiffusionNetwork
    sigma : float in (0, inf)

    Examples
    --------
    >>> import torch
    >>> from skscore.networks import MLP, DiffusionNetwork, ScoreAtLevel
    >>> untrained = DiffusionNetwork(MLP(1, 1, (8,), context_features=16), 0.002)
    >>> ScoreAtLevel(untrained, 3.0)(torch.tensor([[5.0]])).detach().round(decimals=4)
    tensor([[-0.5000]])
    """

    def __init__(self, network: nn.Module, sigma: float) -> None:
        super().__init__()
        self.network = network
        self.theta = math.atan(sigma)

    def _angle(self, x: Tensor) -> Tensor:
        return x.new_full((1, 1), self.theta)

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row at the level, (n, d) to (n, d)."""
        y = math.cos(self.theta) * x
        return -math.cos(self.theta) * (y + self.network(y, self._angle(x)) / math.tan(self.theta))

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        cos, tan = math.cos(self.theta), math.tan(self.theta)
        y = cos * x
        F, forms = self.network.divergence(y, self._angle(x), directions)
        return -cos * (y + F / tan), -(cos**2) * (directions.square().sum() + forms / tan)

    def energy(self, x: Tensor) -> Tensor:
        """``E(x)`` of a conservative network, with ``-grad E = s``, (n, d) to (n,)."""
        y = math.cos(self.theta) * x
        potential = self.network.potential(y, self._angle(x))
        return 0.5 * y.square().sum(1) + potential / math.tan(self.theta)
