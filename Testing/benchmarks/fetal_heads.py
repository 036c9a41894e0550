"""What of a thesis on fetal heads shows on the ultrasound phantom: overlap, head circumference, anomaly scores.

    python sample_data/make_ultrasound.py heads --count 300
    python sample_data/make_ultrasound.py ill --count 120 --seed 1 --pathology 0.5
    python Testing/benchmarks/fetal_heads.py --heads heads --ill ill

Prints the tables of `docs/ultrasound.md`. Overlap and circumference are of the split's test part; anomaly scores are of
the other set, half of whose heads have a pathology: a score is judged by how well it tells these from the healthy ones.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from common import told

from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.data.ultrasound_phantom import LABELS
from uncertaintyseg.inference.bundle import CALIBRATION, Bundle, find_bundle
from uncertaintyseg.inference.ellipses import measured_ellipse
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.cases import ood_auroc
from uncertaintyseg.metrics.intervals import Interval
from uncertaintyseg.review.anomaly import Mode, anomaly_score, expected_anomaly
from uncertaintyseg.review.calibration import Calibration

SPLIT = "ultrasound"
HEAD, CAVUM, VENTRICLES = "parenchyma", "cavum septi pellucidi", "lateral ventricles"
MODES: tuple[Mode, ...] = ("xor_over_ref", "symmetric")
HEALTHY = "none"
Scores = dict[str, float]
"""Of a case by name; NaN where it is not defined."""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, required=True, help="made with --count 300 --seed 0")
    parser.add_argument("--ill", type=Path, required=True, help="made with --pathology 0.5 --seed 1")
    parser.add_argument("--model", default="ultrasound_attention_unet")
    parser.add_argument("--models", type=Path, action="append", default=[], help="folder with further models")
    options = parser.parse_args()
    predictor = Predictor(find_bundle(options.model, *options.models))
    parts = read_split(SPLIT)
    tested = [case for case in read_cases(options.heads) if case.id in set(parts["test"])]
    result = evaluate(predictor, tested, told("test part"))
    overlap_table(result)
    calibration_line(result, predictor.bundle)
    circumference_table(result)
    print(f"\nEllipses of true heads are within {ellipse_error(tested, options.heads):.2f} mm of the simulated ones.")
    with (options.ill / "cases.csv").open(encoding="utf-8") as file:
        illness = {row["id"]: row["pathology"] for row in csv.DictReader(file)}
    scored = dict(score_cases(predictor, read_cases(options.ill)))
    anomaly_table(scored, illness)


def overlap_table(result: Mapping) -> None:
    """Dice, IoU, precision and recall of each class, and over classes."""
    measures = ("dice", "iou", "precision", "recall")
    print(f"\n{result['n']} test cases\n\n| class | Dice | IoU | precision | recall |\n|---|---|---|---|---|")
    for name, row in result["structures"].items():
        print(f"| {name} | {' | '.join(_with_interval(Interval(**row[key])) for key in measures)} |")
    for kind in ("micro", "macro"):
        own = (Interval(**result["classes"][f"{kind}_{key}"]) for key in measures)
        print(f"| {kind} | {' | '.join(map(_with_interval, own))} |")


def calibration_line(result: Mapping, bundle: Bundle) -> None:
    """ECE of the test part, and that of the error probability on the calibration cases, before and after."""
    print(f"\nECE {result['ece']:.3f}")
    known = Calibration.model_validate_json((bundle.folder / CALIBRATION).read_text(encoding="utf-8")).recalibration
    if known:
        print(f"ECE of the error probability on calibration cases {known.ece_before:.3f}, then {known.ece_after:.3f}")


def circumference_table(result: Mapping) -> None:
    """Errors of each circumference, mm."""
    print(
        "\n| circumference of | cases | error, mm | absolute error, mm | 95 % intervals that hold | their width, mm |"
    )
    print("|---|---|---|---|---|---|")
    for name, row in result["circumference"].items():
        found = [case["circumference"][name]["circumference_95"] for case in result["cases"]]
        width = np.median([high - low for low, high in (ends for ends in found if ends)] or [math.nan])
        held = "-" if row["coverage_95"] is None else f"{row['coverage_95']:.0%}"
        errors = (_with_interval(Interval(**row[key]), 2) for key in ("error", "absolute_error"))
        print(f"| {name} | {row['n']} | {' | '.join(errors)} | {held} | {width:.1f} |")


def ellipse_error(cases: Sequence[Case], folder: Path) -> float:
    """How far the circumference of a true head's mask is from that which was drawn, at most, mm."""
    with (folder / "cases.csv").open(encoding="utf-8") as file:
        drawn = {row["id"]: float(row["circumference_mm"]) for row in csv.DictReader(file)}
    errors = []
    for case in cases:
        label = read_scan(case.label)
        found = measured_ellipse(label[0].numpy() == LABELS[HEAD], None, label.affine.numpy(), "mm")
        errors.append(abs(found.circumference - drawn[case.id]))
    return max(errors)


