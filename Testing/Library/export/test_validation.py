"""Objects by the rules of the standard: dciodvfy and dcentvfy find no error, and no warning that is not listed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Testing.Library.export.conftest import SourceFiles, program

PAGE = Path(__file__).resolve().parents[3] / "docs" / "dicom-export.md"


def listed_warnings() -> list[str]:
    """The warnings that the page lists, a code line each, with … for what differs."""
    lines = re.findall(r"^\| `(Warning[^`]*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 5
    return [".*".join(re.escape(part) for part in line.split("…")) for line in lines]


def remarks(command: str, *files: Path) -> list[str]:
    ran = subprocess.run([program(command), *map(str, files)], capture_output=True, text=True)
    lines = (ran.stdout + ran.stderr).splitlines()
    return [line.strip() for line in lines if line.startswith(("Error", "Warning"))]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("siemens", ()),
        ("enhanced", ("--anonymise",)),
        ("philips", ("--kind", "parametric-map")),
        ("enhanced", ("--kind", "parametric-map")),
    ],
)
def test_the_validators_find_nothing_that_is_not_listed(
    kind: str,
    options: tuple[str, ...],
    make_source: Callable[..., SourceFiles],
    ir2qsm: Callable[..., Any],
    tmp_path: Path,
) -> None:
    program("dciodvfy")
    # dcentvfy compares bytes, and the objects are in UTF-8 whatever the source's characters.
    source = make_source(kind, PatientName="Mueller^Jane", StudyDescription="Head")
    sigma = ("--uncertainty", source.sigma_file) if "parametric-map" in options else ()
    regions = ("--segmentation", source.labels_file)
    ran = ir2qsm("export", source.chi_file, "--like", source.folder, "-o", tmp_path / "out", *regions, *options, *sigma)
    assert ran.code == 0, ran.err
    files = sorted((tmp_path / "out").iterdir())
    found = [line for file in files for line in remarks("dciodvfy", file)] + remarks("dcentvfy", *files)
    if "--anonymise" not in options:
        found += remarks("dcentvfy", *files, *source.folder.iterdir())
    known = listed_warnings()
    assert [line for line in found if not any(re.fullmatch(pattern, line) for pattern in known)] == []
