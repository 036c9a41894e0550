"""Our own router: jobs, and the label and maps of a result."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Response

from monailabel_app.api.auth import acting_as, require
from monailabel_app.api.conditional import IfNoneMatch, is_known
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.keys import Key
from monailabel_app.api.ownership import cancel_own
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.infer_task import BatchParams, CalibrateParams, InferParams
from monailabel_app.app.train_task import TrainParams
from monailabel_app.jobs import ENDED, Job
from monailabel_app.jobs.results import ROUTE
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Role

router = APIRouter(tags=["Uncertainty"])
_JOBS = "/uncertainty/v1/jobs"
_FOR_TRAINERS = ("batch", "train", "calibrate")


@router.post(_JOBS, status_code=202, summary="Start an inference, a scoring, a training...")
def submit(request: wire.JobRequest, app: AppInstance) -> dict[str, str]:
    """Answer with the job's id; a result that is already there ends the job at once."""
    if request.priority == "prefetch" and request.kind != "infer":
        raise InputError(f"priority: only an infer job can be a prefetch, and a {request.kind} job waits as it is")
    if request.kind in _FOR_TRAINERS:
        require(Role.trainer)()
    return {"id": _SUBMIT[request.kind](app, request).id}


def _infer(app: UncertaintySegApp, request: wire.JobRequest) -> Job:
    if request.image is None:
        raise InputError("image: an infer job needs the id of an image")
    params = InferParams.read(request.params, strict=True)
    annotator = acting_as(request.client_id) if request.priority == "prefetch" else None
    return app.submit_infer(request.model, request.image, params, prefetch_for=annotator)


def _score(app: UncertaintySegApp, request: wire.JobRequest) -> Job:
    return app.submit_score(request.model, request.image, InferParams.read(request.params, strict=True))


def _batch(app: UncertaintySegApp, request: wire.JobRequest) -> Job:
    return app.submit_batch(request.model, request.images, BatchParams.read(request.params, strict=True))


def _train(app: UncertaintySegApp, request: wire.JobRequest) -> Job:
    return app.submit_train(request.model, TrainParams.read(request.params, strict=True))


def _calibrate(app: UncertaintySegApp, request: wire.JobRequest) -> Job:
    return app.submit_calibrate(request.model, CalibrateParams.read(request.params, strict=True))


_SUBMIT = {"infer": _infer, "score": _score, "batch": _batch, "train": _train, "calibrate": _calibrate}


@router.get(_JOBS, summary="Jobs that have not ended")
async def unfinished(app: AppInstance) -> list[wire.Job]:
    """Those of stock clients too, which never learn the id of theirs."""
    return [app.queue.describe(job.id) for job in app.queue.jobs() if job.state not in ENDED]


@router.get(f"{_JOBS}/{{job_id}}", summary="State of a job")
async def describe(job_id: str, app: AppInstance) -> wire.Job:
    """State, place in the queue, progress and, at the end, result or error."""
    return app.queue.describe(job_id)


@router.delete(f"{_JOBS}/{{job_id}}", status_code=204, summary="Cancel a job")
def cancel(job_id: str, app: AppInstance) -> None:
    """End a queued or running job of one's own; one that has ended, or that others wait for as well, stays as it is."""
    cancel_own(app, app.queue.get(job_id))


@router.get(f"{ROUTE}/{{key}}/label.nii.gz", summary="Label of a result", response_class=Response)
def label(key: Key, app: AppInstance, if_none_match: IfNoneMatch = None) -> Response:
    """Segmentation on the scan's grid, uint8."""
    return volume(app.results.label_bytes(key), if_none_match)


@router.get(f"{ROUTE}/{{key}}/maps/{{name}}.nii.gz", summary="One map of a result", response_class=Response)
def risk_map(key: Key, name: str, app: AppInstance, if_none_match: IfNoneMatch = None) -> Response:
    """Map on the scan's grid, uint16 with `scl_slope`."""
    return volume(app.results.map_bytes(key, name), if_none_match)


def volume(data: bytes, if_none_match: str | None) -> Response:
    """Answer with a gzipped volume, or that the client has it."""
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/gzip", headers=headers)
