"""Files of scans for tests: DICOM as Siemens, Philips and GE write it, NIfTI with sidecars; random and simulated."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from torch import Tensor

from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.simulation.cases import Case, simulate

CLASSIC, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass
class Scanner:
    """Writes the slices of phase, magnitude, real and imaginary parts as one manufacturer does."""

    folder: Path
    manufacturer: str = "SIEMENS"
    echo_times: tuple[float, ...] = (0.004, 0.010)
    """[s]"""
    shape: tuple[int, int, int] = (12, 10, 9)
    voxel_size: tuple[float, float, float] = (1.5, 2.0, 3.0)
    orientation: tuple[float, ...] = AXIAL
    origin: tuple[float, float, float] = (-7.0, 5.0, -20.0)
    b0: float | None = 3.0
    extra: dict[str, Any] = field(default_factory=dict)
    n_written: int = 0

    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])

    def position(self, z: int) -> list[float]:
        return (np.asarray(self.origin) + z * self.voxel_size[2] * self.normal()).round(6).tolist()

    def header(self, kind: str, te: float, series: int, uid: str, image_type: list[str]) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CLASSIC, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CLASSIC, meta.MediaStorageSOPInstanceUID
        ds.Modality, ds.Manufacturer, ds.SeriesInstanceUID, ds.SeriesNumber = "MR", self.manufacturer, uid, series
        ds.SeriesDescription, ds.ImageType = f"gre_{kind}", image_type
        ds.EchoTime = 1e3 * te
        if self.b0 is not None:
            ds.MagneticFieldStrength = self.b0
        ds.Rows, ds.Columns = self.shape[1], self.shape[0]
        ds.PixelSpacing, ds.SliceThickness = [self.voxel_size[1], self.voxel_size[0]], self.voxel_size[2]
        ds.ImageOrientationPatient = list(self.orientation)
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        for name, value in self.extra.items():
            setattr(ds, name, value)
        return ds

    def save(self, ds: FileDataset) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"IM{self.n_written:05d}"
        self.n_written += 1
        ds.save_as(path, enforce_file_format=True)
        return path

    def write(
        self,
        kind: str,
        stored: np.ndarray,
        *,
        series: int,
        uid: str | None = None,
        image_type: list[str],
        slope: float | None = None,
        intercept: float = 0.0,
        ge_kind: int | None = None,
        without: tuple[tuple[int, int], ...] = (),
    ) -> list[Path]:
        """One file a slice of `stored` whole numbers (echo, x, y, z), but for the (echo, slice) `without`."""
        uid, paths = uid or generate_uid(), []
        for e, te in enumerate(self.echo_times):
            for z in range(self.shape[2]):
                if (e, z) in without:
                    continue
                ds = self.header(kind, te, series, uid, image_type)
                ds.ImagePositionPatient = self.position(z)
                if slope is not None:
                    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
                if ge_kind is not None:
                    ds.add_new((0x0043, 0x0010), "LO", "GEMS_PARM_01")
                    ds.add_new((0x0043, 0x102F), "SS", ge_kind)
                pixels = stored[e, :, :, z].T
                ds.PixelRepresentation = int(pixels.min() < 0)
                ds.PixelData = np.ascontiguousarray(pixels.astype("<i2" if pixels.min() < 0 else "<u2")).tobytes()
                paths.append(self.save(ds))
        return paths

    def siemens(self, phase: np.ndarray, magnitude: np.ndarray, first: int = 5, **more: Any) -> None:
        """Magnitude and phase as two series; phase 0 to 4095 with slope 2 and intercept −4096."""
        self.write("mag", magnitude, series=first, image_type=["ORIGINAL", "PRIMARY", "M", "ND"])
        stored = np.floor((phase + math.pi) / (2 * math.pi) * 4096).clip(0, 4095)
        self.write(
            "pha",
            stored,
            series=first + 1,
            image_type=["ORIGINAL", "PRIMARY", "P", "ND"],
            slope=2.0,
            intercept=-4096.0,
            **more,
        )

    def philips(self, phase: np.ndarray, magnitude: np.ndarray, first: int = 401) -> None:
        """One series of both; phase in thousandths of a radian, and a magnitude with a slope of its own."""
        uid = generate_uid()
        image_type = ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]
        self.write("ffe", magnitude, series=first, uid=uid, image_type=image_type, slope=1.5, intercept=0.0)
        stored = np.floor((phase + math.pi) / (2 * math.pi) * 4096).clip(0, 4095)
        image_type = ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]
        self.write(
            "ffe", stored, series=first, uid=uid, image_type=image_type, slope=6283.1853 / 4095, intercept=-3141.59265
        )

    def ge(self, phase: np.ndarray, magnitude: np.ndarray, first: int = 7) -> None:
        """Real and imaginary parts in one series, phase falling with the field, every other slice negated."""
        sign = np.where(np.arange(self.shape[2]) % 2, -1.0, 1.0)
        signal = magnitude * np.exp(-1j * phase) * sign
        uid = generate_uid()
        for kind, part, number in (("re", signal.real, 2), ("im", signal.imag, 3)):
            self.write(
                kind, part.round(), series=first, uid=uid, image_type=["ORIGINAL", "PRIMARY", "OTHER"], ge_kind=number
            )

    def enhanced(self, phase: np.ndarray, magnitude: np.ndarray, first: int = 9) -> Path:
        """All of it as the frames of one file, each with a slope of its own."""
        ds = self.header("xa", 0.0, first, generate_uid(), ["ORIGINAL", "PRIMARY", "MIXED", "NONE"])
        for name in ("EchoTime", "PixelSpacing", "ImageOrientationPatient", "MagneticFieldStrength"):
            if name in ds:
                delattr(ds, name)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = ENHANCED
        ds.MagneticFieldStrength = self.b0
        shared, measures, orientation = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [self.voxel_size[1], self.voxel_size[0]], self.voxel_size[2]
        orientation.ImageOrientationPatient = list(self.orientation)
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
        ds.SharedFunctionalGroupsSequence = Sequence([shared])
        frames, groups = [], []
        for component, values in (("PHASE", phase), ("MAGNITUDE", magnitude)):
            for e, te in enumerate(self.echo_times):
                for z in range(self.shape[2]):
                    group, echo, place, frame_type, scale = (Dataset() for _ in range(5))
                    echo.EffectiveEchoTime = 1e3 * te
                    place.ImagePositionPatient = self.position(z)
                    frame_type.ComplexImageComponent = component
                    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
                    slope = 1.0 + 0.25 * (z % 3) if component == "MAGNITUDE" else 2.0 * math.pi / 4095
                    intercept = 0.0 if component == "MAGNITUDE" else -math.pi
                    scale.RescaleSlope, scale.RescaleIntercept = f"{slope:.9g}", f"{intercept:.9g}"
                    group.MREchoSequence, group.PlanePositionSequence = Sequence([echo]), Sequence([place])
                    group.MRImageFrameTypeSequence = Sequence([frame_type])
                    group.PixelValueTransformationSequence = Sequence([scale])
                    groups.append(group)
                    frames.append(((values[e, :, :, z].T - intercept) / slope).round().astype("<u2"))
        ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
        ds.NumberOfFrames, ds.PixelRepresentation = len(frames), 0
        ds.PixelData = np.ascontiguousarray(np.stack(frames)).tobytes()
        return self.save(ds)


def write_echo(path: Path, values: np.ndarray, **sidecar: Any) -> Path:
    """A NIfTI image of voxels of 1.5 × 2 × 3 mm and, if there is anything in it, its JSON sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), np.diag([1.5, 2.0, 3.0, 1.0])), path)
    if sidecar:
        sidecar_of(path).write_text(json.dumps(sidecar))
    return path


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def write_bids(folder: Path, echo_times: tuple[float, ...], parts: dict[str, np.ndarray], **sidecar: Any) -> Path:
    """A BIDS folder of one subject, each of the parts (echo, x, y, z) as one file an echo, at 3 T."""
    for part, values in parts.items():
        for n, te in enumerate(echo_times):
            path = folder / "sub-1" / "anat" / f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii.gz"
            write_echo(path, values[n], **{"EchoTime": te, "MagneticFieldStrength": 3, **sidecar})
    return folder


