"""Unit, B0 and echo time of a field: the user's, else those of the JSON beside the file, else ppm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.core.errors import IR2QSMError, ParameterInvalid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.pipeline.inputs import LoadedField, load_inputs
from IR2QSMLib.pipeline.metadata import FieldMetadata


def load(case: Any, path: Path, header: dict[str, Any], **metadata: Any) -> LoadedField:
    """The field of `path` with that JSON beside it."""
    path.with_name("field.json").write_text(json.dumps(header), encoding="utf-8")
    return load_inputs(path, case.mask, metadata=FieldMetadata(**metadata))


@pytest.fixture
def field_in_hz(case: Any, write_volume: Any, tmp_path: Path) -> Path:
    path: Path = write_volume(tmp_path / "field.nii.gz", hz_per_ppm(3.0) * case.local.values, case.local.grid)
    return path


def test_the_json_beside_a_field_gives_its_unit_and_b0(case: Any, field_in_hz: Path) -> None:
    loaded = load(case, field_in_hz, {"Units": "Hz", "MagneticFieldStrength": 3})
    assert torch.allclose(loaded.local.values, case.local.values, atol=1e-6)
    assert loaded.provenance["unit"] == "hz" and loaded.provenance["b0_t"] == 3.0
    assert loaded.provenance["stated_by"] == {"unit": "JSON", "b0": "JSON", "echo_time": "default"}
    assert not [warning for warning in loaded.warnings if "JSON" in warning]


def test_the_user_is_believed_where_the_json_differs_and_a_warning_says_so(case: Any, field_in_hz: Path) -> None:
    header = {"Units": "ppm", "MagneticFieldStrength": 7, "EchoTime": 0.02}
    loaded = load(case, field_in_hz, header, unit="hz", b0=3.0, echo_time=0.02)
    assert torch.allclose(loaded.local.values, case.local.values, atol=1e-6)
    assert set(loaded.provenance["stated_by"].values()) == {"user"}
    unit, b0 = (warning for warning in loaded.warnings if "JSON" in warning)
    assert "the unit is ppm; hz was said and is used" in unit and "B0 [T] is 7.0; 3.0 was said" in b0


def test_a_unit_of_no_field_in_the_json_is_refused_unless_the_user_says_another(case: Any, field_in_hz: Path) -> None:
    with pytest.raises(ParameterInvalid, match="says Units 'arbitrary', which is no unit of a field") as refused:
        load(case, field_in_hz, {"Units": "arbitrary"})
    assert refused.value.option == "units"
    assert load(case, field_in_hz, {"Units": "arbitrary"}, unit="hz", b0=3.0).provenance["unit"] == "hz"


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"field": "none.nii"}, "field"),
        ({"mask": "none.nii"}, "mask"),
        ({"mask": None}, "mask"),
        ({"magnitude": "none.nii"}, "magnitude"),
        ({"unit": "rad", "b0": 3.0}, "te"),
        ({"unit": "hz"}, "b0"),
        ({"unit": "gauss"}, "units"),
        ({"mask_labels": [4]}, "mask_labels"),
        ({"non_finite": "drop"}, "non_finite"),
        ({"b0_direction": (0.0, 0.0, 0.0)}, "b0_direction"),
    ],
)
def test_errors_name_the_option_to_change(case: Any, tmp_path: Path, changes: dict[str, Any], option: str) -> None:
    changes = {k: tmp_path / v if isinstance(v, str) and v.endswith(".nii") else v for k, v in changes.items()}
    files = {"field": case.field, "mask": case.mask}
    files |= {name: changes.pop(name) for name in ("field", "mask") if name in changes}
    with pytest.raises(IR2QSMError) as refused:
        load_inputs(**files, metadata=FieldMetadata(**changes))
    assert refused.value.option == option
