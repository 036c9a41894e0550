"""Which map of a model shall drive its calibration: the one that ranks its errors best, on validation cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.calibrating import check_all_used, check_as_it_is, judged
from uncertaintyseg.inference.case_loop import CaseLoop, Here, Progress, in_order
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.error_detection import rank_errors
from uncertaintyseg.metrics.risk_coverage import aurc
from uncertaintyseg.review.calibration import MEASURE

AUTO = "auto"
"""Asks for the best map in place of a name."""


def ranking_figures(
    predictor: Predictor,
    cases: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    *,
    loop: CaseLoop | None = None,
) -> dict[str, float]:
    """How well each map of a model ranks its errors: AURC over the voxels of a scan, mean over cases (less is better).

    Args:
        predictor: of the model as it is.
        cases: of validation; those without a label are left out.
        progress: called with the case at work and the fraction done.
        loop: over the cases; by default this process with this predictor.

    Raises:
        InputError: without a labelled case, for a predictor that runs a method, or a case that cannot be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to choose a map on: give validation cases.")
    loop = Here(predictor) if loop is None else loop
    outcomes = list(in_order(loop.each(rank_case, labelled, progress), labelled))
    check_all_used(outcomes)
    progress("done", 1.0)
    return {name: float(np.mean([found.answer[name] for found in outcomes])) for name in predictor.drivers}


def rank_case(predictor: Predictor, case: Case, _progress: Progress) -> dict[str, float]:
    """AURC of each map of a case.

    Raises:
        InputError: the case cannot be used, or something runs around the model.
    """
    prediction = predictor.predict(case.image, samples=1)
    check_as_it_is(predictor, prediction)
    found = judged(case, prediction, predictor.bundle, predictor.drivers)
    wrong = found.wrong.reshape(-1)
    return {name: float(aurc(rank_errors(risk.reshape(-1), wrong))) for name, risk in found.risks.items()}


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
