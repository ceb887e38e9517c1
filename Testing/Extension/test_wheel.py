"""The wheel that is installed holds the library and the weights, and finds them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what an installation of the wheel puts on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_an_installed_wheel_loads_its_own_weights(installed: Path, tmp_path: Path) -> None:
    code = (
        "import IR2QSMLib; from IR2QSMLib.inversion.learned.load import bundled, load\n"
        "print(IR2QSMLib.__file__); print(bundled()); print(load(bundled()).sha256)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    package, weights, sha256 = ran.stdout.split()
    assert Path(package).is_relative_to(installed) and Path(weights).is_relative_to(installed)
    assert sha256 in (ROOT / "Resources" / "Models" / "ir2qsm.json").read_text(encoding="utf-8")


def test_the_wheel_holds_nothing_but_the_library_its_weights_and_its_licences(installed: Path) -> None:
    tops = {path.name.split("-")[0] for path in installed.iterdir()}
    assert tops == {"IR2QSMLib", "ir2qsm"}
    weights = {path.name for path in (installed / "IR2QSMLib" / "Resources" / "Models").iterdir()}
    assert weights == {path.name for path in (ROOT / "Resources" / "Models").iterdir()}
    assert {path.name for path in installed.glob("*.dist-info/licenses/*")} == {"LICENSE.txt", "NOTICE"}


def test_the_wheel_holds_the_viewer_where_make_viewer_brought_it(installed: Path) -> None:
    brought = {path.name for path in (ROOT / "Resources" / "Viewer").glob("*.js")}
    assert {path.name for path in (installed / "IR2QSMLib" / "Resources").rglob("*.js")} == brought
