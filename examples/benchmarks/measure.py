"""One cell of the benchmark, a contestant on a table with a seed, as one line of JSON.

``python measure.py TABLE CONTESTANT SEED [--data FOLDER] [--rows N]``.  ``run.py`` starts one
process for each cell, so that times and peak memory are those of the cell alone.  Log-densities
are of the standardised rows, in nats; times are processor seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timezone

import numpy as np
import tables
from contestants import CONTESTANTS, Fitted
from tables import Table

from skscore import metrics

MANY = 10_000  # rows that are drawn and evaluated for the times
FEW = 1000  # rows whose time is scaled where many would take longer than the next number
MOST_SECONDS = 20.0
FINER_ROWS = 300
FLAT = ("checkerboard",)  # of true score zero: there is no relative divergence


def measure(table_name: str, contestant: str, seed: int, folder: str | None, n_rows: int) -> dict:
    """All numbers of a cell."""
    table = tables.load(table_name, seed, folder, n_rows)
    peer = CONTESTANTS[contestant]
    start_mb, (fitted, seconds) = _peak_mb(), _timed(peer.fit, table.train, seed)
    record = {
        "n": len(table.train),
        "d": table.train.shape[1],
        "n_test": len(table.test),
        "fit_seconds": seconds,
        "notes": fitted.notes,
    }
    record |= _of_draws(fitted, table, seed)
    if fitted.log_density is not None:
        record |= _of_log_density(fitted, table)
    if fitted.score is not None and table.law is not None and table_name not in FLAT:
        divergence = metrics.relative_fisher_divergence(fitted.score(table.test), table.true_score)
        record["fisher"] = divergence
    record |= {"start_mb": start_mb, "peak_mb": _peak_mb(), "versions": peer.versions}
    return record


def _of_log_density(fitted: Fitted, table: Table) -> dict:
    values = fitted.log_density(table.test)
    rows = np.resize(np.concatenate([table.test, table.train]), (MANY, table.test.shape[1]))
    n, seconds = _many(lambda n: fitted.log_density(rows[:n]))
    mean, error = _mean(values)
    record = {
        "log_density": mean,
        "log_density_error": error,
        "evaluate_seconds": seconds,
        "evaluate_timed_rows": n,
        "log_densities": np.round(values, 4).tolist(),
    }
    if table.law is not None:
        record["gap"], record["gap_error"] = _mean(table.true_log_density - values)
    if fitted.finer_log_density is not None:
        off = values[:FINER_ROWS] - fitted.finer_log_density(table.test[:FINER_ROWS])
        record |= {"solver_error": float(np.abs(off).mean()), "solver_bias": float(off.mean())}
    return record


def _of_draws(fitted: Fitted, table: Table, seed: int) -> dict:
    draws = fitted.sample(len(table.test), seed)
    n, seconds = _many(lambda n: fitted.sample(n, seed))
    finite = np.isfinite(draws).all(1)
    draws = draws[finite]
    test = metrics.classifier_two_sample_test(table.test, draws, random_state=seed)
    return {
        "wasserstein": metrics.sliced_wasserstein_distance(table.test, draws, random_state=seed),
        "two_sample_accuracy": test.statistic,
        "draw_seconds": seconds,
        "draw_timed_rows": n,
        "lost_draws": int((~finite).sum()),
    }


def _many(call: Callable[[int], object]) -> tuple[int, float]:
    """Rows that were timed, and the seconds of many: scaled where they would take too long."""
    scaled = _timed(call, FEW)[1] * MANY / FEW
    return (FEW, scaled) if scaled > MOST_SECONDS else (MANY, _timed(call, MANY)[1])


def _timed(call: Callable, *arguments: object) -> tuple[object, float]:
    start = time.process_time()
    result = call(*arguments)
    return result, time.process_time() - start


def _mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("contestant", choices=list(CONTESTANTS))
    parser.add_argument("seed", type=int)
    parser.add_argument("--data")
    parser.add_argument("--rows", type=int, default=tables.MOST_ROWS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    record = measure(asked.table, asked.contestant, asked.seed, asked.data, asked.rows)
    machine = {"machine": platform.machine(), "system": platform.system()}
    when = {"date": datetime.now(timezone.utc).date().isoformat()}
    print(json.dumps(record | machine | when))


if __name__ == "__main__":
    main()
