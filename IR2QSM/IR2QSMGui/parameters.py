"""The panel's settings, saved with the scene."""

from enum import Enum
from typing import Annotated, Any

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


class InputProblem(ValueError):
    """An input cannot be used; the message is for the person who chose it."""


class Preset(Enum):
    """Settings that are chosen together."""

    BEST = "best"
    FAST = "fast"
    CUSTOM = "custom"

    def label(self):
        """The name on the panel."""
        return {"best": _("Best (minutes)"), "fast": _("Fast (seconds)"), "custom": _("Custom")}[self.value]


class Input(Enum):
    """Kinds of input."""

    LOCAL = "local-field"
    TOTAL = "total-field"
    PHASE = "phase"

    def label(self):
        """The name on the panel."""
        names = {"local-field": _("Local field"), "total-field": _("Total field"), "phase": _("Wrapped phase")}
        return names[self.value]


INPUT_OF_KIND = {"local field": Input.LOCAL, "total field": Input.TOTAL, "wrapped phase": Input.PHASE}
"""Kinds of input by the library's names for what an image is recognised as."""


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


class Statistic(Enum):
    """What the table of regions shows of each map."""

    MEAN = "mean"
    SD = "sd"
    MEDIAN = "median"
    VOLUME = "volume"

    def label(self):
        """The name on the panel."""
        names = {
            "mean": _("Mean [ppm]"),
            "sd": _("SD [ppm]"),
            "median": _("Median [ppm]"),
            "volume": _("Volume [mm³]"),
        }
        return names[self.value]


class Window(Enum):
    """Windows for susceptibility maps [ppm]."""

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
    """The panel's settings; nodes are references, the rest are values."""

    preset: Preset = Preset.BEST
    input: Input = Input.LOCAL
    field: vtkMRMLScalarVolumeNode  # for phase: the first echo
    echoTimes: str  # [ms], for phase; empty: from DICOM
    flipSign: bool
    bipolar: bool
    phaseRange: str  # numbers that stand for −π and π; empty: recognised
    acceptFiltered: bool
    background: Background = Background.VSHARP
    keep: bool
    unit: Unit = Unit.PPM
    b0: Annotated[float, WithinRange(0.0, 25.0)] = 0.0  # [T]; 0: not entered
    echoTime: Annotated[float, WithinRange(0.0, 100.0)] = 0.0  # [ms]; 0: not entered
    mask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | vtkMRMLScalarVolumeNode | None
    maskPart: str
    chi: vtkMRMLScalarVolumeNode
    uncertainty: bool = True
    methods: str = "ir2qsm"  # names separated by spaces
    automatic: bool
    magnitude: vtkMRMLScalarVolumeNode
    difference: bool
    baseMap: vtkMRMLScalarVolumeNode
    otherMap: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    zeroSegment: str
    statistic: Statistic = Statistic.MEAN
    window: Window = Window.NARROW
    colours: Colours = Colours.GREY
    legend: bool = True
    b0Direction: str
    device: str = "auto"
    weights: str
    tileSize: str  # edge of a tile [voxels]; empty: automatic
    consistency: bool = True
    reference: Reference = Reference.MEAN
    region: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | vtkMRMLScalarVolumeNode | None
    regionPart: str
    recognisedField: str  # ID of the field whose kind and unit were recognised


OLD_NAMES = {
    "judged": ("recognisedField", lambda text: text),
    "tile": ("tileSize", lambda text: text.removeprefix("T") if text != "AUTO" else ""),
}
"""Names of settings in scenes of the version before: the name now, and the value now for a value then."""


def parameters_of(node: Any) -> Parameters:
    """The settings that a parameter node holds, also one of the version before."""
    for old, (name, convert) in OLD_NAMES.items():
        if node.HasParameter(old):
            if not node.GetParameter(name):
                node.SetParameter(name, convert(node.GetParameter(old)))
            node.UnsetParameter(old)
    return Parameters(node)  # type: ignore[call-arg]
