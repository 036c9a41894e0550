"""How a scan is given on the command line: one file or folder, the files of its channels, or these by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.data.channels import Image
    from uncertaintyseg.inference.bundle import Bundle

Scan = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Scan: NIfTI, NRRD, MetaImage, or the folder of a DICOM series. Of several channels the first one's file "
        "(CASE_0000.nii.gz, with CASE_0001.nii.gz and so on beside it), or all files in the model's order. A folder: "
        "every scan in it, of a data set those in images/ or imagesTr/.",
        show_default=False,
    ),
]
Channels = Annotated[
    list[str] | None,
    typer.Option("--channel", help="File of a channel by its name, in any order: T1=a.nii.gz. Repeatable."),
]
Force = Annotated[bool, typer.Option("--force", help="Take channels as they are where they look swapped.")]


def read_scans(bundle: Bundle, files: Sequence[Path] | None, channels: Sequence[str] | None) -> dict[str, Image]:
    """The scans that were given, by name of the case; a single one has none: "".

    Raises:
        InputError: for no scan, a scan that is given in both ways, or a channel that is missing or unknown.
    """
    from uncertaintyseg.data.channels import channel_files, named_channels

    if files and channels:
        raise InputError("give the scan as SCAN or by --channel, not both.")
    if channels:
        found: dict[str, Image] = {"": named_channels(_named(channels, bundle.channels), bundle.channels)}
    elif not files:
        names = " ".join(f"--channel {name}=FILE" for name in bundle.channels)
        raise InputError(f"no scan was given: name its file{f', or {names}' if len(bundle.channels) > 1 else ''}.")
    else:
        found = {"": list(files)} if len(files) > 1 else _of_one(files[0], len(bundle.channels))
    for scan in found.values():
        channel_files(scan, len(bundle.channels), bundle.channels)  # one that is missing is told before any case runs
    return found


def _of_one(path: Path, channels: int) -> Mapping[str, Image]:
    """A scan, or those of a folder by name of the case."""
    from uncertaintyseg.data.cases import suffix_of
    from uncertaintyseg.data.channels import scans_in
    from uncertaintyseg.data.layouts import read_cases
    from uncertaintyseg.data.scan import IMAGE_SUFFIXES

    found = scans_in(path)
    if "" not in found or not path.is_dir():
        return found
    if any((path / name).is_dir() for name in ("images", "imagesTr")):
        return {case.id: case.image for case in read_cases(path)}
    volumes = [
        file
        for file in sorted(path.iterdir())
        if file.is_file() and not file.name.startswith(".") and file.name.lower().endswith(IMAGE_SUFFIXES)
    ]
    if channels == 1 and volumes:
        return {file.name.removesuffix(suffix_of(file)): file for file in volumes}
    return found


def _named(pairs: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise InputError(f"--channel {pair}: write it as NAME=FILE; this model takes {', '.join(names)}.")
        if name.casefold() in map(str.casefold, found):
            raise InputError(f"--channel {pair}: {name} was given already; this model takes {', '.join(names)}.")
        found[name] = file
    return found
