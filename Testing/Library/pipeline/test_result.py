"""The JSON beside a map, and the files of a result."""

from __future__ import annotations

import getpass
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import IR2QSMLib
from IR2QSMLib.core.errors import OutputUnwritable, ParameterInvalid
from IR2QSMLib.inversion.learned import method as learned
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.weights import read_weights
from IR2QSMLib.pipeline.reconstruct import reconstruct
from IR2QSMLib.pipeline.result import Result, sidecar_path
from Testing.Library.pipeline.scan_files import Reconstruct


def test_the_sidecar_is_complete_and_says_nothing_of_the_machine(
    whole_volume: Result, case: Any, tmp_path: Path
) -> None:
    sidecar = whole_volume.save(tmp_path / "chi.nii.gz", mask=tmp_path / "valid.nii.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chi.json", "chi.nii.gz", "valid.nii.gz"]
    text = sidecar.read_text(encoding="utf-8")
    record = json.loads(text)
    assert record == whole_volume.provenance
    bundled = read_weights(learned.bundled())
    assert record["Units"] == "ppm"
    assert record["Method"]["name"] == "ir2qsm"
    assert record["Method"]["weights"] == bundled.name and record["Method"]["weights_sha256"] == bundled.sha256
    assert set(record["Method"]["parameters"]) == {
        "weights",
        "regularisation_factor",
        "network_only",
        "tile",
        "resampled",
        "use_whole_brain_map",
        "calibrated",
    }
    assert record["Inputs"] == {
        "field": "field.nii.gz",
        "mask": "mask.nii.gz",
        "unit": "ppm",
        "b0_t": None,
        "echo_time_s": None,
        "stated_by": {"unit": "default", "b0": "default", "echo_time": "default"},
    }
    assert record["Grid"]["shape"] == [35, 42, 33]
    assert record["Software"]["version"] == IR2QSMLib.__version__
    assert set(record["Versions"]) == {"python", "torch", "numpy"}
    assert record["Seconds"]["inversion"] > 0
    without_citation = text.replace(record["Method"]["citation"], "")
    assert not re.search(r"[/\\]", without_citation)
    assert getpass.getuser() not in without_citation
    assert os.uname().nodename not in without_citation
    assert torch.equal(read_volume(tmp_path / "chi.nii.gz")[0], whole_volume.chi)


def test_weights_are_named_without_their_folder(case: Any, make_weights: Any) -> None:
    path = make_weights()
    record = reconstruct(case.field, case.mask, method=Learned(path)).provenance["Method"]
    assert record["weights"] == record["parameters"]["weights"] == path.name
    assert str(path.parent) not in json.dumps(record)


def test_saving_an_uncertainty_that_does_not_exist_writes_nothing(
    reconstruct_case: Reconstruct, tmp_path: Path
) -> None:
    with pytest.raises(ParameterInvalid, match="method 'tkd' gave no uncertainty"):
        reconstruct_case().save(tmp_path / "chi.nii.gz", uncertainty=tmp_path / "sigma.nii.gz")
    with pytest.raises(OutputUnwritable):
        reconstruct_case().save(tmp_path / "none" / "chi.nii.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [("chi.nii.gz", "chi.json"), ("chi.nrrd", "chi.json"), ("a.b.nii.gz", "a.b.json"), ("a.b.mha", "a.b.json")],
)
def test_the_sidecar_lies_beside_its_image(image: str, sidecar: str) -> None:
    assert sidecar_path(Path("x") / image) == Path("x") / sidecar
