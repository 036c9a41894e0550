"""Jobs as MONAI Label's /train, /batch/infer and /scoring routes show them: one task of a kind, in its words."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.ownership import cancel_own, is_own
from monailabel_app.app import UncertaintySegApp
from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import ENDED, Job
from uncertaintyseg import wire

_STATUS = {"queued": "SUBMITTED", "running": "RUNNING", "done": "DONE", "failed": "ERROR", "cancelled": "STOPPED"}


def task(app: UncertaintySegApp, job_id: str) -> dict[str, Any]:
    """A job as a MONAI Label task."""
    job = app.queue.describe(job_id)
    details = [f"{job.stage} ({job.fraction:.0%})", *([job.error] if job.error else [])]
    return {"id": job.id, "status": _STATUS[job.state], "details": details, "result": job.result}


def add_status_routes(router: APIRouter, path: str, kind: wire.JobKind) -> None:
    """Give a router GET and DELETE of the tasks of a kind."""

    @router.get(path, summary=f"State of the last {kind} task, or of all")
    def status(app: AppInstance, all: bool = False, check_if_running: bool = False) -> Any:  # noqa: A002
        """Answer 404 when there is none, as MONAI Label does."""
        jobs = _jobs(app, kind, active=check_if_running)
        if not jobs:
            raise NotFoundError(f"no {kind} task is running" if check_if_running else f"no {kind} task so far")
        tasks = [task(app, job.id) for job in jobs]
        return tasks if all else tasks[-1]

    @router.delete(path, summary=f"Stop the {kind} task")
    def stop(app: AppInstance) -> dict[str, Any] | None:
        """Cancel the oldest task of one's own, or for an admin of all; 403 where there are only others'."""
        active = _jobs(app, kind, active=True)
        if not active:
            return None
        own = [job for job in active if is_own(job)]
        active = own or active
        cancel_own(app, active[0])
        return task(app, active[0].id)


def _jobs(app: UncertaintySegApp, kind: wire.JobKind, *, active: bool) -> list[Job]:
    return [job for job in app.queue.jobs() if job.kind == kind and not (active and job.state in ENDED)]
