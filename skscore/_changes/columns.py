"""The law of one column: how its values are spread, and the map to a normal law that suits it.

The map is that of a mixture (:mod:`skscore._changes.curves`).  A last component of weight
1 / (n + 1), as wide as the farthest row, keeps slopes from vanishing outside the rows: far out the
map is linear.  The other components are found by weighted EM, their number by an information
criterion with half of Bayes' penalty, which was better on held-out rows of every table tried than
the whole of it.  A column for which one is enough stays linear.

Where a column's deviation says nothing of most of its rows, since some lie too far out, it is seen
through a lens first.  Of some centres and widths those are taken that make the column most like a
normal one.

References
----------
Schwarz (1978). Estimating the dimension of a model.
"""

from __future__ import annotations

import math

import numpy as np

from skscore._changes.curves import BehindLens, Curve, Lens, Line, MixtureCurve
from skscore._changes.mixtures import Part, best_mixture, column_mixture
from skscore._rows import some_rows

_NUMBERS = (1, 2, 3, 4, 6, 8, 12)
_PATIENCE = 2
_MOST_ATOMS = 1000
_HEAVY_SHARE = 0.01
_FLOOR = 1e-5  # least variance of a component, in units of the column's
_SPREAD = 30.0  # deviations in that of the densest half, above which a column needs a lens
_HALF = 0.6745  # half the width of the densest half of N(0, 1)
_FEW = 20  # values, too few to tell
_FEWEST = 3  # rows that make a component
_DENSEST_ROWS = 10_000
_WIDTHS = (0.02, 0.1, 0.3, 0.5)  # parts of the rows that a lens leaves nearly linear


def fit_column(x: np.ndarray, w: np.ndarray, linear: bool) -> Curve:
    """The map of a column (n,) with weights (n,); a line where it must be `linear`."""
    values, mass = column_law(x, w)
    light = light_weights(mass)
    n = light.sum() ** 2 / np.square(light).sum()
    mass = mass / mass.sum()
    location, scale = _moments(values, mass)
    line = Line(location, scale)
    if linear or n < _FEWEST:
        return line
    bulk = bulk_deviation(values, mass)
    if spread_out(scale, bulk):
        return _fit_spread_out(values, mass, n, bulk, line)
    curve, _ = _fit_mixture(values, mass, n, scale)
    return curve if _n_narrow(curve) > 1 else line


def _fit_spread_out(
    values: np.ndarray, mass: np.ndarray, n: float, bulk: float, line: Line
) -> Curve:
    """The map of sorted values of which some lie too far out, behind a lens or not."""
    plain, value = _fit_mixture(values, mass, n, bulk)
    lens = _best_lens(values, mass)
    if lens is not None:
        seen, its_value = _fit_mixture(lens(values), mass, n)
        if its_value + mass @ lens.derivatives(values)[0] > value:
            return BehindLens(lens, _without_spikes(seen, n))
    return _without_spikes(plain, n) if _n_narrow(plain) > 1 else line


def _n_narrow(curve: MixtureCurve) -> int:
    """Number of components but for the broad one."""
    return len(curve.weights) - 1


def _fit_mixture(
    values: np.ndarray, mass: np.ndarray, n: float, unit: float | None = None
) -> tuple[MixtureCurve, float]:
    """The mixture of sorted values, the broad component last, and its criterion without that.

    The least scales are relative to `unit`, or else to the deviation.
    """
    location, scale = _moments(values, mass)
    v = (values - location) / scale
    floor = _FLOOR * (1.0 if unit is None else (unit / scale) ** 2)
    atoms = _atoms(v, mass)

    def fit(number: int) -> tuple[Part, float]:
        part, log_likelihood = column_mixture(*atoms, number, floor)
        return part, log_likelihood - (3 * number - 1) * math.log(n) / (4 * n)

    numbers = [number for number in _NUMBERS if _FEWEST * number <= n]
    (w, m, s), value = best_mixture(numbers, fit, _PATIENCE)
    broad = 1 / (n + 1)
    w = np.append((1 - broad) * w, broad)
    m, s = np.append(m, 0), np.append(s, max(3, abs(v[0]), v[-1]))
    return MixtureCurve(w, location + scale * m, scale * s), value - math.log(scale)


def _without_spikes(curve: MixtureCurve, n: float) -> Curve:
    """A mixture whose broad component stands for all that hold fewer than three rows."""
    w, m, s = curve.weights, curve.means, curve.scales
    few = w * n < _FEWEST
    few[-1] = False
    w = np.append(w[:-1], w[-1] + w[few].sum())
    w, m, s = w[~few], m[~few], s[~few]
    return MixtureCurve(w, m, s) if len(w) > 1 else Line(m[0], s[0])


