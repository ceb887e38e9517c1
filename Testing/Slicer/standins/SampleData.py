"""Stand-in for Slicer's module of this name: keeps the sources that modules register."""

from types import SimpleNamespace

import slicer


class SampleDataLogic:
    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom", sampleName=None, uris=None, fileNames=None, nodeNames=None, customDownloader=None,
        thumbnailFileName=None, loadFileTypes=None, loadFiles=None, loadFileProperties=None, checksums=None,
    ):  # fmt: skip
        given = {key: value for key, value in locals().items() if key != "category"}
        several = isinstance(uris, (list, tuple))
        if several and any(len(given[key] or uris) != len(uris) for key in ("fileNames", "nodeNames", "checksums")):
            raise ValueError("All fields of sample data source must have the same length")
        slicer.modules.sampleDataSources = getattr(slicer.modules, "sampleDataSources", {})
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        if SimpleNamespace(**given) not in sources:
            sources.append(SimpleNamespace(**given))
