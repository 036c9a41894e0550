"""Waiting for a job without a thread; a client that goes away stops waiting."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from monailabel_app.errors import JobCancelledError
from monailabel_app.jobs import Job, JobQueue


async def ended(job: Job, queue: JobQueue, request: Request) -> dict[str, Any]:
    """What a job ends with. Its client may leave: the job is then cancelled unless another request waits for it.

    Raises:
        UncertaintySegError: The job failed or was cancelled.
    """
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    job.outcome.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    waits = {asyncio.create_task(over.wait()), asyncio.create_task(_gone(request))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        queue.leave(job)
    if not job.outcome.done():
        raise JobCancelledError("the client left")
    return job.outcome.result()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
