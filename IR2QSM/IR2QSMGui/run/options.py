"""How to reconstruct: checked, and as arguments of the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Background, Input, InputProblem, Parameters, Unit
from IR2QSMGui.run import server

if TYPE_CHECKING:
    from IR2QSMGui.run.information import LibraryInformation


@dataclass(frozen=True)
class Options:
    """How to reconstruct; raises InputProblem, with the sentence to show, for values that cannot be used."""

    input: str = "auto"
    """"phase", "total-field" or "local-field"; "auto": phase if it looks so, else a local field."""
    unit: str = "ppm"
    """Unit of a field: "ppm", "hz" or "rad"."""
    b0: float | None = None
    """Field strength [T], for a field in hz or rad, and for phase of which DICOM does not say it."""
    echo_time: float | tuple[float, ...] | None = None
    """Echo time [s], for a field in rad; for phase one for each echo, where DICOM does not say them."""
    flip_sign: bool = False
    """Invert the sign of a phase or a total field."""
    bipolar: bool = False
    """For phase: even echoes were read out backwards."""
    phase_range: tuple[float, float] | None = None
    """For phase: the numbers that stand for −π and π; recognised by their range when None."""
    accept_filtered: bool = False
    """For phase: use it though it seems high-pass filtered, for its small vessels only."""
    background: str | None = None
    """Removal of the background field, "v-sharp", "pdf" or "lbv"; the library's own when None."""
    keep: bool = False
    """Also bring the intermediates between phase or total field and map into the scene."""
    mask_part: str = ""
    """A segment's ID or a label; empty for all of the mask."""
    b0_direction: tuple[float, float, float] | None = None
    """In voxel axes; from the volume's geometry when None."""
    uncertainty: bool = False
    """Whether to make the map of the standard error of χ."""
    method: str = "ir2qsm"
    regularisation: float | str | None = None
    """Weight of the penalty, for methods that have one: a number, "auto", or the method's own when None."""
    magnitude: slicer.vtkMRMLScalarVolumeNode | tuple[slicer.vtkMRMLScalarVolumeNode, ...] | None = None
    """For methods that use it, on the field's grid; for phase, one for each echo."""
    noise: slicer.vtkMRMLScalarVolumeNode | None = None
    """Standard error of the field, in its unit, on its grid."""
    csf: slicer.vtkMRMLScalarVolumeNode | None = None
    """The ventricles, on the field's grid."""
    device: str = "auto"
    """"server" is the other computer that Slicer's settings name."""
    weights: str = ""
    """A weights file; the bundled one when empty."""
    tile: int | None = None
    """Edge of overlapping blocks [voxels]; the volume in one piece where memory holds it when None."""
    consistency: bool = True
    reference: str | slicer.vtkMRMLNode = "mean"
    """"mean", "none", or a node whose region has zero mean."""
    reference_part: str = ""

    def __post_init__(self) -> None:
        for value, known in (
            (self.input, ("auto", *(i.value for i in Input))),
            (self.background, (None, *(b.value for b in Background))),
        ):
            if value not in known:
                names = ", ".join(filter(None, known))
                raise InputProblem(_("'{value}' is not known; expected {names}.").format(value=value, names=names))
        if self.unit not in [unit.value for unit in Unit]:
            raise InputProblem(_("The unit is '{unit}'; expected ppm, hz or rad.").format(unit=self.unit))
        if self.unit != "ppm" and not self.b0:
            unit = Unit(self.unit).label()
            raise InputProblem(_("A field in {unit} needs the field strength: enter B0 in tesla.").format(unit=unit))
        if self.unit == "rad" and not self.echo_time:
            raise InputProblem(_("A field in rad needs the echo time: enter TE."))
        if self.weights and not os.path.isfile(self.weights):
            raise InputProblem(
                _("The weights '{name}' are not there any more; import them again or choose the bundled ones.").format(
                    name=os.path.basename(self.weights)
                )
            )
        if self.device == server.DEVICE and server.saved().problem():
            raise InputProblem(server.saved().problem())
        if self.b0_direction is not None and not any(self.b0_direction):
            raise InputProblem(_("The B0 direction is zero; enter three numbers in voxel axes, or nothing."))
        if isinstance(self.reference, str) and self.reference not in ("mean", "none"):
            raise InputProblem(_("Choose the region whose mean is zero, or another reference."))

    @property
    def echo_times(self) -> tuple[float, ...]:
        """Echo times [s], none when they come from DICOM."""
        times = self.echo_time if isinstance(self.echo_time, (tuple, list)) else (self.echo_time,)
        return tuple(te for te in times if te)

    @property
    def magnitudes(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """Magnitude volumes, of phase one for each echo."""
        volumes = self.magnitude if isinstance(self.magnitude, (tuple, list)) else (self.magnitude,)
        return tuple(node for node in volumes if node is not None)

    def arguments(self) -> list[str]:
        """The options of `ir2qsm reconstruct`, without files."""
        arguments = ["--input", self.input, "--method", self.method]
        arguments += server.saved().arguments() if self.device == server.DEVICE else ["--device", self.device]
        if self.input != "phase" and (self.input, self.unit) != ("auto", "ppm"):  # phase has no unit
            arguments += ["--units", self.unit]
        if self.b0:
            arguments += ["--b0", repr(self.b0)]
        if self.echo_times:
            arguments += ["--te", *map(repr, self.echo_times)]
        if self.flip_sign:
            arguments += ["--flip-sign"]
        if self.bipolar:
            arguments += ["--bipolar"]
        if self.accept_filtered:
            arguments += ["--accept-filtered"]
        if self.phase_range is not None:
            arguments += ["--phase-range", *(repr(float(x)) for x in self.phase_range)]
        if self.background is not None:
            arguments += ["--background", self.background]
        if self.regularisation is not None:
            arguments += ["--regularisation", str(self.regularisation)]
        if self.b0_direction is not None:
            arguments += ["--b0-direction", *(repr(float(x)) for x in self.b0_direction)]
        if self.weights:
            arguments += ["--weights", self.weights]
        if self.tile is not None:
            arguments += ["--tile", str(self.tile)]
        if not self.consistency:
            arguments.append("--network-only")
        if self.reference == "none":
            arguments += ["--reference", "none"]
        return arguments

    @classmethod
    def of(
        cls,
        parameters: Parameters,
        method: str,
        information: LibraryInformation,
        magnitudes: Sequence[slicer.vtkMRMLScalarVolumeNode] = (),
    ) -> Options:
        """The panel's settings for one method, as far as the method takes them.

        Parameters
        ----------
        parameters
            The panel's settings.
        method
            Its name.
        information
            What the library says of its methods.
        magnitudes
            Those of a phase, which all methods take.

        Raises
        ------
        InputProblem
            For values that cannot be used.
        """
        phase, local = parameters.input is Input.PHASE, parameters.input is Input.LOCAL
        unit = Unit.PPM if phase else parameters.unit
        needs = {"b0"} if phase else information.needs([method])
        of_method: dict[str, Any] = {
            "uncertainty": parameters.uncertainty,
            "weights": parameters.weights,
            "tile": int(parameters.tileSize) if parameters.tileSize else None,
            "consistency": parameters.consistency,
            "magnitude": parameters.magnitude,
            "regularisation": "auto" if parameters.automatic else None,
        }
        library_names = {"consistency": "network_only"}
        taken = {name for name in of_method if information.takes([method], library_names.get(name, name))}
        of_method = {name: value for name, value in of_method.items() if name in taken}
        if phase:
            of_method["magnitude"] = tuple(magnitudes)
        echo_time = (parameters.echoTime / 1000 or None) if unit is Unit.RAD or "echo_time" in needs else None
        reference: Any = parameters.reference.value
        if reference == "region":
            reference = parameters.region or "region"
        return cls(
            input=parameters.input.value,
            unit=unit.value,
            method=method,
            b0=(parameters.b0 or None) if unit is not Unit.PPM or "b0" in needs else None,
            echo_time=times_in(parameters.echoTimes, information.echo_time_range) if phase else echo_time,
            flip_sign=parameters.flipSign and not local,
            keep=parameters.keep and not local,
            bipolar=parameters.bipolar and phase,
            accept_filtered=parameters.acceptFiltered and phase,
            phase_range=range_in(parameters.phaseRange) if phase else None,
            background=None if local else parameters.background.value,
            mask_part=parameters.maskPart,
            b0_direction=direction_in(parameters.b0Direction),
            device=parameters.device,
            reference=reference,
            reference_part=parameters.regionPart,
            **of_method,
        )


def times_in(text: str, limits: tuple[float, float] | None = None) -> tuple[float, ...] | None:
    """Echo times [s] that were typed in ms, or None for nothing.

    Parameters
    ----------
    text
        Numbers between spaces, commas or semicolons.
    limits
        Shortest and longest time that the library accepts [s].

    Raises
    ------
    InputProblem
        For anything else, and for times beyond the limits.
    """
    if not text.strip():
        return None
    low, high = (1000 * te for te in limits) if limits else (0.0, math.inf)
    numbers = _numbers_in(text)
    if not numbers or not all(low <= te <= high and te > 0.0 for te in numbers):
        accepted = _(", from {low} to {high}").format(low=f"{low:g}", high=f"{high:g}") if limits else ""
        raise InputProblem(
            _("The echo times are '{text}'; enter one for each echo in milliseconds{limits}, such as 4 8 12.").format(
                text=text.strip(), limits=accepted
            )
        )
    return tuple(te / 1000 for te in numbers)


def range_in(text: str) -> tuple[float, float] | None:
    """Two rising numbers that were typed, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    numbers = _numbers_in(text)
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise InputProblem(
            _(
                "The phase range is '{text}'; enter the numbers that stand for −π and π, such as 0 4095, or nothing."
            ).format(text=text.strip())
        )
    return numbers[0], numbers[1]


def direction_in(text: str) -> tuple[float, float, float] | None:
    """Three numbers that were typed, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    numbers = _numbers_in(text)
    if len(numbers) != 3 or not any(numbers):
        raise InputProblem(
            _("The B0 direction is '{text}'; enter three numbers in voxel axes such as 0 0 1, or nothing.").format(
                text=text.strip()
            )
        )
    return numbers[0], numbers[1], numbers[2]


def _numbers_in(text: str) -> tuple[float, ...]:
    """The finite numbers in a text, none where anything else is in it."""
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").replace(";", " ").split())
    except ValueError:
        return ()
    return numbers if all(math.isfinite(x) for x in numbers) else ()
