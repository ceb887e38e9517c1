"""The learned inversions: a network's estimate of χ, and the measured field again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from IR2QSMLib.errors import ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.edges import magnitude_edges, own_edges
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity, GradientTikhonov
from IR2QSMLib.inversion.loading import Loaded, bundled, load
from IR2QSMLib.inversion.streaks import StreakRemoval
from IR2QSMLib.inversion.tiles import TILES, Maps, infer_in_memory
from IR2QSMLib.inversion.tv import between_edges
from IR2QSMLib.physics.dipole import DipoleStack
from IR2QSMLib.physics.fourier import good_size
from IR2QSMLib.physics.gradient import Gradient
from IR2QSMLib.physics.resample import aligned_grid, resample
from IR2QSMLib.runtime import Progress, half_precision, part_of, silent
from IR2QSMLib.volumes import LocalField, Susceptibility

CONSISTENCY = 0.01
"""Floor of the data consistency's λ."""
NETWORK_SHARE, FIRST_SHARE, LAST_SHARE = 0.5, 0.05, 0.15
"""Of a run's time, that of the network and its first inversion, and of the whole, those of judging the field and of
`between_edges`."""
N_ROUNDS, N_STEPS = 5, 2
"""Rounds of the data consistency, and steps of the first inversion in each: chosen, like `consistency_of`, on held-out
heads of seeds that neither training nor the benchmark uses."""
N_PASSES, N_ROUNDS_A_PASS = 5, 2
"""Where a field lacks its harmonic part: how often the network is run, and the rounds after each run. Chosen likewise;
after more passes, wide streaks of some maps grow."""
LED_ON, LED_ON_ALONE = 0.6, 0.45
"""Weight of what `between_edges` makes of a map beside the map itself, with a magnitude and without: alone it is as
good where all edges are seen, and worse where they are not; the mean of both is better than either, or nearly."""


def consistency_of(fidelity: Fidelity, floor: float, *, magnitude: bool) -> tuple[StreakRemoval, GradientTikhonov]:
    """The removal of streaks and the steps on the field that suit a field and the floor of λ.

    What lies between edges may be smoothed: between a `magnitude`'s four times as much as between the map's own, which
    are less sure, and twice that in a noisy field; three times as much, in a cone three times as wide, in a field that
    lacks its harmonic part, whose errors are streaks at every angle; half of that where the part was recovered. The
    steps may then follow the field more closely, and be one more.
    """
    lacking = fidelity.lacking
    strength = StreakRemoval.strength * 3.0**lacking
    if magnitude:
        strength *= 4.0 * (1.0 + min(1.0, 10.0 * fidelity.noise))
    if fidelity.field.recovered:
        strength *= 0.5
    steps = GradientTikhonov(floor, 2.0 / (1.0 + lacking), N_STEPS + round(lacking))
    return StreakRemoval(strength, StreakRemoval.cone * 3.0**lacking), steps


