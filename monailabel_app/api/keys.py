"""Results named by their key: one that is damaged, or had to make room, is made again before a route looks at it."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Path, Request

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.waiting import ended
from monailabel_app.app import UncertaintySegApp, conditioning
from monailabel_app.jobs.requests import Asked
from uncertaintyseg import wire


async def _made(
    key: Annotated[str, Path(description="`risk.result` of an inference.")], app: AppInstance, request: Request
) -> str:
    if await to_thread.run_sync(app.results.report, key) is None:
        asked = await to_thread.run_sync(app.requests.of, key)
        if asked is not None:
            await _make_again(app, asked, request)
    return key


Key = Annotated[str, Depends(_made)]
"""Of a result that is there, unless what it was made of has changed; then the route finds it gone."""


async def _make_again(app: UncertaintySegApp, asked: Asked, request: Request) -> None:
    job = await to_thread.run_sync(app.submit_again, asked)
    if job is None:
        return
    result = await ended(job, app.queue, request)
    if asked.corrections is not None:
        corrections = wire.ConditionRequest.model_validate(asked.corrections)
        job = await to_thread.run_sync(conditioning.submit, app, result["risk"]["result"], corrections)
        await ended(job, app.queue, request)
