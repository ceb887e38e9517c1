"""Outputs: all files of a run are written or none, and no temporary file is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from IR2QSMLib.core.errors import Cancelled, OutputUnwritable
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.outputs import Outputs, check_writable

GRID = Grid((8, 9, 10), (0.5, 1.0, 2.0), (0, 0, 1, 1, 0, 0, 0, 1, 0), (-10.0, 20.0, 30.0))


def chi() -> torch.Tensor:
    return torch.arange(720, dtype=torch.float32).reshape(8, 9, 10)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".NII.GZ"])
def test_volume_is_read_back_unchanged(tmp_path: Path, suffix: str) -> None:
    with Outputs() as out:
        out.volume(tmp_path / f"chi{suffix}", chi(), GRID)
    assert names(tmp_path) == [f"chi{suffix}"]
    values, grid = read_volume(tmp_path / f"chi{suffix}")
    assert torch.equal(values, chi())
    assert grid.corners() == pytest.approx(GRID.corners(), abs=1e-5)


def test_mask_is_written_as_uint8(tmp_path: Path) -> None:
    with Outputs() as out:
        out.volume(tmp_path / "mask.nii.gz", chi() > 5, GRID)
    assert sitk.ReadImage(str(tmp_path / "mask.nii.gz")).GetPixelID() == sitk.sitkUInt8


def test_compressible_formats_are_compressed(tmp_path: Path) -> None:
    with Outputs() as out:
        for suffix in (".nii.gz", ".nrrd", ".mha"):
            out.volume(tmp_path / f"chi{suffix}", torch.zeros(64, 64, 64), Grid((64, 64, 64)))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 64**3


def test_files_appear_only_at_the_end(tmp_path: Path) -> None:
    with Outputs() as out:
        out.volume(tmp_path / "chi.nii.gz", chi(), GRID)
        out.json(tmp_path / "chi.json", {"method": "tkd"})
        assert not (tmp_path / "chi.nii.gz").exists()
        assert not (tmp_path / "chi.json").exists()
        assert all(name.startswith(".ir2qsm-") for name in names(tmp_path))
    assert names(tmp_path) == ["chi.json", "chi.nii.gz"]


def test_older_result_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with Outputs() as out:
        out.text(tmp_path / "a.txt", "χ\n")
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"
    assert (tmp_path / "a.txt").read_bytes() == "χ\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_file_is_left_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), Outputs() as out:
        out.volume(tmp_path / "chi.nii.gz", chi(), GRID)
        out.text(tmp_path / "a.txt", "new")
        raise error
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_relative_path_is_resolved_when_it_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Outputs() as out:
        out.text("a.txt", "here")
        monkeypatch.chdir("/")
    assert names(tmp_path) == ["a.txt"]


# -- discarding -------------------------------------------------------------------------------------------------------


def test_discarding_removes_everything_and_ends_the_run_as_cancelled(tmp_path: Path) -> None:
    out = Outputs()
    with pytest.raises(Cancelled), out:
        out.volume(tmp_path / "chi.nii.gz", chi(), GRID)
        watchdog = threading.Thread(target=out.discard)
        watchdog.start()
        watchdog.join()
        assert names(tmp_path) == []
    out.discard()
    assert names(tmp_path) == []


def test_nothing_is_written_after_discarding(tmp_path: Path) -> None:
    out = Outputs()
    out.discard()
    with pytest.raises(Cancelled, match="nothing was written"):
        out.text(tmp_path / "a.txt", "late")
    assert names(tmp_path) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_discarding_during_a_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    out = Outputs()
    write = sitk.WriteImage

    def discard() -> None:
        watchdog = threading.Thread(target=out.discard)
        watchdog.start()
        watchdog.join(timeout=10)
        assert not watchdog.is_alive(), "discard waited for the write"

    def interrupted(*args: object, **options: object) -> None:
        if moment == "before":
            discard()
        write(*args, **options)
        if moment == "after":
            discard()

    monkeypatch.setattr(sitk, "WriteImage", interrupted)
    with pytest.raises(Cancelled), out:
        out.volume(tmp_path / "chi.nii.gz", chi(), GRID)
    assert names(tmp_path) == []


def test_discarding_after_the_end_keeps_the_files(tmp_path: Path) -> None:
    with Outputs() as out:
        out.text(tmp_path / "a.txt", "kept")
    out.discard()
    assert names(tmp_path) == ["a.txt"]


# -- what cannot be written -------------------------------------------------------------------------------------------


@contextmanager
def small_disk() -> Iterator[None]:
    """Files of at most 20,000 bytes, as on a disk that is nearly full: around a write alone, since the limit holds for
    the log of the tests too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_full_disk_is_reported_and_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    noise = torch.rand(32, 32, 32, generator=torch.Generator().manual_seed(0))
    with (
        pytest.raises(OutputUnwritable, match=rf"^chi{suffix} could not be written in full; see whether the disk is f"),
        small_disk(),
        Outputs() as out,
    ):
        out.volume(tmp_path / f"chi{suffix}", noise, Grid((32, 32, 32)))
    assert names(tmp_path) == []


