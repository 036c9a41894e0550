"""Which risk map, summed up how, tells scans that are unlike those of a data set (METHODS 4.3, 4.5, 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.case_figures import Keep, no_more, voxel_risks
from uncertaintyseg.inference.case_loop import CaseLoop, Here, Predicting, Progress, in_order
from uncertaintyseg.inference.content import voxel_hash
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.metrics.arrays import check_finite
from uncertaintyseg.metrics.cases import PATCH, foreground_threshold, largest_patch, mean_above, mean_risk, ood_auroc
from uncertaintyseg.metrics.intervals import mean_of_defined

AGGREGATIONS = {
    "mean": "mean over all voxels",
    "above_threshold": "mean over the voxels above the threshold",
    "largest_patch": f"largest mean over {PATCH} x {PATCH} x {PATCH} voxels",
}
"""How a map becomes one number a case."""
Scores = dict[str, dict[str, float]]
"""Of a case: a number by map and aggregation."""


def evaluate_with_ood(
    predictor: Predicting,
    cases: Sequence[Case],
    others: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    keep: Keep = no_more,
    *,
    take: Callable[[str, Any], None] = lambda case, kept: None,
    loop: CaseLoop | None = None,
) -> dict[str, Any]:
    """`evaluate`, and for each risk map and aggregation the AUROC of telling other scans from these.

    The threshold of a map is the risk that a share of a case's voxels exceeds, on average over the cases, the share
    being the foreground's in their labels. Until it is known their maps are kept in a temporary folder: 4 bytes a voxel
    and map.

    Args:
        predictor: of the model.
        cases: what the model is made for; of those with a label the other scans are told.
        others: scans from elsewhere; their labels are not read.
        progress: called with the case at work and the fraction done, of `cases` and then of `others`.
        keep: as of `evaluate`.
        take: as of `evaluate`.
        loop: as of `evaluate`.

    Returns:
        The JSON of `evaluate`, with `ood` (docs/metrics.md).

    Raises:
        InputError: as `evaluate`, when none of the other scans can be used, or the temporary folder has no room.
    """
    with TemporaryDirectory(prefix="uncertaintyseg_ood_") as folder:
        inside = _Kept(Path(folder))

        def take_both(case: str, kept: Any) -> None:
            inside.keep(case, kept["maps"])
            take(case, kept["more"])

        both = partial(_risks_and, keep=keep)
        result = evaluate(predictor, cases, progress, both, take=take_both, loop=loop)
        fraction = mean_of_defined(row["foreground_share"] for row in result["cases"])
        thresholds = inside.thresholds(fraction)
        rows = inside.rows(thresholds)
    outside, failed = _scored(Here(predictor) if loop is None else loop, others, thresholds, progress)
    if not outside:
        case_id, message = next(iter(failed.items()), ("", "there is none."))
        raise InputError(f"none of {len(others)} other scans can be used. The first, case {case_id}: {message}")
    return {
        **result,
        "ood": {
            "n_inside": len(rows),
            "n_outside": len(outside),
            "foreground_share": fraction,
            "patch": PATCH,
            "maps": _areas(rows, outside, thresholds),
            "cases": [
                {"id": case, "outside": other, "scores": scores}
                for other, side in ((False, rows), (True, outside))
                for case, scores in side.items()
            ],
            "failed": failed,
        },
    }


def check_strangers(
    cases: Sequence[Case],
    others: Sequence[Case],
    channels: int,
    progress: Progress = lambda stage, fraction: None,
    *,
    learnt: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse other scans that are among the cases, or that were learnt from: by voxels, whatever their names and files.

    Args:
        cases: all of the data set; those that cannot be read are passed over.
        others: scans from elsewhere.
        channels: of a scan.
        progress: called with the case at work and the fraction done.
        learnt: case ids of scans that the model has learnt from, by `content_of`.

    Raises:
        InputError: when a scan is in both, or was learnt from.
    """
    known: dict[str, str] = {}
    for number, case in enumerate(cases):
        progress(f"comparing scans: {case.id}", number / (len(cases) + len(others)))
        if content := content_of(case, channels):
            known.setdefault(content, case.id)
    contents = {case.id: content_of(case, channels) for case in others}
    shared = [(case_id, known[content]) for case_id, content in contents.items() if content in known]
    if shared:
        other, case_id = shared[0]
        raise InputError(
            f"{len(shared)} of the {len(others)} scans of --ood are in DATA too, voxel by voxel, first '{other}' "
            f"('{case_id}' in DATA): scans cannot be told from themselves. Take them out of one of the two."
        )
    seen = [(case_id, learnt[content]) for case_id, content in contents.items() if content in learnt]
    if seen:
        other, case_id = seen[0]
        raise InputError(
            f"the model has learnt from {len(seen)} of the {len(others)} scans of --ood, by their voxels, first "
            f"'{other}' ('{case_id}' when it was trained): they are no strangers to it. Leave them out."
        )


