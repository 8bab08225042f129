"""The optimiser against torch's own class of that name."""

import copy
import subprocess
import sys

import torch
from torch import nn

from skscore._backend.adamw import AdamW


def vectors():
    generator = torch.Generator().manual_seed(0)
    sizes_and_types = [(5, torch.float32), (3, torch.float64)]
    return [
        nn.Parameter(torch.randn(size, generator=generator, dtype=dtype))
        for size, dtype in sizes_and_types
    ]


def with_gradients(parameters, k):
    for parameter in parameters:
        parameter.grad = torch.linspace(-1, k, len(parameter), dtype=parameter.dtype)
    return parameters


def test_steps_and_moments_are_those_of_torch():
    own, theirs = vectors(), vectors()
    optimizer, twin = AdamW(own), torch.optim.AdamW(theirs, lr=0.1, fused=True)
    for k in range(6):
        with_gradients(own, k)
        with_gradients(theirs, k)
        rate, divisor, skipped = 0.1 / (k + 1), torch.tensor(1.0 + k), torch.tensor(float(k == 3))
        before = copy.deepcopy(own)
        optimizer.step(rate, divisor, skipped)
        twin.param_groups[0]["lr"], twin.grad_scale, twin.found_inf = rate, divisor, skipped
        twin.step()
        assert all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
        moved = [not torch.equal(a, b) for a, b in zip(own, before, strict=True)]
        assert moved == [k != 3] * 2
    saved = twin.state_dict()["state"]
    assert optimizer.moments.keys() == saved.keys()
    for place, moments in optimizer.moments.items():
        assert moments.keys() == saved[place].keys()
        assert all(torch.equal(moments[name], saved[place][name]) for name in moments)
        assert all(moments[name].dtype == saved[place][name].dtype for name in moments)


def test_it_goes_on_from_copies_of_moments():
    whole, first = vectors(), vectors()
    divisor, skipped = torch.tensor(1.0), torch.tensor(0.0)
    optimizer, before = AdamW(whole), AdamW(first)
    with_gradients(first, 1)
    before.step(0.1, divisor, skipped)
    kept = copy.deepcopy(before.moments)
    after = AdamW(first, before.moments)
    for k in (1, 2):
        with_gradients(whole, k)
        optimizer.step(0.1, divisor, skipped)
    with_gradients(first, 2)
    after.step(0.1, divisor, skipped)
    assert all(torch.equal(a, b) for a, b in zip(whole, first, strict=True))
    assert all(torch.equal(before.moments[0][name], kept[0][name]) for name in kept[0])


FIT = """
import sys
import numpy as np
from skscore import DenoisingScoreEstimator
DenoisingScoreEstimator(max_iter=1).fit(np.random.RandomState(0).normal(size=(60, 2)))
assert "torch._dynamo" not in sys.modules
"""


def test_a_fit_does_not_import_the_compiler_of_torch():
    """It took a second in every process."""
    subprocess.run([sys.executable, "-c", FIT], check=True)
