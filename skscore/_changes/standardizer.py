"""The standardiser, which alone owns the change of variables.

Rows become ``z = ((x - location) / scale) T`` with a symmetric T of shape
(d, d): the inverse square root of the correlation matrix (``"whiten"``; ZCA,
so column j of z is still mostly column j of x), the identity (``"scale"``), or
``diag(scale)``, which leaves the units of x (None).  With ``W = T diag(1 /
scale)`` the score of x is ``W' s(z)``, its Jacobian ``W' J W``, and its
log-density that of z plus ``log |det W|``.

With ``"normal"`` each column goes through a curved map of its own first
(:mod:`skscore._changes.margins`), and what is said of x above is whitening its values u. With
slopes u', curvatures c and ``g = W' s(z)`` the score of x is then ``u' g + c``, its Jacobian
``diag(u') W' J W diag(u') + diag(u' c g + c')``, and the log-density has ``sum log u'`` more.
Columns of rounded values or with dequantisation noise stay linear, and so do all where a direction
has no variance: noise of standardised rows is then noise of the rows.

The correlation matrix C is shrunk to ``(1 - a) C + a I`` with the a that
maximises the leave-one-out likelihood of a Gaussian (Hoffbeck and Landgrebe
1996): next to nothing for long tables, however correlated, and as much as
needed for short ones.  Directions without variance get a floor's variance,
relative to the rest, and one warning.

References
----------
Kessy, Lewin and Strimmer (2018). Optimal whitening and decorrelation.
Hoffbeck and Landgrebe (1996). Covariance matrix estimation and classification
with limited training data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skscore._changes.margins import Margins, bulk_deviation, column_law, spread_out
from skscore._changes.ties import _HEAVY_SHARE, Ties, column_ties, warn_ties
from skscore._messages import listed, warn_user
from skscore._rows import some_rows
from skscore.exceptions import DegenerateColumnsWarning, FarRowsWarning

SPACINGS = 16
"""Range, in float spacings at the largest magnitude, up to which a column counts as constant."""


FLOOR = 1e-9
"""Deviation of a constant column, relative to its magnitude."""


RANK = 1e-10
"""Eigenvalue of the correlation matrix, relative to the largest, of a null direction."""


_NOISE = 6.0  # deviations of noise that a row may lie beyond the others
_CHUNK = 65_536
_SHRINKAGE_ROWS = 10_000
_MARGIN_ROWS = 100_000
_DENSEST_ROWS = 10_000
_SHRINKAGES = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 33)])


@dataclass(frozen=True)
class Pullback:
    """The change of variables at (n, d) rows x, to first, second and third order.

    Attributes
    ----------
    W : ndarray of shape (d, d)
        ``dz/du``.
    slopes, curvatures, curvature_slopes : ndarray of shape (n, d)
        ``u'``, ``c = (log u')'`` and ``c'`` of every column; 1, 0 and 0 without margins.
    """

    W: np.ndarray
    slopes: np.ndarray
    curvatures: np.ndarray
    curvature_slopes: np.ndarray

    def score(self, scores: np.ndarray) -> np.ndarray:
        """``u' W' s + c``: scores of z turned into scores of x, (n, d)."""
        return self.slopes * (scores @ self.W) + self.curvatures

    def traces(self, jacobians: np.ndarray, scores: np.ndarray, metrics: np.ndarray) -> np.ndarray:
        """``tr(M J_x)`` (n,), for Jacobians J_z (n, d, d) and scores (n, d) of z.

        The metrics are one for all rows, (d, d), or one for each, (n, d, d).
        """
        along = self.slopes[:, :, None] * metrics * self.slopes[:, None, :]
        bends = self.slopes * self.curvatures * (scores @ self.W) + self.curvature_slopes
        own = (bends * np.diagonal(metrics, axis1=-2, axis2=-1)).sum(1)
        return np.einsum("nij,nji->n", self.W @ along @ self.W.T, jacobians) + own


@dataclass(frozen=True)
class Standardizer:
    """The fitted change of variables between rows x and standardised rows z.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Of the rows.
    location, scale : ndarray of shape (d,)
        Of the columns, floored; with `margins`, of what these make of them.
    transform_matrix : ndarray of shape (d, d)
        The symmetric T above, and its inverse `inverse_matrix`.
    covariance : ndarray of shape (d, d)
        Of the rows, shrunk and floored; the metric of Hyvarinen's criterion.
    uniform, normal : ndarray of shape (m, d)
        Noise that standardised rows get at every visit of the training loop: uniform
        along the first (dequantisation), normal along the second (null directions).
    constant : ndarray of shape (d,)
        Which columns are constant.
    reach : ndarray of shape (d,)
        How far out the standardised rows lie in each coordinate: a power of two.
    margins : Margins or None
        The curved maps of the columns that come first, where there are any.
    """

    mean: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    transform_matrix: np.ndarray
    inverse_matrix: np.ndarray
    covariance: np.ndarray
    uniform: np.ndarray
    normal: np.ndarray
    constant: np.ndarray
    reach: np.ndarray
    margins: Margins | None = None

    @classmethod
    def fit(
        cls,
        X: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        form: str | None = "whiten",
        dequantize: bool = False,
        names: list[str] | None = None,
        warn: bool = True,
        ties: Ties | None = None,
    ) -> Standardizer:
        """Measure (n, d) rows with optional weights (n,); `names` are for the warnings.

        The `form` is "whiten", "scale", "normal" or None.  `ties` are those of the rows as
        they were given, where these have their repeats merged.
        """
        names = [str(j) for j in range(X.shape[1])] if names is None else names
        location, scale, correlation, constant = _moments(X, weights, names)
        ties = column_ties(X, weights) if ties is None else ties
        gaps = np.where(constant, 0.0, ties.gaps)
        if gaps.any() and not dequantize:
            if warn:
                warn_ties(gaps, names)
            gaps = np.zeros_like(gaps)
        scale, correlation = _with_uniform(scale, correlation, gaps)
        values, vectors, null = _eigen(X, weights, location, scale, correlation, constant)
        if warn:
            _warn_degenerate(constant, vectors[:, null], names)

        correlation = (vectors * values) @ vectors.T
        with np.errstate(over="ignore", under="ignore"):
            covariance = correlation * scale[:, None] * scale
        _check_variances(covariance.diagonal(), names)
        T, T_inverse = _forms(form, values, vectors, scale)
        floors = np.vstack([np.eye(len(scale))[constant], (vectors * values**0.5).T[null]])
        plain = cls(
            location,
            location,
            scale,
            T,
            T_inverse,
            covariance,
            uniform=((np.diag(gaps) / scale) @ T)[gaps > 0],
            normal=floors @ T,
            constant=constant,
            reach=_reach(X, location, scale, T, covariance),
        )
        whole = plain.with_margins(X, weights, ties, gaps) if form == "normal" else plain
        if warn:
            _warn_spread_out(whole, X, weights, names)
        return whole

    def with_margins(
        self, X: np.ndarray, weights: np.ndarray | None, ties: Ties, gaps: np.ndarray
    ) -> Standardizer:
        """The form "normal", from that of "whiten"; itself where all columns must be linear.

        Columns with `gaps` (d,) get noise, and are linear too.
        """
        if len(self.normal):
            return self
        margins = Margins.fit(X, weights, linear=ties.linear(gaps.any()))
        if not margins.curved.any():
            return self
        # Enough, and no copy of a large table.
        some, its_weights = some_rows(X, weights, _MARGIN_ROWS)
        inner = Standardizer.fit(
            margins.transform(some),
            its_weights,
            dequantize=gaps.any(),
            warn=False,
            ties=Ties(gaps / margins.scales[:, 0], ties.lattice),
        )
        return replace(inner, mean=self.mean, covariance=self.covariance, margins=margins)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Standardised rows, (n, d) float64."""
        U = X if self.margins is None else self.margins.transform(X)
        return ((U - self.location) / self.scale) @ self.transform_matrix

    def inverse_transform(self, Z: np.ndarray) -> np.ndarray:
        """Rows in input units, (n, d)."""
        U = self.location + self.scale * (Z @ self.inverse_matrix)
        return U if self.margins is None else self.margins.inverse_transform(U)

    def log_volume(self, X: np.ndarray) -> np.ndarray:
        """``log |det dz/dx|`` (n,): what the log-density of z lacks to be that of x."""
        constant = np.linalg.slogdet(self.transform_matrix)[1] - np.log(self.scale).sum()
        curved = np.zeros(len(X)) if self.margins is None else self.margins.log_slopes(X).sum(1)
        return constant + curved

    def at(self, X: np.ndarray) -> Pullback:
        """What brings scores and Jacobians at rows X back to their units."""
        W = self.transform_matrix / self.scale
        if self.margins is None:
            ones, zeros = np.ones(X.shape), np.zeros(X.shape)
            return Pullback(W, ones, zeros, zeros)
        return Pullback(W, *self.margins.derivatives(X))

    def directions(self, metric: np.ndarray | None = None) -> np.ndarray:
        """Rows v_k with ``sum_k v_k' J_z v_k = tr(metric J_x)``; None is the identity.

        Without margins only: the same directions then serve all rows.
        """
        W = self.transform_matrix / self.scale
        if metric is None:
            return W.T.copy()
        values, vectors = np.linalg.eigh(W @ metric @ W.T)
        return (vectors * np.sqrt(np.maximum(values, 0.0))).T

    def spread(self, width: float) -> np.ndarray:
        """Directions (d, d) along which normal noise has `width` deviations of each coordinate.

        Without margins only.
        """
        W = self.transform_matrix / self.scale
        return np.diag(width * np.sqrt(np.einsum("ij,jk,ik->i", W, self.covariance, W)))

    def on_plane(self, Z: np.ndarray) -> np.ndarray:
        """The nearest points to standardised rows in which no null direction has a part.

        In ``v' (x - location) / scale = 0`` for each null direction v, that is, where all rows lie.
        """
        if not len(self.normal):
            return Z
        across = self.inverse_matrix @ self.inverse_matrix @ self.normal.T
        Q = np.linalg.qr(across / np.linalg.norm(across, axis=0))[0]
        return Z - (Z @ Q) @ Q.T

    def outside(self, Z: np.ndarray, sigma: float) -> np.ndarray:
        """Which entries (n, d) of standardised rows lie beyond what noise of a level explains."""
        return ~(np.abs(Z) <= self.reach + _NOISE * sigma)

    def linear_denoiser(self, sigma: float) -> np.ndarray:
        """The matrix A (d, d) of the best linear posterior mean ``z A`` of standardised rows.

        ``A = K (K + sigma^2 I)^-1`` with their covariance K: exact for a Gaussian.
        """
        d = len(self.scale)
        W = self.transform_matrix / self.scale
        K = np.eye(d) if self.margins is not None else W @ self.covariance @ W.T
        return np.linalg.solve(K + sigma**2 * np.eye(d), K)

    def jitter(self, Z: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Standardised rows with one draw of the training noise."""
        n = len(Z)
        uniform = rng.uniform(-0.5, 0.5, size=(n, len(self.uniform)))
        normal = rng.standard_normal((n, len(self.normal)))
        return Z + uniform @ self.uniform + normal @ self.normal


def _moments(
    X: np.ndarray, weights: np.ndarray | None, names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Location, scale, correlation matrix and the mask of constant columns."""
    n, d = X.shape
    low, high = X.min(0).astype(np.float64), X.max(0).astype(np.float64)
    with np.errstate(over="ignore"):
        extent = high - low
    magnitude = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(extent).all():
        worst = names[int(np.argmax(~np.isfinite(extent)))]
        raise ValueError(
            f"The values of column {worst} of X span more than 1e308. Divide the column by 1e300, "
            "or drop rows whose value there stands for something else, such as a missing one."
        )
    constant = extent <= SPACINGS * np.spacing(magnitude.astype(X.dtype)).astype(np.float64)
    unit = np.where(constant, 1.0, extent)

    w = np.ones(n) if weights is None else weights
    shift, total = np.zeros(d), w.sum()
    for part in _parts(n):
        shift += (w[part] / total) @ ((X[part] - low) / unit)
    location = np.where(constant, (low + high) / 2, low + shift * unit)
    second = np.zeros((d, d))
    for part in _parts(n):
        u = (X[part] - location) / unit
        second += (u * (w[part] / total)[:, None]).T @ u
    deviation = np.sqrt(second.diagonal())
    scale = np.where(constant, 1.0, unit * deviation)
    floor = FLOOR * np.where(magnitude > 0, magnitude, scale[~constant].max(initial=0.0) or 1.0)
    scale = np.where(constant, floor, scale)
    safe = np.where(constant, 1.0, deviation)
    correlation = second / safe[:, None] / safe
    correlation[constant] = correlation[:, constant] = 0.0
    np.fill_diagonal(correlation, 1.0)
    return location, scale, correlation, constant


def _reach(
    X: np.ndarray, location: np.ndarray, scale: np.ndarray, T: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Powers of two that bound standardised rows and their deviations: they tell no value."""
    W = T / scale
    far = np.sqrt(np.einsum("ij,jk,ik->i", W, covariance, W))
    for part in _parts(len(X)):
        far = np.maximum(far, np.abs(((X[part] - location) / scale) @ T).max(0))
    return 2.0 ** np.ceil(np.log2(far))


def _parts(n: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]


def _check_variances(variances: np.ndarray, names: list[str]) -> None:
    """Refuse columns whose variance leaves the numbers there are."""
    lost = ~(np.isfinite(variances) & (variances > 0))
    if lost.any():
        which = listed([names[j] for j in np.flatnonzero(lost)])
        raise ValueError(
            f"The values of these columns of X are too large or too small: {which}. Their "
            "variances must lie within 1e-300 and 1e300. Divide each column by its typical "
            "magnitude, and drop rows whose value stands for something else, such as a missing one."
        )


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


def _warn_spread_out(
    fitted: Standardizer, X: np.ndarray, weights: np.ndarray | None, names: list[str]
) -> None:
    """Say which columns are spread out, but for those that have a curved map."""
    deviations = np.sqrt(fitted.covariance.diagonal())
    found = spread_out_columns(X, weights, deviations)
    if fitted.margins is not None:
        found &= ~fitted.margins.curved
    if found.any():
        which = listed([f"{names[j]} ({deviations[j]:.3g})" for j in np.flatnonzero(found)])
        warn_user(
            "In these columns of X some rows lie so far out that the standard deviation (in "
            f"brackets) says nothing of most rows: {which}. In units of it most rows are one "
            "point, whose shape is lost. Drop rows whose value there is an error or stands for "
            "something else, such as a missing one. Take the logarithm or arcsinh of a column "
            "that is so by nature: make_density_pipeline(FunctionTransformer(np.arcsinh, "
            'np.sinh), ...); or use DiffusionScoreEstimator(standardize="normal"), which bends '
            "columns without ties in tables of full rank.",
            FarRowsWarning,
        )


def _with_uniform(
    scale: np.ndarray, correlation: np.ndarray, gaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and correlation of the rows with uniform noise of width `gaps` added."""
    wider = np.hypot(scale, gaps / np.sqrt(12))
    shrunk = correlation * (scale / wider)[:, None] * (scale / wider)
    np.fill_diagonal(shrunk, 1.0)
    return wider, shrunk


def _eigen(
    X: np.ndarray,
    weights: np.ndarray | None,
    location: np.ndarray,
    scale: np.ndarray,
    correlation: np.ndarray,
    constant: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues (shrunk, floored) and eigenvectors of the correlations; which are null."""
    values, vectors = np.linalg.eigh(correlation)
    floor = RANK * values.max()
    enough_rows = len(X) > np.sum(~constant)
    null = (values < floor) & enough_rows
    light = np.ones(len(X)) if weights is None else weights
    light = np.minimum(light, _HEAVY_SHARE * light.sum())  # heavier rows are many at one place
    n_effective = max(2.0, len(X) * (light.mean() ** 2 / np.mean(light**2)))
    rows, w = some_rows(X, weights, _SHRINKAGE_ROWS)
    w = np.ones(len(rows)) if w is None else w
    projections = (((rows - location) / scale) @ vectors[:, ~null]) ** 2
    a = _shrinkage(projections, w, np.maximum(values[~null], 0.0), n_effective)
    values = np.where(null, floor, np.maximum((1 - a) * values + a, floor))
    return values, vectors, null


def _shrinkage(
    squares: np.ndarray, weights: np.ndarray, values: np.ndarray, n_rows: float
) -> float:
    """The shrinkage of best leave-one-out Gaussian likelihood.

    `squares` (n, d) are squared projections of the centred rows on the eigenvectors.
    Leaving row z out of mean and covariance takes ``k z z'`` off ``G = (1 - a) C n / (n - 1)
    + a I``, ``k = (1 - a) n / (n - 1)^2``, and the row then lies ``z n / (n - 1)`` from the
    mean of the others.  With ``q = z' G^-1 z`` its deviance is therefore ``log |G| + log(1 -
    k q) + (n / (n - 1))^2 q / (1 - k q)``.
    """
    share = weights / weights.sum()
    best, best_deviance = 1.0, np.inf
    for a in _SHRINKAGES:
        g = (1 - a) * values * n_rows / (n_rows - 1) + a
        if g.min() <= 0:
            continue
        k = (1 - a) * n_rows / (n_rows - 1) ** 2
        q = squares @ (1 / g)
        rest = 1 - k * q
        if rest.min() <= 0:
            continue
        distance = (n_rows / (n_rows - 1)) ** 2 * q / rest
        deviance = np.log(g).sum() + share @ (np.log(rest) + distance)
        if deviance < best_deviance:
            best, best_deviance = a, deviance
    return best


def _forms(
    form: str | None, values: np.ndarray, vectors: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix T of a form, and its inverse."""
    if form in ("whiten", "normal"):
        return (vectors / np.sqrt(values)) @ vectors.T, (vectors * np.sqrt(values)) @ vectors.T
    diagonal = np.ones_like(scale) if form == "scale" else scale
    return np.diag(diagonal), np.diag(1 / diagonal)


def _warn_degenerate(constant: np.ndarray, null_vectors: np.ndarray, names: list[str]) -> None:
    """One warning for all directions without variance."""
    sentences = []
    if constant.any():
        which = listed([names[j] for j in np.flatnonzero(constant)])
        sentences.append(f"These columns of X are constant: {which}.")
    if null_vectors.size:
        involved = np.flatnonzero(np.abs(null_vectors).max(1) > 1e-4)
        which = listed([names[j] for j in involved])
        d = len(constant)
        rank = d - constant.sum() - null_vectors.shape[1]
        sentences.append(
            f"Columns of X depend linearly on each other: the rank is {rank}, for "
            f"{d - constant.sum()} columns that vary; involved are: {which}."
        )
    if sentences:
        sentences.append("A tiny variance stands in there; consider dropping columns.")
        warn_user(" ".join(sentences), DegenerateColumnsWarning)
