"""A reconstruction from a local field runs without the packages that only phase and DICOM need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


def test_local_field_needs_neither_scikit_image_nor_pydicom(case: Any, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['skimage'] = sys.modules['pydicom'] = None\n"
        "from IR2QSMLib.cli.main import main\n"
        f"assert main(['inspect', {str(case.field)!r}, '--json']) == 0\n"
        f"raise SystemExit(main(['reconstruct', {str(case.field)!r}, {str(case.mask)!r}, '-o', "
        f"{str(tmp_path / 'chi.nii')!r}, '--device', 'cpu']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chi.nii").exists()
