"""What paper 001 compares, one factor at a time on the same cases: passes and fusions, threshold rules, the CRF.

    python Testing/benchmarks/training_free.py slices DATA runs/slices
    uncertaintyseg plan slices runs/slices/train --output runs
    uncertaintyseg train slices_deterministic runs/slices/train --models runs
    uncertaintyseg import runs/universeg_small --examples runs/slices/train --slices 8 --name slices_universeg \\
        --output runs
    python Testing/benchmarks/training_free.py run runs/slices_deterministic runs/slices_universeg \\
        --data runs/slices/test --output runs/slices.json

`slices` makes images of volumes: of each case the slice in which most is drawn. `run` goes on where a kill left it, and
prints the table of what there is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import show, told

from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.slices import PLANES
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.intervals import mean_of_defined, mean_with_interval

PASSES = 10
"""Of the paper's code; its text says 30."""
_SAME = {"dropout_injection": {"passes": PASSES}, "noise": {"passes": PASSES}}
FUSED = {"method": "fused", "options": {"weighting": "inverse", "options": _SAME}}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout injection": {"method": "dropout_injection", "options": {"passes": PASSES}},
    "tta": {"method": "tta"},
    "noise": {"method": "noise", "options": {"passes": PASSES}},
    "fused, 1/u": FUSED,
    "fused, exp(-u)": {"method": "fused", "options": {"weighting": "exponential", "options": _SAME}},
    "fused, 1 - u": {"method": "fused", "options": {"weighting": "power", "faithful": True, "options": _SAME}},
    "fused, Otsu": FUSED | {"threshold": "otsu"},
    "fused, percentile 95": FUSED | {"threshold": "percentile=95"},
    "fused, mean + 1 std": FUSED | {"threshold": "mean_std=1"},
    "plain, CRF": {"crf": {}},
    "fused, CRF": FUSED | {"crf": {}},
}
"""Each differs from the one it is beside (`BESIDE`) in one thing."""
BESIDE = {name: "fused, 1/u" if name.startswith("fused,") and name not in list(RUNS)[:7] else "plain" for name in RUNS}
FIGURES = ("dice", "nll", "brier", "ece", "certainty")


def slices(options: argparse.Namespace) -> None:
    """Of each case of two parts of a split the slice in which most is drawn, as an image of one slice."""
    cases = {case.id: case for case in read_cases(options.data)}
    parts = read_split(options.split)
    axis = PLANES[options.plane]
    for part in ("train", "validation", "test"):
        # a plan splits what it learns from by itself
        folder = options.output / ("test" if part == "test" else "train")
        for case in (cases[name] for name in parts[part] if name in cases):
            label = nib.as_closest_canonical(nib.load(case.label))
            drawn = np.asarray(label.dataobj) > 0
            place = int(drawn.sum(tuple(a for a in range(3) if a != axis)).argmax())
            for kind, path in (("images", case.image), ("labels", case.label)):
                whole = nib.as_closest_canonical(nib.load(path))
                order = [a for a in range(3) if a != axis]
                values = np.asarray(whole.dataobj).take(place, axis)[..., None]
                spacing = np.diag([*(whole.header.get_zooms()[a] for a in order), 1.0, 1.0])
                (folder / kind).mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(values, spacing), folder / kind / f"{case.id}.nii.gz")


def run(options: argparse.Namespace) -> None:
    """Evaluate what is missing, and print the table."""
    cases = [case for case in read_cases(options.data) if case.label]
    if options.split:
        wanted = set(read_split(options.split)["test"])
        cases = [case for case in cases if case.id in wanted]
    cases = cases[: options.cases]
    known: dict[str, Any] = json.loads(options.output.read_text()) if options.output.is_file() else {}
    for folder in options.models:
        bundle = Bundle.load(folder)
        for name in options.only or RUNS:
            key = f"{bundle.name}|{name}|{bundle.checksum[:8]}|{len(cases)}"
            if key not in known:
                known[key] = _figures(bundle, name, cases)
                options.output.parent.mkdir(parents=True, exist_ok=True)
                options.output.write_text(json.dumps(known, indent=1))
    for folder in options.models:
        table(Bundle.load(folder), known, len(cases))


def _figures(bundle: Bundle, name: str, cases: list[Any]) -> dict[str, Any]:
    settings = dict(RUNS[name])
    if "crf" in settings:
        settings["crf"] = CRF(**settings["crf"])
    result = evaluate(Predictor(bundle, **settings), cases, told(f"{bundle.name}, {name}"))
    if result["failed"]:
        raise SystemExit(f"{name}: {result['failed']}")
    rows = result["cases"]
    found = {figure: [row[figure] for row in rows] for figure in FIGURES if figure != "dice"}
    found["dice"] = [mean_of_defined(row["dice"].values()) for row in rows]
    best = result["best_map"]
    auroc = result["error_detection"]["boundary"][best]["auroc"]["mean"]
    print(f"{bundle.name}, {name}: Dice {np.mean(found['dice']):.3f}", file=sys.stderr, flush=True)
    return found | {"map": best, "auroc": auroc, "seconds": result["seconds_per_case"]}


def table(bundle: Bundle, known: dict[str, Any], count: int) -> None:
    """Means; and below what a run differs from in one thing, the mean difference over cases with its interval."""
    rows = []
    for name in RUNS:
        key, other = (f"{bundle.name}|{one}|{bundle.checksum[:8]}|{count}" for one in (name, BESIDE[name]))
        if key not in known:
            continue
        own = known[key]
        means = [f"{mean_of_defined(own[figure]):.4f}" for figure in FIGURES]
        rows.append([name, *means, f"{own['auroc']:.3f} ({own['map']})", f"{own['seconds']:.2f}"])
        if name != "plain" and other in known:
            rows.append([f"  beside {BESIDE[name]}", *(_difference(own[f], known[other][f]) for f in FIGURES), "", ""])
    show(f"{bundle.name}, {count} cases", ["run", *FIGURES, "AUROC near borders", "s / case"], rows)


def _difference(own: list[float], other: list[float]) -> str:
    mean, low, high = mean_with_interval(np.subtract(own, other))
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("slices", help="images of volumes")
    one.add_argument("data", type=Path, help="folder with images/ and labels/")
    one.add_argument("output", type=Path, help="folder for train/ and test/")
    one.add_argument("--split", default="msd_hippocampus")
    one.add_argument("--plane", choices=PLANES, default="sagittal")
    one.set_defaults(run=slices)
    two = commands.add_parser("run", help="evaluate, and print the table")
    two.add_argument("models", type=Path, nargs="+", help="model folders")
    two.add_argument("--data", type=Path, required=True)
    two.add_argument("--split", help="cases are its test part")
    two.add_argument("--cases", type=int, help="at most")
    two.add_argument("--only", nargs="+", choices=RUNS)
    two.add_argument("--output", type=Path, required=True, help="JSON file with the figures of each case")
    two.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
