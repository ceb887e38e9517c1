"""What all maps of one comparison are held against, and what is measured of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.evaluation.regional_metrics import Region, noise_level, region_values
from IR2QSMLib.io.images import read_labels, read_volume_on
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.pipeline.inputs import LoadedField, reference_region

LARGEST_PPM = 5.0
"""A map whose 99th percentile is above it is not in ppm."""
SCORES = ("xsim", "nrmse_demeaned", "nrmse", "nrmse_detrended", "hfen", "correlation", "ssim", "psnr")


@dataclass(frozen=True)
class ComparedMap:
    """One map of the comparison and what was measured of it."""

    name: str
    chi: Tensor
    """χ [ppm] against the common reference, zero outside the common mask: (x, y, z)."""
    about: str
    """The method's sentence and citation, or the file it came from."""
    measures: dict[str, float] = field(default_factory=dict)
    regions: dict[int, Region] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonSetup:
    """The field, grid, mask, reference and regions that all maps of one comparison are held against."""

    values: Tensor
    """The local field [ppm], zero outside the mask."""
    mask: Tensor
    grid: Grid
    name: str
    reference: Tensor | None
    """The region whose mean χ is zero; None leaves each map its own zero."""
    labels: Tensor | None
    white_matter: tuple[int, ...]

    @classmethod
    def of(
        cls, loaded: LoadedField, reference: str, labels: Path | None = None, white_matter: Sequence[int] = ()
    ) -> ComparisonSetup:
        """Of a field that is loaded; raises FileUnreadable, GridInvalid, GridMismatch, MaskInvalid."""
        local = loaded.local
        regions = None if labels is None else read_labels(labels, local.grid, loaded.name)
        present = [] if regions is None else regions.unique().tolist()
        for number in white_matter:
            if number not in present or number == 0:
                listed = ", ".join(str(n) for n in present if n) or "none, as there is no label map"
                raise MaskInvalid(
                    f"White matter was said to be label {number}; the labels are: {listed}.", option="white_matter"
                )
        region = reference_region(reference, loaded)
        return cls(local.values, local.mask, local.grid, loaded.name, region, regions, tuple(white_matter))

    def map_of(self, path: Path) -> Tensor:
        """A map [ppm] from a file; raises GridMismatch off the grid, FieldInvalid for other values than ppm."""
        chi = read_volume_on(path, self.grid, self.name)
        inside = chi[self.mask]
        if n_bad := int((~inside.isfinite()).sum()):
            raise FieldInvalid(f"{path.name} holds {n_bad} NaN or infinite values inside the mask; mend it.")
        top = float(inside.abs().kthvalue(max(1, int(0.99 * len(inside))))[0])
        if top > LARGEST_PPM:
            raise FieldInvalid(
                f"The 99th percentile of {path.name} is {top:.3g}, which no head has in ppm; divide ppb by 1000."
            )
        return chi

    def settled(self, chi: Tensor) -> Tensor:
        """A map against the common reference, zero outside the common mask."""
        if self.reference is not None:
            region = self.reference & self.mask
            if not bool(region.any()):
                raise MaskInvalid("The reference region lies nowhere in what all maps cover; choose another one.")
            chi = chi - chi[region].double().mean().float()
        return torch.where(self.mask, chi, 0.0)

    def own_field(self) -> Tensor:
        """The field [ppm] of 1 ppm all over the mask."""
        return self._field_of(self.mask.float())

    def _field_of(self, chi: Tensor) -> Tensor:
        frame = WorkingGrid.around(LocalField(self.values, self.mask, self.grid), margin=0)
        return frame.to_original_grid(simulate_field(frame.volume_to_working_grid(chi), frame.grid))

    def measured(self, item: ComparedMap, truth: Tensor | None, own_field: Tensor) -> ComparedMap:
        """The same with its measures.

        The residual is 100·‖f − D∗χ − c·D∗m‖/‖f‖ over the mask m, in empty space, c the best constant: χ has no zero,
        and without it the choice of the reference would count as misfit.
        """
        data, own, fitted = (x[self.mask].double() for x in (self.values, own_field, self._field_of(item.chi)))
        left = data - fitted
        left = left - own * (left @ own) / (own @ own).clamp_min(1e-30)
        size = float(data.norm())
        where, regions = self.mask, {}
        if self.labels is not None:
            regions = region_values(item.chi, self.labels, self.mask)
            if self.white_matter:
                where = torch.isin(self.labels, torch.tensor(self.white_matter)) & self.mask
        scored = {} if truth is None else score(item.chi, truth, self.mask)
        measures = {
            **item.measures,
            "field_residual_percent": 100.0 * float(left.norm()) / size if size else math.nan,
            "noise_ppb": 1000.0 * noise_level(item.chi, where),
            **{name: scored[name] for name in SCORES if name in scored},
        }
        return replace(item, measures=measures, regions=regions)
