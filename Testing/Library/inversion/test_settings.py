"""The numbers of the learned method: few, and in one place."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import IR2QSMLib
from IR2QSMLib.inversion.settings import SETTINGS, Settings

LIBRARY = Path(IR2QSMLib.__file__).parent
METHOD = (
    "inversion/regularisation/spectrum.py",
    "inversion/learned/data_term.py",
    "inversion/learned/network_input.py",
    "inversion/learned/whole_brain.py",
    "inversion/learned/method.py",
    "inversion/learned/uncertainty.py",
)
"""The modules of the method, whose numbers are those of `Settings`."""
HARMLESS = {0, 1, 2, 0.5}
EXCEPTED = {
    "inversion/learned/uncertainty.py": {1e-12},
    "inversion/learned/method.py": {1e-6, 1e6},
}
"""What keeps a division from being one by zero; the range of an option."""
PROGRESS = {"progress", "part_of"}
"""Calls whose numbers are fractions of a run."""


def is_progress(node: ast.AST, following: ast.AST | None) -> bool:
    """Whether a constant's docstring says that it is a share of the progress."""
    if not (isinstance(node, ast.Assign) and isinstance(following, ast.Expr)):
        return False
    text = following.value
    return isinstance(text, ast.Constant) and str(text.value).startswith("Shares of the progress")


def literals(tree: ast.Module) -> list[tuple[int, float]]:
    """Line and value of every number that is computed with, but those of the progress."""
    out: list[tuple[int, float]] = []
    progress = {node for node, after in zip(tree.body, [*tree.body[1:], None], strict=True) if is_progress(node, after)}

    def visit(node: ast.AST) -> None:
        if node in progress:
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PROGRESS:
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "round":
            return visit(node.args[0])  # digits of the provenance
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            out.append((node.lineno, node.value))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return out


def test_there_are_at_most_fifteen_numbers_and_each_has_a_docstring() -> None:
    numbers = fields(Settings)
    assert len(numbers) <= 15
    assert all(isinstance(getattr(SETTINGS, f.name), int | float) for f in numbers)
    body = ast.parse((LIBRARY / "inversion" / "settings.py").read_text(encoding="utf-8")).body
    (settings_class,) = (node for node in body if isinstance(node, ast.ClassDef))
    has_docstring = [
        isinstance(b, ast.Expr)
        for a, b in zip(settings_class.body[1:], settings_class.body[2:], strict=False)
        if isinstance(a, ast.AnnAssign)
    ]
    assert len(has_docstring) == len(numbers) and all(has_docstring)


@pytest.mark.parametrize("name", METHOD)
def test_no_other_number_is_computed_with(name: str) -> None:
    numbers = literals(ast.parse((LIBRARY / name).read_text(encoding="utf-8")))
    allowed = HARMLESS | EXCEPTED.get(name, set())
    assert [f"{name}:{line}: {value:g}" for line, value in numbers if value not in allowed] == []


def test_every_number_is_used() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in LIBRARY.rglob("*.py")]
    used = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {f.name for f in fields(Settings)} <= used


def test_a_number_elsewhere_is_noticed() -> None:
    tree = ast.parse('progress(0.3, "x")\ny = 0.7 * x\nz = round(x, 4)\nw = f(x, tol=-3e-4)\nv = True\n')
    assert literals(tree) == [(2, 0.7), (4, 3e-4)]
