"""
How time and memory grow with the rows, the columns and the network
===================================================================

Every cell is a process of its own, on one thread, and prints a line of JSON; then come the slopes
of the logarithms and a picture.  What the mathematics asks: a step does not depend on the number
of rows, an epoch grows in proportion; the exact trace of a network of two hidden layers, and the
steps of the sliced and denoising losses, grow with the columns through the first and last layer
only; the implicit loss takes a backward pass for each column.

    python examples/benchmarks/scaling.py [--quick] [--picture scaling.png] [--csv docs/benchmarks]
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from step_cost import microseconds, network, ours, stepper

from skscore import DiffusionScoreEstimator
from skscore._backend.convert import CHUNK
from skscore._backend.evaluators import Evaluator
from skscore._backend.fitted import NetworkSpec
from skscore._backend.row_source import RowSource
from skscore.losses import DenoisingScoreMatching, ImplicitScoreMatching, SlicedScoreMatching
from skscore.noise import GaussianNoise

WIDTHS = (192, 192)
SIGMA = 0.1
LOSSES = {
    "denoising": DenoisingScoreMatching(GaussianNoise(SIGMA), "sigma2"),
    "sliced": SlicedScoreMatching(),
    "implicit": ImplicitScoreMatching(),
}
FULL = {
    "rows": [1000, 10_000, 100_000, 1_000_000],
    "columns": [2, 5, 10, 20, 50, 100, 200],
    "width": [32, 64, 128, 256, 512],
}
QUICK = {"rows": [1000, 4000], "columns": [2, 8], "width": [16, 32]}
LABELS = {"rows": "rows n", "columns": "columns d", "width": "units of a hidden layer"}
MEASURES = {
    "seconds_per_1000_steps": "a step",
    "seconds_per_epoch": "an epoch",
    "denoising_us": "denoising step",
    "sliced_us": "sliced step",
    "implicit_us": "implicit step, exact trace by products",
    "divergence_us": "exact divergence, two hidden layers",
    "score_us": "log-density of a row",
    "step_us": "a step",
}
"""What the slopes of the documentation are called there."""
PANELS = [
    ("rows", ["seconds_per_1000_steps", "seconds_per_epoch", "fit_seconds"], "seconds"),
    ("rows", ["extra_mb", "data_mb"], "MiB above an idle process"),
    ("columns", ["denoising_us", "sliced_us", "implicit_us", "divergence_us", "score_us"], "µs"),
    ("width", ["step_us"], "µs"),
]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fastest(run, n_calls, n_repeats=3):
    """Least microseconds of a call, after one to warm up."""
    run(1)
    return round(min(microseconds(run, n_calls) for _ in range(n_repeats)), 1)


def write_table(path, n, d):
    """A float32 file of n rows of d columns, written in pieces."""
    rng = np.random.RandomState(0)
    with open(path, "wb") as file:
        for start in range(0, n, 10_000):
            size = min(10_000, n - start), d
            file.write(rng.standard_normal(size).astype(np.float32).tobytes())


def estimator():
    return DiffusionScoreEstimator(network="mlp", max_iter=1, random_state=0, device="cpu")


def perceptron(d, widths=WIDTHS):
    """What builds a perceptron of all levels."""
    return network(d, "mlp", hidden_layer_sizes=widths)


def rows_cell(n, quick):
    """A round on a memory map of n rows: what a step, an epoch and a fit take."""
    d = 10
    estimator().fit(np.random.RandomState(1).standard_normal((500, d)))  # so all is loaded
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        write_table(path, n, d)
        before = peak_mb()
        X = np.memmap(path, dtype=np.float32, mode="r", shape=(n, d))
        start = time.process_time()
        estimator().fit(X)
        seconds, extra = time.process_time() - start, peak_mb() - before
        del X
    step = fastest(ours(perceptron(d), n, 256), 10 if quick else 150)
    size = min(max(256, n // 1000), 1024)
    larger = step if size == 256 else fastest(ours(perceptron(d), n, size), 50)
    return {
        "seconds_per_1000_steps": round(step / 1000, 3),
        "seconds_per_epoch": round(larger * n / size / 1e6, 4),
        "batch_size": size,
        "fit_seconds": round(seconds, 3),
        "data_mb": round(4 * n * d / 2**20, 2),
        "extra_mb": round(extra, 1),
    }


def step_of(loss, d):
    """A function that takes a number of steps of a loss of one level."""
    X = np.random.RandomState(0).standard_normal((2000, d)).astype(np.float32)
    nothing = np.zeros((0, d))
    rows = RowSource(X, lambda part: part, nothing, nothing, torch.device("cpu"))
    one_level = NetworkSpec("mlp", d, WIDTHS, "silu", False, SIGMA).build(0)
    return stepper(one_level, loss, rows, len(X), 256)


def columns_cell(d, quick):
    """Steps of the losses of one level; a row's exact trace and its log-density."""
    cell = {}
    for name, loss in LOSSES.items():
        n_steps = 2 if quick or (name == "implicit" and d > 20) else 50
        cell[f"{name}_us"] = fastest(step_of(loss, d), n_steps, 2)
    net = Evaluator(perceptron(d).build(0).at(SIGMA), torch.device("cpu"))
    Z = np.random.RandomState(0).standard_normal((CHUNK, d))

    def trace(n_calls):
        for _ in range(n_calls):
            net.score_and_divergence(Z, np.eye(d))

    fitted = estimator().set_params(hidden_layer_sizes=WIDTHS).fit(Z)
    start = time.process_time()
    fitted.score_samples(Z[: 16 if quick else 256])
    seconds = time.process_time() - start
    cell["divergence_us"] = round(fastest(trace, 2 if quick else 10) / CHUNK, 2)
    cell["score_us"] = round(1e6 * seconds / (16 if quick else 256), 1)
    return cell


