"""Which change of variables a fitted transformer is: scikit-learn's, ours, and any other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from skscore._changes.algebra import Blocks, Chain, Change, Columnwise, Ends, Linear
from skscore._changes.maps import Slopes
from skscore._validation import Encoder, FrozenEstimator, Imputer, some_of
from skscore.compose._bounded import BoundedTransformer
from skscore.compose._flow import Flow, FlowTransformer
from skscore.compose._numerical import by_differences

_INF = np.inf
_LINE, _POSITIVE = (-_INF, _INF), (0.0, _INF)


@singledispatch
def change_of_variables(transformer: Any, X: Any) -> Change:
    """The change of variables that a fitted transformer makes.

    A function for each class: register one to give a transformer of your own its formula.  Any
    other with an `inverse_transform` is taken by differences, for up to 20 columns where they
    depend on each other.

    Parameters
    ----------
    transformer : fitted transformer
    X : array or data frame of shape (n_samples, n_features)
        Rows as the transformer is given them, a few of those it was fitted to.

    Returns
    -------
    Change

    Raises
    ------
    ValueError
        For a transformer that loses information.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skscore.compose import change_of_variables
    >>> X = np.array([[0.0], [8.0]])
    >>> change_of_variables(StandardScaler().fit(X), X).log_det(X).round(3)
    array([-1.386, -1.386])
    """
    refuse(transformer)
    if not hasattr(transformer, "inverse_transform"):
        raise _lossy(transformer, "it has no inverse_transform")
    _check_width(transformer, X)
    return by_differences(transformer, X)


def _lossy(transformer: Any, reason: str) -> ValueError:
    return ValueError(
        f"DensityPipeline cannot carry a density through {transformer!r}: {reason}. A density of "
        "its output says nothing about its input. Keep all columns and an inverse; or fit the "
        "estimator to transformed rows by itself, where only samples and their inverse_transform "
        "are needed."
    )


def _check_width(transformer: Any, X: Any) -> None:
    before, after = X.shape[1], transformer.transform(copy.copy(X)).shape[1]
    if after != before:
        raise _lossy(transformer, f"it turns {before} columns into {after}")


# -- what is no change of variables, whatever the rows -----------------------------------------


@singledispatch
def refuse(transformer: Any) -> None:
    """Raise an error for a transformer, fitted or not, that makes rows of what is none yet."""


@refuse.register
def _(transformer: Imputer) -> None:
    raise _preparation(transformer, "it fills in missing values, and a density is one of full rows")


@refuse.register
def _(transformer: Encoder) -> None:
    raise _preparation(transformer, "it writes numbers for categories, and these have no density")


@refuse.register
def _(transformer: Pipeline) -> None:
    for _, step in transformer.steps:
        refuse(step)


@refuse.register
def _(transformer: ColumnTransformer) -> None:
    for _, part, _ in transformer.transformers:
        refuse(part)


@refuse.register
def _(transformer: FrozenEstimator) -> None:
    refuse(transformer.estimator)


def _preparation(transformer: Any, reason: str) -> ValueError:
    return ValueError(
        f"{transformer!r} cannot be a step of a DensityPipeline: {reason}. Prepare the rows before "
        "it, in a plain pipeline of scikit-learn: make_pipeline(preparation, DensityPipeline(...)) "
        "is a density of prepared rows, where the preparation is this step, or the "
        "ColumnTransformer that holds it."
    )


# -- linear maps ------------------------------------------------------------------------------


def _scales(scale: np.ndarray | None, X: Any) -> np.ndarray:
    return np.ones(X.shape[1]) if scale is None else np.asarray(scale, dtype=np.float64)


@change_of_variables.register(StandardScaler)
@change_of_variables.register(RobustScaler)
def _(transformer: Any, X: Any) -> Change:
    return Linear(transformer, X, np.diag(1 / _scales(transformer.scale_, X)))


@change_of_variables.register
def _(transformer: MinMaxScaler, X: Any) -> Change:
    slope = transformer.scale_
    if not transformer.clip:
        return Linear(transformer, X, np.diag(slope))
    domain = (transformer.data_min_, transformer.data_max_)
    return _Clipped(transformer, X, slope, domain, transformer.feature_range)


@change_of_variables.register
def _(transformer: MaxAbsScaler, X: Any) -> Change:
    slope, largest = 1 / transformer.scale_, transformer.max_abs_
    if not getattr(transformer, "clip", False):
        return Linear(transformer, X, np.diag(slope))
    return _Clipped(transformer, X, slope, (-largest, largest), (-1.0, 1.0))


class _Clipped(Columnwise):
    """A scaler that clips: rows beyond those of the fit are outside."""

    def __init__(self, transformer: Any, X: Any, slope: np.ndarray, domain: Ends, image: Ends):
        _refuse_constant(transformer, *domain)
        super().__init__(transformer, X, domain=domain, image=image, closed=True)
        self._slope = slope

    def slopes(self, X: np.ndarray) -> Slopes:
        flat = np.zeros_like(X)
        return self._slope + flat, flat, flat


def _refuse_constant(transformer: Any, low: np.ndarray, high: np.ndarray) -> None:
    if (low == high).any():
        raise _lossy(transformer, f"column {int(np.argmax(low == high))} is constant")


@change_of_variables.register
def _(transformer: PCA, X: Any) -> Change:
    kept, d = transformer.components_.shape
    if kept < d:
        raise _lossy(transformer, f"it keeps {kept} of {d} components")
    matrix = transformer.components_.T
    if transformer.whiten:
        variances = transformer.explained_variance_
        if variances.min() <= 1e-14 * variances.max():
            raise _lossy(transformer, "some components have no variance to divide by")
        matrix = matrix / np.sqrt(variances)
    return Linear(transformer, X, np.asarray(matrix, dtype=np.float64))


# -- one column at a time ---------------------------------------------------------------------


class _Power(Columnwise):
    """Box and Cox's powers, ``a = x^p / scale``; Yeo and Johnson's, ``a = (1 + |x|)^p / scale``.

    ``p = lambda - 1``, and ``1 - lambda`` where x is negative.
    """

    def __init__(self, transformer: PowerTransformer, X: Any) -> None:
        lambdas = np.asarray(transformer.lambdas_, dtype=np.float64)
        scaler = transformer._scaler if transformer.standardize else StandardScaler()
        self._lambdas = lambdas
        self._scale = _scales(getattr(scaler, "scale_", None), X)
        self._positive = transformer.method == "box-cox"
        shift = getattr(scaler, "mean_", 0.0)
        low, high = _power_image(lambdas, self._positive)
        super().__init__(
            transformer,
            X,
            domain=_POSITIVE if self._positive else _LINE,
            image=((low - shift) / self._scale, (high - shift) / self._scale),
        )

    def slopes(self, X: np.ndarray) -> Slopes:
        sign = np.where((X >= 0) | self._positive, 1.0, -1.0)
        base = X if self._positive else 1 + np.abs(X)
        p = sign * (self._lambdas - 1)
        return base**p / self._scale, sign * p / base, -p / base**2


change_of_variables.register(PowerTransformer, _Power)


def _power_image(lambdas: np.ndarray, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ends of what Box and Cox's, or Yeo and Johnson's, transformation can reach."""
    low, high = np.full_like(lambdas, -_INF), np.full_like(lambdas, _INF)
    falling = lambdas < 0
    high[falling] = -1 / lambdas[falling]
    rising = lambdas > (0 if positive else 2)
    low[rising] = -1 / lambdas[rising] if positive else -1 / (lambdas[rising] - 2)
    return low, high


