"""`uncertaintyseg audit`: which existing labels are most likely wrong, and where."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table

from uncertaintyseg.cli.console import (
    AsJson,
    MoreModels,
    console,
    print_json,
    progress_bar,
    tell_ignored,
    warn_of_left_out,
    without_nan,
)
from uncertaintyseg.cli.scan_arguments import Force
from uncertaintyseg.cli.spread import CASES_FAILED, WORKERS_DIED, Devices, Ray, Resume, Scans, Threads, Workers, spread
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.wire import shown_unit

if TYPE_CHECKING:
    from uncertaintyseg.inference.audit import CaseAudit

_COLUMNS = (
    "rank", "case", "name", "volume_ml", "expected_error_ml", "excess_error_ml", "expected_dice", "mean_risk", "flag",
)  # fmt: skip


def audit(
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    model: Annotated[str, typer.Option(help="Name as `uncertaintyseg models` prints it.", show_default=False)],
    labels: Annotated[
        Path | None, typer.Option(help="Folder with the labels instead: <case>.nii.gz, or <case>/<structure>.nii.gz.")
    ] = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option("--map", help="What an id or a file's name stands for: 5=organ, or a JSON file. Repeatable."),
    ] = None,
    by: Annotated[
        Literal["excess", "error", "dice"],
        typer.Option(help="Rank by expected error beyond that of the model's own label, by all of it, or by Dice."),
    ] = "excess",
    top: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    picture: Annotated[Path | None, typer.Option(help="PNG file to draw the worst places in.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for audit.csv, audit.json and a map a case.")] = None,
    force: Force = False,
    device: Devices = "auto",
    workers: Workers = None,
    threads: Threads = None,
    ray: Ray = None,
    scans: Scans = "path",
    resume: Resume = True,
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Rank existing labels, case by case and structure by structure, by the error that a model expects in them.

    A model that has learnt from a label believes it: take one that was trained on other cases. A label that cannot be
    read is reported, the others are audited, and the command exits with 1; with 3 where workers died of a case. The
    same command then does only those.

    Example: uncertaintyseg audit DATA --model hippocampus_low_rank --picture worst.png, or labels of another program:
    uncertaintyseg audit DATA --model abdomen --labels totalsegmentator --map 5=liver
    """
    bundle = find_bundle(model, *(models or []))
    with spread(workers, threads, ray, scans, resume) as way, progress_bar() as progress:
        progress("loading the model", 0.0)
        from uncertaintyseg.cli.audit_picture import WorstViews
        from uncertaintyseg.data.label_map import read_label_map
        from uncertaintyseg.data.layouts import read_cases, with_labels
        from uncertaintyseg.data.writing import write_bytes
        from uncertaintyseg.inference.audit import audit as look_at

        cases = read_cases(data)
        cases = cases if labels is None else with_labels(cases, labels)
        mapping = read_label_map(label_map or [], [item.name for item in bundle.labels])
        views = WorstViews()

        def take(case: str, kept: dict[str, Any]) -> None:
            views.take(kept["views"])
            if output is not None:
                write_bytes(output.resolve() / f"{case}_label_error.nii.gz", kept["map"].tobytes())

        spec = way.spec(bundle, device, force=force)
        predictor = way.predictor(spec)
        keep = partial(_kept, picture=picture is not None, heat=output is not None)
        result = look_at(
            predictor,
            cases,
            mapping,
            by=by,
            keep=keep,
            take=take,
            progress=progress,
            loop=way.loop(spec, predictor, ["audit", str(data.resolve())]),
        )
    warn_of_left_out(data, [case.id for case in cases if case.label is None])
    if picture is not None:
        views.draw(picture)
    if output is not None:
        _write_tables(result, output)
    if as_json:
        print_json(result)
    else:
        _show(result, top)
    way.close(failed=bool(result["failed"]))
    if result["failed"]:
        raise typer.Exit(WORKERS_DIED if result["died"] else CASES_FAILED)


def _kept(audited: CaseAudit, *, picture: bool, heat: bool) -> dict[str, Any]:
    """What of a case is drawn, and 1 - p[label] as a file, to look at over its scan."""
    import numpy as np

    from uncertaintyseg.cli.audit_picture import views_of
    from uncertaintyseg.data.writing import encode_map

    found: dict[str, Any] = {"views": views_of(audited) if picture else []}
    if heat:
        encoded = encode_map(audited.review.error_probability, audited.prediction.affine, (0.0, 1.0))
        found["map"] = np.frombuffer(encoded, np.uint8)
    return found


def _write_tables(result: dict[str, Any], folder: Path) -> None:
    from uncertaintyseg.data.writing import write_bytes

    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(result["structures"])
    write_bytes(folder.resolve() / "audit.csv", text.getvalue().encode())
    write_bytes(folder.resolve() / "audit.json", json.dumps(without_nan(result), indent=2).encode())


def _show(result: dict[str, Any], top: int) -> None:
    title = f"{result['n']} labels against {result['model']}, by {result['by']}"
    case, structure = (Column(name, no_wrap=True) for name in ("case", "structure"))
    unit = "/".join(sorted({shown_unit(row["size_unit"]) for row in result["structures"]}))
    table = Table("", case, structure, unit, "error", "excess", "Dice", "look at it because", title=title)
    for row in result["structures"][:top]:
        dice = "-" if row["expected_dice"] is None else f"{row['expected_dice']:.3f}"
        figures = (f"{row[key]:.2f}" for key in ("volume_ml", "expected_error_ml", "excess_error_ml"))
        table.add_row(str(row["rank"]), row["case"], row["name"], *figures, dice, row["flag"] or "")
    console.print(table)
    console.print(
        f"Error and its excess over the model's own best guess are expected {unit}, the Dice is the expected one."
    )
    places = Table("", "case", "structure", "kind", "error", "RAS mm", title="Worst places, by expected error")
    for row in result["regions"][: min(top, 10)]:
        where = "{:.0f}, {:.0f}, {:.0f}".format(*row["ras_mm"])
        places.add_row(
            str(row["rank"]), row["case"], row["structure"], row["kind"], f"{row['expected_error_ml']:.2f}", where
        )
    console.print(places)
    if others := result["unmatched"]:
        console.print(f"No structure of {result['model']}: {', '.join(others)}.", highlight=False)
    tell_ignored(result["ignored_voxels"])
    for case, message in result["failed"].items():
        console.print(f"[red]{case}[/red] was not audited: {message}", highlight=False)
