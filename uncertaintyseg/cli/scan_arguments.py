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
        "(CASE_0000.nii.gz, with CASE_0001.nii.gz and so on beside it), all files in the model's order, or a folder of "
        "such files: every case in it.",
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
    from uncertaintyseg.data.channels import channel_files, named_channels, scans_in

    if files and channels:
        raise InputError("give the scan as SCAN or by --channel, not both.")
    if channels:
        found: dict[str, Image] = {"": named_channels(_named(channels, bundle.channels), bundle.channels)}
    elif not files:
        names = " ".join(f"--channel {name}=FILE" for name in bundle.channels)
        raise InputError(f"no scan was given: name its file{f', or {names}' if len(bundle.channels) > 1 else ''}.")
    else:
        found = {"": list(files)} if len(files) > 1 else scans_in(files[0])
    for scan in found.values():
        channel_files(scan, len(bundle.channels), bundle.channels)  # one that is missing is told before any case runs
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
