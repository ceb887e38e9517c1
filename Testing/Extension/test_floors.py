"""The plan of CONTRIBUTING.md, held: who may import whom, how long a file may be, one version everywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import IR2QSMLib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "IR2QSMLib"
SLICER = {"slicer", "qt", "ctk", "vtk"}
TOP_FILES = {"__init__.py", "__main__.py"}
N_LINES_AT_MOST = 300
USED_EXTRAS = ("demo", "dicom", "import", "serve", "train")
"""Extras whose packages the library may import."""
IMPORTED_AS = {"pillow": "PIL", "scikit_image": "skimage"}
"""Packages whose modules bear another name."""


def read_floors(text: str) -> dict[str, int]:
    """Floors by folder from the table."""
    return {name: int(floor) for floor, name in re.findall(r"^\| F(\d+) \| `(\w+)/` \|", text, re.MULTILINE)}


def imported(source: str) -> list[str]:
    """Dotted names of everything a source imports, wherever it stands; relative ones keep their dots."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def complaints(path: str, source: str, floors: dict[str, int], declared: set[str]) -> list[str]:
    """What is wrong with the imports of one library file, its path given from inside the library."""
    folder = path.split("/")[0]
    # The library's own front door stands on no floor: it opens lazily to all of them.
    top_file = folder in TOP_FILES
    if not top_file and folder not in floors:
        return [f"{path}: '{folder}' has no floor; give it one in the table of CONTRIBUTING.md"]
    floor = len(floors) if top_file else floors[folder]
    found = []
    for target in imported(source):
        top, _, rest = target.partition(".")
        other = rest.split(".")[0]
        if target.startswith("."):
            found.append(f"{path}: relative import '{target}'; write it from {LIBRARY} on")
        elif top in SLICER:
            found.append(f"{path}: '{target}' belongs to IR2QSM/, not to the library")
        elif top == "SimpleITK" and folder != "io":
            found.append(f"{path}: SimpleITK is for io/ only")
        elif top != LIBRARY:
            if top not in declared and top not in sys.stdlib_module_names:
                found.append(f"{path}: '{top}' is not a dependency in pyproject.toml")
        elif other not in floors:
            found.append(f"{path}: '{target}' is no folder of the library; import from the module itself")
        elif floors[other] > floor:
            found.append(f"{path}: '{target}' points up, from F{floor} to F{floors[other]}")
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
def floors() -> dict[str, int]:
    return read_floors((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for name in USED_EXTRAS for one in extras[name])]
    names = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in needed}
    return {IMPORTED_AS.get(name, name) for name in names}


# The library as it is.


