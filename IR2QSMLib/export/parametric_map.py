"""A map, or its standard error, as a Parametric Map: all slices in one object, in floating-point numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from highdicom import UID, PlanePositionSequence, VOILUTTransformation
from highdicom.enum import CoordinateSystemNames
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodeContentItem, CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from IR2QSMLib.export.codes import DERIVATION, PPM, SUSCEPTIBILITY
from IR2QSMLib.export.description import Description, with_series_time
from IR2QSMLib.export.source import Source


def parametric_maps(
    values: np.ndarray, uncertainty: np.ndarray | None, source: Source, description: Description
) -> list[Dataset]:
    """χ and, if there is one, its standard error as one series of Parametric Map Storage.

    Parameters
    ----------
    values, uncertainty
        [ppm], float32: (slice, row, column).
    source
        Of as many slices.
    description
        How the map came about, and its window.
    """
    series = description.series(source.highest_series + 1000, "QSM [ppm]")
    maps = [_parametric_map(values, 1, series, source, description)]
    if uncertainty is not None:
        maps.append(_parametric_map(uncertainty, 2, series, source, description))
    return maps


def _parametric_map(
    values: np.ndarray, number: int, series: dict[str, Any], source: Source, description: Description
) -> Dataset:
    """χ (`number` 1) or its standard error (2)."""
    is_chi = number == 1
    text = "Magnetic susceptibility" if is_chi else "Standard error of magnetic susceptibility"
    largest = float(np.abs(values).max())
    mapping = RealWorldValueMapping(
        lut_label="CHI" if is_chi else "SIGMA",
        lut_explanation=f"{text} [ppm]",
        unit=PPM,
        value_range=(-largest if is_chi else 0.0, largest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=SUSCEPTIBILITY,
    )
    if not is_chi:
        modifier = CodeContentItem(name=DERIVATION, value=codes.SCT.StandardDeviation)
        mapping.QuantityDefinitionSequence.append(modifier)
    highest = max(float(values.max()), 1e-3)
    window = VOILUTTransformation(
        window_center=description.window_center if is_chi else round(0.5 * highest, 6),
        window_width=description.window_width if is_chi else round(highest, 6),
        voi_lut_function="LINEAR_EXACT",
    )
    positions = [
        PlanePositionSequence(CoordinateSystemNames.PATIENT, [float(p) for p in header.ImagePositionPatient])
        for header in source.headers
    ]
    instance = ParametricMap(
        source_images=source.images,
        pixel_array=np.ascontiguousarray(values, dtype=np.float32),
        sop_instance_uid=UID(),
        instance_number=number,
        contains_recognizable_visual_features=True,  # a mask may be that of the whole head
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        plane_positions=positions,
        content_label="CHI" if is_chi else "SIGMA",
        content_description=text,
        **series,
    )
    _order_frames(instance)
    _add_anatomy(instance, str(source.headers[0].get("BodyPartExamined") or ""))
    instance.ContentCreatorName = None
    if "BodyPartExamined" in source.headers[0]:
        instance.BodyPartExamined = source.headers[0].BodyPartExamined
    instance.DerivationDescription = description.derivation
    return with_series_time(instance, description)


def _order_frames(instance: Dataset) -> None:
    """Put the frames in the order of the slices along their normal, which readers such as dcmqi take for granted."""
    groups = list(instance.PerFrameFunctionalGroupsSequence)
    cosines = np.asarray(instance.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient)
    normal = np.cross(cosines[:3].astype(float), cosines[3:].astype(float))
    places = [normal @ np.asarray(group.PlanePositionSequence[0].ImagePositionPatient, float) for group in groups]
    order = np.argsort(places)
    frames = np.frombuffer(instance.FloatPixelData, dtype="<f4").reshape(len(groups), -1)
    instance.FloatPixelData = np.ascontiguousarray(frames[order]).tobytes()
    for number, index in enumerate(order, 1):
        groups[index].FrameContentSequence[0].DimensionIndexValues = number
    instance.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]


def _add_anatomy(instance: Dataset, body_part: str) -> None:
    """Say that a map of the head, or of a part that the source does not name, shows the brain."""
    if body_part not in ("", "HEAD", "BRAIN"):
        return
    anatomy = Dataset()
    anatomy.FrameLaterality, anatomy.AnatomicRegionSequence = "U", [CodedConcept.from_code(codes.SCT.Brain)]
    instance.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
