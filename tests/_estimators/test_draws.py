"""Starts of chains, and seeds for calls without one."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed

from skscore._estimators.draws import (
    MAX_STARTS,
    SamplingStream,
    check_draws,
    draw_enough,
    merged_starts,
    pick,
    resample,
    warn_of_copies,
)
from skscore._validation import check_n_samples
from skscore.exceptions import SamplingDivergedError, SlowMixingWarning

ROWS = np.arange(100.0)[:, None]


def rng():
    return np.random.RandomState(0)


def test_equal_weights_keep_the_rows_or_a_subset_without_repeats():
    np.testing.assert_array_equal(resample(ROWS, None, 200, rng()), ROWS)
    subset = resample(ROWS, None, 30, rng())
    assert len(np.unique(subset)) == 30


def test_weighted_rows_appear_within_one_of_their_share():
    w = rng().uniform(size=100)
    drawn = resample(ROWS, w, 5000, rng())[:, 0].astype(int)
    counts = np.bincount(drawn, minlength=100)
    assert np.abs(counts - 5000 * w / w.sum()).max() <= 1


def test_resampling_copies():
    rows = ROWS.copy()
    resample(rows, None, 200, rng())[:] = -1
    np.testing.assert_array_equal(rows, ROWS)


def test_merged_starts_stand_for_all_rows_seen():
    """1000 rows seen of value 0, then 3000 of value 1: a quarter of the starts are zeros."""
    starts = merged_starts(np.zeros((500, 1)), 1000.0, np.ones((3000, 1)), None, rng())
    assert len(starts) <= MAX_STARTS
    assert starts.mean() == pytest.approx(0.75, abs=1e-3)


def test_every_start_is_picked_as_often_as_any_other():
    counts = np.bincount(pick(ROWS, 250, rng())[:, 0].astype(int))
    assert set(counts) == {2, 3}


def test_the_stream_never_repeats_itself_and_survives_a_pickle():
    stream = SamplingStream(7)
    seeds = [stream.next(None) for _ in range(50)]
    assert len(set(seeds)) == 50
    twin = pickle.loads(pickle.dumps(stream))
    assert twin.next(None) == stream.next(None)


@pytest.mark.slow
def test_copies_in_workers_draw_anew_and_repeat_by_an_integer():
    """Four tasks sent to two workers gave four equal arrays."""
    stream = SamplingStream(7)
    seeds = Parallel(n_jobs=2)(delayed(stream.next)(None) for _ in range(4))
    assert len({*seeds, stream.next(None)}) == 5
    assert set(Parallel(n_jobs=2)(delayed(stream.next)(3) for _ in range(2))) == {stream.next(3)}


def test_a_forked_stream_draws_anew(monkeypatch):
    stream, twin = SamplingStream(7), SamplingStream(7)
    monkeypatch.setattr("skscore._estimators.draws.os.getpid", lambda: -1)
    assert stream.next(None) != twin.next(None)


def test_threads_share_the_stream_without_repeats():
    stream = SamplingStream(7)
    with ThreadPoolExecutor(8) as pool:
        seeds = list(pool.map(lambda _: stream.next(None), range(400)))
    assert len(set(seeds)) == 400


def test_a_given_seed_leaves_the_stream_alone():
    stream = SamplingStream(7)
    assert stream.next(3) == stream.next(3)
    assert stream.counter == 0


@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "3", None])
def test_a_bad_number_of_samples_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"n_samples must be an int in the range \[1, inf\)"):
        check_n_samples(bad)


@pytest.mark.parametrize("far", [np.nan, np.inf, 1e9])
def test_draws_that_blew_up_are_refused_with_numbers(far):
    draws = np.zeros((10, 2))
    draws[3, 1] = far
    with pytest.raises(SamplingDivergedError, match="1 of 10 draws of Me .*step size was 0.5"):
        check_draws(draws, np.ones((4, 2)), 0.5, "Me")


def test_rows_that_are_lost_are_drawn_again_until_there_are_enough():
    asked = []

    def draw(n):
        asked.append(n)
        return ROWS[:n:3]

    assert draw_enough(draw, 20).shape == (20, 1)
    assert asked[0] == 20
    assert sum(asked) < 100
    asked.clear()
    draw_enough(draw, 20, share=0.5)
    assert asked[0] == 44


def test_draws_that_are_nearly_all_lost_end_in_an_error():
    with pytest.raises(ValueError, match="draws of the last step only 0 are in the image"):
        draw_enough(lambda n: ROWS[:0], 3)


def near(share, n=400, scale=(1.0, 1.0)):
    """Rows, and draws of which a share hardly moved and the others are fresh."""
    generator = np.random.default_rng(0)
    rows, draws = generator.normal(size=(2, n, 2))
    moved = generator.uniform(size=n) < share
    draws[moved] = rows[moved] + 1e-3 * generator.normal(size=(moved.sum(), 2))
    return draws * scale, rows * scale


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1e6, 1e-6)])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_near_copies_are_warned_of_with_their_share_in_any_units(share, scale):
    draws, rows = near(share, scale=scale)
    with pytest.warns(SlowMixingWarning, match="% of the draws of Me .* near-copies") as caught:
        warn_of_copies(draws, rows, rows, "Me")
    said = str(caught[0].message)
    assert int(said.split("%")[0]) == pytest.approx(100 * share, abs=5)
    displacement = float(said.split("displacement is ")[1].split()[0])
    assert displacement == pytest.approx(np.sqrt(2 * (1 - share) + 1e-6 * share), rel=0.1)


@pytest.mark.parametrize("n", [10, 49, 400])
def test_fresh_draws_and_a_handful_of_rows_are_passed_over(n):
    draws, rows = near(0.0, n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_copies(draws, rows, rows, "Me")
        warn_of_copies(rows[:10], rows[:10], rows, "Me")  # too few to tell


def test_copies_of_rows_that_stand_twice_are_not_held_against_the_chains():
    _, rows = near(0.0)
    twice = np.concatenate([rows, rows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_copies(rows, rows, twice, "Me")
