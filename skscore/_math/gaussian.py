"""Gaussians and their mixtures in closed form, plain and noised.

With precisions ``P_k = L_k L_k'`` and responsibilities ``r_k(x)`` a mixture
``p = sum_k w_k N(m_k, P_k^-1)`` has

    log p        = logsumexp_k [ log w_k + log N(x; m_k, P_k^-1) ]
    grad log p   = sum_k r_k s_k,                 s_k = -P_k (x - m_k)
    tr(A grad s) = sum_k r_k ( (s_k - s)' A (s_k - s) - tr(A P_k) ),  s = grad log p

The last line is the law of total covariance for the score.  Differences from s are
taken before they are squared, so that components far apart lose no digits.  Adding
independent Gaussian noise of covariance N replaces ``P_k^-1`` by ``P_k^-1 + N``.
One component gives the plain Gaussian.

Two classes with the same four methods: :class:`GaussianMixture` has a full
covariance per component, :class:`IsotropicMixture` one variance for all of
them, which is what a kernel density has and is far cheaper.

:class:`MixtureField` is the probability flow of a mixture in the coordinate of all levels
(:mod:`skscore._math.angles`), as a module whose buffers travel with a network;
:class:`KernelField` that of a kernel density, whose many components have one covariance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def _combine(log_joint: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density (n,) and responsibilities (n, k) of the joint (n, k)."""
    log_density = log_joint.logsumexp(1)
    return log_density, (log_joint - log_density[:, None]).exp()


