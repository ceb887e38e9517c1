"""The field, mask, reference and regions that all maps of one comparison share, and the measures of each map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid
from IR2QSMLib.core.progress import Progress
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import score
from IR2QSMLib.evaluation.region_statistics import RegionStatistics, region_statistics
from IR2QSMLib.evaluation.regional_metrics import noise_level
from IR2QSMLib.io.images import read_volume_on
from IR2QSMLib.io.masks import read_labels
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.pipeline.inputs import LoadedField, reference_region

LARGEST_PPM = 5.0
"""A map whose 99th percentile is above it is not in ppm."""
SCORES = ("xsim", "nrmse_demeaned", "nrmse", "nrmse_detrended", "hfen", "correlation", "ssim", "psnr")
"""Scores of `metrics.score` that are shown, in the table's order."""


@dataclass(frozen=True)
class ComparedMap:
    """One map of the comparison and its measures."""

    name: str
    chi: Tensor
    """χ [ppm] against the common reference, zero outside the common mask: (x, y, z)."""
    description: str
    """The method's sentence and citation, or the map's file."""
    measures: dict[str, float] = field(default_factory=dict)
    """By name; the names say the unit where there is one."""
    regions: dict[int, RegionStatistics] = field(default_factory=dict)
    """By label."""


@dataclass(frozen=True)
class ComparisonSetup:
    """The field, mask, reference and regions that all maps of one comparison share."""

    local: LocalField
    """The local field [ppm], and the mask that all maps cover."""
    name: str
    """Name of the field's file."""
    reference: Tensor | None
    """The region whose mean χ is zero, bool; None leaves each map its own zero: (x, y, z)."""
    labels: Tensor | None
    """Regions by number: (x, y, z)."""
    white_matter: tuple[int, ...]
    """Labels in which noise is measured; none is the whole mask."""

    @classmethod
    def of(
        cls, loaded: LoadedField, reference: str, labels: Path | None = None, white_matter: Sequence[int] = ()
    ) -> ComparisonSetup:
        """The setup of a loaded field.

        Parameters
        ----------
        loaded
            From `load_inputs`.
        reference
            "mean", "none", or a label map's path.
        labels
            Label map on the field's grid.
        white_matter
            Labels in it.

        Raises
        ------
        FileUnreadable, GridInvalid, GridMismatch
            For an image that cannot be read or lies on another grid.
        MaskInvalid
            For labels that do not occur, or a reference region outside the mask.
        """
        local = loaded.local
        regions = None if labels is None else read_labels(labels, local.grid, loaded.name)
        present = [] if regions is None else regions.unique().tolist()
        for number in white_matter:
            if number not in present or number == 0:
                listed = ", ".join(str(n) for n in present if n) or "none, as there is no label map"
                raise MaskInvalid(
                    f"White matter was said to be label {number}; the labels are: {listed}.", option="white_matter"
                )
        return cls(local, loaded.name, reference_region(reference, loaded), regions, tuple(white_matter))

    def read_map(self, path: Path) -> Tensor:
        """A map [ppm] from a file: (x, y, z).

        Raises
        ------
        GridMismatch
            When it lies on another grid than the field.
        FieldInvalid
            When it is not finite in the mask or not in ppm.
        """
        chi = read_volume_on(path, self.local.grid, self.name)
        inside = chi[self.local.mask]
        if n_bad := int((~inside.isfinite()).sum()):
            raise FieldInvalid(f"{path.name} holds {n_bad} NaN or infinite values inside the mask; mend it.")
        largest = float(inside.abs().kthvalue(max(1, int(0.99 * len(inside))))[0])
        if largest > LARGEST_PPM:
            raise FieldInvalid(
                f"The 99th percentile of {path.name} is {largest:.3g}, which no head has in ppm; divide ppb by 1000."
            )
        return chi

    def with_mask(self, mask: Tensor) -> ComparisonSetup:
        """The same with another common mask, bool (x, y, z)."""
        return replace(self, local=replace(self.local, mask=mask))

    def relative_to_reference(self, chi: Tensor) -> Tensor:
        """A map [ppm] against the common reference, zero outside the common mask: (x, y, z).

        Raises
        ------
        MaskInvalid
            When the reference region lies outside the common mask.
        """
        if self.reference is not None:
            region = self.reference & self.local.mask
            if not bool(region.any()):
                raise MaskInvalid("The reference region lies nowhere in what all maps cover; choose another one.")
            chi = chi - chi[region].double().mean().float()
        return torch.where(self.local.mask, chi, 0.0)

    def measure(self, maps: Sequence[ComparedMap], truth: Tensor | None, progress: Progress) -> list[ComparedMap]:
        """The maps with their measures and the statistics of the regions.

        The field residual is 100·‖f − D∗χ − c·D∗m‖/‖f‖ over the mask m, in empty space, c the best constant: χ has no
        zero, and without c the choice of the reference would count as misfit.

        Parameters
        ----------
        maps
            Against the common reference.
        truth
            χ [ppm] against the common reference, to score the maps against, or None: (x, y, z).
        progress
            Called with the fraction done and the name of the map.
        """
        field_of_mask = self._simulated_field(self.local.mask.float())
        compared = []
        for i, item in enumerate(maps):
            progress(i / len(maps), f"measuring {item.name}")
            compared.append(self._measure_map(item, truth, field_of_mask))
        return compared

    def _measure_map(self, item: ComparedMap, truth: Tensor | None, field_of_mask: Tensor) -> ComparedMap:
        mask = self.local.mask
        noise_region, regions = mask, {}
        if self.labels is not None:
            regions = region_statistics(item.chi, self.labels, mask)
            if self.white_matter:
                noise_region = torch.isin(self.labels, torch.tensor(self.white_matter)) & mask
        scores = {} if truth is None else score(item.chi, truth, mask)
        measures = {
            **item.measures,
            "field_residual_percent": self._residual_percent(item.chi, field_of_mask),
            "noise_ppb": 1000.0 * noise_level(item.chi, noise_region),
            **{name: scores[name] for name in SCORES if name in scores},
        }
        return replace(item, measures=measures, regions=regions)

    def _residual_percent(self, chi: Tensor, field_of_mask: Tensor) -> float:
        maps = (self.local.values, field_of_mask, self._simulated_field(chi))
        local, constant, simulated = (x[self.local.mask].double() for x in maps)
        rest = local - simulated
        rest = rest - constant * (rest @ constant) / (constant @ constant).clamp_min(1e-30)
        size = float(local.norm())
        return 100.0 * float(rest.norm()) / size if size else math.nan

    def _simulated_field(self, chi: Tensor) -> Tensor:
        """D∗χ [ppm] in empty space: (x, y, z)."""
        working_grid = WorkingGrid.around(self.local, margin=0)
        return working_grid.to_original_grid(
            simulate_field(working_grid.volume_to_working_grid(chi), working_grid.grid)
        )
