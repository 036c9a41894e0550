"""One slice of one test case through every method: where each looks, and where the label is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import console
from matplotlib.figure import Figure
from results import HIPPOCAMPUS, Row, predictor

from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import find_bundle

MARGIN = 6
"""Voxels shown around the structures."""
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "screenshots" / "methods.png"


def chosen_map(row: Row, cache: Path) -> str:
    """The map that stands for a method in the results table."""
    return row.only or json.loads((cache / "validation" / row.file).read_text(encoding="utf-8"))["best_map"]


def main() -> None:
    """Draw the picture; `results.py` comes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the hippocampus cases")
    parser.add_argument("--case", default=None, help="a test case; by default the first")
    parser.add_argument("--cache", type=Path, default=Path("runs/results"), help="that of results.py")
    options = parser.parse_args()
    torch.set_num_threads(2)
    name = options.case or read_split("msd_hippocampus")["test"][0]
    case = next(case for case in read_cases(options.data) if case.id == name)
    scan = read_scan(case.image)
    labels = {item.name: item.id for item in find_bundle(HIPPOCAMPUS[0].model).labels}
    reference = read_case_label(case, labels, like=scan)[0].numpy()

    plane = int((reference > 0).sum((0, 1)).argmax())  # axial: both structures lie in it
    hit = np.argwhere(reference[..., plane] > 0)
    low, high = np.maximum(hit.min(0) - MARGIN, 0), hit.max(0) + MARGIN + 1
    window = (slice(low[0], high[0]), slice(low[1], high[1]), plane)

    figure = Figure(figsize=(13, 11), layout="constrained")
    axes = figure.subplots(4, 5).ravel()
    for number, (axis, row) in enumerate(zip(axes[1:], HIPPOCAMPUS, strict=False)):
        prediction = predictor(row).predict(case.image)
        label = prediction.label[window]
        if number == 0:
            draw_scan(axes[0], scan[0].numpy()[window], label, reference[window])
        name = chosen_map(row, options.cache / "hippocampus")
        risk = prediction.maps[name][window]
        axis.imshow(risk.T, origin="lower", cmap="inferno", vmin=0, vmax=max(float(np.quantile(risk, 0.99)), 1e-6))
        axis.contour((label != reference[window]).T, levels=[0.5], colors="#00e5ff", linewidths=1)
        axis.set_title(f"{row.title}\n{name}", fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(PICTURE, dpi=90)
    console.print(f"{case.id}, axial slice {plane}: {PICTURE}")


def draw_scan(axis: object, image: np.ndarray, label: np.ndarray, reference: np.ndarray) -> None:
    """The scan with the plain network's label (orange) and the reference (green), both structures of each."""
    axis.imshow(image.T, origin="lower", cmap="gray")
    for mask, color in ((reference, "#2ca02c"), (label, "#ff7f0e")):
        axis.contour(mask.T, levels=[0.5, 1.5], colors=color, linewidths=1.2)
    axis.set_title("scan, reference (green), label (orange)\ncyan: where the label is wrong", fontsize=9)


if __name__ == "__main__":
    main()
