"""Which scan a map may be exported like, and the words in which others are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from IR2QSMLib.io.acquisition import DIGEST_KEY
from IR2QSMLib.io.scans import find_acquisition
from Testing.Library.export.conftest import MAGNITUDE, PHASE, SAGITTAL, SourceFiles, patient
from Testing.Library.scanners import Scanner

MakeSource = Callable[..., SourceFiles]
Refused = Callable[..., str]


@pytest.fixture
def not_exported(ir2qsm: Callable[..., Any], tmp_path: Path) -> Refused:
    """Require one line of error, that no folder was made, and return the line."""

    def run(source: SourceFiles, *options: object, like: Path | None = None, output: Path | None = None) -> str:
        output = output or tmp_path / "out"
        ran = ir2qsm("export", source.chi_file, "--like", like or source.folder, "-o", output, *options)
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
        assert not (tmp_path / "out").exists()
        return ran.err

    return run


def write_digest(source: SourceFiles, digest: str | None) -> None:
    source.chi_file.with_name("chi.json").write_text(
        f'{{"Method": {{"name": "tkd"}}, "Field": {{"{DIGEST_KEY}": "{digest}"}}}}'
    )


def test_a_scan_on_another_grid_is_refused(make_source: MakeSource, not_exported: Refused, tmp_path: Path) -> None:
    source = make_source()
    Scanner(tmp_path / "other", orientation=SAGITTAL, extra=patient()).siemens(PHASE, MAGNITUDE)
    message = not_exported(source, like=tmp_path / "other")
    assert "12×10×9 voxels" in message and "series 5" in message


def test_the_same_grid_of_another_patient_is_refused_by_its_pixels(
    make_source: MakeSource, not_exported: Refused, ir2qsm: Callable[..., Any], tmp_path: Path
) -> None:
    source = make_source()
    digest = find_acquisition(source.folder).echoes[0].digest
    assert digest is not None
    write_digest(source, digest())
    other = Scanner(tmp_path / "other", orientation=(0.8, 0.6, 0.0, -0.48, 0.64, 0.6), extra=patient())
    other.siemens(np.roll(PHASE, 1, axis=1), MAGNITUDE)
    assert "another patient or another scan" in not_exported(source, like=tmp_path / "other")
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out")
    assert ran.code == 0 and "Only the geometry" not in ran.err


def test_a_map_of_unknown_origin_is_exported_with_a_warning(
    make_source: MakeSource, ir2qsm: Callable[..., Any], tmp_path: Path
) -> None:
    source = make_source()
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out")
    assert ran.code == 0 and "Only the geometry" in ran.err and "has no JSON beside it" in ran.err


@pytest.mark.parametrize(("keyword", "what"), [("StudyInstanceUID", "studies"), ("PatientID", "patients")])
def test_several_studies_or_patients_are_refused_and_series_choose(
    keyword: str, what: str, make_source: MakeSource, not_exported: Refused, ir2qsm: Callable[..., Any], tmp_path: Path
) -> None:
    source = make_source()
    first = pydicom.dcmread(next(source.folder.iterdir()))
    same = {k: first[k].value for k in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")}
    header = patient() | same | {keyword: generate_uid()}
    Scanner(source.folder / "second", orientation=SAGITTAL, extra=header).siemens(PHASE, MAGNITUDE, first=20)
    message = not_exported(source)
    assert f"2 {what}" in message and "--series" in message
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "one", "--series", "5", "6")
    assert ran.code == 0, ran.err
    assert "There is no series 3" in not_exported(source, "--series", "3")


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_source_that_cannot_be_referenced_is_refused(
    keyword: str, make_source: MakeSource, not_exported: Refused
) -> None:
    source = make_source()
    for path in source.folder.iterdir():
        ds = pydicom.dcmread(path)
        delattr(ds, keyword)
        ds.save_as(path)
    assert f"lacks its {keyword}" in not_exported(source)


def test_slices_of_renewed_studies_are_refused(make_source: MakeSource, not_exported: Refused) -> None:
    source = make_source()
    for path in source.folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID = generate_uid()
        ds.save_as(path)
    assert "different StudyInstanceUIDs" in not_exported(source)


def test_multi_frame_files_that_cannot_be_referenced_are_refused(
    make_source: MakeSource, not_exported: Refused
) -> None:
    source = make_source("enhanced")
    (path,) = source.folder.iterdir()
    whole = pydicom.dcmread(path)
    n = len(whole.PerFrameFunctionalGroupsSequence)
    whole.NumberOfFrames = n - 1
    whole.save_as(path)
    assert f"says that it has {n - 1} frames and describes {n}" in not_exported(source)
    frames = whole.PixelData
    for half in range(2):
        part = pydicom.dcmread(path)
        chosen = range(half, n, 2)
        part.PerFrameFunctionalGroupsSequence = [part.PerFrameFunctionalGroupsSequence[i] for i in chosen]
        size = len(frames) // n
        part.PixelData, part.NumberOfFrames = b"".join(frames[i * size : (i + 1) * size] for i in chosen), len(chosen)
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        part.save_as(source.folder / f"half{half}")
    path.unlink()
    assert "lie in 2 multi-frame files" in not_exported(source)


def test_the_objects_get_a_folder_of_their_own(make_source: MakeSource, not_exported: Refused, tmp_path: Path) -> None:
    source = make_source()
    assert "become part of it" in not_exported(source, output=source.folder / "qsm")
    assert "is not empty" in not_exported(source, output=tmp_path)
    assert "does not exist" in not_exported(source, like=tmp_path / "missing")


def test_a_map_in_another_unit_is_refused(make_source: MakeSource, not_exported: Refused) -> None:
    source = make_source()
    source.chi_file.with_name("chi.json").write_text('{"Units": "ppb"}')
    assert "expected a map in ppm" in not_exported(source)
    source.chi_file.with_name("chi.json").unlink()
    for options, word in (
        (("--window", 0.1, 0.1), "lower and a higher"),
        (("--uncertainty", source.sigma_file), "--kind parametric-map"),
    ):
        assert word in not_exported(source, *options)
