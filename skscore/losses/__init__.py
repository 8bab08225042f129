r"""Losses: the objectives of score matching, one value per row.

A loss is called ``loss(score, x, generator=None)`` with a *callable* score,
(n, d) to (n, d), and rows x of shape (n, d); it returns n values whose mean is
the objective.  It can therefore be tried on an exact score, and sample weights
cost nothing.  With ``J = grad_x s(x)``, ``p`` the law of the rows and ``s* =
grad log p``:

====================  =========================================================
explicit              1/2 E |s - s*|^2
implicit              E [ 1/2 |s|^2 + tr J ], which is explicit - 1/2 E |s*|^2
sliced                E [ 1/2 (v's)^2 + v'Jv ] with E vv' = I: implicit on average
..  variance reduced  E [ 1/2 |s|^2 + v'Jv ]: implicit on average
..  differences       both from s(x + hv) and s(x - hv): sliced + O(h^2)
denoising             1/2 E |s(x~) - grad log q(x~|x)|^2: explicit against the
                      law of x~, plus a constant that no model changes
autoencoder           1/2 E |D(x~) - x|^2: sigma^4 denoising for the score
                      s = (D(x~) - x~) / sigma^2 of Gaussian noise
diffusion             denoising at levels drawn anew for every row, weighted
====================  =========================================================

To add a loss, subclass :class:`Loss`; its ``prepared`` may make the draws of many batches at once.

References
----------
Hyvarinen (2005). Estimation of non-normalized statistical models by score matching.
Vincent (2011). A connection between score matching and denoising autoencoders.
Song, Garg, Shi and Ermon (2019). Sliced score matching.
Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021). Score-based generative
modeling through stochastic differential equations.
Pang, Xu, Li, Song, Ermon and Zhu (2020). Efficient learning of generative models
via finite-difference score matching.
"""

from skscore.losses._base import Loss
from skscore.losses._denoising import DenoisingAutoencoder, DenoisingScoreMatching
from skscore.losses._diffusion import DiffusionScoreMatching
from skscore.losses._score_matching import (
    PROJECTIONS,
    ExplicitScoreMatching,
    FiniteDifferenceSlicedScoreMatching,
    ImplicitScoreMatching,
    SlicedScoreMatching,
)

__all__ = [
    "PROJECTIONS",
    "DenoisingAutoencoder",
    "DenoisingScoreMatching",
    "DiffusionScoreMatching",
    "ExplicitScoreMatching",
    "FiniteDifferenceSlicedScoreMatching",
    "ImplicitScoreMatching",
    "Loss",
    "SlicedScoreMatching",
]
