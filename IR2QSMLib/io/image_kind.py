"""The kind of an image, by its name, its sidecar or its header's image type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from IR2QSMLib.core.units import field_unit
from IR2QSMLib.io.nifti import is_complex
from IR2QSMLib.io.sidecars import image_stem, read_sidecar

FIELD = "field"
"""The kind of a total field that the scanner computed (B0 map), in Hz for instance."""
COMPLEX = "complex"
"""The kind of an image of complex numbers, which holds real and imaginary part."""
KIND_BY_PART = {"phase": "phase", "mag": "magnitude", "real": "real", "imag": "imaginary"}
"""Kinds of image by BIDS' `part-` entity."""
KIND_BY_LAST_WORD = {
    "ph": "phase",
    "pha": "phase",
    "phase": "phase",
    "phasediff": "phase",
    "real": "real",
    "imaginary": "imaginary",
    "imag": "imaginary",
    "magnitude": "magnitude",
    "mag": "magnitude",
    "fieldmap": FIELD,
    "fieldmaphz": FIELD,
    "b0map": FIELD,
    "totalfield": FIELD,
}
"""Kinds of image by the last word of a name, as BIDS and converters such as dcm2niix write it."""
IMAGE_TYPES = {
    FIELD: {"B0", "B0MAP", "B0 MAP", "B0_MAP", "FIELDMAP", "FIELD MAP", "FIELD_MAP", "FIELDMAPHZ", "VELOCITY"},
    "phase": {"P", "PHASE", "PHASE MAP"},
    "magnitude": {"M", "MAGNITUDE", "M_FFE"},
    "real": {"R", "REAL"},
    "imaginary": {"I", "IMAGINARY"},
}
"""Values of a header's image type by kind of image. Philips calls its B0 maps, in Hz, velocities."""
PROCESSED_TYPES = {"SWI", "MNIP", "MINIP", "MIP", "VENOGRAM"}
"""Values of the image type of magnitudes that were weighted or projected."""
FILTERED_TYPES = {"SWI", "FILTERED", "HPF", "HIGHPASS", "FILT_PHA", "PHASE_FILTERED"}
"""Values of the image type of phase that was high-pass filtered for susceptibility weighting."""
TIME_SERIES_SUFFIXES = ("bold", "cbv", "asl", "dwi", "epi", "sbref")
"""Last words of BIDS names of images that are repeated in time."""


def words_of(image_type: Iterable[Any]) -> set[str]:
    """The values of an image type in capitals."""
    return {str(v).strip().upper() for v in image_type}


def kind_from_image_type(image_type: Sequence[str]) -> str | None:
    """The kind of image that a header's image type names, or None if it names none."""
    words = words_of(image_type)
    order = (FIELD, "phase", "real", "imaginary", "magnitude")
    return next((kind for kind in order if words & IMAGE_TYPES[kind]), None)


def image_kind(path: Path) -> str | None:
    """The kind of image that a file's name, or its sidecar's ImageType or Units state; None if none does.

    An image of complex numbers is `COMPLEX` whatever is stated.
    """
    if is_complex(path):
        return COMPLEX
    header = read_sidecar(path)
    units, image_type = header.get("Units"), header.get("ImageType")
    unit = field_unit(units) if isinstance(units, str) else None
    if unit in ("hz", "rad/s", "t", "ppm", "ppb"):  # no phase is in any of these
        return FIELD
    by_type = kind_from_image_type(image_type) if isinstance(image_type, list) else None
    return kind_by_name(path) or by_type


def kind_by_name(path: Path) -> str | None:
    """The kind of image that a file's name states; None if it states none."""
    part = re.search(r"(?:^|_)part-([a-z]+)", path.name.lower())
    if part:
        return KIND_BY_PART.get(part.group(1))
    last_word = re.sub(r"(?<=phase|itude)\d$|(?<=mag)\d$", "", image_stem(path).lower().split("_")[-1])
    return KIND_BY_LAST_WORD.get(last_word)


def coil_of(path: Path) -> str:
    """The receive coil that a file's name states, as `coil-01`, or as dcm2niix's `_cH1` beside a sidecar's CoilString.

    Empty where it states none.
    """
    stem = image_stem(path)
    named = re.search(r"(?:^|_)(?:coil|channel|chan|ch)-?([A-Za-z]*\d+)(?=_|$)", stem, re.IGNORECASE)
    if named:
        return named[1]
    short = re.search(r"_c([A-Za-z]*\d+)(?=_|$)", stem)
    return short[1] if short and str(read_sidecar(path).get("CoilString") or "") == short[1] else ""


def names_uncombined_coils(path: Path) -> bool:
    """Whether the name of an image says that a further axis of it is the receive coils."""
    return bool(re.search(r"uncomb|(?:^|[_-])(?:multi-?)?(?:coil|channel)s?(?=[_.-]|$)", path.name, re.IGNORECASE))


def is_time_series(path: Path) -> bool:
    """Whether a BIDS name says that the fourth axis of an image is time."""
    words = image_stem(path).lower().split("_")
    return words[-1] in TIME_SERIES_SUFFIXES or any(word.startswith("task-") for word in words)


def names_filtered_phase(image_type: Iterable[Any], *names: str) -> bool:
    """Whether an image type, or the names of an image, say that its phase was high-pass filtered."""
    text = " ".join(names).lower()
    return bool(words_of(image_type) & FILTERED_TYPES) or bool(
        re.search(r"filt(ered)?[ _-]?pha|pha\w*[ _-]filt|hpf", text)
    )


def names_phase_difference(*names: str) -> bool:
    """Whether the names of a phase image, or of its series, say that it is the difference of two echoes."""
    return bool(re.search(r"phase[ _-]?diff|field[ _-]?map|fieldmapping|\bfm2d", " ".join(names).lower()))


def names_phase_of_one_echo(name: str) -> bool:
    """Whether a BIDS name says that an image is the phase of one echo: `echo-` beside `part-phase`."""
    return bool(re.search(r"(?:^|_)echo-\d+_", name)) and bool(re.search(r"(?:^|_)part-phase", name))


def names_total_field(path: Path) -> bool:
    """Whether name or ImageType of an image say that it is a total field (B0 map)."""
    image_type = read_sidecar(path).get("ImageType")
    by_type = isinstance(image_type, list) and kind_from_image_type(image_type) == FIELD
    return by_type or KIND_BY_LAST_WORD.get(image_stem(path).lower().split("_")[-1]) == FIELD
