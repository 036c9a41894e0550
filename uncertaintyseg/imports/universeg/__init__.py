"""UniverSeg: weights that segment what examples show, and models made of them and of examples (docs/adr/0021)."""

from uncertaintyseg.imports.source import Source
from uncertaintyseg.imports.universeg.importer import OPTIONS, import_model, recognises
from uncertaintyseg.imports.universeg.showing import of_same_patient, show_cases, shown

UNIVERSEG = Source(
    title="UniverSeg's weights (.pt, .safetensors; or a model of them, to show it examples)",
    options=OPTIONS,
    recognises=recognises,
    import_model=import_model,
)

__all__ = ["UNIVERSEG", "of_same_patient", "show_cases", "shown"]
