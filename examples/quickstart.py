"""From a real table to a trusted score model, in under a minute.

Ten measurements of 569 cell nuclei.  We choose the noise level of a score model by
cross-validation, hold the result to the two densities scikit-learn has, draw new rows,
and make a picture.
"""

import argparse
from time import perf_counter

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skscore import DenoisingScoreEstimator, DensityScoreEstimator
from skscore.datasets import dequantize
from skscore.metrics import hyvarinen_score_samples
from skscore.plotting import ScoreFieldDisplay

OURS = "DenoisingScoreEstimator"


def criterion(estimator, X):
    """Hyvarinen's criterion of each row, in the metric of the training rows."""
    M = estimator.covariance_
    divergence = estimator.score_divergence(X, metric=M)
    return hyvarinen_score_samples(estimator.score_function(X), divergence, M)


def search(estimator, grid):
    return GridSearchCV(estimator, grid, cv=3, n_jobs=2)


def main(seed, picture):
    start = perf_counter()
    table = load_breast_cancer()
    names = [name.removeprefix("mean ") for name in table.feature_names[:10]]
    # Rounded measurements repeat; spread each over its last digit, so that a density exists.
    X = dequantize(table.data[:, :10], random_state=seed)
    X_train, X_test = train_test_split(X, test_size=0.2, random_state=seed)
    # For the kernel density, which knows no units; the others would not need it.
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    print(f"{len(X_train)} training rows and {len(X_test)} test rows of {X.shape[1]} columns.")

    sigmas = np.geomspace(0.01, 0.3, 5)
    score_search = search(DenoisingScoreEstimator(random_state=seed), {"sigma": sigmas})
    score_search.fit(X_train)
    print("Noise level sigma, and the criterion on held-out folds (higher is better):")
    for sigma, value in zip(sigmas, score_search.cv_results_["mean_test_score"], strict=True):
        chosen = "  <- chosen" if sigma == score_search.best_params_["sigma"] else ""
        print(f"    {sigma:5.3f}  {value:7.2f}{chosen}")

    mixture = search(GaussianMixture(random_state=seed), {"n_components": range(1, 9)})
    kernel = search(KernelDensity(), {"bandwidth": np.geomspace(0.1, 1, 10)})
    model = score_search.best_estimator_
    contestants = {OURS: model}
    for density in (mixture.fit(X_train), kernel.fit(X_train)):
        best = density.best_estimator_
        chosen = ", ".join(f"{k}={v:.3g}" for k, v in density.best_params_.items())
        contestants[f"{type(best).__name__}, {chosen}"] = DensityScoreEstimator(
            FrozenEstimator(best)
        ).fit(X_train)

    values = {name: criterion(estimator, X_test) for name, estimator in contestants.items()}
    ours = values[OURS]
    print(
        "The same criterion on the test rows, and ours minus theirs, row by row. A Gaussian would\n"
        f"score about {X.shape[1] / 2:.0f}; sharp structure scores far more. (The two densities "
        "were tuned for\nlog-likelihood, the number that they are made for.)"
    )
    for name, theirs in values.items():
        line = f"    {theirs.mean():7.2f}  {name}"
        if theirs is not ours:
            difference = ours - theirs
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            line += f": difference {difference.mean():+.2f}, standard error {error:.2f}"
        print(line)

    rows = scaler.inverse_transform(model.sample(1000, random_state=seed))
    real = scaler.inverse_transform(X_train)
    print("1000 new rows. Column means, real and new:")
    for name, a, b in zip(names, real.mean(axis=0), rows.mean(axis=0), strict=True):
        print(f"    {name:<20} {a:9.4g} {b:9.4g}")

    nearest = NearestNeighbors(n_neighbors=1).fit(X_train)
    new, test = (nearest.kneighbors(a)[0] for a in (scaler.transform(rows), X_test))
    print(
        f"Median distance to the nearest training row: {np.median(new):.2f} for new rows, "
        f"{np.median(test):.2f} for test rows."
    )

    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    x, y = 1, 4  # texture and smoothness
    panels = (real, "Real rows"), (rows[: len(real)], "As many new rows")
    for ax, (points, title) in zip(axes, panels, strict=False):
        ax.scatter(points[:, x], points[:, y], s=6, alpha=0.5)
        ax.set(xlabel=names[x], ylabel=names[y], title=title)
    low, high = np.quantile(np.r_[panels[0][0], panels[1][0]][:, [x, y]], [0, 1], axis=0)
    for ax in axes[:2]:
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes[2].scatter(X_train[:, x], X_train[:, y], s=4, alpha=0.3)
    field = ScoreFieldDisplay.from_estimator(model, X_train, (x, y), n_points=16, ax=axes[2])
    field.ax_.set(
        xlabel=f"{names[x]} (scaled)",
        ylabel=f"{names[y]} (scaled)",
        title="Score field (other columns at their medians)",
    )
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {picture}. All this took {perf_counter() - start:.0f} seconds.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="quickstart.png")
    main(**vars(parser.parse_args()))
