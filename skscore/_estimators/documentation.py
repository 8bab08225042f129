"""What all trained estimators have in common in their docstrings, written once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import TypeVar

from skscore._estimators.parameters import SHARED
from skscore.networks import NETWORKS
from skscore.noise import KERNELS, PROCESSES

_ATTRIBUTES = """n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.
    location_ : ndarray of shape (n_features,)
        Mean of the training rows: the plain one, which a value far out moves.
    covariance_ : ndarray of shape (n_features, n_features)
        Of the training rows, in the units of X whatever `standardize` is: plain moments, which a
        value far out moves, shrunk where the rows are few and floored.  The metric of Hyvarinen's
        criterion.
    n_iter_ : int
        Rounds of training.
    best_iter_ : int
        The round whose state was kept; 0 is the untrained Gaussian (or, with `warm_start`, the
        model of the fit before), where no round was better on the held-out rows.
    loss_curve_ : list of float
        Mean training loss of each round.
    validation_scores_ : list of float, or None
        Minus the loss on the held-out rows after each round, always with the same draws.
    best_validation_score_ : float, or None
        Of the state that was kept; the untrained one competes.
    n_skipped_steps_ : int
        Steps without effect, because their gradient was not finite.
    chain_starts_ : ndarray of shape (n_starts, n_features)
        Training rows (at most 10,000) that chains start from.
    network_ : torch.nn.Module
        The trained score network, on standardised rows."""

Estimator = TypeVar("Estimator")
_TABLES: dict[str, Iterable[str]] = {
    "networks": NETWORKS,
    "kernels": KERNELS,
    "processes": PROCESSES,
}


def _parameter_entries() -> str:
    """The entries of the shared parameters, as a docstring has them."""
    return "\n    ".join(
        f"{name} : {parameter.domain}, default=None\n        {parameter.text}"
        for name, parameter in SHARED.items()
    )


def shared_documentation(cls: type[Estimator]) -> type[Estimator]:
    """Fill the parameters and attributes that all trained estimators have into a docstring.

    The defaults are those of the class's own constructor.  What the docstring has an entry for
    itself is left out.  ``<networks>`` and the like are the names in a table.
    """
    own = set(re.findall(r"^    (\w+) : ", cls.__doc__ or "", flags=re.MULTILINE))
    defaults = inspect.signature(cls).parameters

    def with_default(match: re.Match[str]) -> str:
        default = defaults[match["name"]].default
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        return f"{match['name']} : {match['kind']}, default={shown}"

    for name, text in {"parameters": _parameter_entries(), "attributes": _ATTRIBUTES}.items():
        entries = re.split(r"\n(?=    \w+ : )", text)
        kept = [entry for entry in entries if entry.split(" : ")[0].strip() not in own]
        text = "\n".join(kept).removeprefix("    ")
        text = re.sub(r"\b(?P<name>\w+) : (?P<kind>.+), default=.+", with_default, text)
        cls.__doc__ = (cls.__doc__ or "").replace(f"<{name}>", text)
    for name, table in _TABLES.items():
        members = ", ".join(f'"{member}"' for member in table)
        cls.__doc__ = (cls.__doc__ or "").replace(f"<{name}>", members)
    return cls
