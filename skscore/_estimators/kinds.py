"""What the number of `score` is, and a word where a search may compare two kinds of it.

Estimators with a normalised density return a mean log-density, others Hyvarinen's criterion.
A search without `scoring` compares whatever comes, and scikit-learn tells a candidate nothing of
the others.  But it makes candidates by ``set_params`` from one estimator, and there a change of
the kind shows.  A plain ``Pipeline`` has no such place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator

from skscore._messages import warn_user
from skscore.exceptions import ScoreKindWarning

if TYPE_CHECKING:
    from typing_extensions import Self

_DENSITY, _CRITERION = "the mean log-density", "Hyvarinen's criterion"


class OneKindOfScore(BaseEstimator):
    """An estimator with a part that decides what `score` is, and that ``set_params`` may replace.

    `score` is to call `_warn_of_kind`.
    """

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this estimator, or of those that it holds.

        Parameters
        ----------
        **params : dict
            As for all estimators of scikit-learn, ``part__parameter`` for those of parts.

        Returns
        -------
        self
        """
        first = vars(self).get("_first_kind", _kind(self))
        super().set_params(**params)
        self._first_kind = first
        return self

    def _warn_of_kind(self) -> None:
        """Warn where the score is of another kind than at first, before any ``set_params``."""
        kind = _kind(self)
        first = vars(self).get("_first_kind", kind)
        if None not in (first, kind) and first != kind:
            warn_user(
                f"The score of this {type(self).__name__} is {kind}; before set_params gave it "
                f"another part it was {first}. The two cannot be compared: a search over parts of "
                "both kinds needs scoring=skscore.metrics.hyvarinen_scorer.",
                ScoreKindWarning,
            )


def _kind(estimator: Any) -> str | None:
    if hasattr(estimator, "score_samples"):
        return _DENSITY
    return _CRITERION if hasattr(estimator, "score_function") else None
