"""What ran, as a paragraph for the methods of a paper with its references, from a map's provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from IR2QSMLib.report.references import REFERENCES, Reference, references_in, unique

UNWRAPPINGS = {
    "PathUnwrapping": ("along best paths in space and in time", ("10.1364/AO.46.006623",)),
    "LaplacianUnwrapping": ("by its Laplacian", ("10.1364/OL.28.001194",)),
}
"""How the phase was unwrapped, and the papers, by the step's name."""
REMOVALS = {
    "VSharp": ("V-SHARP", ("10.1002/mrm.23000",)),
    "ProjectionOntoDipoles": ("projection onto dipole fields", ("10.1002/nbm.1670",)),
    "LaplacianBoundaryValue": ("the Laplacian boundary value method", ("10.1002/nbm.3064",)),
}
"""The background removals likewise."""
BIPOLAR, ECHO_FIT = "10.1007/s10334-014-0470-3", "10.1002/nbm.3601"
RECOVERY, CSF = "10.1002/mrm.26331", "10.1002/mrm.26946"
NOT_SAID = ("weights",)
"""Parameters that the paragraph says in another way."""


class MethodsText(NamedTuple):
    """A paragraph and its references."""

    paragraph: str
    """References stand in brackets, as authors and year."""
    references: list[Reference]


def methods_text(record: Mapping[str, Any]) -> MethodsText:
    """The methods paragraph of a map.

    Parameters
    ----------
    record
        Its provenance, as the sidecar holds it. What does not stand there is left out.
    """
    sentences: list[str] = []
    papers: list[Reference] = []

    def cite(*references: Reference) -> str:
        papers.extend(references)
        return f" ({'; '.join(f'{r.short}' for r in references)})" if references else ""

    software = record.get("Software") or {}
    sentences.append(f"Susceptibility maps were reconstructed with {software.get('name')} {software.get('version')}.")
    steps = record.get("Field") or {}
    if steps:
        sentences += _field_sentences(steps, cite)
    else:
        unit = (record.get("Inputs") or {}).get("unit")
        sentences.append(f"The input was a local field{f' in {unit}' if unit else ''}.")
    sentences += _inversion_sentences(record, cite)
    return MethodsText(" ".join(sentences), unique(papers))


def bibtex(references: list[Reference], software: Mapping[str, Any]) -> str:
    """The entries of papers, and one of the software."""
    fields = ("  author = {{IR2QSM developers}}", "  title = {IR2QSM}", f"  version = {{{software.get('version')}}}")
    own = "@software{ir2qsm,\n" + ",\n".join(fields) + "\n}"
    return "\n".join([*(reference.bibtex() for reference in references), own])


def _field_sentences(steps: Mapping[str, Any], cite: Any) -> list[str]:
    """From phase or total field to the local field."""
    sentences = []
    times, b0 = steps.get("echo_times_s") or [], steps.get("b0_t")
    at = f" at {b0:g} T" if b0 else ""
    if steps.get("input") == "phase":
        listed = ", ".join(f"{1e3 * te:.4g}" for te in times)
        echoes = f"{len(times)} echoes (TE {listed} ms)" if len(times) > 1 else f"one echo (TE {listed} ms)"
        sentences.append(f"The phase of {echoes} of a gradient echo{at} was the input.")
        if steps.get("bipolar_rad_and_rad_per_mm"):
            sentences.append(f"The phase of the bipolar readout was corrected linearly{cite(REFERENCES[BIPOLAR])}.")
        how, dois = UNWRAPPINGS.get((steps.get("unwrapping") or {}).get("name", ""), (None, ()))
        if how:
            sentences.append(f"It was unwrapped {how}{cite(*(REFERENCES[doi] for doi in dois))}.")
        if len(times) > 1:
            sentences.append(
                f"The field was the slope of a fit over the echoes, weighted by magnitude²{cite(REFERENCES[ECHO_FIT])}."
            )
        own_mask = steps.get("mask") == "given"
        sentences.append(f"The brain mask {'came with the data' if own_mask else 'was made from the magnitude'}.")
    else:
        unit = f" in {steps['unit']}" if steps.get("unit") else ""
        sentences.append(f"The input was a total field{unit}{at}.")
    background = steps.get("background") or {}
    recovery = background.get("n_steps") if background.get("name") == "HarmonicCompletion" else None
    removal = background.get("removal") or background
    name, dois = REMOVALS.get(removal.get("name", ""), (removal.get("name"), ()))
    radii = steps.get("radii_mm") or []
    spheres = f" with spheres of {max(radii):.3g} to {min(radii):.3g} mm" if radii else ""
    sentences.append(f"The background was removed by {name}{spheres}{cite(*(REFERENCES[doi] for doi in dois))}.")
    if recovery:
        sentences.append(
            f"What it takes of the field of sources inside was estimated by {recovery} steps of conjugate gradients, "
            f"after total field inversion{cite(REFERENCES[RECOVERY])}."
        )
    return sentences


def _inversion_sentences(record: Mapping[str, Any], cite: Any) -> list[str]:
    """From the local field to the map."""
    method = record.get("Method") or {}
    name, citation = method.get("name"), method.get("citation") or ""
    said = {**(method.get("parameters") or {})}
    given = ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in said.items() if _is_said(key, value))
    sentence = f"It was inverted by {name}{cite(*references_in(citation))}"
    sentences = [f"{sentence} with {given}." if given else f"{sentence}."]
    if method.get("weights_sha256"):
        sentences.append(f"The weights were {method.get('weights')} (sha256 {method['weights_sha256'][:12]}…).")
    if method.get("whole_brain_sha256"):
        hash_ = method["whole_brain_sha256"][:12]
        sentences.append(f"The network's first map was that of a network of the whole brain (sha256 {hash_}…).")
    if method.get("steps"):
        sentences.append("Its map was reconciled with the field, frequency by frequency.")
    chosen = method.get("regularisation")
    if isinstance(chosen, float):
        sentences.append(f"λ was {chosen:.3g}.")
    if "csf" in (record.get("Inputs") or {}):
        sentences.append(f"Ventricular fluid was held uniform{cite(REFERENCES[CSF])}.")
    region = (record.get("Reference") or {}).get("region")
    if region == "none":
        sentences.append("Susceptibility was not referenced.")
    elif region:
        where = "the mean of the mask" if region == "mean" else f"the mean of {region}"
        sentences.append(f"Susceptibility is relative to {where}.")
    return sentences


def _is_said(key: str, value: Any) -> bool:
    return key not in NOT_SAID and value is not None and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