def test_the_table_names_every_folder_on_a_floor_of_its_own(floors: dict[str, int]) -> None:
    folders = {p.name for p in (ROOT / LIBRARY).iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert set(floors) == folders - {"Resources"}
    assert sorted(floors.values()) == list(range(len(folders - {"Resources"})))


def test_nothing_else_stands_at_the_top() -> None:
    assert {p.name for p in (ROOT / LIBRARY).glob("*.py")} == TOP_FILES


def test_imports_keep_to_the_floors(floors: dict[str, int], declared: set[str]) -> None:
    found = [line for path, source in library_sources().items() for line in complaints(path, source, floors, declared)]
    assert not found, "\n".join(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    sources = {dotted(path): source for path, source in library_sources().items() if path != "__init__.py"}
    assert import_circle(sources) == []


@pytest.mark.parametrize("code", ["", "IR2QSMLib.__version__", "dir(IR2QSMLib)", "IR2QSMLib.Grid"])
def test_importing_the_library_loads_no_torch(code: str) -> None:
    script = f"import sys, IR2QSMLib\n{code}\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_long_files_are_refused() -> None:
    files = [p for folder in (LIBRARY, "IR2QSM", "Testing") for p in sorted((ROOT / folder).rglob("*.py"))]
    n_lines = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    assert {path: n for path, n in n_lines.items() if n > N_LINES_AT_MOST} == {}


def test_the_tests_are_no_package() -> None:
    assert list((ROOT / "Testing").rglob("__init__.py")) == []


# The public names.


@pytest.mark.parametrize("name", [n for n in IR2QSMLib.__all__ if n != "__version__"])
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    value = getattr(IR2QSMLib, name)
    assert callable(value)
    assert value is getattr(sys.modules[value.__module__], name)


def test_reconstruct_stays_callable_once_its_module_is_imported() -> None:
    script = "import IR2QSMLib, IR2QSMLib.pipeline.reconstruct as m\nassert IR2QSMLib.reconstruct is m.reconstruct"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_no_folder_bears_a_public_name(floors: dict[str, int]) -> None:
    assert set(floors).isdisjoint(IR2QSMLib.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'deconstruct'"):
        IR2QSMLib.deconstruct  # noqa: B018


# One version.


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == f"{LIBRARY}/core/version.py"
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    change = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation and citation[1] == IR2QSMLib.__version__
    assert change and change[1] == IR2QSMLib.__version__


# The checker itself.


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("physics/dipole.py", "from IR2QSMLib.pipeline import reconstruct", "points up, from F2 to F8"),
        ("core/grid.py", "def f():\n    import IR2QSMLib.physics.dipole", "points up, from F0 to F2"),
        ("core/grid.py", "from IR2QSMLib import io", "points up, from F0 to F1"),
        ("networks/unet.py", "from IR2QSMLib.field.mask import fill", "points up"),
        ("inversion/tkd.py", "from IR2QSMLib.simulation import brain", "points up"),
        ("report/page.py", "from IR2QSMLib import reconstruct", "no folder of the library"),
        ("report/page.py", "from IR2QSMLib import __version__", "no folder of the library"),
        ("report/page.py", "import IR2QSMLib", "no folder of the library"),
        ("io/images.py", "from . import weights", "relative import"),
        ("io/images.py", "from ..core.grid import Grid", "relative import"),
        ("cli/main.py", "import SimpleITK as sitk", "SimpleITK is for io/ only"),
        ("cli/main.py", "try:\n    from slicer.util import array\nexcept ImportError:\n    pass", "belongs to IR2QSM/"),
        ("io/images.py", "import vtk", "belongs to IR2QSM/"),
        ("__init__.py", "import qt", "belongs to IR2QSM/"),
        ("evaluation/metrics.py", "from qsm_ci import scorer", "'qsm_ci' is not a dependency"),
        ("helpers.py", "", "'helpers.py' has no floor"),
        ("utils/text.py", "", "'utils' has no floor"),
    ],
)
def test_a_violation_is_caught(
    path: str, source: str, complaint: str, floors: dict[str, int], declared: set[str]
) -> None:
    (found,) = complaints(path, source, floors, declared)
    assert complaint in found and found.startswith(path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/units.py", "from IR2QSMLib.core.errors import ParameterInvalid"),
        ("io/images.py", "import SimpleITK as sitk\nfrom IR2QSMLib.io import weights\nfrom IR2QSMLib.core import grid"),
        ("inversion/tkd.py", "import math\nimport torch\nfrom IR2QSMLib.physics.dipole import DipoleOp"),
        ("training/run.py", "from lightning_fabric import Fabric\nfrom IR2QSMLib.core.version import __version__"),
        ("__main__.py", "from IR2QSMLib.cli.main import main"),
        ("cli/main.py", "'''import slicer'''  # import vtk"),
    ],
)
def test_a_lawful_import_passes(path: str, source: str, floors: dict[str, int], declared: set[str]) -> None:
    assert complaints(path, source, floors, declared) == []


def test_a_circle_is_caught() -> None:
    sources = {
        "IR2QSMLib.core.grid": "from IR2QSMLib.core.units import hz_per_ppm",
        "IR2QSMLib.core.units": "def f():\n    from IR2QSMLib.core import volumes",
        "IR2QSMLib.core.volumes": "import IR2QSMLib.core.grid",
        "IR2QSMLib.core.errors": "",
    }
    assert set(import_circle(sources)) == {"IR2QSMLib.core.grid", "IR2QSMLib.core.units", "IR2QSMLib.core.volumes"}
    assert import_circle({**sources, "IR2QSMLib.core.volumes": "import IR2QSMLib.core.errors"}) == []
