"""What all trained estimators have in common in their docstrings, written once."""

from __future__ import annotations

import inspect
import re

_SHARED = {
    "parameters": """network : {"mlp", "resnet", "ensemble"} or importable factory, default="mlp"
        See :mod:`skscore.networks`.
    hidden_layer_sizes : tuple of int in [1, inf), default=(128, 128, 128)
        Width of each hidden layer, or of each residual block.
    activation : str, default="tanh"
        A key of :data:`skscore.networks.ACTIVATIONS`.
    conservative : bool, default=False
        Whether the score is the gradient of an energy network; `energy` and
        `log_density_ratio` exist then.
    standardize : {"whiten", "scale", None}, default="whiten"
        Coordinates of the network and of noise levels: decorrelated, scaled column by
        column, or in input units (only shifted).
    dequantize : bool, default=False
        Whether training adds uniform noise of one gap to columns with repeated values.
    learning_rate_init : float in (0, inf), default=0.004
        Of AdamW.
    batch_size : "auto" or int in [1, inf), default="auto"
        "auto" is a quarter of the training rows, but at least 64 and at most 128 (256 for
        :class:`DiffusionScoreEstimator`); of larger tables a thousandth of them, at most 1024.  A
        number is at most that of the training rows.
    max_iter : int in [1, inf), default=500
        Most rounds.  A round is one pass over the rows, but at least 50 and at most 1000
        optimiser steps.
    early_stopping : bool, default=True
        Whether rows are held out, and the state that is best on them kept.
    validation_fraction : float in (0, 1), default=0.1
        Part of the rows held out, at most 50,000 of them.
    n_iter_no_change : int in [1, inf), default=10
        Rounds without a better validation score after which training ends.
    tol : float in [0, inf), default=1e-4
        How much better counts.
    warm_start : bool, default=False
        Whether `fit` goes on from the network of the fit before.
    store_starts : bool, default=True
        Whether up to 10,000 training rows are kept, for `partial_fit` and for chains to start
        from.  A pickle then holds them: with private rows, use False.
    verbose : bool or int, default=False
        Whether each round prints a line.
    random_state : int, RandomState or None, default=None
        Of the split, the network, the batches and the noise.
    device : str, default="auto"
        "auto" (the GPU when there is one), "cpu", "cuda" or "cuda:<number>".""",
    "attributes": """n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only where X had column names.
    location_ : ndarray of shape (n_features,)
        Mean of the training rows: the plain one, which a value far out moves.
    covariance_ : ndarray of shape (n_features, n_features)
        Of the training rows, in the units of X whatever `standardize` is: plain moments, which a
        value far out moves, shrunk where the rows are few and floored.  The metric of Hyvarinen's
        criterion.
    n_iter_ : int
        Rounds of training.
    best_iter_ : int
        The round whose state was kept; 0 is the untrained Gaussian (or, with `warm_start`, the
        model of the fit before), where no round was better on the held-out rows.
    loss_curve_ : list of float
        Mean training loss of each round.
    validation_scores_ : list of float, or None
        Minus the loss on the held-out rows after each round, always with the same draws.
    best_validation_score_ : float, or None
        Of the state that was kept; the untrained one competes.
    n_skipped_steps_ : int
        Steps without effect, because their gradient was not finite.
    chain_starts_ : ndarray of shape (n_starts, n_features)
        Training rows (at most 10,000) that chains start from.
    network_ : torch.nn.Module
        The trained score network, on standardised rows.""",
}


def shared_documentation(cls: type) -> type:
    """Fill the parameters and attributes that all trained estimators have into a docstring.

    The defaults are those of the class's own constructor.  What the docstring has an entry for
    itself is left out.
    """
    own = set(re.findall(r"^    (\w+) : ", cls.__doc__ or "", flags=re.MULTILINE))
    defaults = inspect.signature(cls).parameters

    def with_default(match: re.Match[str]) -> str:
        default = defaults[match["name"]].default
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        return f"{match['name']} : {match['kind']}, default={shown}"

    for name, text in _SHARED.items():
        entries = re.split(r"\n(?=    \w+ : )", text)
        kept = [entry for entry in entries if entry.split(" : ")[0].strip() not in own]
        text = "\n".join(kept).removeprefix("    ")
        text = re.sub(r"\b(?P<name>\w+) : (?P<kind>.+), default=.+", with_default, text)
        cls.__doc__ = (cls.__doc__ or "").replace(f"<{name}>", text)
    return cls
