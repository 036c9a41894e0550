"""`uncertaintyseg evaluate`: a model against labelled cases."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from uncertaintyseg.cli.comparison import check_titles, comparison_picture, runs_to_compare, show_comparison
from uncertaintyseg.cli.console import (
    AsJson,
    Crf,
    CrfOptions,
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
from uncertaintyseg.cli.examples import MOST, ExampleFolder, Plane, Slices, with_examples
from uncertaintyseg.cli.ood import beside, ood_picture, show_ood, strangers_to
from uncertaintyseg.cli.parts import ALL, unseen_cases
from uncertaintyseg.cli.prompts import MARGIN, Margin, PromptsFrom, Yes, asking_on, source_hash
from uncertaintyseg.cli.scan_arguments import Force
from uncertaintyseg.cli.spread import CASES_FAILED, WORKERS_DIED, Devices, Ray, Resume, Scans, Threads, Workers, spread
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case
    from uncertaintyseg.inference.prompting import Asking


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
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="What to compare with on the same cases: a method on MODEL, a model, MODEL:METHOD, or a file that "
            "--json wrote earlier; repeatable, or with commas between. --option is for MODEL's own --method alone."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="PNG file to draw reliability and error detection in; the scores of --ood and violins of --compare "
            "are drawn beside it, in <name>_ood.png and <name>_compare.png."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="CSV file for size, eccentricity, centroid, box and (of images) circumference of each structure of "
            "each case; histograms of the sizes are drawn beside it, in <name>_sizes.png."
        ),
    ] = None,
    examples: ExampleFolder = None,
    plane: Plane = None,
    slices: Slices = MOST,
    prompts_from: PromptsFrom = None,
    margin: Margin = MARGIN,
    yes: Yes = False,
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
    """Measure overlap, calibration and error detection of a model on labelled cases.

    A case that cannot be used is reported, the others are evaluated, and the command exits with 1; with 3 where workers
    died of a case. The same command then does only those.

    Example: uncertaintyseg evaluate hippocampus_low_rank DATA --cases msd_hippocampus:validation, or any other method
    on it: uncertaintyseg evaluate hippocampus_deterministic DATA --method dropout_injection --option passes=10

    Against others: uncertaintyseg evaluate hippocampus_deterministic DATA --compare low_rank,tta --picture figures.png

    From examples alone: uncertaintyseg evaluate universeg DATA --examples corrected --method examples

    Prompted by another model: uncertaintyseg evaluate my_sam DATA --prompts-from hippocampus_low_rank

    Scans from elsewhere: uncertaintyseg evaluate hippocampus_low_rank DATA --ood OTHER_DATA --picture figures.png
    """
    folders, told = models or [], []
    bundle = find_bundle(model, *folders)
    if prompts_from and Path(prompts_from).is_file():
        raise InputError(
            f"--prompts-from {prompts_from}: of a data set it names a model; a label would be a reference."
        )
    view = plane if bundle.prompted else None
    with (
        spread(workers, threads, ray, scans, resume) as way,
        progress_bar() as progress,
        with_examples(bundle, examples, None if view else plane, slices) as bundle,
    ):
        progress("loading the model", 0.0)
        from uncertaintyseg.cli.features import FeatureTable
        from uncertaintyseg.data.writing import check_file
        from uncertaintyseg.inference.case_figures import no_more
        from uncertaintyseg.inference.comparison import compare as compared
        from uncertaintyseg.inference.evaluation import evaluate as measure
        from uncertaintyseg.inference.ood import evaluate_with_ood
        from uncertaintyseg.inference.shape_rows import shape_rows

        check_file(picture, "--picture")
        check_file(features, "--features")
        others = strangers_to(bundle, data, ood, progress) if ood else None
        runs, earlier = runs_to_compare(compare or [], bundle, folders)
        asking = partial(asking_on, plane=view, margin=margin, yes=yes, folders=folders)
        specs = [
            way.spec(
                its, device, how, folders=folders, options=given, crf=read_crf(crf, crf_option), threshold=threshold,
                force=force, asking=_prompted_by(its, asking, prompts_from if its is bundle or its.prompted else None),
            )
            for its, how, given in [(bundle, method, read_options(option)), *((*run, {}) for run in runs)]
        ]  # fmt: skip
        predictors = [way.predictor(spec) for spec in specs]
        check_titles([*(predictor.title for predictor in predictors), *earlier])
        chosen = cases_of(bundle, data, cases, "test", told)
        shapes = FeatureTable(features)
        about = ["evaluate", str(data.resolve()), source_hash(prompts_from, folders)]
        results: dict[str, Any] = {}
        for spec, predictor in zip(specs, predictors, strict=True):
            first = features and not results
            given = {
                "keep": shape_rows if first else no_more,
                "take": shapes.take if first else lambda case, kept: None,
                "loop": way.loop(spec, predictor, about),
            }
            results[predictor.title] = (
                measure(predictor, chosen, progress, **given)
                if others is None
                else evaluate_with_ood(predictor, chosen, others, progress, **given)
            )
        found = compared(results | earlier) if compare else None
    tell(*told)
    result = results[predictors[0].title]
    warn_of_left_out(data, result["unlabelled"])
    for title, one in results.items():
        for case, message in one["failed"].items():
            by = f" by {title}" if found else ""
            console.print(f"[red]{escape(case)}[/red] was not evaluated{by}: {escape(message)}", highlight=False)
    if picture:
        _draw(results, results | earlier, found, picture)
    shapes.write()
    if as_json:
        print_json(result | ({"comparison": found, "results": results} if found else {}))
    else:
        _tell_all(results, found)
    failed = [failure for one in results.values() for failure in (one["failed"], one.get("ood", one)["failed"])]
    way.close(failed=any(failed))
    if any(one["died"] for one in results.values()):
        raise typer.Exit(WORKERS_DIED)
    if any(failed):
        raise typer.Exit(CASES_FAILED)


def _prompted_by(
    bundle: Bundle, asking: Callable[..., Asking], source: str | None
) -> Callable[[Bundle, str], Asking] | None:
    """What each worker asks of a model that is prompted; None of any other."""
    return partial(asking, source=source) if bundle.prompted or source else None


def _draw(results: dict[str, Any], compared: dict[str, Any], found: dict[str, Any] | None, picture: Path) -> None:
    """The picture of the first run, and beside it those of the comparison and of scans from elsewhere."""
    from uncertaintyseg.cli.pictures import evaluation_picture

    title = next(iter(results))
    evaluation_picture(results[title], title, picture)
    if found:
        comparison_picture(found, compared, beside(picture, "compare"))
    for number, (title, result) in enumerate(results.items(), start=1):
        if "ood" in result:
            ood_picture(result, title, beside(picture, "ood" if number == 1 else f"ood_{number}"))


def _tell_all(results: dict[str, Any], found: dict[str, Any] | None) -> None:
    title = next(iter(results))
    _show(results[title], title)
    if found:
        show_comparison(found)
    for title, result in results.items():
        if "ood" in result:
            show_ood(result, title)


def _show(result: dict[str, Any], title: str) -> None:
    table = Table(
        "structure", "Dice", "95 % interval", "HD95 mm", "surface Dice", title=f"{title}, {result['n']} cases"
    )
    for name, row in result["structures"].items():
        interval = "{lo:.3f} to {hi:.3f}".format(**row["dice"])
        figures = [f"{row[key]['mean']:.{digits}f}" for key, digits in (("hd95_mm", 1), ("surface_dice", 3))]
        table.add_row(name, f"{row['dice']['mean']:.3f}", interval, *figures)
    console.print(table)
    if same := [row["id"] for row in result["cases"] if row.get("same_patient")]:
        console.print(
            f"Same patient: the model was shown slices of {len(same)} of these {result['n']} cases, so its figures are "
            f"too good: {', '.join(same[:20])}. Take examples of others.",
            highlight=False,
        )
    console.print(_classes(result))
    for name, row in result["circumference"].items():
        console.print(_circumference(name, row), highlight=False)
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


def _classes(result: dict[str, Any]) -> Table:
    """Overlap of each structure, and over all of them: voxels pooled (micro) and a mean over structures (macro)."""
    measures = ("dice", "iou", "precision", "recall")
    table = Table("class", "Dice", "IoU", "precision", "recall", title="Means over cases")
    rows = {name: [row[key]["mean"] for key in measures] for name, row in result["structures"].items()}
    rows |= {kind: [result["classes"][f"{kind}_{key}"]["mean"] for key in measures] for kind in ("micro", "macro")}
    for number, (name, values) in enumerate(rows.items(), start=1):
        table.add_row(name, *(f"{value:.3f}" for value in values), end_section=number == len(result["structures"]))
    return table


def _circumference(name: str, row: dict[str, Any]) -> str:
    if not row["n"]:
        return f"{name}: no circumference on both sides."
    held = "" if row["coverage_95"] is None else f"; its 95 % interval held in {row['coverage_95']:.0%}"
    return (
        f"{name}: circumference off by {row['absolute_error']['mean']:.2f} {row['unit']} "
        f"({row['error']['mean']:+.2f}){held}, {row['n']} cases."
    )


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
