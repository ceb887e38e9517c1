"""From the files of a map to the files of its DICOM objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from torch import Tensor

from IR2QSMLib.core.choices import EXPORT_KINDS
from IR2QSMLib.core.errors import (
    FieldInvalid,
    FileUnreadable,
    IR2QSMError,
    OutputUnwritable,
    ParameterInvalid,
    errors_naming,
    is_out_of_memory,
)
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.export.description import Description, describe_map
from IR2QSMLib.export.headers import Anonymiser
from IR2QSMLib.export.mr_images import mr_images
from IR2QSMLib.export.parametric_map import parametric_maps
from IR2QSMLib.export.quiet import quiet
from IR2QSMLib.export.region_report import region_report
from IR2QSMLib.export.regions import measure_regions, read_names, segment_numbers
from IR2QSMLib.export.segmentation import segmentation
from IR2QSMLib.export.source import Source, find_source
from IR2QSMLib.io.acquisition import DIGEST_KEY
from IR2QSMLib.io.images import read_volume, read_volume_on
from IR2QSMLib.io.masks import read_labels
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.pipeline.result import sidecar_path


@dataclass(frozen=True)
class ExportOptions:
    """How a map is exported, by the command line's names; raises ParameterInvalid."""

    kind: str = "mr"
    """One of `EXPORT_KINDS`."""
    uncertainty: Path | None = None
    """Standard error of χ [ppm], for a parametric map."""
    segmentation: Path | None = None
    """Label map of regions, written as a Segmentation and as a report of the map's values in them."""
    series: tuple[str, ...] | None = None
    """Numbers of the series that the map may come from."""
    window: tuple[float, float] = (-0.1, 0.1)
    """Lowest and highest value shown [ppm]."""
    anonymise: bool = False
    """Whether the objects name nobody."""

    def __post_init__(self) -> None:
        if self.kind not in EXPORT_KINDS:
            raise ParameterInvalid(
                f"The kind is '{self.kind}'; expected one of {', '.join(EXPORT_KINDS)}.", option="kind"
            )
        if self.uncertainty is not None and self.kind != "parametric-map":
            raise ParameterInvalid(
                "MR images hold one map; write χ and its uncertainty with --kind parametric-map.", option="uncertainty"
            )
        if not (np.isfinite(self.window).all() and self.window[0] < self.window[1]):
            raise ParameterInvalid(
                f"The window is {self.window[0]:g} to {self.window[1]:g} ppm; expected a lower and a higher number.",
                option="window",
            )


@dataclass(frozen=True)
class ExportedMap:
    """The DICOM objects of a map."""

    objects: dict[str, bytes]
    """Files by their names."""
    counts: dict[str, int]
    """Number of objects by kind."""
    warnings: list[str]
    """One sentence each."""

    def add_to(self, outputs: Outputs, folder: Path) -> None:
        """Add the objects to the files of a run."""
        for name, content in self.objects.items():
            outputs.bytes(folder / name, content)


def export_map(
    chi: Path,
    like: Path,
    folder: Path,
    options: ExportOptions = ExportOptions(),
    progress: Progress = silent,
) -> ExportedMap:
    """The DICOM objects of a map.

    Parameters
    ----------
    chi
        The map [ppm]; the JSON beside it says how it came about.
    like
        Folder of the DICOM images that it was made of.
    folder
        The folder that the objects will be written to: a new one, or empty.
    options
        Kind of object, what goes with the map, window.
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    ExportedMap
        Not yet written.

    Raises
    ------
    FieldInvalid, FileUnreadable, GridInvalid, GridMismatch, MaskInvalid, OutputUnwritable, ParameterInvalid
        What came, what was expected and what to do.
    """
    _require_apart(like, folder)
    progress(0.0, "reading")
    with errors_naming("chi"):
        _, grid = read_volume(chi)
        sidecar = _read_sidecar(chi)
    with quiet(), _headers_named():
        anonymiser = Anonymiser() if options.anonymise else None
        source = find_source(like, grid, chi.name, _digest(sidecar), options.series, anonymiser)
        chi_values = _finite(read_volume_on(chi, source.grid, like.name), chi.name, "chi")
        description = describe_map(sidecar, options.window)
        progress(0.3, "making objects")
        if options.kind == "mr":
            images = mr_images(_slices(chi_values), source, description)
        else:
            with errors_naming("uncertainty"):
                sigma = _read_optional(options.uncertainty, source, chi.name)
            images = parametric_maps(_slices(chi_values), sigma, source, description)
        files = _named("chi", images) if options.kind == "mr" else dict(zip(("chi", "sigma"), images, strict=False))
        warnings = _warnings(source, sidecar, chi.name, options)
        if options.segmentation is not None:
            progress(0.6, "regions")
            with errors_naming("segmentation"):
                more, region_warnings = _regions(options.segmentation, chi_values, source, images, description)
            files |= more
            warnings += region_warnings
        progress(0.8, "writing")
        if anonymiser is not None:
            for instance in files.values():
                anonymiser.finish(instance)
        objects = {f"{name}.dcm": _bytes_of(instance) for name, instance in files.items()}
    counts = {options.kind.replace("-", "_"): len(images)}
    counts |= {name: 1 for name in ("segmentation", "regions") if name in files}
    return ExportedMap(objects, counts, warnings)


