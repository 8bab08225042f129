"""The tables that contestants are compared on: toys with a known law, bundled and own tables.

A table is made anew from its name and a seed.  Rows that repeat are dropped (a copy in the test
rows flatters whoever learns rows by heart), tied columns are spread, rows are shuffled and split,
and everything is standardised with the training rows, whoever is to be trained on them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from skscore import datasets

MOST_ROWS = 5000
MOST_TEST_ROWS = 2000
LEAST_TEST_ROWS = 50

TOYS: dict[str, Callable[[], datasets.Distribution]] = {
    "ring": datasets.make_ring,
    "moons": datasets.make_moons,
    "checkerboard": datasets.make_checkerboard,
    "mixture10": datasets.make_random_mixture,
    "gaussian50": datasets.make_correlated_gaussian,
    "funnel10": datasets.make_funnel,
}
BUNDLED = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}


@dataclass(frozen=True)
class Table:
    """Standardised rows, and where it is known the law they come from.

    Attributes
    ----------
    train, test : ndarray of shape (n, d)
    location, scale : ndarray of shape (d,)
        Of the training rows in their own units.
    law : Distribution or None
        In its own units; the two methods bring it to those of the rows.
    """

    train: np.ndarray
    test: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    law: datasets.Distribution | None

    @property
    def true_log_density(self) -> np.ndarray:
        """Of the test rows, in nats."""
        units = self.test * self.scale + self.location
        return self.law.score_samples(units) + np.log(self.scale).sum()

    @property
    def true_score(self) -> np.ndarray:
        """Of the test rows, one over the units of the standardised columns."""
        return self.scale * self.law.score_function(self.test * self.scale + self.location)


def names(folder: str | None = None) -> list[str]:
    """The toys, the bundled tables, and those of a folder of ``.npz`` and ``.csv`` files."""
    own = [] if folder is None else [p.stem for p in sorted(Path(folder).iterdir()) if _is_table(p)]
    return [*TOYS, *BUNDLED, *own]


def load(name: str, seed: int, folder: str | None = None, n_rows: int = MOST_ROWS) -> Table:
    """The table of a name, split by a seed, with at most `n_rows` rows to train on."""
    if name in TOYS:
        law = TOYS[name]()
        rows = law.sample(n_rows + MOST_TEST_ROWS, random_state=seed)
        return _standardised(rows[:n_rows], rows[n_rows:], law)
    rows = _raw_rows(name, folder)
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    rows = rows[:, np.ptp(rows, axis=0) > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = datasets.dequantize(rows, random_state=seed)
    rows = rows[np.random.RandomState(seed).permutation(len(rows))]
    n_test = min(max(len(rows) // 10, min(LEAST_TEST_ROWS, len(rows) // 4)), MOST_TEST_ROWS)
    return _standardised(rows[n_test:][:n_rows], rows[:n_test], None)


def _raw_rows(name: str, folder: str | None) -> np.ndarray:
    if name in BUNDLED:
        return BUNDLED[name]().data.astype(np.float64)
    files = [] if folder is None else [p for p in Path(folder).glob(f"{name}.*") if _is_table(p)]
    if not files:
        raise SystemExit(f"There is no table {name!r}: it must be one of {names(folder)}.")
    if files[0].suffix == ".npz":
        return np.load(files[0])["X"].astype(np.float64)
    return np.loadtxt(files[0], delimiter=",", skiprows=1)


def _is_table(path: Path) -> bool:
    return path.suffix in {".npz", ".csv"}


def _standardised(train: np.ndarray, test: np.ndarray, law: datasets.Distribution | None) -> Table:
    location, scale = train.mean(0), train.std(0)
    return Table((train - location) / scale, (test - location) / scale, location, scale, law)
