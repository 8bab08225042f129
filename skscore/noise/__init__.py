r"""Noise: what denoising score matching adds to the rows, at one level or at all of them.

A *noise kernel* ``q(x~ | x)`` says how a noisy row is drawn from a clean one
and what the score of that draw is, ``grad_x~ log q(x~ | x)``, the target that a
denoising loss regresses on (Vincent 2011).  To add a kernel, write the two
methods and name the class in :data:`KERNELS`.

A *noise process* ``x_t = alpha(t) x_0 + sigma(t) eps`` leads from rows to noise as
t goes from 0 to 1.  To add one, state the two functions and name the class in
:data:`PROCESSES`; what follows from them is in the base class.  All processes pass
through the same laws, those of the rows at noise level ``sigma(t) / alpha(t)``
(see :mod:`skscore._math.angles`), so a network trained under one serves all.  What
a process decides is which levels training sees how often, how much each counts,
and where a solver stops on its way.  These three have names of their own:

* a *schedule* maps u in [0, 1] to levels, increasing.  Uniform u are the draws of
  training, evenly spaced u the grid of a solver (:data:`SCHEDULES`);
* a *weighting* is the factor ``lambda(sigma)`` of ``1/2 |s - target|^2`` at a level
  (:data:`WEIGHTINGS`).

References
----------
Vincent (2011). A connection between score matching and denoising autoencoders.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations (ve, vp, subvp).
Song, Durkan, Murray and Ermon (2021). Maximum likelihood training of score-based
diffusion models (the likelihood weighting).
Nichol and Dhariwal (2021). Improved denoising diffusion probabilistic models (cosine).
Karras, Aittala, Aila and Laine (2022). Elucidating the design space of
diffusion-based generative models (edm).
Lipman, Chen, Ben-Hamu, Nickel and Le (2023). Flow matching for generative modeling (flow).
"""

from skscore.noise._kernels import KERNELS, GaussianNoise, NoiseKernel
from skscore.noise._levels import SCHEDULES, WEIGHTINGS, solver_angles
from skscore.noise._processes import (
    PROCESSES,
    Cosine,
    LognormalLevels,
    NoiseProcess,
    StraightFlow,
    SubVariancePreserving,
    VarianceExploding,
    VariancePreserving,
)

__all__ = [
    "KERNELS",
    "PROCESSES",
    "SCHEDULES",
    "WEIGHTINGS",
    "Cosine",
    "GaussianNoise",
    "LognormalLevels",
    "NoiseKernel",
    "NoiseProcess",
    "StraightFlow",
    "SubVariancePreserving",
    "VarianceExploding",
    "VariancePreserving",
    "solver_angles",
]
