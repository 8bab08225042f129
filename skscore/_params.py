"""Parameters of parts: the small contract that makes `clone` and grids work, and their checks.

A *part* (a loss, a noise kernel, a sampler) is described completely by the
arguments of its constructor, which stores them under their own names.  That is
all scikit-learn's ``clone`` and ``set_params`` ask for.  A part does not look at
its parameters before it is used; then the ``check_`` functions refuse bad ones by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, NoReturn, TypeGuard, TypeVar

PartType = TypeVar("PartType", bound="Part")


class Part:
    """Base of everything that is held by an estimator and named in a grid."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments; nested ones as ``part__name`` when `deep`."""
        params = {name: getattr(self, name) for name in self._parameter_names()}
        if deep:
            for name, value in list(params.items()):
                if isinstance(value, Part):
                    inner = value.get_params().items()
                    params.update({f"{name}__{key}": item for key, item in inner})
        return params

    def set_params(self: PartType, **params: Any) -> PartType:
        """Set arguments by name, ``part__name`` for those of a nested part."""
        names = self._parameter_names()
        for key in params:
            if key.partition("__")[0] not in names:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {key!r}. "
                    f"Its parameters are: {', '.join(names) or 'none'}."
                )
        # Whole parts first: `noise` and `noise__sigma` given together set that of the new part.
        for key in sorted(params, key=lambda key: "__" in key):
            name, _, rest = key.partition("__")
            if not rest:
                setattr(self, name, params[key])
            elif isinstance(getattr(self, name), Part):
                getattr(self, name).set_params(**{rest: params[key]})
            else:
                raise ValueError(f"{name!r} of {type(self).__name__} has no parameters: {key!r}.")
        return self

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_params(deep=False).items())
        return f"{type(self).__name__}({arguments})"


def refuse(owner: object | None, name: str, allowed: str, value: object) -> NoReturn:
    """Raise the error for a parameter of `owner`, or an argument where that is None."""
    subject = name if owner is None else f"The {name!r} parameter of {type(owner).__name__}"
    raise ValueError(f"{subject} must be {allowed}. Got {value!r} instead.")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_positive(owner: object | None, name: str, value: object) -> float:
    """Refuse what is not a positive finite number."""
    if not (_is_number(value) and 0 < value < math.inf):
        refuse(owner, name, "a number in the range (0.0, inf)", value)
    return value


def check_in_range(
    owner: object | None, name: str, value: object, low: float, high: float
) -> float:
    """Refuse what is not a finite number in [low, high]."""
    if not (_is_number(value) and low <= value <= high and value < math.inf):
        end = "inf)" if high == math.inf else f"{high}]"
        refuse(owner, name, f"a number in the range [{low}, {end}", value)
    return value


def check_count(owner: object | None, name: str, value: object) -> int:
    """Refuse what is not a whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        refuse(owner, name, "an int in the range [1, inf)", value)
    return int(value)


def check_choice(owner: object | None, name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse what is not one of the legal names."""
    choices = tuple(choices)
    if value not in choices:
        refuse(owner, name, f"one of: {', '.join(map(repr, choices))}", value)
