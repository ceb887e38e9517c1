"""A label map as a DICOM Segmentation of the exported map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from IR2QSMLib.core.version import __version__
from IR2QSMLib.export.codes import UNKNOWN_REGION
from IR2QSMLib.export.description import Description, with_series_time
from IR2QSMLib.export.regions import Region


def segmentation(
    numbers: np.ndarray, regions: Sequence[Region], images: Sequence[Dataset], description: Description, series: int
) -> Segmentation:
    """The regions of a label map as one Segmentation, a segment each.

    Parameters
    ----------
    numbers
        Of the segments, 0 for none, uint8: (slice, row, column).
    regions
        In the order of their numbers.
    images
        The objects of the map: MR images in the order of the slices, or one parametric map.
    description
        How the map came about.
    series
        Number of the new series.
    """
    instance = Segmentation(
        source_images=images,
        pixel_array=numbers,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(region) for region in regions],
        sop_instance_uid=UID(),
        instance_number=1,
        content_label="REGIONS",
        content_description="Regions of the susceptibility map",
        **description.series(series, "Regions"),
    )
    instance.ContentCreatorName = None
    if "ContributingEquipmentSequence" in images[0]:
        instance.ContributingEquipmentSequence = images[0].ContributingEquipmentSequence
    return with_series_time(instance, description)


def category_of(region: Region) -> CodedConcept:
    """Category of a region's code: an anatomical structure, or tissue if its name is not known."""
    code = codes.SCT.Tissue if region.code == UNKNOWN_REGION else codes.SCT.AnatomicalStructure
    return CodedConcept.from_code(code)


def _segment(region: Region) -> SegmentDescription:
    # Who drew a label map is not known; ir2qsm only took it over.
    algorithm = AlgorithmIdentificationSequence(
        name="label map of unknown origin", family=codes.DCM.ManualProcessing, version=__version__
    )
    segment = SegmentDescription(
        segment_number=region.number,
        segment_label=region.name[:64],
        segmented_property_category=category_of(region),
        segmented_property_type=CodedConcept.from_code(region.code),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=UID(),
        tracking_id=f"{region.name[:50]} ({region.label})",
    )
    if region.side is not None:
        side = CodedConcept.from_code(region.side)
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment
