"""The benchmark's harness on tiny tables: lines, resumption, failures, report."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "benchmarks"
pytestmark = pytest.mark.slow  # every call imports torch anew
RING, OWN = ("ring", "gaussian_mixture"), ("own", "gaussian_mixture")


def call(script, *arguments):
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of two tables, one of them a file, and the arguments that repeat it."""
    folder = tmp_path_factory.mktemp("benchmark")
    rows = np.random.RandomState(0).normal(size=(200, 3))
    np.savetxt(folder / "own.csv", rows, delimiter=",", header="a,b,c")
    out = folder / "results.jsonl"
    arguments = ["--data", folder, "--tables", "ring", "own", "--rows", 150, "--out", out]
    arguments += ["--contestants", "gaussian_mixture"]
    return out, arguments, call("run.py", *arguments)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_cell_is_a_line_of_json_with_its_numbers(ran):
    records = {(r["table"], r["contestant"]): r for r in lines(ran[0])}
    assert set(records) == {RING, OWN}
    for record in records.values():
        assert len(record["log_densities"]) == record["n_test"]
        assert np.mean(record["log_densities"]) == pytest.approx(record["log_density"], abs=1e-3)
        assert {"fit_seconds", "draw_seconds", "evaluate_seconds", "peak_mb"} <= set(record)
        assert 0 <= record["two_sample_accuracy"] <= 1


def test_no_density_beats_the_truth_by_more_than_noise(ran):
    ring = next(r for r in lines(ran[0]) if r["table"] == "ring")
    assert ring["gap"] > -3 * ring["gap_error"]
    assert 0 <= ring["fisher"] < 1
    assert "gap" not in next(r for r in lines(ran[0]) if r["table"] == "own")


def test_cells_that_are_known_are_not_run_again(ran):
    out, arguments, _ = ran
    before = out.read_text()
    assert "0 cells to run, 2 known" in call("run.py", *arguments).stderr
    assert out.read_text() == before


def test_a_cell_that_takes_too_long_is_recorded_and_the_others_go_on(ran, tmp_path):
    out = tmp_path / "slow.jsonl"
    call("run.py", *ran[1], "--out", out, "--timeout", 0.01)
    assert [r["error"] for r in lines(out)] == ["not done after 0.01 seconds"] * 2


@pytest.fixture(scope="module")
def results(ran, tmp_path_factory):
    """Ours on one of the two tables, a peer a nat below it on two seeds."""
    path = tmp_path_factory.mktemp("report") / "both.jsonl"
    records = lines(ran[0])
    ours = [r | {"contestant": "skscore"} for r in records if r["table"] == "own"]
    peers = [r | {"log_densities": np.subtract(r["log_densities"], 1).tolist()} for r in records]
    later = [r | {"seed": 1, "log_density": 2.0} for r in records if r["table"] == "own"]
    path.write_text("\n".join(map(json.dumps, ours + peers + later)))
    return path


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_report_writes_tables_as_data_with_paired_differences(results, tmp_path):
    call("report.py", results, "--seed", 0, "--csv", tmp_path)
    header, *rows = read_csv(tmp_path / "log_density.csv")
    assert header == ["table", "skscore", "gaussian_mixture"]
    assert {row[0]: row[1] for row in rows}["ring"] == ""  # no cell of ours: left empty
    assert read_csv(tmp_path / "paired.csv")[1][-2:] == ["+1.000", "0.000"]


def test_report_has_all_seeds_of_those_that_did_several(results, tmp_path):
    call("report.py", results, "--seed", 0, "--csv", tmp_path)
    header, *rows = read_csv(tmp_path / "seeds.csv")
    assert header == ["table", "gaussian_mixture"]
    cells = dict(rows)
    assert cells["own"].endswith(", 2.00")
    assert cells["ring"].endswith(", --")


def test_report_has_tables_to_read_and_pictures(ran, results, tmp_path):
    assert "### Held-out log-density, nats" in ran[2].stdout
    tables = tmp_path / "tables.md"
    call("report.py", results, "--out", tables, "--pictures", tmp_path)
    assert "### Paired differences: skscore minus the best peer" in tables.read_text()
    assert {p.name for p in tmp_path.glob("*.png")} == {"accuracy.png", "evaluation.png"}
