"""The learned inversion: what a network reads, its run over a whole volume or tiles, and the measured field again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import count, product
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from IR2QSMLib.errors import OutOfMemory, ParameterInvalid, WeightsInvalid
from IR2QSMLib.inversion.gradient_tikhonov import Fidelity, GradientTikhonov
from IR2QSMLib.io.weights import fit, models_folder, read_weights
from IR2QSMLib.networks.blocks import ConvBlock, UpBlock, fold_batch_norm
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.physics.fourier import good_size
from IR2QSMLib.physics.resample import aligned_grid, resample
from IR2QSMLib.runtime import Progress, half_precision, is_out_of_memory, memory_free, part_of, silent
from IR2QSMLib.volumes import LocalField, Susceptibility

Made = TypeVar("Made")
READS = ("field", "tikhonov", "both")
"""What a network may be given: the field, a first inversion χ₀, or the two as channels."""
TILES = (256, 192, 160, 128, 96, 64)
"""Edges of tiles [voxels], the only ones used, so that a result can be repeated."""
OVERLAP = 24
"""Voxels over which neighbouring tiles are blended at the least."""
CONSISTENCY, N_CONSISTENCY = 0.01, 1
"""Floor of λ and steps of the data consistency: chosen on validation heads alone."""


@dataclass(frozen=True)
class Reading:
    """What a network reads; raises ParameterInvalid when that is unknown."""

    reads: str = "both"
    floor: float = 0.01
    per_noise: float = 4.0
    n_steps: int = 12
    """Parameters of the first inversion χ₀, a `GradientTikhonov`."""

    def __post_init__(self) -> None:
        if self.reads not in READS:
            raise ParameterInvalid(f"The network is said to read '{self.reads}'; expected one of {', '.join(READS)}.")

    @property
    def n_channels(self) -> int:
        """Channels of the network's input."""
        return 2 if self.reads == "both" else 1

    @property
    def first_inversion(self) -> GradientTikhonov:
        """What makes χ₀."""
        return GradientTikhonov(self.floor, self.per_noise, self.n_steps)

    def __call__(self, fidelity: Fidelity, progress: Progress = silent) -> Tensor:
        """The input for a prepared field [ppm]: (n_channels, x, y, z) [ppm], zero outside the mask."""
        field, channels = fidelity.field, []
        if self.reads != "tikhonov":
            channels.append(torch.where(field.mask, field.values, 0.0))
        if self.reads != "field":
            channels.append(self.first_inversion.refine(torch.zeros_like(field.values), fidelity, progress))
        return torch.stack(channels)


@dataclass(frozen=True)
class Loaded:
    """A network in evaluation mode with its batch normalisation folded, and what its file said of it."""

    network: IR2Unet
    reading: Reading
    name: str
    sha256: str


def bundled(name: str = "ir2qsm") -> Path:
    """The bundled weights of a method."""
    return models_folder() / f"{name}.safetensors"


