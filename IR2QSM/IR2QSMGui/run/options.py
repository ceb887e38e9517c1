"""How to reconstruct, checked, and turned into the words of the command line."""

import math
import os
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Background, Input, InputProblem, Unit

TE_RANGE = (0.5, 100.0)
"""Shortest and longest echo time [ms] that the library believes."""
TILES = (64, 96, 128, 160, 192, 256)
"""Edges of tiles [voxels] that the library knows."""


@dataclass(frozen=True)
class Options:
    """How to reconstruct; raises InputProblem, with the sentence to show, for values that cannot be."""

    input: str = "auto"
    """"phase", "total-field" or "local-field"; "auto": phase if it looks so, else a local field."""
    unit: str = "ppm"
    b0: float | None = None
    """Field strength [T], for a field in hz or rad, and for phase whose volumes do not know it."""
    echo_time: float | tuple[float, ...] | None = None
    """Echo time [s], for a field in rad; of phase, one for each echo, where its volumes do not know them."""
    flip_sign: bool = False
    """Turn the sign of a phase or a total field."""
    bipolar: bool = False
    """Of phase: even echoes were read out backwards."""
    phase_range: tuple[float, float] | None = None
    """Of phase: the numbers that stand for −π and π; judged from the range when None."""
    background: str | None = None
    """Removal of the background field, "v-sharp", "pdf" or "lbv"; the library's own when None."""
    keep: bool = False
    """Bring what was on the way from phase or total field into the scene, too."""
    mask_part: str = ""
    """A segment's ID or a label; empty for all of the mask."""
    b0_direction: tuple[float, float, float] | None = None
    """In voxel axes; from the volume's geometry when None."""
    uncertainty: bool = False
    method: str = "ir2qsm"
    regularisation: float | str | None = None
    """Of the regularisation, for methods that have one: a number, "auto", or the method's own when None."""
    magnitude: slicer.vtkMRMLScalarVolumeNode | tuple[slicer.vtkMRMLScalarVolumeNode, ...] | None = None
    """For methods that use it, on the field's grid; of phase, one for each echo."""
    noise: slicer.vtkMRMLScalarVolumeNode | None = None
    """Standard error of the field, in its unit, on its grid."""
    csf: slicer.vtkMRMLScalarVolumeNode | None = None
    """The ventricles, on the field's grid."""
    device: str = "auto"
    weights: str = ""
    """A weights file; the bundled one when empty."""
    tile: int | None = None
    consistency: bool = True
    reference: str | slicer.vtkMRMLNode = "mean"
    """"mean", "none", or a node whose region has zero mean."""
    reference_part: str = ""

    def __post_init__(self):
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
        if self.tile is not None and self.tile not in TILES:
            tiles = ", ".join(map(str, TILES))
            raise InputProblem(_("The tile is {tile} voxels; expected {tiles}.").format(tile=self.tile, tiles=tiles))
        if self.weights and not os.path.isfile(self.weights):
            raise InputProblem(
                _("The weights '{name}' are not there any more; import them again or choose the bundled ones.").format(
                    name=os.path.basename(self.weights)
                )
            )
        if self.b0_direction is not None and not any(self.b0_direction):
            raise InputProblem(_("The B0 direction is zero; enter three numbers in voxel axes, or nothing."))
        if isinstance(self.reference, str) and self.reference not in ("mean", "none"):
            raise InputProblem(_("Choose the region whose mean is zero, or another reference."))

    @property
    def echo_times(self):
        """Those that are given [s], as a tuple."""
        given = self.echo_time if isinstance(self.echo_time, (tuple, list)) else (self.echo_time,)
        return tuple(te for te in given if te)

    @property
    def magnitudes(self):
        """Those that are given, as a tuple."""
        given = self.magnitude if isinstance(self.magnitude, (tuple, list)) else (self.magnitude,)
        return tuple(node for node in given if node is not None)

    def words(self):
        """The options of `ir2qsm reconstruct`, without files."""
        words = ["--input", self.input, "--units", self.unit, "--device", self.device, "--method", self.method]
        if self.b0:
            words += ["--b0", repr(self.b0)]
        if self.echo_times:
            words += ["--te", *map(repr, self.echo_times)]
        if self.flip_sign:
            words += ["--flip-sign"]
        if self.bipolar:
            words += ["--bipolar"]
        if self.phase_range is not None:
            words += ["--phase-range", *(repr(float(x)) for x in self.phase_range)]
        if self.background is not None:
            words += ["--background", self.background]
        if self.regularisation is not None:
            words += ["--regularisation", str(self.regularisation)]
        if self.b0_direction is not None:
            words += ["--b0-direction", *(repr(float(x)) for x in self.b0_direction)]
        if self.weights:
            words += ["--weights", self.weights]
        if self.tile is not None:
            words += ["--tile", str(self.tile)]
        if not self.consistency:
            words += ["--consistency", "0"]
        if self.reference == "none":
            words += ["--reference", "none"]
        return words

    @classmethod
    def of(cls, parameters, method, about, magnitudes=()):
        """The options that the panel shows, as far as a method takes them; `about` is what the library says of it.

        `magnitudes` are those of a phase, which all methods take.
        """
        reference, takes, needs = parameters.reference.value, about.get("options", ()), about.get("needs", ())
        of_method = {
            "uncertainty": parameters.uncertainty,
            "weights": parameters.weights,
            "tile": parameters.tile.value or None,
            "consistency": parameters.consistency,
            "magnitude": parameters.magnitude,
            "regularisation": "auto" if parameters.automatic else None,
        }
        of_method = {k: v for k, v in of_method.items() if k in takes}
        unit, phase, local = parameters.unit, parameters.input is Input.PHASE, parameters.input is Input.LOCAL
        if phase:
            unit, needs = Unit.PPM, ("b0",)
            of_method["magnitude"] = tuple(magnitudes)
        echo_time = (parameters.echoTime / 1000 or None) if unit is Unit.RAD or "echo_time" in needs else None
        return cls(
            input=parameters.input.value,
            unit=unit.value,
            method=method,
            b0=(parameters.b0 or None) if unit is not Unit.PPM or "b0" in needs else None,
            echo_time=times_of(parameters.echoTimes) if phase else echo_time,
            flip_sign=parameters.flipSign and not local,
            keep=parameters.keep and not local,
            bipolar=parameters.bipolar and phase,
            phase_range=range_of(parameters.phaseRange) if phase else None,
            background=None if local else parameters.background.value,
            mask_part=parameters.maskPart,
            b0_direction=direction_of(parameters.b0Direction),
            device=parameters.device,
            reference=(parameters.region or "region") if reference == "region" else reference,
            reference_part=parameters.regionPart,
            **of_method,
        )


