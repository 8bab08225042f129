"""From a real table to a trusted model of its density, in under a minute.

Ten measurements of 569 cell nuclei.  We fit the density of the table by the scores of all noise
levels, hold it to the two densities that scikit-learn has, draw new rows and see that
they are no copies, choose the level of a score at one level, and make a picture.
"""

import argparse
from time import perf_counter

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skscore import DenoisingScoreEstimatorCV, DensityScoreEstimator, DiffusionScoreEstimator
from skscore.datasets import dequantize
from skscore.metrics import data_copying_share
from skscore.plotting import ScoreFieldDisplay


def load(seed):
    """Names of the columns, and scaled rows to fit to and to test on."""
    table = load_breast_cancer()
    names = [name.removeprefix("mean ") for name in table.feature_names[:10]]
    # Rounded measurements repeat; spread each over its last digit, so that a density exists.
    X = dequantize(table.data[:, :10], random_state=seed)
    X_train, X_test = train_test_split(X, test_size=0.2, random_state=seed)
    # For the kernel density, which knows no units; the others would not need it.
    scaler = StandardScaler().fit(X_train)
    return names, scaler.transform(X_train), scaler.transform(X_test)


def fit_densities(X, seed):
    """Our density, without a setting, and scikit-learn's two, each with its best setting."""
    grids = {
        "GaussianMixture": (
            GaussianMixture(random_state=seed),
            {"density__n_components": range(1, 9)},
        ),
        "KernelDensity": (KernelDensity(), {"density__bandwidth": np.geomspace(0.1, 1, 10)}),
    }
    fitted = {"DiffusionScoreEstimator": DiffusionScoreEstimator(random_state=seed).fit(X)}
    for name, (density, grid) in grids.items():
        search = GridSearchCV(DensityScoreEstimator(density), grid, cv=3, n_jobs=2).fit(X)
        ((key, best),) = search.best_params_.items()
        fitted[f"{name}, {key.removeprefix('density__')}={best:.3g}"] = search.best_estimator_
    return fitted


def compare_densities(densities, X_test):
    """Mean log-densities, and ours minus theirs row by row."""
    print("Mean log-density of the test rows, in nats (higher is better), and what ours gains:")
    nats = {name: density.score_samples(X_test) for name, density in densities.items()}
    ours = nats["DiffusionScoreEstimator"]
    for name, theirs in nats.items():
        gains = ours - theirs
        error = gains.std(ddof=1) / len(gains) ** 0.5
        gained = "" if theirs is ours else f"  {gains.mean():+.2f} +- {error:.2f}"
        print(f"    {theirs.mean():7.2f}  {name}{gained}")


def compare_draws(rows, X_train, X_test):
    """New rows beside test rows: how far from the training rows are they?"""
    nearest = NearestNeighbors(n_neighbors=1).fit(X_train)
    new, test = (np.median(nearest.kneighbors(X)[0]) for X in (rows, X_test))
    share, error = data_copying_share(rows, X_train, X_test, return_std_error=True)
    print(
        f"    median distance to the nearest training row {new:.2f}, of test rows {test:.2f};\n"
        f"    share of draws that are nearer than test rows {share:.2f} +- {error:.2f} "
        "(0.5: as new as these, 1: copies)"
    )


def choose_level(X, seed):
    """A score at one noise level, which is chosen by cross-validation."""
    sigmas = np.geomspace(0.001, 1, 10)
    model = DenoisingScoreEstimatorCV(sigmas, cv=3, random_state=seed).fit(X)
    print("Noise level of a DenoisingScoreEstimator, and Hyvarinen's criterion of held-out folds:")
    for k, value in enumerate(model.cv_results_["mean_test_score"]):
        print(f"    {sigmas[k]:5.3f}  {value:8.1f}{'  <- chosen' * (k == model.best_index_)}")
    return model


def draw_picture(path, names, X_train, rows, model):
    """Two columns of real and of new rows, and the score field."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    x, y = 1, 4  # texture and smoothness
    panels = (X_train, "Real rows"), (rows[: len(X_train)], "As many new rows")
    low, high = np.quantile(np.r_[panels[0][0], panels[1][0]][:, [x, y]], [0, 1], axis=0)
    for ax, (points, title) in zip(axes, panels, strict=False):
        ax.scatter(points[:, x], points[:, y], s=6, alpha=0.5)
        ax.set(title=title, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes[2].scatter(X_train[:, x], X_train[:, y], s=4, alpha=0.3)
    ScoreFieldDisplay.from_estimator(model, X_train, (x, y), n_points=16, ax=axes[2])
    axes[2].set_title("Score field (other columns at their medians)")
    for ax in axes:
        ax.set(xlabel=f"{names[x]} (scaled)", ylabel=f"{names[y]} (scaled)")
    figure.savefig(path, dpi=120)


def main(seed, picture):
    start = perf_counter()
    names, X_train, X_test = load(seed)
    print(f"{len(X_train)} training rows and {len(X_test)} test rows of {len(names)} columns.")
    densities = fit_densities(X_train, seed)
    compare_densities(densities, X_test)
    model = densities["DiffusionScoreEstimator"]
    rows = model.sample(1000, random_state=seed)
    print("1000 draws of the DiffusionScoreEstimator:")
    compare_draws(rows, X_train, X_test)
    one_level = choose_level(X_train, seed)
    print(f"1000 draws at level {one_level.sigma_:.3f}:")
    compare_draws(one_level.sample(1000, random_state=seed), X_train, X_test)
    draw_picture(picture, names, X_train, rows, model)
    print(f"The picture is in {picture}. All this took {perf_counter() - start:.0f} seconds.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="quickstart.png")
    main(**vars(parser.parse_args()))
