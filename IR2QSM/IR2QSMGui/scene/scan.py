"""A multi-echo scan in the scene: its volumes, their DICOM header, and their files for the library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.scene import nodes

TAGS = {
    "EchoTime": "0018,0081",
    "MagneticFieldStrength": "0018,0087",
    "ImagingFrequency": "0018,0084",
    "Manufacturer": "0008,0070",
    "ImageType": "0008,0008",
    "StudyInstanceUID": "0020,000D",
    "SeriesInstanceUID": "0020,000E",
}
"""DICOM tags that are used, by the names of BIDS' sidecars."""
IMAGE_TYPES = {"phase": {"P", "PHASE", "PHASE MAP"}, "magnitude": {"M", "MAGNITUDE", "M_FFE"}}
"""Values of ImageType for each kind of image."""
HARMONIC_ESTIMATED = "IR2QSM.HarmonicPartRecovered"
"""Attribute of a local field whose harmonic part is an estimate, named like the key of the library's sidecar."""
TE_TOLERANCE = 1e-5
"""Difference of the echo times of one echo [s], by rounding in headers."""


def header_of(node: slicer.vtkMRMLVolumeNode) -> dict[str, Any]:
    """A volume's DICOM header by the names of BIDS' sidecars: EchoTime [s], MagneticFieldStrength [T], and so on.

    Empty for a volume that did not come from Slicer's DICOM database. Slicer loads a series that mixes echoes as one
    volume: its header has no echo time, and is "mixed".
    """
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not instances or database is None:
        return {}
    key = *instances[:2], instances[-1]  # slices are sorted by position: of several echoes, the first two differ
    header = _header_cache.get(key)
    if not header:
        texts = {name: str(database.instanceValue(instances[0], tag) or "").strip() for name, tag in TAGS.items()}
        values = {name: _value(name, text) for name, text in texts.items()}
        if len({str(database.instanceValue(uid, TAGS["EchoTime"])) for uid in key}) > 1:
            values |= {"EchoTime": None, "mixed": True}
        header = _header_cache[key] = {name: value for name, value in values.items() if value}
    return header


_header_cache: dict[tuple[str, ...], dict[str, Any]] = {}
"""Headers by the UIDs of the first two and the last slice."""


def image_type_of(node: slicer.vtkMRMLVolumeNode) -> str:
    """ "phase" or "magnitude" as DICOM says, or nothing where it says neither."""
    image_type = {word.strip().upper() for word in header_of(node).get("ImageType", ())}
    return next((kind for kind, words in IMAGE_TYPES.items() if image_type & words), "")


