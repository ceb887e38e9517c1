"""What the headers of images say, read by their formats' definitions and nothing else: an answer of its own."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
NRRD_TYPES = {"float": "f4", "double": "f8", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
META_TYPES = {
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
}
NIFTI_MILLIMETRES = {1: 1e3, 3: 1e-3}
MILLIMETRES = {"m": 1e3, "cm": 10.0, "um": 1e-3, "nm": 1e-6}
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
SPACES = {"left-posterior-superior": (1, 1, 1), "right-anterior-superior": (-1, -1, 1)}
SPACES |= {"left-anterior-superior": (1, -1, 1), "lps": (1, 1, 1), "ras": (-1, -1, 1), "las": (1, -1, 1)}


@dataclass
class Plain:
    """The voxels (x, y, z) of an image, its voxel size and directions; None where the header leaves them open."""

    values: np.ndarray
    voxel_size: np.ndarray
    direction: np.ndarray
    origin: np.ndarray


def read_nifti(content: bytes) -> Plain:
    """A NIfTI-1 file with one volume: sform before qform where its code is 1 or there is no qform, as ITK chooses."""
    order = "<" if 1 <= struct.unpack_from("<h", content, 40)[0] <= 7 else ">"

    def get(form: str, place: int) -> tuple[float, ...]:
        return struct.unpack_from(order + form, content, place)

    n_axes, *sizes = get("8h", 40)
    pixdim, (start, slope, intercept) = get("8f", 76), get("3f", 108)
    shape = tuple(int(n) for n in sizes[:3])
    assert n_axes >= 3 and all(n == 1 for n in sizes[3 : int(n_axes)])
    voxels = np.frombuffer(content, order + NIFTI_TYPES[int(get("h", 70)[0])], int(np.prod(shape)), int(start))
    values = voxels.astype(np.float64)
    if slope != 0.0 and np.isfinite(slope):
        values = values * slope + np.where(abs(intercept) < 1e-30, 0.0, intercept)
    factor = NIFTI_MILLIMETRES.get(content[123] & 7, 1.0)
    qform_code, sform_code = get("2h", 252)
    size, direction, origin = np.abs(pixdim[1:4]) * factor, np.eye(3), np.zeros(3)
    if sform_code > 0 and (qform_code <= 0 or sform_code == 1):
        matrix = np.array(get("12f", 280)).reshape(3, 4)
        size = np.linalg.norm(matrix[:, :3], axis=0) * factor
        direction, origin = RAS_TO_LPS @ (matrix[:, :3] * factor / size), RAS_TO_LPS @ matrix[:, 3] * factor
    elif qform_code > 0:
        b, c, d, *offset = get("6f", 256)
        a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        ) * (1.0, 1.0, -1.0 if pixdim[0] < 0 else 1.0)
        direction, origin = RAS_TO_LPS @ rotation, RAS_TO_LPS @ np.array(offset) * factor
    return Plain(values.reshape(shape, order="F"), size, direction, origin)


def read_gzipped(content: bytes) -> Plain:
    """A gzipped NIfTI-1 file."""
    return read_nifti(gzip.decompress(content))


def read_nrrd(content: bytes) -> Plain:
    """A NRRD file with its data attached, raw or gzipped."""
    head, _, data = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    entries = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        key, separator, value = line.partition(":")
        if separator and not value.startswith("=") and not line.startswith("#"):
            entries[key.strip().lower()] = value.strip()
    shape = tuple(map(int, entries["sizes"].split()))
    data = gzip.decompress(data) if entries.get("encoding", "raw").lower().startswith("gz") else data
    order = ">" if entries.get("endian", "little").lower() == "big" else "<"
    values = np.frombuffer(data, order + NRRD_TYPES[entries["type"].lower()], int(np.prod(shape)))
    axes = np.diag([float(v) for v in entries.get("spacings", "1 1 1").split()])
    flip = np.diag([1.0, 1.0, 1.0])
    if "space directions" in entries:
        axes = np.array([_vector(text) for text in entries["space directions"].replace(" ", "").split(")(")]).T
        flip = np.diag(SPACES.get(entries.get("space", "").lower(), (1, 1, 1)))
    words = entries.get("space units", entries.get("units", "")).replace('"', " ").split()
    factor = MILLIMETRES.get(words[0], 1.0) if words else 1.0
    size = np.linalg.norm(axes, axis=0)
    origin = flip @ _vector(entries["space origin"]) if "space origin" in entries else np.zeros(3)
    values = values.astype(np.float64).reshape(shape, order="F")
    return Plain(values, size * factor, flip @ axes / size, origin * factor)


def _vector(text: str) -> np.ndarray:
    return np.array([float(v) for v in text.strip("()").split(",")])


def read_metaimage(content: bytes) -> Plain:
    """A MetaImage file with its data attached, not compressed."""
    head, _, rest = content.partition(b"ElementDataFile")
    data = rest.partition(b"\n")[2]
    pairs = (line.partition("=") for line in head.decode("latin-1").splitlines())
    entries = {key.strip(): value.strip() for key, separator, value in pairs if separator}
    shape = tuple(map(int, entries["DimSize"].split()))
    order = ">" if entries.get("BinaryDataByteOrderMSB", "False")[:1] in "Tt1" else "<"
    values = np.frombuffer(data, order + META_TYPES[entries["ElementType"]], int(np.prod(shape)))
    numbers = {key: np.array([float(v) for v in value.split()]) for key, value in entries.items() if key in GEOMETRY}
    size = numbers.get("ElementSpacing", np.ones(3)) * MILLIMETRES.get(entries.get("DistanceUnits", "mm"), 1.0)
    direction = numbers.get("TransformMatrix", np.eye(3).ravel()).reshape(3, 3).T
    direction = direction / np.linalg.norm(direction, axis=0)
    values = values.astype(np.float64).reshape(shape, order="F")
    return Plain(values, size, direction, numbers.get("Offset", np.zeros(3)))


GEOMETRY = ("ElementSpacing", "TransformMatrix", "Offset")
READERS: dict[str, Callable[[bytes], Plain]] = {
    ".nii": read_nifti,
    ".nii.gz": read_gzipped,
    ".nrrd": read_nrrd,
    ".mha": read_metaimage,
}
