"""Samplers against the exact laws of their chains, for exact scores."""

import re

import pytest
import torch
from sklearn.base import clone

from skscore._gaussian import IsotropicMixture
from skscore.samplers import SAMPLERS, Sampler, UnadjustedLangevin, WalkJump, run_chains

MEMBERS = {"langevin": {}, "walk_jump": {"sigma": 0.5}}
each_member = pytest.mark.parametrize("name", SAMPLERS)


def make(name, **options):
    return SAMPLERS[name](**{**MEMBERS[name], **options})


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def standard_score(x):
    return -x


def assert_variance(draws, variance):
    """Mean zero and the given variance, within five standard errors."""
    n = len(draws)
    assert draws.mean().abs() < 5 * (variance / n) ** 0.5
    assert abs(draws.square().mean() / variance - 1) < 5 * (2 / n) ** 0.5


@pytest.mark.parametrize(("tau", "h"), [(1.0, 0.5), (2.0, 2.0), (2.0, 6.0), (0.1, 0.01)])
def test_langevin_has_its_exact_stationary_variance(tau, h):
    chains = run_chains(
        UnadjustedLangevin(h),
        lambda x: -x / tau**2,
        tau * normal(40_000, 1),
        burn_in=40,
        generator=seeded(),
    )
    assert_variance(chains.draws, tau**2 / (1 - h / (4 * tau**2)))


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_default_step_keeps_the_covariance_of_a_correlated_gaussian(scale):
    # Chains start from the law and may leave it by the bias of the step, at most 8 % of the
    # variance along any axis here, and by the Monte-Carlo error of 20,000 chains.
    covariance = torch.tensor([[4.0, 1.8, 0.5], [1.8, 1.0, 0.2], [0.5, 0.2, 0.3]]).double()
    L = scale * torch.linalg.cholesky(covariance)
    precision = torch.cholesky_inverse(L)
    chains = run_chains(
        UnadjustedLangevin(),
        lambda x: -x @ precision,
        normal(20_000, 3) @ L.T,
        burn_in=150,
        generator=seeded(),
    )
    whitened = torch.linalg.solve_triangular(L, chains.draws.T, upper=False)
    ratios = torch.linalg.eigvalsh(whitened.cov())
    assert ratios.min() > 0.95
    assert ratios.max() < 1.12


@pytest.mark.parametrize(("sigma", "step_size"), [(0.3, None), (1.0, None), (1.0, 1.5)])
def test_walk_jump_has_the_exact_variance_of_the_posterior_mean(sigma, step_size):
    # For N(0, 1) the walk's law has variance tau^2 = 1 + sigma^2, the jump divides by tau^2:
    # 1 / (1 + sigma^2) for exact draws, times the bias of the walk after its steps.
    tau2, steps = 1 + sigma**2, 30
    chains = run_chains(
        WalkJump(sigma, step_size),
        lambda y: -y / tau2,
        normal(40_000, 1),
        burn_in=steps,
        generator=seeded(),
    )
    variance = tau2
    for _ in range(steps):
        variance = (1 - chains.step_size / (2 * tau2)) ** 2 * variance + chains.step_size
    assert_variance(chains.draws, variance / tau2**2)
    assert variance / tau2**2 == pytest.approx(1 / (1 + sigma**2), rel=0.3)


def test_walk_jump_starts_in_the_noised_law():
    chains = run_chains(
        WalkJump(0.5), lambda y: -y / 1.25, normal(40_000, 1), burn_in=0, generator=seeded()
    )
    assert_variance(chains.draws, 1 / 1.25)


@pytest.mark.parametrize("name", ["langevin", "walk_jump"])
def test_weights_of_separated_modes_are_those_of_the_starts(name):
    means, weights = torch.tensor([[-5.0], [5.0]]).double(), torch.tensor([0.9, 0.1]).double()
    law = IsotropicMixture(weights, means, 1.0)
    starts = normal(4_000, 1) - 5
    starts[:400] += 10
    score = law.score if name == "langevin" else law.noised(0.25).score
    draws = run_chains(make(name), score, starts, burn_in=100, generator=seeded()).draws
    right = draws > 0
    assert right.double().mean().item() == pytest.approx(0.1, abs=1e-12)
    for mode, mean in ((draws[~right], -5.0), (draws[right], 5.0)):
        assert mode.mean().item() == pytest.approx(mean, abs=5 / len(mode) ** 0.5)


@each_member
def test_default_step_follows_the_units(name):
    # Rows in units c times smaller: scores c times smaller, steps c^2 times larger.
    def step(c):
        sampler = make(name) if name != "walk_jump" else WalkJump(0.5 * c)
        generator = torch.Generator().manual_seed(0)
        rows = c * normal(50, 2)
        return sampler.resolve_step_size(lambda x: -x / c**2, rows, generator)

    assert step(10.0) == pytest.approx(100 * step(1.0))
    assert step(0.1) == pytest.approx(0.01 * step(1.0))


