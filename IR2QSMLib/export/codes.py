"""Coded concepts: the quantity, its unit, what is computed of it, and regions of the brain by name."""

from __future__ import annotations

import re

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

SUSCEPTIBILITY = Code("126396", "DCM", "Magnetic Susceptibility")
PPM = CodedConcept("[ppm]", "UCUM", "ppm")
DERIVATION = CodedConcept("121401", "DCM", "Derivation")
REFERENCE_REGION = CodedConcept("C94970", "NCIt", "Reference Region")
SIDES = {"left": codes.SCT.Left, "right": codes.SCT.Right}
UNKNOWN_REGION = codes.SCT.Tissue
"""Code of a region whose name is in no list."""

REGIONS: dict[str, Code] = {
    "caudate": codes.SCT.CaudateNucleus,
    "putamen": codes.SCT.Putamen,
    "pallid": codes.SCT.GlobusPallidus,
    "thalam": codes.SCT.Thalamus,
    "substantia nigra": codes.SCT.SubstantiaNigra,
    "accumbens": codes.SCT.NucleusAccumbens,
    "hippocamp": codes.SCT.Hippocampus,
    "amygdala": codes.SCT.Amygdala,
    "corpus callosum": codes.SCT.CorpusCallosum,
    "ventric": codes.SCT.BrainVentricle,
    "cerebrospinal": codes.SCT.CerebrospinalFluid,
    "csf": codes.SCT.CerebrospinalFluid,
    "white matter": codes.SCT.WhiteMatter,
    "gray matter": codes.SCT.GrayMatter,
    "grey matter": codes.SCT.GrayMatter,
    "brain": codes.SCT.Brain,
}
"""Codes by the beginning of a word in a region's name; the first that fits counts."""
NOT_BY_THEIR_PART = ("subthalam", "hypothalam", "epithalam")
"""Words that hold a word of `REGIONS` and mean another region."""


def region_code(name: str) -> Code:
    """The code of a region by its name, or `UNKNOWN_REGION`."""
    text = _words(name)
    if any(word in text for word in NOT_BY_THEIR_PART):
        return UNKNOWN_REGION
    return next((code for word, code in REGIONS.items() if re.search(rf"\b{word}", text)), UNKNOWN_REGION)


def side_of(name: str) -> Code | None:
    """Left or right, if a name says it: as a word, or as l, r, lh or rh at its beginning or end."""
    words = _words(name).split()
    ends = {words[0], words[-1]} if len(words) > 1 else set()
    for side, code in SIDES.items():
        if side in words or ends & {side[0], f"{side[0]}h"}:
            return code
    return None


def _words(name: str) -> str:
    """A name in lower case, its words apart: 'Left-Caudate' and 'leftCaudate' are 'left caudate'."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[^a-zA-Z0-9]+", apart.lower())).strip()
