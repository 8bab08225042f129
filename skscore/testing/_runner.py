"""Checks that hold a density or score estimator to its promises.

scikit-learn's ``check_estimator`` never looks at a density: an estimator whose
scores are all NaN passes it.  :func:`check_density_estimator` asks what a user of
scores relies on.  Each check is named after the promise it holds; what it needs (a
method, a parameter) stands beside it in the table below, and an estimator without
that is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from skscore.testing import _promises

__all__ = ["check_density_estimator", "density_estimator_checks"]


@dataclass(frozen=True)
class _Check:
    """A check, and what an estimator needs for it to apply."""

    run: Callable[[Any], None]
    methods: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    weights: bool = False
    clean: bool = False  # the score is that of the density, not of a noised one

    def applies(self, fitted: Any) -> bool:
        known = fitted.get_params()
        has_parameters = all(set(_promises.places(p)) & set(known) for p in self.parameters)
        noised = any(hasattr(part, "sigma_") for part in _promises.inside(fitted))
        has_methods = all(hasattr(fitted, m) for m in self.methods)
        return has_parameters and has_methods and not (self.clean and noised)


_CHECKS = (
    _Check(_promises.check_outputs_are_finite),
    _Check(_promises.check_rows_are_independent),
    _Check(_promises.check_input_is_untouched),
    _Check(_promises.check_score_of_a_gaussian, ("score_function",)),
    _Check(_promises.check_score_divergence_is_the_trace_of_the_jacobian, ("score_divergence",)),
    _Check(
        _promises.check_score_is_gradient_of_log_density,
        ("score_function", "score_samples"),
        clean=True,
    ),
    _Check(_promises.check_score_is_minus_gradient_of_energy, ("score_function", "energy")),
    _Check(_promises.check_density_integrates_to_one, ("score_samples",)),
    _Check(_promises.check_affine_law, ("score_function",)),
    _Check(_promises.check_samples_agree_with_the_rows, ("sample",)),
    _Check(_promises.check_weights_equal_repetition, ("score_function",), weights=True),
    _Check(_promises.check_rows_of_zero_weight_are_absent, weights=True),
    _Check(_promises.check_refit_clone_and_pickle_repeat),
    _Check(_promises.check_sample_obeys_its_seed, ("sample",)),
    _Check(_promises.check_no_global_state_is_touched),
    _Check(
        _promises.check_validation_rows_are_not_trained_on,
        ("loss_curve_",),
        ("early_stopping", "validation_fraction"),
    ),
    _Check(_promises.check_bad_rows_are_refused_by_every_method),
    _Check(_promises.check_failed_fit_leaves_it_unfitted, ("score_function",)),
)


def density_estimator_checks(estimator: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """The checks that apply to an estimator, as (name, function of nothing).

    Parameters
    ----------
    estimator : estimator
        An unfitted one; it is cloned.

    Yields
    ------
    name : str
    check : callable
        Raises ``AssertionError`` where the promise is broken.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.testing._runner import density_estimator_checks
    >>> checks = dict(density_estimator_checks(DensityScoreEstimator(KernelDensity())))
    >>> checks["check_density_integrates_to_one"]()
    """
    fitted = _promises.brief(estimator).fit(_promises.train_rows(50))
    weighted = _takes_weights(estimator)
    for check in _CHECKS:
        if check.applies(fitted) and (weighted or not check.weights):
            yield check.run.__name__, partial(check.run, estimator)


def _takes_weights(estimator: Any) -> bool:
    """Whether `fit` has weights; an estimator may refuse them by name."""
    if not has_fit_parameter(estimator, "sample_weight"):
        return False
    try:
        _promises.brief(estimator).fit(_promises.train_rows(50), sample_weight=np.arange(50.0))
    except ValueError as error:
        return "sample_weight" not in str(error)
    return True


def check_density_estimator(estimator: Any) -> list[str]:
    """Hold an estimator to every promise that applies to it.

    To be used beside scikit-learn's ``check_estimator``.

    Parameters
    ----------
    estimator : estimator
        An unfitted one; it is cloned.

    Returns
    -------
    list of str
        The names of the checks that were made.

    Raises
    ------
    AssertionError
        At the first promise that is broken, starting with the name of its check.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from skscore import DensityScoreEstimator
    >>> from skscore.testing._runner import check_density_estimator
    >>> "check_affine_law" in check_density_estimator(DensityScoreEstimator(KernelDensity()))
    True
    """
    made = []
    for name, check in density_estimator_checks(estimator):
        try:
            check()
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
        made.append(name)
    return made
