"""`uncertaintyseg evaluate --features`: the shape of every structure of every case, as a table and as histograms."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uncertaintyseg.cli.console import tell
from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.inference.ellipses import with_forms
from uncertaintyseg.review.shape_features import shape_features

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case
    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.inference.prediction import Prediction

COLUMNS = (
    "case", "structure", "of", "size", "size_unit", "pieces", "eccentricity", "elongation", "centroid_x",
    "centroid_y", "centroid_z", "first_i", "first_j", "first_k", "last_i", "last_j", "last_k", "circumference",
    "circumference_lo", "circumference_hi", "length_unit",
)  # fmt: skip
"""Of the table; centroids are RAS in mm, or pixels where the spacing is unknown, boxes are first and last voxel."""
PREDICTION, REFERENCE = "prediction", "reference"


class FeatureTable:
    """Rows of the predictions and the references of an evaluation.

    Args:
        bundle: of the model.
        path: of the CSV file; None: there is no table.
    """

    def __init__(self, bundle: Bundle, path: Path | None) -> None:
        self.bundle, self.path = bundle, path
        self.rows: list[dict[str, Any]] = []

    def add(self, case: Case, prediction: Prediction) -> None:
        """Measure a case.

        Raises:
            InputError: for a clip, which has no shape in space.
        """
        ids = {item.name: item.id for item in self.bundle.labels}
        scan = first_channel(case.image, len(self.bundle.channels))
        reference = read_case_label(case, ids, like=scan, **self.bundle.label_reading)[0].numpy()
        sizes = prediction.measure
        around = {row.name: row.ellipse for row in prediction.structures}
        drawn = with_forms(prediction.structures, reference, prediction.affine, sizes)
        true = {row.name: row.ellipse for row in drawn}
        for of, label, ellipses in ((PREDICTION, prediction.label, around), (REFERENCE, reference, true)):
            seen = np.where(reference == IGNORED, 0, label) if IGNORED in reference else label
            for row in shape_features(seen, prediction.affine, self.bundle.labels, clip=sizes.clip):
                ellipse, box = ellipses.get(row.name), row.box_ijk or ((None,) * 3,) * 2
                values = (
                    case.id, row.name, of, round(np.count_nonzero(seen == row.id) * sizes.voxel, 4), sizes.unit,
                    row.components, row.eccentricity, row.elongation, *(row.centroid_mm or (None,) * 3), *box[0],
                    *box[1], *_around(ellipse), "px" if sizes.unit == "px" else "mm",
                )  # fmt: skip
                self.rows.append(dict(zip(COLUMNS, values, strict=True)))

    def leave(self, case: Case, prediction: Prediction) -> None:
        """Measure nothing."""

    def write(self) -> None:
        """Write the table, and beside it `<name>_sizes.png`, and say where they are.

        Raises:
            InputError: when they cannot be written.
        """
        if self.path is None:
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in self.rows)
        write_bytes(self.path, text.getvalue().encode())
        picture = self.path.with_name(f"{self.path.stem}_sizes.png")
        size_histograms(self.rows, picture)
        tell(f"Shapes are in {self.path}, histograms of sizes in {picture}.")


def size_histograms(rows: list[dict[str, Any]], path: Path) -> None:
    """Histograms of the sizes of each structure, of predictions and references, those near 0 in the first bin."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["structure"] for row in rows))
    across = min(len(names), 4)
    down = -(-len(names) // across)
    figure = Figure(figsize=(3.6 * across, 2.9 * down), layout="constrained")
    every = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(every, names, strict=False):
        of_it = [row for row in rows if row["structure"] == name]
        bins = np.linspace(0, max([row["size"] for row in of_it] + [1e-6]), 21)
        for of, style in ((REFERENCE, {"color": "0.7"}), (PREDICTION, {"histtype": "step", "color": "#D55E00"})):
            axes.hist([row["size"] for row in of_it if row["of"] == of], bins, label=of, **style)
        unit = of_it[0]["size_unit"]
        axes.set(title=name, xlabel=f"{'volume' if unit == 'mL' else 'area'}, {unit}", ylabel="cases")
    for axes in every[len(names) :]:
        axes.set_axis_off()
    every[0].legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())


def _around(ellipse: Any) -> tuple[float | None, float | None, float | None]:
    if ellipse is None:
        return None, None, None
    low, high = ellipse.circumference_95 or (None, None)
    return ellipse.circumference, low, high


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