def echoes_of(node: slicer.vtkMRMLVolumeNode) -> tuple:
    """The volumes of the sequence that a node is shown from, or the node itself."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return tuple(sequence.GetNthDataNode(i) for i in range(sequence.GetNumberOfDataNodes()))
    return (node,)


@dataclass(frozen=True)
class Scan:
    """Phase and magnitude of each echo, in the order of the echoes, and what a person entered."""

    phases: tuple
    magnitudes: tuple
    echo_times: tuple = ()
    """[s]; those of DICOM when empty."""
    b0: float | None = None
    """[T]; that of DICOM when None."""

    @classmethod
    def of(
        cls, phases: Iterable, magnitudes: Iterable, echo_times: Sequence[float] = (), b0: float | None = None
    ) -> Scan:
        """A scan of volumes as they were chosen: sequences become their echoes, in the order of DICOM's echo times.

        Parameters
        ----------
        phases, magnitudes
            Volumes.
        echo_times
            As entered [s]; the echoes then keep their order.
        b0
            As entered [T].
        """
        images = [[echo for volume in volumes for echo in echoes_of(volume)] for volumes in (phases, magnitudes)]
        if not echo_times:
            images = [sorted(echoes, key=_echo_time) if all(map(_echo_time, echoes)) else echoes for echoes in images]
        return cls(tuple(images[0]), tuple(images[1]), tuple(echo_times), b0)

    def problem(self) -> str:
        """Why it cannot be used, in a sentence, or nothing."""
        n, times = len(self.phases), self.times()
        mixed = [node.GetName() for node in (*self.phases, *self.magnitudes) if header_of(node).get("mixed")]
        if mixed:
            return _(
                "'{name}' holds the slices of several echoes, as Slicer loads a series that mixes them; load one file "
                "for each echo, as dcm2niix writes, or use the command line."
            ).format(name=mixed[0])
        if not self.magnitudes:
            return _("The magnitude is missing: choose that of each echo.")
        if len(self.magnitudes) != n:
            return _("Phases that are chosen: {n}, magnitudes: {m}; choose one of each for every echo.").format(
                n=n, m=len(self.magnitudes)
            )
        if len(times) != n:
            return _("Echoes that are chosen: {n}, echo times: {m}; enter one for each echo, in ms.").format(
                n=n, m=len(times)
            )
        unknown = [node.GetName() for node, te in zip(self.phases, times, strict=True) if not te]
        if unknown:
            return _("The echo time of '{name}' is not known; enter the echo times in ms, one for each echo.").format(
                name=unknown[0]
            )
        header = header_of(self.phases[0])
        if not (self.b0 or header.get("MagneticFieldStrength") or header.get("ImagingFrequency")):
            return _("The field strength of '{name}' is not known; enter B0 in tesla.").format(
                name=self.phases[0].GetName()
            )
        return ""

    def times(self) -> tuple[float | None, ...]:
        """Echo times [s], None for those that are not known."""
        return self.echo_times or tuple(_echo_time(node) for node in self.phases)

    def text(self) -> str:
        """The volumes of each echo, a line an echo."""
        pairs = zip(self.phases, self.magnitudes, self.times(), strict=True)
        return "\n".join(
            _("{n}. {te} ms: {phase}, {magnitude}").format(
                n=n + 1, te=f"{1000 * (te or 0.0):.4g}", phase=phase.GetName(), magnitude=magnitude.GetName()
            )
            for n, (phase, magnitude, te) in enumerate(pairs)
        )

    def names(self) -> dict[str, str]:
        """Names of the volumes by the names of the files that `write` makes."""
        groups = (("phase", self.phases), ("magnitude", self.magnitudes))
        return {f"{kind}-{n + 1}.nrrd": node.GetName() for kind, volumes in groups for n, node in enumerate(volumes)}

    def write(self, folder: Path) -> list[str]:
        """Write the volumes, the DICOM header beside each, and return the arguments of the command line."""
        files = {}
        for kind, volumes in (("phase", self.phases), ("magnitude", self.magnitudes)):
            files[kind] = [folder / f"{kind}-{n + 1}.nrrd" for n in range(len(volumes))]
            for node, path in zip(volumes, files[kind], strict=True):
                write_with_sidecar(node, path, kind)
        first, *further = map(str, files["phase"])
        arguments = [first, "--magnitude", *map(str, files["magnitude"])]
        return arguments + (["--echoes", *further] if further else [])


def write_with_sidecar(node: slicer.vtkMRMLVolumeNode, path: Path, kind: str = "") -> None:
    """Write a volume, and its header beside it as JSON.

    Parameters
    ----------
    node
        A field, or an image of a scan.
    path
        NRRD file.
    kind
        "phase" or "magnitude", as which an image of a scan is used; a header that says otherwise is overruled.
    """
    nodes.write_volume(node, path)
    sidecar = {name: value for name, value in header_of(node).items() if name in TAGS and not name.endswith("UID")}
    if kind and image_type_of(node) not in ("", kind):
        del sidecar["ImageType"]
    if not kind:
        sidecar |= _loaded_sidecar(node)
        if node.GetAttribute(HARMONIC_ESTIMATED):
            sidecar["HarmonicPartRecovered"] = True
    if sidecar:
        path.with_suffix(".json").write_text(json.dumps(sidecar), encoding="utf-8")


def _loaded_sidecar(node: slicer.vtkMRMLVolumeNode) -> dict[str, Any]:
    """What the library wrote beside the file that a local field was loaded from."""
    storage = node.GetStorageNode()
    file = Path((storage.GetFileName() if storage is not None else None) or "")
    sidecar = file.with_name(file.name.split(".nii")[0].split(".nrrd")[0] + ".json") if file.name else file
    try:
        entries = json.loads(sidecar.read_text(encoding="utf-8"))
        return {name: entries[name] for name in ("HarmonicPartRecovered", "B0_dir") if name in entries}
    except (OSError, ValueError, TypeError):
        return {}


def companions_of(node: slicer.vtkMRMLVolumeNode, others: list) -> tuple[list, list]:
    """Further phases and the magnitudes of a volume's scan among others, where DICOM leaves no doubt."""
    header = header_of(node)
    if image_type_of(node) != "phase" or "EchoTime" not in header:
        return [], []

    def images_of_scan(kind: str, *keys: str) -> list:
        images = [n for n in others if image_type_of(n) == kind and "EchoTime" in header_of(n)]
        return [n for n in images if all(header_of(n).get(key) == header.get(key) for key in keys)]

    phases = images_of_scan("phase", "StudyInstanceUID", "SeriesInstanceUID")
    magnitudes = sorted(images_of_scan("magnitude", "StudyInstanceUID"), key=_echo_time)
    times = sorted(map(_echo_time, [node, *phases]))
    if any(b - a <= TE_TOLERANCE for a, b in pairwise(times)):
        return [], []
    same_times = len(magnitudes) == len(times) and all(
        abs(_echo_time(n) - te) <= TE_TOLERANCE for n, te in zip(magnitudes, times, strict=True)
    )
    return phases, magnitudes if same_times else []


def _echo_time(node: slicer.vtkMRMLVolumeNode) -> Any:
    """[s]; None where it is not known."""
    return header_of(node).get("EchoTime")


def _value(name: str, text: str) -> Any:
    """A header's value in BIDS' unit, None for a number that cannot be read."""
    if name == "ImageType":
        return text.split("\\") if text else []
    if name not in ("EchoTime", "MagneticFieldStrength", "ImagingFrequency"):
        return text
    try:
        number = float(text)
    except ValueError:
        return None
    return number / 1000 if name == "EchoTime" else number
