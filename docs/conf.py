"""How the pages of docs/ and the library's reference are built: `make docs`."""

import sys
from pathlib import Path

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


def escape_bars(app, what, name, obj, options, lines):
    """|k| is a length in our docstrings, and not a substitution of reStructuredText."""
    lines[:] = [line.replace("|", "\\|") if ">>>" not in line else line for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
