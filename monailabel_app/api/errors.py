"""Errors as JSON: `{"detail": "one clear message"}` with a 4xx status; 500 means a bug."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException

from monailabel_app.errors import JobCancelledError, NotFoundError, UnavailableError, WorkerLostError
from uncertaintyseg.errors import UncertaintySegError

_STATUS = {NotFoundError: 404, UnavailableError: 405, JobCancelledError: 409, WorkerLostError: 503}


def install(app: FastAPI) -> None:
    """Make every route of `app`, stock ones as well, answer errors this way."""
    app.add_exception_handler(UncertaintySegError, _ours)
    app.add_exception_handler(MONAILabelException, _monailabel)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _bug)


async def _ours(_request: Request, error: UncertaintySegError) -> JSONResponse:
    return _answer(_STATUS.get(type(error), 400), str(error))


async def _monailabel(_request: Request, error: MONAILabelException) -> JSONResponse:
    missing = isinstance(error, ImageNotFoundException | LabelNotFoundException)
    return _answer(404 if missing else 400, error.msg)


async def _malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    return _answer(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    return _answer(500, f"a bug in the server ({type(error).__name__}); its log has the details")


def _answer(status: int, message: str) -> JSONResponse:
    return JSONResponse({"detail": message}, status)
