"""The stock /train routes onto our queue."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.stock_tasks import add_status_routes, task
from monailabel_app.api.waiting import ended
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.train_task import TrainParams
from monailabel_app.errors import told
from uncertaintyseg.errors import UncertaintySegError

router = APIRouter(prefix="/train", tags=["Train"])

Params = dict[str, Any] | None

add_status_routes(router, "/", "train")


@router.post("/", summary="Train models")
def run_all(app: AppInstance, params: Params = None) -> dict[str, Any]:
    """Queue the training of the models in `params`, parameters by name; else of `params.model`, else of every model.

    Parameters beside those go to each of them, as MONAI Label's client sends them. A model that cannot be trained now
    has its reason in `detail`.
    """
    shared = {name: value for name, value in (params or {}).items() if not isinstance(value, dict)}
    named = {name: value for name, value in (params or {}).items() if isinstance(value, dict)}
    names = named or ([shared["model"]] if "model" in shared else app.trainers)
    return {str(name): _queued(app, name, {**shared, **named.get(str(name), {})}) for name in names}


@router.post("/{model}", summary="Train one model")
async def run(
    model: str, app: AppInstance, request: Request, params: Params = None, run_sync: bool = False
) -> dict[str, Any]:
    """Queue a training on the final labels; with `run_sync` answer with its end."""
    job = await run_in_threadpool(app.submit_train, model, TrainParams.read(params or {}))
    return await ended(job, app.queue, request) if run_sync else task(app, job.id)


def _queued(app: UncertaintySegApp, name: Any, params: dict[str, Any]) -> dict[str, Any]:
    try:
        job = app.submit_train(name, TrainParams.read(params))
    except UncertaintySegError as error:
        return {"result": None, "detail": told(error)}
    return {"result": task(app, job.id), "detail": None}
