"""Draws without a seed of copies that run in other processes."""

import multiprocessing
import pickle
import warnings
from itertools import combinations

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    ImplicitScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
    make_density_pipeline,
)

X = np.random.RandomState(0).standard_normal((40, 2))
TINY = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 0}


DIFFUSION = DiffusionScoreEstimator(n_components=0, **TINY)
MIXTURE = DensityScoreEstimator(GaussianMixture(random_state=0))
UNFITTED = {
    "unfitted": ScoreBasedSampler(FrozenEstimator(clone(MIXTURE).fit(X)), random_state=0),
    "callable": ScoreBasedSampler(
        np.negative, "langevin", step_size=0.5, burn_in=5, init=X, random_state=0
    ),
}


def members():
    """All that draw, fitted, and samplers that need no fit."""
    ours = {
        "implicit": ImplicitScoreEstimator(**TINY),
        "sliced": SlicedScoreEstimator(**TINY),
        "denoising": DenoisingScoreEstimator(**TINY),
        "cross-validated": DenoisingScoreEstimatorCV(2, cv=2, **TINY),
        "diffusion": DIFFUSION,
        "kernel density": DensityScoreEstimator(KernelDensity()),
        "mixture": MIXTURE,
        "sampler": ScoreBasedSampler(DIFFUSION, random_state=0),
        "pipeline": make_density_pipeline(StandardScaler(), DIFFUSION),
        "pipeline of a kernel density": make_density_pipeline(StandardScaler(), KernelDensity()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: clone(est).fit(X) for name, est in ours.items()} | UNFITTED


MEMBERS = members()
PICKLES = {name: pickle.dumps(est) for name, est in MEMBERS.items()}


def draws(_):
    """Of every member, without a seed and with one."""
    return {name: (est.sample(2), est.sample(2, 3)) for name, est in MEMBERS.items()}


@pytest.fixture(scope="module")
def loky():
    """What two copies of every member draw in workers that they were sent to."""
    tasks = [(name, seed) for name in MEMBERS for seed in (None, None, 3, 3)]
    drawn = Parallel(n_jobs=2)(delayed(MEMBERS[name].sample)(2, seed) for name, seed in tasks)
    parts = {name: drawn[4 * k : 4 * k + 4] for k, name in enumerate(MEMBERS)}
    return [{name: part[k::2] for name, part in parts.items()} for k in (0, 1)]


@pytest.fixture(scope="module")
def forked():
    """What every member draws in two forks of this process."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no forks here")
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        return pool.map_async(draws, range(2), chunksize=1).get(timeout=60)


@pytest.mark.parametrize("processes", ["loky", "forked"])
@pytest.mark.parametrize("name", MEMBERS)
def test_copies_in_workers_differ_without_a_seed_and_repeat_with_one(name, processes, request):
    """Four copies under loky drew four equal arrays."""
    (one, seeded), (other, again) = (part[name] for part in request.getfixturevalue(processes))
    fresh = clone(MEMBERS[name]) if name in UNFITTED else pickle.loads(PICKLES[name])
    for a, b in combinations([one, other, fresh.sample(2)], 2):
        assert not np.isclose(a, b).any()
    np.testing.assert_array_equal(seeded, again)
    np.testing.assert_array_equal(seeded, fresh.sample(2, 3))


@pytest.mark.parametrize("name", MEMBERS)
def test_a_pickle_within_one_process_goes_on_with_the_stream(name):
    est = pickle.loads(PICKLES[name])
    twin = pickle.loads(pickle.dumps(est))
    for _ in range(2):
        np.testing.assert_array_equal(twin.sample(2), est.sample(2))
    later = pickle.loads(pickle.dumps(est))
    assert not np.isclose(later.sample(2), pickle.loads(PICKLES[name]).sample(2)).any()


@pytest.mark.parametrize("name", UNFITTED)
def test_an_integer_repeats_the_stream_of_an_unfitted_sampler(name):
    one, other = clone(MEMBERS[name]), clone(MEMBERS[name])
    np.testing.assert_array_equal(one.sample(2), other.sample(2))
    np.testing.assert_array_equal(one.sample(2), other.sample(2))