class GaussianMixture:
    """Mixture with weights (k,), means (k, d) and covariances (k, d, d)."""

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.weights, self.means, self.covariances = weights, means, covariances
        factor = torch.linalg.cholesky(covariances)
        identity = torch.eye(means.shape[1], dtype=means.dtype, device=means.device)
        self._whitener = torch.linalg.solve_triangular(factor, identity, upper=False)
        self._precisions = self._whitener.mT @ self._whitener
        self._log_volume = factor.diagonal(dim1=1, dim2=2).log().sum(1)

    def noised(self, covariance: Tensor) -> GaussianMixture:
        """Density of x + e with e ~ N(0, covariance) of shape (d, d)."""
        return GaussianMixture(self.weights, self.means, self.covariances + covariance)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Joint log-density (n, k) and component scores (n, k, d)."""
        difference = x[:, None, :] - self.means
        whitened = torch.einsum("kij,nkj->nki", self._whitener, difference)
        half_log_2pi = 0.5 * x.shape[1] * math.log(2 * math.pi)
        log_normal = -0.5 * whitened.square().sum(2) - self._log_volume - half_log_2pi
        scores = -torch.einsum("kji,nkj->nki", self._whitener, whitened)
        return self.weights.log() + log_normal, scores

    def log_density(self, x: Tensor) -> Tensor:
        """``log p(x)`` in nats, (n, d) to (n,)."""
        return _combine(self._parts(x)[0])[0]

    def score(self, x: Tensor) -> Tensor:
        """``grad_x log p(x)``, (n, d) to (n, d)."""
        log_joint, scores = self._parts(x)
        return torch.einsum("nk,nki->ni", _combine(log_joint)[1], scores)

    def score_divergence(self, x: Tensor, metric: Tensor) -> Tensor:
        """``tr(metric grad_x s(x))``, (n, d) to (n,).

        The metric is symmetric and positive semi-definite, (d, d), or (n, d, d), one for each row.
        """
        log_joint, scores = self._parts(x)
        r = _combine(log_joint)[1]
        deviations = scores - torch.einsum("nk,nki->ni", r, scores)[:, None]
        squares = ((deviations @ metric) * deviations).sum(2)
        traces = torch.einsum("...ij,kji->...k", metric, self._precisions)
        return (r * (squares - traces)).sum(1)


class IsotropicMixture:
    """Mixture of N(m_k, variance I) with weights (k,) and means (k, d)."""

    def __init__(self, weights: Tensor, means: Tensor, variance: float) -> None:
        self.weights, self.means, self.variance = weights, means, float(variance)
        # Distances are taken about a common centre: tables far from zero lose no digits.
        self._centre = means.mean(0)
        self._centred = means - self._centre

    def noised(self, variance: float) -> IsotropicMixture:
        """Density of x + e with e ~ N(0, variance I)."""
        return IsotropicMixture(self.weights, self.means, self.variance + variance)

    def _joint(self, x: Tensor) -> Tensor:
        d = x.shape[1]
        exactly = "donot_use_mm_for_euclid_dist"  # the matrix form cancels between far clusters
        distances = torch.cdist(x - self._centre, self._centred, compute_mode=exactly)
        log_normal = -0.5 * (
            distances.square() / self.variance + d * math.log(2 * math.pi * self.variance)
        )
        return self.weights.log() + log_normal

    def log_density(self, x: Tensor) -> Tensor:
        """``log p(x)`` in nats, (n, d) to (n,)."""
        return _combine(self._joint(x))[0]

    def score(self, x: Tensor) -> Tensor:
        """``grad_x log p(x)``, (n, d) to (n, d)."""
        r = _combine(self._joint(x))[1]
        return (r @ self._centred - (x - self._centre)) / self.variance

    def score_divergence(self, x: Tensor, metric: Tensor) -> Tensor:
        """``tr(metric grad_x s(x))``, (n, d) to (n,).

        The metric is symmetric and positive semi-definite, (d, d), or (n, d, d), one for each row.
        """
        r = _combine(self._joint(x))[1]
        values, vectors = torch.linalg.eigh(metric)
        spread = torch.zeros_like(x[:, 0])
        for v in (vectors * values.clamp(min=0).sqrt()[..., None, :]).unbind(-1):
            along = (v @ self._centred.mT).expand_as(r)
            mean = (r * along).sum(1, keepdim=True)
            spread += (along - mean).square_().mul_(r).sum(1)
        trace = metric.diagonal(dim1=-2, dim2=-1).sum(-1)
        return spread / self.variance**2 - trace / self.variance


class MixtureField(nn.Module):
    r"""``F(y, theta)`` of a Gaussian mixture, and its divergence, in closed form.

    At theta component k is ``N(c m_k, V_k)`` with ``V_k = c^2 S_k + s^2 I``, ``c, s = cos, sin``.
    In the eigenvectors of S_k, with eigenvalues l and ``v = c^2 l + s^2``, its own flow is

        F_k = s G_k,    G_k = -(c (l - 1) y + m_k) / v,

    without a quotient of small numbers at either end, and with responsibilities r_k

        F = sum_k r_k F_k,    div F = sum_k r_k div F_k - c s sum_k r_k |G_k - sum_j r_j G_j|^2.

    Parameters
    ----------
    n_components, n_features : int in [1, inf)
        The buffers begin as standard normal laws, for which F is zero.
    """

    log_weights: Tensor
    means: Tensor
    variances: Tensor
    vectors: Tensor

    def __init__(self, n_components: int, n_features: int) -> None:
        super().__init__()
        k, d = n_components, n_features
        self.register_buffer("log_weights", torch.full((k,), -math.log(k)))
        self.register_buffer("means", torch.zeros(k, d))  # in the eigenvectors
        self.register_buffer("variances", torch.ones(k, d))
        self.register_buffer("vectors", torch.eye(d).repeat(k, 1, 1))

    @torch.no_grad()
    def refine(self) -> None:
        """Make the vectors orthonormal to the precision that they have now.

        The divergence takes them to be so; those that come from a lower precision are not.
        """
        V, d = self.vectors, self.means.shape[1]
        identity = torch.eye(d, dtype=V.dtype, device=V.device)
        V.copy_(V @ (1.5 * identity - 0.5 * V.mT @ V))

    def _parts(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Variances (n, k, d), responsibilities (n, k, 1), G_k in the eigenvectors (n, k, d)."""
        k, d = self.means.shape
        c, s = theta.cos()[:, :, None], theta.sin()[:, :, None]
        rotated = (y @ self.vectors.transpose(0, 1).reshape(d, k * d)).view(-1, k, d)
        v = c.square() * self.variances + s.square()
        deviance = ((rotated - c * self.means).square() / v + v.log()).sum(2)
        r = (self.log_weights - 0.5 * deviance).softmax(1)
        return v, r[:, :, None], -(c * (self.variances - 1) * rotated + self.means) / v

    def forward(self, y: Tensor, theta: Tensor) -> Tensor:
        """F, rows (n, d) and angles (n, 1) or (1, 1) to (n, d)."""
        k, d = self.means.shape
        _, r, G = self._parts(y, theta)
        back = self.vectors.mT.reshape(k * d, d)
        return theta.sin() * ((r * G).reshape(-1, k * d) @ back)

    def divergence(self, y: Tensor, theta: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """F and ``sum_k v_k' (dF/dy) v_k`` for directions (m, d)."""
        c, s = theta.cos(), theta.sin()
        v, r, G = self._parts(y, theta)
        G = torch.einsum("nkj,kij->nki", G, self.vectors)
        mean = (r * G).sum(1)
        spread = (r * ((G - mean[:, None]) @ directions.mT).square()).sum((1, 2))
        lengths = (directions @ self.vectors).square().sum(1)  # of v along the eigenvectors
        own = (r * (lengths * (self.variances - 1) / v)).sum((1, 2))
        return s * mean, -(c * s)[:, 0] * (own + spread)


class KernelField:
    """``F(y, theta)`` of many components that have one diagonal covariance S, in closed form.

    That of :class:`MixtureField`, with responsibilities from products of matrices, so that nothing
    of shape (n, k, d) is made.  It takes float64: terms that cancel are of order ``1 / S``.

    Parameters
    ----------
    log_weights, means, variances : Tensor of shape (k,), (k, d) and (d,)
    """

    def __init__(self, log_weights: Tensor, means: Tensor, variances: Tensor) -> None:
        self.log_weights, self.means, self.variances = log_weights, means, variances

    def __call__(self, y: Tensor, theta: Tensor) -> Tensor:
        """F, rows (n, d) and angles (n, 1) or (1, 1) to (n, d)."""
        c, s = theta.cos(), theta.sin()
        v = c.square() * self.variances + s.square()
        near = c * (y / v) @ self.means.mT - 0.5 * (c.square() / v) @ self.means.square().mT
        mean = (self.log_weights + near).softmax(1) @ self.means
        return -s * (c * (self.variances - 1) * y + mean) / v
