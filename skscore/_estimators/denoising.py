"""The denoising score estimator at one noise level."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

from skscore._backend.fitted import FittedNetwork
from skscore._estimators.documentation import shared_documentation
from skscore._estimators.one_level import NoisedScoreEstimator
from skscore._estimators.parameters import CONSTRAINTS, shared_arguments
from skscore._fitting.data import FitData
from skscore._fitting.level_search import level_grid, search_levels
from skscore._rows import split
from skscore._validation import Interval, StrOptions
from skscore.noise import KERNELS

_SEARCH_FRACTION = 0.2  # rows on which sigma="auto" judges the levels
_EDGE_ADVICE = "Search a wider range by the sigmas of DenoisingScoreEstimatorCV, or give a sigma."


@shared_documentation
class DenoisingScoreEstimator(NoisedScoreEstimator):
    """Score of a noised density by denoising score matching at one noise level.

    Rows are noised, ``x~ = x + sigma eps``, and a network s is regressed on the score of
    that draw: it minimises ``1/2 E |s(x~) - grad log q(x~ | x)|^2``, whose minimum is the
    score of the NOISED density.  A small sigma is faithful and noisy to learn, a large one
    smooth; `score` compares them on clean rows, so that a grid search may choose.

    Parameters
    ----------
    sigma : float in (0, inf) or "auto", default=0.1
        Standard deviation of the noise in the standardised coordinates, where every column
        has variance one (with ``standardize=None``: in the units of X).  "auto" holds a fifth of
        the rows out and takes that of ten levels from 0.01 to 1 whose score is best there, by
        the search of :class:`DenoisingScoreEstimatorCV` on this one split; where that is 0.01 or
        1, a `NoiseRangeWarning` says so.
    noise : {<kernels>}, default="gaussian"
        A key of :data:`skscore.noise.KERNELS`.
    <parameters>

    Attributes
    ----------
    sigma_ : float
        The noise level of the score.
    <attributes>

    See Also
    --------
    DenoisingScoreEstimatorCV : With the level chosen by cross-validation.
    ImplicitScoreEstimator, SlicedScoreEstimator : The score of the rows themselves.

    References
    ----------
    Vincent (2011). A connection between score matching and denoising autoencoders.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import DenoisingScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = DenoisingScoreEstimator(sigma=0.1, max_iter=100, random_state=0).fit(X)
    >>> est.sample(3, random_state=0).shape
    (3, 1)
    >>> bool(abs(est.score_function([[5.0]])[0, 0] - (-2.0 / 4)) < 0.15)
    True
    """

    _parameter_constraints = CONSTRAINTS | {
        "sigma": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "noise": [StrOptions(set(KERNELS))],
    }

    def __init__(
        self,
        sigma: float | str = 0.1,
        noise: str = "gaussian",
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
        self.sigma = sigma
        self.noise = noise

    def _choose_level(
        self, data: FitData, previous: FittedNetwork | None
    ) -> tuple[float, dict[str, Any]]:
        if self.sigma != "auto":
            return float(self.sigma), {}
        if previous is not None:
            return previous.spec.sigma, {}
        parts = split(data.rows, _SEARCH_FRACTION, data.rng)
        search = search_levels(self, data, level_grid(data, self.standardize), [parts])
        chosen = search.best()
        search.warn_of_edge(chosen, f"sigma='auto' of {type(self).__name__}", _EDGE_ADVICE)
        return float(search.sigmas[chosen]), {}
