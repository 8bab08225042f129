"""The threshold: tensors, arrays, devices, states, chunks."""

import numpy as np
import pytest
import torch

from skscore._backend import row_source
from skscore._backend.closed_form import ClosedForm
from skscore._backend.convert import apply_in_chunks, generator, resolve_device, tensor
from skscore._backend.evaluators import Evaluator
from skscore._backend.fitted import FittedNetwork, NetworkSpec
from skscore._backend.row_source import RowSource
from skscore._changes.standardizer import Standardizer

CPU = torch.device("cpu")


def spec(**changes):
    options = {
        "network": "mlp",
        "n_features": 3,
        "hidden_layer_sizes": (8,),
        "activation": "tanh",
        "conservative": False,
        "sigma": 0.5,
    }
    return NetworkSpec(**options | changes)


def test_tensors_never_alias_the_callers_array():
    X = np.zeros((2, 2))
    tensor(X, CPU)[0, 0] = 1.0
    assert X[0, 0] == 0.0


def test_tensors_are_ordinary_ones_in_inference_mode_too():
    with torch.inference_mode():
        assert not tensor(np.zeros((2, 2)), CPU).is_inference()


@pytest.mark.parametrize("odd", [np.zeros((4, 3))[::-1], np.zeros((4, 3), order="F"), [[1.0]]])
def test_any_layout_becomes_a_tensor(odd):
    assert tensor(odd, CPU).shape == np.shape(odd)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "tpu", "", "meta"])
def test_a_bad_device_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match="'device' parameter must be 'auto', 'cpu', 'cuda'"):
        resolve_device(name)


def test_auto_is_the_gpu_when_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_chunks_are_joined_in_order():
    X = np.arange(10.0)[:, None]
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows

    np.testing.assert_array_equal(apply_in_chunks(double, X, 4), 2 * X)
    assert sizes == [4, 4, 2]


