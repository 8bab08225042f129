"""What all tests share: the hypothesis profile, one thread, and a seeded generator."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("skscore", deadline=None, derandomize=True)
settings.load_profile("skscore")

torch.set_num_threads(1)  # two threads on shared cores are a hundred times slower


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


LONG = (
    "[DenoisingScoreEstimator()-check_",
    "[DiffusionScoreEstimator(max_iter=3)-check_",
    "[ImplicitScoreEstimator(max_iter=1)-check_",
)


def pytest_collection_modifyitems(items):
    """Mark scikit-learn's checks of large networks; those of small variants stay."""
    for item in items:
        if any(name in item.name for name in LONG):
            item.add_marker(pytest.mark.slow)
