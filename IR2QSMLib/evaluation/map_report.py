"""The page of a finished map: reads what there is of it, and writes whether it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, MaskInvalid, errors_naming
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.region_statistics import region_statistics
from IR2QSMLib.io.images import read_volume, read_volume_on
from IR2QSMLib.io.masks import read_labels, read_mask
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.sidecars import read_sidecar
from IR2QSMLib.pipeline.inputs import load_inputs
from IR2QSMLib.pipeline.lights import lights
from IR2QSMLib.pipeline.metadata import FieldMetadata
from IR2QSMLib.pipeline.quality import quality_numbers
from IR2QSMLib.pipeline.result import refuse_overwriting, sidecar_path
from IR2QSMLib.report.figure import WINDOW, Panel, require_window
from IR2QSMLib.report.map_page import map_page

MAX_MASK_DIFFERENCE = 0.001
"""Share by which the voxels where a map is not 0 may differ from the sidecar's number of voxels."""
WINDOWED_SHARE = 0.02
"""Share of the voxels of a field or an uncertainty that are beyond its window."""


@dataclass(frozen=True)
class MapFiles:
    """A map and what may come along with it."""

    chi: Path
    kept: Path | None = None
    """The folder of `ir2qsm reconstruct --keep`, with the local field and its mask."""
    field: Path | None = None
    """The local field that was inverted."""
    mask: Path | None = None
    uncertainty: Path | None = None
    """The standard error of χ [ppm]."""
    labels: Path | None = None
    """A label map, for the values in each region."""

    @property
    def field_file(self) -> Path | None:
        """The local field, of its own or from the folder."""
        return self.field or (self.kept / "localfield.nii.gz" if self.kept else None)

    @property
    def mask_file(self) -> Path | None:
        """Likewise the mask."""
        return self.mask or (self.kept / "mask.nii.gz" if self.kept else None)

    def present(self) -> list[Path]:
        """All files."""
        files = (self.chi, self.field_file, self.mask_file, self.uncertainty, self.labels)
        return [file for file in files if file is not None]


def page_path(chi: Path) -> Path:
    """Where the page of a map goes: chi.nii.gz has chi.html."""
    return sidecar_path(chi).with_suffix(".html")


def write_map_report(
    outputs: Outputs,
    page: Path,
    files: MapFiles,
    *,
    window: tuple[float, float] = WINDOW,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the page of a map.

    Parameters
    ----------
    outputs
        Gets the page.
    page
        Its path.
    files
        The map and what comes along.
    window
        Of the map [ppm].
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    dict
        The page's path and the level of every light, by its name.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, OutputUnwritable, ParameterInvalid
        What came, what was expected and what to do.
    """
    progress(0.0, "reading")
    require_window(window)
    refuse_overwriting(files.present(), [page])
    record = _record_of(files.chi)
    with errors_naming("chi"):
        chi, grid = read_volume(files.chi)
    direction = record.get("B0Direction") or {}
    if direction.get("source") == "given":
        grid = grid.with_b0(direction["voxel_axes"])
    mask, notes = _mask_of(files, chi, grid, record)
    local = _local_field(files, mask, grid, record)
    panels = [Panel("χ", chi)]
    if files.uncertainty is not None:
        with errors_naming("uncertainty"):
            sigma = read_volume_on(files.uncertainty, grid, files.chi.name)
        panels.append(Panel("uncertainty", sigma, (0.0, _window_edge(sigma, mask))))
    panels.append(Panel("mask", mask, (0.0, 1.0)))
    if local is not None:
        edge = _window_edge(local.values, mask)
        panels.append(Panel("local field", local.values, (-edge, edge)))
    progress(0.3, "quality")
    found = lights(quality_numbers(record, chi, mask, grid, local))
    tables = []
    if files.labels is not None:
        with errors_naming("labels"):
            labels = read_labels(files.labels, grid, files.chi.name)
        tables.append(_regions_table(chi, labels, mask))
    else:
        notes.append("No regions came along: --labels brings the values of the map in each.")
    progress(0.7, "page")
    text = map_page(panels, mask, grid, window, lights=found, tables=tables, record=record, notes=notes)
    outputs.text(page, text)
    return {"page": str(page), "lights": {light.name: light.level for light in found}}


def _record_of(chi: Path) -> dict[str, Any]:
    """The provenance of a map of this library; empty where the map has none."""
    if not sidecar_path(chi).is_file():
        return {}
    record = read_sidecar(chi)
    software = record.get("Software")
    return record if isinstance(software, Mapping) and software.get("name") == "ir2qsm" else {}


def _mask_of(files: MapFiles, chi: Tensor, grid: Grid, record: Mapping[str, Any]) -> tuple[Tensor, list[str]]:
    """Where a map is valid, bool (x, y, z), and a note where nobody says it."""
    notes: list[str] = []
    if files.mask_file is not None:
        with errors_naming("mask"):
            mask = read_mask(files.mask_file, grid, files.chi.name)
    else:
        mask = chi != 0.0
        n, expected = int(mask.sum()), record.get("MaskVoxels")
        if expected and abs(n - expected) > MAX_MASK_DIFFERENCE * expected:
            raise MaskInvalid(
                f"{files.chi.name} is not 0 in {n} voxels, and its sidecar says that the mask has {expected}; give the "
                "mask with --mask, or the folder of --keep with --kept.",
                option="mask",
            )
        notes.append("The mask is where the map is not 0.")
    if not bool(mask.any()):
        raise MaskInvalid(f"{files.chi.name} is 0 everywhere; expected a map, or a mask with --mask.", option="mask")
    if not bool(chi[mask].isfinite().all()):
        raise FieldInvalid(
            f"{files.chi.name} holds NaN or infinity inside the mask; give a mask without them with --mask.",
            option="mask",
        )
    return mask, notes


def _local_field(files: MapFiles, mask: Tensor, grid: Grid, record: Mapping[str, Any]) -> LocalField | None:
    """The local field [ppm] that was inverted, on the map's grid, or None."""
    path = files.field_file
    if path is None:
        return None
    inputs = record.get("Inputs") or {}
    metadata = FieldMetadata(
        unit=inputs.get("unit"),
        b0=inputs.get("b0_t") if inputs.get("unit") else None,
        echo_time=inputs.get("echo_time_s") if inputs.get("unit") else None,
        non_finite="mask",
    )
    with errors_naming("field"):
        if not path.is_file():
            raise FileUnreadable(f"{path.name} does not exist; give the local field that was inverted.")
        local = load_inputs(path, mask, metadata=metadata).local
        grid.require_match(local.grid, files.chi.name, path.name)
    return LocalField(local.values, local.mask, grid)


def _window_edge(values: Tensor, mask: Tensor) -> float:
    """|values| that all but a small share of the mask are below, to one digit."""
    inside = values[mask].abs()
    edge = float(inside.topk(max(1, round(WINDOWED_SHARE * len(inside)))).values[-1])
    return float(f"{edge:.1g}") if edge > 0.0 else 1.0


def _regions_table(chi: Tensor, labels: Tensor, mask: Tensor) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    """Values of a map in each label."""
    rows = [
        [str(number), str(region.n_voxels), *(f"{v:.3f}" for v in (region.mean, region.sd, region.median))]
        for number, region in region_statistics(chi, labels, mask).items()
    ]
    return "Regions [ppm]", ["label", "voxels", "mean", "SD", "median"], rows
