"""Names of files of volumes, and of their folders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from monailabel_app.names import checked_name
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.errors import InputError


def volume_suffix(name: str) -> str:
    """The suffix of a volume's file name. Raises `InputError` where it has none."""
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"{Path(name).name}: give a volume as {', '.join(IMAGE_SUFFIXES)}")
    return name[-len(suffix) :]


def check_tag(tag: str, others: Collection[str]) -> None:
    """Raise `InputError` for a label tag that cannot be a folder, or would be that of another on some systems."""
    checked_name("a label tag", tag)
    for known in others:
        if known != tag and known.casefold() == tag.casefold():
            raise InputError(
                f"{tag!r} cannot be used as a label tag: there is {known!r}, and some systems take both for one"
            )


def file_names(image: str, files: Sequence[str]) -> dict[str, Path]:
    """What a scan's file is called in the studies, or those of its channels. Raises as `volume_suffix`."""
    numbers = [""] if len(files) == 1 else [f"_{number:04d}" for number in range(len(files))]
    return {f"{image}{number}{volume_suffix(file)}": Path(file) for number, file in zip(numbers, files, strict=True)}
