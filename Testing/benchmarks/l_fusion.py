"""L-FUSION beside SSN, dropout and Laplace on the ultrasound phantom, in domain and out of it (docs/l_fusion.md).

    python sample_data/make_ultrasound.py HEADS --count 300
    python sample_data/make_ultrasound.py ELASTIC --count 60 --seed 1 --shift elastic
    python sample_data/make_ultrasound.py ACQUISITION --count 60 --seed 2 --shift acquisition
    python sample_data/make_ultrasound.py PATHOLOGY --count 60 --seed 3 --pathology 0.5
    python sample_data/make_ultrasound.py SWEEPS --count 20 --seed 4 --clips
    python Testing/benchmarks/l_fusion.py HEADS --other elastic=ELASTIC --other acquisition=ACQUISITION \
        --other pathology=PATHOLOGY --sweeps SWEEPS --cache runs/l_fusion

A model and set of scans that was done is not done again. Of PATHOLOGY only the heads with a pathology count.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import console, machine

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.l_fusion.head import FORMULAS, MEASURES
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.case_figures import voxel_risks
from uncertaintyseg.inference.ellipses import measured_ellipse
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.predictors import predictor_for
from uncertaintyseg.metrics.cases import foreground_threshold, largest_patch, mean_above, mean_risk, ood_auroc
from uncertaintyseg.metrics.error_detection import detections
from uncertaintyseg.metrics.frames import frames
from uncertaintyseg.metrics.intervals import Interval, mean_with_interval
from uncertaintyseg.metrics.overlap import dice, overlap

MODELS: dict[str, tuple[str, str | None]] = {
    "SSN": ("ultrasound_low_rank", None),
    "Dropout head": ("ultrasound_dropout", None),
    "Dropout U-Net": ("ultrasound_dropout_unet", "mc_dropout"),
    "Laplace on SSN": ("ultrasound_laplace_low_rank", None),
    "L-FUSION": ("ultrasound_l_fusion", None),
}
"""Model and passes around it of each row."""
INSIDE = "test part"
SHOWN = (*MEASURES, *FORMULAS)
"""Maps of the table: PV, MI, EE and EPKL of both paths, and the fused ones."""
AGGREGATIONS = ("mean", "above_threshold", "largest_patch")
OF_SWEEPS = ("variance", "mutual_information", "expected_entropy", "l_fusion_uncertainty")
"""Maps whose means over a frame are shown over the time of a sweep."""
_ROWS = 2
"""Raised when what is kept of a case changes."""


def cases_of(folder: Path) -> list[Case]:
    """The cases of a folder; where some have a pathology, those that do."""
    table = folder / "cases.csv"
    with table.open(encoding="utf-8", newline="") as file:
        ill = {row["id"] for row in csv.DictReader(file) if row["pathology"] != "none"}
    return [case for case in read_cases(folder) if not ill or case.id in ill]


def looked_at(predictor: Predictor, case: Case) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """How well a case was segmented, and its risk maps."""
    started = time.process_time()
    prediction = predictor.predict(case.image, samples=2)
    seconds = time.process_time() - started
    label, truth = prediction.label, np.asarray(read_scan(case.label)[0]).astype(np.uint8)
    spacing, names = spacing_mm(prediction.affine), [item.name for item in predictor.bundle.labels]
    head = overlap(label > 0, truth > 0, spacing)
    pixel = float(np.prod(spacing[:2]))
    risks = voxel_risks(prediction.maps, dict.fromkeys(names, 0))
    found = detections_of(risks, label != truth)
    row = {
        "case": case.id,
        "seconds": seconds,
        "dice": float(np.nanmean([dice(label == i, truth == i) for i in range(1, len(names) + 1)])),
        "head_dice": head.dice,
        "head_hd95_mm": head.hd95_mm,
        "head_area_error_mm2": pixel * abs(int((label > 0).sum()) - int((truth > 0).sum())),
        "head_circumference_error_mm": circumference_error(label > 0, truth > 0, prediction.affine),
        "auroc": found,
    }
    return row, risks


def circumference_error(own: np.ndarray, true: np.ndarray, affine: np.ndarray) -> float:
    """How far the circumferences of the ellipses of two heads `[X, Y, 1]` are apart, mm; NaN where one has none."""
    try:
        ends = [measured_ellipse(mask, None, affine, "mm").circumference for mask in (own, true)]
    except InputError:
        return float("nan")
    return abs(ends[0] - ends[1])


def looked_through(predictor: Predictor, case: Case) -> list[dict[str, Any]]:
    """A sweep frame by frame: how well each was segmented, and the means of its maps."""
    prediction = predictor.predict(case.image, samples=2)
    truth = np.asarray(read_scan(case.label)[0]).astype(np.uint8)
    names = [item.name for item in predictor.bundle.labels]
    risks = voxel_risks(prediction.maps, dict.fromkeys(names, 0))
    shown = [name for name in OF_SWEEPS if name in risks]
    rows = []
    for number, (own, true, *maps) in enumerate(frames(prediction.label, truth, *(risks[name] for name in shown))):
        each = [dice(own == i, true == i) for i in range(1, len(names) + 1)]
        known = [value for value in each if np.isfinite(value)]
        rows.append(
            {"case": case.id, "frame": number, "dice": float(np.mean(known)) if known else float("nan")}
            | {"head_dice": dice(own > 0, true > 0)}
            | {name: mean_risk(values) for name, values in zip(shown, maps, strict=True)}
        )
    return rows


def detections_of(risks: Mapping[str, np.ndarray], wrong: np.ndarray) -> dict[str, float]:
    """AUROC of finding wrong voxels by each map."""
    return {name: detections(risk, wrong, {"all": None})["all"].auroc for name, risk in risks.items()}


def summed(risks: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Each map as one number a case, in each way."""
    return {
        name: dict(
            zip(AGGREGATIONS, (mean_risk(r), mean_above(r, thresholds[name]), largest_patch(r)), strict=True)
        )
        for name, r in risks.items()
    }  # fmt: skip


