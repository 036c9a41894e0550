"""TorchScript files, whose grid, intensities and classes the user tells."""

from uncertaintyseg.imports.source import Source
from uncertaintyseg.imports.torchscript.backbone import from_torchscript
from uncertaintyseg.imports.torchscript.importer import OPTIONS, import_model, recognises

TORCHSCRIPT = Source(
    title="a TorchScript file (.ts, .pt)",
    options=OPTIONS,
    recognises=recognises,
    import_model=import_model,
)

__all__ = ["TORCHSCRIPT", "from_torchscript"]
