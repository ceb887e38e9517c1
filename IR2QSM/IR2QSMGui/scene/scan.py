"""A multi-echo scan in the scene: its volumes, what DICOM says of them, and how it is handed to the library."""

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.scene import nodes as scene

TAGS = {
    "EchoTime": "0018,0081",
    "MagneticFieldStrength": "0018,0087",
    "ImagingFrequency": "0018,0084",
    "Manufacturer": "0008,0070",
    "ImageType": "0008,0008",
    "StudyInstanceUID": "0020,000D",
    "SeriesInstanceUID": "0020,000E",
}
"""What is read of DICOM, by the names of BIDS' sidecars."""
WORDS = {"phase": {"P", "PHASE", "PHASE MAP"}, "magnitude": {"M", "MAGNITUDE", "M_FFE"}}
"""Values of ImageType."""
RECOVERED = "IR2QSM.HarmonicPartRecovered"
"""Attribute of a local field, part of which is an estimate, as the library's sidecar says."""
SAME_TE = 1e-5
"""How far the echo times [s] of one echo may differ."""


def facts_of(node):
    """What DICOM says of a volume, by the names of BIDS' sidecars: EchoTime [s], MagneticFieldStrength [T], and so on.

    Empty for a volume that did not come from Slicer's DICOM database. Slicer loads a series that mixes echoes as one
    volume: such a one has no echo time here, and is "mixed".
    """
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not instances or database is None:
        return {}
    key = *instances[:2], instances[-1]  # slices are sorted by position: of several echoes, the first two differ
    known = _facts.get(key)
    if not known:
        read = {name: str(database.instanceValue(instances[0], tag) or "").strip() for name, tag in TAGS.items()}
        known = {name: _value(name, text) for name, text in read.items()}
        if len({str(database.instanceValue(uid, TAGS["EchoTime"])) for uid in key}) > 1:
            known |= {"EchoTime": None, "mixed": True}
        known = _facts[key] = {name: value for name, value in known.items() if value}
    return known


_facts = {}
"""What was read, by the UIDs of the first two and the last slice."""


def kind_of(node):
    """ "phase" or "magnitude" as DICOM says, or nothing where it says neither."""
    stated = {word.strip().upper() for word in facts_of(node).get("ImageType", ())}
    return next((kind for kind, words in WORDS.items() if stated & words), "")


def echoes_of(node):
    """The volumes of a node: those of the sequence that it is shown from, or itself."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return tuple(sequence.GetNthDataNode(i) for i in range(sequence.GetNumberOfDataNodes()))
    return (node,)


@dataclass(frozen=True)
class Scan:
    """Phase and magnitude of each echo, in the order of the echoes, and what a person says of them."""

    phases: tuple
    magnitudes: tuple
    echo_times: tuple = ()
    """[s]; of DICOM when empty."""
    b0: float | None = None
    """[T]; of DICOM when None."""

    @classmethod
    def of(cls, phases, magnitudes, echo_times=(), b0=None):
        """A scan of volumes as they were chosen: sequences become their echoes.

        Without times that are given, echoes are put in the order of those that DICOM knows.
        """
        several = [tuple(echo for node in nodes for echo in echoes_of(node)) for nodes in (phases, magnitudes)]
        if not echo_times:
            several = [sorted(nodes, key=_time) if all(map(_time, nodes)) else nodes for nodes in several]
        return cls(*map(tuple, several), tuple(echo_times), b0)

    def problem(self):
        """What keeps it from being used, in a sentence, or nothing."""
        n, times = len(self.phases), self.times()
        mixed = [node.GetName() for node in (*self.phases, *self.magnitudes) if facts_of(node).get("mixed")]
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
        facts = facts_of(self.phases[0])
        if not (self.b0 or facts.get("MagneticFieldStrength") or facts.get("ImagingFrequency")):
            return _("The field strength of '{name}' is not known; enter B0 in tesla.").format(
                name=self.phases[0].GetName()
            )
        return ""

    def times(self):
        """Echo times [s], None for those that are not known."""
        return self.echo_times or tuple(_time(node) for node in self.phases)

    def text(self):
        """Which volumes belong together, in a line for each echo."""
        pairs = zip(self.phases, self.magnitudes, self.times(), strict=True)
        return "\n".join(
            _("{n}. {te} ms: {phase}, {magnitude}").format(
                n=n + 1, te=f"{1000 * te:.4g}", phase=phase.GetName(), magnitude=magnitude.GetName()
            )
            for n, (phase, magnitude, te) in enumerate(pairs)
        )

    def names(self):
        """The files that `write` makes, with the volumes' names."""
        groups = (("phase", self.phases), ("magnitude", self.magnitudes))
        return {f"{kind}-{n + 1}.nrrd": node.GetName() for kind, nodes in groups for n, node in enumerate(nodes)}

    def write(self, folder):
        """Write the volumes, what DICOM says beside each, and return the words of the command line."""
        files = {}
        for kind, nodes in (("phase", self.phases), ("magnitude", self.magnitudes)):
            files[kind] = [folder / f"{kind}-{n + 1}.nrrd" for n in range(len(nodes))]
            for node, path in zip(nodes, files[kind], strict=True):
                write_with_facts(node, path, kind)
        first, *further = map(str, files["phase"])
        words = [first, "--magnitude", *map(str, files["magnitude"])]
        return words + (["--echoes", *further] if further else [])


