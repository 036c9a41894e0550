"""`uncertaintyseg predict`: one scan to a label and risk maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from uncertaintyseg.cli.console import (
    Alpha,
    AsJson,
    Crf,
    CrfOptions,
    Delta,
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
from uncertaintyseg.cli.prompts import MARGIN, Boxes, Margin, Points, PromptsFrom, Yes, asking_on, source_hash
from uncertaintyseg.cli.scan_arguments import Channels, Force, Scan, read_scans
from uncertaintyseg.cli.spread import CASES_FAILED, WORKERS_DIED, Devices, Ray, Resume, Scans, Threads, Workers, spread
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.review.order import worst_first
from uncertaintyseg.wire import Cut, Guarantee, Region, Structure, shown_unit

if TYPE_CHECKING:
    from uncertaintyseg.data.channels import Image
    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.workers import Outcome

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
    device: Devices = "auto",
    workers: Workers = None,
    threads: Threads = None,
    ray: Ray = None,
    ship: Scans = "path",
    resume: Resume = True,
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

    Of a folder every scan in it, by two processes: uncertaintyseg predict hippocampus_low_rank FOLDER --workers 2. A
    scan that cannot be used is reported, the others are done, and the command exits with 1; with 3 where workers died
    of one. Stopped, the same command goes on.

    What a box asks for, of a model of SAM: uncertaintyseg predict my_sam scan.nii.gz --box "8,12,6; 20,31,6=liver"
    --method dropout_injection, or around what another model finds: --prompts-from hippocampus_low_rank
    """
    folders = models or []
    bundle = find_bundle(model, *folders)
    found = read_scans(bundle, image, channel)
    _check(bundle, found, plausible=plausible, placed=bool(box or point))
    view = plane if bundle.prompted else None
    with (
        spread(workers, threads, ray, ship, resume) as way,
        progress_bar() as progress,
        with_examples(bundle, examples, None if view else plane, slices) as bundle,
    ):
        progress("loading the model", 0.0)
        from uncertaintyseg.cli.predict_case import ScanToDo, is_written, predict_case
        from uncertaintyseg.data.writing import check_folder
        from uncertaintyseg.review.promise import ALPHA, check_bound, guarantee

        asking = partial(
            asking_on, boxes=box, points=point, source=prompts_from, plane=view, margin=margin, yes=yes, folders=folders
        )
        asks = bundle.prompted or box or point or prompts_from
        spec = way.spec(
            bundle, device, method, folders=folders, options=read_options(option), crf=read_crf(crf, crf_option),
            threshold=threshold, force=force, asking=asking if asks else None,
        )  # fmt: skip
        predictor = way.predictor(spec)
        bound, (calibration, _) = ALPHA if alpha is None else alpha, predictor.calibration
        check_bound(bound, delta)
        if calibration and (alpha, delta) != (None, None):
            guarantee(calibration, bound, delta)  # who asks for what is out of reach learns it now
        output = output.resolve()
        check_folder(output, "--output")
        given = {
            "seed": seed, "samples": samples, "structures": read_structures(structures), "region": read_roi(roi),
            "alpha": bound, "delta": delta, "anomaly": anomaly,
        }  # fmt: skip
        work = partial(predict_case, output=None if ray else output, given=given, plausible=plausible)
        about = ["predict", str(output), source_hash(prompts_from, folders)]
        loop = way.loop(spec, predictor, about, partial(is_written, output))
        outcomes = loop.each(work, [ScanToDo(*scan) for scan in found.items()], progress)
        reports, failed = _take(outcomes, output, shown=not as_json)
    if "" in failed:
        raise InputError(failed[""].error)
    for case, outcome in failed.items():
        console.print(f"[red]{escape(case)}[/red] was not segmented: {escape(outcome.error)}", highlight=False)
    if as_json:
        print_json(reports.get("") or {case: reports[case] for case in found if case in reports})
    way.close(failed=bool(failed))
    if failed:
        raise typer.Exit(WORKERS_DIED if any(outcome.died for outcome in failed.values()) else CASES_FAILED)


def _check(bundle: Bundle, found: Mapping[str, Image], *, plausible: int, placed: bool) -> None:
    """What can be said before anything is loaded."""
    if plausible and bundle.uncertainty.parts:
        raise InputError(f"{bundle.name} is put together from several networks: no whole segmentations can be drawn.")
    if "" in found:
        warn_of_doubts(bundle, found[""])  # of many each is told when it is done
    if len(found) > 1 and placed:
        raise InputError(
            "boxes and points are of one scan: name its file, or take prompts from a model (--prompts-from)."
        )


def _take(outcomes: Iterable[Outcome], output: Path, *, shown: bool) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """Write and show what comes, as it comes: the reports, and what failed, by case."""
    from uncertaintyseg.cli.predict_case import write_files

    reports: dict[str, Any] = {}
    failed: dict[str, Outcome] = {}
    for outcome in outcomes:
        case, answer = outcome.item.id, outcome.answer
        if outcome.error is not None:
            failed[case] = outcome
            continue
        if "files" in answer:
            write_files(answer, output / case)
        reports[case] = answer["report"]
        for doubt in answer["doubts"]:
            console.print(f"[yellow]Warning:[/yellow] {escape(case)} {escape(doubt)}")
        if shown:
            show(answer["report"], case, output / case)
            if drawn := answer["drawn"]:
                console.print(f"{drawn} plausible segmentations are beside it, the smallest first.")
    return reports, failed


def show(report: Mapping[str, Any], case: str, output: Path) -> None:
    """Print what the report of a prediction says that was saved to a folder; `case` is its name among several."""
    from uncertaintyseg.cli.predict_case import FRAMES

    unit = shown_unit(report["size_unit"])
    structures = [Structure.model_validate(row) for row in report["structures"]]
    table = Table(
        Column("structure", no_wrap=True),
        f"size, {unit}",
        "95 % interval",
        "mean risk",
        "expected Dice",
        "look at it because",
        title=case or None,
    )
    rows = _shown(structures)
    for row in rows:
        interval = "{:.2f} to {:.2f}".format(*row.volume_ml_95) if row.volume_ml_95 else "-"
        risk, dice = (("-" if value is None else f"{value:.3f}") for value in (row.mean_risk, row.expected_dice))
        table.add_row(row.name, f"{row.volume_ml:.2f}", interval, risk, dice, row.flag or "")
    table.caption = "\n".join(dict.fromkeys(text for row in rows for text in _methods(row)))
    console.print(table)
    if len(rows) < len(structures):
        missed = sum(row.expected_error_ml or 0.0 for row in structures if row not in rows)
        console.print(
            f"{len(structures) - len(rows)} structures not found, {missed:.2f} {unit} expected to be missed "
            "of them; --json has them all."
        )
    for region in [Region.model_validate(row) for row in report["regions"][:3]]:
        wrong = f"{region.expected_error_ml:.2f} {unit} expected to be wrong"
        console.print(f"{region.rank}. {region.structure}, {region.kind}: {wrong}, at {_where(region)}")
    if report["threshold"]:
        console.print(Cut.model_validate(report["threshold"]).text, highlight=False)
    promise = report["guarantee"]
    kept = Guarantee.model_validate(promise).text if promise else f"Nothing is promised: {report['guarantee_reason']}"
    console.print(kept)
    if fallback := report["provenance"]["fallback"]:
        console.print(f"[yellow]{escape(fallback)}[/yellow]", highlight=False)
    drawn = f", {FRAMES}" if report["frames"] else ""
    console.print(f"Label, {len(report['maps'])} maps{drawn} and report.json are in {output}.")


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
