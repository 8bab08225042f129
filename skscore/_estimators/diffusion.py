"""Denoising score matching over all noise levels: one network, sampled and evaluated at will."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from skscore._backend.batches import Split
from skscore._backend.fitted import FittedNetwork
from skscore._estimators.all_levels import CURVE_LEVELS, AllLevelsScoreEstimator
from skscore._estimators.documentation import shared_documentation
from skscore._estimators.parameters import CONSTRAINTS, shared_arguments
from skscore._fitting.criterion import level_criterion
from skscore._fitting.data import FitData
from skscore._fitting.defaults import resolved_spec
from skscore._fitting.run import Objective, warn_of_scales
from skscore._rows import effective_number, some_rows
from skscore._validation import Interval, StrOptions
from skscore.losses import DiffusionScoreMatching
from skscore.noise import PROCESSES, SCHEDULES, WEIGHTINGS, NoiseProcess, solver_angles
from skscore.noise._levels import check_reach
from skscore.noise._processes import SIGMA_MAX, SIGMA_MIN
from skscore.noise._settled import settled_process
from skscore.samplers import ReverseSampler

_CURVE_ROWS = 1000
_CURVE_JACOBIANS = 6000  # rows times columns where every row needs its own Jacobian


@shared_documentation
class DiffusionScoreEstimator(AllLevelsScoreEstimator):
    """Scores at all noise levels from one network: samples, densities, scores, denoising.

    The network F(y, theta) is trained by denoising score matching at levels ``sigma =
    tan(theta)`` from `sigma_min` to `sigma_max` at once.  It is the velocity of the probability
    flow ``dy/dtheta = F`` that carries the law of the rows to N(0, I), and holds the score of
    every noised law on the way.  So one fit gives new rows (`sample`, by any method), exact
    normalised log-densities (`score_samples`), scores and denoising at any level.  The
    untrained network is the Gaussian fit, exactly, and competes in early stopping.

    Parameters
    ----------
    process : {<processes>} or NoiseProcess, default="ve"
        Names how levels are drawn and weighted in training, and the grid of samplers without one
        of their own, where these three are "auto"; see :mod:`skscore.noise`.  Of a process that has
        a range of its own, as ``VarianceExploding(0.05, 10.0)``, and of `sigma_min` and `sigma_max`
        below, an end that is left at its default follows the other; two that are set must agree.
    sigma_min : float in (0, inf), default=0.002
        Least noise level, a standard deviation in standardised coordinates.
    sigma_max : float in (sigma_min, inf), default=80.0
        Largest noise level.
    levels : "auto" or str, default="auto"
        How levels are drawn in training, a key of :data:`skscore.noise.SCHEDULES`.
    weighting : "auto", str or callable, default="auto"
        How levels are weighted, a key of :data:`skscore.noise.WEIGHTINGS` or a function
        ``lambda(sigma)`` of a tensor, which can be imported by its name.
    grid : "auto" or str, default="auto"
        Where the steps of `sample` end, a key of :data:`skscore.noise.SCHEDULES`; "auto" takes that
        of the sampler, where it has one.
    divergence : {"exact", "probes"}, default="exact"
        How `score_samples` takes the trace: "probes" estimates it along random directions,
        the same for all rows, for tables with hundreds of columns.  ("ensemble", and "mlp" of two
        hidden layers, have a trace whose cost does not grow with the columns.)
    n_probes : int in [2, inf), default=16
        Directions of ``divergence="probes"``.
    density_tol : float in (0, inf), default=0.0005
        Tolerance of a step of the flow in `score_samples`, in nats.
    n_components : "auto" or int in [0, inf), default="auto"
        Components of a Gaussian mixture whose own field, known in closed form, the network
        learns to correct; 0 is none, and so is always ``conservative=True``.  "auto" takes the
        number that held-out rows like best, and a mixture only where it is ahead, by two standard
        errors on those rows, of what a network without one promises to become after a quarter of
        its training.  Where that is in doubt and at least 200 rows are held out, both are trained,
        and the mixture must win by one standard error.
    network : "auto", {<networks>} or importable factory, default="auto"
        See :mod:`skscore.networks`.  "auto" is "ensemble" for fewer than 2500 training rows, with
        a dropout of 100 over their number, else "mlp" for up to five columns and "resnet" for more,
        with a dropout of 600 over the number of rows; both at most 0.2.  "mlp" is the fast one for
        many columns: two layers have a log-density whose cost does not grow with them.
    hidden_layer_sizes : "auto" or tuple of int in [1, inf), default="auto"
        Width of each hidden layer, or of each residual block.  "auto" is (96, 96) for
        the members of an ensemble and (128, 128, 128) for "resnet"; of "mlp" it is that for up to
        five columns and (192, 192) for more.
    standardize : {"auto", "normal", "whiten", "scale", None}, default="auto"
        Coordinates of the network and of noise levels: decorrelated, scaled column by
        column, or in input units (only shifted).  "normal" takes every column through a smooth
        map to a normal law before it decorrelates; "auto" is "normal" where that wins on
        held-out rows, else "whiten".  Where mixtures do not tell, in tables of 2500 rows and more
        and with `early_stopping`, short trainings in both decide.
    max_iter : "auto" or int in [1, inf), default="auto"
        Most rounds; the learning rate falls to zero over them.  A round is one pass over the
        rows, but at least 50 and at most 1000 optimiser steps.  "auto" is 40 for fewer than 2500
        training rows, else what makes 3500 steps, and at least 40.
    n_iter_no_change : "auto" or int in [1, inf), default="auto"
        Rounds without a better validation score after which training ends.  "auto" is a third of
        the rounds and at least 10: while the learning rate is high, nothing may seem to be gained.
    <parameters>

    Attributes
    ----------
    sigma_ : float
        Level of highest criterion (:meth:`sigma_curve`) on the held-out rows, or on the
        training rows where none are held out: the default of `score_function`.
    sigma_range_ : (float, float)
        Least and largest level that was trained.
    standardize_ : {"normal", "whiten", "scale", None}
        What "auto" chose, or what there was to do: "normal" is "whiten" where no column gets a
        curved map.
    <attributes>

    See Also
    --------
    DenoisingScoreEstimator : One level; faster to fit, no density.
    FlowTransformer : The probability flow as a transformer to independent normal columns.

    Notes
    -----
    `score_samples` is the density of the probability flow, which uses all levels (below
    `sigma_min` the network as it is there), and `score_function` the network's score at
    `sigma_`.  For a trained network the second is not the gradient of the first: errors of
    the network are multiplied by 1 / sigma, so its score at the smallest level is noise.

    With ``standardize_ == "normal"`` the noise of a level is Gaussian in the curved coordinates,
    not in the units of X.

    References
    ----------
    Song and Ermon (2019). Generative modeling by estimating gradients of the data distribution.
    Ho, Jain and Abbeel (2020). Denoising diffusion probabilistic models.
    Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
    modeling through stochastic differential equations.
    Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
    diffusion-based generative models.

    Examples
    --------
    >>> import numpy as np
    >>> from skscore import DiffusionScoreEstimator
    >>> X = np.random.default_rng(0).normal(3.0, 2.0, size=(400, 1))
    >>> est = DiffusionScoreEstimator(max_iter=5, random_state=0).fit(X)
    >>> est.sample(3, random_state=0).shape
    (3, 1)
    >>> truth = -0.5 * np.log(2 * np.pi * 2.0**2)
    >>> bool(abs(est.score_samples([[3.0]])[0] - truth) < 0.15)
    True
    """

    _parameter_constraints = CONSTRAINTS | {
        "network": [StrOptions({"auto"}), *CONSTRAINTS["network"]],
        "n_components": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), *CONSTRAINTS["max_iter"]],
        "n_iter_no_change": [StrOptions({"auto"}), *CONSTRAINTS["n_iter_no_change"]],
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            *CONSTRAINTS["hidden_layer_sizes"],
        ],
        "standardize": [StrOptions({"auto", "normal", "whiten", "scale"}), None],
        "process": [StrOptions(set(PROCESSES)), NoiseProcess],
        "sigma_min": [Interval(Real, 0, None, closed="neither")],
        "sigma_max": [Interval(Real, 0, None, closed="neither")],
        "levels": [StrOptions({"auto", *SCHEDULES})],
        "weighting": [StrOptions({"auto", *WEIGHTINGS}), callable],
        "grid": [StrOptions({"auto", *SCHEDULES})],
        "divergence": [StrOptions({"exact", "probes"})],
        "n_probes": [Interval(Integral, 2, None, closed="left")],
        "density_tol": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        process: str | NoiseProcess = "ve",
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        *,
        levels: str = "auto",
        weighting: str | Callable[[Any], Any] = "auto",
        grid: str = "auto",
        divergence: str = "exact",
        n_probes: int = 16,
        density_tol: float = 5e-4,
        n_components: int | str = "auto",
        network: str | Callable[..., Any] = "auto",
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        conservative: bool = False,
        standardize: str | None = "auto",
        dequantize: bool = False,
        learning_rate_init: float = 0.003,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        tol: float = 1e-4,
        warm_start: bool = False,
        store_starts: bool = True,
        verbose: bool | int = False,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        super().__init__(**shared_arguments(locals()))
        self.process = process
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.levels = levels
        self.weighting = weighting
        self.grid = grid
        self.divergence = divergence
        self.n_probes = n_probes
        self.n_components = n_components
        self.density_tol = density_tol

    _least_batch = 256
    _decays = True

    # -- fitting ---------------------------------------------------------------------------

    def _settled_process(self) -> NoiseProcess:
        """The process, with the range, levels, weighting and grid that are in force."""
        process = self.process
        return settled_process(self, PROCESSES[process]() if isinstance(process, str) else process)

    def _objective(self, data: FitData, split: Split, previous: FittedNetwork | None) -> Objective:
        process = self._settled_process()
        loss = DiffusionScoreMatching(process)
        loss.check()
        check_reach(process.grid, process, *process.sigma_range)
        spec = resolved_spec(
            self,
            data.X.shape[1],
            effective_number(split.training),
            process.sigma_range,
            None if previous is None else previous.spec,
        )
        return Objective(spec, loss, 0 if self.conservative else self.n_components)

    def _fitted_attributes(
        self, data: FitData, split: Split, network: FittedNetwork
    ) -> dict[str, Any]:
        warn_of_scales(self, data, network.sigma_range)
        most = _CURVE_ROWS
        if data.standardizer.curved.any():  # each row needs its Jacobian
            most = min(most, _CURVE_JACOBIANS // data.X.shape[1] + 1)
        rows = data.rows if split.validation is None else split.validation
        index, weights = some_rows(rows.index, rows.weights, most, data.rng)
        z = data.standardizer.jitter(data.standardizer.transform(data.X[index]), data.rng)
        sigmas = np.geomspace(*network.sigma_range, CURVE_LEVELS)
        criterion = level_criterion(network, data.standardizer, self.device, z, sigmas)
        best = np.argmax(np.average(criterion, axis=1, weights=weights))
        seed = int(data.rng.randint(2**31 - 1))
        return {
            "standardize_": data.standardizer.form,
            "sigma_": float(sigmas[best]),
            "sigma_range_": network.sigma_range,
            "_probe_seed": seed,
        }

    def _angles(self, sampler: ReverseSampler, n_steps: int) -> list[float]:
        process = self._settled_process()
        own = sampler.grid if self.grid == "auto" else None
        return solver_angles(
            own or process.grid,
            process,
            n_steps,
            *self._network.sigma_range,
            from_infinity=sampler.from_infinity,
        )

    def _probes(self) -> np.ndarray | None:
        """Random signs (n_probes, d), the same at every call; None where the trace is exact."""
        if self.divergence == "exact":
            return None
        rng = np.random.RandomState(self._probe_seed)
        return rng.choice([-1.0, 1.0], size=(self.n_probes, self.n_features_in_))
