"""`uncertaintyseg predict`: one scan to a label and risk maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from uncertaintyseg.cli.console import (
    Alpha,
    AsJson,
    Crf,
    CrfOptions,
    Delta,
    Device,
    Method,
    ModelName,
    MoreModels,
    Options,
    Roi,
    Structures,
    Threshold,
    console,
    print_json,
    progress_bar,
    read_crf,
    read_options,
    read_roi,
    read_structures,
    warn_of_doubts,
)
from uncertaintyseg.cli.examples import MOST, ExampleFolder, Plane, Slices, with_examples
from uncertaintyseg.cli.prompts import MARGIN, Boxes, Margin, Points, PromptsFrom, Yes, asking_of
from uncertaintyseg.cli.scan_arguments import Channels, Force, Scan, read_scans
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.review.order import worst_first
from uncertaintyseg.wire import Region, Structure, shown_unit

if TYPE_CHECKING:
    from uncertaintyseg.inference.prediction import Prediction
    from uncertaintyseg.inference.timing import Progress

_FRAMES = "frames.png"
_FEW = 20
"""So many structures are printed whatever they are, in the model's order."""


def predict(
    model: ModelName,
    image: Scan = None,
    channel: Channels = None,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for the label, the maps and report.json, of a clip also frames.png; of several cases for one "
            "folder each."
        ),
    ] = Path("prediction"),
    seed: Annotated[int, typer.Option(help="Seed of the samples behind the volume interval.")] = 0,
    samples: Annotated[int, typer.Option(min=2, help="Whole segmentations drawn for that interval; 39 or more.")] = 79,
    method: Method = None,
    option: Options = None,
    crf: Crf = False,
    crf_option: CrfOptions = None,
    threshold: Threshold = None,
    structures: Structures = None,
    roi: Roi = None,
    examples: ExampleFolder = None,
    plane: Plane = None,
    slices: Slices = MOST,
    box: Boxes = None,
    point: Points = None,
    prompts_from: PromptsFrom = None,
    margin: Margin = MARGIN,
    yes: Yes = False,
    anomaly: Annotated[
        str | None,
        typer.Option(help="Structure: one more map, the chance that a voxel is on the wrong side of it (a heat map)."),
    ] = None,
    plausible: Annotated[
        int,
        typer.Option(
            min=0,
            max=32,
            help="Also draw so many whole segmentations that the model finds plausible, by --seed, to leaf through: "
            "plausible_00.nii.gz is the smallest.",
        ),
    ] = 0,
    alpha: Alpha = None,
    delta: Delta = None,
    force: Force = False,
    device: Device = "auto",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Segment a scan and map where the segmentation is unsure.

    Example: uncertaintyseg predict hippocampus_low_rank scan.nii.gz --output prediction, or with test-time augmentation
    around any model: uncertaintyseg predict hippocampus_deterministic scan.nii.gz --method tta. Of a model with many
    structures, in a part of a large scan: --structures liver,spleen --roi 100,300,120,320,0,80. Of a model with several
    channels (uncertaintyseg models names them): --channel T1=a.nii.gz --channel FLAIR=b.nii.gz. A structure that no
    model knows, from slices that you have corrected: uncertaintyseg predict universeg scan.nii.gz --examples corrected
    --method examples

    What a box asks for, of a model of SAM: uncertaintyseg predict my_sam scan.nii.gz --box "8,12,6; 20,31,6=liver"
    --method dropout_injection, or around what another model finds: --prompts-from hippocampus_low_rank
    """
    folders = models or []
    bundle = find_bundle(model, *folders)
    scans = read_scans(bundle, image, channel)
    if plausible and bundle.uncertainty.parts:
        raise InputError(f"{bundle.name} is put together from several networks: no whole segmentations can be drawn.")
    for scan in scans.values():
        warn_of_doubts(bundle, scan)
    if len(scans) > 1 and (box or point):
        raise InputError(
            "boxes and points are of one scan: name its file, or take prompts from a model (--prompts-from)."
        )
    view = plane if bundle.prompted else None
    with progress_bar() as progress, with_examples(bundle, examples, None if view else plane, slices) as bundle:
        progress("loading the model", 0.0)
        from uncertaintyseg.cli.clip_picture import clip_picture
        from uncertaintyseg.cli.plausible import draw_plausible, write_plausible
        from uncertaintyseg.inference.predictors import predictor_for
        from uncertaintyseg.review.promise import ALPHA, check_bound, guarantee

        predictor = predictor_for(
            bundle, method, folders, options=read_options(option), device=device,
            crf=read_crf(crf, crf_option), threshold=threshold,
        )  # fmt: skip
        bound, (calibration, _) = ALPHA if alpha is None else alpha, predictor.calibration
        check_bound(bound, delta)
        if calibration and (alpha, delta) != (None, None):
            guarantee(calibration, bound, delta)  # who asks for what is out of reach learns it now
        predictor.force = force
        predictor.asking = asking_of(
            bundle, boxes=box, points=point, source=prompts_from, plane=view, margin=margin, yes=yes, folders=folders,
            device=device, progress=progress,
        )  # fmt: skip
        reports = {}
        for number, (case, scan) in enumerate(scans.items()):
            prediction = predictor.predict(
                scan, seed=seed, samples=samples, structures=read_structures(structures), region=read_roi(roi),
                alpha=bound, delta=delta, anomaly=anomaly, progress=_of_many(progress, case, number, len(scans)),
            )  # fmt: skip
            drawn = draw_plausible(predictor, prediction, plausible, seed) if plausible else []
            reports[case] = prediction.save(output / case)
            write_plausible(drawn, prediction, output / case)
            if curves := prediction.frames:
                clip_picture(curves, prediction.measure.unit, output / case / _FRAMES)
            if not as_json:
                show(prediction, case, output / case)
                if drawn:
                    console.print(f"{len(drawn)} plausible segmentations are beside it, the smallest first.")
    if as_json:
        print_json(reports.get("", reports))


def _of_many(progress: Progress, case: str, number: int, count: int) -> Progress:
    """What is done of all cases together, with the case's name."""
    if not case:
        return progress
    return lambda stage, fraction: progress(f"{case}: {stage}", (number + fraction) / count)


