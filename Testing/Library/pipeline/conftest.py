"""A simulated scan on disk and a run of `reconstruct` on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from IR2QSMLib.io.images import read_volume
from Testing.Library.pipeline.scan_files import SHAPE, TIMES, VOXEL, Run, ScanFiles
from Testing.Library.scanners import Scanner, head_scan


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, write_volume: Any) -> ScanFiles:
    folder = tmp_path_factory.mktemp("scan")
    chi, local, total, phase, magnitude = head_scan(SHAPE, VOXEL, TIMES)
    grid, mask = local.grid, local.mask
    anat = folder / "bids" / "sub-1" / "anat"
    anat.mkdir(parents=True)
    files: dict[str, list[Path]] = {"phase": [], "mag": []}
    for n, te in enumerate(TIMES):
        for part, values in (("phase", phase), ("mag", magnitude)):
            path = anat / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz"
            write_volume(path, values[n], grid)
            header = {"EchoTime": te, "MagneticFieldStrength": 3, "Manufacturer": "Philips"}
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(header))
            files[part].append(path)
    columns = grid.matrix
    scanner = Scanner(folder / "dicom", "SIEMENS", TIMES, SHAPE, VOXEL, tuple(columns[:, :2].T.ravel()), grid.origin)
    scanner.siemens(phase.numpy(), magnitude.round().numpy())
    return ScanFiles(
        chi,
        local,
        total,
        folder / "bids",
        folder / "dicom",
        write_volume(folder / "mask.nii.gz", mask, grid),
        files["phase"],
        files["mag"],
        write_volume(folder / "total.nii.gz", total, grid),
        write_volume(folder / "noise.nii.gz", 0.01 + 0.0 * total, grid),
    )


@pytest.fixture
def chi(ir2qsm: Run, scan: ScanFiles, tmp_path: Path) -> Callable[..., Tensor]:
    """The map that `reconstruct` makes of the scan, by Tikhonov; its warnings and provenance lie beside it."""

    def run(source: Path, *options: object, mask: Path | None = scan.mask) -> Tensor:
        masks = [] if mask is None else [mask]
        output = tmp_path / "chi.nii.gz"
        ran = ir2qsm("reconstruct", source, *masks, "-o", output, "--method", "tikhonov", "--device", "cpu", *options)
        assert ran.code == 0, ran.err
        (tmp_path / "said.txt").write_text(ran.err, encoding="utf-8")
        return read_volume(output)[0]

    return run