@dataclass(frozen=True)
class Learned:
    """IR2QSM (Li 2025, doi 10.1002/mp.17747): a U-net run T times with reverse concatenations.

    The network corrects a first inversion of the field, and its estimate is reconciled with the measured field: by
    turns, streaks are taken out near the cone where D vanishes (`StreakRemoval`), and steps of the first inversion
    explain what the map leaves of the field (`GradientTikhonov.refine`). Where the field lacks its harmonic part, or an
    estimate stands for it, the map tells it better (`Fidelity.completed`): the network is run again and again on what
    it then reads. The result is a mean with what a few steps of total variation over all of k-space make of it
    (`between_edges`), on the field that it completes. Both spare edges: those of a magnitude, as MEDI finds them, or
    without one those of the network's estimate and, in the last step, of the map so far (`own_edges`). Several
    orientations leave no streaks, and neither follows.

    Raises ParameterInvalid when the consistency is negative or the tile is not one of `TILES`, WeightsInvalid for
    weights that do not load, FieldInvalid for a magnitude without edges, OutOfMemory when no tile fits.

    The other learned methods differ in their network, their weights and what these say they read.
    """

    kind: ClassVar[str] = "ir2unet"
    """The method's network in `KINDS`."""
    weights_name: ClassVar[str] = "ir2qsm"
    """The method's bundled weights."""

    weights: Path | None = None
    """A weights file; the bundled one when None."""
    consistency: float = CONSISTENCY
    """The floor of the data consistency's λ, which grows with the field's noise; 0 is no consistency."""
    tile: int | None = None
    """Edge of the tiles [voxels]; None for the whole volume where memory holds it."""
    resampled: bool | None = None
    """Whether the network sees a 1 mm grid along B0; None for those that read the field alone and know no B0."""
    edges: bool = True
    """Whether the edges that are spared are those of the field's magnitude, where it has one."""
    calibrated: bool = True
    """Whether the uncertainty is that of the final map, where the weights were calibrated; else, and without data
    consistency, the network's own."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.consistency < math.inf:
            raise ParameterInvalid(f"The data consistency is {self.consistency:g}; expected a λ, or 0 for none.")
        if self.tile is not None and self.tile not in TILES:
            raise ParameterInvalid(f"The tile is {self.tile} voxels; expected one of {', '.join(map(str, TILES))}.")

    def __call__(
        self, field: LocalField, progress: Progress = silent, others: Sequence[LocalField] = ()
    ) -> Susceptibility:
        """Invert a prepared field [ppm], every axis a multiple of 8.

        `others` are fields of the same head, on the same voxels, with B0 in other directions: for LPCNN alone.
        """
        if self.problem is not None:
            raise WeightsInvalid(self.problem)
        loaded = load(self.weights or bundled(self.weights_name))
        self._require_use(loaded, field, others)
        progress(0.0, "first inversion")
        field, *others = (f.mapped(Tensor.contiguous, f.grid) for f in (field, *others))
        judged = FIRST_SHARE / (1 + len(others))
        alone = self.consistency == 0.0         # the network sees the very field, as its authors' code does
        fidelities = [
            Fidelity(f, part_of(progress, judged * i, judged * (i + 1)), absolute=alone)
            for i, f in enumerate((field, *others))
        ]
        seen = None if others else self._magnitude_edges(field)
        led_on = self.consistency > 0.0 and not others          # together they leave no cone unseen
        blind = loaded.reading.reads == "field" and not loaded.network.unrolled
        resampled = blind if self.resampled is None else self.resampled
        run = self._on_aligned_grid if resampled else self._run
        measured, read = [f.of_what_was_measured() for f in fidelities], fidelities
        again = self.consistency > 0.0 and any(f.lacking > 0.5 for f in measured)
        n_passes, n_rounds = (N_PASSES, N_ROUNDS_A_PASS) if again else (1, N_ROUNDS)
        end = 1.0 - LAST_SHARE if led_on else 1.0
        a_pass = (end - FIRST_SHARE) / n_passes
        chi = torch.zeros_like(field.values)
        before: Maps | None = None
        for number in range(n_passes):
            told = part_of(progress, FIRST_SHARE + a_pass * number, FIRST_SHARE + a_pass * (number + 1))
            maps = before = run(loaded, read, chi, part_of(told, 0.0, NETWORK_SHARE), before)
            chi = torch.where(field.mask, maps.chi, 0.0)
            if self.consistency > 0.0:
                chi = self._reconciled(chi, measured, seen, n_rounds, part_of(told, NETWORK_SHARE, 1.0))
            if number + 1 < n_passes:
                read = [Fidelity(f.completed(chi)) for f in measured]
        if led_on:
            completed, edges = measured[0].completed(chi), seen or own_edges(chi, field.mask, field.grid)
            led = between_edges(completed, chi, edges, part_of(progress, end, 1.0))
            chi = torch.lerp(chi, led, LED_ON_ALONE if seen is None else LED_ON)
        sigma, unexplained = (
            None if x is None else torch.where(field.mask, x, 0.0) for x in (maps.sigma, maps.unexplained)
        )
        precision = half_precision(str(field.values.device))
        notes: dict[str, Any] = {"weights": loaded.name, "weights_sha256": loaded.sha256, "resampled": resampled}
        notes["tile"] = maps.tile
        notes["precision"] = "float32" if precision is None else str(precision).removeprefix("torch.")
        notes["noise_share"] = round(fidelities[0].noise, 6)
        notes["field_offset_ppm"] = round(fidelities[0].offset, 6)
        notes["harmonic_part_lacking"] = round(fidelities[0].lacking, 3)
        notes["harmonic_part_recovered"] = field.recovered
        notes["passes"] = n_passes
        notes["reading"] = asdict(loaded.reading)
        notes["magnitude_edges"] = seen is not None
        if sigma is not None:
            calibration = loaded.calibration if self.calibrated and self.consistency > 0.0 else None
            notes["uncertainty"] = "the network's own, not calibrated"
            if calibration is not None:
                sigma = calibration(chi, sigma, fidelities[0], spared=seen is not None)
                notes["uncertainty"] = "calibrated on simulated heads"
        return Susceptibility(chi, sigma, notes, unexplained=unexplained)

    def _magnitude_edges(self, field: LocalField) -> list[Tensor] | None:
        """Where the magnitude has edges along each axis, or None where there is none or none is asked for."""
        if self.consistency == 0.0 or not self.edges or field.magnitude is None:
            return None
        return magnitude_edges(field.magnitude, field.mask, Gradient(field.grid, "periodic"))

    def _reconciled(
        self, chi: Tensor, fidelities: Sequence[Fidelity], seen: list[Tensor] | None, n_rounds: int, progress: Progress
    ) -> Tensor:
        """The network's estimate [ppm] and the measured fields, by turns: (x, y, z) to the same.

        Edges `seen` in a magnitude are spared, or those of the estimate; of several fields no streaks are taken out.
        """
        field = fidelities[0].field
        edges = None if len(fidelities) > 1 else seen or own_edges(chi, field.mask, field.grid)
        streaks, again = consistency_of(fidelities[0], self.consistency, magnitude=seen is not None)
        for number in range(n_rounds):
            progress(number / n_rounds, "data consistency")
            if edges is not None:
                chi = streaks(chi, field.mask, field.grid, edges)
            for fidelity in fidelities:
                chi = again.refine(chi, fidelity)
        return chi

    @property
    def problem(self) -> str | None:
        """Why the method cannot run as it is: None, or that it has no weights and what to do."""
        if self.weights is not None or bundled(self.weights_name).is_file():
            return None
        return (
            f"No weights of the network '{self.kind}' come with this installation; train some (ir2qsm train --network "
            f"{self.kind}) or convert released ones (ir2qsm import-weights), and give them with --weights."
        )

    def _require_use(self, loaded: Loaded, field: LocalField, others: Sequence[LocalField]) -> None:
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

    def _on_aligned_grid(
        self, loaded: Loaded, fidelities: Sequence[Fidelity], chi: Tensor, progress: Progress, before: Maps | None
    ) -> Maps:
        progress(0.0, "resampling")
        field = fidelities[0].field
        grid = aligned_grid(field.grid)
        shape = [good_size(n, loaded.network.multiple) for n in grid.shape]
        grid = grid.cropped([-((m - n) // 2) for m, n in zip(shape, grid.shape, strict=True)], shape)
        mask = resample(field.mask.float(), field.grid, grid) > 0.5
        values = torch.where(mask, resample(field.values, field.grid, grid), 0.0)
        chi = resample(chi, field.grid, grid)
        coarse = LocalField(values, mask, grid, recovered=field.recovered)
        maps = self._run(loaded, [Fidelity(coarse, absolute=True)], chi, progress, before)
        progress(0.92, "resampling")
        chi = resample(torch.where(mask, maps.chi, 0.0), grid, field.grid)
        return maps._replace(chi=chi, sigma=None if maps.sigma is None else resample(maps.sigma, grid, field.grid))

    def _run(
        self, loaded: Loaded, fidelities: Sequence[Fidelity], chi: Tensor, progress: Progress, before: Maps | None
    ) -> Maps:
        """The network over a volume, of which the map so far is `chi`, in tiles where memory asks for them.

        `before` is what it said in the run before.
        """
        image = loaded.reading(fidelities[0], chi, lambda done, _: progress(0.2 * done, "first inversion"))
        device = image.device
        network = loaded.network.to(device)
        dtype = half_precision(str(device))
        physics: tuple[Any, ...] = ()
        if network.unrolled:
            fields = [fidelity.field for fidelity in fidelities]
            image = torch.cat([*(torch.where(f.mask, f.values, 0.0)[None] for f in fields[1:]), image])
            grids = [f.grid for f in (*fields[1:], fields[0])]
            mask = torch.stack([f.mask for f in fields]).all(0)
            physics = (DipoleStack([grids], device=device), mask)
        return infer_in_memory(network, image, self.tile, before, dtype, part_of(progress, 0.2, 0.9), *physics)


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
