"""Tables and pictures of the lines that ``run.py`` writes.

``python report.py results.jsonl [more.jsonl] [--seed 0] [--out FILE] [--csv FOLDER]``, and
``--pictures FOLDER``.
Numbers are means over the seeds that a contestant has done; the best of each row is bold.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pictures
from contestants import CONTESTANTS, OURS

# field: (title, digits, whether higher is better)
METRICS = {
    "log_density": ("Held-out log-density, nats", 2, True),
    "gap": ("Gap to the truth, nats: mean of log p - log p_model", 3, False),
    "fisher": ("Relative Fisher divergence of the score", 3, False),
    "wasserstein": ("Sliced Wasserstein distance of draws to test rows", 3, False),
    "two_sample_accuracy": ("Classifier two-sample accuracy, 0.5 is perfect", 3, False),
    "fit_seconds": ("Processor seconds to fit", 1, False),
    "draw_seconds": ("Processor seconds to draw 10,000 rows", 2, False),
    "evaluate_seconds": ("Processor seconds for the log-density of 10,000 rows", 2, False),
    "peak_mb": ("Peak memory of the process, MB, libraries included", 0, False),
    "solver_error": (
        "Error of the solver, nats: mean absolute difference to a finer one",
        5,
        False,
    ),
}
PERFECT = {"two_sample_accuracy": 0.5}  # what is below is noise, not better
UNRANKED = ("solver_error",)
Grid = dict[tuple[str, str], float]
Rows = list[list[str]]  # a header and lines


def read(paths: Iterable[str]) -> list[dict]:
    """One record a cell; of cells that were run again, the last."""
    lines = [line for path in paths for line in Path(path).read_text().splitlines() if line]
    records = [json.loads(line) for line in lines]
    cells = {(r["table"], r["contestant"], r["seed"], r["rows"]): r for r in records}
    return list(cells.values())


def means(records: list[dict], field: str) -> Grid:
    """Mean over the seeds of a field, by table and contestant."""
    values: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if field in record:
            values.setdefault((record["table"], record["contestant"]), []).append(record[field])
    return {key: float(np.mean(of_seeds)) for key, of_seeds in values.items()}


def metric_rows(records: list[dict], field: str) -> list[list[str]]:
    """A header, and a row for each table."""
    grid = means(records, field)
    contestants = [c for c in CONTESTANTS if any(c == key[1] for key in grid)]
    tables = list(dict.fromkeys(r["table"] for r in records))
    rows = [["table", *contestants]]
    for table in tables:
        values = {c: grid[table, c] for c in contestants if (table, c) in grid}
        if values:
            rows.append([table, *(_cell(values, c, field) for c in contestants)])
    return rows


def _cell(values: dict[str, float], contestant: str, field: str) -> str:
    if contestant not in values:
        return ""
    _, digits, higher = METRICS[field]
    ranks = {c: f"{max(v, PERFECT.get(field, v)):.{digits}f}" for c, v in values.items()}
    best = (max if higher else min)(ranks.values(), key=float)
    text = f"{values[contestant]:.{digits}f}"
    return f"**{text}**" if ranks[contestant] == best and field not in UNRANKED else text


def paired_rows(records: list[dict]) -> list[list[str]]:
    """Ours minus the best peer on the same test rows, with its standard error, by table.

    The best peer is that of the highest mean over the seeds that ours has done.  Rows are pooled
    over seeds; those of a table without a law can be in the tests of several seeds.
    """
    rows = [["table", "test rows", "best peer", "ours minus best peer, nats", "standard error"]]
    for table in dict.fromkeys(r["table"] for r in records):
        dense = [r for r in records if r["table"] == table and "log_densities" in r]
        ours = {(r["seed"], r["rows"]): r for r in dense if r["contestant"] == OURS}
        pooled = {
            c: [r for r in dense if r["contestant"] == c and (r["seed"], r["rows"]) in ours]
            for c in dict.fromkeys(r["contestant"] for r in dense)
        }
        peers = {c: rs for c, rs in pooled.items() if c != OURS and len(rs) == len(ours) > 0}
        if peers:
            best = max(peers, key=lambda c: np.mean([r["log_density"] for r in peers[c]]))
            difference = np.concatenate([_difference(ours, r) for r in peers[best]])
            error = difference.std(ddof=1) / len(difference) ** 0.5
            numbers = [f"{difference.mean():+.3f}", f"{error:.3f}"]
            rows.append([table, str(len(difference)), best, *numbers])
    return rows


def _difference(ours: dict[tuple[int, int], dict], peer: dict) -> np.ndarray:
    own = ours[peer["seed"], peer["rows"]]
    return np.subtract(own["log_densities"], peer["log_densities"])


def failed_rows(records: list[dict]) -> list[list[str]]:
    failed = [r for r in records if "error" in r]
    cells = [[r["contestant"], r["table"], str(r["seed"]), r["error"]] for r in failed]
    return [["contestant", "table", "seed", "error"], *cells]


def seed_rows(records: list[dict]) -> list[list[str]]:
    """Log-densities of all seeds in one cell, for contestants that have done more than one."""
    found = {
        (r["table"], r["contestant"], r["seed"]): r["log_density"]
        for r in records
        if "log_density" in r
    }
    seeds = sorted({seed for _, _, seed in found})
    pairs = {(contestant, seed) for _, contestant, seed in found}
    contestants = [c for c in CONTESTANTS if sum(c == name for name, _ in pairs) > 1]
    rows = [["table", *contestants]]
    for table in dict.fromkeys(table for table, _, _ in found) if contestants else ():
        values = [[found.get((table, c, seed)) for seed in seeds] for c in contestants]
        rows.append([table, *(", ".join(map(_two_digits, cell)) for cell in values)])
    return rows


def _two_digits(value: float | None) -> str:
    return "--" if value is None else f"{value:.2f}"


def all_tables(records: list[dict], seed: int | None = None) -> dict[str, tuple[str, Rows]]:
    """Titles and rows of all tables that have any, by name; of one seed where it is given."""
    of_seed = [r for r in records if seed in (None, r["seed"])]
    parts = {name: (title, metric_rows(of_seed, name)) for name, (title, *_) in METRICS.items()}
    parts["paired"] = f"Paired differences: {OURS} minus the best peer", paired_rows(of_seed)
    parts["seeds"] = "Held-out log-density on each seed, nats (-- was not run)", seed_rows(records)
    parts["failed"] = "Cells that failed", failed_rows(of_seed)
    return {name: part for name, part in parts.items() if len(part[1]) > 1}


def text(records: list[dict], seed: int | None = None) -> str:
    """All tables as Markdown."""
    return "\n".join(_markdown(*part) for part in all_tables(records, seed).values())


def write_csv(records: list[dict], folder: Path, seed: int | None = None) -> None:
    """All tables as files ``<name>.csv``, which docs/benchmarks.rst reads; others stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, rows) in all_tables(records, seed).items():
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _markdown(title: str, rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join([f"### {title}", "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+")
    parser.add_argument("--seed", type=int, help="only this seed (default: means over all)")
    parser.add_argument("--out", help="a file for the tables (default: they are printed)")
    parser.add_argument("--csv", help="a folder for the tables as data, a file each")
    parser.add_argument("--pictures", help="a folder for the pictures (default: none are drawn)")
    asked = parser.parse_args()
    records = read(asked.results)
    tables = text(records, asked.seed)
    if asked.out:
        Path(asked.out).write_text(tables)
    else:
        sys.stdout.write(tables)
    if asked.csv:
        write_csv(records, Path(asked.csv), asked.seed)
    if asked.pictures:
        pictures.draw_all(records, Path(asked.pictures))


if __name__ == "__main__":
    main()
