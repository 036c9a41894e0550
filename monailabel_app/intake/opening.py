"""One file of a client, by the reader for its name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monailabel_app.errors import TooLargeError
from monailabel_app.intake.metaimage import open_metaimage
from monailabel_app.intake.nifti import open_nifti
from monailabel_app.intake.nrrd import open_nrrd
from monailabel_app.intake.volume import Volume
from uncertaintyseg.data.checks import by, named
from uncertaintyseg.data.images import PICTURE_SUFFIXES
from uncertaintyseg.errors import InputError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Of volumes that clients may send."""
DECODE_FIRST = (
    "a picture or a single DICOM file, which the client decodes, not this server: send its grey values as one slice, "
    "of a clip as a volume of its frames with axis=time, in NIfTI, NRRD or MetaImage (Slicer does, and 'uncertaintyseg "
    "convert' writes such a file, of a mask with --mask-of). Or let whoever runs the server copy it into the studies "
    "folder"
)
MAX_VOXELS = 2**29
"""Of one uploaded volume: 2 GiB as float32, a CT of 512 x 512 x 2048."""


def suffix_of(name: str) -> str:
    """The end of a volume's file name. Raises `InputError` when it is none that clients may send."""
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return suffix
    if name.lower().endswith((*PICTURE_SUFFIXES, ".dcm")):
        raise InputError(f"{name}: {DECODE_FIRST}")
    raise InputError(f"{name}: an uploaded volume is one file, {', '.join(SUFFIXES)}")


@contextmanager
def open_volume(path: Path, most: int = MAX_VOXELS) -> Iterator[Volume]:
    """Open the file of a client; its voxels are read while the context lasts, and errors meanwhile get its name.

    Args:
        path: of the file.
        most: voxels that it may have.

    Raises:
        InputError: It is none of `SUFFIXES`, or no such file as this server takes.
        TooLargeError: It holds more than `most`.
    """
    suffix = suffix_of(path.name)
    with path.open("rb") as file, named(path):
        if suffix == ".mha":
            yield _checked(open_metaimage(file), most)
        elif suffix == ".nrrd":
            yield _checked(open_nrrd(file), most)
        else:
            yield _checked(open_nifti(file, is_packed=suffix == ".nii.gz"), most)


def _checked(volume: Volume, most: int) -> Volume:
    if math.prod(volume.shape) > most:
        raise TooLargeError(
            f"{by(volume.shape)} voxels, more than the {most:,} that are taken here. A label has as many as its scan; "
            "crop a larger scan, or let whoever runs the server copy it into the studies folder"
        )
    return volume
