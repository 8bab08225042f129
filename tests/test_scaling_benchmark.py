"""The benchmarks of steps and of scaling run; nothing is asked of a clock."""

import importlib
from pathlib import Path

import pytest

import skscore

FOLDER = Path(skscore.__file__).parents[1] / "examples" / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples are not installed")


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("scaling")


@pytest.mark.parametrize("kind", ["rows", "columns", "width"])
def test_a_cell_measures_what_is_drawn(scaling, kind):
    cell = scaling.CELLS[kind]({"rows": 600, "columns": 3, "width": 8}[kind], quick=True)
    names = {name for against, names, _ in scaling.PANELS if against == kind for name in names}
    assert names <= set(cell)
    assert all(value >= 0 for value in cell.values())


def test_slopes_are_those_of_powers(scaling):
    cells = [{"against": "width", "size": s, "step_us": 3.0 * s**1.5} for s in (2, 4, 8, 16)]
    (slope,) = scaling.slopes(cells)
    expected = {"against": "width", "slope_of": "step_us", "all": 1.5, "upper": 1.5}
    assert slope == pytest.approx(expected)


def test_slopes_of_the_documentation_have_names_and_ranges(scaling):
    cells = [{"against": "rows", "size": s, "seconds_per_epoch": 2.0 * s} for s in (1000, 4000)]
    header, row = scaling.slope_rows(cells)
    assert len(header) == len(row)
    assert row == ["rows, 1,000 to 4,000", "an epoch", "1.00", "1.00"]


def test_the_cost_of_a_step_is_a_ratio(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    measure = importlib.import_module("step_cost").measure
    cell = measure(2, "ensemble", n_rows=50, batch_size=16, n_steps=2, n_repeats=2)
    assert cell["ratio"] > 0
    assert cell["batch_size"] == 16
