"""A map as MR images: one a slice, 16 bit, with a rescale in ppm and a real-world value mapping."""

from __future__ import annotations

import numpy as np
from highdicom import UID, PixelRepresentationValues
from highdicom.base import SOPClass
from highdicom.pm import RealWorldValueMapping
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from IR2QSMLib.core.errors import FieldInvalid
from IR2QSMLib.export.codes import PPM, SUSCEPTIBILITY
from IR2QSMLib.export.description import Description, with_series_time
from IR2QSMLib.export.headers import ACQUISITION, PLACE, TIMES
from IR2QSMLib.export.source import Source

STEPS = (1e-4, 1.9e-4)
"""Quantisation steps [ppm], of which the first that reaches the map's values is taken: errors below 0.1 ppb."""
LARGEST = 32767
EMPTY_IF_MISSING = ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime")
"""Attributes of an MR image that may be empty (type 2), and so may the place of the patient and the slice thickness."""


def mr_images(values: np.ndarray, source: Source, description: Description) -> list[Dataset]:
    """A map as one series of MR Image Storage.

    Parameters
    ----------
    values
        χ [ppm]: (slice, row, column).
    source
        Of as many slices.
    description
        How the map came about, and its window.

    Raises
    ------
    FieldInvalid
        When a value is too large for 16 bit in steps that keep 0.1 ppb.
    """
    largest = float(np.abs(values).max())
    step = next((s for s in STEPS if largest <= s * LARGEST), None)
    if step is None:
        raise FieldInvalid(
            f"The map reaches {largest:.3g} ppm, and 16 bit hold at most {STEPS[-1] * LARGEST:.2g} ppm to 0.1 ppb: "
            "is it in ppm? If so, write it as floating-point numbers with --kind parametric-map.",
            option="chi",
        )
    stored = np.rint(values.astype(np.float64) / step).astype("<i2")
    series = description.series(source.highest_series + 1000, "QSM [ppm]")
    images: list[Dataset] = []
    for n, (header, references) in enumerate(zip(source.headers, source.references, strict=True)):
        image = SOPClass(
            study_instance_uid=header.StudyInstanceUID,
            sop_instance_uid=UID(),
            sop_class_uid=MRImageStorage,
            instance_number=n + 1,
            modality="MR",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            patient_id=header.PatientID,
            patient_name=header.PatientName,
            patient_birth_date=header.PatientBirthDate,
            patient_sex=header.PatientSex,
            accession_number=header.AccessionNumber,
            study_id=header.StudyID,
            study_date=header.StudyDate or None,
            study_time=header.StudyTime or None,
            referring_physician_name=header.ReferringPhysicianName,
            content_date=description.made.date(),
            content_time=description.made.time(),
            **series,
        )
        image.copy_patient_and_study_information(header)
        image._add_contributing_equipment(None, header)
        _add_acquisition(image, header, source)
        _add_image(image, references, description)
        _add_pixels(image, stored[n], step)
        images.append(with_series_time(image, description))
    return images


def _add_acquisition(image: Dataset, header: Dataset, source: Source) -> None:
    """Place, and how the source was acquired."""
    for keyword in (*PLACE, *ACQUISITION, *TIMES, "FrameOfReferenceUID", "PositionReferenceIndicator"):
        if keyword in header:
            image.add(header[keyword])
    one_echo = len(source.echo_times) == 1
    image.EchoTime = round(1e3 * source.echo_times[0], 6) if one_echo else None
    for keyword in (*EMPTY_IF_MISSING, "PatientPosition", "SliceThickness"):
        if keyword not in image:
            setattr(image, keyword, None)
    for keyword, unknown in (("ScanningSequence", "RM"), ("SequenceVariant", "NONE")):
        if keyword not in image:
            setattr(image, keyword, unknown)  # "research mode": multi-frame sources do not say it in these words
    if "BodyPartExamined" not in image:
        image.Laterality = None  # not known: the part may be one of a pair
    image.SpacingBetweenSlices = round(source.grid.voxel_size[2], 6)


def _add_image(image: Dataset, references: tuple[Dataset, ...], description: Description) -> None:
    """What kind of image it is, of what it was made, and how it is shown."""
    image.ImageType = ["DERIVED", "SECONDARY", "OTHER", "QSM"]
    image.DerivationDescription = description.derivation
    image.SourceImageSequence = list(references)
    image.BurnedInAnnotation = "NO"
    image.WindowCenter, image.WindowWidth = description.window_center, description.window_width
    image.WindowCenterWidthExplanation = "Susceptibility"
    image.VOILUTFunction = "LINEAR_EXACT"  # LINEAR would need a width of 1 ppm at least


def _add_pixels(image: Dataset, stored: np.ndarray, step: float) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = PixelRepresentationValues.COMPLEMENT.value
    image.Rows, image.Columns = stored.shape
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = step, 0, "ppm"
    mapping = RealWorldValueMapping(
        lut_label="CHI",
        lut_explanation="Magnetic susceptibility [ppm]",
        unit=PPM,
        value_range=(-LARGEST - 1, LARGEST),
        slope=step,
        intercept=0.0,
        quantity_definition=SUSCEPTIBILITY,
    )
    image.RealWorldValueMappingSequence = [mapping]
    image.PixelData = np.ascontiguousarray(stored).tobytes()
