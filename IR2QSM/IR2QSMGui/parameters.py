"""What the panel asks for: saved with the scene, and turned into the words of the command line."""

import math
import os
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import slicer
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

TILES = (64, 96, 128, 160, 192, 256)
"""Edges of tiles [voxels] that the library knows."""


class InputProblem(ValueError):
    """What is wrong with an input, in words for the person who chose it."""


class Unit(Enum):
    """Unit of a local field."""

    PPM = "ppm"
    HZ = "hz"
    RAD = "rad"

    def label(self):
        """The name on the panel."""
        return {"ppm": "ppm", "hz": "Hz", "rad": "rad"}[self.value]


class Reference(Enum):
    """Where χ is zero."""

    MEAN = "mean"
    NONE = "none"
    REGION = "region"

    def label(self):
        """The name on the panel."""
        return {"mean": _("Mean of the mask"), "none": _("None (as inverted)"), "region": _("A region")}[self.value]


class Tile(Enum):
    """Whether the network sees the volume in tiles."""

    AUTO = 0
    T256 = 256
    T192 = 192
    T160 = 160
    T128 = 128
    T96 = 96
    T64 = 64

    def label(self):
        """The name on the panel."""
        return _("Automatic") if self.value == 0 else _("{n} voxels").format(n=self.value)


class Window(Enum):
    """Grey-value windows in use for susceptibility [ppm]."""

    NARROW = (-0.1, 0.1)
    UP = (-0.1, 0.2)
    WIDE = (-0.2, 0.2)

    def label(self):
        """The name on the panel."""
        low, high = self.value
        return _("{low} to {high} ppm").format(low=f"{low:g}".replace("-", "−"), high=f"{high:g}")


class Colours(Enum):
    """How χ is coloured."""

    GREY = "grey"
    DIVERGING = "diverging"

    def label(self):
        """The name on the panel."""
        return {"grey": _("Grey"), "diverging": _("Blue to red, zero white")}[self.value]


@parameterNodeWrapper
class Parameters:
    """The panel's state; nodes are references, the rest are values."""

    field: vtkMRMLScalarVolumeNode
    unit: Unit = Unit.PPM
    b0: Annotated[float, WithinRange(0.0, 25.0)] = 0.0  # [T]; 0: not given
    echoTime: Annotated[float, WithinRange(0.0, 100.0)] = 0.0  # [ms]; 0: not given
    mask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | vtkMRMLScalarVolumeNode | None
    maskPart: str
    chi: vtkMRMLScalarVolumeNode
    uncertainty: bool = True
    methods: str = "ir2qsm"  # names, with spaces between them
    automatic: bool
    magnitude: vtkMRMLScalarVolumeNode
    difference: bool
    baseMap: vtkMRMLScalarVolumeNode
    otherMap: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    zeroSegment: str
    window: Window = Window.NARROW
    colours: Colours = Colours.GREY
    legend: bool = True
    b0Direction: str
    device: str = "auto"
    weights: str
    tile: Tile = Tile.AUTO
    consistency: bool = True
    reference: Reference = Reference.MEAN
    region: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | vtkMRMLScalarVolumeNode | None
    regionPart: str
    judged: str  # ID of the field whose unit was detected


@dataclass(frozen=True)
class Options:
    """How to reconstruct; raises InputProblem, with the sentence to show, for values that cannot be."""

    unit: str = "ppm"
    b0: float | None = None
    """Field strength [T], for a field in hz or rad."""
    echo_time: float | None = None
    """Echo time [s], for a field in rad."""
    mask_part: str = ""
    """A segment's ID or a label; empty for all of the mask."""
    b0_direction: tuple[float, float, float] | None = None
    """In voxel axes; from the volume's geometry when None."""
    uncertainty: bool = False
    method: str = "ir2qsm"
    strength: float | str | None = None
    """Of the regularisation, for methods that have one: a number, "auto", or the method's own when None."""
    magnitude: slicer.vtkMRMLScalarVolumeNode | None = None
    """For methods that use it, on the field's grid."""
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

    def words(self):
        """The options of `ir2qsm reconstruct`, without files."""
        words = ["--units", self.unit, "--device", self.device, "--method", self.method]
        if self.b0:
            words += ["--b0", repr(self.b0)]
        if self.echo_time:
            words += ["--te", repr(self.echo_time)]
        if self.strength is not None:
            words += ["--strength", str(self.strength)]
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
    def of(cls, parameters, method, about):
        """The options that the panel shows, as far as a method takes them; `about` is what the library says of it."""
        reference, takes, needs = parameters.reference.value, about.get("options", ()), about.get("needs", ())
        of_method = {
            "uncertainty": parameters.uncertainty, "weights": parameters.weights, "tile": parameters.tile.value or None,
            "consistency": parameters.consistency, "magnitude": parameters.magnitude,
            "strength": "auto" if parameters.automatic else None,
        }  # fmt: skip
        unit = parameters.unit
        return cls(
            unit=unit.value, method=method,
            b0=(parameters.b0 or None) if unit is not Unit.PPM or "b0" in needs else None,
            echo_time=(parameters.echoTime / 1000 or None) if unit is Unit.RAD or "echo_time" in needs else None,
            mask_part=parameters.maskPart, b0_direction=direction_of(parameters.b0Direction), device=parameters.device,
            reference=(parameters.region or "region") if reference == "region" else reference,
            reference_part=parameters.regionPart, **{k: v for k, v in of_method.items() if k in takes},
        )  # fmt: skip


def direction_of(text):
    """Three numbers from what was typed, or None for nothing; raises InputProblem for anything else."""
    if not text.strip():
        return None
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").replace(";", " ").split())
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(math.isfinite(x) for x in numbers) or not any(numbers):
        raise InputProblem(
            _("The B0 direction is '{text}'; enter three numbers in voxel axes such as 0 0 1, or nothing.").format(
                text=text.strip()
            )
        )
    return numbers
