"""TotalSegmentator: the weights that it has downloaded, with its resampling and its merge of several networks."""

from pathlib import Path

from uncertaintyseg.imports.source import Source
from uncertaintyseg.imports.totalsegmentator.importer import import_model

TOTALSEGMENTATOR = Source(
    title='the word "totalsegmentator", for the weights that TotalSegmentator has downloaded',
    options=("task",),
    recognises=lambda given: given == Path("totalsegmentator") and not given.exists(),
    import_model=import_model,
)
