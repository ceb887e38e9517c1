"""The JSON beside a map: how it came about."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.devices import Device
from IR2QSMLib.inversion.registry import Method, method_provenance
from IR2QSMLib.physics.cone import BANDS
from IR2QSMLib.pipeline.inputs import REFERENCES, LoadedField, volume_name
from IR2QSMLib.pipeline.metadata import Volume
from IR2QSMLib.pipeline.preprocessed import SOFTWARE


def provenance(
    loaded: LoadedField,
    method: Method,
    notes: Mapping[str, Any],
    *,
    reference: tuple[str | Volume, float],
    cone_index: Sequence[float | None],
    mask: Tensor,
    margin: int,
    device: Device,
    seconds: Mapping[str, float],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The JSON beside a map: inputs, method, reference, geometry, cone index, device, versions, warnings.

    Parameters
    ----------
    loaded
        The field that was inverted.
    method, notes
        The method with its parameters, and what it chose itself, such as an automatic λ.
    reference
        "mean", "none", or the volume of the region; and the mean [ppm] that was subtracted.
    cone_index
        Of the map, band by band of `physics.cone.BANDS`.
    mask
        Where χ is valid, bool: (x, y, z).
    margin
        Around the mask's box [voxels].
    device, seconds
        Where the method ran, and the time of each stage [s].
    warnings
        One sentence each.

    Returns
    -------
    dict
        For JSON.
    """
    region, subtracted = reference
    grid = loaded.local.grid
    region_name = region if isinstance(region, str) and region in REFERENCES else volume_name(region)
    return {
        "Units": "ppm",
        "Quantity": "Magnetic susceptibility",
        "Software": SOFTWARE,
        "Method": {**method_provenance(method), **notes},
        "Reference": {"region": region_name, "subtracted_ppm": subtracted},
        "Inputs": loaded.provenance,
        **({"Field": loaded.preprocessing} if loaded.preprocessing is not None else {}),
        "B0Direction": {"voxel_axes": list(grid.b0_direction), "source": loaded.b0_source},
        "Grid": {"shape": list(grid.shape), "voxel_size_mm": list(grid.voxel_size), "margin": margin},
        "MaskVoxels": int(mask.sum()),
        "ConeIndex": {
            "cycles_per_mm": [list(band) for band in BANDS],
            "index": [None if value is None else round(value, 3) for value in cone_index],
        },
        "Device": {"kind": device.kind, "name": device.name},
        "Versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "Seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "Warnings": list(warnings),
    }
