"""The stock /batch/infer routes onto our queue."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType
from starlette.concurrency import run_in_threadpool

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.stock_tasks import add_status_routes, task
from monailabel_app.api.waiting import ended
from monailabel_app.app.infer_task import BatchParams

router = APIRouter(prefix="/batch", tags=["Infer"])

add_status_routes(router, "/infer", "batch")


@router.post("/infer/{model}", summary="Infer many images and save their labels")
async def run(
    model: str,
    app: AppInstance,
    request: Request,
    images: BatchInferImageType = BatchInferImageType.IMAGES_ALL,
    params: dict[str, Any] | None = None,
    run_sync: bool = False,
) -> dict[str, Any]:
    """Queue it; with `run_sync` answer with its end. Labels are saved with the tag `label_tag` of `params`."""
    job = await run_in_threadpool(app.submit_batch, model, images.value, BatchParams.read(params or {}))
    return await ended(job, app.queue, request) if run_sync else task(app, job.id)
