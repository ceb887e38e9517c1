"""The error event names the option to change, whoever notices the mistake: the parser, the pipeline or the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (("--method", "star"), "method"),
        (("--b0", "three"), "b0"),
        (("--method", "tv", "--regularisation", "much"), "regularisation"),
        (("--method", "tv", "--strength", 0), "regularisation"),
        (("--method", "tkd", "--threshold", 0.9), "threshold"),
        (("--tile", 50), "tile"),
        (("--regularisation-factor", -1), "regularisation_factor"),
        (("--threshold", 0.2), "threshold"),
        (("--method", "medi"), "magnitude"),
        (("--method", "tkd", "--units", "hz"), "b0"),
        (("--method", "tkd", "--units", "rad", "--b0", 3), "te"),
        (("--method", "tkd", "--mask-labels", 9), "mask_labels"),
        (("--method", "tkd", "--reference", "none.nii"), "reference"),
        (("--input", "total-field", "--background", "pdf"), "noise"),
        (("--input", "total-field", "--completion-steps", -1), "completion_steps"),
        (("--input", "local-field", "--flip-sign"), "input"),
        (("--device", "tpu"), "device"),
        (("--bogus",), "bogus"),
    ],
)
def test_an_error_of_reconstruct_names_its_option(
    ir2qsm: Callable[..., Any], case: Any, tmp_path: Path, options: tuple[object, ...], option: str
) -> None:
    ran = ir2qsm("reconstruct", case.field, case.mask, "-o", tmp_path / "chi.nii", "--progress", "json", *options)
    error = ran.events()[-1]
    assert (ran.code, error["event"], error["option"]) == (2, "error", option), error["message"]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("reconstruct",), "field"),
        (("reconstruct", "field.nii"), "output"),
        (("inspect", "none.nii"), "image"),
        (("simulate", "-o", "folder", "--seed", -1), "seed"),
        (("paint",), "command"),
    ],
)
def test_an_error_of_any_command_names_its_option(
    ir2qsm: Callable[..., Any], arguments: tuple[object, ...], option: str
) -> None:
    error = ir2qsm(*arguments, "--progress", "json").events()[-1]
    assert (error["event"], error["option"]) == ("error", option), error["message"]
