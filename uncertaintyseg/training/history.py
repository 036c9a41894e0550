"""What a fit went through, epoch by epoch: a table and a picture in the model's folder."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from uncertaintyseg.data.writing import write_bytes

TABLE = Path("history.csv")
CURVES = Path("curves.png")
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
_DRAWN = len(_COLORS)
"""Structures that have a curve of their own; of more, the worst ones."""


class History:
    """Losses and scores of the epochs; part of the checkpoint, so a fit that was killed goes on in the same table.

    Args:
        folder: of the model, in which `history.csv` and `curves.png` are kept.
        structures: names of classes 1, 2, ...
        measure: the score that chooses the epoch, "dice", "nll" or "validation_loss".
    """

    def __init__(self, folder: Path, structures: list[str], measure: str) -> None:
        self.folder, self.structures, self.measure = folder, structures, measure
        self.rows: list[dict[str, float | int]] = []

    def add(self, epoch: int, loss: float, learning_rate: float, seconds: float) -> None:
        """Add an epoch: its mean loss, its last learning rate, and how long it took without its validation."""
        self.rows.append({"epoch": epoch, "loss": loss, "learning_rate": learning_rate, "seconds": seconds})

    def validated(self, scores: dict[str, float], by_structure: list[float]) -> None:
        """Add the scores of the last epoch's validation; a structure in no case has no Dice (NaN)."""
        self.rows[-1] |= scores | {
            f"dice {name}": value for name, value in zip(self.structures, by_structure, strict=True)
        }

    def write(self) -> None:
        """Write the table, one row an epoch; what was not measured is left empty."""
        text = io.StringIO()
        columns = ["epoch", "loss", "learning_rate", "seconds", "dice", "nll", *(f"dice {n}" for n in self.structures)]
        columns += ["validation_loss"] if self.measure == "validation_loss" else []
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: "" if math.isnan(value) else value for name, value in row.items()})
        write_bytes(self.folder / TABLE, text.getvalue().encode())

    def draw(self) -> None:
        """Draw losses and scores over epochs, with the epoch that is kept; only after a validation is there news."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to load, and a server has no use for it
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

        if "dice" not in self.rows[-1]:
            return
        judged = [row for row in self.rows if "dice" in row]
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        left.plot(*_points(self.rows, "loss"), "o-", color="#333333", markersize=3)
        left.set(title="Loss of the training patches", xlabel="epoch")
        drawn = self.structures
        if len(drawn) > _DRAWN:
            drawn = sorted(drawn, key=lambda name: _or_one(judged[-1][f"dice {name}"]))[: _DRAWN - 1]
            right.plot(*_points(judged, "dice"), "o-", color="#000000", markersize=3, label="mean of all")
        for name, color in zip(drawn, _COLORS, strict=False):
            right.plot(*_points(judged, f"dice {name}"), "o-", color=color, markersize=3, label=name)
        if known := [row for row in judged if not math.isnan(row[self.measure])]:
            sign = 1 if self.measure == "dice" else -1
            kept = max(known, key=lambda row: sign * row[self.measure])
            right.axvline(kept["epoch"], color="0.6", linewidth=1, linestyle="--")
            right.set_xlabel(f"epoch; {kept['epoch']} is kept, with a mean Dice of {kept['dice']:.3f}")
        right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)  # off the curves
        worst = f", the {len(drawn)} lowest of {len(self.structures)}" if len(drawn) < len(self.structures) else ""
        right.set(title=f"Dice of the validation cases{worst}", ylim=(0, 1))
        right.grid(axis="y", color="0.9")
        for axes in (left, right):
            axes.set_xlim(0.5, max(self.rows[-1]["epoch"], 2) + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110)
        write_bytes(self.folder / CURVES, buffer.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = state["rows"]


def _points(rows: list[dict[str, float | int]], name: str) -> tuple[list[float], list[float]]:
    known = [row for row in rows if name in row and not math.isnan(row[name])]
    return [row["epoch"] for row in known], [row[name] for row in known]


def _or_one(value: float) -> float:
    return 1.0 if math.isnan(value) else value
