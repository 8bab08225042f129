"""Score estimators without noise: implicit and sliced."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

from skscore._estimators.documentation import shared_documentation
from skscore._estimators.one_level import DataScoreEstimator
from skscore._estimators.parameters import CONSTRAINTS, shared_arguments
from skscore._validation import Interval, StrOptions
from skscore.losses import (
    PROJECTIONS,
    ImplicitScoreMatching,
    Loss,
    SlicedScoreMatching,
)


@shared_documentation
class ImplicitScoreEstimator(DataScoreEstimator):
    """Score of a density by Hyvarinen's objective with the exact trace.

    Minimises ``E[ 1/2 |s|^2 + tr grad s ]`` over networks s; its minimum is the score
    ``grad log p`` of the rows themselves.  The trace takes one backward pass per column:
    for more than some ten columns :class:`SlicedScoreEstimator` is cheaper.

    The objective rewards spikes on single rows without bound.  Training therefore spreads
    the rows by normal noise of 0.03 standard deviations, and a state must win on the held-out
    rows by a standard error.  Still, give it thousands of rows, or prefer
    :class:`DenoisingScoreEstimator`.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    SlicedScoreEstimator : The same minimum from random directions.
    DenoisingScoreEstimator : The score of the slightly noised density, more stable.

    References
    ----------
    Hyvarinen (2005). Estimation of non-normalized statistical models by score matching.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import ImplicitScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = ImplicitScoreEstimator(max_iter=100, random_state=2).fit(X)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    def _loss(self) -> Loss:
        return ImplicitScoreMatching()


@shared_documentation
class SlicedScoreEstimator(DataScoreEstimator):
    """Score of a density by sliced score matching.

    Minimises ``E_v E[ v' (grad s) v + 1/2 |s|^2 ]`` over networks s with random directions
    v, ``E vv' = I``: Hyvarinen's objective on average, at one backward pass per direction
    in any number of columns.

    The objective rewards spikes on single rows without bound.  Training therefore spreads
    the rows by normal noise of 0.03 standard deviations, and a state must win on the held-out
    rows by a standard error.  Still, give it thousands of rows, or prefer
    :class:`DenoisingScoreEstimator`.

    Parameters
    ----------
    n_projections : int in [1, inf), default=1
        Directions per row and step.
    projection : {"rademacher", "gaussian", "sphere"}, default="rademacher"
        Law of the directions.
    variance_reduction : bool, default=True
        Whether ``|s|^2`` stands in for ``(v's)^2``, which it equals on average.
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    ImplicitScoreEstimator : With the exact trace, for few columns.
    DenoisingScoreEstimator : The score of the slightly noised density, more stable.

    References
    ----------
    Song, Garg, Shi and Ermon (2019). Sliced score matching: a scalable approach to density
    and score estimation.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import SlicedScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = SlicedScoreEstimator(max_iter=100, random_state=0).fit(X)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    _parameter_constraints = CONSTRAINTS | {
        "n_projections": [Interval(Integral, 1, None, closed="left")],
        "projection": [StrOptions(set(PROJECTIONS))],
        "variance_reduction": ["boolean"],
    }

    def __init__(
        self,
        n_projections: int = 1,
        projection: str = "rademacher",
        variance_reduction: bool = True,
        *,
        network: str | Callable[..., Any] = "mlp",
        hidden_layer_sizes: Any = (128, 128, 128),
        activation: str = "tanh",
        conservative: bool = False,
        standardize: str | None = "whiten",
        dequantize: bool = False,
        learning_rate_init: float = 0.004,
        batch_size: int | str = "auto",
        max_iter: int = 500,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        store_starts: bool = True,
        verbose: bool | int = False,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        super().__init__(**shared_arguments(locals()))
        self.n_projections = n_projections
        self.projection = projection
        self.variance_reduction = variance_reduction

    def _loss(self) -> Loss:
        return SlicedScoreMatching(self.n_projections, self.projection, self.variance_reduction)