def show(prediction: Prediction, case: str, output: Path) -> None:
    """Print what a prediction says that was saved to a folder; `case` is its name where there are several."""
    unit = shown_unit(prediction.measure.unit)
    table = Table(
        Column("structure", no_wrap=True),
        f"size, {unit}",
        "95 % interval",
        "mean risk",
        "expected Dice",
        "look at it because",
        title=case or None,
    )
    rows = _shown(prediction.structures)
    for row in rows:
        interval = "{:.2f} to {:.2f}".format(*row.volume_ml_95) if row.volume_ml_95 else "-"
        risk, dice = (("-" if value is None else f"{value:.3f}") for value in (row.mean_risk, row.expected_dice))
        table.add_row(row.name, f"{row.volume_ml:.2f}", interval, risk, dice, row.flag or "")
    table.caption = "\n".join(dict.fromkeys(text for row in rows for text in _methods(row)))
    console.print(table)
    if len(rows) < len(prediction.structures):
        missed = sum(row.expected_error_ml or 0.0 for row in prediction.structures if row not in rows)
        console.print(
            f"{len(prediction.structures) - len(rows)} structures not found, {missed:.2f} {unit} expected to be missed "
            "of them; --json has them all."
        )
    for region in prediction.regions[:3]:
        wrong = f"{region.expected_error_ml:.2f} {unit} expected to be wrong"
        console.print(f"{region.rank}. {region.structure}, {region.kind}: {wrong}, at {_where(region)}")
    if prediction.threshold:
        console.print(prediction.threshold.text, highlight=False)
    promise = prediction.guarantee
    console.print(promise.text if promise else f"Nothing is promised: {prediction.guarantee_reason}")
    drawn = f", {_FRAMES}" if prediction.measure.clip else ""
    console.print(f"Label, {len(prediction.maps)} maps{drawn} and report.json are in {output}.")


def _where(region: Region) -> str:
    if region.frame is not None:
        return f"pixel {region.ijk[0]}, {region.ijk[1]} of frame {region.frame + 1}"
    return "RAS {:.0f}, {:.0f}, {:.0f} mm".format(*region.ras_mm)


def _methods(row: Structure) -> Iterator[str]:
    """Where a row's interval and its expected Dice are from."""
    yield f"95 % interval: {row.interval_method}"
    if row.dice_method:
        yield f"expected Dice: {row.dice_method}"


def _shown(structures: Sequence[Structure]) -> list[Structure]:
    """The rows to print, the largest expected error first; of many those that were found."""
    return worst_first(row for row in structures if row.volume_ml or len(structures) <= _FEW)
