"""Errors as JSON: `{"detail": "one clear message"}` with a 4xx status; 500 means a bug."""

from __future__ import annotations

import errno
import logging

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY

from monailabel_app.access import Access
from monailabel_app.api.limits import too_large
from monailabel_app.errors import (
    DeviceFailedError,
    DicomWebError,
    ForbiddenError,
    JobCancelledError,
    NotFoundError,
    StudiesAwayError,
    TakenError,
    TooLargeError,
    UnavailableError,
    WorkerLostError,
    told,
)
from monailabel_app.folders import all_without_folders, without_folders
from uncertaintyseg.errors import StorageError, UncertaintySegError

_STATUS = {
    ForbiddenError: 403,
    NotFoundError: 404,
    UnavailableError: 405,
    JobCancelledError: 409,
    TakenError: 409,
    TooLargeError: 413,
    DicomWebError: 502,
    DeviceFailedError: 503,
    StudiesAwayError: 503,
    WorkerLostError: 503,
    StorageError: 507,
}
logger = logging.getLogger(__name__)
_DISK_FULL = "the server's disk is full; nothing was changed. Make room and try again"


def install(app: FastAPI) -> None:
    """Make every route of `app`, stock ones as well, answer errors this way."""
    app.add_exception_handler(UncertaintySegError, _ours)
    app.add_exception_handler(MONAILabelException, _monailabel)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(Exception, _bug)


async def _ours(request: Request, error: UncertaintySegError) -> JSONResponse:
    status = _STATUS.get(type(error), 400)
    if told(error) != str(error):
        logger.warning("%s %s: %s %s", request.method, request.url.path, status, error)
    return _answer(status, told(error))


async def _monailabel(_request: Request, error: MONAILabelException) -> JSONResponse:
    missing = isinstance(error, ImageNotFoundException | LabelNotFoundException)
    return _answer(404 if missing else 400, without_folders(str(error.msg)))


async def _malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    return _answer(422, without_folders(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))


async def _http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 413:
        max_upload = int(Access.from_conf(settings.MONAI_LABEL_APP_CONF).max_upload_mb * 1e6)
        return too_large(request.scope.get(MAX_BODY_SIZE_SCOPE_KEY, max_upload), max_upload)
    if _is_full(error.__cause__):  # an upload is kept on disk while its form is read
        return _answer(507, _DISK_FULL)
    answered = HTTPException(error.status_code, all_without_folders(error.detail), error.headers)
    return await http_exception_handler(request, answered)


async def _system(request: Request, error: OSError) -> JSONResponse:
    if _is_full(error):
        return _answer(507, _DISK_FULL)
    logger.error("%s %s", request.method, request.url.path, exc_info=error)
    return await _bug(request, error)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    return _answer(500, told(error))


def _answer(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": message}, status)
