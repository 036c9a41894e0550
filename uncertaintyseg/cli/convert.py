"""`uncertaintyseg convert`: any scan that can be read as one NIfTI file, images and clips among them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uncertaintyseg.cli.console import AsJson, console, print_json


def convert(
    scan: Annotated[Path, typer.Argument(help="Volume, DICOM series (folder or file), picture, or folder of frames.")],
    target: Annotated[Path, typer.Argument(help="File to write, .nii.gz or .nii.")],
    volume: Annotated[
        str | None, typer.Option(help="Which of several volumes in one DICOM series; without it they are listed.")
    ] = None,
    mask_of: Annotated[
        Path | None,
        typer.Option(help="SCAN is the mask of this picture or clip: its colours become numbers, on that grid."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a scan as NIfTI, where 3D Slicer shows it.

    It takes one volume out of a series, fills a studies folder, and makes of a picture or a clip what can be sent to a
    server, which decodes none that is sent to it.

    Example: uncertaintyseg convert series portal.nii.gz --volume "temporal position 2", or, of a mask with a
    table of its colours beside it: uncertaintyseg convert mask.png label.nii.gz --mask-of picture.png
    """
    from uncertaintyseg.data.geometry import spacing_mm
    from uncertaintyseg.data.scan import read_label, read_scan
    from uncertaintyseg.data.time_axis import TIME, is_clip, spacing_known
    from uncertaintyseg.data.writing import write_volume

    like = read_scan(scan if mask_of is None else mask_of, volume)
    found = like if mask_of is None else read_label(scan, like=like)
    write_volume(target, found[0].numpy(), found.affine.numpy(), about=like.meta)
    shape, clip = tuple(found.shape[1:]), is_clip(like)
    spacing = spacing_mm(found.affine.numpy()) if spacing_known(like) else None
    if as_json:
        axis = TIME if clip else None
        print_json({"file": str(target.resolve()), "shape": shape, "spacing_mm": spacing, "axis": axis})
        return
    sizes = f" of {' x '.join(f'{v:.4g}' for v in spacing)} mm" if spacing else ", of which nobody knows the size"
    console.print(f"{target}: {' x '.join(map(str, shape))} voxels{sizes}{', a clip' if clip else ''}")
