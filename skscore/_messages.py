"""How users are spoken to: warnings at their own line, once, and columns by their own names.

Python shows a warning once for a text and a line, but forgets that as soon as anyone enters
``warnings.catch_warnings``, as scikit-learn's searches do for every fold.  So where the filter in
force says "default", what was said is remembered here.  Filters such as "always", "error" and
"ignore" mean what they always do.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any

_INSIDE = {"skscore", "sklearn", "joblib", "torch", "contextlib", "concurrent", "threading"}
_MOST_COLUMNS = 10  # of a list in a message
_MOST_SAID = 10_000  # warnings that are remembered

_said: set[tuple[str, type[Warning], str, int]] = set()
_names: ContextVar[list[str] | None] = ContextVar("names", default=None)


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the line of the first caller outside of this package and those that call it.

    Under the filter "default", the usual one, a text is said once for each such line.
    """
    frame, level = _users_frame()
    place = frame.f_code.co_filename, frame.f_lineno
    if _action(message, category, frame) == "default":
        if (message, category, *place) in _said:
            return
        if len(_said) >= _MOST_SAID:
            _said.clear()
        _said.add((message, category, *place))
    warnings.warn(message, category, stacklevel=level)


def _users_frame() -> tuple[FrameType, int]:
    """The frame to point at (the outermost one where all are inside), and its stack level."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    return frame, level


def _action(message: str, category: type[Warning], frame: FrameType) -> str:
    """What the first filter that matches says is to be done."""
    module = frame.f_globals.get("__name__", "")
    for action, text, kind, origin, line in warnings.filters:
        if (
            issubclass(category, kind)
            and line in (0, frame.f_lineno)
            and (text is None or text.match(message))
            and (origin is None or origin.match(module))
        ):
            return action
    return "default"


def listed(names: Sequence[str]) -> str:
    """Names in a row; of many the first ten, and how many more there are."""
    shown, more = names[:_MOST_COLUMNS], len(names) - _MOST_COLUMNS
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def column_names(X: Any, n_features: int) -> list[str]:
    """Names to call the columns by in messages: ``'age'`` or ``3``.

    Within a pipeline they are those of the table that it was given.
    """
    above, own = _names.get(), getattr(X, "columns", None)
    if above is not None and len(above) == n_features:
        return above
    return [str(j) for j in range(n_features)] if own is None else [repr(name) for name in own]


def place_of_columns() -> str:
    """Where the values are that are talked of: "X", or behind the steps of a pipeline."""
    return "X" if _names.get() is None else "X, as the steps before hand them over,"


def name_columns(names: list[str]) -> None:
    """Names for the columns of all rows from here to the end of the current context.

    To be called within ``contextvars.copy_context().run``, which ends the names with the call.
    """
    _names.set(names)
