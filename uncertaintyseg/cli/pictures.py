"""Pictures of what commands measured."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from uncertaintyseg.data.writing import write_bytes


def evaluation_picture(result: dict[str, Any], title: str, path: Path) -> None:
    """Draw what `evaluate` found: how honest the confidence is, and which map finds the errors.

    Args:
        result: the JSON of `evaluate`.
        title: model and method.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(f"{title}, {result['n']} cases")
    reliability, detection, coverage = figure.subplots(1, 3)

    curve = result["reliability"]
    reliability.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    reliability.plot(curve["confidence"], curve["frequency"], "o-", color="#0072B2")
    reliability.set(
        xlabel="confidence",
        ylabel="share that is right",
        title=f"Reliability (ECE {result['ece']:.4f})",
        xlim=(0, 1),
        ylim=(0, 1),
    )

    rows = result["error_detection"]["boundary"]
    found = {name: row["auroc"] for name, row in rows.items() if not math.isnan(row["auroc"]["mean"])}
    names = sorted(found, key=lambda name: found[name]["mean"])
    means = [found[name]["mean"] for name in names]
    error = [[m - found[n]["lo"] for m, n in zip(means, names, strict=True)],
             [found[n]["hi"] - m for m, n in zip(means, names, strict=True)]]  # fmt: skip
    detection.barh(names, means, xerr=error, color="#56B4E9")
    detection.axvline(0.5, color="0.7", linewidth=1)
    detection.set(title=f"Errors up to {result['boundary_mm']:g} mm off the border, AUROC", xlim=(0.4, 1))

    cases = [(row["score"], row["dice"]) for row in result["cases"]]
    for name in result["structures"]:
        coverage.plot([score for score, _ in cases], [dice[name] for _, dice in cases], "o", markersize=4, label=name)
    coverage.set(xlabel="score of the case (nats)", ylabel="Dice", title="Hard cases by score")
    coverage.legend()

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())
