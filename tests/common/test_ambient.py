"""Every public method of every estimator, under whatever state its caller has put torch in."""

import copy
import multiprocessing
import os
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skscore import (
    DenoisingScoreEstimator,
    DenoisingScoreEstimatorCV,
    DensityPipeline,
    DensityScoreEstimator,
    DiffusionScoreEstimator,
    FlowTransformer,
    ImplicitScoreEstimator,
    ScoreBasedSampler,
    SlicedScoreEstimator,
)
from skscore._backend import training as _training
from skscore._backend.scope import global_state
from skscore.datasets import make_moons, make_random_mixture
from skscore.plotting import ScoreFieldDisplay
from skscore.samplers import REVERSE_SAMPLERS, SAMPLERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROWS = np.random.RandomState(0).standard_normal((40, 2)) * [1.0, 5.0] + [0.0, 3.0]
FEW = ROWS[:5]
METRICS = np.stack([np.diag([1.0, k]) for k in range(1, 6)])

# -- states -----------------------------------------------------------------------------------


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seed(number):
    with torch.random.fork_rng():
        torch.manual_seed(number)
        yield


STATES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "anomaly_mode": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic_algorithms": deterministic,
    "default_float64": lambda: default_dtype(torch.float64),
    "default_bfloat16": lambda: default_dtype(torch.bfloat16),
    "default_float16": lambda: default_dtype(torch.float16),
    "default_device": lambda: torch.device("meta"),
    "two_threads": lambda: threads(2),
    "global_seed": lambda: seed(99),
}

each_state = pytest.mark.parametrize("state", STATES)


def in_state(state, fn):
    """`fn` in a state, which it leaves as it was."""
    with STATES[state]():
        before = global_state()
        results = fn()
        assert global_state() == before
    return results


def assert_equal_bits(first, second):
    if isinstance(first, (tuple, list)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal_bits(one, other)
    else:
        np.testing.assert_array_equal(first, second)


# -- members ----------------------------------------------------------------------------------

TINY = {"hidden_layer_sizes": (8, 8), "max_iter": 1, "batch_size": 8, "random_state": 0}
DIFFUSION = TINY | {"max_iter": 4}


def score(X):
    """Of a standard normal law."""
    return -X


def squared(sigma):
    """A weighting."""
    return sigma**2


def score_of_levels(X, sigma):
    """Of a standard normal law with noise."""
    return -X / (1 + sigma**2)


TRAINED = {
    "implicit": ImplicitScoreEstimator(**TINY),
    "implicit energy": ImplicitScoreEstimator(conservative=True, **TINY),
    "sliced": SlicedScoreEstimator(**TINY),
    "sliced energy": SlicedScoreEstimator(conservative=True, **TINY),
    "denoising": DenoisingScoreEstimator(network="resnet", **TINY),
    "denoising energy": DenoisingScoreEstimator(conservative=True, **TINY),
    "denoising CV": DenoisingScoreEstimatorCV(sigmas=2, cv=2, **TINY),
    "diffusion": DiffusionScoreEstimator(network="mlp", n_components=2, **DIFFUSION),
    "diffusion auto": DiffusionScoreEstimator("vp", standardize="normal", **DIFFUSION),
    "diffusion energy": DiffusionScoreEstimator(
        "flow", conservative=True, weighting=squared, **TINY
    ),
    "diffusion probes": DiffusionScoreEstimator(divergence="probes", n_probes=2, **TINY),
}
CHUNKED = ["denoising", "diffusion"]
COMPOSED = {
    "mixture": DensityScoreEstimator(GaussianMixture(2, random_state=0)),
    "kernels": DensityScoreEstimator(KernelDensity()),
    "differences": DensityScoreEstimator(KernelDensity(kernel="exponential")),
    "pipeline": DensityPipeline([("s", StandardScaler()), ("d", TRAINED["diffusion"])]),
    "flow": FlowTransformer(TRAINED["diffusion"]),
    "sampler": ScoreBasedSampler(TRAINED["denoising"], burn_in=3, random_state=0),
}


def samplers(parts):
    """A sampler of every method over what it can sample from."""
    one, all_levels = (FrozenEstimator(parts[name]) for name in ("denoising", "diffusion"))
    short = {"burn_in": 2, "random_state": 0}
    for name in SAMPLERS:
        yield ScoreBasedSampler(one, name, **short)
        yield ScoreBasedSampler(score, name, init=ROWS, sigma=0.5, **short)
    for name in REVERSE_SAMPLERS:
        yield ScoreBasedSampler(all_levels, name, n_steps=3, random_state=0)
        yield ScoreBasedSampler(score_of_levels, name, init=ROWS, n_steps=3, random_state=0)
    yield ScoreBasedSampler(FrozenEstimator(parts["mixture"]), "langevin", **short)


@pytest.fixture(scope="module", autouse=True)
def _short_rounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_training, "MIN_STEPS", 5)
        yield


