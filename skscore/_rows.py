"""Rows of a table that count differently: repeats as weights, and portions that keep their law.

A row that stands k times and a row of weight k are the same thing.  Both become one row that
counts k times, so that no copy of a training row is held out for validation.  But a row that
stands for many is an atom of the law, and belongs in every portion: *heavy* rows are shared among
training and validation in proportion, the others go to one of the two as wholes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from skscore._backend.batches import Portion

_MAX_HELD = 50_000
_SUBSET_SEED = 946_385_271  # unlike those that tables are made with
_HEAVY = 10.0  # rows that a heavy one stands for,
_HEAVY_SHARE, _HEAVY_MEANS = 0.05, 2.0  # or its part of all, and that in means
_MOST_CELLS = 1000


def merged_rows(
    X: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Each row of positive weight once, and how many rows it stands for.

    These numbers add up to that of the rows of positive weight; they are None where all are alike.
    The rows come in the order of first appearance; a table without repeats comes back as it
    is.  Third are the places of the rows of X among them, -1 for those of weight zero.
    """
    kept = np.arange(len(X)) if weights is None else np.flatnonzero(weights > 0)
    places = np.full(len(X), -1)
    if len(kept) < len(X):
        X, weights = X[kept], None if weights is None else weights[kept]
    twin = _twins(X)
    if twin is None:
        places[kept] = np.arange(len(X))
        return X, _numbers(weights, len(X)), places
    distinct, places[kept] = np.unique(twin, return_inverse=True)
    summed = np.bincount(twin, weights=weights, minlength=len(X))[distinct]
    return X[distinct], _numbers(summed, len(X)), places


def _numbers(weights: np.ndarray | None, total: int) -> np.ndarray | None:
    """Weights that add up to `total`; None where they are alike."""
    if weights is None or (weights == weights[0]).all():
        return None
    weights = weights / weights.max()  # sums and squares of any weights are then finite
    return weights * (total / weights.sum())