def load(path: Path) -> Loaded:
    """Read a weights file and build its network, or take it from memory while the file is the same.

    Raises WeightsInvalid when the file is missing, altered, or does not fit the network it names.
    """
    try:
        state = path.stat()
    except OSError:
        return _load(path, 0, 0)
    return _load(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _load(path: Path, changed: int, size: int) -> Loaded:
    weights = read_weights(path)
    try:
        kind = weights.header["network"]
        reading = _exactly(Reading, weights.header["reading"])
        config = _exactly(IR2UnetConfig, weights.header["config"])
    except (AttributeError, KeyError, TypeError) as error:
        raise WeightsInvalid(
            f"The header of '{weights.name}' lacks or misnames a setting ({error}); import or train it again."
        ) from error
    if kind != "ir2unet":
        raise WeightsInvalid(f"'{weights.name}' is for a network '{kind}', which this version does not know.")
    if reading.n_channels != config.n_inputs:
        raise WeightsInvalid(
            f"The header of '{weights.name}' reads {reading.n_channels} channels ('{reading.reads}') and its network "
            f"takes {config.n_inputs}; import or train it again."
        )
    network = IR2Unet(config)
    network.load_state_dict(fit(weights, network.state_dict()))
    return Loaded(prepared(network.eval().requires_grad_(False)), reading, weights.name, weights.sha256)


def _exactly(made: type[Made], values: dict[str, Any]) -> Made:
    """A dataclass from all of its fields: a default in place of a missing one would be another network."""
    missing = sorted({f.name for f in fields(cast(Any, made))} - values.keys())
    if missing:
        raise KeyError(missing[0])
    return made(**values)


def prepared(network: IR2Unet) -> IR2Unet:
    """A network in evaluation mode made faster without changing what it computes; in place."""
    fold_batch_norm(network)
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Learned:
    """IR2QSM (Li 2025, doi 10.1002/mp.17747): a U-net run T times with reverse concatenations.

    The network corrects a first inversion of the field, and its estimate is reconciled with the measured field by
    another step of it (`GradientTikhonov.refine`). Raises ParameterInvalid when the consistency is negative or the tile
    is not one of `TILES`, WeightsInvalid for weights that do not load, OutOfMemory when no tile fits.
    """

    weights: Path | None = None
    """A weights file; the bundled one when None."""
    consistency: float = CONSISTENCY
    """The floor of the data consistency's λ, which grows with the field's noise; 0 is no consistency."""
    tile: int | None = None
    """Edge of the tiles [voxels]; None for the whole volume where memory holds it."""
    resampled: bool | None = None
    """Whether the network sees a 1 mm grid along B0; None for networks that read the field alone."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.consistency < math.inf:
            raise ParameterInvalid(f"The data consistency is {self.consistency:g}; expected a λ, or 0 for none.")
        if self.tile is not None and self.tile not in TILES:
            raise ParameterInvalid(f"The tile is {self.tile} voxels; expected one of {', '.join(map(str, TILES))}.")

    def __call__(self, field: LocalField, progress: Progress = silent) -> Susceptibility:
        """Invert a prepared field [ppm], every axis a multiple of 8."""
        loaded = load(self.weights or bundled())
        progress(0.0, "first inversion")
        fidelity = Fidelity(field)
        resampled = loaded.reading.reads == "field" if self.resampled is None else self.resampled
        if resampled:
            chi, sigma, notes = self._on_aligned_grid(loaded, field, progress)
        else:
            chi, sigma, notes = self._run(loaded, fidelity, progress)
        if self.consistency > 0.0:
            progress(0.95, "data consistency")
            again = GradientTikhonov(self.consistency, n_steps=N_CONSISTENCY)
            chi = again.refine(torch.where(field.mask, chi, 0.0), fidelity)
        chi = torch.where(field.mask, chi, 0.0)
        sigma = None if sigma is None else torch.where(field.mask, sigma, 0.0)
        notes = {"weights": loaded.name, "weights_sha256": loaded.sha256, "resampled": resampled, **notes}
        notes["noise_share"] = round(fidelity.noise, 6)
        notes["harmonic_part_lacking"] = round(fidelity.lacking, 3)
        notes["reading"] = asdict(loaded.reading)
        return Susceptibility(chi, sigma, notes)

    def _on_aligned_grid(
        self, loaded: Loaded, field: LocalField, progress: Progress
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        progress(0.0, "resampling")
        grid = aligned_grid(field.grid)
        shape = [good_size(n, loaded.network.multiple) for n in grid.shape]
        grid = grid.cropped([-((m - n) // 2) for m, n in zip(shape, grid.shape, strict=True)], shape)
        mask = resample(field.mask.float(), field.grid, grid) > 0.5
        values = torch.where(mask, resample(field.values, field.grid, grid), 0.0)
        chi, sigma, notes = self._run(loaded, Fidelity(LocalField(values, mask, grid)), progress)
        progress(0.92, "resampling")
        chi = resample(torch.where(mask, chi, 0.0), grid, field.grid)
        return chi, None if sigma is None else resample(sigma, grid, field.grid), notes

    def _run(
        self, loaded: Loaded, fidelity: Fidelity, progress: Progress
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """The network over the whole volume, or over the first tile size that memory holds."""
        image = loaded.reading(fidelity, lambda done, _: progress(0.2 * done, "first inversion"))
        device = image.device
        network = loaded.network.to(device)
        dtype = half_precision(str(device))
        for tile in self._tiles(network, image, dtype):
            try:
                chi, sigma = infer(network, image, tile, dtype, part_of(progress, 0.2, 0.9))
            except RuntimeError as error:       # torch.OutOfMemoryError on a GPU, RuntimeError from the CPU's allocator
                if not is_out_of_memory(error):
                    raise
                continue
            precision = "float32" if dtype is None else str(dtype).removeprefix("torch.")
            return chi, sigma, {"tile": tile, "precision": precision}
        raise OutOfMemory(
            f"No tile size fits into the memory of '{device}' for a volume of "
            f"{'×'.join(map(str, image.shape[1:]))} voxels; close other programs, or use --device cpu."
        )

    def _tiles(self, network: IR2Unet, image: Tensor, dtype: torch.dtype | None) -> Iterator[int | None]:
        """None (the whole volume) and then the tile sizes below it, from the first that memory should hold."""
        longest = max(image.shape[1:])
        if self.tile is not None:
            yield self.tile if self.tile < longest else None
            return
        free = 0.8 * memory_free(str(image.device))
        per_voxel = bytes_per_voxel(network.config, dtype)
        if image[0].numel() * per_voxel <= free or longest <= TILES[-1]:
            yield None
        for tile in TILES:
            if tile < longest and (tile**3 * per_voxel <= free or tile == TILES[-1]):
                yield tile


def bytes_per_voxel(config: IR2UnetConfig, dtype: torch.dtype | None) -> float:
    """Memory that inference takes at its peak, measured as about ten times the finest level's channels."""
    return 10.0 * config.channels[0] * (4 if dtype is None else 2) + 40.0


@torch.inference_mode()
def infer(
    network: IR2Unet, image: Tensor, tile: int | None, dtype: torch.dtype | None, progress: Progress
) -> tuple[Tensor, Tensor | None]:
    """χ [ppm] and its standard error, whole or blended from overlapping tiles: (c, x, y, z) to (x, y, z)."""
    shape = tuple(image.shape[1:])
    edges = [n if tile is None else min(tile, n) for n in shape]
    corners = list(product(*(_starts(n, e) for n, e in zip(shape, edges, strict=True))))
    window = _window(edges, shape, image.device)
    chi, weight = torch.zeros(shape, device=image.device), torch.zeros(shape, device=image.device)
    sigma = torch.zeros_like(chi) if network.config.uncertainty else None
    for i, corner in enumerate(corners):
        x, y, z = (slice(c, c + e) for c, e in zip(corner, edges, strict=True))
        report = part_of(progress, i / len(corners), (i + 1) / len(corners))
        with _reported(network, report), torch.autocast(image.device.type, dtype, enabled=dtype is not None):
            estimate = network(image[None, :, x, y, z].contiguous(memory_format=torch.channels_last_3d))
        chi[x, y, z] += window * estimate.chi[0, 0].float()
        weight[x, y, z] += window
        if sigma is not None and estimate.log_sigma is not None:
            sigma[x, y, z] += window * estimate.log_sigma[0, 0].float().exp()
    return chi / weight, None if sigma is None else sigma / weight


def _starts(n: int, edge: int) -> list[int]:
    """First voxels of tiles that overlap by at least OVERLAP, multiples of 8 as the network's pooling needs."""
    if n <= edge:
        return [0]
    n_tiles = -(-(n - OVERLAP) // (edge - OVERLAP))
    return [8 * round(i * (n - edge) / (n_tiles - 1) / 8) for i in range(n_tiles)]


def _window(edges: list[int], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Weights of a tile that fall to nearly nothing within OVERLAP of its faces; all one for a whole volume."""
    out = torch.ones((), device=device)
    for axis, (edge, n) in enumerate(zip(edges, shape, strict=True)):
        ramp = torch.ones(edge, device=device)
        if edge < n:
            distance = torch.arange(edge, device=device).minimum(torch.arange(edge - 1, -1, -1, device=device))
            ramp = (torch.sin(0.5 * torch.pi * ((distance + 0.5) / OVERLAP).clamp(max=1.0)) ** 2).clamp_min(1e-4)
        out = out * ramp.view([-1 if a == axis else 1 for a in range(3)])
    return out.expand(edges)


@contextmanager
def _reported(network: IR2Unet, progress: Progress) -> Iterator[None]:
    """Tell `progress` after every block of the network, so that a run can be cancelled inside a pass."""
    blocks = [m for m in network.modules() if isinstance(m, ConvBlock | UpBlock)]
    done = count(1)

    def tell(*_: object) -> None:
        progress(min(next(done) / len(blocks), 1.0), "inversion")

    hooks = [block.register_forward_hook(tell) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
