"""Where the bundled weights lie: in a checkout, a wheel and a Slicer extension."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import IR2QSMLib
from IR2QSMLib.io.weights import models_folder

ROOT = Path(IR2QSMLib.__file__).resolve().parents[1]


def test_source_checkout_has_its_models() -> None:
    assert models_folder() == ROOT / "Resources" / "Models"
    assert (models_folder() / "ir2qsm.safetensors").is_file()


@pytest.mark.parametrize(
    ("package", "models"),
    [
        ("site-packages/IR2QSMLib", "site-packages/IR2QSMLib/Resources/Models"),
        ("lib/Slicer-5.8/qt-scripted-modules/IR2QSMLib", "lib/Slicer-5.8/qt-scripted-modules/Resources/Models"),
    ],
    ids=["wheel", "Slicer extension"],
)
def test_installation_loads_its_own_models(tmp_path: Path, package: str, models: str) -> None:
    shutil.copytree(ROOT / "IR2QSMLib", tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "Resources" / "Models", tmp_path / models)
    code = (
        "from IR2QSMLib.inversion.learned.load import bundled, load; import IR2QSMLib\n"
        "print(IR2QSMLib.__file__); print(bundled()); print(load(bundled()).sha256)"
    )
    environment = {**os.environ, "PYTHONPATH": str((tmp_path / package).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    module, weights, sha256 = ran.stdout.splitlines()
    assert Path(module) == tmp_path / package / "__init__.py"
    assert Path(weights) == tmp_path / models / "ir2qsm.safetensors"
    assert sha256 == hashlib.sha256(Path(weights).read_bytes()).hexdigest()


def test_installation_without_models_is_reported(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "IR2QSMLib", tmp_path / "IR2QSMLib", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from IR2QSMLib.io.weights import models_folder; models_folder()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "WeightsInvalid: The bundled weights are missing from this installation; reinstall it" in ran.stderr
