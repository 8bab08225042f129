"""What can be run in an environment of its own; ``nox --list`` names it all.

Words after ``--`` go to pytest: ``nox -s lowest -- tests/common/test_doors.py``.
"""

import nox

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
PINNED = ("-c", "constraints.txt")
ALL_TESTS = ("-m", "")  # slow ones too

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "types"]
nox.options.reuse_venv = "yes"


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, with the versions of constraints.txt."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("pytest", "-n", "2", *ALL_TESTS, *session.posargs)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """All tests, with the lowest Python and the lowest versions that pyproject.toml allows.

    For Linux PyPI has that torch with CUDA only, some gigabytes.
    """
    needed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    session.install(*(requirement.replace(">=", "==") for requirement in needed))
    session.install("--no-deps", "-e", ".")
    session.run("pytest", "-n", "2", *ALL_TESTS, *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """What mypy finds in the package and in tests/typing."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The examples of the pages, then the pages in docs/_build/html; warnings are errors."""
    session.install(*PINNED, "-e", ".[docs]")
    session.run("sphinx-build", "-b", "doctest", "docs", "docs/_build/doctest")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines and branches that the tests take, all in one process."""
    session.install(*PINNED, "-e", ".[test]", "pytest-cov")
    session.run("pytest", "--cov", *ALL_TESTS, *session.posargs)
