"""The promises of a density estimator, one function each; :mod:`skscore.testing` runs them.

Each takes an unfitted estimator, clones it, and raises AssertionError where the
promise is broken.  The tolerances are loose where a network is trained (a wrong
sign, space, scale or weight is off by far more) and tight where a result must
repeat.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skscore._backend.scope import global_state, moved_generator
from skscore._math.integrate import integrate
from skscore._validation import unwrapped
from skscore.datasets import make_gaussian, make_two_gaussians
from skscore.exceptions import NotFittedError
from skscore.metrics import relative_fisher_divergence

_LAW = make_gaussian([3.0, -20.0], [[4.0, 3.0], [3.0, 25.0]])
_METHODS = ("score_function", "score_divergence", "score_samples", "energy", "denoise", "score")
_SIGMA = 0.5  # of the noise that an estimator without a level of its own is asked about


def train_rows(n: int = 400, seed: int = 0) -> np.ndarray:
    return _LAW.sample(n, seed)


def configured(estimator: Any, **wanted: Any) -> Any:
    """A clone with those of the wanted parameters that it, or the estimator in it, has."""
    est = clone(estimator)
    known = est.get_params()
    for name, value in {"random_state": 0, **wanted}.items():
        est.set_params(**{key: value for key in places(name) if key in known})
    return est


def places(parameter: str) -> list[str]:
    """A parameter's names in an estimator, and in one that holds another."""
    return [prefix + parameter for prefix in ("", "estimator__", "density__")]


def brief(estimator: Any) -> Any:
    """For promises that hold however well trained."""
    return configured(estimator, max_iter=2, early_stopping=False)


def _method(est: Any, name: str) -> Callable[[np.ndarray], Any]:
    """A method, to be called with rows; at a level of noise where it needs one and has none."""
    needs_level = name == "denoise" and not hasattr(est, "sigma_")
    return partial(getattr(est, name), **({"sigma": _SIGMA} if needs_level else {}))


def _results(est: Any, X: np.ndarray) -> dict[str, np.ndarray]:
    """What every method that takes rows says about them."""
    return {name: np.asarray(_method(est, name)(X)) for name in _METHODS if hasattr(est, name)}


def _assert_same(first: dict[str, Any], second: dict[str, Any], claim: str) -> None:
    for name, value in first.items():
        same = np.array_equal(value, second[name])
        assert same, f"{claim}, but {name} differs."


# -- shapes, finiteness, rows ---------------------------------------------------------------


def check_outputs_are_finite(estimator: Any) -> None:
    """Every method returns finite float64 of the right shape."""
    X = train_rows()
    est = brief(estimator).fit(X)
    shapes = {"score_function": X.shape, "denoise": X.shape, "score": ()}
    for name in filter(partial(hasattr, est), _METHODS):
        values = np.asarray(_method(est, name)(X))
        shape = shapes.get(name, X.shape[:1])
        assert values.shape == shape, f"{name} has shape {values.shape}, not {shape}."
        assert values.dtype == np.float64, f"{name} has dtype {values.dtype}, not float64."
        assert np.isfinite(values).all(), f"{name} is not finite everywhere."
    if hasattr(est, "sample"):
        rows = est.sample(7, random_state=0)
        assert hasattr(rows, "shape"), f"sample returned {type(rows)}, not one array or frame."
        assert rows.shape == (7, X.shape[1]), f"sample(7) has shape {rows.shape}."
        assert np.isfinite(np.asarray(rows)).all(), "sample is not finite everywhere."


def check_rows_are_independent(estimator: Any) -> None:
    """Results of a batch equal those of its rows one by one, to 1e-7."""
    X = train_rows()
    est = brief(estimator).fit(X)
    together = _results(est, X[:40])
    together.pop("score", None)
    for name, values in together.items():
        method = _method(est, name)
        alone = np.concatenate([method(X[i : i + 1]) for i in range(40)])
        reordered = method(X[:40][::-1])[::-1]
        for other in (alone, reordered):
            assert np.allclose(values, other, rtol=1e-7, atol=1e-9), (
                f"{name} of a row depends on the rows beside it."
            )


def check_input_is_untouched(estimator: Any) -> None:
    """No method writes to the rows it is given, even where it may not."""
    X = train_rows()
    before = X.copy()
    X.flags.writeable = False
    est = brief(estimator).fit(X)
    _results(est, X)
    assert np.array_equal(X, before), "the rows given to the estimator were changed."


