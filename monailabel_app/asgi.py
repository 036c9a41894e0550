"""MONAI Label's FastAPI app with our routes in front: `--uvicorn_app monailabel_app.asgi:app`."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import FrameType

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from monailabel.app import app
from monailabel.config import settings
from starlette.middleware.cors import CORSMiddleware

from monailabel_app import api
from monailabel_app.access import Access
from monailabel_app.api import errors
from monailabel_app.api.audit import audit, audit_batch_label, audit_job, note_result
from monailabel_app.api.auth import Gate, Login
from monailabel_app.api.folders import WithoutFolders, hide_folders
from monailabel_app.api.guard import Guard, SecurityHeaders
from monailabel_app.api.instance import running_app
from monailabel_app.api.limits import FORM, BodyLimits
from monailabel_app.connections import announce, running_server, take_hold
from monailabel_app.errors import StudiesAwayError
from monailabel_app.privacy import close_to_others, keep_private, log_files, log_in_single_lines
from uncertaintyseg.errors import UncertaintySegError

__all__ = ["app"]
logger = logging.getLogger(__name__)


def _put_in_front(app: FastAPI) -> None:
    """The first route that fits answers, so ours stand before the stock ones they replace."""
    stock = list(app.router.routes)
    app.router.routes.clear()
    for router in api.routers:
        app.include_router(router)
    app.router.routes.extend(stock)
    first_last = list(reversed(app.router.routes))  # of two routes of one path OpenAPI keeps the last
    app.openapi = functools.cache(lambda: get_openapi(title=app.title, version=app.version, routes=first_last))


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
    access = Access.from_conf(settings.MONAI_LABEL_APP_CONF)
    if (server := running_server()) is not None:
        take_hold(server, access)
        app.state.announcing = asyncio.create_task(announce(server, access))
    else:
        logger.warning("not served by uvicorn itself: let a proxy in front cut off slow clients")
    async with _stock_lifespan(app):
        hide_folders(access)
        close_to_others([*running_app().folders, *log_files()])
        for signum in (signal.SIGINT, signal.SIGTERM):
            _stop_jobs_on(signum)
        running_app().queue.on_submit = audit_job
        running_app().queue.on_made = note_result
        running_app().on_batch_label = audit_batch_label
        with suppress(StudiesAwayError):
            audit("start", studies=running_app().studies)
        yield
        running_app().close()
        with suppress(UncertaintySegError):  # the studies may be away; the server stops all the same
            audit("stop")
        running_app().close_studies()


def _protect(app: FastAPI, access: Access) -> None:
    """Put the guards around the routes, the outermost last, in the place of MONAI Label's, which let any page in."""
    app.user_middleware.clear()
    app.state.gate = Gate(access)
    app.router.form_limits = FORM
    app.add_middleware(WithoutFolders)
    app.add_middleware(BodyLimits, access=access)
    app.add_middleware(Login, gate=app.state.gate)
    if access.allow_origins:
        allowed = ["Authorization", "Content-Type", "If-None-Match"]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.allow_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=allowed,
            expose_headers=["ETag", "Content-Disposition"],
        )
    app.add_middleware(Guard, access=access)
    app.add_middleware(SecurityHeaders)


keep_private()
log_in_single_lines()
_put_in_front(app)
errors.install(app)
_protect(app, Access.from_conf(settings.MONAI_LABEL_APP_CONF))
app.router.lifespan_context = _lifespan
