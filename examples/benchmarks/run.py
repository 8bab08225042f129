"""Ours and its peers side by side: the same rows, seeds and threads, one process for each cell.

``python run.py`` runs all contestants whose packages are installed on the toys and scikit-learn's
bundled tables, and prints the tables of the results.  Cells that are in the file already are not
run again, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import report
import tables
from contestants import CONTESTANTS

HERE = Path(__file__).resolve().parent
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
KEY = ("table", "contestant", "seed", "rows")


def cells(asked: argparse.Namespace) -> list[dict]:
    """All that was asked for: seed by seed, and within a seed contestant by contestant."""
    return [
        {"table": table, "contestant": contestant, "seed": seed, "rows": asked.rows}
        for seed in asked.seeds
        for contestant in asked.contestants
        for table in asked.tables
    ]


def run_cell(cell: dict, asked: argparse.Namespace) -> dict:
    """The record of a cell, run in a process of its own; with an error where it failed."""
    command = [sys.executable, str(HERE / "measure.py"), cell["table"], cell["contestant"]]
    command += [str(cell["seed"]), "--rows", str(cell["rows"])]
    command += ["--data", asked.data] if asked.data else []
    threads = {f"{name}_NUM_THREADS": str(asked.threads) for name in THREADS}
    try:
        done = subprocess.run(
            command,
            env=os.environ | threads,
            capture_output=True,
            text=True,
            timeout=asked.timeout,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return cell | {"error": f"not done after {asked.timeout:g} seconds"}
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()
        return cell | {"error": said[-1]}
    return cell | {"threads": asked.threads} | json.loads(done.stdout.splitlines()[-1])


def run_all(todo: Iterable[dict], asked: argparse.Namespace) -> None:
    """Runs cells and appends a line for each as soon as it is done."""
    lock = Lock()

    def run_one(cell: dict) -> None:
        start = time.time()
        record = run_cell(cell, asked)
        with lock, open(asked.out, "a") as out:
            out.write(json.dumps(record) + "\n")
            print(_summary(record, time.time() - start), file=sys.stderr, flush=True)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(run_one, todo))


def _summary(record: dict, seconds: float) -> str:
    name = f"{record['contestant']:>17} {record['table']:<14} seed {record['seed']}"
    if "error" in record:
        return f"{name}: {record['error']}"
    said = f"log-density {record['log_density']:.3f}, " if "log_density" in record else ""
    said += f"two-sample {record['two_sample_accuracy']:.3f}, fit {record['fit_seconds']:.1f} s"
    return f"{name}: {said}, all {seconds:.0f} s"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", help="a folder of .npz (array X) and .csv tables, added to the bundled ones")
    add("--tables", nargs="+", help="names of tables (default: all)")
    add("--contestants", nargs="+", choices=list(CONTESTANTS), help="(default: all)")
    add("--seeds", nargs="+", type=int, default=[0])
    add("--rows", type=int, default=tables.MOST_ROWS, help="at most so many to train on")
    add("--out", default="results.jsonl", help="lines of JSON, appended")
    add("--timeout", type=float, default=1800.0, help="seconds of a cell")
    add("--jobs", type=int, default=1, help="cells at a time")
    add("--threads", type=int, default=1, help="of a cell")
    add("--retry", action="store_true", help="run cells again that failed")
    asked = parser.parse_args()
    asked.tables = asked.tables or tables.names(asked.data)
    unknown = set(asked.tables) - set(tables.names(asked.data))
    if unknown:
        parser.error(f"there are no tables {sorted(unknown)}: {tables.names(asked.data)}")
    asked.contestants = [c for c in asked.contestants or CONTESTANTS if _is_ready(c)]
    return asked


def _is_ready(name: str) -> bool:
    missing = CONTESTANTS[name].missing
    if missing:
        print(f"{name} is left out: {', '.join(missing)} is not installed", file=sys.stderr)
    return not missing


def main() -> None:
    asked = options()
    known = report.read([asked.out]) if Path(asked.out).exists() else []
    done = {tuple(r[k] for k in KEY) for r in known if not (asked.retry and "error" in r)}
    todo = [cell for cell in cells(asked) if tuple(cell[k] for k in KEY) not in done]
    print(f"{len(todo)} cells to run, {len(cells(asked)) - len(todo)} known", file=sys.stderr)
    run_all(todo, asked)
    print(report.text(report.read([asked.out])))


if __name__ == "__main__":
    main()
