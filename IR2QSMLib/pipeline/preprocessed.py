"""A local field with everything that was computed before it, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.version import __version__
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.io.bids import B0_DIRECTION_KEY, HARMONIC_COMPLETED_KEY
from IR2QSMLib.io.outputs import Outputs

SOFTWARE = {"name": "ir2qsm", "version": __version__}
NAMES = ("localfield", "mask", "totalfield", "noise", "residual", "quality", "inputmask", "magnitude")
"""Names of the files that may be written of a local field and its intermediates."""


def files_in(folder: Path) -> list[Path]:
    """Every file that `PreprocessedField.add_to` may write into a folder."""
    tables = ("localfield.json", "totalfield.json", "params.json")
    return [*(folder / f"{name}.nii.gz" for name in NAMES), *(folder / name for name in tables)]


@dataclass(frozen=True)
class PreprocessedField:
    """A local field with everything that was computed before it, as `reconstruct` takes it."""

    local: LocalField
    """[ppm], with magnitude, noise, echo spacing and B0 where they are known."""
    intermediates: dict[str, Tensor]
    """The volumes before it by the names of their files, those of `NAMES`; fields and noise [ppm]: (x, y, z)."""
    name: str
    """Name of the input, for messages and the provenance."""
    notes: dict[str, Any]
    """What was decided, for the provenance."""
    warnings: list[str] = field(default_factory=list)
    """One sentence each."""
    oriented: bool = True
    """Whether the input says how it lies in the patient."""

    def add_to(self, outputs: Outputs, folder: Path) -> dict[str, str]:
        """Add both fields and their sidecars, mask, the intermediates, and params.json to the files of a run.

        Returns the volumes' paths by their names, which are those of QSM-CI's contract for inversions.
        """
        volumes = {"localfield": self.local.values, "mask": self.local.mask, **self.intermediates}
        paths = {name: folder / f"{name}.nii.gz" for name in volumes}
        for name, values in volumes.items():
            outputs.volume(paths[name], values, self.local.grid)
        about: dict[str, Any] = {"Units": "ppm", "Software": SOFTWARE}
        if self.local.grid.user_b0_direction is not None:
            about[B0_DIRECTION_KEY] = list(self.local.grid.user_b0_direction)
        local = {"Quantity": "Local field", HARMONIC_COMPLETED_KEY: self.local.harmonic_completed}
        outputs.json(folder / "localfield.json", about | local)
        if "totalfield" in self.intermediates:
            outputs.json(folder / "totalfield.json", about | {"Quantity": "Total field"})
        outputs.json(folder / "params.json", self.parameters())
        return {name: str(path) for name, path in paths.items()}

    def parameters(self) -> dict[str, Any]:
        """What params.json holds: QSM-CI's entries, units, decisions and warnings."""
        grid = self.local.grid
        return {
            "TE": self.notes.get("echo_times_s"),
            "B0": self.local.b0,
            "B0_dir": list(grid.b0_direction),
            "voxel_size": list(grid.voxel_size),
            "Units": "ppm",
            "Software": SOFTWARE,
            "Field": self.notes,
            "Warnings": self.warnings,
        }
