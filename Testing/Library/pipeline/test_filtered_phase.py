"""Phase that was high-pass filtered for susceptibility weighting is refused, by its field and by its marks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import TotalField
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.filtered_phase import (
    background_share,
    refuse_filtered,
    refuse_marked_as_filtered,
    warn_of_little_background,
)
from Testing.Library.scanners import head_scan, random_scan, write_bids, write_echo

SHAPE, VOXEL = (36, 42, 36), 4.4
Head = tuple[Tensor, Tensor, Tensor, Grid]


@pytest.fixture(scope="module")
def head() -> Head:
    """Mask, local field and background [ppm]."""
    _, local, total, _, _ = head_scan(SHAPE, (VOXEL,) * 3, (0.004,))
    return local.mask, local.values, torch.where(local.mask, total - local.values, 0.0), local.grid


def share_of(head: Head, values: Tensor) -> float:
    mask, _, _, grid = head
    return refuse_filtered(TotalField(torch.where(mask, values, 0.0), mask, grid), mask)


def homodyne(field: Tensor, mask: Tensor, echo_time: float, n_lines: int) -> Tensor:
    """The field [ppm] of phase whose slices a scanner divided by their low-pass, a Hann window in k-space."""
    rad = 2.0 * math.pi * hz_per_ppm(3.0) * echo_time
    signal = torch.polar(mask.float(), rad * field)
    window = torch.zeros(SHAPE[:2])
    x, y = (n // 2 - n_lines // 2 for n in SHAPE[:2])
    hann = torch.hann_window(n_lines, periodic=False)
    window[x : x + n_lines, y : y + n_lines] = hann[:, None] * hann
    low = torch.fft.ifft2(torch.fft.fft2(signal, dim=(0, 1)) * torch.fft.ifftshift(window)[..., None], dim=(0, 1))
    return (signal * low.conj()).angle() / rad


def shimmed(field: Tensor, mask: Tensor) -> Tensor:
    """The field without the polynomial of second order that fits it best."""
    x, y, z = (axis.double() for axis in torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    terms = torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, z * x, x * x, y * y, z * z], -1)
    fit = torch.linalg.lstsq(terms[mask], field[mask].double()[:, None]).solution[:, 0]
    return field - (terms @ fit).float()


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_unfiltered_fields_pass_also_when_weak_or_well_shimmed(head: Head, noise: float) -> None:
    mask, local, background, _ = head
    disturbance = noise * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    for field in (local + background, local + 0.3 * background, local + shimmed(background, mask)):
        assert share_of(head, field + disturbance) > 0.4


@pytest.mark.parametrize(("echo_time", "n_lines"), [(0.020, 20), (0.020, 32), (0.010, 28)])
def test_homodyne_filtered_phase_is_refused(head: Head, echo_time: float, n_lines: int) -> None:
    mask, local, background, _ = head
    with pytest.raises(FieldInvalid, match=r"seems to be high-pass filtered.*--accept-filtered"):
        share_of(head, homodyne(local + background, mask, echo_time, n_lines))


def test_phase_whose_background_was_removed_is_refused(head: Head) -> None:
    with pytest.raises(FieldInvalid, match="of its field is smooth background"):
        share_of(head, head[1])


def test_a_head_with_little_background_gets_a_warning(head: Head) -> None:
    mask, local, _, grid = head
    total = TotalField(local, mask, grid)
    (warning,) = warn_of_little_background(total, 0.35)
    assert "35 % of the phase's field is smooth background" in warning and "take the unfiltered phase" in warning
    small = TotalField(local, mask, Grid(SHAPE, (0.3, 0.3, 0.3)))
    for field, share in ((total, 0.5), (total, 0.2), (small, 0.35)):
        assert warn_of_little_background(field, share) == []


def test_masks_that_are_no_head_are_not_judged(head: Head) -> None:
    mask, local, _, _ = head
    for voxel in (0.3, 1.5, 15.0):
        total = TotalField(local, mask, Grid(SHAPE, (voxel,) * 3))
        assert refuse_filtered(total, mask) == background_share(total, mask) < 0.3


def test_marks_of_filtered_phase_are_believed(tmp_path: Path) -> None:
    phase, magnitude = random_scan((12, 10, 9), 1)
    plain = write_bids(tmp_path / "plain", (0.02,), {"phase": phase, "mag": magnitude})
    refuse_marked_as_filtered(find_acquisition(plain))
    about = {"EchoTime": 0.02, "MagneticFieldStrength": 3}
    mag = write_echo(tmp_path / "swi.nii", magnitude[0], ImageType=["ORIGINAL", "PRIMARY", "M"], **about)
    for name, image_type in (("swi_ph", ["ORIGINAL", "PRIMARY", "P", "SWI"]), ("FILT_PHA_ph", ["DERIVED", "P"])):
        marked = write_echo(tmp_path / f"{name}.nii", phase[0], ImageType=image_type, **about)
        with pytest.raises(FieldInvalid, match="says that its phase was high-pass filtered"):
            refuse_marked_as_filtered(find_acquisition(marked, [mag]))
