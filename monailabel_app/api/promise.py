"""What can be promised of a result at a bound that somebody asks for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.keys import Key
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.sampling import was_picked
from monailabel_app.jobs.job import PICKED
from monailabel_app.jobs.results import ROUTE, Report
from uncertaintyseg import wire
from uncertaintyseg.review.promise import ALPHA
from uncertaintyseg.review.promise import guarantee as promise

router = APIRouter(tags=["Uncertainty"])
_ANEW = "uncalibrated: the model was calibrated anew, or went, after this result was made: infer again"


@router.get(f"{ROUTE}/{{key}}/guarantee", summary="The promise of a result at another bound")
def guarantee(
    key: Key,
    app: AppInstance,
    alpha: Annotated[float, Query(gt=0, lt=1, description="Bound on wrong voxels left / reference voxels.")] = ALPHA,
    delta: Annotated[
        float | None,
        Query(gt=0, lt=1, description="Asks for confidence 1 - delta; without it the bound is on the average."),
    ] = None,
) -> wire.Promise:
    """Answer with the threshold that keeps the bound, or null and why nothing can be promised of this result.

    400 where so few calibration cases cannot promise that much; the message says how many could.
    """
    report = app.results.existing(key)
    reason = _why_not(app, key, report)
    if reason:
        return wire.Promise(guarantee=None, guarantee_reason=reason)
    calibration, _ = app.models[report.risk.provenance.model].calibration
    return wire.Promise(guarantee=promise(calibration, alpha, delta))


def _why_not(app: UncertaintySegApp, key: str, report: Report) -> str | None:
    """Why nothing can be promised of a result, whatever the bound; None where something can."""
    if not report.risk.calibrated:
        return report.risk.guarantee_reason
    image = app.requests.image(key)
    noted = image is not None and was_picked(app.datastore().get_image_info(image))
    if noted or app.requests.was_picked(key):
        return PICKED
    made_by = report.risk.provenance
    bundle = app.models.get(made_by.model)
    calibration = bundle and bundle.calibration[0]
    return None if calibration and calibration.checksum == made_by.calibration else _ANEW
