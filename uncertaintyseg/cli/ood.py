"""`uncertaintyseg evaluate --ood`: scans that are unlike those of DATA."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from uncertaintyseg.cli.console import console
from uncertaintyseg.cli.parts import learnt_cases, shipped_scans_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case

Progress = Callable[[str, float], None]


def strangers_to(bundle: Bundle, data: Path, other: Path, progress: Progress) -> list[Case]:
    """The scans of a folder, which must be unlike those of DATA and no case that the model has learnt from.

    Those of shipped models are known by their voxels. A case that a training here names is refused too, unless DATA
    holds one of that name as well: then the scan is a changed one, for it is not the same voxel by voxel.

    Args:
        bundle: the model.
        data: DATA.
        other: the folder of --ood.
        progress: called with the case at work and the fraction done.

    Raises:
        InputError: The folder is DATA, its scans are in DATA too, or the model has learnt from them.
    """
    from uncertaintyseg.data.layouts import read_cases
    from uncertaintyseg.inference.ood import check_strangers

    if data.resolve() == other.resolve():
        raise InputError(f"--ood {other} is DATA itself: name a folder with scans of another kind.")
    cases, others = read_cases(data), read_cases(other)
    check_strangers(cases, others, len(bundle.channels), progress, learnt=shipped_scans_of(bundle))
    learnt = learnt_cases(bundle) - {case.id for case in cases}
    seen = [case.id for case in others if case.id in learnt]
    if seen:
        raise InputError(
            f"--ood {other}: {bundle.name} has learnt from {len(seen)} of its cases, first '{seen[0]}', so they are no "
            "strangers to it. Leave them out, or rename them if they are other scans of the same name."
        )
    return others


def show_ood(result: Mapping[str, Any], title: str) -> None:
    """The areas of each map as a table, on stderr."""
    from uncertaintyseg.inference.ood import AGGREGATIONS

    found = result["ood"]
    counts = f"{found['n_outside']} other scans from {found['n_inside']} cases"
    table = Table(
        "map", *(kind.replace("_", " ") for kind in AGGREGATIONS), title=f"{title}, AUROC of telling {counts}"
    )
    best = max((row[kind]["mean"] for row in found["maps"].values() for kind in AGGREGATIONS), default=math.nan)
    for name, row in found["maps"].items():
        figures = ["{mean:.3f}, {lo:.2f} to {hi:.2f}".format(**row[kind]) for kind in AGGREGATIONS]
        bold = [row[kind]["mean"] == best for kind in AGGREGATIONS]
        cells = [f"[bold]{text}[/bold]" if strong else text for text, strong in zip(figures, bold, strict=True)]
        table.add_row(name, *cells)
    console.print(table)
    for case, message in found["failed"].items():
        console.print(f"[red]{escape(case)}[/red] of --ood was not used: {escape(message)}", highlight=False)


def beside(picture: Path, what: str) -> Path:
    """The file of a further picture: <name>_<what>.png beside <name>.png."""
    return picture.with_name(f"{picture.stem}_{what}{picture.suffix}")


def ood_picture(result: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw the numbers of the cases, DATA's beside the others, a panel for each map and aggregation.

    Args:
        result: the JSON of `evaluate` with `ood`.
        title: model and method.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    from uncertaintyseg.data.writing import write_bytes
    from uncertaintyseg.inference.ood import AGGREGATIONS

    found = result["ood"]
    maps = list(found["maps"])
    figure = Figure(figsize=(11, 1.1 + 2 * len(maps)), layout="constrained")
    figure.suptitle(f"{title}: {found['n_inside']} cases of DATA, {found['n_outside']} other scans")
    cases = [[case["scores"] for case in found["cases"] if case["outside"] == side] for side in (False, True)]
    panels = figure.subplots(len(maps), len(AGGREGATIONS), squeeze=False)
    for number, (row, name) in enumerate(zip(panels, maps, strict=True)):
        for axes, (kind, what) in zip(row, AGGREGATIONS.items(), strict=True):
            sides = [[scores[name][kind] for scores in side] for side in cases]
            boxes = axes.boxplot(sides, widths=0.6, showfliers=False, patch_artist=True)
            for box, values, place, color in zip(boxes["boxes"], sides, (1, 2), ("#56B4E9", "#D55E00"), strict=True):
                box.set(facecolor=color, alpha=0.5)
                spread = [place + 0.22 * ((i * 0.618) % 1 - 0.5) for i in range(len(values))]
                axes.plot(spread, values, "o", color=color, markersize=3)
            axes.set_xticks((1, 2), ("DATA", "others"))
            axes.set_title(f"AUROC {found['maps'][name][kind]['mean']:.3f}", fontsize=9)
            axes.set_ylabel(name, fontsize=8)
            axes.tick_params(labelsize=7)
            axes.locator_params(axis="y", nbins=4)
            if number == 0:
                axes.set_title(f"{what}\nAUROC {found['maps'][name][kind]['mean']:.3f}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())
