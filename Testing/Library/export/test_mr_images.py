"""A map as MR images: the same values on the same grid, what they inherit, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from Testing.Library.export.conftest import OBLIQUE, SAGITTAL, SourceFiles

MakeSource = Callable[..., SourceFiles]
Run = Callable[..., Any]


def exported(ir2qsm: Run, source: SourceFiles, folder: Path, *options: object) -> list[Dataset]:
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", folder, *options)
    assert ran.code == 0, ran.err
    return [pydicom.dcmread(path) for path in sorted(folder.glob("chi*.dcm"))]


@pytest.mark.parametrize(
    ("kind", "orientation"),
    [("philips", SAGITTAL), ("ge", OBLIQUE), ("enhanced", OBLIQUE)],
)
def test_the_series_is_read_back_to_the_same_map(
    kind: str, orientation: tuple[float, ...], make_source: MakeSource, ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source(kind, orientation)
    exported(ir2qsm, source, tmp_path / "out")
    reader = sitk.ImageSeriesReader()  # GDCM's
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    image, original = reader.Execute(), sitk.ReadImage(str(source.chi_file))
    assert image.GetSize() == original.GetSize()
    assert image.GetSpacing() == pytest.approx(original.GetSpacing(), abs=1e-5)
    assert image.GetOrigin() == pytest.approx(original.GetOrigin(), abs=1e-4)
    assert image.GetDirection() == pytest.approx(original.GetDirection(), abs=1e-5)
    difference = np.abs(sitk.GetArrayFromImage(image) - sitk.GetArrayFromImage(original))
    assert difference.max() < 1e-4  # 0.1 ppb
    assert np.all(sitk.GetArrayFromImage(image)[sitk.GetArrayFromImage(original) == 0.0] == 0.0)


def test_patient_study_and_place_are_inherited_and_the_rest_is_new(
    make_source: MakeSource, ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    originals = [pydicom.dcmread(path) for path in source.folder.iterdir()]
    images = exported(ir2qsm, source, tmp_path / "out")
    original = originals[0]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "AccessionNumber"):
        assert {str(image[keyword].value) for image in images} == {str(original[keyword].value)}, keyword
    for keyword in ("StudyInstanceUID", "StudyDate", "StudyID", "FrameOfReferenceUID", "ReferringPhysicianName"):
        assert {str(image[keyword].value) for image in images} == {str(original[keyword].value)}, keyword
    new = {image.SOPInstanceUID for image in images} | {image.SeriesInstanceUID for image in images}
    assert len(new) == len(images) + 1
    assert new.isdisjoint({o.SOPInstanceUID for o in originals} | {o.SeriesInstanceUID for o in originals})
    (scanner,) = [e for e in images[0].ContributingEquipmentSequence if e.get("StationName") == "MRPLAINS1"]
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"  # acquisition equipment
    assert not [e for image in images for e in image.iterall() if e.tag.is_private]


def test_each_slice_refers_to_all_images_of_its_place(make_source: MakeSource, ir2qsm: Run, tmp_path: Path) -> None:
    source = make_source()
    places = {o.SOPInstanceUID: o.ImagePositionPatient for o in map(pydicom.dcmread, source.folder.iterdir())}
    for image in exported(ir2qsm, source, tmp_path / "out"):
        references = {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence}
        assert references == {uid for uid, place in places.items() if place == image.ImagePositionPatient}
        assert len(references) == 4  # phase and magnitude of two echoes


def test_frames_of_a_multi_frame_file_are_referred_to_by_number(
    make_source: MakeSource, ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source("enhanced")
    original = pydicom.dcmread(next(source.folder.iterdir()))
    for image in exported(ir2qsm, source, tmp_path / "out"):
        groups = [
            original.PerFrameFunctionalGroupsSequence[i.ReferencedFrameNumber - 1] for i in image.SourceImageSequence
        ]
        assert len(groups) == 4
        for group in groups:
            assert group.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient


def test_the_objects_say_what_they_are(make_source: MakeSource, ir2qsm: Run, tmp_path: Path) -> None:
    source = make_source()
    method = {"name": "ir2qsm", "weights": "ir2qsm.safetensors", "weights_sha256": "ab" * 32}
    sidecar = {"Units": "ppm", "Software": {"version": "0.1"}, "Method": method, "Reference": {"region": "mean"}}
    (tmp_path / "chi.json").write_text(json.dumps(sidecar))
    image = exported(ir2qsm, source, tmp_path / "out", "--window", "-0.05", "0.15")[4]
    assert list(image.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    for text in ("ir2qsm 0.1", "ab" * 32, "zero is the mean of the mask"):
        assert text in image.DerivationDescription
    assert (image.WindowCenter, image.WindowWidth, image.VOILUTFunction) == (0.05, 0.2, "LINEAR_EXACT")
    (mapping,) = image.RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (image.RescaleSlope, 0)
    assert mapping.RealWorldValueFirstValueMapped == -32768
    (unit,), (quantity,) = mapping.MeasurementUnitsCodeSequence, mapping.QuantityDefinitionSequence
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[ppm]", "UCUM")
    code = quantity.ConceptCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("126396", "DCM")


def test_a_map_stored_along_other_axes_gives_the_same_images(
    make_source: MakeSource, write_volume: Callable[..., Path], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    images = exported(ir2qsm, source, tmp_path / "out")
    flipped = source.chi.permute(1, 2, 0).flip(0, 2)
    write_volume(source.chi_file, flipped, source.grid.reoriented((1, 2, 0), (True, False, True)))
    turned = exported(ir2qsm, source, tmp_path / "turned")
    assert [image.PixelData for image in images] == [image.PixelData for image in turned]


def test_values_beyond_16_bit_are_refused_and_the_advice_works(
    make_source: MakeSource, write_volume: Callable[..., Path], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    source.chi[5, 5, 5] = 5.0  # reached with the coarser step
    write_volume(source.chi_file, source.chi, source.grid)
    images = exported(ir2qsm, source, tmp_path / "coarser")
    stack = np.stack([image.pixel_array * float(image.RescaleSlope) for image in images])
    assert np.abs(stack - source.chi.numpy().transpose(2, 1, 0)).max() < 1e-4
    source.chi[5, 5, 5] = 50.0
    write_volume(source.chi_file, source.chi, source.grid)
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out")
    assert ran.code == 2 and "50 ppm" in ran.err and "--kind parametric-map" in ran.err
    assert not (tmp_path / "out").exists()
    exported(ir2qsm, source, tmp_path / "out", "--kind", "parametric-map")
