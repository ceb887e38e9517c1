"""What is missing before Apply can be pressed, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from IR2QSMLib.field.scaling import KNOWN_RANGES, UNWRAPPED, detect_scaling

METHODS = {
    "tkd": {"options": {"threshold": {}, "weights": {}}},
    "medi": {"needs": ["magnitude", "b0"], "volumes": ["magnitude"]},
}


@pytest.fixture
def choice(panel: Any, sample: Any) -> Callable[..., Any]:
    """A choice of the sample that is ready, with other settings or answers."""
    from IR2QSMGui.panel.readiness import Choice
    from IR2QSMGui.run.information import LibraryInformation

    information = LibraryInformation()
    information.answer = {"methods": METHODS, "echo_time_range_s": [2e-5, 0.25], "tiles": [256, 64]}
    settings: dict[str, Any] = {name: getattr(panel._parameters, name) for name in panel._parameters.allParameters}
    settings |= {"field": sample[0], "mask": sample[1], "methods": "tkd"}
    answer = {"kind": "local field", "unit": "ppm", "range": [-0.1, 0.1], "problems": []}

    def make(field_answer: Any = answer, field_awaited: bool = False, **changes: Any) -> Any:
        parameters: Any = SimpleNamespace(**{**settings, **changes})
        phases = (parameters.field,)
        return Choice(parameters, phases, (), field_answer, information, field_awaited)

    return make


def test_a_complete_choice_is_ready(choice: Callable[..., Any]) -> None:
    from IR2QSMGui.panel.readiness import readiness

    state = readiness(choice())
    assert state.ready and state.field.text == "Looks like a local field in ppm (-0.1 to 0.1)."
    assert not any(note.is_problem for note in (state.field, state.scan, state.mask, state.methods, state.settings))


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("field", {"field": None}, "Choose the phase of an echo, or a field."),
        ("mask", {"mask": None}, "Choose the mask: a segmentation, a labelmap or a volume."),
        ("methods", {"methods": ""}, "Tick at least one method."),
        ("methods", {"methods": "medi"}, "Needed for medi: B0, the magnitude image."),
        ("settings", {"b0Direction": "0 0"}, "The B0 direction is '0 0'; enter three numbers"),
        ("settings", {"weights": "/none/mine.safetensors"}, "The weights 'mine.safetensors' are not there any more"),
        ("field", {"field_answer": {"kind": "empty", "unit": None, "range": [0, 0], "problems": []}}, "This volume is"),
    ],
)
def test_what_is_missing_is_said_in_its_place(
    choice: Callable[..., Any], part: str, changes: dict[str, Any], sentence: str
) -> None:
    from IR2QSMGui.panel.readiness import readiness

    state = readiness(choice(**changes))
    assert not state.ready and getattr(state, part).text.startswith(sentence)


def test_an_awaited_answer_is_waited_for(choice: Callable[..., Any]) -> None:
    from IR2QSMGui.panel.readiness import readiness

    state = readiness(choice(field_answer=None, field_awaited=True))
    assert not state.ready and state.field.text == "Looking at the field…"


def read_by_the_library(numbers: str) -> dict[str, Any]:
    """How `ir2qsm inspect` says that numbers become radians."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(-1.0, 1.0, (8, 8, 8))
    stored = {
        "±π": np.pi * phase,
        "degrees": 180.0 * phase,
        "small": 0.0037 * phase,
        "filtered": 2.0 * np.pi * rng.triangular(-0.5, 0.1, 0.4, (8, 8, 8)) ** 3,
    }
    return asdict(detect_scaling(torch.from_numpy(stored[numbers])))


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ("±π", "Its numbers are radians, ±π."),
        ("degrees", "Its numbers are degrees, ±180."),
        (
            "small",
            "Its unit is not known, so its lowest number was taken for −π and its highest for π. If that is wrong, "
            "enter the phase range.",
        ),
        ("filtered", "Its numbers were taken for radians, less than 2π. If that is wrong, enter the phase range."),
    ],
)
def test_the_numbers_of_a_phase_are_explained_in_plain_words(
    choice: Callable[..., Any], numbers: str, sentence: str
) -> None:
    from IR2QSMGui.panel.readiness import readiness
    from IR2QSMGui.parameters import Input

    scaling = read_by_the_library(numbers)
    answer = {"kind": "wrapped phase", "unit": None, "range": [-1, 1], "problems": [], "phase_scaling": scaling}
    state = readiness(choice(field_answer=answer, input=Input.PHASE))
    assert state.field.text == f"Looks like a wrapped phase (-1 to 1). {sentence}"


def test_every_scaling_of_the_library_has_a_name_on_the_panel(choice: Callable[..., Any]) -> None:
    from IR2QSMGui.panel import readiness

    source = Path(readiness.__file__).read_text(encoding="utf-8")
    names = [known.scaling.name for known in KNOWN_RANGES]
    assert len(names) == 8 and all(f'_("{name}")' in source for name in (*names, UNWRAPPED))


def test_intermediates_are_kept_once(choice: Callable[..., Any]) -> None:
    from IR2QSMGui.parameters import Input

    options = choice(input=Input.TOTAL, keep=True, methods="tkd medi", b0=3.0).options()
    assert [one.keep for one in options] == [True, False]