# -- meaning ----------------------------------------------------------------------------------


def check_score_of_a_gaussian(estimator: Any) -> None:
    """In input space, with its true sign and scale, the score is that of the law of the rows."""
    est = configured(estimator).fit(train_rows(1000))
    X = train_rows(500, seed=1)
    error = relative_fisher_divergence(est.score_function(X), _LAW.score_function(X))
    assert error < 0.25, (
        f"score_function is off the score of a correlated Gaussian by {error:.3g} "
        "(relative Fisher divergence; zero is exact, one is what a score of zero gets)."
    )


def check_score_divergence_is_the_trace_of_the_jacobian(estimator: Any) -> None:
    """`score_divergence` is the sum over columns of differences of `score_function`."""
    est = brief(estimator).fit(train_rows())
    X, spread = train_rows(20, seed=1), train_rows().std(axis=0)
    trace = np.zeros(len(X))
    for j, h in enumerate(1e-4 * spread):
        step = h * np.eye(X.shape[1])[j]
        difference = est.score_function(X + step) - est.score_function(X - step)
        trace += difference[:, j] / (2 * h)
    claimed = est.score_divergence(X)
    assert np.allclose(claimed, trace, rtol=1e-3, atol=1e-4 * np.abs(trace).max()), (
        "score_divergence is not the trace of the Jacobian of score_function."
    )


def _check_gradient(est: Any, name: str, sign: float) -> None:
    start, end = train_rows(20, seed=1), train_rows(20, seed=2)
    path = end - start

    def slope(t: float, _: np.ndarray) -> np.ndarray:
        return np.sum(est.score_function(start + t * path) * path, axis=1)

    work = integrate(slope, np.zeros(len(path)), np.linspace(0.0, 1.0, 65))
    rise = sign * (getattr(est, name)(end) - getattr(est, name)(start))
    assert np.allclose(work, rise, rtol=1e-2, atol=1e-2), (
        f"the integral of score_function along a path is not the rise of {name}."
    )


def check_score_is_gradient_of_log_density(estimator: Any) -> None:
    """The work of the score along a path is the rise of `score_samples`."""
    _check_gradient(brief(estimator).fit(train_rows()), "score_samples", 1.0)


def check_score_is_minus_gradient_of_energy(estimator: Any) -> None:
    """The work of the score along a path is the fall of `energy`."""
    _check_gradient(brief(estimator).fit(train_rows()), "energy", -1.0)


def check_density_integrates_to_one(estimator: Any) -> None:
    """The exponential of `score_samples` integrates to one over the line and the plane."""
    for d, n_points in ((1, 801), (2, 101)):
        X = train_rows()[:, :d]
        est = brief(estimator).fit(X)
        axes = [np.linspace(x.mean() - 9 * x.std(), x.mean() + 9 * x.std(), n_points) for x in X.T]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        mass = np.exp(est.score_samples(grid)).sum() * cell
        assert abs(mass - 1) < 1e-2, f"the density has mass {mass:.4f} in {d}-D, not one."


def check_affine_law(estimator: Any) -> None:
    """Rows aX + b divide the score by a, lower the log-density by d log a, keep the criterion."""
    X, a, b = train_rows(), np.array([4.0, 0.25]), np.array([-7.0, 11.0])
    est, moved = brief(estimator).fit(X), brief(estimator)
    if _is_scale_bound(est) or _keeps_units(est):
        return
    moved.fit(a * X + b)
    Y, scores = X[:50], est.score_function(X[:50])
    assert np.allclose(moved.score_function(a * Y + b) * a, scores, rtol=2e-2, atol=2e-2), (
        "fitting on aX + b does not divide the score by a."
    )
    if hasattr(est, "score_samples"):
        fall = est.score_samples(Y) - moved.score_samples(a * Y + b)
        assert np.allclose(fall, np.log(a).sum(), atol=2e-2), (
            "fitting on aX + b does not lower the log-density by the sum of log a."
        )
    elif hasattr(est, "score"):
        assert np.isclose(moved.score(a * Y + b), est.score(Y), rtol=1e-2), (
            "score changes with the units of the columns."
        )


