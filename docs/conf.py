"""How the pages of docs/ and the library's reference are built: `make docs`."""

import sys
from pathlib import Path
from types import GenericAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from IR2QSMLib.core.version import __version__

project = "IR2QSM"
author = "IR2QSM developers"
copyright = author
release = __version__
extensions = ["myst_parser", "numpydoc", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["html"]
html_theme = "alabaster"
apidoc_modules = [
    {"path": "../IR2QSMLib", "destination": "reference", "separate_modules": True, "module_first": True},
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
numpydoc_show_class_members = False
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages


def escape_marks(app, what, name, obj, options, lines):
    """|k| is a length and * a convolution in our docstrings, and no marks of reStructuredText."""
    lines[:] = [line.replace("|", r"\|").replace("*", r"\*") for line in lines]


def skip_aliases(app, what, name, obj, skip, options):
    """Names of types, such as `tuple[str, int]`, have no signature to show."""
    return True if isinstance(obj, GenericAlias) else skip


def setup(app):
    app.connect("autodoc-process-docstring", escape_marks, priority=100)
    app.connect("autodoc-skip-member", skip_aliases)
