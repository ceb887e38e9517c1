"""What is missing before Apply can be pressed, as data: no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import INPUT_OF_KIND, Background, Input, InputProblem, Parameters, Reference
from IR2QSMGui.run.options import Options, range_in, times_in
from IR2QSMGui.scene import masks
from IR2QSMGui.scene.scan import Scan
from IR2QSMGui.scene.validation import problems_of

if TYPE_CHECKING:
    from IR2QSMGui.run.information import LibraryInformation

BRAIN_EXTRACTION = {"HDBrainExtractionTool": "HD Brain Extraction Tool", "SwissSkullStripper": "Swiss Skull Stripper"}
"""Modules of extensions that make a brain mask from a magnitude image, by their names in Slicer."""


@dataclass(frozen=True)
class Choice:
    """What the person has chosen, and what the library has answered so far."""

    parameters: Parameters
    phases: tuple[Any, ...]
    """Volumes of the phases, or the field alone."""
    magnitudes: tuple[Any, ...]
    """Volumes of the magnitudes of phase."""
    field_answer: dict[str, Any] | None
    """What the field was recognised as, None while that is not known."""
    information: LibraryInformation
    """What the library says of its methods."""
    field_awaited: bool = False
    """Whether the answer about the field is awaited."""

    @property
    def methods(self) -> list[str]:
        """Names of the methods that are ticked."""
        return self.parameters.methods.split()

    def options(self) -> list[Options]:
        """One for each method that is ticked; the intermediates, which are the same for all, are kept once.

        Raises
        ------
        InputProblem
            For values that cannot be used.
        """
        options = [Options.of(self.parameters, name, self.information, self.magnitudes) for name in self.methods]
        return [replace(one, keep=one.keep and n == 0) for n, one in enumerate(options)]


@dataclass(frozen=True)
class Note:
    """A sentence beside a control, empty where there is nothing to say."""

    text: str = ""
    is_problem: bool = False


@dataclass(frozen=True)
class Readiness:
    """What to say about each part of a choice, and whether it can be reconstructed."""

    field: Note
    scan: Note
    mask: Note
    methods: Note
    settings: Note
    """About the output and the settings under Advanced."""
    ready: bool


def readiness(choice: Choice) -> Readiness:
    """What is missing in a choice or wrong with it."""
    parameters = choice.parameters
    field_problem, mask_problem = problems_of(parameters.field, parameters.mask, parameters.maskPart, parameters.input)
    waiting = not field_problem and (choice.field_awaited or choice.information.waiting)
    kind_problem = "" if field_problem else _problem_of_kind(choice)
    field = Note(
        field_problem or kind_problem or _field_sentence(choice),
        bool(parameters.field and (field_problem or kind_problem or _looks_like_another_input(choice))),
    )
    scan = _scan_note(choice)
    mask = Note(mask_problem or _mask_sentence(choice), bool(parameters.mask and mask_problem))
    methods_problem = _problem_of_methods(choice) or choice.information.error
    settings_problem = _problem_of_settings(choice)
    problems = (field_problem, kind_problem, mask_problem, methods_problem, settings_problem)
    return Readiness(
        field=field,
        scan=scan,
        mask=mask,
        methods=Note(methods_problem, bool(methods_problem)),
        settings=Note(settings_problem, bool(settings_problem)),
        ready=not (any(problems) or scan.is_problem or waiting),
    )


def _field_sentence(choice: Choice) -> str:
    """What the field was recognised as."""
    answer = choice.field_answer
    if choice.parameters.field is not None and choice.field_awaited and answer is None:
        return _("Looking at the field…")
    if answer is None:
        return ""
    kinds = {
        "wrapped phase": _("wrapped phase"),
        "local field": _("local field"),
        "total field": _("total field"),
        "magnitude": _("magnitude"),
        "susceptibility map": _("susceptibility map"),
    }
    units = {"ppm": "ppm", "hz": "Hz", "rad": "rad", "scanner units": _("scanner units")}
    kind, unit = kinds.get(answer["kind"], answer["kind"]), units.get(answer["unit"])
    what = kind if unit is None else _("{kind} in {unit}").format(kind=kind, unit=unit)
    low, high = (f"{value:.3g}" for value in answer["range"])
    if answer.get("made_here"):
        return _("A {what} that was made here ({low} to {high}).").format(what=what, low=low, high=high)
    sentence = _("Looks like a {what} ({low} to {high}).").format(what=what, low=low, high=high)
    scaling = [_scaling_sentence(answer["phase_scaling"])] if answer.get("phase_scaling") else []
    return " ".join([sentence, *scaling, *answer["problems"]])


def _scaling_sentence(scaling: dict[str, Any]) -> str:
    """How the numbers of a phase become radians: "name", "needs_confirmation" and "unit_is_known" of the library."""
    names = {
        "radians, ±π": _("radians, ±π"),
        "radians, 0 to 2π": _("radians, 0 to 2π"),
        "radians, less than 2π": _("radians, less than 2π"),
        "radians, beyond ±π": _("radians, beyond ±π"),
        "radians, unwrapped already": _("radians, unwrapped already"),
        "12 bits, 0 to 4095": _("12 bits, 0 to 4095"),
        "12 bits, −2048 to 2047": _("12 bits, −2048 to 2047"),
        "13 bits, −4096 to 4095": _("13 bits, −4096 to 4095"),
        "thousandths of a radian": _("thousandths of a radian"),
        "degrees, ±180": _("degrees, ±180"),
        "degrees, 0 to 360": _("degrees, 0 to 360"),
    }
    name = names.get(scaling["name"], scaling["name"])
    if not scaling["unit_is_known"]:
        return _(
            "Its unit is not known, so its lowest number was taken for −π and its highest for π. If that is wrong, "
            "enter the phase range."
        )
    if not scaling["needs_confirmation"]:
        return _("Its numbers are {name}.").format(name=name)
    return _("Its numbers were taken for {name}. If that is wrong, enter the phase range.").format(name=name)


def _problem_of_kind(choice: Choice) -> str:
    """Why the field cannot be reconstructed as what it was recognised as."""
    kind = (choice.field_answer or {}).get("kind")
    if kind == "empty":
        return _("This volume is empty.")
    if kind == "susceptibility map":
        return _("This is a susceptibility map; choose phase or a field.")
    if kind == "magnitude" and choice.parameters.input is not Input.PHASE:
        return _("This looks like a magnitude image; phase or a field is needed.")
    return ""


def _looks_like_another_input(choice: Choice) -> bool:
    answer = choice.field_answer
    return answer is not None and INPUT_OF_KIND.get(answer["kind"]) is not choice.parameters.input


def _scan_note(choice: Choice) -> Note:
    """The volumes that belong together, or what is wrong with the scan."""
    parameters = choice.parameters
    if parameters.input is not Input.PHASE or parameters.field is None:
        return Note()
    try:
        times = times_in(parameters.echoTimes, choice.information.echo_time_range) or ()
        range_in(parameters.phaseRange)
        scan = Scan.of(choice.phases, choice.magnitudes, times, parameters.b0 or None)
        problem = scan.problem()
    except InputProblem as error:
        problem = str(error)
    return Note(problem, True) if problem else Note(scan.text())


def _mask_sentence(choice: Choice) -> str:
    """What is done without a mask, or with one on another grid."""
    parameters = choice.parameters
    field, mask = parameters.field, parameters.mask
    if mask is None and parameters.input is Input.PHASE:
        sentence = _("Without a mask, one is made from the magnitude; one of the brain is better.")
        names = [name for name in BRAIN_EXTRACTION if hasattr(slicer.modules, name.lower())]
        links = ", ".join(f'<a href="{name}">{BRAIN_EXTRACTION[name]}</a>' for name in names)
        return f"{sentence} " + _("Make it with: {modules}.").format(modules=links) if names else sentence
    if field is None or mask is None or any(problems_of(field, mask, parameters.maskPart)):
        return ""
    if not masks.on_grid(mask, parameters.maskPart, field):
        return _("The mask lies on another grid; it will be resampled to the field's.")
    return ""


def _problem_of_methods(choice: Choice) -> str:
    """Which inputs the methods that are ticked need and do not have."""
    methods, parameters = choice.methods, choice.parameters
    if not methods:
        return _("Tick at least one method.")
    if parameters.input is Input.PHASE:  # it comes with all that any method needs
        return ""
    inputs = {"magnitude": parameters.magnitude, "b0": parameters.b0, "echo_time": parameters.echoTime}
    names = {"magnitude": _("the magnitude image"), "b0": _("B0"), "echo_time": _("the echo time")}
    missing = [names.get(need, need) for need in sorted(choice.information.needs(methods)) if not inputs.get(need)]
    if not missing:
        return ""
    owners = [name for name in methods if choice.information.needs([name])]
    return _("Needed for {methods}: {what}.").format(methods=", ".join(owners), what=", ".join(missing))


def _problem_of_settings(choice: Choice) -> str:
    """What is wrong with the output or the settings under Advanced."""
    parameters = choice.parameters
    if parameters.chi is not None and len(choice.methods) > 1:
        return _('Several methods make several maps: choose "Create new volume" as output.')
    if parameters.chi is not None and parameters.chi in (*choice.phases, *choice.magnitudes, parameters.mask):
        return _("The map would replace its own input; choose another output volume.")
    if parameters.input is Input.TOTAL and parameters.background is Background.PDF:
        return _("PDF needs the noise of the field, which comes with phase only; choose another removal.")
    try:
        choice.options()
    except InputProblem as problem:
        return str(problem)
    if parameters.reference is Reference.REGION:
        return problems_of(parameters.field, parameters.region, parameters.regionPart)[1]
    return ""