def inside(est: Any) -> Iterator[Any]:
    """A fitted estimator, and all those in it: of samplers, adapters, searches and pipelines."""
    est = unwrapped(est)
    yield est
    held = [vars(est)[name] for name in ("estimator_", "density_") if name in vars(est)]
    held += [est.steps[-1][1]] if isinstance(est, Pipeline) else []
    for part in held:
        yield from inside(part)


def _is_scale_bound(est: Any) -> bool:
    """Whether a length is fixed by a parameter, as by a kernel's bandwidth."""
    return any(hasattr(part, "bandwidth_") for part in inside(est))


def _keeps_units(est: Any) -> bool:
    """Whether lengths are those of X by a parameter, as by ``standardize=None``."""
    return any(getattr(part, "standardize", "whiten") is None for part in inside(est))


def check_samples_agree_with_the_rows(estimator: Any) -> None:
    """Samples of a fitted Gaussian have its mean and covariance."""
    est = configured(estimator).fit(train_rows(1000))
    rows = np.asarray(est.sample(4000, random_state=0))
    truth = train_rows(4000, seed=1)
    spread = truth.std(axis=0)
    shift = np.abs(rows.mean(axis=0) - truth.mean(axis=0)) / spread
    assert shift.max() < 0.2, f"the mean of the samples is off by {shift.max():.2f} deviations."
    if not _is_scale_bound(est):
        ratio = np.linalg.eigvals(np.linalg.solve(np.cov(truth.T), np.cov(rows.T))).real
        assert ratio.min() > 0.7, f"a variance of the samples is {ratio.min():.2f} of the true one."
        assert ratio.max() < 1.4, f"a variance of the samples is {ratio.max():.2f} of the true one."


# -- weights ----------------------------------------------------------------------------------


def _two_groups() -> tuple[np.ndarray, np.ndarray]:
    """Rows of two overlapping groups, and weights that triple the second."""
    X = make_two_gaussians(0.5, separation=3.0).sample(300, 0)
    return X, np.where(X[:, 0] > 0, 3.0, 1.0)


def check_weights_equal_repetition(estimator: Any) -> None:
    """A weight of three is three rows: same moments, nearly the same score."""
    X, w = _two_groups()
    repeated = np.repeat(X, w.astype(int), axis=0)
    weighted = configured(estimator).fit(X, sample_weight=w)
    twin, plain = configured(estimator).fit(repeated), configured(estimator).fit(X)
    for name in ("location_", "covariance_"):
        if hasattr(weighted, name):
            close = np.allclose(getattr(weighted, name), getattr(twin, name), rtol=1e-2, atol=1e-2)
            assert close, f"{name} with weights is not that of repeated rows."
    grid = np.stack([np.linspace(-3, 3, 41), np.zeros(41)], axis=1)
    scores = {e: e.score_function(grid)[:, 0] for e in (weighted, twin, plain)}
    apart = np.mean((scores[plain] - scores[twin]) ** 2)
    error = np.mean((scores[weighted] - scores[twin]) ** 2)
    assert error < 0.6 * apart, (
        f"the score with weights is {error / apart:.2f} times as far from that of repeated rows "
        "as the score without weights is (mean square)."
    )


def check_rows_of_zero_weight_are_absent(estimator: Any) -> None:
    """A row of weight zero might as well not be there."""
    X = train_rows(100)
    outliers = X[:10] + 1e4
    w = np.r_[np.ones(100), np.zeros(10)]
    est = brief(estimator).fit(np.r_[X, outliers], sample_weight=w)
    alone = brief(estimator).fit(X, sample_weight=np.ones(100))
    other = _results(est, X)
    for name, values in _results(alone, X).items():
        same = np.allclose(values, other[name], rtol=1e-6, atol=1e-9)
        assert same, f"rows of weight zero change {name}."


# -- repetition and state ---------------------------------------------------------------------


def check_refit_clone_and_pickle_repeat(estimator: Any) -> None:
    """A refit, a clone and a pickle with the same seed give the same bits."""
    X = train_rows()
    est = brief(estimator).fit(X)
    first = _results(est, X)
    _assert_same(first, _results(pickle.loads(pickle.dumps(est)), X), "a pickle must repeat")
    _assert_same(first, _results(clone(est).fit(X), X), "a clone with the same seed must repeat")
    _assert_same(first, _results(est.fit(X), X), "a refit with the same seed must repeat")


