"""Numbers by which a finished map is judged: those of its sidecar, and what only map, mask and field can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.field.checks import residual_background
from IR2QSMLib.field.sign import may_be_brain, sign_balance
from IR2QSMLib.inversion.regularisation.spectrum import Spectrum, estimate_spectrum
from IR2QSMLib.physics.cone import BANDS, cone_index

EXTREME_SHARE = 1e-3
"""Share of the mask whose |χ| exceeds the number `extreme_chi`."""


@dataclass(frozen=True)
class QualityNumbers:
    """What is known of a map; None where nothing says it."""

    extreme_chi: float
    """|χ − median| that a thousandth of the mask exceeds [ppm]."""
    cone_index: tuple[float | None, ...]
    """Cone index of the map, band by band of `physics.cone.BANDS`; about 1 for anatomy."""
    snr: float | None = None
    """Median magnitude of the first echo over the noise's standard deviation."""
    band_snr: tuple[float | None, ...] | None = None
    """Power of what χ can explain of the local field over that of the rest, in the same bands."""
    discrepancy_share: float | None = None
    """Share of the local field's power that no χ explains."""
    wraps: float | None = None
    """Share of the pairs of neighbours with a wrap between them in the unwrapped first echo."""
    misfit_share: float | None = None
    """Share of the mask whose fit over the echoes misses the signal."""
    mask_lost: float | None = None
    """Share of the mask that background removal took."""
    background: float | None = None
    """Share of the local field's power that is smooth and harmonic."""
    sign_balance: float | None = None
    """Balance of signs by `field.sign`: positive where the strongest sources are paramagnetic; None unless the mask may
    be a brain's with strong sources in it."""

    @property
    def highest_cone_index(self) -> float | None:
        """The largest over the bands."""
        return max((value for value in self.cone_index if value is not None), default=None)

    def snr_in_band(self, number: int) -> float | None:
        """SNR in one of `physics.cone.BANDS`; None where it is not known."""
        return None if self.band_snr is None else self.band_snr[number]


def quality_numbers(
    record: Mapping[str, Any], chi: Tensor, mask: Tensor, grid: Grid, local: LocalField | None = None
) -> QualityNumbers:
    """The numbers of a map: from its sidecar where they stand there, else computed.

    Parameters
    ----------
    record
        The sidecar, or what of it there is.
    chi
        χ [ppm], finite: (x, y, z).
    mask
        Where it is valid, bool, not empty: (x, y, z).
    grid
        Of both, with B0.
    local
        The local field [ppm] that was inverted, on the same grid; without it some numbers may be missing.
    """
    steps, method = record.get("Field") or {}, record.get("Method") or {}
    index = (record.get("ConeIndex") or {}).get("index")
    inside = chi[mask].double()
    background, voxels = steps.get("residual_background"), steps.get("n_voxels") or {}
    share = (method.get("spectrum") or {}).get("discrepancy_share")
    band_snr, balance = None, None
    if local is not None:
        spectrum = estimate_spectrum(local)[0]
        band_snr = snr_by_band(spectrum, 0.5 / max(grid.voxel_size))
        share = spectrum.discrepancy_share if share is None else share
        background = residual_background(local) if background is None else background
        balance = (sign_balance(local) or None) if may_be_brain(local) else None
    n_mask = voxels.get("mask")
    unreliable = steps.get("n_voxels_unreliable")
    return QualityNumbers(
        extreme_chi=_upper_quantile((inside - inside.median()).abs(), EXTREME_SHARE),
        cone_index=tuple(index) if index else cone_index(chi - float(inside.mean()), mask, grid),
        snr=steps.get("snr"),
        band_snr=band_snr,
        discrepancy_share=share,
        wraps=steps.get("wraps_left"),
        misfit_share=unreliable / n_mask if n_mask and unreliable is not None else None,
        mask_lost=1.0 - voxels["effective_mask"] / n_mask if n_mask else None,
        background=background,
        sign_balance=balance,
    )


def snr_by_band(spectrum: Spectrum, nyquist: float) -> tuple[float | None, ...]:
    """Power of a field without its discrepancy over the discrepancy's, in `physics.cone.BANDS`.

    None for a band that reaches beyond `nyquist` [cycles/mm] or holds no shell of the spectrum.
    """
    out: list[float | None] = []
    for low, high in BANDS:
        where = (spectrum.wavenumber >= low) & (spectrum.wavenumber < high)
        field, rest = (
            float((power * spectrum.counts)[where].sum()) for power in (spectrum.field, spectrum.discrepancy)
        )
        known = high <= nyquist and bool(where.any()) and rest > 0.0
        out.append(max(0.0, field / rest - 1.0) if known else None)
    return tuple(out)


def _upper_quantile(values: Tensor, share: float) -> float:
    """The value that a share of all values exceeds."""
    n = max(1, round(share * len(values)))
    return float(values.topk(n).values[-1])
