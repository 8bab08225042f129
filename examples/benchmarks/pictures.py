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
COLUMNS = (1, 2, 5, 10, 20, 50, 100)
SECONDS = (0.02, 1000.0)
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
        n_rows,
        N_COLUMNS,
        figsize=(3.2 * N_COLUMNS, 2.6 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for ax, table in zip(axes.flat, tables, strict=False):
        _accuracy_of_table(ax, [r for r in records if r["table"] == table], table)
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    return _finished(figure, "processor seconds to fit", "held-out log-density, nats")


def _accuracy_of_table(ax: plt.Axes, records: list[dict], table: str) -> None:
    best = max(r["log_density"] for r in records)
    for name in CONTESTANTS:
        own = [r for r in records if r["contestant"] == name]
        depths = np.maximum([r["log_density"] for r in own], best - DEEPEST)
        ax.plot([r["fit_seconds"] for r in own], depths, MARKERS[name], **_look(name))
    truths = [r["log_density"] + r["gap"] for r in records if "gap" in r]
    if truths:
        ax.axhline(np.mean(truths), color="black", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlim=SECONDS, title=table)
    ax.margins(y=0.15)


def _evaluation(records: list[dict]) -> plt.Figure:
    """Seconds for 10,000 log-densities against columns, on the tables of the most rows."""
    most = max(r["n"] for r in records)
    records = [r for r in records if r["n"] == most]
    figure, ax = plt.subplots(figsize=(6.5, 5), layout="constrained")
    for name in CONTESTANTS:
        own = sorted((r["d"], r["evaluate_seconds"]) for r in records if r["contestant"] == name)
        columns = sorted({d for d, _ in own})
        seconds = [np.mean([s for e, s in own if e == d]) for d in columns]
        ax.plot(columns, seconds, MARKERS[name] + "-", linewidth=0.8, **_look(name))
    ax.set(xscale="log", yscale="log", title=f"{most} training rows")
    ax.set_xticks(COLUMNS, COLUMNS)
    ax.minorticks_off()
    return _finished(figure, "columns", "processor seconds for 10,000 log-densities")


def _look(name: str) -> dict:
    index = list(CONTESTANTS).index(name)
    size = 11 if name == OURS else 6
    return {"label": name, "color": f"C{index}", "markersize": size, "alpha": 0.8}


def _finished(figure: plt.Figure, x: str, y: str) -> plt.Figure:
    """With the names of the axes, and one legend of whoever is drawn anywhere."""
    drawn = [ax.get_legend_handles_labels() for ax in figure.axes]
    handles = {
        label: handle
        for pair in drawn
        for handle, label in zip(*pair, strict=True)
        if len(handle.get_xdata())
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    figure.supxlabel(x)
    figure.supylabel(y)
    return figure
