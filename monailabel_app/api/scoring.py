"""The stock /scoring routes onto our queue."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.stock_tasks import add_status_routes, task

router = APIRouter(prefix="/scoring", tags=["Scoring"])

Params = dict[str, Any] | None

add_status_routes(router, "/", "score")


@router.post("/", summary="Run all scoring methods")
def run_all(app: AppInstance, params: dict[str, Params] | None = None) -> dict[str, Any]:
    """Queue every method; `params` holds parameters by method."""
    params = params or {}
    return {m: {"result": run(m, app, params.get(m)), "detail": None} for m in app.info()["scoring"]}


@router.post("/{method}", summary="Run one scoring method")
def run(method: str, app: AppInstance, params: Params = None) -> dict[str, Any]:
    """Queue a method; `params` names the `model`."""
    return task(app, app.async_scoring(method, params)["id"])
