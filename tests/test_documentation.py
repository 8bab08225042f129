"""Docstrings and pages say what there is."""

import csv
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import skscore
from skscore import (
    compose,
    datasets,
    exceptions,
    likelihood,
    losses,
    metrics,
    model_selection,
    networks,
    noise,
    plotting,
    samplers,
    testing,
)

CLASSES = [thing for name in skscore.__all__ if inspect.isclass(thing := getattr(skscore, name))]
REFERENCE = Path(__file__).parent.parent / "docs" / "api.rst"
BENCHMARKS = REFERENCE.with_name("benchmarks.rst")
MODULES = [
    compose,
    datasets,
    likelihood,
    losses,
    metrics,
    networks,
    noise,
    plotting,
    samplers,
    testing,
]
PUBLIC = {
    f"{module.__name__}.{name}": thing
    for module in MODULES
    for name, thing in vars(module).items()
    if not name.startswith("_")
    and str(getattr(thing, "__module__", "")).startswith(module.__name__)
}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_parameter_of_an_estimator_is_described(cls):
    described = [line.partition(" : ")[0].strip(" *") for line in cls.__doc__.splitlines()]
    for name in inspect.signature(cls).parameters:
        assert name in described
    assert "<parameters>" not in cls.__doc__
    assert "<attributes>" not in cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_in_the_docstring_are_those_of_the_signature(cls):
    for line in cls.__doc__.splitlines():
        name, _, rest = line.strip().partition(" : ")
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter is None or "default=" not in rest:
            continue
        assert eval(rest.partition("default=")[2]) == parameter.default


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented_with_an_example_where_it_can_be_called(name):
    doc = inspect.getdoc(PUBLIC[name]) or ""
    assert doc
    abstract = inspect.isabstract(PUBLIC[name])
    plain = name.endswith(
        ("Chains", "run_chains", "largest_curvature", "EnergyNetwork", "Scorer", "Path")
    )
    assert ">>>" in doc or abstract or plain


def test_the_reference_has_every_public_name_and_no_other():
    described = re.findall(r"^   (\w+)$", REFERENCE.read_text(), flags=re.MULTILINE)
    assert len(described) == len(set(described))
    modules = [skscore, exceptions, model_selection, *MODULES]
    assert set(described) == {name for module in modules for name in module.__all__}


def test_the_page_of_the_benchmark_reads_the_tables_there_are():
    asked = re.findall(r":file: benchmarks/(\S+)", BENCHMARKS.read_text())
    files = {path.name: path for path in BENCHMARKS.with_suffix("").iterdir()}
    assert asked
    assert set(asked) <= set(files)
    for path in files.values():
        header, *rows = csv.reader(path.read_text().splitlines())
        assert rows
        assert {len(row) for row in rows} == {len(header)}


def test_every_public_module_says_what_is_public():
    found = {info.name for info in pkgutil.iter_modules(skscore.__path__)}
    known = {m.__name__.removeprefix("skscore.") for m in [exceptions, model_selection, *MODULES]}
    assert {name for name in found if not name.startswith("_")} == known


@pytest.mark.parametrize("cls", CLASSES)
def test_public_signatures_are_typed(cls):
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if name.startswith("_") or method.__module__.split(".")[0] != "skscore":
            continue
        signature = inspect.signature(method)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(
            p.annotation is not p.empty for p in signature.parameters.values() if p.name != "self"
        )