def run(
    model: str, method: str | None, sets: Mapping[str, Sequence[Case]], cache: Path, folders: Sequence[Path]
) -> dict[str, Any]:
    """Rows of each set by a model, from the cache where they are there for these weights."""
    bundle = find_bundle(model, *folders)
    found: dict[str, Any] = {}
    predictor: Predictor | None = None
    for name, cases in sets.items():
        path = cache / f"{model}_{bundle.checksum[:12]}_{name.replace(' ', '_')}_{len(cases)}_{_ROWS}.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
            continue
        predictor = predictor or predictor_for(bundle, method)
        console.print(f"{model}, {name}: {len(cases)} scans")
        if name == INSIDE:
            looked = [looked_at(predictor, case) for case in cases]
            share = float(np.mean([np.mean(np.asarray(read_scan(case.label)[0]) > 0) for case in cases]))
            thresholds = {m: foreground_threshold([risks[m] for _, risks in looked], share) for m in looked[0][1]}
            rows = [row | {"risks": summed(risks, thresholds)} for row, risks in looked]
            del looked
        else:
            thresholds, rows = found[INSIDE]["thresholds"], []
            for case in cases:
                row, risks = looked_at(predictor, case)
                rows.append(row | {"risks": summed(risks, thresholds)})
        found[name] = {"thresholds": thresholds, "rows": rows}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found[name]), encoding="utf-8")
    return found


