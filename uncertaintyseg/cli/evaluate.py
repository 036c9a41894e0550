"""`uncertaintyseg evaluate`: a model against labelled cases."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from uncertaintyseg.cli.console import (
    AsJson,
    Crf,
    CrfOptions,
    Device,
    Method,
    ModelName,
    MoreModels,
    Options,
    Threshold,
    console,
    print_json,
    progress_bar,
    read_crf,
    read_options,
    tell,
    tell_ignored,
    warn_of_left_out,
)
from uncertaintyseg.cli.ood import beside, ood_picture, show_ood, strangers_to
from uncertaintyseg.cli.parts import ALL, unseen_cases
from uncertaintyseg.cli.scan_arguments import Force
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case


def evaluate(
    model: ModelName,
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    cases: Annotated[
        str | None,
        typer.Option(
            help="File with case ids (JSON list or one a line), SPLIT:PART such as msd_hippocampus:test, or all; by "
            "default the test part of the split beside DATA, without one all."
        ),
    ] = None,
    method: Method = None,
    option: Options = None,
    crf: Crf = False,
    crf_option: CrfOptions = None,
    threshold: Threshold = None,
    ood: Annotated[
        Path | None,
        typer.Option(
            help="Folder of scans unlike DATA's, no labels needed: how well each risk map tells them, as an AUROC."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="PNG file to draw reliability and error detection in; with --ood the scores of the cases are drawn in "
            "<name>_ood.png beside it."
        ),
    ] = None,
    force: Force = False,
    device: Device = "auto",
    models: MoreModels = None,
    as_json: AsJson = False,
) -> None:
    """Measure overlap, calibration and error detection of a model on labelled cases.

    A case that cannot be used is reported, the others are evaluated, and the command exits with 1.

    Example: uncertaintyseg evaluate hippocampus_low_rank DATA --cases msd_hippocampus:validation, or any other method
    on it: uncertaintyseg evaluate hippocampus_deterministic DATA --method dropout_injection --option passes=10

    Scans from elsewhere: uncertaintyseg evaluate hippocampus_low_rank DATA --ood OTHER_DATA --picture figures.png
    """
    folders, told = models or [], []
    bundle = find_bundle(model, *folders)
    with progress_bar() as progress:
        progress("loading the model", 0.0)
        from uncertaintyseg.inference.evaluation import evaluate as measure
        from uncertaintyseg.inference.ood import evaluate_with_ood
        from uncertaintyseg.inference.predictors import predictor_for

        others = strangers_to(bundle, data, ood, progress) if ood else None
        predictor = predictor_for(
            bundle, method, folders, options=read_options(option), device=device,
            crf=read_crf(crf, crf_option), threshold=threshold,
        )  # fmt: skip
        predictor.force = force
        chosen = cases_of(bundle, data, cases, "test", told)
        if others is None:
            result = measure(predictor, chosen, progress)
        else:
            result = evaluate_with_ood(predictor, chosen, others, progress)
    tell(*told)
    warn_of_left_out(data, result["unlabelled"])
    for case, message in result["failed"].items():
        console.print(f"[red]{escape(case)}[/red] was not evaluated: {escape(message)}", highlight=False)
    if picture:
        from uncertaintyseg.cli.pictures import evaluation_picture

        evaluation_picture(result, predictor.title, picture)
        if ood:
            ood_picture(result, predictor.title, beside(picture, "ood"))
    if as_json:
        print_json(result)
    else:
        _show(result, predictor.title)
        if ood:
            show_ood(result, predictor.title)
    if result["failed"] or result.get("ood", result)["failed"]:
        raise typer.Exit(1)


def _show(result: dict[str, Any], title: str) -> None:
    table = Table(
        "structure", "Dice", "95 % interval", "HD95 mm", "surface Dice", title=f"{title}, {result['n']} cases"
    )
    for name, row in result["structures"].items():
        interval = "{lo:.3f} to {hi:.3f}".format(**row["dice"])
        figures = [f"{row[key]['mean']:.{digits}f}" for key, digits in (("hd95_mm", 1), ("surface_dice", 3))]
        table.add_row(name, f"{row['dice']['mean']:.3f}", interval, *figures)
    console.print(table)
    errors = Table(
        "map", "AUROC", "AP", "AURC x 1000", title=f"Errors within {result['boundary_mm']:g} mm of the border"
    )
    for name, row in result["error_detection"]["boundary"].items():
        figures = [f"{row[key]['mean']:.3f}" for key in ("auroc", "ap")]
        errors.add_row(name, *figures, f"{row['aurc_x1000']['mean']:.1f}", style="bold" * (name == result["best_map"]))
    console.print(errors)
    if result["ambiguity"]:
        distance, n = result["ambiguity"]["ged_squared"]["mean"], result["ambiguity"]["n"]
        console.print(f"Against several raters ({n} cases): GED squared {distance:.3f}.")
    if result["unmatched"]:
        console.print(f"Files of no structure of this model: {', '.join(result['unmatched'])}.", highlight=False)
    tell_ignored({row["id"]: row["ignored_voxels"] for row in result["cases"]})
    figures = "NLL {nll:.4f} nats, Brier {brier:.4f}, ECE {ece:.4f}, {seconds_per_case:.2f} s a case"
    console.print(figures.format(**result))


def cases_of(bundle: Bundle, data: Path, choice: str | None, part: str, told: list[str]) -> list[Case]:
    """The cases of a folder by `choice`, as of `chosen_cases`; None takes those that the split keeps for this part.

    Raises:
        InputError: as `read_cases`, `chosen_cases` and `unseen_cases`.
    """
    from uncertaintyseg.data.layouts import read_cases

    cases = read_cases(data)
    return unseen_cases(bundle, data, cases, part, told) if choice is None else chosen_cases(cases, choice)


def chosen_cases(cases: list[Case], choice: str) -> list[Case]:
    """The cases named by `choice`: a file of ids, SPLIT:PART, or "all".

    Raises:
        InputError: when the choice cannot be read, or names a case that is not there.
    """
    from uncertaintyseg.data.splitting import SPLIT_NAMES, read_split

    if choice == ALL and not Path(choice).is_file():
        return cases
    name, _, part = choice.rpartition(":")
    found = {case.id: case for case in cases}
    ids = read_split(name)[part] if name and part in SPLIT_NAMES else _ids_in(Path(choice), found)
    absent = [i for i in ids if i not in found]
    if absent:
        raise InputError(f"{choice} names {len(absent)} cases that DATA does not hold, first '{absent[0]}'.")
    return [found[i] for i in ids]


def _ids_in(path: Path, known: Collection[str]) -> list[str]:
    """Of a JSON list, or one a line; a line that is no case may be several of them with spaces between."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: no such list of cases. Give a file with ids, or SPLIT:PART such as msd_hippocampus:validation."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text in UTF-8; save it so.") from error
    if text.lstrip().startswith("["):
        try:
            return [str(i) for i in json.loads(text)]
        except ValueError as error:
            raise InputError(f"{path}: not valid JSON ({error}).") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [case for line in lines for case in ([line] if line in known else _words(line, known))]


def _words(line: str, known: Collection[str]) -> list[str]:
    words = line.split()
    return words if any(word in known for word in words) else [line]
