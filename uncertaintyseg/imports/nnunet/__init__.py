"""nnU-Net v2: a trained-model folder, or a zip of it, with the preprocessing, windows and labels that belong to it."""

from uncertaintyseg.imports.nnunet.folder import TrainedFolder, opened, recognises
from uncertaintyseg.imports.nnunet.importer import import_model
from uncertaintyseg.imports.source import Source

NNUNET = Source(
    title="an nnU-Net v2 folder (TRAINER__PLANS__CONFIG) or a zip of it",
    options=("fold", "mirroring"),
    recognises=recognises,
    import_model=import_model,
)

__all__ = ["NNUNET", "TrainedFolder", "opened"]
