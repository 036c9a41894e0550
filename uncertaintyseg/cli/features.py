"""`uncertaintyseg evaluate --features`: the shape of every structure of every case, as a table and as histograms."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from uncertaintyseg.cli.console import tell
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.inference.shape_rows import COLUMNS, PREDICTION, REFERENCE


class FeatureTable:
    """Rows of the predictions and the references of an evaluation.

    Args:
        path: of the CSV file; None: there is no table.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def take(self, _case: str, rows: list[dict[str, Any]] | None) -> None:
        """Add those of a case."""
        self.rows += rows or []

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


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
