"""`uncertaintyseg convert`: any scan that can be read as one NIfTI file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncertaintyseg.cli.console import AsJson, console, print_json


def convert(
    scan: Annotated[Path, typer.Argument(help="Volume, or folder or file of a DICOM series.")],
    target: Annotated[Path, typer.Argument(help="File to write, .nii.gz or .nii.")],
    volume: Annotated[
        str | None, typer.Option(help="Which of several volumes in one DICOM series; without it they are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a scan as NIfTI, where 3D Slicer shows it: to take one volume out of a series, or for a studies folder.

    Example: uncertaintyseg convert series portal.nii.gz --volume "temporal position 2"
    """
    from uncertaintyseg.data.geometry import spacing_mm
    from uncertaintyseg.data.scan import read_scan
    from uncertaintyseg.data.writing import write_volume

    found = read_scan(scan, volume)
    write_volume(target, found[0].numpy(), found.affine.numpy())
    shape, spacing = tuple(found.shape[1:]), spacing_mm(found.affine.numpy())
    if as_json:
        print_json({"file": str(target.resolve()), "shape": shape, "spacing_mm": spacing})
        return
    sizes = " x ".join(f"{v:.4g}" for v in spacing)
    console.print(f"{target}: {' x '.join(map(str, shape))} voxels of {sizes} mm")
