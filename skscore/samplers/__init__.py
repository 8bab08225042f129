"""Samplers: what draws rows from a score, one ``step`` each.

:mod:`skscore.samplers._markov` holds Markov chains at one noise level, which start at rows;
:mod:`skscore.samplers._reverse` those that go from noise to rows down all levels.
"""

from skscore.samplers._markov import (
    Chains,
    Sampler,
    UnadjustedLangevin,
    WalkJump,
    largest_curvature,
    run_chains,
)
from skscore.samplers._reverse import (
    DDIM,
    Ancestral,
    AnnealedLangevin,
    DormandPrinceFlow,
    DPMSolverMultistep,
    EulerMaruyama,
    Heun,
    Path,
    PredictorCorrector,
    ReverseSampler,
    RungeKuttaFlow,
    run_reverse,
)

SAMPLERS: dict[str, type[Sampler]] = {"langevin": UnadjustedLangevin, "walk_jump": WalkJump}
"""Markov chains at one noise level, by name."""

REVERSE_SAMPLERS: dict[str, type[ReverseSampler]] = {
    "annealed_langevin": AnnealedLangevin,
    "euler_maruyama": EulerMaruyama,
    "ddpm": Ancestral,
    "ddim": DDIM,
    "predictor_corrector": PredictorCorrector,
    "heun": Heun,
    "dpm_solver": DPMSolverMultistep,
    "rk4": RungeKuttaFlow,
    "dormand_prince": DormandPrinceFlow,
}
"""Samplers over all noise levels, by name."""

__all__ = [
    "DDIM",
    "REVERSE_SAMPLERS",
    "SAMPLERS",
    "Ancestral",
    "AnnealedLangevin",
    "Chains",
    "DPMSolverMultistep",
    "DormandPrinceFlow",
    "EulerMaruyama",
    "Heun",
    "Path",
    "PredictorCorrector",
    "ReverseSampler",
    "RungeKuttaFlow",
    "Sampler",
    "UnadjustedLangevin",
    "WalkJump",
    "largest_curvature",
    "run_chains",
    "run_reverse",
]