def write_with_facts(node, path, kind=""):
    """Write a volume, and beside it what DICOM or an earlier run says of it; of the kind it is used as, if given."""
    scene.write_volume(node, path)
    facts = {name: value for name, value in facts_of(node).items() if name in TAGS and not name.endswith("UID")}
    if kind and kind_of(node) not in ("", kind):  # who chose it knows better than its header
        del facts["ImageType"]
    if not kind:
        facts |= _told_beside(node)
        if node.GetAttribute(RECOVERED):
            facts["HarmonicPartRecovered"] = True
    if facts:
        path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")


def _told_beside(node):
    """What the library wrote beside the file of a local field that was loaded."""
    storage = node.GetStorageNode()
    file = Path((storage.GetFileName() if storage is not None else None) or "")
    beside = file.with_name(file.name.split(".nii")[0].split(".nrrd")[0] + ".json") if file.name else file
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
        return {name: told[name] for name in ("HarmonicPartRecovered", "B0_dir") if name in told}
    except (OSError, ValueError, TypeError):
        return {}


def companions_of(node, others):
    """Further phases and the magnitudes of a volume's scan among `others`, as far as DICOM tells them without doubt."""
    facts = facts_of(node)
    if kind_of(node) != "phase" or "EchoTime" not in facts:
        return [], []

    def like(kind, *names):
        alike = [n for n in others if kind_of(n) == kind and all(facts_of(n).get(k) == facts.get(k) for k in names)]
        return [n for n in alike if "EchoTime" in facts_of(n)]

    phases = like("phase", "StudyInstanceUID", "SeriesInstanceUID")
    times = sorted(map(_time, [node, *phases]))
    found = sorted(like("magnitude", "StudyInstanceUID"), key=_time)
    if any(b - a <= SAME_TE for a, b in pairwise(times)):
        return [], []
    fits = len(found) == len(times) and all(abs(_time(n) - te) <= SAME_TE for n, te in zip(found, times, strict=True))
    return phases, found if fits else []


def _time(node):
    return facts_of(node).get("EchoTime")


def _value(name, text):
    if name == "ImageType":
        return text.split("\\") if text else []
    if name not in ("EchoTime", "MagneticFieldStrength", "ImagingFrequency"):
        return text
    try:
        number = float(text)
    except ValueError:
        return None
    return number / 1000 if name == "EchoTime" else number
