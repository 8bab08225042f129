"""Two ways in which Langevin sampling fails, and what `sample` does about them.

Two Gaussians, of weights 0.9 and 0.1, ten standard deviations apart.

1. Low-density regions.  Between the modes there are no training rows, so a score learnt
   without noise is arbitrary there.  Chains that start outside the modes are led astray or
   stand still.
2. Lost weights.  Inside a mode the score says nothing of the other mode's weight.  Even with
   the EXACT score, chains that start anywhere but at rows of the law end with the weights of
   their starts.

`sample` starts its chains at training rows, which carry the weights, and takes its steps at
noise level sigma, before it jumps to the posterior mean.
"""

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from skscore import DenoisingScoreEstimator, ScoreBasedSampler, SlicedScoreEstimator
from skscore.datasets import make_two_gaussians

PICTURE = sys.argv[1] if len(sys.argv) > 1 else "langevin_failings.png"


def left_share(rows):
    return (rows[:, 0] < 0).mean()


def main():
    law = make_two_gaussians(weight=0.9, separation=10.0)
    X = law.sample(2000, random_state=0)
    everywhere = np.random.default_rng(0).uniform([-9, -6], [9, 6], size=(2000, 2))
    true_score = law.score_function(everywhere)
    size = np.linalg.norm(true_score, axis=1).mean()
    print(f"Share of the left mode in the rows: {left_share(X):.3f}")

    sliced = SlicedScoreEstimator(random_state=0).fit(X)
    error = np.linalg.norm(sliced.score_function(everywhere) - true_score, axis=1)
    near = law.score_samples(everywhere) > law.score_samples(X).min()
    print(
        "1. Error of a score learnt without noise, in units of the mean score: "
        f"{error[near].mean() / size:.2f} where rows are, {error[~near].mean() / size:.2f} "
        "elsewhere."
    )
    astray = ScoreBasedSampler(sliced.score_function, "langevin", init=everywhere, burn_in=500)
    lost = ScoreBasedSampler(law.score_function, "langevin", init=everywhere, burn_in=500)
    draws = {
        "Learnt score, starts everywhere": astray.sample(2000, random_state=0),
        "EXACT score, starts everywhere": lost.sample(2000, random_state=0),
    }
    denoising = DenoisingScoreEstimator(sigma=0.1, random_state=0).fit(X)
    draws["DenoisingScoreEstimator.sample"] = denoising.sample(2000, random_state=0)

    print("2. Share of the left mode in the draws:")
    for name, rows in draws.items():
        print(f"    {left_share(rows):.3f}  {name}")

    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    grid = np.stack(np.meshgrid(np.linspace(-9, 9, 73), np.linspace(-6, 6, 49)), axis=-1)
    flat = grid.reshape(-1, 2)
    error = np.linalg.norm(sliced.score_function(flat) - law.score_function(flat), axis=1)
    x, y = np.moveaxis(grid, -1, 0)
    image = axes[0].pcolormesh(x, y, error.reshape(x.shape), cmap="Reds", vmax=5)
    figure.colorbar(image, ax=axes[0], extend="max", label="error of the learnt score")
    axes[0].scatter(*X.T, s=2, color="0.3", alpha=0.4)
    axes[0].set(title=f"Training rows\nleft {left_share(X):.2f}")
    for ax, (name, rows) in zip(axes[1:], draws.items(), strict=True):
        ax.scatter(*rows.T, s=3, alpha=0.4)
        ax.set(title=f"{name}\nleft {left_share(rows):.2f}")
    for ax in axes:
        ax.set(xlim=(-9, 9), ylim=(-6, 6))
    figure.savefig(PICTURE, dpi=120)
    print(f"The picture is in {PICTURE}.")


if __name__ == "__main__":
    main()
