"""How Sphinx builds these pages; nothing is fetched from anywhere."""

import doctest
from importlib.util import find_spec

import skscore

project = "skscore"
author = "The skscore developers"
copyright = author
version = release = skscore.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "numpydoc",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme" if find_spec("pydata_sphinx_theme") else "alabaster"

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings name the types
numpydoc_show_class_members = False  # the templates list them

# Only the directives in the pages; examples in docstrings are run by pytest.
doctest_test_doctest_blocks = ""
doctest_default_flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
doctest_global_setup = """
import warnings
warnings.filterwarnings("ignore", message="Training of .* stopped at max_iter")
"""