class _Quantile(Columnwise):
    """Piecewise linear levels u of the columns, or the normal quantiles of those."""

    def __init__(self, transformer: QuantileTransformer, X: Any) -> None:
        quantiles, levels = transformer.quantiles_, transformer.references_
        _refuse_constant(transformer, quantiles[0], quantiles[-1])
        self._bins = [_bins(column, levels) for column in quantiles.T]
        self._normal = transformer.output_distribution == "normal"
        end = norm.ppf(1e-7)  # where scikit-learn clips
        super().__init__(
            transformer,
            X,
            domain=(quantiles[0], quantiles[-1]),
            image=(end, -end) if self._normal else (0.0, 1.0),
            closed=True,
        )

    def slopes(self, X: np.ndarray) -> Slopes:
        a = np.stack([_rate(x, *b) for x, b in zip(X.T, self._bins, strict=True)], axis=1)
        if not self._normal:
            return a, np.zeros_like(a), np.zeros_like(a)
        y = self.transform(X)
        a = a / norm.pdf(y)
        return a, y * a, a**2 * (1 + y**2)

    def jumps(self, names: list[str]) -> list[str]:
        tied = (np.diff(self.transformer.quantiles_, axis=0) == 0).any(axis=0)
        return [names[j] for j in np.flatnonzero(tied)]


change_of_variables.register(QuantileTransformer, _Quantile)


