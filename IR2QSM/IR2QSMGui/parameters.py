"""What the panel asks for, saved with the scene."""

from enum import Enum
from typing import Annotated

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class InputProblem(ValueError):
    """What is wrong with an input, in words for the person who chose it."""


class Input(Enum):
    """What is given: where the work begins."""

    LOCAL = "local-field"
    TOTAL = "total-field"
    PHASE = "phase"

    def label(self):
        """The name on the panel."""
        names = {"local-field": _("Local field"), "total-field": _("Total field"), "phase": _("Wrapped phase")}
        return names[self.value]


class Background(Enum):
    """Ways to remove the background field."""

    VSHARP = "v-sharp"
    PDF = "pdf"
    LBV = "lbv"

    def label(self):
        """The name on the panel."""
        return {"v-sharp": "V-SHARP", "pdf": "PDF", "lbv": "LBV"}[self.value]


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

    input: Input = Input.LOCAL
    field: vtkMRMLScalarVolumeNode  # of phase: the first echo; the others are references
    echoTimes: str  # [ms], of phase; empty: from the volumes
    flipSign: bool
    bipolar: bool
    phaseRange: str  # numbers for −π and π; empty: judged from the volume
    background: Background = Background.VSHARP
    keep: bool
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
