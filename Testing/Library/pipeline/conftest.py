"""A simulated scan on disk, and ways to run `reconstruct` on it and on the small case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from IR2QSMLib.io.images import read_volume
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result
from Testing.Library.pipeline.scan_files import SHAPE, TIMES, VOXEL, Reconstruct, Run, ScanFiles
from Testing.Library.scanners import Scanner, head_scan


@pytest.fixture
def reconstruct_case(case: Any) -> Reconstruct:
    """Reconstruct the case's arrays, by TKD unless said otherwise; `field`, `mask` and `grid` may be replaced."""

    def call(field: Any = None, mask: Any = None, method: Any = "tkd", grid: Any = case.local.grid, **o: Any) -> Result:
        field = case.local.values if field is None else field
        return reconstruct(field, case.local.mask if mask is None else mask, grid=grid, method=method, **o)

    return call


@pytest.fixture(scope="module")
def whole_volume(case: Any) -> Result:
    """The case's result by the bundled network, the whole volume at once."""
    return reconstruct(case.field, case.mask)


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
    """The map that `reconstruct` makes of the scan, by Tikhonov; warnings.txt and the provenance lie beside it."""

    def run(source: Path, *options: object, mask: Path | None = scan.mask) -> Tensor:
        masks = [] if mask is None else [mask]
        output = tmp_path / "chi.nii.gz"
        ran = ir2qsm("reconstruct", source, *masks, "-o", output, "--method", "tikhonov", "--device", "cpu", *options)
        assert ran.code == 0, ran.err
        (tmp_path / "warnings.txt").write_text(ran.err, encoding="utf-8")
        return read_volume(output)[0]

    return run
