"""Which map of a model shall drive its calibration: the one that ranks its errors best, on validation cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.calibrating import Progress, check_as_it_is, judged
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.error_detection import rank_errors
from uncertaintyseg.metrics.risk_coverage import aurc
from uncertaintyseg.review.calibration import MEASURE

AUTO = "auto"
"""Asks for the best map in place of a name."""


def ranking_figures(
    predictor: Predictor, cases: Sequence[Case], progress: Progress = lambda stage, fraction: None
) -> dict[str, float]:
    """How well each map of a model ranks its errors: AURC over the voxels of a scan, mean over cases (less is better).

    Args:
        predictor: of the model as it is.
        cases: of validation; those without a label are left out.
        progress: called with the case at work and the fraction done.

    Raises:
        InputError: without a labelled case, for a predictor that runs a method, or a case that cannot be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to choose a map on: give validation cases.")
    found: dict[str, list[float]] = {name: [] for name in predictor.drivers}
    for number, case in enumerate(labelled):
        progress(case.id, number / len(labelled))
        prediction = predictor.predict(case.image, samples=1)
        check_as_it_is(predictor, prediction)
        case_found = judged(case, prediction, predictor.bundle, predictor.drivers)
        wrong = case_found.wrong.reshape(-1)
        for name, risk in case_found.risks.items():
            found[name].append(aurc(rank_errors(risk.reshape(-1), wrong)))
    progress("done", 1.0)
    return {name: float(np.mean(areas)) for name, areas in found.items()}


def best_driver(figures: dict[str, float]) -> str:
    """The map with the least AURC; the model's own error probability where none is below it."""
    return min(figures, key=lambda name: (figures[name], name != MEASURE))


def check_apart(calibration: Sequence[Case], validation: Sequence[Case]) -> None:
    """Raise `InputError` where a case would both choose the map and stand behind the promise."""
    common = {case.image.resolve() for case in calibration} & {case.image.resolve() for case in validation}
    if common:
        raise InputError(
            f"{min(common)} is both a calibration and a validation case: a map that was chosen on calibration cases "
            "voids what is promised with them. Take other cases to choose on."
        )
