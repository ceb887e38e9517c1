"""The values of a map in regions as a structured report, template 1500 of DICOM PS3.16."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import UID
from highdicom.seg import Segmentation
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from IR2QSMLib.export.codes import PPM, REFERENCE_REGION, SUSCEPTIBILITY, region_code
from IR2QSMLib.export.description import EQUIPMENT, Description, with_series_time
from IR2QSMLib.export.regions import Region
from IR2QSMLib.export.segmentation import category_of


def region_report(
    regions: Sequence[Region],
    segments: Segmentation,
    images: Sequence[Dataset],
    description: Description,
    series: int,
) -> Comprehensive3DSR:
    """Mean, standard deviation and median of χ, and the volume, of each region, with reference to its segment.

    Parameters
    ----------
    regions
        In the order of the segments' numbers; of one without valid voxels only the volume is reported.
    segments
        Their Segmentation.
    images
        The objects of the map.
    description
        How the map came about; its reference region modifies the measurements.
    series
        Number of the new series.
    """
    observer = DeviceObserverIdentifyingAttributes(
        uid=UID(),
        name=EQUIPMENT["manufacturer_model_name"],
        manufacturer_name=EQUIPMENT["manufacturer"],
        model_name=EQUIPMENT["manufacturer_model_name"],
        serial_number=EQUIPMENT["device_serial_number"],
    )
    context = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=observer)
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=context),
        procedure_reported=codes.LN.MRIUnspecifiedBodyRegion,
        imaging_measurements=[_group(region, segments, description) for region in regions],
    )
    names = description.series(series, "Regions")
    instance = Comprehensive3DSR(
        evidence=[segments, *images],
        content=report[0],
        sop_instance_uid=UID(),
        instance_number=1,
        is_complete=True,
        **names,
    )
    return with_series_time(instance, description)


def _group(
    region: Region, segments: Segmentation, description: Description
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The measurements of one region."""
    segment = segments.SegmentSequence[region.number - 1]
    values = region.statistics
    kinds: list[tuple[Code, float]] = [
        (codes.SCT.Mean, values.mean),
        (codes.SCT.StandardDeviation, values.sd),
        (codes.SCT.Median, values.median),
    ]
    measurements = [_susceptibility(code, value, description.reference) for code, value in kinds if value == value]
    measurements.append(Measurement(name=codes.SCT.Volume, value=region.volume, unit=codes.UCUM.CubicMillimeter))
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.TrackingID),
        referenced_segment=ReferencedSegment.from_segmentation(segments, segment_number=region.number),
        finding_type=CodedConcept.from_code(region.code),
        finding_category=category_of(region),
        finding_sites=[FindingSite(anatomic_location=CodedConcept.from_code(region.code), laterality=region.side)],
        measurements=measurements,
    )


def _susceptibility(derivation: Code, value: float, reference: str | None) -> Measurement:
    """One value of χ [ppm], with the region in which the map's mean is zero."""
    measurement = Measurement(name=SUSCEPTIBILITY, value=value, unit=PPM, derivation=derivation)
    if reference not in (None, "none"):
        region = codes.SCT.Brain if reference == "mean" else region_code(str(reference))
        item = CodeContentItem(
            name=REFERENCE_REGION,
            value=CodedConcept.from_code(region),
            relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
        )
        measurement[0].ContentSequence.append(item)
    return measurement
