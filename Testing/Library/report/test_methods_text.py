"""The methods paragraph says what ran, with a reference for each step that has one."""

from __future__ import annotations

import re
from typing import Any

from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS, UNWRAPPINGS
from IR2QSMLib.report import methods_text as module
from IR2QSMLib.report.methods_text import bibtex, methods_text
from IR2QSMLib.report.references import DOI, REFERENCES, references_in

PHASE: dict[str, Any] = {
    "Software": {"name": "ir2qsm", "version": "0.1.0"},
    "Method": {
        "name": "tikhonov",
        "citation": METHODS["tikhonov"].citation,
        "parameters": {"regularisation": 0.05},
    },
    "Reference": {"region": "csf.nii.gz", "subtracted_ppm": 0.01},
    "Inputs": {"field": "phase.nii.gz"},
    "Field": {
        "input": "phase",
        "echo_times_s": [0.004, 0.0105],
        "b0_t": 3.0,
        "mask": "given",
        "unwrapping": {"name": "LaplacianUnwrapping"},
        "background": {"name": "ProjectionOntoDipoles"},
    },
}


def keys(record: dict[str, Any]) -> set[str]:
    return {reference.key for reference in methods_text(record).references}


def test_steps_and_parameters_of_the_run_stand_in_the_paragraph() -> None:
    text = methods_text(PHASE).paragraph
    for words in (
        "ir2qsm 0.1.0",
        "2 echoes (TE 4, 10.5 ms) of a gradient echo at 3 T",
        "unwrapped by its Laplacian (Schofield and Zhu 2003)",
        "brain mask came with the data",
        "projection onto dipole fields (Liu et al. 2011)",
        "inverted by tikhonov (Bilgic et al. 2014) with regularisation 0.05",
        "relative to the mean of csf.nii.gz",
    ):
        assert words in text, words
    assert keys(PHASE) == {"schofield2003laplacian", "robinson2017phase", "liu2011pdf", "bilgic2014l1"}


def test_what_did_not_run_is_not_cited() -> None:
    local = {**PHASE, "Field": None, "Inputs": {"unit": "hz"}, "Reference": {"region": "none"}}
    text = methods_text(local).paragraph
    assert "a local field in hz" in text and "echo" not in text and "not referenced" in text
    assert keys(local) == {"bilgic2014l1"}
    recovered = {"name": "HarmonicCompletion", "removal": {"name": "VSharp"}, "n_steps": 150}
    steps = {**PHASE["Field"], "background": recovered, "radii_mm": [12.0, 1.0], "bipolar_rad_and_rad_per_mm": [0.1]}
    assert "spheres of 12 to 1 mm" in methods_text({**PHASE, "Field": steps}).paragraph
    assert {"wu2012vsharp", "liu2017tfi", "li2015bipolar"} <= keys({**PHASE, "Field": steps})
    assert "liu2018medi0" in keys({**PHASE, "Inputs": {"csf": "csf.nii.gz"}})


def test_every_paper_of_a_method_has_an_entry() -> None:
    for info in METHODS.values():
        dois = DOI.findall(info.citation)
        assert dois and [reference.doi for reference in references_in(info.citation)] == list(dict.fromkeys(dois))


def test_every_step_that_can_run_is_named() -> None:
    assert {type(step).__name__ for step in UNWRAPPINGS.values()} == set(module.UNWRAPPINGS)
    assert {type(step).__name__ for step in BACKGROUNDS.values()} == set(module.REMOVALS)


def test_bibtex_has_one_closed_entry_a_paper_and_one_of_the_software() -> None:
    text = bibtex(list(REFERENCES.values()), {"name": "ir2qsm", "version": "0.1.0"})
    found = re.findall(r"^@(\w+)\{([\w]+),$", text, re.MULTILINE)
    assert len(found) == len({key for _, key in found}) == len(REFERENCES) + 1
    assert ("software", "ir2qsm") in found and text.count("{") == text.count("}")
    assert all(re.search(r"doi = \{" + re.escape(doi) + r"\}", text) for doi in REFERENCES)
