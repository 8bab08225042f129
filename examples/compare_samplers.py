"""Which sampler, and how many steps?  Quality against evaluations of the score.

The law is a ring of eight Gaussians whose density p is known.  Draws are judged by the
distance, in nats, between the distributions of log p over them and over fresh rows (the
Wasserstein distance on the line): draws that are too wide lie too low, too narrow ones too high.

* Left, the EXACT score of every noised law, so all that is seen is the sampler's own error.
* Middle, a DiffusionScoreEstimator fitted to 5000 rows: the network's error comes on top.
* Right, how draws of the estimator move from noise to rows.

Every evaluation of the score is counted, those of the corrections and of rejected steps too.
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import wasserstein_distance

from skscore import DiffusionScoreEstimator, ScoreBasedSampler
from skscore.datasets import make_ring
from skscore.samplers import (
    DDIM,
    AdamsFlow,
    Ancestral,
    AnnealedLangevin,
    DormandPrinceFlow,
    DPMSolverMultistep,
    EulerMaruyama,
    Heun,
    PredictorCorrector,
    RungeKuttaFlow,
)

PICTURE = sys.argv[1] if len(sys.argv) > 1 else "compare_samplers.png"
N_EXACT, N_LEARNT = 20_000, 5000
CENTRES = 4.0 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)

METHODS = {
    "annealed Langevin": (AnnealedLangevin(n_corrections=2), (20, 40, 80, 160)),
    "Euler-Maruyama": (EulerMaruyama(), (8, 16, 32, 64, 128)),
    "DDPM ancestral": (Ancestral(), (8, 16, 32, 64, 128)),
    "predictor-corrector": (PredictorCorrector(), (8, 16, 32, 64)),
    "DDIM": (DDIM(), (8, 16, 32, 64, 128)),
    "Adams": (AdamsFlow(), (7, 15, 31, 63)),
    "Heun": (Heun(), (4, 8, 16, 32)),
    "Heun, churn 0.3": (Heun(churn=0.3), (4, 8, 16, 32)),
    "DPM-Solver++ 2M": (DPMSolverMultistep(), (8, 16, 32, 64)),
    "Runge-Kutta 4": (RungeKuttaFlow(), (2, 4, 8, 16)),
}
TOLERANCES = (0.1, 0.03, 0.01, 1e-3)


class ExactScore:
    """The score of the ring noised by N(0, sigma^2), and the number of rows it was asked for."""

    def __init__(self):
        self.n_rows = 0

    def __call__(self, X, sigma):
        self.n_rows += len(X)
        variance = 0.35**2 + sigma**2
        difference = CENTRES - X[:, None, :]
        weights = -0.5 * (difference**2).sum(2) / variance
        weights = np.exp(weights - weights.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        return np.einsum("nk,nkj->nj", weights, difference) / variance


def exact_point(sampler, n_steps, law, truth):
    """Evaluations a row, and distance in nats, with the exact score."""
    score = ExactScore()
    source = ScoreBasedSampler(score, sampler, n_steps=n_steps, init=law.sample(1000, 1))
    log_p = law.score_samples(source.sample(N_EXACT, 0))
    return score.n_rows / N_EXACT, wasserstein_distance(log_p, truth)


def learnt_distance(sampler, n_steps, law, truth, est):
    """Distance in nats with the learnt score."""
    rows = est.sample(N_LEARNT, 0, method=sampler, n_steps=n_steps)
    return wasserstein_distance(law.score_samples(rows), truth)


def main():
    law = make_ring()
    truth = law.score_samples(law.sample(200_000, 2))
    est = DiffusionScoreEstimator(random_state=0).fit(law.sample(5000, 0))
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    lines = {name: [(sampler, n) for n in steps] for name, (sampler, steps) in METHODS.items()}
    lines["Dormand-Prince, by tol"] = [(DormandPrinceFlow(tol), 1) for tol in TOLERANCES]
    print("sampler: evaluations of the score -> distance with the exact | the learnt score")
    for k, (name, cases) in enumerate(lines.items()):
        n, exact = np.array([exact_point(*case, law, truth) for case in cases]).T
        learnt = np.array([learnt_distance(*case, law, truth, est) for case in cases])
        for ax, distances in zip(axes, (exact, learnt), strict=False):
            ax.loglog(n, distances, marker="osv^DPX*h."[k], ms=5, color=f"C{k}", label=name)
        text = (f"{i:.0f} -> {a:.3f}|{b:.3f}" for i, a, b in zip(n, exact, learnt, strict=True))
        print(f"{name:23s}", "  ".join(text))
    for ax, n_rows in zip(axes, (N_EXACT, N_LEARNT), strict=False):
        floor = wasserstein_distance(law.score_samples(law.sample(n_rows, 3)), truth)
        ax.axhspan(1e-4, floor, color="0.6", alpha=0.3, label="as many fresh rows")
        ax.set(xlabel="evaluations of the score a row", ylim=(4e-3, 10), xlim=(7, 400))
    axes[0].set(ylabel="distance to the law in nats", title=f"The exact score, {N_EXACT} draws")
    axes[1].set(title=f"A score learnt from 5000 rows, {N_LEARNT} draws")
    axes[1].legend(fontsize=8, ncols=2)
    _, states, _ = est.sample(60, 0, method="heun", n_steps=40, return_states=True)
    axes[2].scatter(*est.sample(2000, 1).T, s=3, color="0.8")
    axes[2].plot(states[..., 0], states[..., 1], lw=0.7, alpha=0.7)
    axes[2].scatter(*states[-1].T, s=12, color="k", zorder=3)
    axes[2].set(title="Sixty draws along the probability flow", aspect="equal")
    figure.savefig(PICTURE, dpi=120)
    print(f"The picture is in {PICTURE}.")


if __name__ == "__main__":
    main()