def score_cases(predictor: Predictor, cases: Sequence[Case]) -> Iterator[tuple[str, Scores]]:
    """Every score of every case."""
    ids, progress = {label.name: label.id for label in predictor.bundle.labels}, told("pathologies")
    for number, case in enumerate(cases):
        progress(case.id, number / len(cases))
        prediction = predictor.predict(case.image)
        truth = read_case_label(case, ids, like=first_channel(case.image, 1))[0].numpy()
        yield case.id, scores_of(prediction, truth, ids)


def scores_of(prediction: Prediction, truth: np.ndarray, ids: Mapping[str, int]) -> Scores:
    """Anomaly scores with and without the truth, the areas that a rule of thumb would look at, and the entropy."""
    found: Scores = {"mean predictive entropy near the border": prediction.case_score}
    areas = {name: np.count_nonzero(prediction.label == i) for name, i in ids.items()}
    for mode in MODES:
        with_truth, without = {}, {}
        for name, i in ids.items():
            inside = prediction.label == i
            with_truth[name] = anomaly_score(inside, truth == i, mode)
            without[name] = expected_anomaly(inside, np.asarray(prediction.maps[f"probability_{name}"]), mode)
        for kind, values in (("against the truth", with_truth), ("expected", without)):
            found |= {f"{kind}, {mode}, {name}": value for name, value in values.items()}
            known = [value for value in values.values() if not math.isnan(value)]
            found[f"{kind}, {mode}, mean"] = float(np.mean(known)) if known else math.nan
    head = sum(areas.values())
    found["small cavum: - area over the head's"] = -areas[CAVUM] / head if head else math.nan
    found["large ventricles: area over the head's"] = areas[VENTRICLES] / head if head else math.nan
    return found


def anomaly_table(scored: Mapping[str, Scores], illness: Mapping[str, str]) -> None:
    """AUROC of each score: each pathology, and all of them, against the healthy heads of the same set."""
    kinds = sorted(set(illness.values()) - {HEALTHY})
    count = {kind: sum(illness[case] == kind for case in scored) for kind in [HEALTHY, *kinds]}
    print(f"\nAUROC against {count[HEALTHY]} healthy heads\n")
    print(f"| score | defined in | all | {' | '.join(f'{kind} ({count[kind]})' for kind in kinds)} |")
    print("|---" * (3 + len(kinds)) + "|")
    for name in next(iter(scored.values())):
        values = {case: scores[name] for case, scores in scored.items() if not math.isnan(scores[name])}
        healthy = [value for case, value in values.items() if illness[case] == HEALTHY]
        cells = []
        for kind in [kinds, *([kind] for kind in kinds)]:
            ill = [value for case, value in values.items() if illness[case] in kind]
            cells.append(_with_interval(ood_auroc(healthy, ill), 2))
        print(f"| {name} | {len(values)}/{len(scored)} | {' | '.join(cells)} |")


def _with_interval(found: Interval, digits: int = 3) -> str:
    return f"{found.mean:.{digits}f} ({found.lo:.{digits}f} to {found.hi:.{digits}f})"


if __name__ == "__main__":
    main()
