"""What the objects of a map inherit from the headers of its source: the person, the study, the place, the scanner.

Only attributes that are listed here are taken over: no private one and no comment.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from highdicom import UID
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)
STUDY = (
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator")
EQUIPMENT = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "StationName",
    "InstitutionName",
    "InstitutionalDepartmentName",
)
PLACE = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PatientPosition",
    "BodyPartExamined",
)
ACQUISITION = (
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "SequenceName",
    "RepetitionTime",
    "EchoTime",
    "EchoTrainLength",
    "FlipAngle",
    "NumberOfAverages",
    "MagneticFieldStrength",
    "ImagingFrequency",
    "ImagedNucleus",
    "PixelBandwidth",
    "AcquisitionMatrix",
    "InPlanePhaseEncodingDirection",
)
TIMES = ("ProtocolName", "AcquisitionDate", "AcquisitionTime")
EMPTY_IF_MISSING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
    "Manufacturer",
)
"""Attributes that the standard wants present, but lets be empty (type 2)."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
FORMS = {"DA": r"\d{8}", "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", "CS": r"[A-Z0-9 _]{1,16}", "AS": r"\d{3}[DWMY]"}
"""How values look that may be taken over, by their representation; others are left empty."""
DUMMY_VALUES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}
"""What dates and times become in anonymised objects."""


def inherited(descriptions: Sequence[Dataset]) -> Dataset:
    """The listed attributes of a slice, each from the first dataset that describes it and has it.

    Parameters
    ----------
    descriptions
        The header of a classic file; of a multi-frame file the items of the slice's functional groups, then those of
        the shared ones, then the header.
    """
    out = Dataset()
    of_file, of_slice = (*PATIENT, *STUDY, *IDENTITY, *EQUIPMENT), (*PLACE, *ACQUISITION, *TIMES)
    for keyword in (*of_file, *of_slice):
        for dataset in descriptions[-1:] if keyword in of_file else descriptions:
            if keyword in dataset and dataset[keyword].value not in (None, ""):
                out.add(dataset[keyword])
                break
    for element in list(out):
        form = FORMS.get(element.VR)
        if form is not None and not all(re.fullmatch(form, str(v)) for v in _values(element.value)):
            del out[element.tag]
    if out.get("PatientSex") not in ("M", "F", "O"):
        out.PatientSex = ""
    for keyword in EMPTY_IF_MISSING:
        if keyword not in out:
            setattr(out, keyword, "")
    return out


class Anonymiser:
    """Replaces what identifies a person, by the Basic Application Level Confidentiality Profile of DICOM PS3.15.

    UIDs become new ones, the same wherever they stand; patient, study and the scanner's site are emptied.
    """

    def __init__(self) -> None:
        self._uids: dict[str, str] = defaultdict(lambda: str(UID()))
        self._patient_id = f"ANON{uuid.uuid4().hex[:8].upper()}"

    def source(self, header: Dataset) -> Dataset:
        """The inherited header of a slice without what identifies a person."""
        out = Dataset()
        for keyword in (*IDENTITY, "StudyInstanceUID", *PLACE, *ACQUISITION):
            if keyword in header:
                out.add(header[keyword])
        for keyword in UIDS:
            setattr(out, keyword, self.uid(str(header[keyword].value)))
        for keyword in EMPTY_IF_MISSING:
            setattr(out, keyword, "")
        out.PatientName, out.PatientID = "Anonymous^", self._patient_id
        out.PatientIdentityRemoved = "YES"
        out.DeidentificationMethod = "ir2qsm export --anonymise"
        out.DeidentificationMethodCodeSequence = [
            _code_item(codes.DCM.BasicApplicationConfidentialityProfile),
        ]
        return out

    def uid(self, uid: str) -> str:
        """What stands for a UID in all objects of this export."""
        return self._uids[uid]

    def finish(self, instance: Dataset) -> None:
        """Give dates and times of an object that was made of such a header a fixed value."""
        for element in instance.iterall():
            if element.VR in DUMMY_VALUES and element.value:
                element.value = DUMMY_VALUES[element.VR]
        instance.LongitudinalTemporalInformationModified = "REMOVED"


def _code_item(code: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _values(value: Any) -> list[Any]:
    """The values of an element, one or several."""
    return list(value) if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
