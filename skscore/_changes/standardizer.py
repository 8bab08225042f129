"""The standardiser, which alone owns the change of variables of an estimator.

Rows become ``z = ((x - location) / scale) T`` with a symmetric T of shape
(d, d): the inverse square root of the correlation matrix (``"whiten"``; ZCA,
so column j of z is still mostly column j of x), the identity (``"scale"``), or
``diag(scale)``, which leaves the units of x (None).

With ``"normal"`` each column goes through a curved map of its own first
(:mod:`skscore._changes.margins`), and what is said of x above is whitening its values u.
Columns of rounded values or with dequantisation noise stay linear, and so do all where a direction
has no variance: noise of standardised rows is then noise of the rows.

References
----------
Kessy, Lewin and Strimmer (2018). Optimal whitening and decorrelation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skscore._changes.columns import spread_out_columns
from skscore._changes.maps import Composition, LinearMap, Map
from skscore._changes.margins import Margins
from skscore._changes.moments import (
    check_variances,
    moments,
    parts,
    spectrum,
    warn_degenerate,
    with_uniform,
)
from skscore._changes.ties import Ties, column_ties, warn_ties
from skscore._messages import listed, place_of_columns, warn_user
from skscore._rows import some_rows
from skscore.exceptions import FarRowsWarning

_NOISE = 6.0  # deviations of noise that a row may lie beyond the others
_MARGIN_ROWS = 100_000


class Whitening(LinearMap):
    """``z = ((u - location) / scale) T``.

    Parameters
    ----------
    location, scale : ndarray of shape (d,)
        Of the columns, floored.
    matrix, inverse_matrix : ndarray of shape (d, d)
        The symmetric T, and its inverse.
    covariance : ndarray of shape (d, d)
        Of the rows u, shrunk and floored.
    """

    def __init__(
        self,
        location: np.ndarray,
        scale: np.ndarray,
        matrix: np.ndarray,
        inverse_matrix: np.ndarray,
        covariance: np.ndarray,
    ) -> None:
        super().__init__(matrix / scale, np.linalg.slogdet(matrix)[1] - np.log(scale).sum())
        self.location, self.scale = location, scale
        self.matrix, self.inverse_matrix = matrix, inverse_matrix
        self._covariance = covariance

    def transform(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.location) / self.scale) @ self.matrix

    def inverse_transform(self, Y: np.ndarray) -> np.ndarray:
        return self.location + self.scale * (Y @ self.inverse_matrix)

    @property
    def covariance(self) -> np.ndarray:
        """Of the rows z, (d, d)."""
        return self._jacobian @ self._covariance @ self._jacobian.T

    @property
    def deviations(self) -> np.ndarray:
        """Of the columns of z, (d,)."""
        W = self._jacobian
        return np.sqrt(np.einsum("ij,jk,ik->i", W, self._covariance, W))


@dataclass(frozen=True)
class Standardizer(Composition):
    """The fitted change of variables between rows x and standardised rows z.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Of the rows.
    covariance : ndarray of shape (d, d)
        Of the rows, shrunk and floored; the metric of Hyvarinen's criterion.
    uniform, normal : ndarray of shape (m, d)
        Noise that standardised rows get at every visit of the training loop: uniform
        along the first (dequantisation), normal along the second (null directions).
    constant, curved : ndarray of shape (d,)
        Which columns are constant, and which are not mapped linearly.
    reach : ndarray of shape (d,)
        How far out the standardised rows lie in each coordinate: a power of two.
    form : {"whiten", "scale", "normal"} or None
        "normal" only where some columns are curved.
    margins : tuple of Map
        What comes before the whitening: the curved maps of the columns, or nothing.
    whitening : Whitening
    """

    mean: np.ndarray
    covariance: np.ndarray
    uniform: np.ndarray
    normal: np.ndarray
    constant: np.ndarray
    curved: np.ndarray
    reach: np.ndarray
    form: str | None
    margins: tuple[Map, ...]
    whitening: Whitening

    @cached_property
    def parts(self) -> Sequence[Map]:
        return *self.margins, self.whitening

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
        location, scale, correlation, constant = moments(X, weights, names)
        ties = column_ties(X, weights) if ties is None else ties
        gaps = np.where(constant, 0.0, ties.gaps)
        if gaps.any() and not dequantize:
            if warn:
                warn_ties(gaps, names)
            gaps = np.zeros_like(gaps)
        scale, correlation = with_uniform(scale, correlation, gaps)
        values, vectors, null = spectrum(X, weights, location, scale, correlation, constant)
        if warn:
            warn_degenerate(constant, vectors[:, null], names)
        with np.errstate(over="ignore", under="ignore"):
            covariance = (vectors * values) @ vectors.T * scale[:, None] * scale
        check_variances(covariance.diagonal(), names)
        T, T_inverse = _matrix_of_form(form, values, vectors, scale)
        floors = np.vstack([np.eye(len(scale))[constant], (vectors * values**0.5).T[null]])
        whitening = Whitening(location, scale, T, T_inverse, covariance)
        plain = cls(
            mean=location,
            covariance=covariance,
            uniform=((np.diag(gaps) / scale) @ T)[gaps > 0],
            normal=floors @ T,
            constant=constant,
            curved=np.zeros_like(constant),
            reach=_reach(X, whitening),
            form="whiten" if form == "normal" else form,
            margins=(),
            whitening=whitening,
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
        dequantize = bool(gaps.any())
        if len(self.normal):
            return self
        margins = Margins.fit(X, weights, linear=ties.linear(dequantize))
        if not margins.curved.any():
            return self
        # Enough, and no copy of a large table.
        some, its_weights = some_rows(X, weights, _MARGIN_ROWS)
        gaps = margins.push(self.mean[None], np.diag(gaps))[0].diagonal()  # of the linear columns
        inner = Standardizer.fit(
            margins.transform(some),
            its_weights,
            dequantize=dequantize,
            warn=False,
            ties=Ties(gaps, ties.lattice),
        )
        return replace(
            inner,
            mean=self.mean,
            covariance=self.covariance,
            curved=margins.curved,
            form="normal",
            margins=(margins,),
        )

    def spread(self, width: float) -> np.ndarray:
        """Directions (d, d) along which normal noise has `width` deviations of each coordinate."""
        return np.diag(width * self.whitening.deviations)

    def on_plane(self, Z: np.ndarray) -> np.ndarray:
        """The nearest points to standardised rows in which no null direction has a part.

        In ``v' (x - location) / scale = 0`` for each null direction v, that is, where all rows lie.
        """
        if not len(self.normal):
            return Z
        back = self.whitening.inverse_matrix
        across = back @ back @ self.normal.T
        Q = np.linalg.qr(across / np.linalg.norm(across, axis=0))[0]
        return Z - (Z @ Q) @ Q.T

    def outside(self, Z: np.ndarray, sigma: float) -> np.ndarray:
        """Which entries (n, d) of standardised rows lie beyond what noise of a level explains."""
        return ~(np.abs(Z) <= self.reach + _NOISE * sigma)

    def linear_denoiser(self, sigma: float) -> np.ndarray:
        """The matrix A (d, d) of the best linear posterior mean ``z A`` of standardised rows.

        ``A = K (K + sigma^2 I)^-1`` with their covariance K: exact for a Gaussian.
        """
        K = self.whitening.covariance
        return np.linalg.solve(K + sigma**2 * np.eye(len(K)), K)

    def jitter(self, Z: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Standardised rows with one draw of the training noise."""
        n = len(Z)
        uniform = rng.uniform(-0.5, 0.5, size=(n, len(self.uniform)))
        normal = rng.standard_normal((n, len(self.normal)))
        return Z + uniform @ self.uniform + normal @ self.normal


