"""Samplers against the exact laws of their chains, for exact scores."""

import re

import pytest
import torch
from sklearn.base import clone

from skscore._math.gaussian import IsotropicMixture
from skscore.samplers import (
    SAMPLERS,
    KineticLangevin,
    Sampler,
    UnadjustedLangevin,
    WalkJump,
    run_chains,
)

MEMBERS = {"langevin": {}, "kinetic_langevin": {}, "walk_jump": {"sigma": 0.5}}
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


COVARIANCES = {
    "one column": [[1.0]],
    "two scales": [[1.0, 0.0], [0.0, 0.01]],
    "correlated": [[4.0, 1.8, 0.5], [1.8, 1.0, 0.2], [0.5, 0.2, 0.3]],
    "five columns": (0.2 * torch.eye(5) + 0.8).tolist(),
}


def gaussian(name, sigma=0.0):
    """Rows of a Gaussian, the score with noise of a level, and what whitens draws."""
    covariance = torch.tensor(COVARIANCES[name], dtype=torch.float64)
    L = torch.linalg.cholesky(covariance)
    noised = covariance + sigma**2 * torch.eye(len(L), dtype=torch.float64)
    precision = torch.linalg.inv(noised)

    def whiten(x):
        return torch.linalg.solve_triangular(L, x.T, upper=False).T

    return normal(20_000, len(L)) @ L.T, lambda x: -x @ precision, whiten


def assert_identity(whitened):
    """Covariance within 2 % of the identity along every axis, and the Monte-Carlo error of it."""
    n = len(whitened)
    assert (
        torch.linalg.eigvalsh(whitened.T.cov().reshape(2 * [whitened.shape[1]])) - 1
    ).abs().max() < 0.02 + 2 * (2 / n) ** 0.5


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_a_walk_with_its_jump_gives_a_gaussian_its_own_covariance(name, sigma):
    """The posterior mean alone left 1 / (1 + sigma^2) of the variance of N(0, 1)."""
    rows, score, whiten = gaussian(name, sigma)
    for burn_in in (0, 25):  # the jump by itself, and after the walk
        chains = run_chains(WalkJump(sigma), score, rows, burn_in=burn_in, generator=seeded())
        assert_identity(whiten(chains.draws))


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("step_size", [None, 0.5, 2.0])  # in units of the smallest variance
def test_kinetic_chains_keep_the_covariance_of_a_gaussian_at_any_step(name, step_size):
    rows, score, whiten = gaussian(name)
    if step_size is not None:
        least = torch.linalg.eigvalsh(torch.tensor(COVARIANCES[name]).double()).min()
        step_size = step_size * least.item()
    chains = run_chains(KineticLangevin(step_size), score, rows, burn_in=30, generator=seeded())
    assert_identity(whiten(chains.draws))


def test_kinetic_chains_forget_their_starts_where_langevin_does_not():
    """A law 50 times as long as wide: the correlation with the starts, after equal steps."""
    rows = normal(2000, 2) * torch.tensor([1.0, 0.02])

    def kept(sampler):
        x = run_chains(
            sampler,
            lambda x: -x / torch.tensor([1.0, 0.02]).double() ** 2,
            rows,
            burn_in=300,
            generator=seeded(),
        ).draws
        return torch.corrcoef(torch.stack([x[:, 0], rows[:, 0]]))[0, 1].abs()

    assert kept(KineticLangevin()) < 0.15
    assert kept(UnadjustedLangevin()) > 0.9


@pytest.mark.parametrize("sigma", [0.005, 0.1, 1.0])
@pytest.mark.parametrize("curvature", [1.0, 1e3, 1e9])
def test_steps_of_the_walk_are_bounded_whatever_the_score_says(sigma, curvature):
    chains = run_chains(
        WalkJump(sigma),
        lambda y: -min(curvature, sigma**-2) * y,
        normal(60, 1),
        burn_in=None,
        generator=seeded(),
    )
    assert 20 <= chains.n_steps <= 1000
    assert chains.step_size >= sigma**2 / 4


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_steps_of_the_walk_see_structure_as_fine_as_the_level(sigma, generator):
    """Waves of a few levels' length, in a table whose spread is a thousand levels."""
    curvature, wave = 0.5 / sigma**2, 8 * sigma / (2 * torch.pi)

    def score(y):
        return -curvature * wave * torch.sin(y / wave)

    step_size = WalkJump(sigma).tuned(score, normal(200, 20), generator).step_size
    assert step_size == pytest.approx(1 / curvature, rel=0.2)


@pytest.mark.parametrize("n_columns", [17, 40])
@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_jump_of_many_columns_needs_few_products(n_columns, sigma):
    """Rows of decaying variances: from 1 to 0.01, in more columns than there are products."""
    variances = torch.logspace(0, -2, n_columns, dtype=torch.float64)
    calls = []

    def score(y):
        calls.append(len(y))
        return -y / (variances + sigma**2)

    rows = normal(4000, n_columns) * variances.sqrt()
    draws = run_chains(WalkJump(sigma, 1.0), score, rows, burn_in=0, generator=seeded()).draws
    assert draws.var(0).sum() == pytest.approx(variances.sum().item(), rel=0.03)
    assert (draws.var(0) / variances - 1).abs().max() < 0.12
    assert max(calls) * n_columns * 16 <= 2**22
    n_chunks = -(-len(rows) // max(calls))
    assert len(calls) == n_chunks * (1 + 2 * 16)


def test_a_jump_by_a_learnt_score_takes_no_root_of_a_negative_variance():
    draws = run_chains(
        WalkJump(1.0, 0.01), lambda y: -5 * y, normal(100, 2), burn_in=0, generator=seeded()
    ).draws
    assert draws.isfinite().all()


@each_member
def test_weights_of_separated_modes_are_those_of_the_starts(name):
    means, weights = torch.tensor([[-5.0], [5.0]]).double(), torch.tensor([0.9, 0.1]).double()
    law = IsotropicMixture(weights, means, 1.0)
    starts = normal(4_000, 1) - 5
    starts[:400] += 10
    score = law.noised(0.25).score if name == "walk_jump" else law.score
    draws = run_chains(make(name), score, starts, burn_in=100, generator=seeded()).draws
    right = draws > 0
    assert right.double().mean().item() == pytest.approx(0.1, abs=1e-3)
    for mode, mean in ((draws[~right], -5.0), (draws[right], 5.0)):
        assert mode.mean().item() == pytest.approx(mean, abs=5 / len(mode) ** 0.5)


@each_member
def test_default_step_follows_the_units(name):
    # Rows in units c times smaller: scores c times smaller, steps c^2 times larger.
    def step(c):
        sampler = make(name) if name != "walk_jump" else WalkJump(0.5 * c)
        generator = torch.Generator().manual_seed(0)
        rows = c * normal(50, 2)
        return sampler.tuned(lambda x: -x / c**2, rows, generator).step_size

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
    options = {"step_size": 0.1} | ({} if name == "langevin" else {"friction": 2.0})
    a, b = (
        run_chains(
            make(name, **options), standard_score, x, burn_in=3, n_draws=2, generator=seeded()
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

    def steps_to_cover(self, length):
        return length

    def step(self, score, state, generator):
        return state + self.step_size

    def finish(self, score, state, generator):
        return -state


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
    [
        ("langevin", "step_size"),
        ("kinetic_langevin", "step_size"),
        ("kinetic_langevin", "friction"),
        ("walk_jump", "step_size"),
        ("walk_jump", "friction"),
        ("walk_jump", "sigma"),
    ],
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
