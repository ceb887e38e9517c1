"""Two maps inside a mask, and the filters of the metrics on them. All is float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid, MaskInvalid, ParameterInvalid

SIGMA = 1.5
"""Width of the Gaussian windows of XSIM, SSIM and HFEN [voxels]."""


class MaskedMaps(NamedTuple):
    """A map and the truth, zero outside the mask and cropped to its box; a filter of them needs nothing beyond it."""

    chi: Tensor
    """[ppm]: (x, y, z)."""
    truth: Tensor
    """[ppm]: (x, y, z)."""
    voxels: Tensor
    """The mask as flat indices into the box, which are much faster than a bool mask: (n)."""
    shape: tuple[int, ...]
    """Shape of the whole volume."""
    box: tuple[slice, ...]
    """Box of the volume that holds the mask."""

    def inside(self, values: Tensor) -> Tensor:
        """Values of the box, (x, y, z), in the mask: (n)."""
        return values.flatten().index_select(0, self.voxels)

    def values(self) -> tuple[Tensor, Tensor]:
        """The map and the truth in the mask: (n) each."""
        return self.inside(self.chi), self.inside(self.truth)

    def filter_matrices(self, taps: Tensor, edge: str) -> list[Tensor]:
        """A matrix for each axis that filters the volume as far as it lies in the box."""
        axes = zip(self.shape, self.box, strict=True)
        return [filter_matrix(n, taps, edge)[cut, cut].to(self.chi.device) for n, cut in axes]


def masked_maps(chi: Tensor, truth: Tensor, mask: Tensor) -> MaskedMaps:
    """A map and the truth in a mask.

    Parameters
    ----------
    chi, truth
        [ppm]: (x, y, z).
    mask
        Bool: (x, y, z).

    Raises
    ------
    ParameterInvalid
        When the shapes differ or are not (x, y, z).
    MaskInvalid
        When the mask is empty or not bool.
    FieldInvalid
        When a value in the mask is not finite.
    """
    if not chi.shape == truth.shape == mask.shape or chi.ndim != 3:
        shapes = ", ".join(str(tuple(values.shape)) for values in (chi, truth, mask))
        raise ParameterInvalid(f"The map, the truth and the mask have shapes {shapes}; expected one shape (x, y, z).")
    if mask.dtype != torch.bool:
        raise MaskInvalid(f"The mask is {mask.dtype}; expected bool, for example mask > 0.")
    if not mask.any():
        raise MaskInvalid("The mask is empty; expected at least one voxel to score.")
    occupied = [mask.movedim(axis, 0).flatten(1).any(1).nonzero() for axis in range(3)]
    box = tuple(slice(int(index[0]), int(index[-1]) + 1) for index in occupied)
    device = float64_device(chi)
    inside = mask[box].to(device)
    maps = []
    for values, name in ((chi, "map"), (truth, "truth")):
        maps.append(values[box].detach().to(device).double().where(inside, 0.0))
        require_finite(maps[-1], name)
    return MaskedMaps(maps[0], maps[1], inside.flatten().nonzero().squeeze(1), tuple(chi.shape), box)


def float64_device(values: Tensor) -> torch.device:
    """The device of values; the CPU for Apple's, which has no float64."""
    return torch.device("cpu") if values.device.type == "mps" else values.device


def require_finite(values: Tensor, name: str) -> None:
    """Raise FieldInvalid when a value is not finite."""
    if n_bad := values.numel() - int(values.isfinite().sum()):
        raise FieldInvalid(
            f"The {name} is not finite in {n_bad} voxels; expected numbers. Leave those out of the mask."
        )


def filter_matrix(n: int, taps: Tensor, edge: str) -> Tensor:
    """Matrix that filters a line of n voxels.

    Parameters
    ----------
    n
        Voxels of the line.
    taps
        Of the filter, an odd number.
    edge
        "replicated", "reflected", or "truncated": the taps beyond the line are left out and the others sum to 1.

    Returns
    -------
    Tensor
        (n, n); a crop of it filters a part of the line as if all of it were there.
    """
    reach = len(taps) // 2
    source = torch.arange(n)[:, None] + torch.arange(-reach, reach + 1)
    weight = taps.expand(n, -1)
    if edge == "truncated":
        weight = weight * ((source >= 0) & (source < n))
        weight = weight / weight.sum(1, keepdim=True)
    if edge == "reflected":
        source = source % (2 * n)
        source = torch.minimum(source, 2 * n - 1 - source)
    return torch.zeros(n, n, dtype=torch.float64).scatter_add_(1, source.clamp(0, n - 1), weight)


def gaussian_taps(reach: int) -> tuple[Tensor, Tensor]:
    """Taps of a Gaussian of width `SIGMA`, whose sum is 1, and of its second derivative, from −reach to reach."""
    t = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (t / SIGMA) ** 2)
    taps /= taps.sum()
    return taps, taps * (t**2 / SIGMA**4 - 1.0 / SIGMA**2)


def filter_along(axis: int, matrix: Tensor, values: Tensor) -> Tensor:
    """Values (x, y, z) multiplied by a matrix along an axis."""
    if axis == 0:
        return (matrix @ values.flatten(1)).view_as(values)
    return matrix @ values if axis == 1 else values @ matrix.T
