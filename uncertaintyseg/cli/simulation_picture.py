"""The curves of a simulation."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from uncertaintyseg.data.writing import write_bytes

COLORS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")


def simulation_picture(result: dict[str, Any], path: Path) -> None:
    """Draw Dice over labels with intervals, and each strategy's area minus the baseline's.

    Args:
        result: the JSON of `simulate`.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    seeds, test = len(result["seeds"]), result["cases"]["test"]
    sets = "1 start set" if seeds == 1 else f"{seeds} start sets"
    figure.suptitle(f"{result['settings']['model']} on {result['settings']['data']}: {sets}, {test} held-out cases")
    curves, differences = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = result["strategies"]
    # The baseline is black, the others keep their colour whatever their rank.
    colors = dict(zip(sorted(rows, key=lambda name: name != result["baseline"]), COLORS * len(rows), strict=False))
    for name, row in rows.items():
        mean, lo, hi = ([point[key] for point in row["dice"]] for key in ("mean", "lo", "hi"))
        style = "--" if name == result["baseline"] else "-"
        curves.plot(result["labels"], mean, "o" + style, color=colors[name], markersize=4, label=name)
        if not math.isnan(lo[0]):
            curves.fill_between(result["labels"], lo, hi, color=colors[name], alpha=0.1, linewidth=0)
    curves.set(xlabel="labelled cases", ylabel="Dice of held-out cases", title="Learning, 95 % over start sets")
    curves.set_xticks(result["labels"])
    curves.legend()

    paired = {name: row["difference"] for name, row in rows.items() if row["difference"] is not None}
    for place, (name, found) in enumerate(sorted(paired.items(), key=lambda item: item[1]["mean"])):
        reach = [[found["mean"] - found["lo"]], [found["hi"] - found["mean"]]]
        error = None if math.isnan(found["lo"]) else reach
        differences.errorbar(found["mean"], place, xerr=error, fmt="o", color=colors[name], capsize=4)
    differences.axvline(0, color="0.7", linewidth=1)
    differences.set_yticks(range(len(paired)), sorted(paired, key=lambda name: paired[name]["mean"]))
    differences.set(title="Mean height of the curve", xlabel=f"Dice above {result['baseline']}")
    differences.locator_params(axis="x", nbins=5)

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())