def _regions(
    path: Path, chi: Tensor, source: Source, images: list[Dataset], description: Description
) -> tuple[dict[str, Dataset], list[str]]:
    """The Segmentation and the report of a label map, by the names of their files, and warnings."""
    labels = read_labels(path, source.grid, "the map")
    regions, warnings = measure_regions(chi, labels, source.grid.voxel_volume, read_names(path))
    numbers = segment_numbers(_slices(labels), regions)
    measured = images if len(images) > 2 else images[:1]  # regions are those of χ, not of its standard error
    segments = segmentation(numbers, regions, measured, description, source.highest_series + 1001)
    report = region_report(regions, segments, measured, description, source.highest_series + 1002)
    return {"segmentation": segments, "regions": report}, warnings


def _read_optional(path: Path | None, source: Source, chi_name: str) -> np.ndarray | None:
    """The standard error on the source's grid: (slice, row, column)."""
    if path is None:
        return None
    return _slices(_finite(read_volume_on(path, source.grid, chi_name), path.name, "uncertainty"))


def _slices(values: Tensor) -> np.ndarray:
    """An array (x, y, z) as DICOM has it: (slice, row, column)."""
    return np.ascontiguousarray(values.numpy().transpose(2, 1, 0))


def _finite(values: Tensor, name: str, option: str) -> Tensor:
    if not bool(values.isfinite().all()):
        raise FieldInvalid(f"{name} holds NaN or infinity; set them to 0 outside the mask.", option=option)
    return values


def _named(stem: str, images: list[Dataset]) -> dict[str, Dataset]:
    return {f"{stem}_{n:04d}": image for n, image in enumerate(images, 1)}


def _read_sidecar(chi: Path) -> Mapping[str, Any]:
    """The JSON beside a map, empty without one; raises FileUnreadable, FieldInvalid."""
    path = sidecar_path(chi)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, RecursionError, ValueError) as error:
        raise FileUnreadable(f"{path.name} is not JSON that can be read; mend or remove it.") from error
    if not isinstance(content, dict):
        raise FileUnreadable(f"{path.name} holds no JSON object; mend or remove it.")
    units = content.get("Units", "ppm")
    if units != "ppm":
        raise FieldInvalid(f"{chi.name} is in {units} by its JSON; expected a map in ppm: convert it first.")
    return content


def _digest(sidecar: Mapping[str, Any]) -> str | None:
    field = sidecar.get("Field")
    value = field.get(DIGEST_KEY) if isinstance(field, Mapping) else None
    return value if isinstance(value, str) else None


def _warnings(source: Source, sidecar: Mapping[str, Any], chi_name: str, options: ExportOptions) -> list[str]:
    """What a person should know of the export, one sentence each."""
    warnings = []
    if not source.checked:
        warnings.append(
            f"Only the geometry says that {chi_name} and the DICOM folder belong together, as the map's JSON or the "
            "folder holds no phase to compare: make sure that they are of one patient and one scan."
        )
    if not sidecar.get("Method"):
        warnings.append(f"{chi_name} has no JSON beside it that says how it was made, and neither have the objects.")
    return warnings


def _require_apart(like: Path, folder: Path) -> None:
    """Raise FileUnreadable without a source, and OutputUnwritable unless the objects get a place of their own."""
    if not like.is_dir():
        what = "is a file" if like.exists() else "does not exist"
        raise FileUnreadable(f"'{like.name}' {what}; give the DICOM folder of the scan.", option="like")
    if like.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise OutputUnwritable(
            f"'{folder.name}' lies in the DICOM folder that the objects are like, and they would become part of it; "
            "choose another folder.",
            option="output",
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputUnwritable(
            f"'{folder.name}' is not empty, and all that is in it would be sent; choose a new folder.", option="output"
        )


@contextmanager
def _headers_named() -> Iterator[None]:
    """Errors over the values of headers, which may name a person, as one sentence without them."""
    try:
        yield
    except IR2QSMError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise FileUnreadable(
            f"The headers of the DICOM folder hold something that cannot be taken over ({type(error).__name__}); "
            "export the scan again from the scanner or the archive.",
            option="like",
        ) from None


def _bytes_of(instance: Dataset) -> bytes:
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, instance, enforce_file_format=True)
    return buffer.getvalue()