def test_failed_write_is_left_out_when_its_error_is_caught(tmp_path: Path) -> None:
    with small_disk(), Outputs() as out:
        with pytest.raises(OutputUnwritable, match=r"^big\.txt cannot be written \(File too large\)"):
            out.text(tmp_path / "big.txt", "x" * 30_000)
        out.text(tmp_path / "small.txt", "x")
    assert names(tmp_path) == ["small.txt"]


def test_destination_that_became_a_folder_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match=r"^a\.txt cannot be written"), Outputs() as out:
        out.text(tmp_path / "a.txt", "x")
        (tmp_path / "a.txt").mkdir()
    assert names(tmp_path) == ["a.txt"]


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(OutputUnwritable, match=r"chi\.nii is named for two results"), Outputs() as out:
        out.volume(tmp_path / "chi.nii", chi(), GRID)
        out.volume(tmp_path / "b" / ".." / "chi.nii", chi(), GRID)
    assert names(tmp_path) == ["b"]


def test_missing_folder_is_refused_by_file_name(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable) as caught:
        check_writable(tmp_path / "none" / "chi.nii.gz")
    assert str(caught.value) == "chi.nii.gz cannot be written: its folder does not exist; create it first."


def test_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputUnwritable, match=r"^chi\.nii\.gz cannot be written: its parent is a file; choose a fol"):
        check_writable(tmp_path / "file" / "chi.nii.gz")


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chi.nii").mkdir()
    with pytest.raises(OutputUnwritable, match=r"chi\.nii is a folder; give the name of a file"):
        check_writable(tmp_path / "chi.nii")


def test_unwritable_folder_is_refused() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc")
    with pytest.raises(OutputUnwritable, match=r"^chi\.nii cannot be written \(.*\); choose another place for it"):
        check_writable("/proc/chi.nii")


def test_too_long_name_is_refused_early(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match=r"\.nii cannot be written \(File name too long\)"):
        check_writable(tmp_path / ("x" * 300 + ".nii"))


@pytest.mark.parametrize("name", ["chi", "chi.tif", "chi.gz", "chi.nii.zip"])
def test_unknown_suffix_is_refused_with_known_ones_listed(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OutputUnwritable, match=rf"^{name} has no known suffix; expected one of \.nii\.gz, \.nii, \.nrr"
    ):
        check_writable(tmp_path / name)


@pytest.mark.parametrize("name", ["chi.mhd", "chi.nhdr", "chi.hdr", "chi.img"])
def test_formats_of_two_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputUnwritable, match=rf"^{name} would become two files, a header and its data; expected"):
        check_writable(tmp_path / name)


def test_checking_leaves_no_file(tmp_path: Path) -> None:
    check_writable(tmp_path / "chi.nii.gz")
    assert names(tmp_path) == []


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_keeps_order_and_unicode(tmp_path: Path) -> None:
    with Outputs() as out:
        out.json(tmp_path / "a.json", {"z": [1, None], "a": "χ"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "z": [\n    1,\n    null\n  ],\n  "a": "χ"\n}\n'
    assert list(json.loads(text)) == ["z", "a"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_numbers_that_are_not_finite(tmp_path: Path, number: float) -> None:
    with pytest.raises(OutputUnwritable, match=r"a\.json would hold NaN or infinity"), Outputs() as out:
        out.json(tmp_path / "a.json", {"x": [number]})
    assert names(tmp_path) == []


def test_json_needs_its_suffix(tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match=r"a\.txt has no known suffix; expected one of \.json"):
        Outputs().json(tmp_path / "a.txt", {})