def light_weights(weights: np.ndarray) -> np.ndarray:
    """Weights of at most a hundredth of all: a heavier row is many at one place."""
    return np.minimum(weights, _HEAVY_SHARE * weights.sum())


def column_law(x: np.ndarray, w: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The different values of a column, in order, and the weight of each."""
    w = np.ones(len(x)) if w is None else w
    values, place = np.unique(x[w > 0].astype(np.float64), return_inverse=True)
    return values, np.bincount(place.ravel(), weights=w[w > 0])


def _moments(values: np.ndarray, mass: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of sorted values; one in place of none."""
    unit = max(values[-1] - values[0], np.finfo(float).tiny)
    location = values[0] + unit * (mass @ ((values - values[0]) / unit))
    return location, unit * math.sqrt(mass @ ((values - location) / unit) ** 2) or 1.0


def spread_out(deviation: float, bulk: float) -> bool:
    """Whether a column's deviation says nothing of its densest half."""
    return deviation > _SPREAD * bulk > 0


def bulk_deviation(values: np.ndarray, mass: np.ndarray) -> float:
    """Of the normal law whose densest half is as wide as that of sorted values.

    Zero for few values, whose densest half may be anything.
    """
    low, high = _densest_half(values, mass)
    return (high - low) / (2 * _HALF) if len(values) >= _FEW else 0.0


def _densest_half(values: np.ndarray, mass: np.ndarray) -> tuple[float, float]:
    """Ends of the shortest interval that holds half the mass of sorted values."""
    total = np.cumsum(mass)
    last = np.searchsorted(total, total - mass + 0.5 * total[-1])
    starts = np.flatnonzero(last < len(values))
    widths = values[last[starts]] - values[starts]
    best = starts[np.argmin(widths)]
    return values[best], values[last[best]]


def _best_lens(values: np.ndarray, mass: np.ndarray) -> Lens | None:
    """The lens through which sorted values are most like normal ones."""
    middle = 0.5 * sum(_densest_half(values, mass))
    lenses = [
        Lens(float(centre), float(width))
        for centre in (middle, values[0], values[-1])
        for width in _quantiles(np.abs(values - centre), mass, _WIDTHS)
        if width > 0
    ]
    return max(lenses, key=lambda lens: _normal_likelihood(lens, values, mass), default=None)


def _quantiles(values: np.ndarray, mass: np.ndarray, parts: tuple[float, ...]) -> np.ndarray:
    order = np.argsort(values)
    return values[order][np.searchsorted(np.cumsum(mass[order]), parts)]


def _normal_likelihood(lens: Lens, values: np.ndarray, mass: np.ndarray) -> float:
    """Mean log-density of a normal law behind a lens, but for a constant."""
    return mass @ lens.derivatives(values)[0] - math.log(_moments(lens(values), mass)[1])


def _atoms(v: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most a thousand values in place of many: means over blocks of equal mass."""
    if len(v) <= _MOST_ATOMS:
        return v, mass
    edges = np.linspace(0, 1, _MOST_ATOMS + 1)
    total, moment = np.append(0, np.cumsum(mass)), np.append(0, np.cumsum(mass * v))
    means = np.diff(np.interp(edges, total / total[-1], moment)) * _MOST_ATOMS
    return means, np.full(_MOST_ATOMS, 1 / _MOST_ATOMS)


def column_deviations(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Standard deviations of the columns (d,), one column at a time."""
    deviations = np.zeros(X.shape[1])
    for j, column in enumerate(X.T):
        with np.errstate(all="ignore"):  # what overflows is refused by name elsewhere
            unit = column.max() - column.min() or 1.0
            u = (column - column.min()) / unit
            variance = np.average((u - np.average(u, weights=weights)) ** 2, weights=weights)
            deviations[j] = unit * np.sqrt(variance)
    return deviations


def spread_out_columns(
    X: np.ndarray, weights: np.ndarray | None, deviations: np.ndarray
) -> np.ndarray:
    """Which columns (d,) have a deviation that says nothing of most of their rows."""
    rows, weights = some_rows(X, weights, _DENSEST_ROWS)
    found = np.zeros(X.shape[1], dtype=bool)
    for j, column in enumerate(rows.T):
        values, mass = column_law(column, weights)
        found[j] = spread_out(deviations[j], bulk_deviation(values, mass))
    return found
