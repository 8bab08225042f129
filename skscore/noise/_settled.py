"""One process from a process and the shorthands of its owner.

A loss and an estimator hold a process, and have parameters of their own for its range, its
levels, its weighting and its grid.  These are shorthands: what is in force is one process, and
everything else reads it from there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from skscore._params import check_choice
from skscore.noise._levels import SCHEDULES, WEIGHTINGS
from skscore.noise._processes import SIGMA_MAX, SIGMA_MIN, NoiseProcess, check_range

_DEFAULT_RANGE = {"sigma_min": SIGMA_MIN, "sigma_max": SIGMA_MAX}
_CHOICES: dict[str, Iterable[str]] = {
    "levels": SCHEDULES,
    "weighting": WEIGHTINGS,
    "grid": SCHEDULES,
}


def settled_process(owner: object, process: NoiseProcess) -> NoiseProcess:
    """A copy of a process with the range, levels, weighting and grid that are in force.

    Parameters
    ----------
    owner : object
        It has `sigma_min` and `sigma_max`, and may have `levels`, `weighting` and `grid`.  An end
        that is left at its default follows the process's; two that were set must agree.  The
        others are those of the process where they are None or "auto".
    process : NoiseProcess
        It is not changed.

    Returns
    -------
    NoiseProcess

    Raises
    ------
    ValueError
        Where parameters of either are out of range, where both state different ends, and where the
        range is empty.

    Examples
    --------
    >>> from skscore.losses import DiffusionScoreMatching
    >>> from skscore.noise import VarianceExploding
    >>> from skscore.noise._settled import settled_process
    >>> loss = DiffusionScoreMatching(VarianceExploding(0.05), sigma_max=10.0, levels="theta")
    >>> settled = settled_process(loss, loss.process)
    >>> settled, settled.sigma_range, settled.levels, settled.weighting
    (VarianceExploding(sigma_min=0.05, sigma_max=10.0), (0.05, 10.0), 'theta', 'edm')
    """
    process.check()
    known = dict(zip(_DEFAULT_RANGE, process.sigma_range, strict=True))
    low, high = (_settled_end(owner, process, name, end) for name, end in known.items())
    check_range(owner, low, high)
    settled = copy.copy(process)
    settled.sigma_min, settled.sigma_max = float(low), float(high)
    for name, choices in _CHOICES.items():
        _settle_name(owner, settled, name, choices)
    return settled


def _settled_end(owner: object, process: NoiseProcess, name: str, known: float) -> float:
    """One end of the range; `known` is that of the process."""
    end, default = getattr(owner, name), _DEFAULT_RANGE[name]
    if end == default:
        return known
    if getattr(process, name) is not None and known not in (end, default):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} is {end!r}, but its process, "
            f"{process!r}, has {known!r}: leave one of the two at its default, or set both alike."
        )
    return end


def _settle_name(owner: object, settled: NoiseProcess, name: str, choices: Iterable[str]) -> None:
    """Give a process what its owner chose, and check what it then has."""
    chosen = getattr(owner, name, None)
    if chosen is not None and not (isinstance(chosen, str) and chosen == "auto"):
        setattr(settled, name, chosen)
    value = getattr(settled, name)
    if not (name == "weighting" and callable(value)):
        check_choice(owner if hasattr(owner, name) else settled, name, value, choices)
