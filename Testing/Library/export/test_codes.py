"""Regions and sides by their names."""

from __future__ import annotations

import pytest

from IR2QSMLib.export.codes import region_code, side_of


@pytest.mark.parametrize(
    ("name", "region", "side"),
    [
        ("Left-Caudate", "Caudate Nucleus", "Left"),
        ("ctx-rh-putamen", "Putamen", "None"),
        ("rh_globus_pallidus", "Globus Pallidus", "Right"),
        ("putamen_L", "Putamen", "Left"),
        ("SubstantiaNigraRight", "Substantia nigra", "Right"),
        ("subthalamic nucleus", "Tissue", "None"),
        ("Thalamus", "Thalamus", "None"),
        ("lateral ventricle", "Brain ventricle", "None"),
        ("Region 3", "Tissue", "None"),
        ("L", "Tissue", "None"),
        ("---", "Tissue", "None"),
    ],
)
def test_a_name_says_region_and_side(name: str, region: str, side: str) -> None:
    code = side_of(name)
    assert region_code(name).meaning == region and str(code and code.meaning) == side
