"""Corrections: clicks and scribbles on a result move the whole segmentation (METHODS 14)."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.keys import Key
from monailabel_app.api.waiting import ended
from monailabel_app.app import conditioning
from monailabel_app.jobs.results import ROUTE
from uncertaintyseg import wire

router = APIRouter(tags=["Uncertainty"])


@router.post(f"{ROUTE}/{{key}}/condition", summary="Correct a result by clicks")
async def condition(
    key: Key, corrections: wire.ConditionRequest, app: AppInstance, request: Request
) -> wire.ConditionResult:
    """Answer with a new result given all clicks; leave one out to take it back, give none for the result itself."""
    job = await to_thread.run_sync(conditioning.submit, app, key, corrections)
    return wire.ConditionResult.model_validate(await ended(job, app.queue, request))
