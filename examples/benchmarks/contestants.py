"""Who is compared: a name, a function that fits, and the packages it needs.

A contestant is a function ``fit(X, seed)`` of standardised rows that returns a :class:`Fitted`.
To add one, write such a function in a module of this folder and add a line to the table.  Only
the module of the contestant that runs is imported, so none needs the packages of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np


@dataclass(frozen=True)
class Fitted:
    """What can be asked of a fitted contestant; None is what it cannot do.

    Attributes
    ----------
    sample : callable
        ``sample(n, seed)``, rows (n, d).
    log_density : callable or None
        Of rows (n, d), normalised, in nats.
    score : callable or None
        Gradient of the log-density at rows (n, d), at the level the contestant finds best.
    finer_log_density : callable or None
        The same as `log_density`, solved several times finer: shows the error of the solver.
    notes : dict
        What was chosen in fitting, for the record.
    """

    sample: Callable[[int, int], np.ndarray]
    log_density: Callable[[np.ndarray], np.ndarray] | None = None
    score: Callable[[np.ndarray], np.ndarray] | None = None
    finer_log_density: Callable[[np.ndarray], np.ndarray] | None = None
    notes: dict | None = None


@dataclass(frozen=True)
class Contestant:
    """Where the function that fits stands, ``module:name``, and the packages it needs."""

    function: str
    packages: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        return [package for package in self.packages if find_spec(package) is None]

    @property
    def versions(self) -> dict[str, str]:
        packages = ("numpy", "scikit-learn", "torch", "skscore", *self.packages)
        return {package: version(package) for package in packages}

    def fit(self, X: np.ndarray, seed: int) -> Fitted:
        module, name = self.function.split(":")
        return getattr(import_module(module), name)(X, seed)


OURS = "skscore"

# The cheap ones first: this is the order in which they run.
CONTESTANTS = {
    OURS: Contestant("classical:fit_skscore"),
    "gaussian_mixture": Contestant("classical:fit_gaussian_mixture"),
    "kernel_density": Contestant("classical:fit_kernel_density"),
    "zuko_nsf": Contestant("flows:fit_nsf", ("zuko",)),
    "zuko_maf": Contestant("flows:fit_maf", ("zuko",)),
    "denmarf": Contestant("flows:fit_denmarf", ("denmarf",)),
    "torchcfm": Contestant("matching:fit_flow_matching", ("torchcfm",)),
    "azula_edm": Contestant("edm:fit_edm", ("azula",)),
    "forest_diffusion": Contestant("forests:fit_forest_diffusion", ("ForestDiffusion",)),
}
