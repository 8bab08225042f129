"""Pipelines of transformers and a density, with the change of variables done."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from skscore._backend.convert import from_user
from skscore._changes.standardizer import Standardizer
from skscore._estimators.draws import check_finite_draws
from skscore._estimators.kinds import OneKindOfScore
from skscore._estimators.output import SetOutput, contained
from skscore._estimators.score_sources import ScoreSource, score_source
from skscore._messages import column_names
from skscore._rows import merged_rows
from skscore._validation import (
    available_if,
    check_fitted,
    check_n_samples,
    check_rows,
    check_weights,
    first_rows,
    routed_weights,
    rows_of,
)
from skscore.compose._carried import (
    CarriedDensity,
    CarriedSource,
    carried_density,
    passage_through,
)
from skscore.compose._steps import (
    check_form,
    check_kinds,
    check_weight_name,
    look_at,
    scored,
)
from skscore.metrics import hyvarinen_scorer, log_likelihood_scorer

if TYPE_CHECKING:
    from typing_extensions import Self

_DESCRIPTION = ("n_features_in_", "feature_names_in_")
_FITTED = (*_DESCRIPTION, "_carried", "location_", "covariance_", "mass_", "mass_std_error_")
_SCORES = ("score_function", "score_divergence")


def _is_fitted(pipeline: DensityPipeline) -> bool:
    return "_carried" in vars(pipeline)


def _has(name: str) -> Callable[[DensityPipeline], bool]:
    def check(self: DensityPipeline) -> bool:
        if not _is_fitted(self):
            getattr(scored(self._final_estimator), name)
            return True
        getattr(self._carried.part, name)
        return name not in _SCORES or self._carried.change.smooth

    return check


def _final_has(name: str) -> Callable[[DensityPipeline], bool]:
    return lambda self: hasattr(self._final_estimator, name)


def _fitted(pipeline: DensityPipeline) -> CarriedDensity:
    check_fitted(pipeline)
    return pipeline._carried


def _checked(pipeline: DensityPipeline, X: ArrayLike) -> np.ndarray:
    return check_rows(pipeline, X).astype(np.float64, copy=False)


class _SetByFit:
    """An attribute that fits write; a plain ``Pipeline`` asks its first step for it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, pipeline: object, owner: type) -> Any:
        if pipeline is None:
            return self
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")


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

    n_features_in_ = _SetByFit()
    feature_names_in_ = _SetByFit()

    def __getitem__(self, ind: Any) -> Any:
        """A step; or, for a slice, a pipeline of some: a plain one where the last is left out."""
        if isinstance(ind, slice) and len(self.steps) - 1 not in range(len(self.steps))[ind]:
            return Pipeline(self.steps, memory=self.memory, verbose=self.verbose)[ind]
        return super().__getitem__(ind)

    def __sklearn_is_fitted__(self) -> bool:
        return _is_fitted(self)

    def set_output(self, *, transform: str | None = None) -> Self:
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

    def fit(self, X: ArrayLike, y: object = None, **params: Any) -> Self:
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
        for name in _FITTED:
            self.__dict__.pop(name, None)
        check_form(self.steps)
        self._validate_steps()
        check_kinds(self.steps[:-1], self._final_estimator)
        X = from_user(X)
        rows, described = first_rows(self, X)
        check_weight_name(params, self.steps[-1][0])
        routed = self._check_method_params("fit", params)[self.steps[-1][0]]
        weights = check_weights(routed.fit.get("sample_weight"), len(rows))
        # All that is needed of the rows, first: transformers made with copy=False write to them.
        merged, counts, _ = merged_rows(rows, weights)
        names = column_names(X, rows.shape[1])
        measured = Standardizer.fit(merged, counts, names=names, warn=False)
        if weights is not None and not weights.all():
            X, y, params = rows_of(np.flatnonzero(weights), X, y, params)
        carried = copy_context().run(self._fitted_to, X, y, params, look_at(rows))
        fitted = {
            "location_": measured.mean,
            "covariance_": measured.covariance,
            "mass_": carried.mass,
            "mass_std_error_": carried.mass_std_error,
            "_carried": carried,
        }
        self.__dict__.update(described | fitted)
        return self

    def _fitted_to(
        self, X: Any, y: object, params: dict[str, Any], look: np.ndarray
    ) -> CarriedDensity:
        super().fit(X, y, **params)
        return carried_density(self.steps[-1][1], self.__dict__.pop("_passage"), look)

    def _fit(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """Fit the transformers, and try what they do to rows, before the last step is fitted."""
        look = look_at(X)
        Xt = super()._fit(X, *args, **kwargs)
        self._passage = passage_through(self.steps[:-1], look, column_names(X, look.shape[1]), Xt)
        return Xt

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

    @property
    def sigma_(self) -> float:
        """The noise level of the score, in the coordinates of the last step."""
        return _fitted(self).part.sigma_

    @property
    def sigma_range_(self) -> tuple[float, float]:
        """The noise levels that the last step knows."""
        return _fitted(self).part.sigma_range_

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
        return _fitted(self).log_density(_checked(self, X))

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
        carried = _fitted(self)
        self._warn_of_kind()
        weights = routed_weights(self, self.steps[-1][0], sample_weight, params)
        if hasattr(self, "score_samples"):
            return log_likelihood_scorer(self, X, y, weights)
        carried.warn_of_ends()
        return hyvarinen_scorer(self, X, y, weights)

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
        return _fitted(self).score(_checked(self, X), sigma)

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
        return _fitted(self).score_divergence(_checked(self, X), sigma, metric)

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
        rows = _checked(self, X)
        return _fitted(self).denoise(rows, sigma, column_names(X, rows.shape[1]))

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
        rows = _fitted(self).sample(n_samples, random_state)
        return check_finite_draws(rows, type(self).__name__)


@score_source.register
def _(pipeline: DensityPipeline) -> ScoreSource:
    if not _is_fitted(pipeline):  # asked only what its levels are
        return score_source(scored(pipeline._final_estimator))
    carried = pipeline._carried
    return CarriedSource(score_source(carried.part), partial(_checked, pipeline), carried.passage)
