"""The scope around torch: what it sets aside, what it leaves alone, networks built in it."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from skscore._backend.fitted import NetworkSpec
from skscore._backend.scope import building_scope, global_state, torch_scope
from skscore.networks import NETWORKS


@pytest.fixture
def n_threads():
    """Set the count of threads of torch; put back after."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def default_dtype():
    """Set the default dtype of torch; put back after."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


def in_new_thread(fn):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result()


def test_modes_of_the_caller_are_set_aside_and_put_back(n_threads):
    n_threads(3)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        before = global_state()
        with torch_scope():
            assert torch.get_num_threads() == 1
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
            x = torch.ones(2, 2, requires_grad=True)
            (x @ x).sum().backward()
            assert x.grad.dtype == torch.float32
        assert global_state() == before


def test_none_keeps_the_threads_there_are(n_threads):
    n_threads(3)
    with torch_scope(None):
        assert torch.get_num_threads() == 3


def test_everything_is_put_back_after_an_error(n_threads):
    n_threads(3)
    before = global_state()
    with pytest.raises(ZeroDivisionError), torch_scope():
        raise ZeroDivisionError
    assert global_state() == before


def test_the_count_of_threads_is_that_of_one_thread_only(n_threads):
    n_threads(3)
    with torch_scope():
        assert in_new_thread(torch.get_num_threads) == 3
    assert in_new_thread(torch.get_num_threads) == 3


def test_overlapping_scopes_do_not_lose_a_count_of_threads(n_threads):
    # Each used to put back what the other had set for the length of its call.
    n_threads(3)
    entered, leave, after = threading.Barrier(2), threading.Barrier(2), []

    def first():
        with torch_scope():
            entered.wait()
            leave.wait()
        after.append(torch.get_num_threads())

    def second():
        entered.wait()
        with torch_scope():
            leave.wait()
            thread.join()
        after.append(torch.get_num_threads())

    thread = threading.Thread(target=first)
    other = threading.Thread(target=second)
    thread.start()
    other.start()
    thread.join()
    other.join()
    assert after == [3, 3]
    assert in_new_thread(torch.get_num_threads) == 3
    assert torch.get_num_threads() == 3


def test_many_overlapping_scopes_leave_every_count_as_it_was(n_threads):
    n_threads(3)

    def work(_):
        for _ in range(20):
            with torch_scope():
                assert torch.get_num_threads() == 1
        return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(8))) == {3}
    assert in_new_thread(torch.get_num_threads) == 3


# -- networks ---------------------------------------------------------------------------------


class Drawn(nn.Module):
    """A factory's network that makes and draws its parameters in many ways."""

    def __init__(self, in_features, out_features, *shape, context_features=0):
        super().__init__()
        d = in_features
        self.affine = nn.Linear(d, out_features)
        self.embedding = nn.Embedding(3, d)
        self.cell = nn.GRUCell(d, 2)
        self.attention = nn.MultiheadAttention(2, 1)
        made = {
            "zeros": torch.zeros(d),
            "full": torch.full((d,), 0.3),
            "tensor": torch.tensor([0.1, 0.7]),
            "range": torch.arange(0.1, 1.0, 0.3),
            "whole": torch.arange(3) / 3,
            "randn": torch.randn(d),
            "rand": torch.rand(d, 2),
            "randn_like": torch.randn_like(self.affine.weight),
            "uniform": torch.empty(d).uniform_(-1, 1),
            "exponential": torch.ones(d).exponential_(),
            "orthogonal": nn.init.orthogonal_(torch.empty(d, d)),
            "xavier": nn.init.xavier_normal_(torch.empty(d, d)),
            "truncated": nn.init.trunc_normal_(torch.empty(d, d)),
            "kaiming": nn.init.kaiming_normal_(torch.empty(d, d)),
            "normal": nn.init.normal_(torch.empty(d)),
        }
        for name, value in made.items():
            self.register_buffer(name, value)
        self.register_buffer("order", torch.randperm(d))

    def forward(self, x):
        return self.affine(x)


FACTORIES = [*NETWORKS, Drawn]


def spec(network):
    return NetworkSpec(network, 3, (8, 8), "tanh", False, sigma=0.5)


def state(network, seed=1):
    return spec(network).build(seed).state_dict()


@pytest.mark.parametrize("network", FACTORIES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_network_is_the_same_whatever_dtype_device_and_seed_are_global(
    network, dtype, default_dtype
):
    plain = state(network)
    default_dtype(dtype)
    with torch.device("meta"), torch.random.fork_rng():
        torch.manual_seed(9)
        before = global_state()
        other = state(network)
        assert global_state() == before
    assert plain.keys() == other.keys()
    for name, value in plain.items():
        assert value.dtype == other[name].dtype
        assert value.dtype in (torch.float32, torch.int64)
        if name == "body.whole":  # an arithmetic result, rounded to the default dtype before
            torch.testing.assert_close(value, other[name], rtol=1e-2, atol=0)
        else:
            assert torch.equal(value, other[name])


@pytest.mark.parametrize("network", FACTORIES, ids=str)
def test_seeds_draw_different_networks(network):
    first, second = state(network, 1), state(network, 2)
    constant = ("bias", "norm", "exit", "0.weight", "zeros", "full", "tensor", "range", "whole")
    for name, value in first.items():
        if not any(part in name for part in (*constant, "order")):
            assert not torch.equal(value, second[name]), name


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_have_the_law_of_torchs_own_layers(network):
    wide = NetworkSpec(network, 7, (400, 300), "tanh", False).build(0)
    drawn = {
        name: value
        for name, value in wide.state_dict().items()
        if value.ndim > 1 and value.any() and "norm" not in name
    }
    assert drawn
    for name, value in drawn.items():
        fan_in = value.shape[1]
        if name.endswith("bias"):
            continue
        u = value.flatten() * math.sqrt(fan_in)
        assert u.abs().max() <= 1
        assert u.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.05)


def test_building_leaves_other_threads_their_stream_and_their_dtype():
    # It used to seed the global generator and to set the global dtype for a moment.
    stop, n = threading.Event(), 3000

    def build():
        while not stop.is_set():
            spec("mlp").build()

    builder = threading.Thread(target=build)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        alone = [torch.rand(1).item() for _ in range(n)]
        torch.manual_seed(5)
        torch.set_default_dtype(torch.float64)
        builder.start()
        try:
            dtypes = {torch.ones(1).dtype for _ in range(n)}
            torch.set_default_dtype(torch.float32)
            together = [torch.rand(1).item() for _ in range(n)]
        finally:
            stop.set()
            builder.join()
            torch.set_default_dtype(torch.float32)
    assert dtypes == {torch.float64}
    assert together == alone


def test_what_a_factory_names_itself_is_kept():
    mine = torch.Generator().manual_seed(3)
    expected = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with building_scope(torch.Generator().manual_seed(0)):
        drawn = torch.randn(4, generator=mine, dtype=torch.float64)
        whole = torch.tensor([1, 2])
        filled = Tensor.normal_(torch.empty(3, dtype=torch.float64), 2.0, 0.0)
    assert torch.equal(drawn, expected)
    assert whole.dtype == torch.int64
    assert filled.tolist() == [2.0, 2.0, 2.0]
