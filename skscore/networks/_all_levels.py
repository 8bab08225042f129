"""Networks that are the field of all noise levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skscore._math.angles import Level
from skscore._math.calculus import divergence, gradient
from skscore._math.gaussian import MixtureField
from skscore.networks._bodies import zeroed
from skscore.networks._one_level import divergence_of

# The slowest feature turns once over 25 e-folds of sigma, the fastest over 3.
_BASE_FREQUENCY = 0.25


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
    >>> from skscore.networks._all_levels import LevelFeatures
    >>> LevelFeatures(0.002)(torch.tensor([[0.5]])).shape
    torch.Size([1, 16])
    """

    n_features = 16
    frequencies: Tensor

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
    exact where the rows come from it.  The share is learned and starts at one: untrained, the
    network is the mixture.

    Parameters
    ----------
    body : torch.nn.Module
        (n, d) and a context of ``LevelFeatures.n_features`` to (n, d).
    sigma_min : float in (0, inf)
        Least level that it is trained on; below, it stays as it is there.
    mixture : MixtureField or None, default=None

    Examples
    --------
    >>> import torch
    >>> from skscore.networks._bodies import MLP
    >>> from skscore.networks._all_levels import DiffusionNetwork
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
            self.share = zeroed(nn.Linear(LevelFeatures.n_features, 1))
            nn.init.ones_(self.share.bias)

    @property
    def single_tangents(self) -> bool:
        """Whether `divergence` takes directions in single precision beside rows in double."""
        return getattr(self.body, "single_tangents", False)

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
        F, forms = divergence_of(self.body, y, directions, features)
        if self.mixture is None:
            return F, forms
        share = self.share(features)
        field, its_forms = self.mixture.divergence(y, theta, directions.to(y))
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
    >>> from skscore.networks._bodies import MLP
    >>> from skscore.networks._all_levels import ConservativeDiffusionNetwork
    >>> network = ConservativeDiffusionNetwork(MLP(2, 1, (8,), context_features=16), 0.002)
    >>> network(torch.ones(3, 2), torch.tensor([[0.5]])).shape
    torch.Size([3, 2])
    """

    single_tangents = False

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
    >>> from skscore.networks._bodies import MLP
    >>> from skscore.networks._all_levels import DiffusionNetwork, ScoreAtLevel
    >>> untrained = DiffusionNetwork(MLP(1, 1, (8,), context_features=16), 0.002)
    >>> ScoreAtLevel(untrained, 3.0)(torch.tensor([[5.0]])).detach().round(decimals=4)
    tensor([[-0.5000]])
    """

    network: Any

    def __init__(self, network: nn.Module, sigma: float) -> None:
        super().__init__()
        self.network = network
        self.level = Level.of(sigma)

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows y and their angle (1, 1)."""
        return self.level.y(x), x.new_full((1, 1), self.level.theta)

    def forward(self, x: Tensor) -> Tensor:
        """Score of every row at the level, (n, d) to (n, d)."""
        y, theta = self._at(x)
        return self.level.score(self.network(y, theta), y)

    def divergence(self, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and ``sum_k v_k' J v_k`` for directions (m, d)."""
        y, theta = self._at(x)
        F, forms = self.network.divergence(y, theta, directions)
        return self.level.score(F, y), self.level.score_forms(forms, directions)

    def energy(self, x: Tensor) -> Tensor:
        """``E(x)`` of a conservative network, with ``-grad E = s``, (n, d) to (n,)."""
        y, theta = self._at(x)
        return self.level.energy(self.network.potential(y, theta), y)
