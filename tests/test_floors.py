"""The plan of the house, read from the import statements."""

import ast
from pathlib import Path

import pytest

import skscore

FOLDER = Path(skscore.__file__).parent
GUIDE = FOLDER.parent / "docs" / "developer_guide.rst"


def plan() -> list[str]:
    """Modules as the developer guide lists them, lowest floor first; a folder after its rooms."""
    listing = GUIDE.read_text().split(".. code-block:: text")[1].split("\n\n")[1]
    order: list[str] = []
    folder = ""
    for line in listing.splitlines():
        name, inside = line.split()[0], line.startswith("     ")
        if not inside:
            order += [folder] if folder else []
            folder = name.removesuffix("/") if name.endswith("/") else ""
        if inside or not folder:
            order.append(f"{folder}.{name}" if inside else name)
    return [*order, *([folder] if folder else []), "__init__"]


ORDER = plan()
BACKEND = ORDER.index("_backend.scope"), ORDER.index("_backend")


def path_of(module: str) -> Path:
    """The file of a module, or of a folder of modules."""
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str, *, late: bool = False) -> list[ast.stmt]:
    """Import statements of a module; only those below its top level where `late`."""
    tree = ast.parse(path_of(module).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    top = [*tree.body, *for_annotations(tree)]
    return [node for node in found if not (late and node in top)]


def for_annotations(tree: ast.Module) -> list[ast.stmt]:
    """What stands at the top under ``if TYPE_CHECKING``."""
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    return [n for b in blocks if ast.unparse(b.test) == "TYPE_CHECKING" for n in b.body]


def names(module: str) -> set[str]:
    """Full names of the modules that are imported."""
    found = set()
    for node in imports(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inside if name.removeprefix("skscore.") in ORDER}
            found |= modules | ({node.module or ""} if modules != inside else set())
    return found


def test_every_module_has_its_place():
    assert sorted(map(path_of, [m for m in ORDER if m != "__init__"])) == sorted(
        path for path in FOLDER.rglob("*.py") if path != FOLDER / "__init__.py"
    )


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_down_only(module):
    own = {n.removeprefix("skscore.") for n in names(module) if n.startswith("skscore.")}
    assert not [other for other in own if ORDER.index(other) >= ORDER.index(module)]


@pytest.mark.parametrize("module", ORDER)
def test_torch_stays_below_the_backend_and_arrays_above_it(module):
    roots = {name.split(".")[0] for name in names(module)}
    place, (first, last) = ORDER.index(module), BACKEND
    if place < first:
        assert not roots & {"numpy", "sklearn", "scipy"}
    if place > last:
        assert "torch" not in roots


@pytest.mark.parametrize("module", ORDER)
def test_imports_stand_at_the_top_but_for_matplotlib(module):
    assert all("matplotlib" in ast.unparse(node) for node in imports(module, late=True))


@pytest.mark.parametrize("module", ORDER)
def test_scikit_learns_private_names_pass_one_window(module):
    private = [n for n in names(module) if n.startswith("sklearn") and "._" in n]
    assert not private or module == "_validation"
