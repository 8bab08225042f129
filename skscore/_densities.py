"""The log-densities behind `score_samples` of scikit-learn's estimators, and of others.

Some are none: those of outlier detectors, of a restricted Boltzmann machine, of a plain pipeline.
Some are not what they seem: ``KernelDensity`` sums over a tree, whose bounds are off by whole
nats where many columns make the terms tiny, and gives rows outside the support of a compact
kernel a density; ``BayesianGaussianMixture`` returns an expected logarithm, less than that of
its mixture.  Here they are by formula, or a plain sum.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import singledispatch
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KDTree, KernelDensity
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import Pipeline

from skscore._backend.closed_form import ClosedForm
from skscore._validation import check_rows, unwrapped

CLOSED_FORMS = "KernelDensity (gaussian kernel), GaussianMixture or BayesianGaussianMixture"
EUCLIDEAN = ("euclidean", "l2")
"""Metrics in which a kernel density has mass one."""
_WITH_EDGES = ("tophat", "epanechnikov", "linear", "cosine")  # kernels of compact support
_OTHER_TYPES = ("outlier_detector", "classifier", "regressor", "clusterer")


def bare(estimator: Any) -> Any:
    """What a frozen estimator, a search, or a pipeline without transformers stands for."""
    estimator = unwrapped(estimator)
    if is_plain_pipeline(estimator) and not _transformers(estimator):
        return bare(estimator.steps[-1][1])
    return estimator


def is_plain_pipeline(estimator: Any) -> bool:
    """Whether it is a pipeline that forgets the Jacobian of its steps."""
    return isinstance(estimator, Pipeline) and not hasattr(type(estimator), "score_function")


def _transformers(pipeline: Pipeline) -> list[str]:
    return [name for name, step in pipeline.steps[:-1] if step not in (None, "passthrough")]


# -- why `score_samples` is no normalised log-density of the rows, as far as one can see -----------


@singledispatch
def why_no_log_density(estimator: Any) -> str | None:
    """The reason, in a sentence; None where there is none to be seen."""
    tags = estimator.__sklearn_tags__() if hasattr(estimator, "__sklearn_tags__") else None
    kind = getattr(tags, "estimator_type", None)
    if kind in _OTHER_TYPES:
        name = type(estimator).__name__
        return f"{name} is of the type {kind!r}: its score_samples is no log-density."
    return None


@why_no_log_density.register
def _(estimator: Pipeline) -> str | None:
    if is_plain_pipeline(estimator):
        return (
            "The score_samples of a Pipeline is the log-density of the transformed rows: it "
            "forgets the Jacobian of its steps."
        )
    return _by_type(estimator)


@why_no_log_density.register
def _(estimator: KernelDensity) -> str | None:
    if estimator.metric not in EUCLIDEAN:
        return (
            "KernelDensity normalises its kernels for the Euclidean metric only: with "
            f"metric={estimator.metric!r} score_samples is no log-density. Use metric='euclidean'."
        )
    return _by_type(estimator)


@why_no_log_density.register
def _(estimator: BernoulliRBM) -> str:
    return "The score_samples of BernoulliRBM is a pseudo-likelihood of zeros and ones."


_by_type = why_no_log_density.dispatch(object)


# -- densities that end at edges -------------------------------------------------------------------


@singledispatch
def has_edges(density: Any) -> bool:
    """Whether a density is known to end at edges, where it has no score."""
    return False


@has_edges.register
def _(density: KernelDensity) -> bool:
    return density.kernel in _WITH_EDGES


# -- mixtures of Gaussians, whose laws are formulas ------------------------------------------------


@singledispatch
def is_mixture(density: Any) -> bool:
    """Whether a density, fitted or not, is a mixture of Gaussians."""
    return False


@is_mixture.register(GaussianMixture)
@is_mixture.register(BayesianGaussianMixture)
def _(density: Any) -> bool:
    return True


@is_mixture.register
def _(density: KernelDensity) -> bool:
    return density.kernel == "gaussian" and density.metric in EUCLIDEAN


_FULL: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "full": lambda c, k, d: c,
    "tied": lambda c, k, d: np.broadcast_to(c, (k, d, d)),
    "diag": lambda c, k, d: c[:, :, None] * np.eye(d),
    "spherical": lambda c, k, d: c[:, None, None] * np.eye(d),
}
"""Covariances (k, d, d) from those of each `covariance_type` of a mixture."""


@singledispatch
def closed_form(density: Any) -> ClosedForm:
    """A fitted mixture of Gaussians as one."""
    covariances = _FULL[density.covariance_type](density.covariances_, *density.means_.shape)
    return ClosedForm(density.weights_, density.means_, covariances)


@closed_form.register
def _(density: KernelDensity) -> ClosedForm:
    means, weights = np.asarray(density.tree_.data), density.tree_.sample_weight
    weights = np.ones(len(means)) if weights is None else np.asarray(weights)
    kept, variance = weights > 0, float(density.bandwidth_) ** 2
    return ClosedForm(weights[kept] / weights.sum(), means[kept], variance=variance)


# -- right values, and draws ----------------------------------------------------------------------


@singledispatch
def with_plain_sums(density: Any) -> Any:
    """The fitted density; a kernel density with a tree of one leaf, which is summed term by term.

    The tolerances of the tree are zero then: they are about its bounds.
    """
    return density


@with_plain_sums.register
def _(density: KernelDensity) -> Any:
    rows, weights = np.asarray(density.tree_.data), density.tree_.sample_weight
    weights = None if weights is None else np.asarray(weights)
    exact = copy.copy(density).set_params(rtol=0.0, atol=0.0)
    exact.tree_ = KDTree(rows, leaf_size=len(rows), sample_weight=weights)
    return exact


@singledispatch
def draws_by_seed(density: Any) -> bool:
    """Whether `sample` draws from the density, and takes a seed."""
    taken = signature(density.sample).parameters  # AttributeError where it has none
    return "random_state" in taken or "random_state" in density.get_params(deep=False)


@draws_by_seed.register
def _(density: KernelDensity) -> bool:  # it draws the same for other kernels and metrics
    return density.kernel in ("gaussian", "tophat") and density.metric in EUCLIDEAN


def log_densities(density: Any, X: ArrayLike) -> np.ndarray:
    """Log-densities (n,) of rows under a fitted density, in nats."""
    if is_mixture(density):
        return closed_form(density).log_density(check_rows(density, X))
    return np.asarray(with_plain_sums(density).score_samples(X))
