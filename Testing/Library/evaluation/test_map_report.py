"""`ir2qsm report`: what is read of a finished map, what is refused, and what its page holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.cli.main import main
from IR2QSMLib.core.errors import GridMismatch, MaskInvalid, OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.evaluation.map_report import MapFiles, page_path, write_map_report
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.pipeline.reconstruct import reconstruct

GRID = Grid((24, 28, 26), (2.0, 2.0, 2.0))
X, Y, Z = torch.meshgrid(*(torch.linspace(-1.0, 1.0, n) for n in GRID.shape), indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.8


@pytest.fixture
def head(tmp_path: Path) -> MapFiles:
    """A map by TKD with its sidecar, its field in Hz, mask and labels."""
    field = torch.where(MASK, simulate_field(0.1 * torch.sin(6.0 * X) * MASK, GRID), 0.0) * 127.74
    labels = torch.where(X > 0.0, 2, 1).to(torch.uint8) * MASK
    with Outputs() as outputs:
        for name, volume in (("field", field), ("mask", MASK), ("labels", labels)):
            outputs.volume(tmp_path / f"{name}.nii.gz", volume, GRID)
    result = reconstruct(
        tmp_path / "field.nii.gz", tmp_path / "mask.nii.gz", unit="hz", b0=3.0, method=TruncatedDivision()
    )
    result.save(tmp_path / "Jane-Doe.nii.gz")
    return MapFiles(tmp_path / "Jane-Doe.nii.gz")


def report(files: MapFiles, **options: Any) -> tuple[str, dict[str, str]]:
    """The page's text, and the levels of its lights."""
    page = page_path(files.chi)
    with Outputs() as outputs:
        answer = write_map_report(outputs, page, files, **options)
    return page.read_text(encoding="utf-8"), answer["lights"]


def test_the_command_writes_the_page_beside_the_map(head: MapFiles, capsys: pytest.CaptureFixture[str]) -> None:
    folder = head.chi.parent
    words = [
        "report",
        str(head.chi),
        "--field",
        str(folder / "field.nii.gz"),
        "--labels",
        str(folder / "labels.nii.gz"),
    ]
    assert main([*words, "--progress", "json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    page = Path(answer["page"])
    assert page == folder / "Jane-Doe.html" and answer["lights"]["range"] == "good"
    text = page.read_text(encoding="utf-8")
    assert "Jane" not in text, "nothing stands on the page that the sidecar does not say"
    assert "Shmueli et al. 2009" in text and "shmueli2009tkd" in text and "<td>2</td>" in text


def test_the_field_is_read_in_the_unit_of_the_run(head: MapFiles) -> None:
    files = MapFiles(head.chi, field=head.chi.parent / "field.nii.gz")
    text, found = report(files)
    assert found["discrepancy"] == "good"  # in ppm by mistake it would be refused as beyond any field
    assert found["wraps"] == "unknown" and "local field" in text
    assert report(head)[1]["discrepancy"] == "unknown"


def test_a_map_that_does_not_fit_its_sidecar_asks_for_the_mask(head: MapFiles) -> None:
    sidecar = head.chi.with_name("Jane-Doe.json")
    record = json.loads(sidecar.read_text(encoding="utf-8"))
    sidecar.write_text(json.dumps({**record, "MaskVoxels": 17}), encoding="utf-8")
    with pytest.raises(MaskInvalid, match="--mask") as error:
        report(head)
    assert error.value.option == "mask"
    text, _ = report(MapFiles(head.chi, mask=head.chi.parent / "mask.nii.gz"))
    assert "where the map is not 0" not in text


def test_a_map_of_another_tool_has_a_page_without_methods(head: MapFiles) -> None:
    head.chi.with_name("Jane-Doe.json").write_text('{"EchoTime": 0.02, "Field": "3T"}', encoding="utf-8")
    text, found = report(head)
    assert "what ran is not known" in text and "BibTeX" not in text
    assert found["streaks"] != "unknown" and found["noise"] == "unknown"


def test_what_cannot_be_is_refused_and_names_its_option(head: MapFiles, tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid) as window:
        report(head, window=(0.1, -0.1))
    assert window.value.option == "window"
    with Outputs() as outputs:
        outputs.volume(tmp_path / "other.nii.gz", torch.zeros(20, 20, 20), Grid((20, 20, 20)))
    with pytest.raises(GridMismatch) as grid:
        report(MapFiles(head.chi, uncertainty=tmp_path / "other.nii.gz"))
    assert grid.value.option == "uncertainty"
    with pytest.raises(MaskInvalid, match="0 everywhere"):
        report(MapFiles(tmp_path / "other.nii.gz"))
    with pytest.raises(OutputUnwritable), Outputs() as outputs:
        write_map_report(outputs, head.chi, head)
