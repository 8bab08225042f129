"""Laws of bodies, activations, score networks and diffusion networks."""

import copy
import math

import pytest
import torch
from torch import nn

from skscore._math.calculus import divergence, value_and_slope
from skscore._math.gaussian import MixtureField
from skscore.networks import (
    ACTIVATIONS,
    MLP,
    NETWORKS,
    SMOOTH_ACTIVATIONS,
    ConservativeDiffusionNetwork,
    DiffusionNetwork,
    Dropout,
    EnergyNetwork,
    LevelFeatures,
    ResNet,
    ScoreNetwork,
)
from skscore.networks._activations import VALUES_AND_SLOPES
from skscore.networks._tangents import row_parts

SIGMAS = [0.0, 0.05, 1.0, 30.0]
WRAPPERS = {"score": ScoreNetwork, "energy": EnergyNetwork}

each_network = pytest.mark.parametrize("network", NETWORKS)
each_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS)
each_sigma = pytest.mark.parametrize("sigma", SIGMAS)
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def rows(n=6, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def body(network, out_features, activation="silu", *, trained, d=3, widths=(8, 5), **context):
    """A body as its factory leaves it, or with all its parameters moved as by training.

    It is evaluated: in training the ensemble deals its rows out.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NETWORKS[network](d, out_features, widths, activation, **context).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters() if trained else ():
        parameter.data += 0.5 * torch.empty_like(parameter).normal_(generator=generator)
    return module.eval()


def model(wrapper, network, sigma=0.3, activation="silu", *, trained=True, d=3):
    outputs = 1 if wrapper == "energy" else d
    return WRAPPERS[wrapper](body(network, outputs, activation, trained=trained, d=d), sigma)


def normal_context(n):
    return torch.randn(n, C, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def jacobian(field, x):
    """Row by row, (n, d, d)."""
    return torch.stack(
        [
            torch.autograd.functional.jacobian(lambda r: field(r[None])[0], row, create_graph=False)
            for row in x
        ]
    )


@each_network
@each_wrapper
@each_sigma
@pytest.mark.parametrize("d", [1, 3])
def test_untrained_model_is_the_score_of_the_noised_standard_normal(network, wrapper, sigma, d):
    x = rows(d=d)
    score = model(wrapper, network, sigma, trained=False, d=d)(x)
    torch.testing.assert_close(score, -x / (1 + sigma**2), rtol=1e-12, atol=1e-12)


@each_network
@each_sigma
def test_untrained_energy_is_minus_the_log_density_of_the_noised_standard_normal(network, sigma):
    x = rows()
    energy = model("energy", network, sigma, trained=False).energy(x)
    torch.testing.assert_close(energy, x.square().sum(1) / (2 * (1 + sigma**2)))


class Answer(nn.Module):
    """A body with known outputs (as a field) or known gradient (as an energy)."""

    def __init__(self, wrapper, answer):
        super().__init__()
        self.wrapper, self.answer = wrapper, answer

    def forward(self, y):
        self.seen = y.detach()
        if self.wrapper == "energy":
            return (y * self.answer).sum(1, keepdim=True)
        return self.answer


@each_wrapper
@pytest.mark.parametrize("sigma", SIGMAS[1:])
def test_denoising_asks_for_inputs_and_outputs_of_unit_variance(wrapper, sigma):
    # Given x0, eps ~ N(0, I), this answer has unit variance, and the score is -eps / sigma.
    x0, eps, scale = rows(), rows().flip(0), math.sqrt(1 + sigma**2)
    answer = Answer(wrapper, (eps - sigma * x0) / scale)
    score = WRAPPERS[wrapper](answer, sigma)(x0 + sigma * eps)
    torch.testing.assert_close(score, -eps / sigma, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(answer.seen, (x0 + sigma * eps) / scale, rtol=1e-12, atol=1e-12)


@each_wrapper
def test_without_noise_the_body_is_subtracted_from_the_score_of_a_standard_normal(wrapper):
    x, answer = rows(), rows().flip(0)
    score = WRAPPERS[wrapper](Answer(wrapper, answer), 0.0)(x)
    torch.testing.assert_close(score, -x - answer)


@each_network
@each_wrapper
@each_sigma
def test_rows_do_not_see_each_other(network, wrapper, sigma):
    x, field = rows(9), model(wrapper, network, sigma)
    together = field(x)
    alone = torch.cat([field(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(field(x.flip(0)), together.flip(0), rtol=1e-12, atol=1e-12)


@each_network
@each_sigma
def test_energy_network_is_minus_the_gradient_of_its_energy(network, sigma):
    x, field = rows().requires_grad_(), model("energy", network, sigma)
    (slope,) = torch.autograd.grad(field.energy(x).sum(), x)
    torch.testing.assert_close(field(x), -slope, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(field(x), -slope, rtol=1e-12, atol=1e-12)


@each_network
@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
def test_energy_network_has_a_symmetric_jacobian_and_a_free_field_has_not(network, activation):
    J = jacobian(model("energy", network, activation=activation), rows())
    torch.testing.assert_close(J, J.mT, rtol=1e-10, atol=1e-10)
    free = jacobian(model("score", network, activation=activation), rows())
    assert ((free - free.mT).abs().amax((1, 2)) > 1e-3).all()


@each_network
@each_wrapper
@each_activation
def test_every_activation_learns(network, wrapper, activation):
    x, field = rows(40), model(wrapper, network, activation=activation)
    loss = (field(x) + x.sin()).square().mean()
    parameters = list(field.parameters())
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    used = [(p, g) for p, g in zip(parameters, slopes, strict=True) if g is not None]
    # The additive constant of an energy is the one parameter that a score cannot see.
    assert len(parameters) - len(used) == (1 if wrapper == "energy" else 0)
    assert all(g.isfinite().all() for _, g in used)
    for parameter, slope in used:
        parameter.data -= 1e-4 * slope
    if wrapper == "score" or activation in SMOOTH_ACTIVATIONS:  # else the loss has jumps
        assert (field(x) + x.sin()).square().mean() < loss


def slopes_around_zero(activation, order):
    """Derivative of the given order just left and right of zero."""
    x = torch.tensor([-1e-7, 1e-7], dtype=torch.float64, requires_grad=True)
    values = ACTIVATIONS[activation]()(x)
    for _ in range(order):
        (values,) = torch.autograd.grad(values.sum(), x, create_graph=True)
        if not values.requires_grad:
            return values
    return values


@each_activation
def test_smooth_activations_are_those_with_continuous_second_derivatives(activation):
    jumps = [slopes_around_zero(activation, order).diff().abs().item() for order in (1, 2)]
    assert (max(jumps) < 1e-4) == (activation in SMOOTH_ACTIVATIONS)


@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
def test_smooth_activations_are_differentiable_twice(activation):
    x = rows().flatten().requires_grad_()
    assert torch.autograd.gradgradcheck(ACTIVATIONS[activation](), x)


@each_network
@pytest.mark.parametrize("widths", [(4,), (7, 3), (2, 9, 5)])
def test_factories_take_any_widths_and_start_at_zero(network, widths):
    module = NETWORKS[network](3, 2, widths)
    outputs = module(torch.ones(5, 3))
    assert outputs.shape == (5, 2)
    assert torch.equal(outputs, torch.zeros(5, 2))


@each_network
def test_untrained_network_reaches_its_last_layer_with_a_gradient(network):
    # Zeros in the last layer must not be a point from which nothing can be learnt.
    field = model("score", network, trained=False)
    (field(rows()) - 1).square().sum().backward()
    assert sum(bool(p.grad.abs().max() > 0) for p in field.parameters()) >= 2


def test_a_trunk_of_one_unit_is_refused():
    with pytest.raises(ValueError, match=r"ResNet must begin with at least 2.* Got \(1,\)"):
        ResNet(2, 1, (1,))


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_a_level_below_zero_is_refused(sigma):
    with pytest.raises(
        ValueError, match="'sigma' parameter of ScoreNetwork must be a number in the range"
    ):
        ScoreNetwork(MLP(1, 1, (2,)), sigma)


# Contexts and divergences of bodies

C = 4  # features of a context
CONTEXTS = {"none": None, "one": (1, C), "per row": (6, C)}
each_context = pytest.mark.parametrize("shape", CONTEXTS.values(), ids=CONTEXTS)
each_depth = pytest.mark.parametrize("widths", [(6,), (8, 5), (4, 7, 3)], ids=len)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def in_context(network, shape, **options):
    """A trained body, and its contexts: a tuple to be passed on."""
    features, context = (0, ()) if shape is None else (C, (normal(*shape, seed=5),))
    return body(network, 3, trained=True, context_features=features, **options), context


def close(actual, expected, tolerance=1e-10):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def jacobian_in_context(module, x, context):
    return torch.stack(
        [
            jacobian(lambda x, k=k: module(x, *(c[k % len(c)][None] for c in context)), row[None])[
                0
            ]
            for k, row in enumerate(x)
        ]
    )


@each_network
@each_context
@each_depth
@pytest.mark.parametrize("m", [1, 3, 5])
def test_divergence_of_a_body_is_the_trace_of_its_jacobian_in_any_metric(network, shape, widths, m):
    x, directions = rows(), normal(m, 3, seed=3)
    module, context = in_context(network, shape, widths=widths)
    values, trace = module.divergence(x, directions, *context)
    close(values, module(x, *context))
    J = jacobian_in_context(module, x, context)
    close(trace, torch.einsum("mi,nij,mj->n", directions, J, directions))


@each_activation
def test_slopes_of_activations_in_closed_form_are_those_of_autograd(activation):
    x = torch.cat([torch.linspace(-30, 30, 1001).double(), torch.tensor([-1e12, -700, 700, 1e12])])
    x = x.double()[None].requires_grad_()
    closed = VALUES_AND_SLOPES[activation](x)
    generic = value_and_slope(ACTIVATIONS[activation](), x)
    for a, b in zip(closed, generic, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-8)  # torch's softplus is x from 20 on
    if activation in SMOOTH_ACTIVATIONS:
        curves = (torch.autograd.grad(slope.sum(), x)[0][:, :-4] for _, slope in (closed, generic))
        torch.testing.assert_close(*curves, rtol=1e-12, atol=1e-8)


def test_every_activation_has_its_slope():
    assert list(VALUES_AND_SLOPES) == list(ACTIVATIONS)


@each_network
@each_depth
def test_one_context_for_all_rows_is_the_same_context_for_each(network, widths):
    module, (context,) = in_context(network, (1, C), widths=widths)
    directions = torch.eye(3).double()
    shared = module.divergence(rows(), directions, context)
    repeated = module.divergence(rows(), directions, context.expand(len(rows()), C))
    for a, b in zip(shared, repeated, strict=True):
        close(a, b, 1e-13)


@each_network
@each_context
@each_activation
def test_closed_form_of_the_divergence_is_the_generic_one(network, shape, activation):
    x, directions = rows(), normal(2, 3, seed=3)
    module, context = in_context(network, shape, activation=activation)
    results = [
        module.divergence(x, directions, *context),
        divergence(lambda x: module(x, *context), x, directions),
    ]
    for closed, generic in zip(*results, strict=True):
        close(closed, generic)
    if activation in SMOOTH_ACTIVATIONS:  # else the slope has jumps, and autograd none of them
        closed, generic = (
            torch.autograd.grad(trace.square().sum(), list(module.parameters()), allow_unused=True)
            for _, trace in results
        )
        assert closed[-1] is None  # the last bias moves no slope
        for a, b in zip(closed[:-1], generic[:-1], strict=True):
            close(a, b)


@each_network
def test_closed_form_of_the_divergence_holds_no_graph_without_grad(network):
    module, context = in_context(network, (6, C))
    with torch.no_grad():
        results = module.divergence(rows(), torch.eye(3).double(), *context)
    assert not any(result.requires_grad for result in results)


@each_network
def test_context_sets_gains_and_shifts_of_each_row_by_itself(network):
    module, (context,) = in_context(network, (6, C))
    x = rows()
    together = module(x, context)
    close(together, torch.cat([module(x[[k]], context[[k]]) for k in range(6)]))
    close(module(x, context[:1]), module(x, context[:1].expand(6, C)))
    assert ((together - module(x, context.flip(0))).abs() > 1e-6).all()


@each_network
def test_factories_with_a_context_start_at_zero(network):
    module = body(network, 2, trained=False, context_features=C)
    assert torch.equal(module(rows(), normal(6, C)), torch.zeros(6, 2).double())


def test_an_mlp_with_context_is_its_formula():
    mlp, (context,) = in_context("mlp", (6, C), activation="tanh")
    h = rows()
    for layer in mlp.hidden:
        h = torch.tanh(layer.gain(context) * layer.affine(h) + layer.shift(context))
    close(mlp(rows(), context), mlp.exit(h))


def test_a_resnet_adds_its_blocks_to_the_trunk():
    resnet, (context,) = in_context("resnet", (6, C), activation="tanh")
    trunk = resnet.entrance(rows())
    for block in resnet.blocks:
        inner = block.inner
        hidden = inner.gain(context) * inner.affine(block.norm(trunk)) + inner.shift(context)
        trunk = trunk + block.outer(torch.tanh(hidden))
    norm, _, last = resnet.exit
    close(resnet(rows(), context), last(torch.tanh(norm(trunk))))


@each_network
def test_without_features_of_a_context_nothing_is_made_for_it(network):
    plain = sum(p.numel() for p in body(network, 2, trained=False).parameters())
    modulated = body(network, 2, trained=False, context_features=C)
    extra = 2 * (C + 1) * (8 + 5) * getattr(modulated, "n_members", 1)
    assert sum(p.numel() for p in modulated.parameters()) == plain + extra
    with torch.no_grad():
        for module in modulated.modules():
            if isinstance(getattr(module, "gain", None), nn.Module):
                assert torch.equal(module.gain.bias, torch.ones_like(module.gain.bias))
                assert torch.equal(module.shift.bias, torch.zeros_like(module.shift.bias))


@each_network
@each_wrapper
@each_sigma
def test_divergence_of_a_score_network_is_the_trace_of_its_jacobian(network, wrapper, sigma):
    x, field, directions = rows(), model(wrapper, network, sigma), normal(2, 3, seed=3)
    values, trace = field.divergence(x, directions)
    close(values, field(x))
    close(trace, torch.einsum("mi,nij,mj->n", directions, jacobian(field, x), directions))


# Networks over all levels

DIFFUSIONS = {"free": DiffusionNetwork, "conservative": ConservativeDiffusionNetwork}
LEVELS = SIGMAS[1:]
each_diffusion = pytest.mark.parametrize("kind", DIFFUSIONS)
each_level = pytest.mark.parametrize("sigma", LEVELS)


def diffusion(kind, network, *, trained=True, d=3, sigma_min=0.01):
    outputs, features = (1 if kind == "conservative" else d), LevelFeatures.n_features
    module = body(network, outputs, trained=trained, d=d, context_features=features)
    return DIFFUSIONS[kind](module, sigma_min).double()


def angles(n=6):
    return torch.linspace(0, math.pi / 2, n, dtype=torch.float64)[:, None]


@each_network
@each_diffusion
def test_untrained_field_is_zero_and_at_a_level_the_score_of_a_standard_normal(network, kind):
    net, x = diffusion(kind, network, trained=False), rows()
    close(net(x, angles()), torch.zeros_like(x))
    for sigma in LEVELS:
        at = net.at(sigma)
        close(at(x), -x / (1 + sigma**2))
        values, trace = at.divergence(x, torch.eye(3).double())
        close(values, at(x))
        close(trace, torch.full((6,), -3 / (1 + sigma**2), dtype=torch.float64))
        if kind == "conservative":
            close(at.energy(x), x.square().sum(1) / (2 * (1 + sigma**2)))


@each_network
@each_diffusion
def test_field_and_its_divergence_take_one_angle_or_one_for_each_row(network, kind):
    net, x, directions = diffusion(kind, network), rows(), normal(2, 3, seed=3)
    F, trace = net.divergence(x, angles(), directions)
    close(F, net(x, angles()))
    for k, theta in enumerate(angles()):
        row, one = x[[k]], theta[None]
        J = jacobian(lambda y, one=one: net(y, one), row)
        close(F[[k]], net(x, one)[[k]])
        close(trace[[k]], torch.einsum("mi,nij,mj->n", directions, J, directions))


@each_network
@each_diffusion
@each_level
def test_score_at_a_level_is_that_of_its_field(network, kind, sigma):
    net, x = diffusion(kind, network), rows()
    theta = torch.full((1, 1), sigma, dtype=torch.float64).atan()
    y = theta.cos() * x
    close(net.at(sigma)(x), -theta.cos() * (y + net(y, theta) / sigma))


@each_network
@each_diffusion
@each_level
def test_divergence_at_a_level_is_the_trace_of_its_jacobian(network, kind, sigma):
    at, x, directions = diffusion(kind, network).at(sigma), rows(), normal(2, 3, seed=3)
    values, trace = at.divergence(x, directions)
    close(values, at(x))
    J = jacobian(at, x)
    close(trace, torch.einsum("mi,nij,mj->n", directions, J, directions))


@each_network
@each_level
def test_score_at_a_level_is_minus_the_slope_of_its_energy(network, sigma):
    at, x, h = diffusion("conservative", network).at(sigma), rows(), 1e-5
    steps = h * torch.eye(3).double()
    slopes = [(at.energy(x + e) - at.energy(x - e)) / (2 * h) for e in steps]
    close(at(x), -torch.stack(slopes, 1), 1e-6)


@each_network
def test_conservative_field_is_the_gradient_of_its_potential_and_symmetric(network):
    net, x, theta = diffusion("conservative", network), rows().requires_grad_(), angles()
    (slope,) = torch.autograd.grad(net.potential(x, theta).sum(), x)
    close(net(x, theta), slope)
    with torch.no_grad():
        close(net(x, theta), slope)
    J = jacobian(lambda y: net(y, theta[2:3]), rows())
    close(J, J.mT)
    free = jacobian(lambda y: diffusion("free", network)(y, theta[2:3]), rows())
    assert ((free - free.mT).abs().amax((1, 2)) > 1e-3).all()


# Features of a level


def features(theta, sigma_min=0.002):
    return LevelFeatures(sigma_min).double()(theta)


def test_features_of_a_level_are_sines_and_cosines_of_the_logarithm_of_its_square():
    theta = angles()
    phase = torch.arange(1, 9) / 8 * (theta.sin() ** 2 + 0.002**2).log()
    close(features(theta), torch.cat([phase.sin(), phase.cos()], 1))
    assert LevelFeatures.n_features == 16


@pytest.mark.parametrize(("k", "e_folds"), [(0, 8 * math.pi), (7, math.pi)])
def test_features_turn_once_over_their_number_of_e_folds(k, e_folds):
    theta = torch.tensor([[0.9], [0.9 * math.exp(-e_folds)]], dtype=torch.float64).asin()
    values = features(theta, 1e-200)[:, [k, k + 8]]
    close(values[0], values[1], 1e-8)
    half = features(torch.tensor([[0.9 * math.exp(-e_folds / 2)]]).double().asin(), 1e-200)
    close(half[0, [k, k + 8]], -values[0], 1e-5)


@pytest.mark.parametrize("sigma_min", [1e-4, 0.002, 0.1])
@pytest.mark.parametrize("end", [0.0, math.pi / 2])
def test_features_are_finite_and_flat_in_slope_at_both_ends(sigma_min, end):
    theta = torch.full((1, 1), end, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(lambda t: features(t, sigma_min), theta)
    assert features(theta, sigma_min).isfinite().all()
    close(slopes, torch.zeros_like(slopes), 1e-12)


def test_features_hardly_change_below_the_least_level():
    theta = torch.tensor([[0.0], [2e-5], [2e-4], [2e-2]]).double().atan()
    below, level = features(theta)[:3], features(theta)[3]
    assert (below - below[0]).abs().max() < 0.011
    assert (level - below[0]).abs().max() > 0.5


def test_features_are_no_parameters_and_not_stored():
    assert not list(LevelFeatures(0.01).parameters())
    assert not LevelFeatures(0.01).state_dict()


# -- the ensemble ------------------------------------------------------------------------------


def members(**options):
    return body("ensemble", 3, trained=True, context_features=C, **options)


def test_an_ensemble_is_the_mean_of_its_members():
    ensemble, x, context = members(), rows(), normal_context(6)
    singles = []
    for m in range(ensemble.n_members):
        single = body("mlp", 3, trained=False, context_features=C)
        for stack, layer in zip(ensemble.hidden, single.hidden, strict=True):
            width = layer.affine.out_features
            layer.affine.weight.data, layer.affine.bias.data = stack.weight[m].T, stack.bias[m, 0]
            layer.gain.weight.data = stack.gain[m, :, :width].T
            layer.shift.weight.data = stack.gain[m, :, width:].T
            layer.gain.bias.data = stack.gain_bias[m, 0, :width]
            layer.shift.bias.data = stack.gain_bias[m, 0, width:]
        single.exit.weight.data = ensemble.exit.weight[m].T
        single.exit.bias.data = ensemble.exit.bias[m, 0]
        singles.append(single(x, context))
    torch.testing.assert_close(ensemble(x, context), torch.stack(singles).mean(0))


@pytest.mark.parametrize("n", [1, 4, 6, 9])
def test_in_training_every_row_is_seen_by_one_member_in_turn(n):
    ensemble, x, context = members(dropout=0.0), rows(n), normal_context(n)
    with torch.no_grad():
        dealt = ensemble.train()(x, context)
        for i in range(n):
            other = copy.deepcopy(ensemble)
            other.exit.weight.data[i % 4] += 1.0
            moved = (other(x, context) != dealt).any(1)
            assert moved.tolist() == [j % 4 == i % 4 for j in range(n)]


def test_dropout_keeps_the_mean_and_draws_from_its_source_only():
    drop, x = Dropout(0.25), torch.ones(200, 500)
    drop.source = torch.Generator().manual_seed(3)
    before = torch.get_rng_state()
    dropped = drop(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert abs(dropped.mean().item() - 1) < 0.01
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert torch.equal(drop.eval()(x), x)


# -- on a mixture ------------------------------------------------------------------------------


def test_a_network_on_a_mixture_adds_a_share_of_its_field():
    mixture = MixtureField(2, 3).double()
    mixture.means.normal_(generator=torch.Generator().manual_seed(2))
    features = LevelFeatures.n_features
    plain = DiffusionNetwork(body("mlp", 3, trained=True, context_features=features), 0.002)
    resting = DiffusionNetwork(plain.body, 0.002, mixture).double()
    y, theta = rows(), torch.full((6, 1), 0.8, dtype=torch.float64)
    torch.testing.assert_close(resting(y, theta), plain.double()(y, theta) + mixture(y, theta))
    resting.share.weight.data += 0.1
    share = resting.share(resting.features(theta))
    expected = plain(y, theta) + share * mixture(y, theta)
    torch.testing.assert_close(resting(y, theta), expected)
    v = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(
        resting.divergence(y, theta, v)[1], divergence(lambda y: resting(y, theta), y)[1]
    )


@each_network
def test_tangents_in_single_precision_are_those_in_double_to_its_rounding(network):
    module, context = in_context(network, (6, C))
    if not getattr(module, "single_tangents", False):
        pytest.skip("takes directions of the dtype of the rows only")
    x, directions = rows(), normal(2, 3, seed=3)
    values, trace = module.divergence(x, directions, *context)
    single_values, single_trace = module.divergence(x, directions.float(), *context)
    assert torch.equal(values, single_values)
    assert not torch.equal(trace, single_trace)
    assert single_trace.dtype == trace.dtype
    torch.testing.assert_close(single_trace, trace, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("m", [1, 7, 600])
def test_parts_of_rows_cover_all_rows_once(m, device):
    parts = [list(range(100))[part] for part in row_parts(100, m, torch.device(device))]
    assert (len(parts) == 1) == (device == "cuda" or m == 1)
    assert sum(parts, []) == list(range(100))
