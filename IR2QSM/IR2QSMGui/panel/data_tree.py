"""The module's entry in the context menu of Slicer's Data tree."""

from __future__ import annotations

from pathlib import Path

import slicer

PLUGIN = Path(__file__).with_name("IR2QSMSubjectHierarchyPlugin.py")
"""Slicer loads it by its path; its name is that of its class."""


def register() -> bool:
    """Add the entry; returns whether there is a Data tree to add it to."""
    plugin_class = getattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin", None)
    return plugin_class is not None and bool(plugin_class(None).setPythonSource(str(PLUGIN)))
