"""Pipelines of transformers and a density, with the change of variables done."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline, make_pipeline

from skscore._backend.convert import apply_in_chunks, from_user
from skscore._changes.algebra import Chain
from skscore._changes.standardizer import Standardizer
from skscore._estimators.density import DensityScoreEstimator
from skscore._estimators.draws import check_finite_draws, draw_enough
from skscore._estimators.kinds import OneKindOfScore
from skscore._estimators.output import SetOutput, contained
from skscore._estimators.score_sources import CarriedSource, ScoreSource, score_source
from skscore._messages import column_names, listed, name_columns, warn_user
from skscore._rows import merged_rows, some_rows
from skscore._validation import (
    FrozenEstimator,
    available_if,
    check_fitted,
    check_metric,
    check_metric_rows,
    check_n_samples,
    check_rows,
    check_weights,
    finite_results,
    first_rows,
    integer_seeds,
    routed_weights,
    rows_like,
    rows_of,
    some_of,
    unwrapped,
    without_rows,
)
from skscore.compose._numerical import returns, spreads
from skscore.compose._scikit import chain_of, refuse
from skscore.exceptions import SupportWarning, TiesWarning
from skscore.metrics import hyvarinen_scorer, log_likelihood_scorer

_MASS_DRAWS = 10_000
_LOOK_ROWS = 1000  # training rows on which the transformers are tried
_RETURNING = 0.99  # share of those that must come back from a round trip
_ENTRIES = 2**22  # of the matrices of one chunk
_LEARNT = ("_change", "_part", "_described", "location_", "covariance_", "mass_", "mass_std_error_")


def _has(name: str) -> Callable[[DensityPipeline], bool]:
    def check(self: DensityPipeline) -> bool:
        getattr(self._part if _is_fitted(self) else _scored(self._final_estimator), name)
        return name not in _SCORES or not _is_fitted(self) or self._change.smooth

    return check


def _final_has(name: str) -> Callable[[DensityPipeline], bool]:
    return lambda self: hasattr(self._final_estimator, name)


_SCORES = ("score_function", "score_divergence")


def _is_fitted(pipeline: DensityPipeline) -> bool:
    return "_part" in vars(pipeline)


def _scored(final: Any) -> Any:
    """The last step, of a search the best estimator; a density that knows no score, with one."""
    final = unwrapped(final)
    if hasattr(final, "score_function") or not hasattr(final, "score_samples"):
        return final
    return DensityScoreEstimator(FrozenEstimator(final))


class DensityPipeline(SetOutput, OneKindOfScore, Pipeline):
    """A scikit-learn pipeline of invertible transformers and a density, in the space of its input.

    scikit-learn's own ``Pipeline`` returns log-densities of *transformed* rows: dividing the
    columns by a million makes them higher, and a search over scalers chooses that.  Here the
    change of variables is done: log-densities gain ``log |det J|`` of the transformers' Jacobian,
    scores become ``J' s + grad log |det J|``, and samples are carried back.  So results are in the
    units of X, and models with different transformers can be compared.

    It is a ``Pipeline`` in all else: names of steps and parameters, caching, display and
    metadata routing.

    Parameters
    ----------
    steps : list of (str, estimator)
        Transformers, then a score or density estimator: of this package, or any with
        `score_samples`, such as scikit-learn's; or a search over such ones.
    transform_input : list of str, default=None
        As for ``sklearn.pipeline.Pipeline``.
    memory : str or object with the joblib.Memory interface, default=None
        As for ``sklearn.pipeline.Pipeline``.
    verbose : bool, default=False
        Whether the time of each step is printed.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.
    location_, covariance_ : ndarray of shape (n_features,), (n_features, n_features)
        Of the training rows, in the space of X.
    mass_ : float
        Probability that the last step gives to the image of the transformers: what the density is
        divided by.  One where they reach everything; else the share of 10,000 draws.
    mass_std_error_ : float
        Standard error of `mass_`.

    See Also
    --------
    make_density_pipeline : Without names for the steps.
    BoundedTransformer : For columns that cannot be negative, or lie between two bounds.

    Notes
    -----
    Transformers with a formula: StandardScaler, RobustScaler, MaxAbsScaler, MinMaxScaler, PCA with
    all components, PowerTransformer, QuantileTransformer, BoundedTransformer, FunctionTransformer
    of a usual numpy function with its inverse, ColumnTransformer of these (columns that it passes
    through too), nested pipelines; :class:`FlowTransformer` for log-densities and samples only.
    Any other one that is invertible is taken by differences, for up to 20 columns where they depend
    on each other; see :func:`skscore.compose.change_of_variables`.  One that loses information is
    refused before the last step is trained.

    Some transformers do not reach all of the space (a power transformation, uniform quantiles, a
    scaler that clips).  Mass that the last step has beyond their image is no row of X: the
    density is divided by `mass_`, and `sample` draws again.  Some do not take every row (Box and
    Cox's powers, quantiles, bounds): log-densities of rows outside of the *support* are minus
    infinity, with one ``SupportWarning``, and their scores are refused.

    `denoise` is exact for linear transformers.  For others it carries the posterior mean of the
    transformed row back, which is not the posterior mean of the row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skscore import DensityPipeline
    >>> X = np.random.default_rng(0).normal(100.0, 20.0, size=(5000, 1))
    >>> steps = [("scale", StandardScaler()), ("density", GaussianMixture())]
    >>> pipeline = DensityPipeline(steps).fit(X)
    >>> truth = -np.log(20 * np.sqrt(2 * np.pi))  # log-density at the mean
    >>> bool(abs(pipeline.score_samples([[100.0]])[0] - truth) < 0.05)
    True
    >>> pipeline.score_function([[120.0]]).round(2)
    array([[-0.05]])
    >>> pipeline.sample(3, random_state=0).shape
    (3, 1)
    """

    def __getitem__(self, ind: Any) -> Any:
        """A step; or, for a slice, a pipeline of some: a plain one where the last is left out."""
        if isinstance(ind, slice) and len(self.steps) - 1 not in range(len(self.steps))[ind]:
            return Pipeline(self.steps, memory=self.memory, verbose=self.verbose)[ind]
        return super().__getitem__(ind)

    def __sklearn_is_fitted__(self) -> bool:
        return _is_fitted(self)

    def set_output(self, *, transform: str | None = None) -> DensityPipeline:
        """Set the container of drawn and denoised rows, and of what the transformers return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "default" is an array; None changes nothing.

        Returns
        -------
        self
        """
        super().set_output(transform=transform)
        return Pipeline.set_output(self, transform=transform)

    # -- fitting ---------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: object = None, **params: Any) -> DensityPipeline:
        """Fit the transformers and the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        **params : dict
            Of the steps, as ``step__name``, or routed metadata, as for ``Pipeline``.  Rows to
            which the last step gives no weight are left out of all steps.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a transformer that loses information, before the last step is trained; for one that
            imputes or encodes, before anything is fitted: these go before, in a plain pipeline.
        """
        for learnt in _LEARNT:
            self.__dict__.pop(learnt, None)
        self._check_steps()
        X = from_user(X)
        rows, described = first_rows(self, X)
        routed = self._check_method_params("fit", params)[self.steps[-1][0]]
        weights = check_weights(routed.fit.get("sample_weight"), len(rows))
        # All that is needed of the rows, first: transformers made with copy=False write to them.
        merged, counts, _ = merged_rows(rows, weights)
        names = column_names(X, rows.shape[1])
        measured = Standardizer.fit(merged, counts, names=names, warn=False)
        if weights is not None and not weights.all():
            X, y, params = rows_of(np.flatnonzero(weights), X, y, params)
        look = _some_rows(rows)
        part = copy_context().run(self._fitted_part, X, y, params, look)
        self.__dict__.update(
            {
                "_described": described,
                "location_": measured.mean,
                "covariance_": measured.covariance,
                **self._mass(part),
                "_part": part,
            }
        )
        return self

    def _check_steps(self) -> None:
        """Refuse steps that can never be fitted, whatever the rows."""
        _check_form(self.steps)
        self._validate_steps()
        final = self._final_estimator
        if not hasattr(_scored(final), "score_function"):
            raise TypeError(
                "The last step of DensityPipeline must be a density or score estimator, with "
                f"`score_samples` or `score_function`. Got {final!r} instead."
            )
        for _, step in self.steps[:-1]:
            refuse(step)

    @property
    def _final_estimator(self) -> Any:
        try:
            return super()._final_estimator
        except IndexError:  # there are no steps; fit says so
            return None

    @available_if(_final_has("predict"))
    def fit_predict(self, X: ArrayLike, y: object = None, **params: Any) -> np.ndarray:
        """`fit`, then `predict` of the last step, such as a mixture's components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        **params : dict
            As for `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.fit(X, y, **params).predict(X)

    @available_if(_final_has("transform"))
    def fit_transform(self, X: ArrayLike, y: object = None, **params: Any) -> Any:
        """`fit`, then `transform` by all steps, the last one too.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        **params : dict
            As for `fit`.

        Returns
        -------
        array of shape (n_samples, n_features_new)
        """
        return self.fit(X, y, **params).transform(X)

    def _fit(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """Fit the transformers, and try what they do to rows, before the last step is fitted."""
        look = _some_rows(X)
        Xt = super()._fit(X, *args, **kwargs)
        change, rows = chain_of(self.steps[:-1], look), np.asarray(look, dtype=np.float64)
        _check_round_trip(change, rows)
        names = column_names(X, rows.shape[1])
        _warn_jumps(change.jumps(names))
        name_columns(change.names(names))  # for what the last step has to say
        self._change, self._latent = change, without_rows(Xt)
        return Xt

    def _fitted_part(self, X: Any, y: object, params: dict[str, Any], look: np.ndarray) -> Any:
        """The last step with a score, all fitted; differences of a density need some rows."""
        super().fit(X, y, **params)
        final = self.steps[-1][1]
        part = _scored(final)
        if part is unwrapped(final):
            return part
        look = look[self._change.inside(look)]
        return part.fit(rows_like(self._latent, self._change.transform(look)))

    def _mass(self, part: Any) -> dict[str, float]:
        """Probability of the image, and its standard error."""
        if self._change.onto or not hasattr(part, "score_samples"):
            return {"mass_": 1.0, "mass_std_error_": 0.0}
        if not hasattr(part, "sample"):
            raise ValueError(
                "The transformers of this DensityPipeline do not reach all of the space, so the "
                "density must be divided by its mass on what they reach. That takes draws, and "
                f"{self.steps[-1][1]!r} has no `sample`."
            )
        draws = np.asarray(part.sample(_MASS_DRAWS, random_state=0))
        mass = float(self._change.reaches(draws).mean())
        if mass == 0:
            raise ValueError(
                f"None of {_MASS_DRAWS} draws of the last step are in the image of the "
                "transformers: the density is far off, and cannot be divided by its mass there."
            )
        return {"mass_": mass, "mass_std_error_": math.sqrt(mass * (1 - mass) / _MASS_DRAWS)}

    # -- what is known of X -------------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X."""
        return self._description("n_features_in_")

    @n_features_in_.setter
    def n_features_in_(self, n_features: int) -> None:
        self._describe("n_features_in_", n_features)

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns of X."""
        return self._description("feature_names_in_")

    @feature_names_in_.setter
    def feature_names_in_(self, names: np.ndarray) -> None:
        self._describe("feature_names_in_", names)

    def _description(self, name: str) -> Any:
        if name not in vars(self).get("_described", {}):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._described[name]

    def _describe(self, name: str, value: Any) -> None:
        self._described = vars(self).get("_described", {}) | {name: value}

    @property
    def sigma_(self) -> float:
        """The noise level of the score, in the coordinates of the last step."""
        check_fitted(self)
        return self._part.sigma_

    @property
    def sigma_range_(self) -> tuple[float, float]:
        """The noise levels that the last step knows."""
        check_fitted(self)
        return self._part.sigma_range_

    # -- densities ---------------------------------------------------------------------------

    @available_if(_has("score_samples"))
    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Normalised log-density of each row, ``log q(T(x)) + log |det J| - log mass``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats, of rows in the units of X; minus infinity outside the support.
        """
        X = self._rows(X)
        inside = self._change.inside(X)
        values = np.full(len(X), -np.inf)
        if inside.any():
            rows = X[inside]
            latent = np.asarray(self._part.score_samples(self._carried(rows)))
            values[inside] = latent + self._change.log_det(rows) - math.log(self.mass_)
        if not inside.all():
            warn_user(
                f"{np.sum(~inside)} of {len(X)} rows lie outside the support of the density, what "
                "the transformers take: their log-density is minus infinity. The first is row "
                f"{int(np.argmin(inside))}.",
                SupportWarning,
            )
        self._finite(np.where(np.isneginf(values), 0.0, values), "score_samples")
        return values

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, **params: Any
    ) -> float:
        """The number for model selection, in the space of X; higher is better.

        The mean log-density of the rows where the last step has a normalised density; else
        Hyvarinen's criterion in the metric of `covariance_`.  Either may be compared over
        transformers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
        **params : dict
            Routed metadata.

        Returns
        -------
        float

        Warns
        -----
        ScoreKindWarning
            Where ``set_params`` has changed which of the two it is, as a search over both does.
        """
        check_fitted(self)
        self._warn_of_kind()
        weights = routed_weights(self, self.steps[-1][0], sample_weight, params)
        if hasattr(self, "score_samples"):
            return log_likelihood_scorer(self, X, y, weights)
        if not self._change.everywhere:
            warn_user(
                "Hyvarinen's criterion holds for densities that vanish at the ends of their "
                "support, and the transformers of this DensityPipeline give it ends. Where rows "
                "crowd there it may prefer a wrong model: compare by log-likelihood, with a last "
                "step that has score_samples.",
                SupportWarning,
            )
        return hyvarinen_scorer(self, X, y, weights)

    # -- scores ------------------------------------------------------------------------------

    @available_if(_has("score_function"))
    def score_function(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """``grad_x log p(x) = J' s(T(x)) + grad log |det J|``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Within the support.
        sigma : float or None, default=None
            Noise level of the last step's score, in its coordinates; None is its own.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            In one over the units of X.
        """
        X = self._supported(X)
        scores = self._part.score_function(self._carried(X), **_level(sigma))
        return self._finite(self._change.pull_score(X, scores), "score_function")

    @available_if(_has("score_divergence"))
    def score_divergence(
        self, X: ArrayLike, sigma: float | None = None, *, metric: ArrayLike | None = None
    ) -> np.ndarray:
        """``tr grad_x s(x)``; with a metric M, ``tr(M grad_x s(x))``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Within the support.
        sigma : float or None, default=None
            Noise level of the last step's score, in its coordinates; None is its own.
        metric : array-like of shape (n_features, n_features) or \
                (n_samples, n_features, n_features), default=None
            Symmetric and positive semi-definite, one for all rows or one for each; None is the
            identity.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        X = self._supported(X)
        d = X.shape[1]
        M = np.eye(d) if metric is None else check_metric(metric, d)
        if M.ndim == 3:
            check_metric_rows(M, len(X))

        def divergence(index: np.ndarray) -> np.ndarray:
            x, metrics = X[index], M if M.ndim == 2 else M[index]
            here = self._change.at(x)
            y = rows_like(self._latent, here.image)
            pushed = self._finite(here.push_metric(metrics), "score_divergence")
            scores = self._part.score_function(y, **_level(sigma))
            latent = self._part.score_divergence(y, **_level(sigma), metric=pushed)
            return latent + here.curvature(scores, metrics)

        chunk = max(1, _ENTRIES // d**2)
        values = apply_in_chunks(divergence, np.arange(len(X)), chunk)
        return self._finite(values, "score_divergence")

    @available_if(_has("denoise"))
    @contained
    def denoise(self, X: ArrayLike, sigma: float | None = None) -> np.ndarray:
        """The last step's posterior mean of the clean transformed row, carried back.

        The posterior mean of the row itself where the transformers are linear.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows whose transforms have Gaussian noise of a level; within the support.
        sigma : float or None, default=None
            The level, in the coordinates of the last step; None is its own.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        rows, named = self._supported(X), copy_context()
        names = self._change.names(column_names(X, rows.shape[1]))
        named.run(name_columns, names)  # for what the last step has to say
        clean = np.asarray(named.run(self._part.denoise, self._carried(rows), **_level(sigma)))
        return finite_results(self._change.inverse_transform(clean), "denoise")

    # -- samples -----------------------------------------------------------------------------

    @available_if(_has("sample"))
    @contained
    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw rows of the last step and carry them back; again where they are no rows of X.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
        random_state : int, RandomState or None, default=None
            None draws anew at every call, and in copies in other processes; an integer repeats.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
        """
        n_samples = check_n_samples(n_samples)
        check_fitted(self)
        seed = random_state

        def draw(n: int) -> np.ndarray:
            nonlocal seed
            latent = np.asarray(self._part.sample(n, random_state=seed))
            seed = None if seed is None else integer_seeds(seed, 2)[1]
            return self._returned(latent)[0]

        rows = draw_enough(draw, n_samples, self.mass_)
        return check_finite_draws(rows, type(self).__name__)

    # -- rows --------------------------------------------------------------------------------

    def _rows(self, X: ArrayLike) -> np.ndarray:
        return check_rows(self, X).astype(np.float64, copy=False)

    def _finite(self, values: np.ndarray, name: str) -> np.ndarray:
        if not self._change.exact:
            name += " (by differences: a transformer here has no formula for its Jacobian, and"
            name += " steps fail next to an end of its domain)"
        return finite_results(values, name)

    def _supported(self, X: ArrayLike) -> np.ndarray:
        """Rows, all of them within the support."""
        X = self._rows(X)
        inside = self._change.inside(X)
        if not inside.all():
            raise ValueError(
                f"Row {int(np.argmin(inside))} of X lies outside the support of the density, what "
                "the transformers take, and has no score there. score_samples is minus infinity."
            )
        return X

    def _carried(self, X: np.ndarray) -> Any:
        """Transformed rows, in the container that the last step was fitted to."""
        return rows_like(self._latent, self._change.transform(X))

    def _returned(self, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the last step carried back, those in the image, and which these are, (n,)."""
        inside = self._change.reaches(latent)
        if not inside.any():
            return np.empty((0, self.n_features_in_)), inside
        return self._change.inverse_transform(latent[inside]), inside


@score_source.register
def _(pipeline: DensityPipeline) -> ScoreSource:
    if not _is_fitted(pipeline):  # asked only what its levels are
        return score_source(_scored(pipeline._final_estimator))

    def enter(X: ArrayLike) -> Any:
        return pipeline._carried(pipeline._supported(X))

    return CarriedSource(score_source(pipeline._part), enter, pipeline._returned)


def _level(sigma: float | None) -> dict[str, float]:
    return {} if sigma is None else {"sigma": sigma}


def _some_rows(X: Any) -> Any:
    """A copy of some rows of an array or a data frame, the same at every call."""
    rows = X if hasattr(X, "columns") else np.asarray(X, dtype=np.float64)
    index, _ = some_rows(np.arange(len(rows)), None, _LOOK_ROWS)
    return copy.copy(some_of(rows, index))


def _check_form(steps: Any) -> None:
    """Refuse what is no list of names and estimators, which scikit-learn takes for one."""
    pairs = isinstance(steps, (list, tuple)) and all(
        isinstance(step, (list, tuple)) and len(step) == 2 for step in steps
    )
    if not pairs or not steps:
        raise ValueError(
            "The 'steps' parameter of DensityPipeline must be a list of (name, estimator), "
            f"transformers and then a density. Got {steps!r} instead: make_density_pipeline takes "
            "estimators without names."
        )


def _warn_jumps(columns: list[str]) -> None:
    if columns:
        warn_user(
            f"QuantileTransformer met repeated values in these columns: {listed(columns)}. Each is "
            "a jump of its map, with a probability of its own and no density. Log-densities hold "
            "between repeated values only, and miss their probability. Spread the values with "
            "skscore.datasets.dequantize first, or use PowerTransformer.",
            TiesWarning,
        )


def _check_round_trip(change: Chain, rows: np.ndarray) -> None:
    """Refuse transformers whose inverse does not lead back to training rows."""
    kept, there, back = change.inside(rows), change.transform, change.inverse_transform
    if kept.any():
        kept[kept] = returns(there, back, rows[kept], spreads(rows))
    if kept.mean() < _RETURNING:
        raise ValueError(
            "The transformers of this DensityPipeline lose information: inverse_transform does not "
            f"lead back to {np.sum(~kept)} of {len(rows)} training rows. "
            "A density of their output says nothing about their input. Check that func and "
            "inverse_func of a FunctionTransformer belong together, and leave out steps that round "
            "or discretise. Where columns lie far from zero, or are tiny or huge, powers lose "
            "their digits: put a StandardScaler before PowerTransformer(), or MinMaxScaler((1, 2)) "
            "before one with method='box-cox', which takes positive values only."
        )


def make_density_pipeline(
    *steps: Any,
    memory: Any = None,
    transform_input: list[str] | None = None,
    verbose: bool = False,
) -> DensityPipeline:
    """A :class:`DensityPipeline` whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimators
        Transformers, then a score or density estimator.
    memory, transform_input, verbose
        As for :class:`DensityPipeline`.

    Returns
    -------
    DensityPipeline

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skscore import make_density_pipeline
    >>> list(make_density_pipeline(StandardScaler(), KernelDensity()).named_steps)
    ['standardscaler', 'kerneldensity']
    """
    return DensityPipeline(
        make_pipeline(*steps).steps,
        memory=memory,
        transform_input=transform_input,
        verbose=verbose,
    )
