"""Bundles of MONAI's Model Zoo and the like: programs, which are run only where a person trusts them."""

from uncertaintyseg.imports.monai.importer import OPTIONS, import_model, recognises
from uncertaintyseg.imports.monai.network import from_monai_bundle
from uncertaintyseg.imports.source import Source

MONAI_BUNDLE = Source(
    title="a MONAI bundle (a folder with configs/inference.json)",
    options=OPTIONS,
    recognises=recognises,
    import_model=import_model,
)

__all__ = ["MONAI_BUNDLE", "from_monai_bundle"]