@pytest.fixture(scope="module")
def fitted():
    """All members, fitted once in the plain state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: clone(est).fit(ROWS) for name, est in (TRAINED | COMPOSED).items()}


# -- public methods ---------------------------------------------------------------------------


def at_levels(est, name, X):
    """Results of a method at the level of its own, and at another where there is a choice."""
    levels = [{}] if name != "denoise" or hasattr(est, "sigma_") else []
    if isinstance(est, (DensityScoreEstimator, DiffusionScoreEstimator)) and hasattr(
        est, "denoise"
    ):
        levels.append({"sigma": 0.3})
    return [getattr(est, name)(X, **level) for level in levels]


def draws(est):
    """Of every kind."""
    results = [est.sample(3, random_state=0)]
    if isinstance(est, DiffusionScoreEstimator):
        options = {"random_state": 0, "n_steps": 3, "return_states": True}
        results += [est.sample(3, method=name, **options) for name in REVERSE_SAMPLERS]
    return results


CALLS = {
    "score_function": lambda est: at_levels(est, "score_function", FEW),
    "score_divergence": lambda est: [
        at_levels(est, "score_divergence", FEW),
        est.score_divergence(FEW, metric=METRICS),
    ],
    "denoise": lambda est: at_levels(est, "denoise", FEW),
    "energy": lambda est: est.energy(FEW),
    "log_density_ratio": lambda est: est.log_density_ratio(FEW[:2], FEW[2:4]),
    "score_samples": lambda est: est.score_samples(FEW),
    "score_lower_bound": lambda est: est.score_lower_bound(FEW, n_draws=3),
    "sigma_curve": lambda est: est.sigma_curve(FEW),
    "score": lambda est: est.score(FEW),
    "sample": draws,
    "transform": lambda est: est.transform(FEW),
    "inverse_transform": lambda est: est.inverse_transform(FEW),
}
PARTS = {"network_", "estimator_"}
BY_FIT = {"fit", "partial_fit", "fit_transform", "fit_predict"}
OF_SCIKIT_LEARN = {
    name
    for base in (BaseEstimator, TransformerMixin, Pipeline, ClusterMixin)
    for name in dir(base)
    if name not in CALLS
} | {"get_feature_names_out", "set_output"}


def public_methods(est):
    names = {name for name in dir(est) if not name.startswith(("_", "set_"))}
    names -= OF_SCIKIT_LEARN | PARTS | set(est.get_params(deep=False))
    return {name for name in names if callable(getattr(est, name, None))}


@pytest.mark.parametrize("name", TRAINED | COMPOSED)
def test_every_public_method_is_called_here(name, fitted):
    assert public_methods(fitted[name]) <= CALLS.keys() | BY_FIT


def answers(est):
    """Of all public methods."""
    calls = [CALLS[name] for name in sorted(public_methods(est) & CALLS.keys())]
    assert calls
    return [call(est) for call in calls]


def drawn(parts):
    """By all samplers."""
    return [sampler.sample(3, random_state=0) for sampler in samplers(parts)]


def shown(parts):
    """The arrows of a display."""
    make = ScoreFieldDisplay.from_estimator
    return make(parts["denoising"], ROWS, n_points=3, plot=False).arrows


@pytest.fixture(scope="module")
def plain(fitted):
    """All answers without any of the states."""
    found = {name: answers(est) for name, est in fitted.items()}
    return found | {"samplers": drawn(fitted), "display": shown(fitted)}


@each_state
@pytest.mark.parametrize("name", TRAINED | COMPOSED)
def test_methods_give_the_same_bits_in_every_state(name, state, fitted, plain):
    assert_equal_bits(in_state(state, lambda: answers(fitted[name])), plain[name])


@each_state
def test_all_samplers_draw_the_same_rows_in_every_state(state, fitted, plain):
    assert_equal_bits(in_state(state, lambda: drawn(fitted)), plain["samplers"])


@each_state
def test_a_display_computes_the_same_in_every_state(state, fitted, plain):
    assert_equal_bits(in_state(state, lambda: shown(fitted)), plain["display"])


@each_state
@pytest.mark.parametrize("make", [make_random_mixture, make_moons])
def test_distributions_are_the_same_in_every_state(make, state):
    def ask():
        law = make()
        X = law.sample(5, random_state=0)
        return X, law.score_function(X), law.score_samples(X)

    assert_equal_bits(in_state(state, ask), ask())


@each_state
def test_the_network_that_is_shown_is_an_ordinary_one(state, fitted):
    names = ("denoising", "diffusion")
    for network in in_state(state, lambda: [fitted[name].network_ for name in names]):
        for value in [*network.parameters(), *network.buffers()]:
            assert not value.is_inference()
            assert (value.dtype, value.device.type) == (torch.float32, "cpu")


# -- fits -------------------------------------------------------------------------------------


def learnt(est):
    """What a fitted estimator learned in training, and says afterwards in the plain state."""
    return est.loss_curve_, est.score_function(FEW), est.sample(3, random_state=0)


@each_state
@pytest.mark.parametrize("name", TRAINED)
def test_a_fit_learns_the_same_bits_in_every_state(name, state, fitted):
    est = in_state(state, lambda: clone(TRAINED[name]).fit(ROWS))
    assert_equal_bits(learnt(est), learnt(fitted[name]))


@pytest.fixture(scope="module")
def went_on(fitted):
    """Trained on another chunk."""
    return {name: copy.deepcopy(fitted[name]).partial_fit(ROWS) for name in CHUNKED}


@each_state
@pytest.mark.parametrize("name", CHUNKED)
def test_another_chunk_is_learnt_the_same_in_every_state(name, state, fitted, went_on):
    est = in_state(state, lambda: copy.deepcopy(fitted[name]).partial_fit(ROWS))
    assert_equal_bits(learnt(est), learnt(went_on[name]))


def fit_a_wide_network():
    est = DenoisingScoreEstimator(**TINY | {"hidden_layer_sizes": (256, 256)}).fit(ROWS)
    est.sample(2)
    est.network_  # noqa: B018


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_fits_after_its_parent_ran_two_threads():
    # It used to wait for ever for threads that only the parent has.
    with threads(2):
        torch.ones(2**20).exp_()
        child = multiprocessing.get_context("fork").Process(target=fit_a_wide_network)
        child.start()
        child.join(60)
        child.kill()
        child.join()
    assert child.exitcode == 0