@each_member
def test_draws_repeat_with_the_seed_and_differ_with_another(name):
    first, again, other = (
        run_chains(make(name), standard_score, normal(5, 2), burn_in=3, generator=seeded(s)).draws
        for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_member
def test_chains_do_not_see_each_other(name):
    starts, moved = normal(5, 2), normal(5, 2)
    moved[0] += 100.0
    a, b = (
        run_chains(
            make(name, step_size=0.1), standard_score, x, burn_in=3, n_draws=2, generator=seeded()
        ).draws.reshape(2, 5, 2)
        for x in (starts, moved)
    )
    assert torch.equal(a[:, 1:], b[:, 1:])
    assert not torch.equal(a[:, 0], b[:, 0])


class Counter(Sampler):
    """Adds one per step; draws show minus the state."""

    def __init__(self, step_size=1.0):
        self.step_size = step_size

    def _default_step_size(self, score, x):
        return 1.0

    def step(self, score, x, h, generator):
        return x + h

    def finish(self, score, x):
        return -x


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_draws_come_draw_by_draw_with_thin_steps_between(chunk, monkeypatch):
    monkeypatch.setattr("skscore.samplers._markov._CHUNK", chunk)
    starts = torch.tensor([[0.0], [100.0], [200.0]])
    chains = run_chains(
        Counter(), standard_score, starts, burn_in=3, thin=2, n_draws=3, generator=seeded()
    )
    expected = torch.cat([starts + 3, starts + 5, starts + 7])
    assert torch.equal(chains.draws, -expected)
    assert (chains.n_steps, chains.step_size) == (7, 1.0)


def test_langevin_without_steps_returns_the_starts():
    chains = run_chains(
        UnadjustedLangevin(), standard_score, normal(4, 2), burn_in=0, generator=seeded()
    )
    assert torch.equal(chains.draws, normal(4, 2))
    assert chains.n_steps == 0


@each_member
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_plain_rows_and_the_starts_are_left_alone(name, dtype):
    starts = normal(4, 2).to(dtype)
    before, slope = starts.clone(), torch.ones(2, dtype=dtype, requires_grad=True)
    draws = run_chains(
        make(name), lambda x: -slope * x, starts, burn_in=2, n_draws=3, generator=seeded()
    ).draws
    assert (draws.shape, draws.dtype, draws.requires_grad) == ((12, 2), dtype, False)
    assert torch.equal(starts, before)


@each_member
def test_global_rng_is_untouched(name):
    before = torch.get_rng_state()
    run_chains(make(name), standard_score, normal(4, 2), burn_in=2, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "long"])
@pytest.mark.parametrize(
    ("name", "parameter"),
    [("langevin", "step_size"), ("walk_jump", "step_size"), ("walk_jump", "sigma")],
)
def test_bad_sizes_are_refused_by_name(name, parameter, value):
    sampler = make(name, **{parameter: value})  # the constructor only stores
    message = (
        f"The {parameter!r} parameter of {type(sampler).__name__} must be a number in the range "
        f"(0.0, inf). Got {value!r} instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        run_chains(sampler, standard_score, normal(4, 2), burn_in=1, generator=seeded())


@each_member
def test_given_step_size_is_used_and_survives_clone(name):
    sampler = clone(make(name).set_params(step_size=0.125))
    assert sampler.get_params() == make(name, step_size=0.125).get_params()
    chains = run_chains(sampler, standard_score, normal(4, 2), burn_in=1, generator=seeded())
    assert chains.step_size == 0.125


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1])
def test_default_step_is_stable_for_starts_in_one_place(spread, generator):
    # It was taken from the size of the scores at the starts: all starts at a mode made it 1e11.
    x = spread * normal(1000, 2)
    chains = run_chains(UnadjustedLangevin(), torch.neg, x, burn_in=100, generator=generator)
    assert chains.draws.std() < 2


def test_default_step_is_stable_for_many_correlated_columns(generator):
    # It was taken from the columns' own curvatures, d times below that along the diagonal.
    d = 60
    precision = 0.1 * torch.eye(d, dtype=torch.float64) + 0.9
    x = normal(2000, d) @ torch.linalg.cholesky(torch.linalg.inv(precision)).mT
    chains = run_chains(
        UnadjustedLangevin(), lambda x: -x @ precision, x, burn_in=300, generator=generator
    )
    assert chains.draws.std() < 1.1 * x.std()


@pytest.mark.parametrize("option", ["n_draws", "thin"])
def test_no_draws_and_no_steps_between_them_are_refused(option, generator):
    with pytest.raises(ValueError, match=f"'{option}' parameter"):
        run_chains(
            UnadjustedLangevin(1.0),
            torch.neg,
            torch.zeros(2, 1),
            burn_in=1,
            generator=generator,
            **{option: 0},
        )