def check_sample_obeys_its_seed(estimator: Any) -> None:
    """An integer repeats; another integer, and every call without one, draws anew."""
    est = brief(estimator).fit(train_rows())
    first = est.sample(5, random_state=1)
    assert np.array_equal(first, est.sample(5, random_state=1)), "sample ignores its seed."
    assert not np.array_equal(first, est.sample(5, random_state=2)), "two seeds sample the same."
    assert not np.array_equal(est.sample(5), est.sample(5)), "sample repeats without a seed."


def _everything_global() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "numpy generator": (kind, np.asarray(keys).tobytes(), tuple(rest)),
        "python generator": random.getstate(),
        "numpy error state": tuple(np.geterr().items()),
        **global_state(),
    }


@contextmanager
def moved_generators() -> Iterator[None]:
    """The global generators somewhere else than where a seed leaves them; put back after."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.random(7)  # noqa: NPY002
    random.random()
    try:
        with moved_generator():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def check_no_global_state_is_touched(estimator: Any) -> None:
    """No generator, dtype, thread count or mode is changed, or read, by any method."""
    X = train_rows()
    results: list[dict[str, np.ndarray]] = []
    for _ in range(2):
        with moved_generators():
            np.random.random(len(results))  # noqa: NPY002
            before = _everything_global()
            est = brief(estimator).fit(X)
            results.append(_results(est, X))
            if hasattr(est, "sample"):
                est.sample(3, random_state=0)
            for name, value in _everything_global().items():
                assert value == before[name], f"the {name} was changed."
    _assert_same(results[0], results[1], "the global generator must not matter")


def check_validation_rows_are_not_trained_on(estimator: Any) -> None:
    """Held-out rows enter the moments and the choice of the state, never a gradient.

    Exchanging two rows keeps all moments.  With two held-out rows the training losses stay as
    they were; with any other pair batches and noise meet other rows.  So the number of pairs
    that leave them alone is that of pairs of held-out rows.
    """
    rng = np.random.RandomState(0)
    X, n, n_held = rng.randint(-8, 8, size=(8, 1)).astype(float) + rng.rand(8, 1), 8, 4
    est = configured(
        estimator,
        batch_size=2,
        early_stopping=True,
        validation_fraction=n_held / n,
        max_iter=1,
        hidden_layer_sizes=(8,),
    )

    def losses(i: int, j: int) -> np.ndarray:
        moved = X.copy()
        moved[[i, j]] = moved[[j, i]]
        return np.array(clone(est).fit(moved).loss_curve_)

    base = np.array(clone(est).fit(X).loss_curve_)
    alone = sum(
        np.allclose(losses(i, j), base, rtol=1e-6) for i in range(n) for j in range(i + 1, n)
    )
    expected = n_held * (n_held - 1) // 2
    assert alone == expected, (
        f"{alone} pairs of rows have no part in training, not {expected}: rows held out for "
        "validation are trained on, or rows for training are not."
    )


# -- refusals ---------------------------------------------------------------------------------


def check_bad_rows_are_refused_by_every_method(estimator: Any) -> None:
    """NaN, infinity and a wrong width are refused by every method, not only `fit`."""
    X = train_rows()
    est = brief(estimator).fit(X)
    wrong = {"NaN": X.copy(), "infinity": X.copy(), "width": np.c_[X, X]}
    wrong["NaN"][3, 1], wrong["infinity"][3, 1] = np.nan, np.inf
    for name in ("fit", *_METHODS):
        if not hasattr(est, name):
            continue
        for what, rows in wrong.items():
            if name == "fit" and what == "width":
                continue
            fresh = brief(estimator) if name == "fit" else est
            assert _raises(ValueError, _method(fresh, name), rows), f"{name} accepts bad {what}."


def check_failed_fit_leaves_it_unfitted(estimator: Any) -> None:
    """After a fit that fails, old results are gone and methods say so."""
    X = train_rows()
    bad = X.copy()
    bad[0, 0] = np.nan
    for est in (brief(estimator), brief(estimator).fit(X)):
        assert _raises(ValueError, est.fit, bad), "fit accepts NaN."
        assert _raises(NotFittedError, est.score_function, X), "a failed fit leaves it fitted."


def _raises(error: type[Exception], method: Callable[..., Any], *args: Any) -> bool:
    try:
        method(*args)
    except error:
        return True
    return False