def _bins(quantiles: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left ends of the bins of positive width, and the slope of the levels in each."""
    width = np.diff(quantiles)
    wide = width > 0
    return quantiles[:-1][wide], (np.diff(levels)[wide] / width[wide])


def _rate(x: np.ndarray, lefts: np.ndarray, rates: np.ndarray) -> np.ndarray:
    return rates[np.maximum(np.searchsorted(lefts, x, side="right") - 1, 0)]


class _Bounded(Columnwise):
    """The logit and logarithm of a BoundedTransformer."""

    def __init__(self, transformer: BoundedTransformer, X: Any) -> None:
        super().__init__(transformer, X, domain=(transformer.lower_, transformer.upper_))

    def slopes(self, X: np.ndarray) -> Slopes:
        return self.transformer._slopes(X)


change_of_variables.register(BoundedTransformer, _Bounded)


# -- functions --------------------------------------------------------------------------------

UFUNCS: dict[Any, tuple[Callable[[np.ndarray], Slopes], Ends, Ends]] = {
    np.log: (lambda x: (1 / x, -1 / x, 1 / x**2), _POSITIVE, _LINE),
    np.log1p: (lambda x: (1 / (1 + x), -1 / (1 + x), 1 / (1 + x) ** 2), (-1.0, _INF), _LINE),
    np.log2: (lambda x: (1 / (x * np.log(2)), -1 / x, 1 / x**2), _POSITIVE, _LINE),
    np.log10: (lambda x: (1 / (x * np.log(10)), -1 / x, 1 / x**2), _POSITIVE, _LINE),
    np.exp: (lambda x: (np.exp(x), np.ones_like(x), np.zeros_like(x)), _LINE, _POSITIVE),
    np.expm1: (lambda x: (np.exp(x), np.ones_like(x), np.zeros_like(x)), _LINE, (-1.0, _INF)),
    np.sqrt: (lambda x: (0.5 / np.sqrt(x), -0.5 / x, 0.5 / x**2), _POSITIVE, _POSITIVE),
    np.square: (lambda x: (2 * x, 1 / x, -1 / x**2), _POSITIVE, _POSITIVE),
    np.cbrt: (
        lambda x: (1 / (3 * np.cbrt(x) ** 2), -2 / (3 * x), 2 / (3 * x**2)),
        _LINE,
        _LINE,
    ),
    np.arcsinh: (
        lambda x: (
            1 / np.sqrt(1 + x**2),
            -x / (1 + x**2),
            -(1 - x**2) / (1 + x**2) ** 2,
        ),
        _LINE,
        _LINE,
    ),
    np.sinh: (lambda x: (np.cosh(x), np.tanh(x), 1 / np.cosh(x) ** 2), _LINE, _LINE),
    logit: (
        lambda x: (1 / (x * (1 - x)), 1 / (1 - x) - 1 / x, 1 / x**2 + 1 / (1 - x) ** 2),
        (0.0, 1.0),
        _LINE,
    ),
    expit: (
        lambda x: (expit(x) * expit(-x), -np.tanh(x / 2), -0.5 / np.cosh(x / 2) ** 2),
        _LINE,
        (0.0, 1.0),
    ),
}
"""Slopes, domain and image of the usual functions of a FunctionTransformer."""


@change_of_variables.register
def _(transformer: FunctionTransformer, X: Any) -> Change:
    if transformer.func is None:
        return Chain([])
    if transformer.inverse_func is None:
        raise _lossy(transformer, "it has no inverse_func")
    _check_width(transformer, X)
    known = transformer.func in UFUNCS and not (transformer.kw_args or transformer.inv_kw_args)
    if not known:
        return by_differences(transformer, X)
    return _Function(transformer, X)


class _Function(Columnwise):
    """A function of the table above."""

    def __init__(self, transformer: FunctionTransformer, X: Any) -> None:
        _, domain, image = UFUNCS[transformer.func]
        super().__init__(transformer, X, domain=domain, image=image)

    def slopes(self, X: np.ndarray) -> Slopes:
        return UFUNCS[self.transformer.func][0](X)


# -- compositions -----------------------------------------------------------------------------


@change_of_variables.register
def _(transformer: FlowTransformer, X: Any) -> Change:
    return Flow(transformer, X)


@change_of_variables.register
def _(transformer: FrozenEstimator, X: Any) -> Change:
    return change_of_variables(transformer.estimator, X)


@change_of_variables.register
def _(transformer: Pipeline, X: Any) -> Change:
    return chain_of(transformer.steps, X)


def chain_of(steps: list[tuple[str, Any]], X: Any) -> Chain:
    """The changes of fitted steps, one after the other."""
    changes = []
    for _, transformer in steps:
        if transformer is None or transformer == "passthrough":
            continue
        changes.append(change_of_variables(transformer, X))
        X = transformer.transform(copy.copy(X))
    return Chain(changes)


@change_of_variables.register
def _(transformer: ColumnTransformer, X: Any) -> Change:
    inputs = {name: np.array(i) for name, i in transformer._transformer_to_input_indices.items()}
    parts = []
    for name, part, _ in transformer.transformers_:
        if not len(inputs[name]):
            continue
        outputs = np.arange(X.shape[1] + 1)[transformer.output_indices_[name]]
        if isinstance(part, str) and part == "drop":
            raise _lossy(transformer, f"it drops columns {inputs[name].tolist()}")
        columns = some_of(X, inputs[name], axis=1)
        whole = isinstance(part, str)
        change = Chain([]) if whole else change_of_variables(part, columns)
        parts.append((change, inputs[name], outputs))
    used = np.concatenate([i for _, i, _ in parts])
    if len(np.unique(used)) < len(used):
        raise _lossy(transformer, "some columns go to more than one of its transformers")
    return Blocks(parts)
