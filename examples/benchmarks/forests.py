"""Flow matching with boosted trees: ForestDiffusion, which only draws rows."""

from __future__ import annotations

import numpy as np
from contestants import Fitted
from ForestDiffusion import ForestDiffusionModel

# The paper's 50 levels and 100 copies of every row take hours on one core at 5000 rows; these
# keep its trees (depth 7, rate 0.3) and fit in minutes.
N_LEVELS = 20
N_TREES = 50
MOST_ROWS = 20_000  # with copies
MOST_COPIES = 100  # its default


def fit_forest_diffusion(X: np.ndarray, seed: int) -> Fitted:
    copies = min(max(MOST_ROWS // len(X), 1), MOST_COPIES)
    model = ForestDiffusionModel(
        X, n_t=N_LEVELS, n_estimators=N_TREES, duplicate_K=copies, n_jobs=1, seed=seed, nthread=1
    )

    def sample(n: int, seed: int) -> np.ndarray:
        np.random.seed(seed)  # noqa: NPY002  (the package draws from the global generator)
        return model.generate(batch_size=n)

    return Fitted(sample=sample, notes={"copies": copies, "levels": N_LEVELS, "trees": N_TREES})
