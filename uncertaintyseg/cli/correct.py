"""`uncertaintyseg correct`: one scan to a label and risk maps that clicks, scribbles, lassos and boxes have moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uncertaintyseg.cli.console import (
    AsJson,
    Device,
    ModelName,
    MoreModels,
    console,
    print_json,
    progress_bar,
    warn_of_doubts,
)
from uncertaintyseg.cli.places import Said, read_place
from uncertaintyseg.cli.predict import show
from uncertaintyseg.cli.scan_arguments import Channels, Scan, read_scans
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.inference.conditioned import Click
    from uncertaintyseg.review.enclosing import Box, Lasso


def correct(
    model: ModelName,
    image: Scan = None,
    channel: Channels = None,
    click: Annotated[
        list[str] | None, typer.Option(help="A voxel and what it is: 20,25,11=liver, or =background. Repeatable.")
    ] = None,
    scribble: Annotated[
        list[str] | None,
        typer.Option(help='All voxels of a stroke and what they are: "15,12,9; 15,13,9=liver". Repeatable.'),
    ] = None,
    lasso: Annotated[
        list[str] | None,
        typer.Option(
            help='Corners on one slice, and what all inside is: "9,20,11; 14,20,11; 12,26,11=liver". Repeatable.'
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help='First and last voxel of the box at which a structure ends: "8,12,6; 20,31,18=liver". Repeatable.'
        ),
    ] = None,
    reach_mm: Annotated[float | None, typer.Option(min=0, help="How far a click is heard, mm; 8 by default.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the label, the maps and report.json.")] = Path("corrected"),
    seed: Annotated[int, typer.Option(help="Seed of the samples behind the volume interval.")] = 0,
    device: Device = "auto",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Segment a scan, given what a person says of some voxels: the shape around them moves with them.

    Voxels are IJK on the scan's own grid, from 0, as report.json has them. What voxels share, and so what a click
    moves, hangs on the head: docs/methods.md, Corrections. Images and clips are edited instead.

    Example: uncertaintyseg correct hippocampus_low_rank scan.nii.gz --click 18,30,12=anterior
    --click 20,25,11=background --box "8,12,6; 20,31,18=anterior"
    """
    bundle = find_bundle(model, *(models or []))
    if bundle.uncertainty.parts:
        raise InputError(f"{bundle.name} is put together from several networks, which take no corrections.")
    if bundle.flat:
        raise InputError(f"{bundle.name} is a model of images: clicks move shapes in volumes; edit the label instead.")
    scans = read_scans(bundle, image, channel)
    if len(scans) > 1:
        raise InputError("corrections are of one scan: name its file, not a folder of several cases.")
    (scan,) = scans.values()
    parts = {"--click": click, "--scribble": scribble, "--lasso": lasso, "--box": box}
    said = {flag: [read_place(flag, text, bundle.labels) for text in texts or ()] for flag, texts in parts.items()}
    if not any(said.values()):
        raise InputError(f"nothing is corrected: say something by {', '.join(said)}, or use `uncertaintyseg predict`.")
    size = warn_of_doubts(bundle, scan)
    with progress_bar() as progress:
        progress("loading the model", 0.0)
        from uncertaintyseg.inference.conditioned import ConditionedCase, check_corrections
        from uncertaintyseg.inference.predictors import predictor_for

        corrections = _corrections(said)
        check_corrections(*corrections, bundle.labels, size)  # before the network has run for minutes
        predictor = predictor_for(bundle, None, models or [], device=device)
        base = predictor.predict(scan, seed=seed, progress=progress)
        case = ConditionedCase(predictor.network.head, base, bundle.labels, predictor.calibration[0])
        known = {} if reach_mm is None else {"reach_mm": reach_mm}
        made = case.given(*corrections, **known)
        prediction = made.prediction(seed=seed)
        report = prediction.save(output)
    if as_json:
        print_json({**report, "moved": made.moved, "alone": made.alone})
        return
    show(report, "", output)
    alone = f" {made.alone} clicks moved only their voxel." if made.alone else ""
    what = "the shapes around them" if made.moved == "shape" else "only the voxels that were named"
    console.print(f"Corrections moved {what}.{alone}", highlight=False)


def _corrections(said: dict[str, list[Said]]) -> tuple[list[Click], list[Lasso], list[Box]]:
    """Clicks and scribbles, lassos, and boxes."""
    from uncertaintyseg.inference.conditioned import Click
    from uncertaintyseg.review.enclosing import Box, Lasso

    def voxels(flag: str) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
        for label, places in said[flag]:
            yield label, [tuple(map(int, place)) for place in places]

    clicks = [Click(voxel, label) for label, (voxel,) in voxels("--click")]
    clicks += [Click(voxel, label, stroke=True) for label, stroke in voxels("--scribble") for voxel in stroke]
    lassos = [Lasso(label, tuple(map(tuple, places))) for label, places in said["--lasso"]]
    return clicks, lassos, [Box(label, first, last) for label, (first, last) in voxels("--box")]
