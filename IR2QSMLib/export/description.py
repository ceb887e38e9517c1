"""What all objects of one export say: who made them of what, how the map came about, and its window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from highdicom import UID
from pydicom.dataset import Dataset

from IR2QSMLib.core.version import __version__

EQUIPMENT = {
    "manufacturer": "IR2QSM developers",
    "manufacturer_model_name": "ir2qsm",
    "software_versions": __version__,
    "device_serial_number": __version__,
}
"""The program as the equipment that made the objects."""
MAX_TEXT = 1024
"""Characters of a short text (ST) of DICOM."""


Instance = TypeVar("Instance", bound=Dataset)


@dataclass(frozen=True)
class Description:
    """How a map came about, by its sidecar, in the words of its objects."""

    method: str
    """Name of the method; empty if it is not known."""
    derivation: str
    """Method, version, weights and reference, at most 1024 ASCII characters."""
    reference: str | None
    """Region in which the map's mean is zero: mean (of the mask), none, the name of a region, or None if not known."""
    window: tuple[float, float]
    """Lowest and highest value shown [ppm]."""
    made: datetime = field(default_factory=datetime.now)

    @property
    def window_center(self) -> float:
        """[ppm]"""
        return round(0.5 * (self.window[0] + self.window[1]), 6)

    @property
    def window_width(self) -> float:
        """[ppm]"""
        return round(self.window[1] - self.window[0], 6)

    def series(self, number: int, text: str) -> dict[str, Any]:
        """What highdicom asks of a new series."""
        return {
            "series_instance_uid": UID(),
            "series_number": number,
            "series_description": f"{text} {self.method}".strip()[:64],
            "specific_character_set": "ISO_IR 192",
            **EQUIPMENT,
        }


def describe_map(sidecar: Mapping[str, Any], window: tuple[float, float]) -> Description:
    """The description of a map, by the JSON beside it; of a map without one, that it is not known how it was made."""
    method = sidecar.get("Method")
    method = method if isinstance(method, Mapping) else {}
    software = sidecar.get("Software")
    version = software.get("version") if isinstance(software, Mapping) else None
    name = str(method.get("name") or "")
    parts = [f"Magnetic susceptibility by {name}" if name else "Magnetic susceptibility, made by an unknown method"]
    if version:
        parts.append(f"ir2qsm {version}")
    weights = method.get("weights_sha256")
    if weights:
        parts.append(f"weights {method.get('weights')} sha256 {weights}")
    if method.get("whole_brain_sha256"):
        parts.append(f"whole-brain weights sha256 {method['whole_brain_sha256']}")
    reference = sidecar.get("Reference")
    region = reference.get("region") if isinstance(reference, Mapping) else None
    if region == "mean":
        parts.append("zero is the mean of the mask")
    elif region is not None:
        parts.append("no reference region" if region == "none" else "zero is the mean of a reference region")
    parts.append(f"exported by ir2qsm {__version__}")
    text = "; ".join(parts).encode("ascii", "replace").decode()
    return Description(name, text[:MAX_TEXT], None if region is None else str(region), window)


def with_series_time(instance: Instance, description: Description) -> Instance:
    """An object with the time of its series, the same in all of it."""
    instance.SeriesDate = description.made.strftime("%Y%m%d")
    instance.SeriesTime = description.made.strftime("%H%M%S")
    return instance
