"""Names of any bytes work or are refused in one sentence; SimpleITK alone would end the process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import FileUnreadable, IR2QSMError, OutOfMemory, OutputUnwritable, is_out_of_memory
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io import outputs as module
from IR2QSMLib.io.images import has_orientation, is_in_template_space, itk_path, read_image
from IR2QSMLib.io.outputs import Outputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
GRID = Grid((8, 9, 10))


@pytest.fixture(params=[b"M\xfcller", b"\xff\xfe", b"\xed\xa0\x80"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + request.param))
    path.mkdir()
    return path


def test_names_that_are_not_utf8_are_refused_in_one_printable_sentence(folder: Path) -> None:
    file = folder / "a.nii"
    file.write_bytes(bytes(352))
    for read in (read_image, has_orientation, is_in_template_space, itk_path):
        with pytest.raises(FileUnreadable, match="not UTF-8; rename") as caught:
            read(file)
        assert str(caught.value).isascii()
    with pytest.raises(OutputUnwritable, match="not UTF-8"), Outputs() as files:
        files.volume(folder / "chi.nii", torch.zeros(GRID.shape), GRID)
    assert [f.name for f in folder.iterdir()] == ["a.nii"]


@pytest.mark.parametrize("name", ["Müller χ", "a\nb", " a'\"b ", "患者"])
def test_other_names_are_written_and_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / f"{name}.nii.gz"
    path.parent.mkdir()
    with Outputs() as files:
        files.volume(path, torch.zeros(GRID.shape), GRID)
    assert read_image(path).GetSize() == GRID.shape


def test_json_that_names_such_files_is_valid(tmp_path: Path) -> None:
    with Outputs() as files:
        files.json(tmp_path / "a.json", {"file": os.fsdecode(b"M\xfcller.nii")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["file"] == "M\udcfcller.nii"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (OSError(28, "No space left on device"), OutputUnwritable),
        (PermissionError(13, "Permission denied"), OutputUnwritable),
        (OSError(5, "Input/output error"), OutputUnwritable),
        (MemoryError(), OutOfMemory),
        (RuntimeError("std::bad_alloc"), OutOfMemory),
    ],
)
@pytest.mark.parametrize("when", ["write", "rename"])
def test_a_fault_while_writing_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, expected: type[IR2QSMError], when: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    if when == "write":
        monkeypatch.setattr(module, "_write_bytes", fail)
    elif isinstance(fault, OSError):
        monkeypatch.setattr(module.os, "replace", fail)
    else:
        pytest.skip("renaming takes no memory")
    with pytest.raises(expected), Outputs() as files:
        files.text(tmp_path / "a.txt", "half")
    assert list(tmp_path.iterdir()) == []


def test_memory_that_ran_out_is_recognised_behind_other_errors() -> None:
    behind = ValueError("x")
    behind.__cause__ = MemoryError()
    for error in (
        behind,
        RuntimeError("std::bad_alloc"),
        ImportError("x.so: failed to map segment from shared object"),
    ):
        assert is_out_of_memory(error)
    assert not is_out_of_memory(FileUnreadable("out of memory.nii does not exist"))
    assert "alloc" not in str(OutOfMemory())
