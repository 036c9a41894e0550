"""POST /infer/{model} as stock clients know it; it waits for a job without holding up any other request."""

from __future__ import annotations

import json
import tempfile
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk  # noqa: N813
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, File, Form, Response, UploadFile
from fastapi.responses import JSONResponse
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.uploads import received
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.infer_task import InferParams
from monailabel_app.errors import NotFoundError, UnavailableError
from uncertaintyseg.errors import InputError

router = APIRouter(tags=["Infer"])

# Waiting requests have threads of their own; the others they would take from every other route.
_WAITING = CapacityLimiter(64)
_OTHER_FORMATS = (".nii", ".nrrd")


class ResultType(str, Enum):
    """What to answer with."""

    image = "image"
    json = "json"
    all = "all"
    dicom_seg = "dicom_seg"


@router.post("/infer/{model}", summary="Run inference")
async def infer(
    model: str,
    app: AppInstance,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    output: ResultType = ResultType.all,
) -> Response:
    """Infer an image of the datastore, of a session or of the request; answer with label and `params.risk`."""
    if output is ResultType.dicom_seg:
        raise UnavailableError("output=dicom_seg is not available in this version: use image, json or all")
    options = parse_params(params)
    # of what the client wrote into params only this counts: it never decides which file is read
    request = {"model": model, **InferParams.read(options).model_dump()}
    result = await to_thread.run_sync(_wait, app, request, image, session_id, file, limiter=_WAITING)
    if output is ResultType.json:
        return JSONResponse(result["params"])
    suffix = options.get("result_extension", ".nii.gz")
    return await to_thread.run_sync(_reply, result, suffix, output)


def parse_params(params: str, field: str = "params") -> dict[str, Any]:
    """Return the JSON object of a form field. Raises `InputError` naming the field when it is none."""
    try:
        values = json.loads(params or "{}")
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{field}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{field}: must be a JSON object")
    return values


def _wait(
    app: UncertaintySegApp, request: dict[str, Any], image: str, session_id: str, file: UploadFile | None
) -> dict[str, Any]:
    if session_id:
        return app.infer({**request, "upload": _session_image(app, session_id)})
    if file is not None:
        with received(file) as path:
            return app.infer({**request, "upload": path})
    if not image:
        raise InputError("image: give the id of an image, a session_id or a file")
    return app.infer({**request, "image": image})


def _session_image(app: UncertaintySegApp, session_id: str) -> Path:
    sessions = app.sessions()
    session = sessions.get_session(session_id) if sessions is not None else None
    if session is None:
        raise NotFoundError(f"no session {session_id!r}; it may have expired: upload the image again")
    return Path(session.image)


def _reply(result: dict[str, Any], suffix: str, output: ResultType) -> Response:
    params = result["params"]
    name = f"{params['model']}_{params['risk']['result'][:16]}{suffix}"
    data, media_type = _label(Path(result["file"]), suffix), get_mime_type(name)
    if output is ResultType.image:
        return Response(data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
    fields = {"params": (None, json.dumps(params), "application/json"), "image": (name, data, media_type)}
    body = MultipartEncoder(fields)
    return Response(body.to_string(), media_type=body.content_type)


def _label(path: Path, suffix: str) -> bytes:
    """Return the label in the format that the client reads."""
    if suffix == ".nii.gz":
        return path.read_bytes()
    if suffix not in _OTHER_FORMATS:
        raise InputError(f"result_extension: {suffix!r} is not one of .nii.gz, {', '.join(_OTHER_FORMATS)}")
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / f"label{suffix}"
        sitk.WriteImage(sitk.ReadImage(str(path)), str(converted))
        return converted.read_bytes()