def _reach(X: np.ndarray, whitening: Whitening) -> np.ndarray:
    """Powers of two that bound standardised rows and their deviations: they tell no value."""
    far = whitening.deviations
    for part in parts(len(X)):
        far = np.maximum(far, np.abs(whitening.transform(X[part])).max(0))
    return 2.0 ** np.ceil(np.log2(far))


def _warn_spread_out(
    fitted: Standardizer, X: np.ndarray, weights: np.ndarray | None, names: list[str]
) -> None:
    """Say which columns are spread out, but for those that have a curved map."""
    deviations = np.sqrt(fitted.covariance.diagonal())
    found = spread_out_columns(X, weights, deviations) & ~fitted.curved
    if found.any():
        which = listed([f"{names[j]} ({deviations[j]:.3g})" for j in np.flatnonzero(found)])
        warn_user(
            f"In these columns of {place_of_columns()} some rows lie so far out that the standard "
            f"deviation (in brackets) says nothing of most rows: {which}. In units of it most rows "
            "are one point, whose shape is lost. Drop rows whose value there is an error or stands "
            "for something else, such as a missing one. Take the logarithm or arcsinh of a column "
            "that is so by nature: make_density_pipeline(FunctionTransformer(np.arcsinh, "
            'np.sinh), ...); or use DiffusionScoreEstimator(standardize="normal"), which bends '
            "columns without ties in tables of full rank.",
            FarRowsWarning,
        )


def _matrix_of_form(
    form: str | None, values: np.ndarray, vectors: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix T of a form, and its inverse."""
    if form in ("whiten", "normal"):
        return (vectors / np.sqrt(values)) @ vectors.T, (vectors * np.sqrt(values)) @ vectors.T
    diagonal = np.ones_like(scale) if form == "scale" else scale
    return np.diag(diagonal), np.diag(1 / diagonal)
