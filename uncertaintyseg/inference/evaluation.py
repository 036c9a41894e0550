"""A model against labelled cases, on the scans' own grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.splitting import subject_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.case_figures import Keep, no_more, score_case
from uncertaintyseg.inference.case_loop import CaseLoop, Here, Predicting, Progress, in_order
from uncertaintyseg.inference.ellipses import mean_circumferences
from uncertaintyseg.metrics.calibration import BINS, Calibration
from uncertaintyseg.metrics.cases import case_selection
from uncertaintyseg.metrics.comparing import pooled
from uncertaintyseg.metrics.error_detection import ErrorDetection, best_map
from uncertaintyseg.metrics.intervals import mean_of_defined, mean_with_interval
from uncertaintyseg.metrics.overlap import TOLERANCE_MM
from uncertaintyseg.metrics.raters import summary
from uncertaintyseg.metrics.scopes import BOUNDARY_MM


def evaluate(
    predictor: Predicting,
    cases: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    keep: Keep = no_more,
    *,
    take: Callable[[str, Any], None] = lambda case, kept: None,
    loop: CaseLoop | None = None,
) -> dict[str, Any]:
    """Overlap, coverage of volume intervals, calibration, error detection by each risk map, several raters, and time.

    Args:
        predictor: of the model.
        cases: of a data set; those with two raters or more also count for `ambiguity`, those without a label are only
            listed.
        progress: called with the case at work and the fraction done.
        keep: called with each case that was scored, its prediction and the model, where it was made.
        take: called here with the id of each such case and what `keep` returned, in the order of the cases.
        loop: over the cases; by default this process with this predictor.

    Returns:
        The JSON of `uncertaintyseg evaluate`; docs/metrics.md explains its keys. What is undefined is NaN (null in
        JSON), such as the Dice of a structure that neither label nor reference has. `failed` has the messages of cases
        that cannot be used, because of their scan, their label or a map that holds NaN, and `died` the ids of those
        that workers died of; no figure has a part of one.

    Raises:
        InputError: when there is no labelled case, or none that can be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to evaluate on: DATA needs images/ and labels/ with equal names.")
    scores = _Scores(list({item.name: item.id for item in predictor.bundle.labels}))
    failed: dict[str, str] = {}
    died: list[str] = []
    loop = Here(predictor) if loop is None else loop
    for outcome in in_order(loop.each(partial(score_case, keep=keep), labelled, progress), labelled):
        if outcome.error is None:
            scores.add(outcome.answer)
            take(outcome.item.id, outcome.answer["kept"])
        else:
            failed[outcome.item.id] = outcome.error
            died += [outcome.item.id] if outcome.died else []
    if len(failed) == len(labelled):
        case_id, message = next(iter(failed.items()))
        raise InputError(f"none of {len(failed)} cases can be evaluated. The first, case {case_id}: {message}")
    progress("done", 1.0)
    unlabelled = [case.id for case in cases if case.label is None]
    return {**scores.result(), "failed": failed, "died": died, "unlabelled": unlabelled}


class _Scores:
    """What is known of the cases so far: a row a case, and pooled voxels."""

    def __init__(self, structures: Sequence[str]) -> None:
        self.structures = structures
        self.rows: list[dict[str, Any]] = []
        self.calibration = Calibration(structures)
        self.detection = ErrorDetection()
        self.model = ""
        self.unmatched: set[str] = set()

    def add(self, figures: Mapping[str, Any]) -> None:
        """Add those of a case, as `score_case` gives them."""
        self.rows.append(figures["row"])
        self.calibration.add(figures["calibration"])
        self.detection.add(figures["detection"])
        self.model = figures["model"]
        self.unmatched |= set(figures["unmatched"])

    def result(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        rows, top = self.rows, self.calibration.top_label
        detection = self.detection.compute()
        mean_dice = [mean_of_defined(row["dice"].values()) for row in rows]
        return {
            "model": self.model,
            "n": len(rows),
            "structures": {name: self._structure(name) for name in self.structures},
            "classes": _intervals([row["classes"] for row in rows]),
            "circumference": mean_circumferences([row["circumference"] for row in rows]),
            "surface_tolerance_mm": TOLERANCE_MM,
            "nll": float(np.mean([row["nll"] for row in rows])),
            "brier": float(np.mean([row["brier"] for row in rows])),
            "ece": top.expected_error(),
            "mce": top.maximum_error(),
            "ace": top.adaptive_error(),
            "ece_bins": BINS,
            "reliability": top.curve(),
            "certainty": mean_of_defined(row["certainty"] for row in rows),
            "error_detection": detection,
            "boundary_mm": BOUNDARY_MM,
            "best_map": best_map(detection),
            "case_risk_coverage": case_selection([row["score"] for row in rows], mean_dice)._asdict(),
            "pooled": pooled(rows, [subject_of(row["id"]) for row in rows]),
            "ambiguity": summary([row["ambiguity"] for row in rows if row["ambiguity"]]),
            "seconds_per_case": round(float(np.mean([row["seconds"] for row in rows])), 4),
            "unmatched": sorted(self.unmatched),
            "cases": rows,
        }

    def _structure(self, name: str) -> dict[str, Any]:
        """Of one structure over all cases; `missed` and `invented` count where only one side has it."""
        found, event = [row["structures"][name] for row in self.rows], self.calibration.events[name]
        return {
            **_intervals(found),
            "missed": sum(row["relative_volume_error"] == -1 for row in found),
            "invented": sum(math.isnan(row["recall"]) and row["precision"] == 0 for row in found),
            "volume_95_coverage": _share([row["in_volume_95"][name] for row in self.rows]),
            "ece": event.expected_error(),
            "mce": event.maximum_error(),
            "ace": event.adaptive_error(),
            "reliability": event.curve(),
        }


def _intervals(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean over cases and interval of each measure."""
    return {key: mean_with_interval([row[key] for row in rows])._asdict() for key in rows[0]}


def _share(answers: Sequence[bool | None]) -> float | None:
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None
