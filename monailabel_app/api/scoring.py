"""The stock /scoring routes onto our queue, in MONAI Label's words for the state of a task."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.app import UncertaintySegApp
from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import ENDED, Job

router = APIRouter(prefix="/scoring", tags=["Scoring"])

_STATUS = {"queued": "SUBMITTED", "running": "RUNNING", "done": "DONE", "failed": "ERROR", "cancelled": "STOPPED"}

Params = dict[str, Any] | None


@router.get("/", summary="State of the last scoring task, or of all")
def status(app: AppInstance, all: bool = False, check_if_running: bool = False) -> Any:  # noqa: A002
    """Answer 404 when there is none, as MONAI Label does."""
    jobs = _score_jobs(app, active=check_if_running)
    if not jobs:
        raise NotFoundError("no scoring task is running" if check_if_running else "no scoring task so far")
    tasks = [_task(app, job.id) for job in jobs]
    return tasks if all else tasks[-1]


@router.post("/", summary="Run all scoring methods")
def run_all(app: AppInstance, params: dict[str, Params] | None = None) -> dict[str, Any]:
    """Queue every method; `params` holds parameters by method."""
    params = params or {}
    return {m: {"result": run(m, app, params.get(m)), "detail": None} for m in app.info()["scoring"]}


@router.post("/{method}", summary="Run one scoring method")
def run(method: str, app: AppInstance, params: Params = None) -> dict[str, Any]:
    """Queue a method; `params` names the `model`."""
    return _task(app, app.async_scoring(method, params)["id"])


@router.delete("/", summary="Stop the scoring task")
def stop(app: AppInstance) -> dict[str, Any] | None:
    """Cancel the oldest task that has not ended."""
    active = _score_jobs(app, active=True)
    if not active:
        return None
    app.queue.cancel(active[0].id)
    return _task(app, active[0].id)


def _score_jobs(app: UncertaintySegApp, *, active: bool) -> list[Job]:
    return [job for job in app.queue.jobs() if job.kind == "score" and not (active and job.state in ENDED)]


def _task(app: UncertaintySegApp, job_id: str) -> dict[str, Any]:
    job = app.queue.describe(job_id)
    return {
        "id": job.id,
        "status": _STATUS[job.state],
        "details": [f"{job.stage} ({job.fraction:.0%})"],
        "result": job.result,
    }
