"""The result of a reconstruction, and its files, which replace no input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from IR2QSMLib.core.errors import OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.image_kind import FIELD, image_kind
from IR2QSMLib.io.outputs import Outputs


@dataclass(frozen=True)
class Result:
    """A susceptibility map, where it is valid, its standard error, and its provenance."""

    chi: Tensor
    """χ [ppm] against the reference, zero outside the mask, float32: (x, y, z)."""
    mask: Tensor
    """Where χ is valid, bool: (x, y, z)."""
    uncertainty: Tensor | None
    """Standard error of χ [ppm], if the method gives one; the provenance says whether it was calibrated: (x, y, z)."""
    grid: Grid
    """The grid of the field."""
    provenance: dict[str, Any]
    """Units, method, parameters, weights' hash, reference, versions, seconds, warnings: what the sidecar holds."""
    unexplained: Tensor | None = None
    """Part of the local field that χ does not explain [ppm], if the method gives it: (x, y, z)."""

    def save(
        self,
        chi: Path | str,
        *,
        uncertainty: Path | str | None = None,
        mask: Path | str | None = None,
        unexplained: Path | str | None = None,
    ) -> Path:
        """Write χ with a JSON sidecar beside it, and the other maps where there is a path: all files or none.

        Parameters
        ----------
        chi, uncertainty, mask, unexplained
            Paths of the maps.

        Returns
        -------
        Path
            Of the sidecar.

        Raises
        ------
        OutputUnwritable
            When a file cannot be written.
        ParameterInvalid
            When the method did not give that map.
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
                    "trained for one); leave --uncertainty out.",
                    option="uncertainty",
                )
            outputs.volume(uncertainty, self.uncertainty, self.grid)
        if unexplained is not None:
            if self.unexplained is None:
                raise ParameterInvalid(
                    f"The method '{self.provenance['Method']['name']}' gives no part of the field that χ does not "
                    "explain; leave --unexplained out, or use modl-qsm.",
                    option="unexplained",
                )
            outputs.volume(unexplained, self.unexplained, self.grid)
        if mask is not None:
            outputs.volume(mask, self.mask, self.grid)
        sidecar = sidecar_path(chi)
        outputs.json(sidecar, self.provenance)
        return sidecar


def sidecar_path(image: Path | str) -> Path:
    """The JSON file beside an image: chi.nii.gz has chi.json."""
    path = Path(image)
    stem = path.name.removesuffix(".gz")
    return path.with_name(Path(stem).stem + ".json")


def refuse_overwriting(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Raise OutputUnwritable when a result would replace an input or its sidecar, or become part of a folder's scan."""
    inputs = [*inputs, *(sidecar_path(path) for path in inputs if not path.is_dir())]
    for output in outputs:
        for path in inputs:
            if path.is_dir() and path.resolve() in output.resolve().parents and image_kind(output) not in (None, FIELD):
                raise OutputUnwritable(
                    f"The result {output.name} would be taken for an image of the scan in '{path.resolve().name}', or "
                    "replace one; choose another folder for it.",
                    option="output",
                )
            if output.exists() and path.exists() and output.samefile(path):
                raise OutputUnwritable(
                    f"The result {output.name} would overwrite an input; give it another name.", option="output"
                )
        if output.suffix == ".json" and output.is_file() and '"ir2qsm"' not in output.read_text(errors="replace"):
            raise OutputUnwritable(
                f"The sidecar {output.name} would overwrite a file of another program; rename the result, or choose "
                "another folder.",
                option="output",
            )
