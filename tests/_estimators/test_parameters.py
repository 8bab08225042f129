"""Every trained estimator is held to the table of shared parameters."""

import inspect
import re

import pytest
from sklearn.base import clone

import skscore
from skscore._estimators.base import BaseScoreEstimator
from skscore._estimators.parameters import CONSTRAINTS, SHARED

TRAINED = [
    cls
    for cls in (getattr(skscore, name) for name in skscore.__all__)
    if inspect.isclass(cls) and issubclass(cls, BaseScoreEstimator)
]
OWN_DEFAULTS = {
    "DiffusionScoreEstimator": {
        "network": "auto",
        "hidden_layer_sizes": "auto",
        "activation": "silu",
        "standardize": "auto",
        "learning_rate_init": 0.003,
        "max_iter": "auto",
        "n_iter_no_change": "auto",
    }
}
each_class = pytest.mark.parametrize("cls", TRAINED)


def test_all_trained_estimators_are_looked_at():
    assert len(TRAINED) == 5


@each_class
def test_a_signature_ends_with_the_shared_parameters_in_their_order_by_name(cls):
    parameters = list(inspect.signature(cls).parameters.values())[-len(SHARED) :]
    assert [p.name for p in parameters] == list(SHARED)
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}


@each_class
def test_defaults_are_those_of_the_table_but_for_the_listed_ones(cls):
    parameters = inspect.signature(cls).parameters
    expected = {name: parameter.default for name, parameter in SHARED.items()}
    expected |= OWN_DEFAULTS.get(cls.__name__, {})
    assert {name: parameters[name].default for name in SHARED} == expected


@each_class
def test_every_parameter_has_a_constraint_and_shared_ones_that_of_the_table(cls):
    constraints = cls._parameter_constraints
    assert set(constraints) == set(inspect.signature(cls).parameters)
    for name, allowed in CONSTRAINTS.items():
        wider = name in OWN_DEFAULTS.get(cls.__name__, {})
        assert wider or constraints[name] is allowed


@each_class
def test_every_parameter_is_documented_once_with_its_default(cls):
    text = cls.__doc__.split("Attributes\n")[0]
    for name, parameter in inspect.signature(cls).parameters.items():
        (line,) = re.findall(rf"^    {name} : .*$", text, flags=re.MULTILINE)
        default = parameter.default
        assert re.search(rf"default={re.escape(repr(default))}|default=.*", line)
        if isinstance(default, str):
            assert f'default="{default}"' in line
    assert "<" not in re.sub(r"cuda:<number>", "", text)


@each_class
def test_a_constructor_stores_all_of_them(cls):
    values = {name: object() for name in SHARED}
    assert {name: getattr(cls(**values), name) for name in SHARED} == values
    assert clone(cls()).get_params() == cls().get_params()
