"""The plan of the house, read from the import statements."""

import ast
from pathlib import Path

import pytest

import skscore

FOLDER = Path(skscore.__file__).parent
# Lowest first; a module may import from lower floors, and from earlier rooms of its own.
FLOORS = [
    ["_params", "_calculus", "_scope", "_integrate", "_canonical", "_gaussian"],
    ["noise", "networks"],
    ["losses", "samplers._markov", "samplers._reverse", "samplers", "likelihood"],
    ["_training"],
    ["_bridge"],
    [
        "exceptions",
        "_messages",
        "_documentation",
        "_validation",
        "_densities",
        "_output",
        "_kinds",
        "metrics._fisher",
        "metrics._copying",
        "metrics._scorers",
        "metrics._two_sample",
        "metrics._stein",
        "metrics",
        "_rows",
        "_chains",
        "_held",
    ],
    ["_margins", "_standardize", "_choice", "_fitting", "_mixtures", "_level_search"],
    ["_base", "datasets"],
    ["_score_matching", "model_selection", "_diffusion", "_differences", "_density"],
    ["_callables", "_score_sources", "_sampler"],
    [
        "compose._bounded",
        "compose._flow",
        "compose._changes",
        "compose._numerical",
        "compose._scikit",
    ],
    ["compose._pipeline", "compose"],
    ["_checks", "testing", "plotting"],
    ["__init__"],
]
ORDER = [module for floor in FLOORS for module in floor]
THRESHOLD = ORDER.index("_bridge")


def path_of(module: str) -> Path:
    """The file of a module, or of a folder of modules."""
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str, *, late: bool = False) -> list[ast.stmt]:
    """Import statements of a module; only those below its top level where `late`."""
    tree = ast.parse(path_of(module).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [node for node in found if not (late and node in tree.body)]


def names(module: str) -> set[str]:
    """Full names of the modules that are imported."""
    found = set()
    for node in imports(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module == "skscore":
            found |= {f"skscore.{alias.name}" for alias in node.names}
        else:
            found.add(node.module or "")
    return found


def test_every_module_has_its_place():
    assert sorted(map(path_of, [m for m in ORDER if m != "__init__"])) == sorted(
        path for path in FOLDER.rglob("*.py") if path != FOLDER / "__init__.py"
    )


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_down_only(module):
    own = {n.removeprefix("skscore.") for n in names(module) if n.startswith("skscore.")}
    assert all(ORDER.index(other) < ORDER.index(module) for other in own)


@pytest.mark.parametrize("module", ORDER)
def test_torch_stays_below_the_threshold_and_arrays_above(module):
    roots = {name.split(".")[0] for name in names(module)}
    below = ORDER.index(module) < THRESHOLD
    forbidden = {"numpy", "sklearn", "scipy"} if below else {"torch"}
    if module != "_bridge":
        assert not roots & forbidden


@pytest.mark.parametrize("module", ORDER)
def test_imports_stand_at_the_top_but_for_matplotlib(module):
    assert all("matplotlib" in ast.unparse(node) for node in imports(module, late=True))


@pytest.mark.parametrize("module", ORDER)
def test_scikit_learns_private_names_pass_one_window(module):
    private = [n for n in names(module) if n.startswith("sklearn") and "._" in n]
    assert not private or module == "_validation"