def test_a_network_is_built_from_its_seed_and_the_global_generator_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (spec().build(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(
        first["body.hidden.0.affine.weight"], other["body.hidden.0.affine.weight"]
    )


def source(X, **changes):
    z = Standardizer.fit(X)
    options = {"uniform": z.uniform, "normal": z.normal, "device": CPU}
    options |= changes
    return RowSource(X, standardize=z.transform, **options), z


def test_streamed_rows_equal_kept_ones(monkeypatch):
    X = np.random.RandomState(0).standard_normal((50, 3)).astype(np.float32)
    index = torch.tensor([3, 1, 49, 3])
    kept, _ = source(X)
    monkeypatch.setattr(row_source, "_CACHE_BYTES", 0)
    streamed, _ = source(X)
    assert streamed._table is None
    for rows in (kept, streamed):
        x = rows.take(index, generator(0)).x
        np.testing.assert_allclose(x, Standardizer.fit(X).transform(X)[index], atol=1e-6)


def test_every_visit_draws_new_training_noise_along_its_directions():
    X = np.random.RandomState(0).standard_normal((5, 2))
    directions = np.array([[0.0, 1.0]])
    rows, z = source(X, uniform=directions)
    index = torch.zeros(4000, dtype=torch.long)
    noise = rows.take(index, generator(0)).x.numpy() - z.transform(X)[:1]
    assert np.abs(noise[:, 0]).max() < 1e-6
    assert np.abs(noise[:, 1]).max() <= 0.5 + 1e-6
    assert noise[:, 1].var() == pytest.approx(1 / 12, rel=0.05)
    rows, z = source(X, normal=2 * directions)
    noise = rows.take(index, generator(0)).x.numpy() - z.transform(X)[:1]
    assert noise[:, 1].std() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("conservative", [False, True])
def test_an_evaluator_agrees_with_the_network(conservative):
    network = spec(conservative=conservative).build(3)
    torch.nn.init.normal_(network.body.exit.weight, generator=generator(0))
    evaluator = Evaluator(network, CPU)
    rows = np.random.RandomState(0).standard_normal((6, 3))
    x = torch.tensor(rows, requires_grad=True)
    s = network(x)
    np.testing.assert_allclose(evaluator.score(rows), s.detach(), rtol=1e-12)
    J = torch.autograd.functional.jacobian(lambda r: network(r).sum(0), x.detach())
    trace = torch.einsum("jnj->n", J)
    np.testing.assert_allclose(evaluator.score_and_divergence(rows, np.eye(3))[1], trace, rtol=1e-9)


@pytest.mark.parametrize("conservative", [False, True])
def test_a_network_over_all_levels_is_opened_at_one_and_as_a_flow(conservative):
    over_all = spec(conservative=conservative, sigma_range=(0.01, 50.0))
    network = over_all.build(3)
    torch.nn.init.normal_(network.body.exit.weight, generator=generator(0))
    state = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    fitted = FittedNetwork(over_all, state, state, {}, 0)
    rows = np.random.RandomState(0).standard_normal((6, 3))
    at_level, x = network.double().at(0.5), torch.tensor(rows)
    np.testing.assert_allclose(fitted.open("cpu", 0.5).score(rows), at_level(x).detach())
    flow = fitted.open_flow("cpu")
    there = flow.flow(rows, 0.0, 1.2, 1e-8)
    np.testing.assert_allclose(flow.flow(there, 1.2, 0.0, 1e-8), rows, atol=1e-6)
    exact = flow.log_density(rows, 1e-6, None)
    along_the_axes = flow.log_density(rows, 1e-6, 3**0.5 * np.eye(3))
    np.testing.assert_allclose(along_the_axes.mean(axis=1), exact[:, 0], atol=1e-4)


def closed_form(kind, k=5, d=3):
    rng = np.random.RandomState(0)
    weights, means = rng.dirichlet(np.ones(k)), rng.standard_normal((k, d))
    if kind == "isotropic":
        return ClosedForm(weights, means, variance=0.3)
    return ClosedForm(weights, means, np.cov(rng.standard_normal((d, 9))) + np.zeros((k, 1, 1)))


def covariance(law):
    """Of the first component."""
    law = law._law
    return law.covariances[0].numpy() if hasattr(law, "covariances") else law.variance * np.eye(3)


each_kind = pytest.mark.parametrize("kind", ["full", "isotropic"])


@each_kind
def test_a_closed_form_is_evaluated_in_chunks_of_rows_and_their_metrics(kind):
    law, rng, sizes = closed_form(kind), np.random.RandomState(1), []
    X, roots = rng.standard_normal((20, 3)), rng.standard_normal((20, 3, 3))
    metrics = roots @ np.swapaxes(roots, 1, 2)
    whole = law.score_divergence(X, metrics), law.score_divergence(X, metrics[0]), law.score(X)
    inner = law._law.score_divergence
    law._chunk, law._law.score_divergence = 7, lambda x, A: sizes.append(A.shape) or inner(x, A)
    parts = law.score_divergence(X, metrics), law.score_divergence(X, metrics[0]), law.score(X)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert sizes == [(7, 3, 3), (7, 3, 3), (6, 3, 3)] + 3 * [(3, 3)]


def test_chunks_of_a_closed_form_keep_means_and_metrics_of_their_rows_small():
    wide = ClosedForm(np.ones(1), np.zeros((1, 300)), variance=1.0)
    many = ClosedForm(np.ones(10**5), np.zeros((10**5, 3)), variance=1.0)
    assert wide._chunk * 300**2 <= 2**22
    assert many._chunk * 3 * 10**5 <= 2**22


@each_kind
def test_noise_makes_another_closed_form(kind):
    law, X = closed_form(kind), np.random.RandomState(1).standard_normal((9, 3))
    before = law.log_density(X)
    noised = law.noised(0.5)
    np.testing.assert_array_equal(law.log_density(X), before)
    np.testing.assert_allclose(covariance(noised), covariance(law) + 0.25 * np.eye(3))
    np.testing.assert_allclose(noised.noised(1.2).score(X), law.noised(1.3).score(X))


@each_kind
def test_draws_of_a_closed_form_have_its_moments(kind):
    law = closed_form(kind)
    rows, w, means = law.sample(200_000, 0), law._law.weights.numpy(), law._law.means.numpy()
    between = np.cov(means.T, aweights=w, ddof=0)
    np.testing.assert_allclose(rows.mean(0), w @ means, atol=0.02)
    np.testing.assert_allclose(np.cov(rows.T), between + covariance(law), atol=0.03)
    np.testing.assert_array_equal(law.sample(5, 3), law.sample(5, 3))


@each_kind
def test_the_field_of_a_closed_form_is_that_of_its_scores_with_noise(kind):
    """In other coordinates, at angles of each row, whatever rows are beside it."""
    law, rng = closed_form(kind), np.random.RandomState(1)
    location, turn = rng.standard_normal(3), rng.standard_normal((3, 3)) * [0.5, 1.0, 3.0]
    field = law.field(location, turn.T)
    y = torch.tensor(rng.standard_normal((40, 3)))
    theta = torch.linspace(0.05, 1.5, 40, dtype=torch.float64)[:, None]
    F, means = field(y, theta), (law._law.means.numpy() - location) @ turn
    inner = turn.T @ covariance(law) @ turn + np.zeros((5, 1, 1))
    twin = ClosedForm(law._law.weights.numpy(), means, inner)
    for i in range(0, 40, 13):
        row, sigma, cos = y[i : i + 1], theta[i].tan().item(), theta[i].cos().item()
        score = torch.tensor(twin.noised(sigma).score(row.numpy() / cos) / cos)
        torch.testing.assert_close(F[i : i + 1], -sigma * (row + score), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(field(row, theta[i : i + 1]), F[i : i + 1])
