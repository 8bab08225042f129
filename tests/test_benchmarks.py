"""The benchmark's harness on tiny tables: lines, resumption, failures, report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "benchmarks"
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


def test_report_has_tables_in_both_styles_paired_differences_and_pictures(ran, tmp_path):
    out, _, done = ran
    assert "### Held-out log-density, nats" in done.stdout
    peers = [r | {"log_densities": np.subtract(r["log_densities"], 1).tolist()} for r in lines(out)]
    ours = [r | {"contestant": "skscore"} for r in lines(out) if r["table"] == "own"]
    both = tmp_path / "both.jsonl"
    both.write_text("\n".join(map(json.dumps, ours + peers)))
    tables = tmp_path / "tables.rst"
    call("report.py", both, "--format", "rst", "--out", tables, "--pictures", tmp_path)
    assert ".. list-table:: Held-out log-density, nats" in tables.read_text()
    assert "   * - ring\n     -\n     - " in tables.read_text()  # no cell of ours: left empty
    assert "     - +1.000\n     - 0.000\n" in tables.read_text()
    assert {p.name for p in tmp_path.glob("*.png")} == {"accuracy.png", "evaluation.png"}
