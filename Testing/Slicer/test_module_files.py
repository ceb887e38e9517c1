"""The module's own files: who imports whom, and what works in PythonQt and PySide6 alike."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "IR2QSM"
FILES = {
    ".".join(path.relative_to(MODULE).with_suffix("").parts): path.read_text(encoding="utf-8")
    for path in sorted((MODULE / "IR2QSMGui").rglob("*.py"))
}
FLOORS = ("parameters", "library", "scene", "run", "logic", "panel", "self_test")
"""Files and folders of IR2QSMGui, lowest first; a file imports from its own floor and from lower ones."""


def imported(source: str) -> set[str]:
    """Dotted names of what a source imports when it runs, without what it imports for annotations only."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    """The module's files among imported names."""
    return {file for name in names for file in (name, name.rpartition(".")[0]) if file in FILES}


GRAPH = {name: own(imported(source)) for name, source in FILES.items()}


def floor(name: str) -> int:
    return FLOORS.index(name.split(".")[1])


def test_no_files_import_each_other_in_a_circle() -> None:
    TopologicalSorter(GRAPH).prepare()


def test_imports_point_down() -> None:
    wrong = [(name, other) for name in GRAPH for other in GRAPH[name] if floor(other) > floor(name)]
    assert wrong == []


def test_scene_and_readiness_know_no_qt() -> None:
    def reaches(name: str) -> set[str]:
        return {name}.union(*(reaches(other) for other in GRAPH[name]))

    without_qt = [name for name in FILES if ".scene." in name or name.endswith(".readiness")]
    assert len(without_qt) > 8
    for name in without_qt:
        for file in reaches(name):
            assert not {n.split(".")[0] for n in imported(FILES[file])} & {"qt", "ctk"}, (name, file)


def test_imports_have_no_other_names() -> None:
    for name, source in FILES.items():
        assert not re.search(r"from IR2QSMGui\S* import [^\n]* as ", source), name


def test_only_what_slicer_has_is_used() -> None:
    for name, text in {**FILES, "IR2QSM": (MODULE / "IR2QSM.py").read_text(encoding="utf-8")}.items():
        wrong = r"PySide|processEvents|\.connect\(['\"]|qt\.(Signal|Slot)|import (torch|IR2QSMLib)|from IR2QSMLib"
        assert not re.search(wrong, text), name
        assert not re.search(r"_\(f['\"]", text), f"{name} translates an f-string"
