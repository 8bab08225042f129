"""Scikit-learn's example of new digits, with a search over kinds of densities.

The example "Kernel Density Estimation" of scikit-learn reduces pictures of digits to 15 principal
components, searches a bandwidth, draws new rows and carries them back to pictures.  Here
one search compares scalings and kinds of densities as well, which a plain Pipeline cannot: only
one that keeps densities right makes their log-likelihoods comparable.
"""

import argparse
from time import perf_counter

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skscore import DensityPipeline, DiffusionScoreEstimator
from skscore.metrics import classifier_two_sample_test


def search_kinds(X, seed):
    """The best candidate of each kind of density, fitted, by 3-fold log-likelihood."""
    scalings = {"scale": ["passthrough", StandardScaler()]}
    kernel, mixture = KernelDensity(), GaussianMixture(random_state=seed)
    grid = [
        {"density": [kernel], "density__bandwidth": np.geomspace(0.3, 6, 9), **scalings},
        {"density": [mixture], "density__n_components": [1, 5, 10, 20], **scalings},
        {"density": [DiffusionScoreEstimator(random_state=seed)]},  # scales by itself
    ]
    pipeline = DensityPipeline([("scale", "passthrough"), ("density", kernel)])
    folds = KFold(3, shuffle=True, random_state=seed)
    results = GridSearchCV(pipeline, grid, cv=folds).fit(X).cv_results_
    best = {}
    for number in np.argsort(results["rank_test_score"])[::-1]:
        params = results["params"][number]
        best[type(params["density"]).__name__] = params, results["mean_test_score"][number]
    return {
        kind: (DensityPipeline(pipeline.steps).set_params(**params).fit(X), params, value)
        for kind, (params, value) in best.items()
    }


def draw(axes, rows, title):
    digits = np.pad(rows.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    page = digits.reshape(4, 11, 10, 10).swapaxes(1, 2).reshape(40, 110)
    axes.imshow(page, cmap="binary", vmin=0, vmax=16)
    axes.set_title(title)
    axes.set_axis_off()


def main(seed, picture):
    start = perf_counter()
    train, test = train_test_split(load_digits().data, test_size=0.3, random_state=seed)
    pca = PCA(n_components=15).fit(train)
    X, X_test = pca.transform(train), pca.transform(test)
    print(f"{len(X)} training rows and {len(X_test)} test rows of 15 components.")

    models = search_kinds(X, seed)
    print("Log-density of a row in nats, by cross-validation and on test rows:")
    for kind, (model, params, value) in models.items():
        rest = [f"{k.removeprefix('density__')}={v:.3g}" for k, v in params.items() if "__" in k]
        print(f"    {value:7.2f} {model.score(X_test):7.2f}  {kind} {' '.join(rest)}")

    print(
        f"{len(X_test)} new rows of each. Accuracy of a classifier that tells them from test rows\n"
        "(0.5: it cannot), and median distance to the nearest training row:"
    )
    nearest = NearestNeighbors(n_neighbors=1).fit(X)
    drawn = {kind: model.sample(len(X_test), seed) for kind, (model, *_) in models.items()}
    for kind, rows in {"test rows themselves": X_test, **drawn}.items():
        distance = np.median(nearest.kneighbors(rows)[0])
        told = "    "
        if rows is not X_test:
            told = f"{classifier_two_sample_test(rows, X_test, random_state=seed).statistic:.2f}"
        print(f"    {told} {distance:6.1f}  {kind}")

    figure, axes = plt.subplots(3, 1, figsize=(8, 8.5), layout="constrained")
    draw(axes[0], pca.inverse_transform(X_test[:44]), "Real digits (15 components)")
    titles = {"KernelDensity": axes[1], "DiffusionScoreEstimator": axes[2]}
    for kind, panel in titles.items():
        draw(panel, pca.inverse_transform(drawn[kind][:44]), f"New digits, {kind}")
    figure.savefig(picture, dpi=120)
    print(f"The picture is in {picture}. All this took {perf_counter() - start:.0f} seconds.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="sample_digits.png")
    main(**vars(parser.parse_args()))
