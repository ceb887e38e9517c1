"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "IR2QSM_REFERENCE_DATA"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of the independent answers; a clone has none and skips, a variable that points nowhere fails."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        if not Path(named).is_dir():
            pytest.fail(f"{VARIABLE} is '{named}', which is not a folder; unset it or point it at the reference data.")
        return Path(named)
    if not BESIDE.is_dir():
        pytest.skip(f"no reference data: {VARIABLE} is not set and ../shared/data does not exist")
    return BESIDE
