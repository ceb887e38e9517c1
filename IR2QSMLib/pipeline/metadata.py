"""What the numbers of a field mean: what the user says, else what the JSON beside the file says, else ppm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS, field_unit
from IR2QSMLib.io.bids import sidecar

Volume = Path | str | Tensor | np.ndarray
"""An image file, or an array (x, y, z) that comes with a Grid."""
NON_FINITE = ("refuse", "mask")
SAME = 1e-3
"""Relative difference up to which two values of B0 or of an echo time are the same."""


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
    non_finite: str = "refuse"
    """What NaN and Inf inside the mask do: "refuse" raises, "mask" leaves the voxels out of the mask."""
    magnitude: Volume | None = None
    noise: Volume | None = None
    """Standard error of the field, in `unit`."""
    csf: Volume | None = None
    """Ventricles: voxels that are not 0."""

    def __post_init__(self) -> None:
        if self.non_finite not in NON_FINITE:
            raise ParameterInvalid(
                f"Non-finite values are to be '{self.non_finite}'; expected refuse or mask.", option="non_finite"
            )

    @property
    def beside(self) -> dict[str, Volume]:
        """The volumes beside field and mask, by name."""
        volumes = {"magnitude": self.magnitude, "noise": self.noise, "csf": self.csf}
        return {name: volume for name, volume in volumes.items() if volume is not None}

    def completed(self, field: Volume) -> tuple[FieldMetadata, dict[str, str], list[str]]:
        """The same with unit, B0 and echo time of the JSON beside the field, where the user left them out.

        Returns also who said each of them, and a warning where the user and the JSON disagree: the user is believed.
        Raises ParameterInvalid when the JSON names a unit that is none of a field.
        """
        header = sidecar(Path(field)) if isinstance(field, Path | str) else {}
        stated = {"unit": _unit_of(header, field, self.unit), "b0": _number(header.get("MagneticFieldStrength"))}
        stated["echo_time"] = _number(header.get("EchoTime"))
        values: dict[str, Any] = {}
        sources, warnings = {}, []
        for name, value in stated.items():
            own = getattr(self, name)
            values[name] = value if own is None else own
            sources[name] = "user" if own is not None else "JSON" if value is not None else "default"
            if own is not None and value is not None and not _same(own, value):
                warnings.append(
                    f"The JSON of {Path(str(field)).name} says that {_WORDS[name]} is {value}; {own} was said and is "
                    f"used."
                )
        values["unit"] = values["unit"] or "ppm"
        return replace(self, **values), sources, warnings


PPM = FieldMetadata()
"""Nothing is said: what the file's JSON says, else ppm."""
_WORDS = {"unit": "the unit", "b0": "B0 [T]", "echo_time": "the echo time [s]"}


def _unit_of(header: dict[str, Any], field: Volume, said: str | None) -> str | None:
    text = header.get("Units")
    if not isinstance(text, str) or not text.strip():
        return None
    unit = field_unit(text)
    if unit is None and said is None:
        raise ParameterInvalid(
            f"The JSON of {Path(str(field)).name} says Units '{text}', which is no unit of a field; say it with "
            f"--units "
            f"({', '.join(FIELD_UNITS)}).",
            option="units",
        )
    return unit


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, str) else abs(a - b) <= SAME * abs(b)
