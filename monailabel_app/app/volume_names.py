"""Names of files of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.errors import InputError


def volume_suffix(name: str) -> str:
    """The suffix of a volume's file name. Raises `InputError` where it has none."""
    suffix = next((s for s in IMAGE_SUFFIXES if name.lower().endswith(s)), None)
    if suffix is None:
        raise InputError(f"{Path(name).name}: give a volume as {', '.join(IMAGE_SUFFIXES)}")
    return name[-len(suffix) :]


def file_names(image: str, files: Sequence[str]) -> dict[str, Path]:
    """What a scan's file is called in the studies, or those of its channels. Raises as `volume_suffix`."""
    numbers = [""] if len(files) == 1 else [f"_{number:04d}" for number in range(len(files))]
    return {f"{image}{number}{volume_suffix(file)}": Path(file) for number, file in zip(numbers, files, strict=True)}
