"""Two ways to choose a noise level, side by side: their choices and what they cost.

``GridSearchCV`` fits a network for each of ten levels and five folds;
``DenoisingScoreEstimatorCV`` one for each fold, which learns all levels.  Both are judged
by Hyvarinen's criterion on the rows left out.  Takes some minutes, nearly all of them the grid's.
"""

import argparse
from time import process_time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, KFold

from skscore import DenoisingScoreEstimator, DenoisingScoreEstimatorCV
from skscore.datasets import dequantize, make_moons, make_random_mixture, make_ring

SIGMAS = np.geomspace(0.01, 1, 10)


def tables(seed):
    return {
        "two moons": make_moons().sample(600, seed),
        "ring of 8": make_ring().sample(600, seed),
        "20 Gaussians, 10 columns": make_random_mixture().sample(600, seed),
        "breast cancer, 6 columns": dequantize(load_breast_cancer().data[:, :6], seed),
    }


def timed(search, X):
    start = process_time()
    search.fit(X)
    return process_time() - start


def main(seed, picture):
    folds = KFold(5, shuffle=True, random_state=seed)
    ours = DenoisingScoreEstimatorCV(SIGMAS, cv=folds, random_state=seed)
    grid = GridSearchCV(DenoisingScoreEstimator(random_state=seed), {"sigma": SIGMAS}, cv=folds)
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
    print(
        "Steps of the grid between the two choices; what ours loses by GridSearchCV's own numbers\n"
        "(and what a step to either side of its best would lose); time against GridSearchCV's:"
    )
    for ax, (name, X) in zip(axes.flat, tables(seed).items(), strict=True):
        ratio = timed(ours, X) / timed(grid, X)
        theirs = grid.cv_results_["mean_test_score"]
        results = ours.cv_results_
        chosen, best = int(np.argmax(results["mean_test_score"])), int(np.argmax(theirs))
        lost = 1 - theirs / theirs[best]
        beside = ", ".join(f"{part:.1%}" for part in lost[max(best - 1, 0) : best + 2 : 2])
        print(
            f"    {chosen - best:+d}  {lost[chosen]:5.1%} ({beside})  {ratio:4.2f}  {name}",
            flush=True,
        )
        error = results["std_error_difference"]
        ax.errorbar(SIGMAS, results["mean_test_score"], error, label="one network a fold")
        ax.plot(SIGMAS, theirs, "o--", label="GridSearchCV")
        ax.axvline(ours.sigma_, color="C0", alpha=0.4)
        ax.axvline(grid.best_params_["sigma"], color="C1", alpha=0.4)
        ax.set(xscale="log", xlabel="sigma", ylabel="criterion on rows left out", title=name)
    axes[0, 0].legend()
    figure.savefig(picture, dpi=120)
    print(
        f"The picture is in {picture}; error bars are those of the differences to the best level."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="choose_sigma.png")
    main(**vars(parser.parse_args()))
