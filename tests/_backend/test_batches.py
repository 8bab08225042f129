"""Batches: parts, weighted means, and models of rows that have a context."""

import pytest
import torch

from skscore._backend.batches import Batch
from skscore.losses import DenoisingScoreMatching, SlicedScoreMatching
from skscore.noise import GaussianNoise

X = torch.arange(12.0).reshape(6, 2)
CONTEXT = 100 * torch.arange(6.0)[:, None]


def test_parts_are_equal_and_keep_rows_with_their_weights_and_contexts():
    parts = Batch(X, torch.arange(6.0), CONTEXT).parts(3)
    assert [len(part.x) for part in parts] == [2, 2, 2]
    for part in parts:
        assert torch.equal(100 * part.weight, part.context[:, 0])
        assert torch.equal(part.x[:, 0], part.context[:, 0] / 50)
    assert all(part.weight is None and part.context is None for part in Batch(X).parts(2))


def test_the_mean_counts_rows_by_their_weights():
    values = torch.tensor([1.0, 5.0])
    assert Batch(X[:2]).mean(values) == 3
    assert Batch(X[:2], torch.tensor([3.0, 1.0])).mean(values) == 2


def test_without_contexts_a_model_is_itself():
    assert Batch(X).conditioned(torch.sin) is torch.sin


@pytest.mark.parametrize(
    "loss", [DenoisingScoreMatching(GaussianNoise(0.1)), SlicedScoreMatching(3)]
)
def test_a_loss_that_takes_its_rows_several_times_gives_each_its_own_context(loss):
    """The score is known to the context alone: -x for the first rows and -2x for the others."""

    def model(x, context):
        return -torch.where(context > 250, 2.0, 1.0) * x

    batch = Batch(torch.ones(6, 2), None, CONTEXT)
    found = loss(batch.conditioned(model), batch.x, generator=torch.Generator().manual_seed(0))
    first, second = (
        loss(lambda x, k=k: -k * x, batch.x, generator=torch.Generator().manual_seed(0))
        for k in (1, 2)
    )
    torch.testing.assert_close(found, torch.cat([first[:3], second[3:]]))
