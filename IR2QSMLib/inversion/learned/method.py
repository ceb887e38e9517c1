"""The learned inversions: a first map, a network, and one closed-form step on the measured field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.options import option
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import LoadedNetwork, bundled, load
from IR2QSMLib.inversion.learned.tiles import TILES, Maps, infer_in_memory
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.fourier import good_size
from IR2QSMLib.physics.resample import aligned_grid, resample
from IR2QSMLib.physics.settings import SETTINGS


@dataclass(frozen=True)
class Learned:
    """IR2QSM (Li 2025, doi 10.1002/mp.17747): a U-net run T times with reverse concatenations.

    1. The field's own cone tells how much of it no susceptibility explains, λ(k) (`estimate_spectrum`).
    2. A network on coarse voxels, which sees the whole brain, fills that cone (`whole_brain_map`); a step on the field
       makes of its map the first map.
    3. The network draws the map from field and first map.
    4. A closed-form step reconciles the map with the field, χ + F⁻¹[D/(D² + c·λ) F (f − D∗χ)]; another one follows only
       where a step clears the cone, as it does in fields without discrepancy (`DataTerm.reconciled`).

    Raises ParameterInvalid when the consistency is negative or the tile is not one of `TILES`, WeightsInvalid for
    weights that do not load, OutOfMemory when no tile fits. The other learned methods differ in their network, their
    weights and what these say they read.
    """

    kind: ClassVar[str] = "ir2unet"
    """The method's network in `NETWORKS`."""
    weights_name: ClassVar[str] = "ir2qsm"
    """The method's bundled weights."""

    weights: Path | None = option(None, "other weights than the bundled ones", parse=Path, metavar="FILE")
    """A weights file; the bundled one when None."""
    consistency: float = option(
        SETTINGS.step_factor, "factor on λ(k) in the step on the field; 0: no step", metavar="c"
    )
    """c, the factor on λ(k) in the closed-form step; 0 is no step, and the map is the network's own."""
    tile: int | None = option(None, "edge of tiles [voxels]; default: only when needed", parse=int, metavar="N")
    """Edge of the tiles [voxels]; None for the whole volume where memory holds it."""
    resampled: bool | None = None
    """Whether the network sees a 1 mm grid along B0; None for those that read the field alone and know no B0."""
    whole_brain: bool = True
    """Whether the first map is that of the whole-brain network, or the field's own."""
    calibrated: bool = True
    """Whether the uncertainty is that of the final map, where the weights were calibrated; else, and without
    consistency, the network's own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.consistency < math.inf:
            raise ParameterInvalid(f"The data consistency is {self.consistency:g}; expected a factor, or 0 for none.")
        if self.tile is not None and self.tile not in TILES:
            raise ParameterInvalid(f"The tile is {self.tile} voxels; expected one of {', '.join(map(str, TILES))}.")

    def __call__(
        self, field: LocalField, progress: Progress = silent, others: Sequence[LocalField] = ()
    ) -> Susceptibility:
        """Invert a preprocessed field [ppm], every axis a multiple of 8.

        `others` are fields of the same head, on the same voxels, with B0 in other directions: for LPCNN alone.
        """
        if self.problem is not None:
            raise WeightsInvalid(self.problem)
        loaded = load(self.weights or bundled(self.weights_name))
        self._require_use(loaded, field, others)
        field, *others = (f.mapped(Tensor.contiguous, f.grid) for f in (field, *others))
        told, n = part_of(progress, 0.0, 0.2), 1 + len(others)
        terms = [DataTerm.of(f, part_of(told, i / n, (i + 1) / n)) for i, f in enumerate((field, *others))]
        term = terms[0]
        notes = self._notes(loaded, term)
        first_map = term.first_map
        if self.whole_brain and loaded.network_input.reads != "field" and not others:
            progress(0.2, "whole brain")
            coarse, notes["whole_brain_sha256"] = whole_brain_map(term.field, part_of(progress, 0.2, 0.4))
            first_map, _ = term.reconciled(torch.where(field.mask, coarse, 0.0))
        maps = self._run(loaded, terms, first_map, part_of(progress, 0.4, 0.9))
        chi = torch.where(field.mask, maps.chi, 0.0)
        sigma, unexplained = (
            None if x is None else torch.where(field.mask, x, 0.0) for x in (maps.sigma, maps.unexplained)
        )
        progress(0.9, "data consistency")
        if self.consistency > 0.0:
            for each in terms:
                chi, notes["steps"] = each.reconciled(chi, self.consistency)
        notes["tile"] = maps.tile
        if sigma is not None:
            notes["uncertainty"] = "the network's own, not calibrated"
        if loaded.calibration is not None and self.calibrated and self.consistency > 0.0:
            sigma = loaded.calibration(chi, term)
            usual = (
                self.whole_brain and self.consistency == SETTINGS.step_factor and self.resampled is None and not others
            )
            notes["uncertainty"] = "calibrated on simulated heads" + ("" if usual else ", at other settings")
        return Susceptibility(chi, sigma, notes, unexplained=unexplained)

    @property
    def problem(self) -> str | None:
        """Why the method cannot run as it is: None, or that it has no weights and what to do."""
        if self.weights is not None or bundled(self.weights_name).is_file():
            return None
        return (
            f"No weights of the network '{self.kind}' come with this installation; train some (ir2qsm train --network "
            f"{self.kind}) or convert released ones (ir2qsm import-weights), and give them with --weights."
        )

    def _require_use(self, loaded: LoadedNetwork, field: LocalField, others: Sequence[LocalField]) -> None:
        if loaded.kind != self.kind:
            raise WeightsInvalid(
                f"The weights '{loaded.name}' are for the network '{loaded.kind}' and this method's is '{self.kind}'; "
                "give weights of its own, or choose the method of those."
            )
        if loaded.network.unrolled and self.resampled:
            raise ParameterInvalid(f"The network '{self.kind}' knows B0 and the voxel size; it is not resampled.")
        if others and self.kind != "lpcnn":
            raise ParameterInvalid(
                f"{1 + len(others)} orientations were given; the network '{self.kind}' takes one. Use LPCNN."
            )
        for other in others:
            other.grid.require_match(field.grid, "An orientation", "the first")

    def _notes(self, loaded: LoadedNetwork, term: DataTerm) -> dict[str, Any]:
        precision = half_precision(str(term.field.values.device))
        return {
            "weights": loaded.name,
            "weights_sha256": loaded.sha256,
            "reads": loaded.network_input.reads,
            "resampled": self._is_resampled(loaded),
            "precision": "float32" if precision is None else str(precision).removeprefix("torch."),
            "field_offset_ppm": round(term.spectrum.offset, 6),
            "spectrum": term.spectrum.to_dict(),
        }

    def _is_resampled(self, loaded: LoadedNetwork) -> bool:
        knows_no_b0 = loaded.network_input.reads == "field" and not loaded.network.unrolled
        return knows_no_b0 if self.resampled is None else self.resampled

    def _run(self, loaded: LoadedNetwork, terms: Sequence[DataTerm], first_map: Tensor, progress: Progress) -> Maps:
        """The network over a volume, in tiles where memory asks for them, on its own voxels or those of a 1 mm grid."""
        term = terms[0]
        grid = term.field.grid
        image = loaded.network_input(term, first_map)
        if not self._is_resampled(loaded):
            return self._infer(loaded, terms, image, progress)
        aligned = aligned_grid(grid)
        shape = [good_size(n, loaded.network.multiple) for n in aligned.shape]
        aligned = aligned.cropped([-((m - n) // 2) for m, n in zip(shape, aligned.shape, strict=True)], shape)
        mask = resample(term.field.mask.float(), grid, aligned) > 0.5
        image = torch.where(mask, torch.stack([resample(channel, grid, aligned) for channel in image]), 0.0)
        maps = self._infer(loaded, terms, image, progress)
        chi = resample(torch.where(mask, maps.chi, 0.0), aligned, grid)
        return maps._replace(chi=chi, sigma=None if maps.sigma is None else resample(maps.sigma, aligned, grid))

    def _infer(self, loaded: LoadedNetwork, terms: Sequence[DataTerm], image: Tensor, progress: Progress) -> Maps:
        device = image.device
        network = loaded.network.to(device)
        physics: tuple[Any, ...] = ()
        if network.unrolled:
            fields = [term.field for term in terms]
            image = torch.cat([*(f.values[None] for f in fields[1:]), image])
            grids = [f.grid for f in (*fields[1:], fields[0])]
            mask = torch.stack([f.mask for f in fields]).all(0)
            physics = (DipoleStack([grids], device=device), mask)
        return infer_in_memory(network, image, self.tile, None, half_precision(str(device)), progress, *physics)


@dataclass(frozen=True)
class LearnedUnet(Learned):
    """The U-net that the papers compare with (Gao 2021, doi 10.1002/nbm.4461)."""

    kind = weights_name = "unet"


@dataclass(frozen=True)
class LearnedXqsm(Learned):
    """xQSM (Gao 2021, doi 10.1002/nbm.4461): a U-net of octave convolutions."""

    kind = weights_name = "xqsm"


@dataclass(frozen=True)
class LearnedLpcnn(Learned):
    """LPCNN (Lai 2020, doi 10.1007/978-3-030-59713-9_13): unrolled descent with a learned proximal operator.

    It takes fields of the same head in several orientations. In what several orientations measure, only voxels of
    every one's mask count, and no magnitude does.
    """

    kind = weights_name = "lpcnn"


@dataclass(frozen=True)
class LearnedModlQsm(Learned):
    """MoDL-QSM (Feng 2021, doi 10.1016/j.neuroimage.2021.118376): unrolled descent that also tells what χ leaves.

    The result's `unexplained` is what of the field it last read it gives to no χ [ppm], before data consistency.
    """

    kind = weights_name = "modl-qsm"
