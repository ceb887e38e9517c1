"""The JSON beside a map: how it came about."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from IR2QSMLib.inversion.registry import method_provenance
from IR2QSMLib.physics.cone import BANDS
from IR2QSMLib.pipeline.inputs import REFERENCES, LoadedField, volume_name
from IR2QSMLib.pipeline.invert import Inversion
from IR2QSMLib.pipeline.metadata import Volume
from IR2QSMLib.pipeline.preprocessed import SOFTWARE


def provenance(
    loaded: LoadedField,
    inversion: Inversion,
    *,
    reference: str | Volume,
    subtracted: float,
    cone_index: Sequence[float | None],
    seconds: Mapping[str, float],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The JSON beside a map: inputs, method, reference, geometry, cone index, device, versions, warnings.

    Parameters
    ----------
    loaded
        The field that was inverted.
    inversion
        The method, what it chose itself, such as an automatic λ, its mask and margin, and where it ran.
    reference
        "mean", "none", or the volume of the region.
    subtracted
        The mean over the reference region [ppm], which was subtracted.
    cone_index
        Cone index of the map, band by band of `physics.cone.BANDS`.
    seconds
        Time of each stage [s].
    warnings
        One sentence each.

    Returns
    -------
    dict
        For JSON.
    """
    grid, device = loaded.local.grid, inversion.device
    is_name = isinstance(reference, str) and reference in REFERENCES
    return {
        "Units": "ppm",
        "Quantity": "Magnetic susceptibility",
        "Software": SOFTWARE,
        "Method": {**method_provenance(inversion.method), **inversion.maps.notes},
        "Reference": {"region": reference if is_name else volume_name(reference), "subtracted_ppm": subtracted},
        "Inputs": loaded.provenance,
        **({"Field": loaded.preprocessing} if loaded.preprocessing is not None else {}),
        "B0Direction": {"voxel_axes": list(grid.b0_direction), "source": loaded.b0_source},
        "Grid": {"shape": list(grid.shape), "voxel_size_mm": list(grid.voxel_size), "margin": inversion.margin},
        "MaskVoxels": int(inversion.mask.sum()),
        "ConeIndex": {
            "cycles_per_mm": [list(band) for band in BANDS],
            "index": [None if value is None else round(value, 3) for value in cone_index],
        },
        "Device": {"kind": device.kind, "name": device.name},
        "Versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "Seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "Warnings": list(warnings),
    }
