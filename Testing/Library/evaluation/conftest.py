"""A small case on disk that comparisons share."""

from __future__ import annotations

from pathlib import Path

import pytest

from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation.cases import Case, simulate, write_case


@pytest.fixture(scope="session")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small phantom on an oblique grid, with truth, magnitude and labels."""
    folder = tmp_path_factory.mktemp("head")
    truth, field = simulate(Case(5, 40.0, (35, 42, 33), (2.8, 3.0, 3.4), 20.0, phantom=True))
    with Outputs() as outputs:
        write_case(outputs, folder, truth, field)
    return folder
