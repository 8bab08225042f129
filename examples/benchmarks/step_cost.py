"""
What a training step costs beside the bare network
==================================================

A step of ``DiffusionScoreEstimator`` picks rows, draws levels and noise, goes forward and
backward, clips, moves the weights and averages them.  The bare step is forward, mean square,
backward and fused optimiser of the same network on the same number of rows (each row is noised
twice, by e and by -e).  Both run by turns in one process on one thread, so that what slows the
machine slows both; the median of the ratios is printed, a line of JSON for each network.

    python examples/benchmarks/step_cost.py
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

from skscore._backend.batches import Portion, Split, batch_indices
from skscore._backend.convert import generator
from skscore._backend.fitted import NetworkSpec
from skscore._backend.row_source import RowSource
from skscore._backend.training import Plan, TrainingRun, _run_round, _Trainer
from skscore.losses import DiffusionScoreMatching
from skscore.networks import automatic_architecture
from skscore.noise import VarianceExploding

NETWORKS = {10: "resnet", 2: "mlp"}
"""Kinds by the number of columns: what "auto" takes there for some thousand rows."""
SIGMA_RANGE = (0.002, 80.0)


def network(d, kind, **architecture):
    """What builds the network of all levels."""
    levels = {"sigma_range": SIGMA_RANGE, "activation": "silu", "conservative": False}
    return NetworkSpec(kind, d, **architecture, **levels)


def ours(spec, n_rows, batch_size):
    """A function that takes a number of training steps."""
    d = spec.n_features
    X = np.random.RandomState(0).standard_normal((n_rows, d)).astype(np.float32)
    nothing = np.zeros((0, d))
    rows = RowSource(X, lambda part: part, nothing, nothing, torch.device("cpu"))
    loss = DiffusionScoreMatching(VarianceExploding(), *SIGMA_RANGE)
    return stepper(spec.build(0), loss, rows, n_rows, batch_size)


def stepper(network, loss, rows, n_rows, batch_size):
    """A function that takes a number of steps of a network."""
    training, source = Portion(torch.arange(n_rows)), generator(0)
    plan = Plan(1, batch_size, 0.003, patience=None, tol=0.0)
    run = TrainingRun("benchmark", loss, rows, Split(training), plan)
    trainer, batches = _Trainer(network, 0.003), batch_indices(training, batch_size, source)
    return lambda n: _run_round(trainer, run, batches, n, source)


def bare(spec, batch_size):
    """A function that takes a number of bare steps on twice the batch."""
    model, n, d = spec.build(0), 2 * batch_size, spec.n_features
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, fused=True)
    y, v = torch.randn(2, n, d, generator=generator(1))
    theta = torch.rand(n, 1, generator=generator(2))

    def run(n_steps):
        for _ in range(n_steps):
            optimizer.zero_grad()
            (model(y, theta) - v).square().mean().backward()
            optimizer.step()

    return run


def microseconds(run, n_steps):
    start = time.process_time()
    run(n_steps)
    return 1e6 * (time.process_time() - start) / n_steps


def measure(d, kind, *, n_rows=5000, batch_size=256, n_steps=100, n_repeats=15):
    """Both by turns: medians in microseconds, and the median of the ratios."""
    spec = network(d, kind, **automatic_architecture(kind, n_rows, d))
    step, plain = ours(spec, n_rows, batch_size), bare(spec, batch_size)
    for run in (step, plain):
        run(min(n_steps, 20))
    times = [(microseconds(step, n_steps), microseconds(plain, n_steps)) for _ in range(n_repeats)]
    ratios = [a / b for a, b in times]
    return {
        "d": d,
        "network": kind,
        "n_rows": n_rows,
        "batch_size": batch_size,
        "step_us": round(statistics.median(a for a, _ in times), 1),
        "bare_us": round(statistics.median(b for _, b in times), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]],
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--steps", type=int, default=100, help="steps between two turns")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for d, kind in NETWORKS.items():
        cell = measure(d, kind, n_steps=options.steps, n_repeats=options.repeats)
        print(json.dumps(cell), flush=True)


if __name__ == "__main__":
    main()
