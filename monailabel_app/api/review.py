"""What a person reviews by: the risk of a label that they edited or brought, and plausible segmentations."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import ValidationError

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.infer import parse_params
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.keys import Key
from monailabel_app.api.waiting import ended
from monailabel_app.app import UncertaintySegApp, reviews
from monailabel_app.errors import NotFoundError
from monailabel_app.intake.received import received_label
from monailabel_app.jobs.results import ROUTE, infer_result
from monailabel_app.jobs.samples import Draw, SamplesJob, sample_path, samples_named, stored_samples
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Role

router = APIRouter(tags=["Uncertainty"])


@router.post(f"{ROUTE}/{{key}}/review", summary="The risk of a label, by a result")
def review(
    key: Key,
    app: AppInstance,
    label: Annotated[UploadFile, File(description="NIfTI or NRRD on the scan's grid, the model's class ids.")],
    params: Annotated[str, Form(description="JSON of a ReviewRequest.")] = "{}",
) -> wire.InferResult:
    """Answer with a new result: the label's structures, regions, curve and maps `error_probability` and `anomaly`.

    Its other maps are those of the result that was asked. 4xx for a file that is no label of this scan and model.
    """
    asked = _asked(params)
    grid, ids = reviews.asked_for(app.results, key)
    report = reviews.review(app.results, key, received_label(label, ids, grid), asked)
    made_by = report.risk.provenance
    base = made_by.params["review_of"]
    audit(
        "review",
        case=app.requests.image(base),
        result=report.risk.result,
        of=base,
        trusted=asked.trusted,
        accepted=len(asked.accepted),
        model=made_by.model,
        head=made_by.head,
        checksum=made_by.weights_checksum,
    )
    return infer_result(report)


@router.post(f"{ROUTE}/{{key}}/samples", summary="Draw plausible segmentations")
async def draw(key: Key, asked: wire.SamplesRequest, app: AppInstance, request: Request) -> wire.PlausibleLabels:
    """Whole segmentations from the model's own distribution, the smallest (all structures together) first.

    4xx where the model draws no whole shapes; the message says why.
    """
    known = await to_thread.run_sync(stored_samples, app.results, key, asked.seed, asked.count)
    return known or await _drawn(app, key, asked, request)


@router.get(f"{ROUTE}/{{key}}/samples/{{name}}.nii.gz", summary="One plausible segmentation")
async def sample(key: Key, name: str, app: AppInstance, request: Request) -> FileResponse:
    """On the scan's grid, uint8; drawn again where it is gone, for those who may draw."""
    try:
        path = await to_thread.run_sync(sample_path, app.results, key, name)
    except NotFoundError:
        asked = samples_named(name)
        if asked is None or caller.get()[0].role < Role.annotator:
            raise
        await _drawn(app, key, asked, request)
        path = await to_thread.run_sync(sample_path, app.results, key, name)
    return FileResponse(path, media_type="application/gzip")


def _asked(params: str) -> wire.ReviewRequest:
    try:
        return wire.ReviewRequest.model_validate(parse_params(params))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"params.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


async def _drawn(
    app: UncertaintySegApp, key: str, asked: wire.SamplesRequest, request: Request
) -> wire.PlausibleLabels:
    job = await to_thread.run_sync(_submit, app, key, asked)
    return wire.PlausibleLabels.model_validate(await ended(job, app.queue, request))


def _submit(app: UncertaintySegApp, key: str, asked: wire.SamplesRequest) -> SamplesJob:
    report = app.results.existing(key)
    made_by = report.risk.provenance
    if "base" in made_by.params:
        raise InputError(
            "plausible segmentations are drawn of the model's own result, not of one that a person has corrected: ask "
            f"for those of {made_by.params['base']}"
        )
    if app.results.state_folder(key) is None:
        reason = report.risk.structures[0].interval_method.removeprefix("none: ")
        raise InputError(f"{made_by.model}: no whole segmentations can be drawn: {reason}")
    bundle = app.models.get(made_by.model)
    if bundle is None:
        raise NotFoundError(f"the model {made_by.model} that made this result is not here any more: infer again")
    work = Draw(
        result=key,
        count=asked.count,
        seed=asked.seed,
        results=str(app.results.root),
        bundle=str(bundle.folder),
        checksum=made_by.weights_checksum,
        device=made_by.device,
    )
    return app.queue.submit(SamplesJob(made_by.model, app.requests.image(key), work))