def run_sweeps(
    model: str, method: str | None, cases: Sequence[Case], cache: Path, folders: Sequence[Path]
) -> list[dict[str, Any]]:
    """Rows of each frame of sweeps by a model, from the cache where they are there for these weights."""
    bundle = find_bundle(model, *folders)
    path = cache / f"{model}_{bundle.checksum[:12]}_frames_{len(cases)}_{_ROWS}.json"
    if not path.is_file():
        console.print(f"{model}: {len(cases)} sweeps")
        predictor = predictor_for(bundle, method)
        rows = [row for case in cases for row in looked_through(predictor, case)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def text(value: Interval, digits: int = 3) -> str:
    return f"{value.mean:.{digits}f} ({value.lo:.{digits}f} to {value.hi:.{digits}f})"


def column(rows: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if np.isfinite(row[name])]


def quality(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Rows of Dice, Hausdorff distance, area and speed."""
    columns = [
        "scans", "method", "n", "mean Dice of structures", "Dice of the head", "HD95 of the head, mm",
        "area error of the head, mm2", "25th, 75th percentile", "circumference error of the head, mm",
        "25th, 75th percentile", "frames a second",
    ]  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in next(iter(results.values())):
        for title, found in results.items():
            rows = found[name]["rows"]
            cells = [text(mean_with_interval(column(rows, key))) for key in ("dice", "head_dice")]
            cells.append(text(mean_with_interval(column(rows, "head_hd95_mm")), 2))
            for key, digits in (("head_area_error_mm2", 0), ("head_circumference_error_mm", 1)):
                values = column(rows, key)
                ends = [f"{end:.{digits}f}" for end in np.percentile(values, [25, 75])]
                cells += [text(mean_with_interval(values), digits), ", ".join(ends)]
            cells.append(f"{1 / np.median(column(rows, 'seconds')):.1f}")
            lines.append(f"| {name} | {title} | {len(rows)} | {' | '.join(cells)} |")
    return lines


def strangers(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """AUROC of finding errors, and of telling each other set from the test part, by map and two of its sums."""
    others = [name for name in next(iter(results.values())) if name != INSIDE]
    heads = " | ".join(f"{name}, {kind.replace('_', ' ')}" for name in others for kind in AGGREGATIONS[:2])
    lines = [f"| method | map | errors | {heads} |", "|---" * (3 + 2 * len(others)) + "|"]
    for title, found in results.items():
        inside = found[INSIDE]["rows"]
        for name in (name for name in SHOWN if name in inside[0]["risks"]):
            cells = [text(mean_with_interval(column((row["auroc"] for row in inside), name)))]
            for other in others:
                sides = inside, found[other]["rows"]
                for kind in AGGREGATIONS[:2]:
                    numbers = [[row["risks"][name][kind] for row in side] for side in sides]
                    cells.append(text(ood_auroc(*numbers), 2))
            lines.append(f"| {title} | `{name}` | {' | '.join(cells)} |")
    return lines


def over_time(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Dice and the means of maps of each frame of the sweeps, in the order of time; means over sweeps."""
    maps = [name for name in OF_SWEEPS if any(name in rows[0] for rows in results.values())]
    columns = ["method", "frame", "n", "mean Dice of structures", "Dice of the head", *(f"`{name}`" for name in maps)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for title, rows in results.items():
        for frame in sorted({row["frame"] for row in rows}):
            own = [row for row in rows if row["frame"] == frame]
            cells = [text(mean_with_interval(column(own, key))) for key in ("dice", "head_dice")]
            cells += [f"{np.mean([row[name] for row in own]):.2e}" if name in own[0] else "" for name in maps]
            lines.append(f"| {title} | {frame} | {len(own)} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the phantoms of seed 0")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FOLDER", help="scans from elsewhere")
    parser.add_argument("--sweeps", type=Path, help="clips, for a table over time")
    parser.add_argument("--split", default="ultrasound")
    parser.add_argument("--models", type=Path, action="append", default=[], help="further folders of models")
    parser.add_argument("--only", action="append", help="titles of the methods to run, and no tables")
    parser.add_argument("--cases", type=int, help="so many of each set")
    parser.add_argument("--cache", type=Path, default=Path("runs/l_fusion"))
    asked = parser.parse_args()
    parts, cases = read_split(asked.split), {case.id: case for case in read_cases(asked.data)}
    sets = {INSIDE: [cases[case] for case in parts["test"]][: asked.cases]}
    for other in asked.other:
        name, _, folder = other.partition("=")
        sets[name] = cases_of(Path(folder))[: asked.cases]
    sweeps = read_cases(asked.sweeps)[: asked.cases] if asked.sweeps else []
    results, swept = {}, {}
    for title, row in MODELS.items():
        if not asked.only or title in asked.only:
            results[title] = run(*row, sets, asked.cache, asked.models)
            swept[title] = run_sweeps(*row, sweeps, asked.cache, asked.models) if sweeps else []
    if not asked.only:
        console.print(f"{machine()}; frames a second by processor time, maps and review included")
        print("\n".join([*quality(results), "", *strangers(results), *(["", *over_time(swept)] if sweeps else [])]))


if __name__ == "__main__":
    main()
