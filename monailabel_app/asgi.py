"""MONAI Label's FastAPI app with our routes in front: `--uvicorn_app monailabel_app.asgi:app`."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import FastAPI
from monailabel.app import app

from monailabel_app import api
from monailabel_app.api import errors
from monailabel_app.api.guard import LoopbackGuard
from monailabel_app.api.instance import running_app

__all__ = ["app"]


def _put_in_front(app: FastAPI) -> None:
    """The first route that fits answers, so ours stand before the stock ones they replace."""
    stock = list(app.router.routes)
    app.router.routes.clear()
    for router in api.routers:
        app.include_router(router)
    app.router.routes.extend(stock)


_stock_lifespan = app.router.lifespan_context


def _stop_jobs_on(signum: signal.Signals) -> None:
    """End jobs as soon as the server is told to stop: uvicorn first waits for requests, which wait for jobs."""
    stop_server = signal.getsignal(signum)

    def stop(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=running_app().close, daemon=True).start()
        if callable(stop_server):
            stop_server(number, frame)

    signal.signal(signum, stop)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with _stock_lifespan(app):
        for signum in (signal.SIGINT, signal.SIGTERM):
            _stop_jobs_on(signum)
        yield
        running_app().close()


_put_in_front(app)
errors.install(app)
app.add_middleware(LoopbackGuard)
app.router.lifespan_context = _lifespan
