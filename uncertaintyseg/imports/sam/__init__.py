"""SAM, MedSAM and SAM 2 of a folder of `transformers` become models that are prompted (docs/adr/0022)."""

from uncertaintyseg.imports.sam.importer import OPTIONS, import_model, recognises
from uncertaintyseg.imports.source import Source

SAM = Source(
    title="a folder of SAM, MedSAM or SAM 2 (config.json with model.safetensors, as transformers has them)",
    options=OPTIONS,
    recognises=recognises,
    import_model=import_model,
)

__all__ = ["SAM"]