def random_scan(shape: tuple[int, int, int], n_echoes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth phase with wraps [rad] and magnitude of whole numbers: (echo, x, y, z)."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    a, b, c = rng.uniform(2, 5, 3)
    phase = np.stack([(n + 1) * (a * x + b * y * y + c * z * x) + 0.3 for n in range(n_echoes)])
    magnitude = np.stack([(900 - 150 * n) * (1.2 - 0.5 * (x**2 + y**2)) for n in range(n_echoes)]).round()
    return np.angle(np.exp(1j * phase)), magnitude + rng.integers(0, 20, magnitude.shape)


def _shim(shape: tuple[int, ...]) -> Tensor:
    """What shimming leaves of the smooth field of a body [ppm], harmonic of first and second order: (x, y, z)."""
    x, y, z = torch.meshgrid(*((torch.arange(n) - 0.5 * (n - 1)) / 20.0 for n in shape), indexing="ij")
    return 0.12 * y + 0.06 * x * z


def head_scan(
    shape: tuple[int, int, int], voxel_size: tuple[float, float, float], echo_times: tuple[float, ...]
) -> tuple[Tensor, LocalField, Tensor, Tensor, Tensor]:
    """A head with an air cavity, at 3 T: χ, local and total field [ppm], and phase and magnitude of its echoes."""
    head, local = simulate(Case(3, math.inf, shape, voxel_size))
    grid, mask = local.grid, local.mask
    air_cavity = torch.zeros(grid.shape)
    air_cavity[15:21, 38:41, 4:9] = 9.4
    background = simulate_field(torch.where(mask, 0.0, air_cavity), grid)
    background = background + _shim(grid.shape)
    total = simulate_field(head.chi, grid) + background - background[mask].mean()
    generator = torch.Generator().manual_seed(1)
    offset = 0.8 + 0.02 * torch.arange(shape[0]).view(-1, 1, 1)
    echoes = []
    for te in echo_times:
        angle = 2.0 * math.pi * hz_per_ppm(3.0) * te * total + offset
        size = torch.where(mask, 800.0 * math.exp(-20.0 * te), 3.0)
        noise = 4.0 * torch.randn(2, *shape, generator=generator)
        echoes.append(torch.complex(size * angle.cos() + noise[0], size * angle.sin() + noise[1]))
    signal = torch.stack(echoes)
    return head.chi, local, total, signal.angle(), signal.abs()
