"""The brain template: its maps, where MNI's origin lies in them, and what a missing package says."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch

from IR2QSMLib.core.errors import PackageMissing
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.brain import draw_brain
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.template import Template, cropped_template, padded_template


def test_drawing_a_brain_leaves_the_template_unchanged() -> None:
    before = cropped_template("cpu").maps.clone()
    draw_brain(RandomSource(1), Grid((32, 32, 32), (4.0, 4.0, 4.0)))
    assert torch.equal(cropped_template("cpu").maps, before)


@pytest.mark.parametrize("template", [lambda: cropped_template("cpu"), padded_template], ids=["cropped", "padded"])
def test_depth_and_tissues_are_those_of_a_brain(template: Callable[[], Template]) -> None:
    (grey, white, _, depth), origin = template()
    x, y, z = origin.round().long().tolist()
    deep_white_matter = (x + 25, y - 20, z + 25)
    assert float(depth.max()) > 30.0 and float(depth[deep_white_matter]) > 10.0 and float(depth[0, 0, 0]) < 0.0
    assert float(white[deep_white_matter]) > 0.8 > 0.2 > float(grey[deep_white_matter])


def test_both_templates_agree_in_the_brain() -> None:
    (cropped, a), (padded, b) = cropped_template("cpu"), padded_template()
    start = (b - a).round().long().tolist()
    box = tuple(slice(s, s + n) for s, n in zip(start, cropped.shape[1:], strict=True))
    inside = cropped[3] > 0.0
    assert torch.equal(cropped[:, inside], padded[(slice(None), *box)][:, inside])


@pytest.mark.parametrize("load", [lambda: cropped_template.__wrapped__("cpu"), padded_template.__wrapped__])
def test_a_missing_nilearn_is_named(load: Callable[[], Template], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(PackageMissing, match=r"Simulated brains need nilearn; install it with: pip install 'ir2qsm\["):
        load()