def content_of(case: Case, channels: int) -> str | None:
    """Of a scan's voxels and their grid's shape; None where it cannot be read, which is told when it is used."""
    try:
        return voxel_hash(read_channels(case.image, channels).numpy())
    except InputError:
        return None


class _Kept:
    """Risk maps of the cases of a data set, in files, one array each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Path]] = {}
        """By map and case."""

    def keep(self, case: str, risks: Mapping[str, np.ndarray]) -> None:
        """Write the maps of a case.

        Raises:
            InputError: when there is no room.
        """
        for number, (name, risk) in enumerate(risks.items()):
            held = self.files.setdefault(name, {})
            path = held[case] = self.folder / f"{number}_{len(held)}.npy"
            try:
                np.save(path, risk)
            except OSError as error:
                raise InputError(
                    f"{self.folder}: no room for the risk maps of {case} ({error.strerror}). Name a larger folder "
                    "in TMPDIR, or evaluate fewer cases with --cases."
                ) from error

    def thresholds(self, fraction: float) -> dict[str, float]:
        """By map."""
        return {name: foreground_threshold(map(_read, held.values()), fraction) for name, held in self.files.items()}

    def rows(self, thresholds: Mapping[str, float]) -> dict[str, Scores]:
        """The numbers of each case."""
        found: dict[str, Scores] = {}
        for name, held in self.files.items():
            for case, path in held.items():
                found.setdefault(case, {})[name] = _numbers(_read(path), thresholds[name])
        return found


def _read(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _numbers(risk: np.ndarray, threshold: float) -> dict[str, float]:
    """By aggregation."""
    return {
        "mean": mean_risk(risk),
        "above_threshold": mean_above(risk, threshold),
        "largest_patch": largest_patch(risk),
    }


def _risks_and(case: Case, prediction: Prediction, bundle: Bundle, keep: Keep) -> dict[str, Any]:
    """The risk maps of a case, and what else is kept of it."""
    names = dict.fromkeys((item.name for item in bundle.labels), 0)
    risks = {name: np.asarray(risk) for name, risk in voxel_risks(prediction.maps, names).items()}
    return {"maps": risks, "more": keep(case, prediction, bundle)}


def score_stranger(
    predictor: Predicting, case: Case, _progress: Progress, *, thresholds: Mapping[str, float]
) -> Scores:
    """The numbers of a scan from elsewhere.

    Raises:
        InputError: it cannot be used, or a map holds NaN.
    """
    names = dict.fromkeys((item.name for item in predictor.bundle.labels), 0)
    risks = voxel_risks(predictor.predict(case.image).maps, names)
    for name, risk in risks.items():
        check_finite(f"map '{name}'", risk)
    return {name: _numbers(risk, thresholds[name]) for name, risk in risks.items()}


def _scored(
    loop: CaseLoop, others: Sequence[Case], thresholds: Mapping[str, float], progress: Progress
) -> tuple[dict[str, Scores], dict[str, str]]:
    """The numbers of each other scan, and the messages of those that cannot be used."""
    found: dict[str, Scores] = {}
    failed: dict[str, str] = {}
    scans = [replace(case, label=None, raters=(), verified=None) for case in others]

    def tell(stage: str, fraction: float) -> None:
        progress(f"other scans: {stage}", fraction)

    for outcome in in_order(loop.each(partial(score_stranger, thresholds=thresholds), scans, tell), scans):
        if outcome.error is None:
            found[outcome.item.id] = outcome.answer
        else:
            failed[outcome.item.id] = outcome.error
    progress("done", 1.0)
    return found, failed


def _areas(
    inside: Mapping[str, Scores], outside: Mapping[str, Scores], thresholds: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """AUROC and interval by map and aggregation, and the map's threshold."""
    found: dict[str, dict[str, Any]] = {}
    for name, threshold in thresholds.items():
        found[name] = {"threshold": threshold}
        for kind in AGGREGATIONS:
            sides = [[scores[name][kind] for scores in side.values()] for side in (inside, outside)]
            found[name][kind] = ood_auroc(*sides)._asdict()
    return found
