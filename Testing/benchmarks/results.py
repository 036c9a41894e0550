"""The results tables: every method on the validation and test parts; writes docs/results.md."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import console, machine, show

from uncertaintyseg.cli.console import progress_bar
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.predictors import predictor_for

REPORT = Path(__file__).resolve().parents[2] / "docs" / "results.md"
SPLITS = {"hippocampus": "msd_hippocampus", "phantom": "phantom"}
PARTS = ("validation", "test")
TIMED = 5
"""Cases that seconds are measured on."""


@dataclass(frozen=True)
class Row:
    """A line of the table: a method on a model.

    Attributes:
        title: what the line is called.
        model: name of the model.
        method: passes around it; None for the model as it is.
        options: of the passes.
        only: the one map that counts; None for the best on the validation part.
        crf: whether neighbours are drawn together afterwards.
    """

    title: str
    model: str
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    only: str | None = None
    crf: bool = False

    @property
    def file(self) -> str:
        """Name of its result, which rows that differ only in the map share."""
        options = [f"{name}-{value}" for name, value in self.options.items()]
        return "_".join([self.model, self.method or "plain", *options, *(["crf"] if self.crf else [])]) + ".json"


PLAIN = "hippocampus_deterministic"
HIPPOCAMPUS = [
    Row("deterministic, margin only", PLAIN, only="margin_risk"),
    Row("deterministic, entropy only", PLAIN, only="predictive_entropy"),
    Row("temperature", "hippocampus_temperature", only="predictive_entropy"),
    Row("diagonal", "hippocampus_diagonal"),
    Row("low_rank (SSN)", "hippocampus_low_rank"),
    Row("single_basis", "hippocampus_single_basis"),
    Row("mixture_of_bases", "hippocampus_mixture_of_bases"),
    Row("laplace", "hippocampus_laplace"),
    Row("laplace on low_rank", "hippocampus_laplace_low_rank"),
    Row("l_fusion", "hippocampus_l_fusion"),
    Row("dropout, closed moments", "hippocampus_dropout"),
    Row("segwithu", "hippocampus_segwithu", only="ranking"),  # drives its error_probability, which ranks the same
    Row("dropout_injection, 30 passes", PLAIN, "dropout_injection"),
    Row("tta, left-right flip", PLAIN, "tta"),
    Row("tta, all 8 flips", PLAIN, "tta", {"symmetries": "flips"}),
    Row("noise, 30 passes", PLAIN, "noise"),
    Row("fused: injection, tta, noise", PLAIN, "fused"),
    Row("deterministic + crf", PLAIN, crf=True),
    Row("attention_unet (its own network)", "hippocampus_attention_unet"),
    Row("ensemble with attention_unet", PLAIN, "ensemble"),
]
PHANTOM = [
    *(Row(head, f"phantom_{head}") for head in ("deterministic", "low_rank", "mixture_of_bases")),
    Row("dropout U-Net as it is", "phantom_dropout_unet"),
    Row("dropout U-Net, mc_dropout, 20 passes", "phantom_dropout_unet", "mc_dropout"),
]


def measured(row: Row, part: str, cases: list[Case], cache: Path, progress: Any) -> dict[str, Any]:
    """The JSON of `uncertaintyseg evaluate`, from the cache where it is there."""
    path = cache / part / row.file
    if not path.is_file():
        found = evaluate(predictor(row), cases, lambda text, done: progress(f"{row.title}, {part}: {text}", done))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found | {"cases": []}), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def predictor(row: Row) -> Predictor:
    """The method, ready to run."""
    return predictor_for(find_bundle(row.model), row.method, options=row.options, crf=CRF() if row.crf else None)


def seconds(row: Row, cases: list[Case], cache: Path) -> float:
    """Median time of a prediction over a few cases after a warm-up, from the cache where it is there."""
    path = cache / "seconds" / row.file
    if not path.is_file():
        run, times = predictor(row), []
        for case in cases[:1] + cases[:TIMED]:
            start = time.perf_counter()
            run.predict(case.image)
            times.append(time.perf_counter() - start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(statistics.median(times[1:])), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def interval(value: dict[str, float], digits: int = 3) -> str:
    """A mean and its interval over cases."""
    return f"{value['mean']:.{digits}f} ({value['lo']:.{digits}f} to {value['hi']:.{digits}f})"


def line(row: Row, part: str, result: dict[str, Any], chosen: str, time_s: float) -> list[str]:
    """A line of the table."""
    dice = [interval(structure["dice"]) for structure in result["structures"].values()]
    coverage = [structure["volume_95_coverage"] for structure in result["structures"].values()]
    covered = "-" if None in coverage else " / ".join(f"{share:.0%}" for share in coverage)
    found = result["error_detection"]["boundary"][chosen]
    detection = [chosen, interval(found["auroc"]), f"{found['aurc_x1000']['mean']:.1f}"]
    figures = [f"{result['nll']:.4f}", f"{result['ece']:.4f}"]
    return [row.title, part, *dice, *figures, *detection, f"{time_s:.2f}", covered, *raters(result["ambiguity"])]


def raters(found: dict[str, Any] | None) -> list[str]:
    """Agreement with several raters, where there are several."""
    if found is None:
        return []
    correlation = found["ncc_variance"]["mean"]
    return [interval(found["ged_squared"]), "-" if math.isnan(correlation) else f"{correlation:.2f}"]


def table(task: str, rows: list[Row], data: Path, cache: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of one task."""
    cases, split = {case.id: case for case in read_cases(data)}, read_split(SPLITS[task])
    lines = []
    with progress_bar() as progress:
        results = {}
        for part in PARTS:
            for number, row in enumerate(rows):
                results[number, part] = measured(row, part, [cases[i] for i in split[part]], cache / task, progress)
    for part in PARTS:
        for number, row in enumerate(rows):
            chosen = row.only or results[number, "validation"]["best_map"]
            time_s = seconds(row, [cases[i] for i in split["validation"]], cache / task)
            lines.append(line(row, part, results[number, part], chosen, time_s))
    labels = [f"Dice {label.name}" for label in find_bundle(rows[0].model).labels]
    detection = ["map", "boundary AUROC", "boundary AURC x 1000"]
    columns = ["method", "part", *labels, "NLL", "ECE", *detection, "s / case", "95 % volume intervals that hold"]
    more = ["GED squared to the raters", "NCC of variance and raters' variance"]
    return [*columns, *more[: len(lines[0]) - len(columns)]], lines


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the hippocampus cases")
    parser.add_argument("--phantoms", type=Path, help="phantoms of sample_data/make_phantoms.py, seed 0")
    parser.add_argument("--cache", type=Path, default=Path("runs/results"), help="results that are not made again")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sections = []
    for task, rows, data in (("hippocampus", HIPPOCAMPUS, options.data), ("phantom", PHANTOM, options.phantoms)):
        if data is None:
            continue
        columns, lines = table(task, rows, data, options.cache)
        show(task, columns, lines)
        sections.append(f"## {task.capitalize()}\n\n{markdown(columns, lines)}\n")
    head, _, _ = REPORT.read_text(encoding="utf-8").partition("<!-- tables -->")
    note = f"<!-- tables -->\n\nMeasured on {machine()}.\n\n"
    REPORT.write_text(head + note + "\n".join(sections), encoding="utf-8")
    console.print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
