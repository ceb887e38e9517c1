"""What a reconstruction gives, and its files, which replace no input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.bids import stated_kind
from IR2QSMLib.io.outputs import Outputs


@dataclass(frozen=True)
class Result:
    """A susceptibility map, where it is valid, how sure it is, and how it came about."""

    chi: Tensor
    """χ [ppm] against the reference, zero outside the mask, float32: (x, y, z)."""
    mask: Tensor
    """Where χ is valid, bool: (x, y, z)."""
    uncertainty: Tensor | None
    """Standard error of χ [ppm], if the method gives one; the provenance says whether it was calibrated: (x, y, z)."""
    grid: Grid
    """The grid of the field that came in."""
    provenance: dict[str, Any]
    """Units, method, parameters, weights' hash, reference, versions, seconds, warnings: what the sidecar holds."""
    unexplained: Tensor | None = None
    """Part of the local field that the method gives to no χ [ppm], if it tells: (x, y, z)."""

    def save(
        self,
        chi: Path | str,
        *,
        uncertainty: Path | str | None = None,
        mask: Path | str | None = None,
        unexplained: Path | str | None = None,
    ) -> Path:
        """Write χ with a JSON sidecar beside it, and the other maps where a path is given; return the sidecar's path.

        All files appear together or none does. Raises OutputUnwritable, or ParameterInvalid when a map is asked for
        that the method did not give.
        """
        with Outputs() as outputs:
            return self.add_to(outputs, chi, uncertainty=uncertainty, mask=mask, unexplained=unexplained)

    def add_to(
        self,
        outputs: Outputs,
        chi: Path | str,
        *,
        uncertainty: Path | str | None = None,
        mask: Path | str | None = None,
        unexplained: Path | str | None = None,
    ) -> Path:
        """Add the files of `save` to those of a run that is under way."""
        outputs.volume(chi, self.chi, self.grid)
        if uncertainty is not None:
            if self.uncertainty is None:
                raise ParameterInvalid(
                    f"The method '{self.provenance['Method']['name']}' gave no uncertainty (its weights were not "
                    "trained for one); leave --uncertainty out."
                )
            outputs.volume(uncertainty, self.uncertainty, self.grid)
        if unexplained is not None:
            if self.unexplained is None:
                raise ParameterInvalid(
                    f"The method '{self.provenance['Method']['name']}' does not tell what χ leaves of the field; leave "
                    "--unexplained out, or use modl-qsm."
                )
            outputs.volume(unexplained, self.unexplained, self.grid)
        if mask is not None:
            outputs.volume(mask, self.mask, self.grid)
        sidecar = sidecar_of(chi)
        outputs.json(sidecar, self.provenance)
        return sidecar


def sidecar_of(image: Path | str) -> Path:
    """The JSON file beside an image: chi.nii.gz has chi.json."""
    path = Path(image)
    stem = path.name.removesuffix(".gz")
    return path.with_name(Path(stem).stem + ".json")


def require_apart(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Raise OutputUnwritable when a result would replace an input or its sidecar, or become part of a folder's scan."""
    inputs = [*inputs, *(sidecar_of(read) for read in inputs if not read.is_dir())]
    for written in outputs:
        for read in inputs:
            if read.is_dir() and read.resolve() in written.resolve().parents and stated_kind(written) is not None:
                raise OutputUnwritable(
                    f"The result {written.name} would be taken for an image of the scan in '{read.resolve().name}', or "
                    "replace one; choose another folder for it."
                )
            if written.exists() and read.exists() and written.samefile(read):
                raise OutputUnwritable(f"The result {written.name} would overwrite an input; give it another name.")
        if written.suffix == ".json" and written.is_file() and '"ir2qsm"' not in written.read_text(errors="replace"):
            raise OutputUnwritable(
                f"The sidecar {written.name} would overwrite a file of another program; rename the result, or choose "
                "another folder."
            )
