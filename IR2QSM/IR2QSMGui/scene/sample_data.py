"""A small simulated head for a first try, and for the module's test of itself."""

from pathlib import Path

from slicer.i18n import tr as _

NAME = "IR2QSM"
FILES = (("IR2QSM field", "localfield.nrrd"), ("IR2QSM mask", "mask.nrrd"), ("IR2QSM expected map", "chi.nrrd"))
"""Names of the nodes and the files that they are read from."""


def register(module_folder):
    """List the sample in Slicer's Sample Data module; its files come with the extension and need no network."""
    import SampleData

    resources = Path(module_folder) / "Resources"
    sums = dict(line.split()[::-1] for line in (resources / "SampleData" / "SHA256SUMS").read_text().splitlines())
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_("Quantification"),
        sampleName=NAME,
        uris=[(resources / "SampleData" / name).as_uri() for _node, name in FILES],
        fileNames=[f"IR2QSM-{name}" for _node, name in FILES],
        nodeNames=[node for node, _name in FILES],
        checksums=[f"SHA256:{sums[name]}" for _node, name in FILES],
        thumbnailFileName=str(resources / "Icons" / "IR2QSM.png"),
    )
