"""The container that rows come out in: an array, or the data frame that `set_output` asks for.

As with scikit-learn's transformers the estimator's own setting comes first, then
``sklearn.set_config(transform_output=...)``, then arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from skscore._validation import CONTAINERS, container_of

if TYPE_CHECKING:
    from typing_extensions import Self


class SetOutput:
    """`set_output` for estimators that draw rows."""

    def set_output(self, *, transform: str | None = None) -> Self:
        """Set the container of drawn and denoised rows; frames have the names of the columns.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "default" is an array; None changes nothing.  The name is scikit-learn's.

        Returns
        -------
        self
        """
        if transform not in (None, *CONTAINERS):
            raise ValueError(
                f"The 'transform' of set_output of {type(self).__name__} must be None or one of "
                f"{sorted(CONTAINERS)}. Got {transform!r} instead."
            )
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # what clone copies
        return self


def contained(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an estimator whose rows, first of what it returns, come in its container.

    Where the first argument is a frame of pandas as well, they keep its index.
    """

    @wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = method(self, *args, **kwargs)
        container = container_of(self)
        if container is None:
            return found
        rows, *others = found if isinstance(found, tuple) else (found,)
        first = args[0] if args else kwargs.get("X")
        frame = container.create_container(rows, first, columns=_names(self))
        return (frame, *others) if others else frame

    return wrapped


def _names(estimator: Any) -> Any:
    """Names of an estimator's columns, or of those of a fitted one that it holds."""
    part = getattr(estimator, "estimator", None)
    return getattr(estimator, "feature_names_in_", getattr(part, "feature_names_in_", None))
