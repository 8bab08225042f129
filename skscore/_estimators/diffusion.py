"""Denoising score matching over all noise levels: one network, sampled and evaluated at will."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from skscore._backend.convert import apply_in_chunks, array
from skscore._backend.fitted import FittedNetwork, NetworkSpec
from skscore._backend.training import Portion, Record
from skscore._estimators.base import BaseScoreEstimator
from skscore._estimators.documentation import shared_documentation
from skscore._estimators.draws import check_finite_draws
from skscore._estimators.output import contained
from skscore._fitting.criterion import level_criterion
from skscore._fitting.data import FitData
from skscore._fitting.defaults import resolve_architecture
from skscore._fitting.mixture import LEAST_ROWS, train_on_mixture
from skscore._fitting.run import Objective, train, warn_of_scales
from skscore._rows import effective_number, some_rows
from skscore._validation import (
    Interval,
    StrOptions,
    check_fitted,
    check_n_samples,
    check_parameters,
    check_rows,
    check_weights,
    finite_results,
    solved_results,
)
from skscore.losses import DiffusionScoreMatching
from skscore.noise import PROCESSES, SCHEDULES, WEIGHTINGS, NoiseProcess, solver_angles
from skscore.noise._levels import check_reach
from skscore.noise._processes import SIGMA_MAX, SIGMA_MIN
from skscore.noise._settled import settled_process
from skscore.samplers import ReverseSampler, reverse_sampler

DEFAULT_METHOD = "heun"
_CURVE_LEVELS = 40
_CURVE_ROWS = 1000
_CURVE_JACOBIANS = 6000  # rows times columns where every row needs its own Jacobian
_FLOW_CHUNK = 4096


@shared_documentation
class DiffusionScoreEstimator(BaseScoreEstimator):
    """Scores at all noise levels from one network: samples, densities, scores, denoising.

    The network F(y, theta) is trained by denoising score matching at levels ``sigma =
    tan(theta)`` from `sigma_min` to `sigma_max` at once.  It is the velocity of the probability
    flow ``dy/dtheta = F`` that carries the law of the rows to N(0, I), and holds the score of
    every noised law on the way.  So one fit gives new rows (`sample`, by any method), exact
    normalised log-densities (`score_samples`), scores and denoising at any level.  The
    untrained network is the Gaussian fit, exactly, and competes in early stopping.

    Parameters
    ----------
    process : {"ve", "vp", "subvp", "cosine", "edm", "flow"} or NoiseProcess, default="ve"
        Names how levels are drawn and weighted in training, and the grid of the solver,
        where these three are "auto"; see :mod:`skscore.noise`.  Of a process that has a range of
        its own, as ``VarianceExploding(0.05, 10.0)``, and of `sigma_min` and `sigma_max` below, an
        end that is left at its default follows the other; two that are set must agree.
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
        Where the steps of `sample` end, a key of :data:`skscore.noise.SCHEDULES`.
    divergence : {"exact", "probes"}, default="exact"
        How `score_samples` takes the trace: "probes" estimates it along random directions,
        the same for all rows, for tables with hundreds of columns and networks without a
        formula for it.  (One of two hidden layers, the default for more than five columns,
        has a formula whose cost does not grow with the columns.)
    n_probes : int in [2, inf), default=16
        Directions of ``divergence="probes"``.
    density_tol : float in (0, inf), default=0.0005
        Tolerance of a step of the flow in `score_samples`, in nats.
    n_components : "auto" or int in [0, inf), default="auto"
        Components of a Gaussian mixture whose own field, known in closed form, the network
        learns to correct; 0 is none, and so is always ``conservative=True``.  "auto" takes the
        number that held-out rows like best, and a mixture only where it is ahead of a network
        without one, after a quarter of its training, by two standard errors on those rows.
    network : "auto", {"mlp", "resnet", "ensemble"} or importable factory, default="auto"
        See :mod:`skscore.networks`.  "auto" is "ensemble" for fewer than 4000 training rows,
        with a dropout of 100 over their number and at most 0.2, else "mlp".
    hidden_layer_sizes : "auto" or tuple of int in [1, inf), default="auto"
        Width of each hidden layer, or of each residual block.  "auto" is (96, 96) for
        the members of an ensemble, else (128, 128, 128) for up to five columns and (192, 192)
        for more.
    standardize : {"auto", "normal", "whiten", "scale", None}, default="auto"
        Coordinates of the network and of noise levels: decorrelated, scaled column by
        column, or in input units (only shifted).  "normal" takes every column through a smooth
        map to a normal law before it decorrelates; "auto" is "normal" where that wins on
        held-out rows, else "whiten".
    max_iter : "auto" or int in [1, inf), default="auto"
        Most rounds; the learning rate falls to zero over them.  A round is one pass over the
        rows, but at least 50 and at most 1000 optimiser steps.  "auto" is 40 for fewer than 4000
        training rows, else 60.
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

    _parameter_constraints = BaseScoreEstimator._parameter_constraints | {
        "network": [StrOptions({"auto"}), *BaseScoreEstimator._parameter_constraints["network"]],
        "n_components": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), *BaseScoreEstimator._parameter_constraints["max_iter"]],
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            *BaseScoreEstimator._parameter_constraints["hidden_layer_sizes"],
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
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        store_starts: bool = True,
        verbose: bool | int = False,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        super().__init__(
            network=network,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            conservative=conservative,
            standardize=standardize,
            dequantize=dequantize,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            store_starts=store_starts,
            verbose=verbose,
            random_state=random_state,
            device=device,
        )
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
        named = not isinstance(self.process, NoiseProcess)
        return settled_process(self, PROCESSES[self.process]() if named else self.process)

    def _objective(self, data: FitData, previous: FittedNetwork | None) -> Objective:
        process = self._settled_process()
        loss = DiffusionScoreMatching(process)
        loss.check()
        check_reach(process.grid, process, *process.sigma_range)
        return Objective(loss, {"sigma_range": process.sigma_range})

    def _spec(
        self, data: FitData, objective: Objective, n_rows: int, previous: FittedNetwork | None
    ) -> NetworkSpec:
        """The network for so many rows; where this is "auto", it stays what it was."""
        make = resolve_architecture(self, n_rows, data.X.shape[1])
        if previous is not None:
            before = asdict(previous.spec)
            names = ("network", "hidden_layer_sizes", "n_components")
            fixed = {name: getattr(self, name) for name in names}
            chosen = [
                name for name, value in fixed.items() if isinstance(value, str) and value == "auto"
            ]
            make["n_components"] = 0 if self.conservative else self.n_components
            make |= {name: before[name] for name in (*chosen, "dropout")}
        return NetworkSpec(
            n_features=data.X.shape[1],
            activation=self.activation,
            conservative=self.conservative,
            **make,
            **objective.levels,
        )

    def _train(
        self,
        data: FitData,
        objective: Objective,
        rows: tuple[Portion, Portion | None],
        n_rounds: int,
        previous: FittedNetwork | None,
        *,
        decays: bool = False,
    ) -> tuple[FittedNetwork, Record]:
        """One run of the workshop, for a network that may rest on a mixture."""
        run = partial(
            train,
            self,
            data,
            loss=objective.loss,
            training=rows[0],
            validation=rows[1],
            decays=decays,
        )
        spec = self._spec(data, objective, effective_number(rows[0]), previous)
        if previous is not None or self.conservative or self.n_components == 0:
            return run(spec=spec, n_rounds=n_rounds, previous=previous)
        _check_components(self, len(rows[0]))
        return train_on_mixture(run, spec, data, rows, self.n_components, n_rounds, self.device)

    def _fitted_attributes(
        self, data: FitData, network: FittedNetwork, held: Portion | None
    ) -> dict[str, Any]:
        warn_of_scales(self, data, network.spec.sigma_range)
        most = _CURVE_ROWS
        if data.standardizer.curved.any():  # each row needs its Jacobian
            most = min(most, _CURVE_JACOBIANS // data.X.shape[1] + 1)
        rows = data.rows if held is None else held
        index, weights = some_rows(rows.index, rows.weights, most, data.rng)
        rows = data.standardizer.jitter(data.standardizer.transform(data.X[index]), data.rng)
        sigmas = np.geomspace(*network.spec.sigma_range, _CURVE_LEVELS)
        criterion = level_criterion(network, data.standardizer, self.device, rows, sigmas)
        best = np.argmax(np.average(criterion, axis=1, weights=weights))
        seed = int(data.rng.randint(2**31 - 1))
        return {
            "standardize_": data.standardizer.form,
            "sigma_": float(sigmas[best]),
            "sigma_range_": network.spec.sigma_range,
            "_probe_seed": seed,
        }

    # -- scores at a level -------------------------------------------------------------------

    def _check_sigma(self, sigma: float | None) -> float:
        """A level in the trained range; `sigma_` for None."""
        check_fitted(self)
        if sigma is None:
            return self.sigma_
        low, high = self._network.spec.sigma_range
        number = isinstance(sigma, Real) and not isinstance(sigma, bool)
        if not (number and low <= sigma <= high):
            raise ValueError(
                f"The 'sigma' of {type(self).__name__} must be None or a noise level in the "
                f"trained range [{low}, {high}]. Got {sigma!r} instead."
            )
        return float(sigma)

    def score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Score of the density noised to a level, in input space.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In one over the units of X.
        """
        return self._score_function(X, self._check_sigma(sigma))

    def score_divergence(
        self, X: ArrayLike, sigma: float | None = None, *, metric: ArrayLike | None = None
    ) -> np.ndarray:
        """``tr grad_x s(x)`` at a level, exact; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._score_divergence(X, metric, self._check_sigma(sigma))

    @contained
    def denoise(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """Posterior mean of the clean row, ``E[x | x~] = x~ + sigma^2 s(x~)`` (Tweedie).

        In standardised coordinates, and within the plane of the training rows: constant columns
        have their constant.  Of rows farther out than the noise explains it is that of a Gaussian
        with their moments.  With curved columns (``standardize_="normal"``) it is the posterior
        mean of the standardised row, carried back to the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows with Gaussian noise of standard deviation `sigma` in standardised coordinates.
            In the units of X its covariance is ``sigma**2`` times `covariance_` where
            `standardize_` is "whiten", times the diagonal of that where it is "scale", and times
            the identity where it is None; where it is "normal" it is not one for all rows.
        sigma : float in [sigma_min, sigma_max] or None, default=None
            None is `sigma_`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)

        Warns
        -----
        FarRowsWarning
            Where rows lie farther outside of the training rows than such noise takes them.
        """
        return self._denoise(X, self._check_sigma(sigma))

    def sigma_curve(
        self, X: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hyvarinen's criterion on rows as a function of the level, over the whole range.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that were not trained on.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        sigmas : ndarray of shape (40,)
            Levels, evenly spaced in their logarithm.
        scores : ndarray of shape (40,)
            The criterion of ``DenoisingScoreEstimator.score``, with the score at each level;
            higher is better.
        errors : ndarray of shape (40,)
            Standard errors of the scores.
        """
        check_fitted(self)
        X = check_rows(self, X)
        weights = check_weights(sample_weight, len(X))
        weights = np.ones(len(X)) if weights is None else weights
        sigmas = np.geomspace(*self._network.spec.sigma_range, _CURVE_LEVELS)
        rows = self._standardizer.transform(X)
        values = level_criterion(self._network, self._standardizer, self.device, rows, sigmas)
        values = finite_results(values, f"sigma_curve of {type(self).__name__}")
        share = weights / weights.sum()
        scores = values @ share
        errors = np.sqrt((values - scores[:, None]) ** 2 @ share**2)
        return sigmas, scores, errors

    # -- densities ---------------------------------------------------------------------------

    def score_samples(
        self, X: ArrayLike, *, return_std_error: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Log-density of each row under the probability flow, normalised.

        ``log N(y(pi/2); 0, I) + int div F dtheta + log |det W|`` along the flow from the
        row, W the Jacobian of its standardisation (Song et al. 2021).  Every row takes the steps
        that `density_tol` asks for, whatever the rows beside it; at the default 95 % of the
        rows are within 0.01 nats of a fine solution.  More than 50 nats a column below, the
        tolerance is relative to the log-density.  Rows between clusters and far outside take
        more steps; a ``StepLimitError`` names rows for which 2000 steps of their own do not do.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        return_std_error : bool, default=False
            Whether to return the standard error of ``divergence="probes"``; zero where the
            divergence is exact.  The probes are the same for all rows: their errors are alike,
            and do not average out over rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, of rows in the units of X.
        error : ndarray of shape (n_samples,)
            Only with `return_std_error`.
        """
        check_fitted(self)
        check_parameters(self)
        probes, volume = self._probes(), self._standardizer.log_det
        X, flow = check_rows(self, X), self._network.open_flow(self.device)

        def log_density(x: np.ndarray) -> np.ndarray:
            z = self._standardizer.transform(x)
            return flow.log_density(z, self.density_tol, probes) + volume(x)[:, None]

        with np.errstate(over="ignore", invalid="ignore"):
            values = apply_in_chunks(log_density, X, _FLOW_CHUNK)
        values = solved_results(values, f"score_samples of {type(self).__name__}", "density_tol")
        mean = values.mean(axis=1)
        if not return_std_error:
            return mean
        m = values.shape[1]
        error = values.std(axis=1, ddof=1) / math.sqrt(m) if m > 1 else np.zeros(len(values))
        return mean, error

    def _probes(self) -> np.ndarray | None:
        """Random signs (n_probes, d), the same at every call; None where the trace is exact."""
        if self.divergence == "exact":
            return None
        rng = np.random.RandomState(self._probe_seed)
        return rng.choice([-1.0, 1.0], size=(self.n_probes, self.n_features_in_))

    def score_lower_bound(self, X: ArrayLike, *, n_draws: int = 32) -> np.ndarray:
        """Variational lower bound of the log-density of each row, without solving the flow.

        It bounds the density of the stochastic reverse process, not of the flow; for an exact
        score both are the density of the rows, and the bound is tight.  It needs no divergence
        and no solver.  For a row it is an estimate, with the same draws at every call; errors
        of different rows are independent, so that its mean is far more exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        n_draws : int in [1, inf), default=32
            Levels; two evaluations of the network each.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats, of rows in the units of X.

        References
        ----------
        Kingma, Salimans, Poole and Ho (2021). Variational diffusion models.
        """
        n_draws = check_n_samples(n_draws, "n_draws")
        check_fitted(self)
        flow, volume = self._network.open_flow(self.device), self._standardizer.log_det
        return self._map(
            "score_lower_bound",
            X,
            lambda net, z, x: net.lower_bound(z, n_draws, self._probe_seed) + volume(x),
            flow,
        )

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Mean log-density of the rows, in nats; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        values = self.score_samples(X)
        return float(np.average(values, weights=check_weights(sample_weight, len(values))))

    # -- samples -----------------------------------------------------------------------------

    @contained
    def sample(
        self,
        n_samples: int = 1,
        random_state: Any = None,
        *,
        method: str | ReverseSampler = DEFAULT_METHOD,
        n_steps: int | None = None,
        return_states: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw rows, from noise down the levels.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.
        method : str or ReverseSampler, default="heun"
            A key of :data:`skscore.samplers.REVERSE_SAMPLERS`, or one of its members with
            parameters of its own.
        n_steps : int in [1, inf) or None, default=None
            None takes the method's own number.
        return_states : bool, default=False
            Whether to return where the rows were at every step.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
        states : ndarray of shape (n_steps + 1, n_samples, n_features)
            Only with `return_states`: ``y = cos(theta) x_0 + sin(theta) eps`` in the units of X,
            from draws of the Gaussian fit to the standardised rows.
        thetas : ndarray of shape (n_steps + 1,)
            Only with `return_states`: the angle of each state, pi/2 for pure noise.
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        check_parameters(self)
        sampler = reverse_sampler(method)
        n_steps = sampler.n_steps if n_steps is None else check_n_samples(n_steps, "n_steps")
        rng = np.random.RandomState(self._stream.next(random_state))
        angles = self._angles(sampler, n_steps)
        flow = self._network.open_flow(self.device)
        shape = n_samples, self.n_features_in_
        path = flow.run_reverse(sampler, shape, angles, int(rng.randint(2**31 - 1)), return_states)
        z, name = self._standardizer, type(self).__name__
        rows = check_finite_draws(z.inverse_transform(array(path.draws)), name)
        if not return_states:
            return rows
        states = np.stack([z.inverse_transform(array(y)) for y in path.states])
        return rows, states, np.array(angles)

    def _angles(self, sampler: ReverseSampler, n_steps: int) -> list[float]:
        process = self._settled_process()
        return solver_angles(
            process.grid,
            process,
            n_steps,
            *self._network.spec.sigma_range,
            from_infinity=sampler.from_infinity,
        )

    def _carry(self, X: np.ndarray, start: float, end: float, tol: float) -> np.ndarray:
        """Standardised rows carried along the probability flow between two angles."""
        flow = self._network.open_flow(self.device)
        return apply_in_chunks(lambda z: flow.flow(z, start, end, tol), X, _FLOW_CHUNK)


def _check_components(estimator: DiffusionScoreEstimator, n_rows: int) -> None:
    """Refuse more components of the mixture than rows it would be fitted to."""
    number = estimator.n_components
    if number != "auto" and n_rows < (least := max(LEAST_ROWS, number)):
        raise ValueError(
            f"{type(estimator).__name__} with n_components={number} needs at least {least} "
            f"different rows to train on. Got {n_rows}, held-out rows aside: give more rows, or "
            "set n_components='auto' or 0."
        )
