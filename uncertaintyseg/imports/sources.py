"""The registry of sources. To add one: a file that makes a `Source`, and its line here."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.errors import InputError
from uncertaintyseg.imports.monai import MONAI_BUNDLE
from uncertaintyseg.imports.nnunet import NNUNET
from uncertaintyseg.imports.sam import SAM
from uncertaintyseg.imports.source import Progress, Source
from uncertaintyseg.imports.torchscript import TORCHSCRIPT
from uncertaintyseg.imports.totalsegmentator import TOTALSEGMENTATOR
from uncertaintyseg.imports.universeg import UNIVERSEG
from uncertaintyseg.inference.bundle import Bundle, user_models
from uncertaintyseg.inference.own_models import checked_name

SOURCES: tuple[Source, ...] = (NNUNET, TOTALSEGMENTATOR, UNIVERSEG, SAM, MONAI_BUNDLE, TORCHSCRIPT)


def import_model(
    given: Path,
    *,
    output: Path | None = None,
    name: str | None = None,
    progress: Progress = lambda stage, fraction: None,
    **options: object,
) -> Bundle:
    """Make a model of ours out of somebody else's network.

    Args:
        given: a folder, a file, or a name that a source knows.
        output: folder of models to write to; by default the user's own.
        name: of the new model; by default after what the folder says of itself.
        progress: called with a line of text and the fraction done.
        options: of the source.

    Raises:
        BundleError: for what cannot be imported.
        InputError: for what no source recognises, an option that the source does not take, or a name that is taken.
    """
    source = next((source for source in SOURCES if source.recognises(given)), None)
    if source is None:
        raise InputError(
            f"{given}: nothing that can be imported. Give {' or '.join(source.title for source in SOURCES)}."
        )
    unknown = [option for option in options if option not in source.options]
    if unknown:
        taken = ", ".join(f"--{option}" for option in source.options) or "none"
        raise InputError(f"{given}: {source.title} has no option --{unknown[0]}; it has {taken}.")
    checked = None if name is None else checked_name(name)
    return source.import_model(given, output or user_models(), checked, progress, **options)
