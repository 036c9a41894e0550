"""Networks of other people become models of ours: one file (or folder) a source, and a registry of them.

A source is asked whether it `recognises` what the user gave, and then writes a model folder, whole or not at all
(`writing.write_model`). Nothing is unpickled and no code of a folder runs, with one exception that the user has to
allow by name: a foreign MONAI bundle is a program. What a source reads off a folder is checked against lists of what is
allowed before it gets into a configuration, which MONAI evaluates.
"""

from uncertaintyseg.imports.sources import SOURCES, Source, import_model

__all__ = ["SOURCES", "Source", "import_model"]
