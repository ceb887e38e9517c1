"""What the numbers of a field mean: what the user says, else what the JSON beside the file says, else ppm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from IR2QSMLib.core.choices import NON_FINITE
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS, field_unit
from IR2QSMLib.io.sidecars import number, read_sidecar

Volume = Path | str | Tensor | np.ndarray
"""An image file, or an array (x, y, z) that comes with a Grid."""
RELATIVE_TOLERANCE = 1e-3
"""Relative difference up to which two values of B0 or of an echo time are the same: sidecars round them."""
_DESCRIPTIONS = {"unit": "the unit", "b0": "B0 [T]", "echo_time": "the echo time [s]"}


@dataclass(frozen=True)
class FieldMetadata:
    """What the numbers of a field mean, and the volumes beside it; raises ParameterInvalid."""

    unit: str | None = None
    """One of `core.units.FIELD_UNITS`; None is what the file's JSON says, else ppm."""
    b0: float | None = None
    """Field strength [T], for all units but ppm and ppb."""
    echo_time: float | None = None
    """Echo time of a field in rad, or spacing of the echoes for MEDI [s]."""
    b0_direction: Sequence[float] | None = None
    """In voxel axes; None is the grid's own, which for files is the patient's z axis."""
    mask_labels: Sequence[int] | None = None
    """Labels of a mask that is not binary which belong to it."""
    mask_threshold: float | None = None
    """The lowest value that belongs to a mask of probabilities."""
    non_finite: str = "refuse"
    """What NaN and Inf inside the mask do: "refuse" raises, "mask" leaves the voxels out of the mask."""
    magnitude: Volume | None = None
    """Magnitude image, arbitrary unit: (x, y, z)."""
    noise: Volume | None = None
    """Standard error of the field, in `unit`: (x, y, z)."""
    csf: Volume | None = None
    """Ventricles, voxels that are not 0: (x, y, z)."""

    def __post_init__(self) -> None:
        if self.non_finite not in NON_FINITE:
            raise ParameterInvalid(
                f"Non-finite values are to be '{self.non_finite}'; expected {' or '.join(NON_FINITE)}.",
                option="non_finite",
            )

    @property
    def optional_volumes(self) -> dict[str, Volume]:
        """The volumes beside field and mask, by name."""
        volumes = {"magnitude": self.magnitude, "noise": self.noise, "csf": self.csf}
        return {name: volume for name, volume in volumes.items() if volume is not None}

    def with_sidecar(
        self, field: Volume, header: dict[str, Any] | None = None
    ) -> tuple[FieldMetadata, dict[str, str], list[str]]:
        """Take unit, B0 and echo time from the JSON beside the field where the user left them out.

        Parameters
        ----------
        field
            Image file; an array has no JSON.
        header
            What stands in for the JSON, by its names, where the field comes from another kind of file.

        Returns
        -------
        metadata
            With a unit, which is ppm where neither the user nor the JSON says one.
        sources
            Who said unit, B0 and echo time: "user", "JSON" or "default".
        warnings
            One sentence for each value in which user and JSON differ; the user's is used.

        Raises
        ------
        ParameterInvalid
            When the JSON names a unit that is none of a field.
        FileUnreadable
            When the JSON is none.
        """
        if header is None:
            header = read_sidecar(Path(field)) if isinstance(field, Path | str) else {}
        in_header = {
            "unit": _unit_in(header, field, self.unit),
            "b0": _positive_number(header.get("MagneticFieldStrength")),
            "echo_time": _positive_number(header.get("EchoTime")),
        }
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        warnings: list[str] = []
        for name, header_value in in_header.items():
            user_value = getattr(self, name)
            values[name] = header_value if user_value is None else user_value
            sources[name] = "user" if user_value is not None else "JSON" if header_value is not None else "default"
            if user_value is not None and header_value is not None and not _agree(user_value, header_value):
                warnings.append(
                    f"The JSON of {Path(str(field)).name} says that {_DESCRIPTIONS[name]} is {header_value}; "
                    f"{user_value} was said and is used."
                )
        values["unit"] = values["unit"] or "ppm"
        return replace(self, **values), sources, warnings


DEFAULT_METADATA = FieldMetadata()
"""The user says nothing: what the file's JSON says, else ppm."""


def _unit_in(header: dict[str, Any], field: Volume, user_unit: str | None) -> str | None:
    text = header.get("Units")
    if not isinstance(text, str) or not text.strip():
        return None
    unit = field_unit(text)
    if unit is None and user_unit is None:
        raise ParameterInvalid(
            f"The JSON of {Path(str(field)).name} says Units '{text}', which is no unit of a field; say it with "
            f"--units ({', '.join(FIELD_UNITS)}).",
            option="units",
        )
    return unit


def _positive_number(value: Any) -> float | None:
    x = number(value)
    return x if x is not None and 0.0 < x < 1e300 else None


def _agree(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, str) else abs(a - b) <= RELATIVE_TOLERANCE * abs(b)
