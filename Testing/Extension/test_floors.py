"""The plan of CONTRIBUTING.md, held: who may import whom, how long a file may be, one version everywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import IR2QSMLib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "IR2QSMLib"
SLICER = {"slicer", "qt", "ctk", "vtk"}
N_LINES_TO_LOOK_AGAIN = 300
N_LINES_AT_MOST = 400
IMPORTED_AS = {"scikit_image": "skimage"}
"""Packages whose modules bear another name."""


class Room(NamedTuple):
    floor: int
    folder: str
    """Empty for a file at the top of the library."""


def read_rooms(text: str) -> dict[str, Room]:
    """Rooms by name from the table of floors: `physics/` is a folder, `grid.py` a file."""
    return {
        name.removesuffix("/").removesuffix(".py"): Room(int(floor), name[:-1] if name.endswith("/") else "")
        for floor, names in re.findall(r"^\| F(\d) \|([^|]+)\|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }


def imported(source: str) -> list[str]:
    """Dotted names of everything a source imports, wherever it stands; relative ones keep their dots."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def complaints(path: str, source: str, rooms: dict[str, Room], declared: set[str]) -> list[str]:
    """What is wrong with the imports of one library file, its path given from inside the library."""
    name = path.split("/")[0].removesuffix(".py")
    # The library's own front door stands on no floor: it opens lazily to all of them.
    mine = Room(len(rooms), "") if path == "__init__.py" else rooms.get(name)
    if mine is None:
        return [f"{path}: '{name}' has no floor; give it one in the table of CONTRIBUTING.md"]
    found = []
    for target in imported(source):
        top, _, rest = target.partition(".")
        other = rest.split(".")[0]
        if target.startswith("."):
            found.append(f"{path}: relative import '{target}'; write it from {LIBRARY} on")
        elif top in SLICER:
            found.append(f"{path}: '{target}' belongs to IR2QSM/, not to the library")
        elif top == "SimpleITK" and mine.folder != "io":
            found.append(f"{path}: SimpleITK is for io/ only")
        elif top != LIBRARY:
            if top not in declared and top not in sys.stdlib_module_names:
                found.append(f"{path}: '{top}' is not a dependency in pyproject.toml")
        elif other == "__version__":
            continue
        elif other not in rooms:
            found.append(f"{path}: '{target}' is no room of the library; import from the module itself")
        elif rooms[other].floor > mine.floor:
            found.append(f"{path}: '{target}' points up, from F{mine.floor} to F{rooms[other].floor}")
        elif rooms[other].floor == mine.floor and rooms[other].folder != mine.folder:
            found.append(f"{path}: '{target}' points sideways, out of its folder on F{mine.floor}")
    return found


def import_circle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, from their sources by dotted name."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        graph[module] = set()
        for name in imported(source):
            while name not in sources and "." in name:
                name = name.rpartition(".")[0]
            if name in sources:
                graph[module].add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def library_sources() -> dict[str, str]:
    """Every file of the library by its path from inside it."""
    folder = ROOT / LIBRARY
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*.py"))}


def dotted(path: str) -> str:
    return f"{LIBRARY}.{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"


@pytest.fixture(scope="module")
def rooms() -> dict[str, Room]:
    return read_rooms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["demo"], *extras["import"], *extras["train"]]
    names = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in needed}
    return {IMPORTED_AS.get(name, name) for name in names}


# The library as it is.


def test_the_table_names_every_floor(rooms: dict[str, Room]) -> None:
    assert {room.floor for room in rooms.values()} == set(range(7))
    assert rooms["errors"] == (0, "") and rooms["physics"] == (1, "physics") and rooms["cli"] == (6, "")


