"""Parameters of parts: the small contract that makes `clone` and grids work.

A *part* (a loss, a noise kernel, a sampler) is described completely by the
arguments of its constructor, which stores them under their own names.  That is
all scikit-learn's ``clone`` and ``set_params`` ask for.
"""

from __future__ import annotations

import inspect
from numbers import Integral, Real
from typing import Any


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

    def set_params(self, **params: Any) -> Part:
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


def check_positive(owner: object, name: str, value: float) -> None:
    """Refuse a parameter of a part that is not a positive finite number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and 0 < value < float("inf")):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be a number "
            f"in the range (0.0, inf). Got {value!r} instead."
        )


def check_count(owner: object, name: str, value: int) -> None:
    """Refuse a parameter of a part that is not a whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be an int "
            f"in the range [1, inf). Got {value!r} instead."
        )


def check_choice(owner: object, name: str, value: object, choices: Any) -> None:
    """Refuse a parameter of a part that is not one of its legal names."""
    if value not in tuple(choices):
        legal = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be one of: {legal}. "
            f"Got {value!r} instead."
        )


def check_in_range(owner: object, name: str, value: float, low: float, high: float) -> None:
    """Refuse a parameter of a part that is not a finite number in [low, high]."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and low <= value <= high and value < float("inf")):
        end = "inf)" if high == float("inf") else f"{high}]"
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be a number "
            f"in the range [{low}, {end}. Got {value!r} instead."
        )
