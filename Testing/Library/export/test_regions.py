"""Parametric maps, segmentations and reports, as dcmqi reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from Testing.Library.export.conftest import OBLIQUE, SAGITTAL, SourceFiles

MakeSource = Callable[..., SourceFiles]
Run = Callable[..., Any]


def dcmqi(name: str, *arguments: object) -> None:
    """Run a program of dcmqi's wheel."""
    command = Path(sys.executable).parent / name
    if not command.exists():
        pytest.skip(f"{name} is not installed (PyPI: dcmqi)")
    subprocess.run([command, *map(str, arguments)], check=True, capture_output=True)


def export(ir2qsm: Run, source: SourceFiles, folder: Path, *options: object) -> Any:
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", folder, *options)
    assert ran.code == 0, ran.err
    return ran


def same_grid(image: sitk.Image, other: sitk.Image) -> bool:
    return (
        image.GetSize() == other.GetSize()
        and np.allclose(image.GetOrigin(), other.GetOrigin(), atol=1e-4)
        and np.allclose(image.GetDirection(), other.GetDirection(), atol=1e-5)
        and np.allclose(image.GetSpacing(), other.GetSpacing(), atol=1e-5)
    )


@pytest.mark.parametrize(("kind", "orientation"), [("siemens", SAGITTAL), ("enhanced", OBLIQUE)])
def test_parametric_maps_are_read_back_to_the_bit(
    kind: str, orientation: tuple[float, ...], make_source: MakeSource, ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source(kind, orientation)
    options = ("--kind", "parametric-map", "--uncertainty", source.sigma_file)
    export(ir2qsm, source, tmp_path / "out", *options)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["chi.dcm", "sigma.dcm"]
    for name, file in (("chi", source.chi_file), ("sigma", source.sigma_file)):
        read = ("--inputDICOM", tmp_path / "out" / f"{name}.dcm", "--outputDirectory", tmp_path)
        dcmqi("paramap2itkimage", *read, "--outputType", "nrrd", "--prefix", name)
        image, original = sitk.ReadImage(str(tmp_path / f"{name}-pmap.nrrd")), sitk.ReadImage(str(file))
        assert same_grid(image, original)
        assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(original))
        about = json.loads((tmp_path / f"{name}-meta.json").read_text())
        assert (
            about["QuantityValueCode"]["CodeValue"] == "126396"
            and about["MeasurementUnitsCode"]["CodeValue"] == "[ppm]"
        )
    chi, sigma = (pydicom.dcmread(tmp_path / "out" / f"{name}.dcm") for name in ("chi", "sigma"))
    assert chi.SeriesInstanceUID == sigma.SeriesInstanceUID
    of_sigma = sigma.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].QuantityDefinitionSequence
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in of_sigma][1:] == ["Standard Deviation"]


@pytest.mark.parametrize("kind", ["mr", "parametric-map"])
def test_the_report_has_the_values_of_the_map_in_each_segment(
    kind: str, make_source: MakeSource, ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source("enhanced" if kind == "mr" else "siemens")
    (tmp_path / "chi.json").write_text('{"Reference": {"region": "csf.nii.gz"}}')
    ran = export(ir2qsm, source, tmp_path / "out", "--kind", kind, "--segmentation", source.labels_file)
    dcmqi("tid1500reader", "--inputDICOM", tmp_path / "out" / "regions.dcm", "--outputMetadata", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    segments = pydicom.dcmread(tmp_path / "out" / "segmentation.dcm")
    chi, labels = source.chi.numpy(), source.labels.numpy()
    assert [group["ReferencedSegment"] for group in report["Measurements"]] == [1, 2]
    for label, group in zip((4, 17), report["Measurements"], strict=True):
        assert group["segmentationSOPInstanceUID"] == segments.SOPInstanceUID
        values = chi[(labels == label) & (chi != 0)].astype(float)
        *of_chi, volume = group["measurementItems"]
        assert float(volume["value"]) == pytest.approx((labels == label).sum() * 9.0)  # voxels of 1.5 × 2 × 3 mm
        measured = {item["derivationModifier"]["CodeMeaning"]: float(item["value"]) for item in of_chi}
        expected = {"Mean": values.mean(), "Standard Deviation": values.std(ddof=1)}
        assert {key: measured[key] for key in expected} == pytest.approx(expected, abs=1e-9)
        assert np.sort(values)[(len(values) - 1) // 2] <= measured["Median"] + 1e-9
        assert np.sort(values)[len(values) // 2] >= measured["Median"] - 1e-9
        for item in of_chi:
            assert item["units"]["CodeValue"] == "[ppm]" and item["quantity"]["CodeValue"] == "126396"
            ((modifier),) = item["measurementModifiers"]
            assert modifier["modifier"]["CodeMeaning"] == "Reference Region"
            assert modifier["modifierValue"]["CodeMeaning"] == "Cerebrospinal Fluid"
    caudate, unknown = report["Measurements"]
    assert caudate["Finding"]["CodeMeaning"] == "Caudate Nucleus" and caudate["Laterality"]["CodeMeaning"] == "Left"
    assert unknown["Finding"]["CodeMeaning"] == "Tissue"
    assert "label 17 lie where the map is not valid" in ran.err


def test_the_segmentation_is_the_label_map(make_source: MakeSource, ir2qsm: Run, tmp_path: Path) -> None:
    source = make_source()
    export(ir2qsm, source, tmp_path / "out", "--segmentation", source.labels_file)
    segments = tmp_path / "out" / "segmentation.dcm"
    dcmqi("segimage2itkimage", "--inputDICOM", segments, "--outputDirectory", tmp_path, "--mergeSegments")
    image, original = sitk.ReadImage(str(tmp_path / "1.nrrd")), sitk.ReadImage(str(source.labels_file))
    labels = sitk.Resample(image, original, sitk.Transform(), sitk.sitkNearestNeighbor)  # empty slices are left out
    numbers, expected = sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(original)
    assert np.array_equal(numbers == 1, expected == 4) and np.array_equal(numbers == 2, expected == 17)
    names = [segment.SegmentLabel for segment in pydicom.dcmread(segments).SegmentSequence]
    assert names == ["Left-Caudate", "Lesion of unknown name"]


def test_names_and_labels_that_cannot_be_are_refused(
    make_source: MakeSource, write_volume: Callable[..., Path], ir2qsm: Run, tmp_path: Path
) -> None:
    source = make_source()
    command = ("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", "--segmentation")
    (tmp_path / "labels.tsv").write_text("label\tregion\n4\tCaudate\n")
    ran = ir2qsm(*command, source.labels_file)
    assert ran.code == 2 and "expected the columns index" in ran.err
    ran = ir2qsm(*command, source.chi_file)
    assert ran.code == 2 and "not 32-bit whole numbers" in ran.err and not (tmp_path / "out").exists()