def test_imports_keep_to_the_floors(rooms: dict[str, Room], declared: set[str]) -> None:
    found = [line for path, source in library_sources().items() for line in complaints(path, source, rooms, declared)]
    assert not found, "\n".join(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    sources = {dotted(path): source for path, source in library_sources().items() if path != "__init__.py"}
    assert import_circle(sources) == []


@pytest.mark.parametrize("code", ["", "IR2QSMLib.__version__", "dir(IR2QSMLib)", "IR2QSMLib.Grid"])
def test_importing_the_library_loads_no_torch(code: str) -> None:
    script = f"import sys, IR2QSMLib\n{code}\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_long_files_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    files = [p for folder in (LIBRARY, "IR2QSM", "Testing") for p in sorted((ROOT / folder).rglob("*.py"))]
    n_lines = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    long = {path: n for path, n in n_lines.items() if n > N_LINES_TO_LOOK_AGAIN}
    with capsys.disabled():
        for path, n in long.items():
            print(f"\n{path} has {n} lines: look again", end="")
    assert {path: n for path, n in long.items() if n > N_LINES_AT_MOST} == {}


def test_the_tests_are_no_package() -> None:
    assert list((ROOT / "Testing").rglob("__init__.py")) == []


# The public names.


@pytest.mark.parametrize("name", IR2QSMLib.__all__)
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    value = getattr(IR2QSMLib, name)
    assert callable(value)
    assert value is getattr(sys.modules[value.__module__], name)


def test_reconstruct_stays_callable_once_its_module_is_imported() -> None:
    script = "import IR2QSMLib, IR2QSMLib.pipeline\nassert IR2QSMLib.reconstruct is IR2QSMLib.pipeline.reconstruct"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_no_room_bears_a_public_name(rooms: dict[str, Room]) -> None:
    assert set(rooms).isdisjoint(IR2QSMLib.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'deconstruct'"):
        IR2QSMLib.deconstruct  # noqa: B018


# One version.


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == f"{LIBRARY}/__init__.py"
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    change = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation and citation[1] == IR2QSMLib.__version__
    assert change and change[1] == IR2QSMLib.__version__


# The checker itself.


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("physics/dipole.py", "from IR2QSMLib.pipeline import reconstruct", "points up, from F1 to F4"),
        ("grid.py", "def f():\n    import IR2QSMLib.physics.dipole", "points up, from F0 to F1"),
        ("grid.py", "from IR2QSMLib import io", "points up, from F0 to F1"),
        ("networks/unet.py", "from IR2QSMLib.field.mask import fill", "points sideways"),
        ("inversion/tkd.py", "from IR2QSMLib.simulation import brain", "points sideways"),
        ("report.py", "from IR2QSMLib import reconstruct", "no room of the library"),
        ("report.py", "import IR2QSMLib", "no room of the library"),
        ("io/images.py", "from . import weights", "relative import"),
        ("io/images.py", "from ..grid import Grid", "relative import"),
        ("cli.py", "import SimpleITK as sitk", "SimpleITK is for io/ only"),
        ("cli.py", "try:\n    from slicer.util import array\nexcept ImportError:\n    pass", "belongs to IR2QSM/"),
        ("io/images.py", "import vtk", "belongs to IR2QSM/"),
        ("__init__.py", "import qt", "belongs to IR2QSM/"),
        ("metrics.py", "from qsm_ci import scorer", "'qsm_ci' is not a dependency"),
        ("helpers.py", "", "'helpers' has no floor"),
        ("utils/text.py", "", "'utils' has no floor"),
    ],
)
def test_a_violation_is_caught(
    path: str, source: str, complaint: str, rooms: dict[str, Room], declared: set[str]
) -> None:
    (found,) = complaints(path, source, rooms, declared)
    assert complaint in found and found.startswith(path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("units.py", "from IR2QSMLib.errors import ParameterInvalid"),
        ("io/images.py", "import SimpleITK as sitk\nfrom IR2QSMLib.io import weights\nfrom IR2QSMLib.grid import Grid"),
        ("inversion/tkd.py", "import math\nimport torch\nfrom IR2QSMLib.physics.dipole import DipoleOp"),
        ("training.py", "from lightning_fabric import Fabric\nfrom IR2QSMLib import __version__"),
        ("__main__.py", "from IR2QSMLib.cli import main"),
        ("cli.py", "'''import slicer'''  # import vtk"),
    ],
)
def test_a_lawful_import_passes(path: str, source: str, rooms: dict[str, Room], declared: set[str]) -> None:
    assert complaints(path, source, rooms, declared) == []


def test_a_circle_is_caught() -> None:
    sources = {
        "IR2QSMLib.grid": "from IR2QSMLib.units import hz_per_ppm",
        "IR2QSMLib.units": "def f():\n    from IR2QSMLib import volumes",
        "IR2QSMLib.volumes": "import IR2QSMLib.grid",
        "IR2QSMLib.errors": "",
    }
    assert set(import_circle(sources)) == {"IR2QSMLib.grid", "IR2QSMLib.units", "IR2QSMLib.volumes"}
    assert import_circle({**sources, "IR2QSMLib.volumes": "import IR2QSMLib.errors"}) == []
