"""The results table: shipped models on the validation and test parts; writes docs/results.md."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from common import console, machine, show

from uncertaintyseg.cli.console import progress_bar
from uncertaintyseg.data.layouts import read_cases, read_split
from uncertaintyseg.inference.bundle import find_bundles
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor

SPLITS = {"hippocampus": "msd_hippocampus", "phantom": "phantom"}
REPORT = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def row(result: dict[str, Any], part: str) -> list[str]:
    """A line of the table."""
    found = [structure["dice"] for structure in result["structures"].values()]
    dice = [f"{d['mean']:.3f} ({d['lo']:.3f} to {d['hi']:.3f})" for d in found]
    coverage = [structure["volume_95_coverage"] for structure in result["structures"].values()]
    covered = "-" if None in coverage else " / ".join(f"{share:.0%}" for share in coverage)
    figures = [f"{result['nll']:.4f}", f"{result['ece']:.4f}", f"{result['seconds_per_case']:.2f}"]
    return [result["model"], part, str(result["n"]), *dice, *figures, covered]


def table(task: str, data: Path, parts: list[str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of one task."""
    bundles = [bundle for bundle in find_bundles().values() if bundle.task == task and bundle.checksum]
    cases, split = {case.id: case for case in read_cases(data)}, read_split(SPLITS[task])
    rows = []
    with progress_bar() as progress:
        for part in parts:
            chosen = [cases[i] for i in split[part]]
            for bundle in bundles:
                found = evaluate(Predictor(bundle), chosen, lambda text, f, b=bundle: progress(f"{b.name} {text}", f))
                rows.append(row(found, part))
    names = [f"Dice {label.name}" for label in bundles[0].labels]
    return ["model", "part", "n", *names, "NLL", "ECE", "s / case", "95 % volume intervals that hold"], rows


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the hippocampus cases")
    parser.add_argument("--phantoms", type=Path, help="phantoms of sample_data/make_phantoms.py, seed 0")
    parser.add_argument("--parts", nargs="+", default=["validation", "test"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sections = []
    for task, data in (("hippocampus", options.data), ("phantom", options.phantoms)):
        if data is None:
            continue
        columns, rows = table(task, data, options.parts)
        show(task, columns, rows)
        sections.append(f"## {task.capitalize()}\n\n{markdown(columns, rows)}\n")
    head, _, _ = REPORT.read_text(encoding="utf-8").partition("<!-- tables -->")
    note = f"<!-- tables -->\n\nMeasured on {machine()}.\n\n"
    REPORT.write_text(head + note + "\n".join(sections), encoding="utf-8")
    console.print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