def counted_cells(X: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
    """Weights of different rows; those of a frequency table, so that all of its rows are heavy.

    Its columns are coarse grids, at least half filled.  A row is a cell then, and to hold one
    out as a whole would be to train without its mass.
    """
    if weights is None or len(X) > _MOST_CELLS or not all(map(_is_grid, X.T)):
        return weights
    return weights * max(1.0, _HEAVY / weights.min())


def _is_grid(column: np.ndarray) -> bool:
    values = np.unique(column.astype(np.float64))
    if len(values) < 2:
        return True
    steps = np.diff(values) / np.diff(values).min()
    return bool((np.abs(steps - steps.round()) < 1e-6).all() and steps.sum() < 2 * len(values))


def _twins(X: np.ndarray) -> np.ndarray | None:
    """The number of the first row that equals each row; None where no two are equal."""
    hashes = _row_hashes(X)
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    first, group = np.unique(hashes, return_index=True, return_inverse=True)[1:]
    twin = first[group.ravel()]
    repeats = np.flatnonzero(twin != np.arange(len(X)))
    collided = repeats[(X[repeats] != X[twin[repeats]]).any(axis=1)]
    twin[collided] = collided
    return twin


def _row_hashes(X: np.ndarray) -> np.ndarray:
    """A 64-bit hash of every row: a mixing function over its columns' bits, in turn."""
    hashes = np.zeros(len(X), dtype=np.uint64)
    for column in X.T:
        bits = (column.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0 makes -0.0 positive
        hashes = (hashes ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(32)
    return hashes


def split(rows: Portion, fraction: float, rng: np.random.RandomState) -> tuple[Portion, Portion]:
    """Portions for training and for validation, each with the law of `rows`, in their order.

    Both have at least one row, and that for validation few enough.
    """
    training, held = shuffled_split(rows, fraction, rng)
    return _in_order(training), _in_order(held)


def shuffled_split(
    rows: Portion, fraction: float, rng: np.random.RandomState
) -> tuple[Portion, Portion]:
    """The portions of :func:`split` in random order."""
    light, heavy = _light_and_heavy(rows.weights, len(rows))
    order = light[rng.permutation(len(light))]
    most = max(len(light) - 1, 0)
    n_held = min(max(1, round(fraction * len(light))), most, _MAX_HELD)
    share = n_held / len(light) if n_held else fraction
    held, training = order[:n_held], order[n_held:]
    return (
        _with_heavy(rows, training, light, heavy, 1 - share),
        _with_heavy(rows, held, light, heavy, share),
    )


def _in_order(rows: Portion) -> Portion:
    order = np.argsort(rows.index)
    return Portion(rows.index[order], None if rows.weights is None else rows.weights[order])


def folds(rows: Portion, number: int, rng: np.random.RandomState) -> list[tuple[Portion, Portion]]:
    """Shuffled folds of training and of held-out rows, each with the law of `rows`."""
    light, heavy = _light_and_heavy(rows.weights, len(rows))
    number = number if len(heavy) else min(number, len(light))
    parts = [np.sort(part) for part in np.array_split(rng.permutation(light), number)]
    return [
        (
            _with_heavy(rows, np.setdiff1d(light, part), light, heavy, 1 - 1 / number),
            _with_heavy(rows, part, light, heavy, 1 / number),
        )
        for part in parts
    ]


def given_folds(
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    places: np.ndarray,
    weights: np.ndarray | None,
    n_rows: int,
) -> list[tuple[Portion, Portion]]:
    """Folds of `n_rows` merged rows from splits of the rows as they were given.

    `places` and `weights` are those of the rows as given; a row that stands in both parts of a
    split counts in each as often as it stands there.  All weights are in one unit, the mean of the
    rows as given, so that rows of different folds can be put together.
    """
    counts = (places >= 0).astype(np.float64)
    if weights is not None:
        counts = weights * (counts.sum() / weights.sum())

    def portion(part: np.ndarray) -> Portion:
        here = places[part]
        numbers = np.bincount(here[here >= 0], counts[part][here >= 0], minlength=n_rows)
        index = np.flatnonzero(numbers > 0)
        return Portion(index, numbers[index])

    return [(_as_even(portion(training)), portion(held)) for training, held in splits]


def _as_even(rows: Portion) -> Portion:
    """Without weights, where they are alike."""
    even = (rows.weights == rows.weights[:1]).all()
    return Portion(rows.index) if even else rows


def some_rows(
    rows: np.ndarray,
    weights: np.ndarray | None,
    size: int,
    rng: np.random.RandomState | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """About `size` different rows at random, in their order, and their weights.

    Without a generator they are the same at every call.

    Means over them are unbiased: a row of weight w comes with probability ``p = min(1, k w)``,
    and with the weight w / p, so that no heavy row is missed.  A short table comes back as it is;
    weights are positive.
    """
    if len(rows) <= size:
        return rows, weights
    rng = np.random.RandomState(_SUBSET_SEED) if rng is None else rng
    if weights is None:
        return rows[np.sort(rng.choice(len(rows), size, replace=False))], None
    chances = _chances(weights, size)
    index = np.flatnonzero(rng.uniform(size=len(rows)) < chances)
    return rows[index], weights[index] / chances[index]


def _chances(weights: np.ndarray, size: int) -> np.ndarray:
    """Probabilities in proportion to weights, at most one, that sum to `size`."""
    chances = np.zeros(len(weights))
    while True:
        rest = chances < 1
        scaled = (size - np.sum(~rest)) * (weights[rest] / weights[rest].sum())
        chances[rest] = np.minimum(scaled, 1.0)
        if not (scaled > 1).any():
            return chances


def drawn_index(rows: Portion, size: int, rng: np.random.RandomState) -> np.ndarray:
    """Numbers of at most `size` rows that stand for all of them, all alike afterwards.

    Rows that count alike come as they are, or as a subset without repeats; of others there are
    systematic draws, whose numbers are within one of the exact shares.
    """
    if rows.weights is None:
        if len(rows) <= size:
            return rows.index
        return rows.index[np.sort(rng.choice(len(rows), size, replace=False))]
    shares = np.cumsum(rows.weights) / np.sum(rows.weights)
    points = (np.arange(size) + rng.uniform()) / size
    return rows.index[np.minimum(np.searchsorted(shares, points), len(rows) - 1)]


def effective_number(rows: Portion) -> int:
    """Number of light rows that weigh as much as all together."""
    if rows.weights is None:
        return len(rows)
    return round(rows.weights.sum() / _light_weight(rows.weights))


def judging_number(held: Portion, rows: Portion) -> int:
    """Number of rows that a mean over the held-out ones of `rows` rests on.

    Heavy rows have in every part the shares that they have in all, so they count as all of them.
    """
    if rows.weights is None:
        return len(held)
    light, heavy = _light_and_heavy(rows.weights, len(rows))
    n_light = np.isin(held.index, rows.index[light]).sum()
    return round(n_light + rows.weights[heavy].sum() / _light_weight(rows.weights))


def std_errors_of_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Standard errors of the weighted means of `values` (..., n) over rows.

    A heavy row stands for as many light ones as weigh the same, with their part of the variance.
    """
    kept = weights > 0
    w, values = weights[kept], values[..., kept]
    share, many, n = w / w.sum(), np.ones(len(w)), len(w)
    _, heavy = _light_and_heavy(w, n)
    many[heavy] = np.maximum(w[heavy] / _light_weight(w), 1)
    squares = (values - (values @ share)[..., None]) ** 2
    return np.sqrt(squares @ (share**2 / many) * n / max(n - 1, 1))


def _light_weight(weights: np.ndarray) -> float:
    """Mean weight of the light rows; where there are none, heavy ones say how many they are."""
    light, _ = _light_and_heavy(weights, len(weights))
    return float(weights[light].mean()) if len(light) else 1.0


def _light_and_heavy(w: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n rows of weights w are not heavy, and which are."""
    places = np.arange(n)
    if w is None:
        return places, places[:0]
    heavy = (w >= _HEAVY) | (w >= max(_HEAVY_SHARE, _HEAVY_MEANS / n) * w.sum())
    return places[~heavy], places[heavy]


def _with_heavy(
    rows: Portion, part: np.ndarray, light: np.ndarray, heavy: np.ndarray, share: float
) -> Portion:
    """A part of the light rows, which stands for a share of them all, and that of the heavy."""
    if rows.weights is None:
        return Portion(rows.index[part])
    w = rows.weights
    scale = w[light].sum() / w[part].sum() if len(part) else 1.0
    weights = share * np.concatenate([scale * w[part], w[heavy]])
    return Portion(rows.index[np.concatenate([part, heavy])], weights)
