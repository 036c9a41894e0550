"""The SampleData module, as far as other modules register samples with it and a person loads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer


@dataclass
class SampleDataSource:
    """One sample on offer. A downloader of its own is needed: this stand-in downloads nothing."""

    sampleName: str
    customDownloader: Callable[[SampleDataSource], Any]
    thumbnailFileName: str | None = None


class SampleDataLogic:
    """Keeps what is on offer where the real one keeps it, in `slicer.modules.sampleDataSources`."""

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Callable[[SampleDataSource], Any] | None = None,
        thumbnailFileName: str | None = None,
        **more: Any,
    ) -> None:
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        known = slicer.modules.sampleDataSources.setdefault(category, [])
        known[:] = [source for source in known if source.sampleName != sampleName]
        known.append(SampleDataSource(sampleName, customDownloader, thumbnailFileName))

    @staticmethod
    def sourceForSampleName(name: str) -> SampleDataSource | None:
        sources = [source for known in slicer.modules.sampleDataSources.values() for source in known]
        return next((source for source in sources if source.sampleName == name), None)

    def downloadFromSource(self, source: SampleDataSource) -> Any:
        return source.customDownloader(source)

    def downloadSample(self, name: str) -> Any:
        return self.downloadFromSource(self.sourceForSampleName(name))
