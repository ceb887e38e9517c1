"""A small simulated head for a first try, and for the module's test of itself."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

NAME = "IR2QSM"
FILES = (("IR2QSM field", "localfield.nrrd"), ("IR2QSM mask", "mask.nrrd"), ("IR2QSM expected map", "chi.nrrd"))
"""Names of the nodes and of their files."""


def register(module_folder: str) -> None:
    """List the sample in Slicer's Sample Data module; its files come with the extension."""
    import SampleData

    resources = Path(module_folder) / "Resources"
    checksums = dict(line.split()[::-1] for line in (resources / "SampleData" / "SHA256SUMS").read_text().splitlines())
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("Quantification"),
        sampleName=NAME,
        uris=[(resources / "SampleData" / name).as_uri() for _node, name in FILES],
        fileNames=[f"IR2QSM-{name}" for _node, name in FILES],
        nodeNames=[node for node, _name in FILES],
        checksums=[f"SHA256:{checksums[name]}" for _node, name in FILES],
        thumbnailFileName=str(resources / "Icons" / "IR2QSM.png"),
    )
