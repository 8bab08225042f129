"""Pictures of the results: accuracy against the time to fit, and the time to evaluate."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from contestants import CONTESTANTS, OURS

N_COLUMNS = 4
DEEPEST = 3.0  # nats below the best; what is lower is drawn on the edge
MARKERS = dict(zip(CONTESTANTS, "*osD^v<>P", strict=True))


def draw_all(records: list[dict], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    dense = [r for r in records if "log_density" in r]
    if dense:
        _accuracy(dense).savefig(folder / "accuracy.png", dpi=120)
        _evaluation(dense).savefig(folder / "evaluation.png", dpi=120)


def _accuracy(records: list[dict]) -> plt.Figure:
    """A panel for each table: log-density against seconds to fit, a mark for each seed."""
    tables = list(dict.fromkeys(r["table"] for r in records))
    n_rows = -(-len(tables) // N_COLUMNS)
    figure, axes = plt.subplots(
        n_rows, N_COLUMNS, figsize=(3.2 * N_COLUMNS, 2.6 * n_rows), squeeze=False
    )
    for ax, table in zip(axes.flat, tables, strict=False):
        _accuracy_of_table(ax, [r for r in records if r["table"] == table], table)
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    return _finished(figure, axes.flat[0], "processor seconds to fit", "held-out log-density, nats")


def _accuracy_of_table(ax: plt.Axes, records: list[dict], table: str) -> None:
    best = max(r["log_density"] for r in records)
    for name in CONTESTANTS:
        own = [r for r in records if r["contestant"] == name]
        depths = np.maximum([r["log_density"] for r in own], best - DEEPEST)
        ax.plot([r["fit_seconds"] for r in own], depths, MARKERS[name], **_look(name))
    truths = [r["log_density"] + r["gap"] for r in records if "gap" in r]
    if truths:
        ax.axhline(np.mean(truths), color="black", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", title=table)


def _evaluation(records: list[dict]) -> plt.Figure:
    """Seconds for the log-density of 10,000 rows against the number of columns."""
    figure, ax = plt.subplots(figsize=(6.5, 5), layout="constrained")
    for name in CONTESTANTS:
        own = sorted((r["d"], r["evaluate_seconds"]) for r in records if r["contestant"] == name)
        columns = sorted({d for d, _ in own})
        seconds = [np.mean([s for e, s in own if e == d]) for d in columns]
        ax.plot(columns, seconds, MARKERS[name] + "-", linewidth=0.8, **_look(name))
    ax.set(xscale="log", yscale="log")
    return _finished(figure, ax, "columns", "processor seconds for 10,000 log-densities")


def _look(name: str) -> dict:
    index = list(CONTESTANTS).index(name)
    size = 11 if name == OURS else 6
    return {"label": name, "color": f"C{index}", "markersize": size, "alpha": 0.8}


def _finished(figure: plt.Figure, ax: plt.Axes, x: str, y: str) -> plt.Figure:
    handles, labels = ax.get_legend_handles_labels()
    known = [i for i, handle in enumerate(handles) if len(handle.get_xdata())]
    figure.legend(
        [handles[i] for i in known], [labels[i] for i in known], loc="outside upper center", ncols=4
    )
    figure.supxlabel(x)
    figure.supylabel(y)
    return figure