def width_cell(width, quick):
    """A step of the diffusion estimator with two layers of a width."""
    return {"step_us": fastest(ours(perceptron(10, (width, width)), 5000, 256), 5 if quick else 60)}


CELLS = {"rows": rows_cell, "columns": columns_cell, "width": width_cell}


def measure(kind, size, quick):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return {"against": kind, "size": size, **CELLS[kind](size, quick)}


def measure_apart(kind, size, quick):
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--cell", kind, str(size), *["--quick"] * quick]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def slopes(cells):
    """Log-log slopes of every measured number: over all sizes, and over the upper half."""
    found = []
    for kind in CELLS:
        mine = [cell for cell in cells if cell["against"] == kind]
        if len(mine) < 2:
            continue
        for name in [n for n in mine[0] if n not in ("against", "size", "batch_size", "data_mb")]:
            size = np.log([cell["size"] for cell in mine])
            value = np.log([max(cell[name], 1e-9) for cell in mine])
            half = min(len(mine) // 2, len(mine) - 2)
            both = [np.polyfit(size[i:], value[i:], 1)[0].round(3) for i in (0, half)]
            found.append({"against": kind, "slope_of": name, "all": both[0], "upper": both[1]})
    return found


def slope_rows(cells):
    """A header, and a line for each slope that the documentation has."""
    rows = [["against", "measure", "all", "upper half"]]
    for slope in (found for found in slopes(cells) if found["slope_of"] in MEASURES):
        sizes = [cell["size"] for cell in cells if cell["against"] == slope["against"]]
        against = f"{slope['against']}, {min(sizes):,} to {max(sizes):,}"
        numbers = [f"{slope[part]:.2f}" for part in ("all", "upper")]
        rows.append([against, MEASURES[slope["slope_of"]], *numbers])
    return rows


def draw(cells, path):
    figure, axes = plt.subplots(1, len(PANELS), figsize=(4.5 * len(PANELS), 4))
    for ax, (kind, names, unit) in zip(axes, PANELS, strict=True):
        mine = [cell for cell in cells if cell["against"] == kind]
        for name in names:
            sizes, values = zip(*((cell["size"], cell[name]) for cell in mine), strict=True)
            ax.loglog(sizes, values, "o-", label=name.replace("_us", "").replace("_", " "))
        ax.set(xlabel=LABELS[kind], ylabel=unit)
        ax.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all")
    parser.add_argument("--picture", default="scaling.png")
    parser.add_argument("--csv", help="a folder for the slopes as data, growth.csv")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.cell:
        kind, size = options.cell
        print(json.dumps(measure(kind, int(size), options.quick)), flush=True)
        return
    cells = []
    for kind, sizes in (QUICK if options.quick else FULL).items():
        for size in sizes:
            cells.append(measure_apart(kind, size, options.quick))
            print(json.dumps(cells[-1]), flush=True)
    for slope in slopes(cells):
        print(json.dumps(slope), flush=True)
    if options.csv:
        with open(Path(options.csv) / "growth.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(slope_rows(cells))
    draw(cells, options.picture)


if __name__ == "__main__":
    main()
