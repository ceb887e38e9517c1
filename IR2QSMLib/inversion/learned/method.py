"""The learned inversions: spectrum of the discrepancy, whole-brain map, first map, network, step on the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from IR2QSMLib.core.devices import half_precision, release_freed_memory
from IR2QSMLib.core.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.options import option
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import LoadedNetwork, bundled, load
from IR2QSMLib.inversion.learned.tiles import TILES, NetworkMaps, infer_in_memory
from IR2QSMLib.inversion.learned.whole_brain import whole_brain_map
from IR2QSMLib.inversion.settings import SETTINGS
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.fourier import good_size
from IR2QSMLib.physics.resample import aligned_grid, resample

MIN_FACTOR, MAX_FACTOR = 1e-6, 1e6
"""Range of the factor on λ(k), which is at least 0.003. The step amplifies by 1/(2√(c·λ)) at most: below the range the
rounding of float32 would reach a thousandth of the map, above it no step changes the map by as much."""
SPECTRUM, WHOLE_BRAIN, NETWORK, STEP = (0.0, 0.2), (0.2, 0.4), (0.4, 0.9), 0.9
"""Shares of the progress."""


@dataclass(frozen=True)
class Learned:
    """IR2QSM: a U-net run T times with reverse concatenations, on the map of a whole-brain network.

    1. The spectrum of the discrepancy gives λ(k), how little the field is trusted at a frequency (`DataTerm.of`).
    2. A network on coarse voxels, which sees the whole brain, makes a map (`whole_brain_map`); a step on the field
       makes the first map of it.
    3. The network makes the map from field and first map.
    4. A step on the field, χ + F⁻¹[D/(D² + c·λ) F (f − D∗χ)], makes it consistent with the field
       (`DataTerm.enforce_consistency`).

    The other learned methods differ in their network and its weights, whose header says which volumes they read.

    Raises
    ------
    ParameterInvalid
        When the regularisation factor is out of range or the tile is not one of `TILES`.

    References
    ----------
    Li 2025, Medical Physics, doi 10.1002/mp.17747.
    """

    network_name: ClassVar[str] = "ir2unet"
    """The method's network in `NETWORKS`."""
    weights_name: ClassVar[str] = "ir2qsm"
    """The method's bundled weights."""

    weights: Path | None = option(None, "other weights than the bundled ones", parse=Path, metavar="FILE")
    """A weights file; the bundled one when None."""
    regularisation_factor: float = option(
        SETTINGS.regularisation_factor,
        "factor on λ(k) in the step on the field; a larger one keeps more of the network's map",
        metavar="c",
        limits=(MIN_FACTOR, MAX_FACTOR),
        old_names=("consistency",),
    )
    """c, the factor on λ(k) in the step on the field: a large one keeps the network's map, a small one fits the field.
    0, by which version 0.1.0 said that there is no step, sets `network_only`."""
    network_only: bool = option(False, "the network's own map, without the step on the field", flag=True)
    """Whether the step on the field is left out, so that the map is the network's own."""
    tile: int | None = option(
        None, "edge of tiles [voxels]; default: only when needed", parse=int, metavar="N", choices=TILES
    )
    """Edge of the tiles [voxels]; None for the whole volume where memory holds it."""
    resampled: bool | None = None
    """Whether the network runs on a 1 mm grid along B0; None for those that read nothing but the field and know no
    B0."""
    use_whole_brain_map: bool = True
    """Whether the first map is made from that of the whole-brain network; else it is Wiener's of the field."""
    calibrated: bool = True
    """Whether the uncertainty is that of the final map, for calibrated weights; else, and with `network_only`, it is
    the network's own."""

    def __post_init__(self) -> None:
        if self.regularisation_factor == 0.0:
            object.__setattr__(self, "regularisation_factor", SETTINGS.regularisation_factor)
            object.__setattr__(self, "network_only", True)
        if not MIN_FACTOR <= self.regularisation_factor <= MAX_FACTOR:
            raise ParameterInvalid(
                f"The factor on the regularisation is {self.regularisation_factor:g}; expected one from {MIN_FACTOR:g} "
                f"to {MAX_FACTOR:g}. For the network's own map, without the step on the field, use --network-only.",
                option="regularisation_factor",
            )
        if self.tile is not None and self.tile not in TILES:
            raise ParameterInvalid(
                f"The tile is {self.tile} voxels; expected one of {', '.join(map(str, TILES))}.", option="tile"
            )

    def __call__(
        self, field: LocalField, progress: Progress = silent, other_orientations: Sequence[LocalField] = ()
    ) -> Susceptibility:
        """Invert a local field.

        Parameters
        ----------
        field : LocalField
            The local field [ppm] on a working grid, every axis a multiple of 8.
        progress : callable
            Called with the fraction done and the stage.
        other_orientations : sequence of LocalField
            Fields of the same head, on the same voxels, with B0 in other directions; LPCNN takes them.

        Returns
        -------
        Susceptibility
            χ [ppm], with its uncertainty and what χ does not explain of the field, where the network has them.

        Raises
        ------
        WeightsInvalid
            When weights are missing, do not load, or are another network's.
        ParameterInvalid
            When the network cannot be resampled or takes one orientation.
        OutOfMemory
            When no tile fits.
        """
        if self.unavailable_reason is not None:
            raise WeightsInvalid(self.unavailable_reason, option="weights")
        loaded = load(self.weights or bundled(self.weights_name))
        self._require_possible(loaded, field, other_orientations)
        fields = [f.map_volumes(Tensor.contiguous, f.grid) for f in (field, *other_orientations)]
        data_terms = _data_terms(fields, part_of(progress, *SPECTRUM))
        notes = self._notes(loaded, data_terms[0])
        image = self._network_input(loaded, data_terms, notes, part_of(progress, *WHOLE_BRAIN))
        release_freed_memory()  # the network needs most
        maps = self._run_network(loaded, data_terms, image, part_of(progress, *NETWORK))
        del image
        notes["tile"] = maps.tile
        chi = torch.where(field.mask, maps.chi, 0.0)
        sigma, unexplained = (
            None if x is None else torch.where(field.mask, x, 0.0) for x in (maps.sigma, maps.unexplained)
        )
        progress(STEP, "data consistency")
        if not self.network_only:
            for data_term in data_terms:
                chi, notes["steps"] = data_term.enforce_consistency(chi, self.regularisation_factor)
        if loaded.calibration is not None and self.calibrated and not self.network_only:
            sigma = loaded.calibration(chi, data_terms[0])
            as_calibrated = self._is_as_calibrated and len(data_terms) == 1
            notes["uncertainty"] = "calibrated on simulated heads" + ("" if as_calibrated else ", at other settings")
        elif sigma is not None:
            notes["uncertainty"] = "the network's own, not calibrated"
        return Susceptibility(chi, sigma, notes, unexplained=unexplained)

    @property
    def unavailable_reason(self) -> str | None:
        """Why the method cannot run: which weights are missing and what to do; None if it can."""
        if self.weights is not None:
            return None
        if not bundled(self.weights_name).is_file():
            return (
                f"No weights of the network '{self.network_name}' come with this installation; train some (ir2qsm "
                f"train --network {self.network_name}) or convert released ones (ir2qsm import-weights), and give them "
                "with --weights."
            )
        return whole_brain.unavailable_reason() if self.use_whole_brain_map else None

    @property
    def _is_as_calibrated(self) -> bool:
        as_default = self.regularisation_factor == SETTINGS.regularisation_factor and self.resampled is None
        return as_default and self.use_whole_brain_map

    def _require_possible(
        self, loaded: LoadedNetwork, field: LocalField, other_orientations: Sequence[LocalField]
    ) -> None:
        if loaded.network_name != self.network_name:
            raise WeightsInvalid(
                f"The weights '{loaded.name}' are for the network '{loaded.network_name}' and this method's is "
                f"'{self.network_name}'; choose weights for it, or the method of these.",
                option="weights",
            )
        if loaded.network.unrolled and self.resampled:
            raise ParameterInvalid(
                f"The network '{self.network_name}' knows B0 and the voxel size; it is not resampled."
            )
        if other_orientations and self.network_name != "lpcnn":
            raise ParameterInvalid(
                f"There are {1 + len(other_orientations)} orientations; the network '{self.network_name}' takes one. "
                "Use LPCNN."
            )
        for other in other_orientations:
            other.grid.require_match(field.grid, "An orientation", "the first")
        reason = whole_brain.unavailable_reason()
        if reason is not None and self._uses_whole_brain(loaded, 1 + len(other_orientations)):
            raise WeightsInvalid(reason, option="weights")

    def _uses_whole_brain(self, loaded: LoadedNetwork, n_orientations: int) -> bool:
        reads_first_map = "first_map" in loaded.network_input.channels
        return self.use_whole_brain_map and reads_first_map and n_orientations == 1

    def _is_resampled(self, loaded: LoadedNetwork) -> bool:
        knows_no_b0 = loaded.network_input.channels == ("field",) and not loaded.network.unrolled
        return knows_no_b0 if self.resampled is None else self.resampled

    def _notes(self, loaded: LoadedNetwork, data_term: DataTerm) -> dict[str, Any]:
        precision = half_precision(str(data_term.field.values.device))
        return {
            "weights": loaded.name,
            "weights_sha256": loaded.sha256,
            "input_channels": list(loaded.network_input.channels),
            "resampled": self._is_resampled(loaded),
            "precision": "float32" if precision is None else str(precision).removeprefix("torch."),
            "field_offset_ppm": round(data_term.spectrum.offset, 6),
            "spectrum": data_term.spectrum.to_dict(),
        }

    def _network_input(
        self, loaded: LoadedNetwork, data_terms: Sequence[DataTerm], notes: dict[str, Any], progress: Progress
    ) -> Tensor:
        """The network's input [ppm], (channel, x, y, z), with the first map from the whole-brain network's."""
        data_term, first_map = data_terms[0], None
        if self._uses_whole_brain(loaded, len(data_terms)):
            coarse = whole_brain_map(data_term.field, progress)
            notes |= {"whole_brain_sha256": coarse.sha256, "whole_brain_tile": coarse.tile}
            first_map, _ = data_term.enforce_consistency(torch.where(data_term.field.mask, coarse.chi, 0.0))
        return loaded.network_input(data_term, first_map)

    def _run_network(
        self, loaded: LoadedNetwork, data_terms: Sequence[DataTerm], image: Tensor, progress: Progress
    ) -> NetworkMaps:
        """Run the network on the field's voxels, or on those of a 1 mm grid along B0."""
        if not self._is_resampled(loaded):
            return self._infer(loaded, data_terms, image, progress)
        field = data_terms[0].field
        aligned = aligned_grid(field.grid)
        shape = [good_size(n, loaded.network.multiple) for n in aligned.shape]
        aligned = aligned.cropped([-((m - n) // 2) for m, n in zip(shape, aligned.shape, strict=True)], shape)
        mask = resample(field.mask.float(), field.grid, aligned) > 0.5
        image = torch.where(mask, torch.stack([resample(channel, field.grid, aligned) for channel in image]), 0.0)
        maps = self._infer(loaded, data_terms, image, progress)
        chi = resample(torch.where(mask, maps.chi, 0.0), aligned, field.grid)
        return maps._replace(chi=chi, sigma=None if maps.sigma is None else resample(maps.sigma, aligned, field.grid))

    def _infer(
        self, loaded: LoadedNetwork, data_terms: Sequence[DataTerm], image: Tensor, progress: Progress
    ) -> NetworkMaps:
        device = image.device
        network = loaded.network.to(device)
        dipole, mask = None, None
        if network.unrolled:  # its fields come first, that of the first map last
            fields = [data_term.field for data_term in (*data_terms[1:], data_terms[0])]
            image = torch.cat([*(f.values[None] for f in fields[:-1]), image])
            dipole = DipoleStack([[f.grid for f in fields]], device=device)
            mask = torch.stack([f.mask for f in fields]).all(0)
        return infer_in_memory(network, image, self.tile, half_precision(str(device)), progress, dipole, mask)


def _data_terms(fields: Sequence[LocalField], progress: Progress) -> list[DataTerm]:
    n = len(fields)
    return [DataTerm.of(field, part_of(progress, i / n, (i + 1) / n)) for i, field in enumerate(fields)]


@dataclass(frozen=True)
class LearnedUnet(Learned):
    """The U-net that the papers compare with (Gao 2021, doi 10.1002/nbm.4461)."""

    network_name = weights_name = "unet"


@dataclass(frozen=True)
class LearnedXqsm(Learned):
    """xQSM (Gao 2021, doi 10.1002/nbm.4461): a U-net of octave convolutions."""

    network_name = weights_name = "xqsm"


@dataclass(frozen=True)
class LearnedLpcnn(Learned):
    """LPCNN (Lai 2020, doi 10.1007/978-3-030-59713-9_13): unrolled descent with a learned proximal operator.

    It takes fields of the same head in several orientations; then the voxels that are in all masks count.
    """

    network_name = weights_name = "lpcnn"


@dataclass(frozen=True)
class LearnedModlQsm(Learned):
    """MoDL-QSM (Feng 2021, doi 10.1016/j.neuroimage.2021.118376): unrolled descent that also estimates what χ leaves.

    The result's `unexplained` is the part of the field [ppm] that the network gives to no χ, before the step.
    """

    network_name = weights_name = "modl-qsm"
