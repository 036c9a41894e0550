"""`uncertaintyseg calibrate`: what a model's error probability is worth, and what can be promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from uncertaintyseg.cli.console import AsJson, ModelName, MoreModels, console, print_json, progress_bar, tell
from uncertaintyseg.cli.evaluate import cases_of, chosen_cases
from uncertaintyseg.cli.scan_arguments import Force
from uncertaintyseg.cli.spread import Devices, Ray, Resume, Scans, Threads, Workers, spread
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.wire import MEASURE

if TYPE_CHECKING:
    from uncertaintyseg.review.calibration import Calibration

ALPHAS = (0.02, 0.05, 0.1, 0.15)
DELTA = 0.1
Bound = tuple[float, float | None]
"""Alpha and delta."""


def calibrate(
    model: ModelName,
    data: Annotated[Path, typer.Argument(help="Folder with images/ and labels/ (or another known layout).")],
    cases: Annotated[
        str | None,
        typer.Option(
            help="File with case ids (JSON list or one a line), SPLIT:PART such as phantom:calibration, or all; by "
            "default the calibration part of the split beside DATA, without one all."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What people call these cases; by default --cases or the folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of models to put a calibrated copy in; by default beside the weights.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="Map that drives regions, thresholds and promises, such as ranking; auto: of all the one that ranks "
            "errors best on --validation."
        ),
    ] = MEASURE,
    validation: Annotated[
        str | None, typer.Option(help="Cases that --by auto chooses on, as of --cases; none of those.")
    ] = None,
    alpha: Annotated[
        list[float] | None,
        typer.Option(help="Bound to say a promise for, such as 0.08; repeatable. By default 0.02, 0.05, 0.1, 0.15."),
    ] = None,
    delta: Annotated[float, typer.Option(help="Beside the average, promise with confidence 1 - DELTA.")] = DELTA,
    picture: Annotated[Path | None, typer.Option(help="PNG file to draw the risk-coverage curve in.")] = None,
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
    """Calibrate a model's error probability on labelled cases, and say what can be promised with them.

    Take cases at random, never by their risk, that neither trained the model nor helped to choose it; 20 or more to
    promise 5 %. `calibration.json` is written beside the weights.

    Example: uncertaintyseg calibrate hippocampus_low_rank DATA --cases msd_hippocampus:calibration
    """
    bundle, told = find_bundle(model, *(models or [])), []
    with spread(workers, threads, ray, scans, resume) as way, progress_bar() as progress:
        progress("loading the model", 0.0)
        from uncertaintyseg.data.layouts import read_cases
        from uncertaintyseg.inference.calibrating import calibrate as measure
        from uncertaintyseg.inference.calibrating import write_calibration
        from uncertaintyseg.inference.choosing import AUTO, best_driver, check_apart, ranking_figures
        from uncertaintyseg.review.promise import check_bound
        from uncertaintyseg.training.versions import installed

        bounds = [(bound, sure) for bound in alpha or ALPHAS for sure in (None, delta)]
        for bound in bounds:
            check_bound(*bound)
        if (by == AUTO) != (validation is not None):
            raise InputError("--by auto and --validation go together: a map is chosen on cases, and for nothing else.")
        every_case = read_cases(data)
        chosen, figures = cases_of(bundle, data, cases, "calibration", told), None
        spec = way.spec(bundle, device, force=force)
        predictor = way.predictor(spec)
        loop = way.loop(spec, predictor, ["calibrate", str(data.resolve())])
        if validation is not None:
            others = chosen_cases(every_case, validation)
            check_apart(chosen, others)
            figures = ranking_figures(predictor, others, progress, loop=loop)
            by = best_driver(figures)
        found = measure(predictor, chosen, progress, data=name or cases or data.resolve().name, by=by, loop=loop)
    tell(*told)
    write_calibration(installed(bundle, output) if output else bundle, found)
    way.close(failed=False)
    if picture:
        from uncertaintyseg.cli.calibration_picture import calibration_picture

        calibration_picture(found, bundle.name, picture)
    if as_json:
        print_json(_summary(bundle.name, found, bounds) | {"aurc": figures})
        return
    if figures:
        _show_figures(figures, by)
    _show(bundle.name, found, bounds)


def _promises(calibration: Calibration, bounds: Sequence[Bound]) -> list[dict[str, Any]]:
    """What is promised at some bounds, or the reason why not."""
    from uncertaintyseg.review.promise import OutOfReachError, guarantee

    rows: list[dict[str, Any]] = []
    for alpha, delta in bounds:
        row: dict[str, Any] = {"alpha": alpha, "delta": delta, "guarantee": None, "reason": None, "reviewed": None}
        try:
            promise = guarantee(calibration, alpha, delta)
            at = calibration.thresholds.index(promise.threshold)
            row |= {"guarantee": promise.model_dump(), "reviewed": float(calibration.mean_reviewed[at])}
        except OutOfReachError as error:
            row["reason"] = str(error)
        rows.append(row)
    return rows


def _summary(model: str, calibration: Calibration, bounds: Sequence[Bound]) -> dict[str, Any]:
    recalibration = calibration.recalibration
    mean, low, high = calibration.band.tolist()
    return {
        "model": model,
        "weights_checksum": calibration.weights_checksum,
        "driven_by": calibration.measure,
        "data": calibration.data,
        "n": calibration.n,
        "ece_before": recalibration and recalibration.ece_before,
        "ece_after": recalibration and recalibration.ece_after,
        "risk_coverage": {
            "threshold": calibration.thresholds, "expected_error": mean, "lo": low, "hi": high,
            "reviewed": calibration.mean_reviewed.tolist(),
        },
        "promises": _promises(calibration, bounds),
    }  # fmt: skip


def _show_figures(figures: Mapping[str, float], chosen: str) -> None:
    table = Table("map", "AURC x 1000", title="How well each map ranks errors (less is better)")
    for name, area in sorted(figures.items(), key=lambda item: item[1]):
        table.add_row(f"{name} (drives)" if name == chosen else name, f"{1000 * area:.4g}")
    console.print(table)


def _show(model: str, calibration: Calibration, bounds: Sequence[Bound]) -> None:
    title = f"{model}, {calibration.n} cases: volume left wrong / true volume"
    table = Table("at most", "how sure", "review above", "share of the scan", title=title)
    for row in _promises(calibration, bounds):
        sure = "on average" if row["delta"] is None else f"with {100 * (1 - row['delta']):.10g} % confidence"
        promise = row["guarantee"]
        shown = [f"{promise['threshold']:.3f}", f"{row['reviewed']:.1%}"] if promise else ["cannot be promised", ""]
        table.add_row(f"{100 * row['alpha']:.10g} %", sure, *shown)
    console.print(table)
    recalibration = calibration.recalibration
    if calibration.measure != MEASURE:
        console.print(
            f"Driven by {calibration.measure}: ECE on held-out folds {recalibration.ece_after:.4f}, of the model's own "
            f"error probability {recalibration.ece_before:.4f}."
        )
        return
    console.print(
        f"ECE of the error probability on held-out folds: {recalibration.ece_before:.4f}, recalibrated "
        f"{recalibration.ece_after:.4f}."
        if recalibration
        else "Recalibration did not help held-out folds: the error probability stays as it is."
    )