def times_of(text):
    """Echo times [s] from what was typed in ms, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    numbers = _numbers(text)
    low, high = TE_RANGE
    if not numbers or not all(low <= te <= high for te in numbers):
        raise InputProblem(
            _(
                "The echo times are '{text}'; enter one for each echo in milliseconds, from {low} to {high}, such as "
                "4 8 12."
            ).format(text=text.strip(), low=f"{low:g}", high=f"{high:g}")
        )
    return tuple(te / 1000 for te in numbers)


def range_of(text):
    """Two rising numbers from what was typed, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    numbers = _numbers(text)
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise InputProblem(
            _(
                "The phase range is '{text}'; enter the numbers that stand for −π and π, such as 0 4095, or nothing."
            ).format(text=text.strip())
        )
    return numbers


def direction_of(text):
    """Three numbers from what was typed, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    numbers = _numbers(text)
    if len(numbers) != 3 or not any(numbers):
        raise InputProblem(
            _("The B0 direction is '{text}'; enter three numbers in voxel axes such as 0 0 1, or nothing.").format(
                text=text.strip()
            )
        )
    return numbers


def _numbers(text):
    """The finite numbers in a text, empty where anything else is in it."""
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").replace(";", " ").split())
    except ValueError:
        return ()
    return numbers if all(math.isfinite(x) for x in numbers) else ()
