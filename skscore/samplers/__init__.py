"""Samplers: what draws rows from a score, one ``step`` each.

:mod:`skscore.samplers._markov` is the loop over Markov chains at one noise level, which start at
rows; :mod:`skscore.samplers._reverse` that from noise to rows down all levels.
"""

from skscore.samplers._flows import (
    AdamsFlow,
    DormandPrinceFlow,
    DPMSolverMultistep,
    Heun,
    RungeKuttaFlow,
)
from skscore.samplers._langevin import KineticLangevin, UnadjustedLangevin
from skscore.samplers._markov import Chains, Sampler, largest_curvature, run_chains
from skscore.samplers._reverse import Path, ReverseSampler, run_reverse
from skscore.samplers._stochastic import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    EulerMaruyama,
    PredictorCorrector,
)
from skscore.samplers._walk_jump import WalkJump

SAMPLERS: dict[str, type[Sampler]] = {
    "langevin": UnadjustedLangevin,
    "kinetic_langevin": KineticLangevin,
    "walk_jump": WalkJump,
}
"""Markov chains at one noise level, by name."""

REVERSE_SAMPLERS: dict[str, type[ReverseSampler]] = {
    "annealed_langevin": AnnealedLangevin,
    "euler_maruyama": EulerMaruyama,
    "ddpm": Ancestral,
    "ddim": DDIM,
    "predictor_corrector": PredictorCorrector,
    "adams": AdamsFlow,
    "heun": Heun,
    "dpm_solver": DPMSolverMultistep,
    "rk4": RungeKuttaFlow,
    "dormand_prince": DormandPrinceFlow,
}
"""Samplers over all noise levels, by name."""


def reverse_sampler(method: str | ReverseSampler) -> ReverseSampler:
    """A sampler over all levels from its name, or itself.

    Examples
    --------
    >>> from skscore.samplers import reverse_sampler
    >>> reverse_sampler("ddim")
    DDIM(eta=0.0)
    """
    if isinstance(method, ReverseSampler):
        return method
    if method not in REVERSE_SAMPLERS:
        legal = ", ".join(repr(name) for name in REVERSE_SAMPLERS)
        raise ValueError(
            f"The method of a sampler over all levels must be a ReverseSampler or one of: {legal}. "
            f"Got {method!r} instead."
        )
    return REVERSE_SAMPLERS[method]()


__all__ = [
    "DDIM",
    "REVERSE_SAMPLERS",
    "SAMPLERS",
    "AdamsFlow",
    "Ancestral",
    "AnnealedLangevin",
    "Chains",
    "DPMSolverMultistep",
    "DormandPrinceFlow",
    "EulerMaruyama",
    "Heun",
    "KineticLangevin",
    "Path",
    "PredictorCorrector",
    "ReverseSampler",
    "RungeKuttaFlow",
    "Sampler",
    "UnadjustedLangevin",
    "WalkJump",
    "largest_curvature",
    "reverse_sampler",
    "run_chains",
    "run_reverse",
]
