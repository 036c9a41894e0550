"""POST /infer/{model} as stock clients know it; it waits for a job without holding up any other request."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import SimpleITK as sitk  # noqa: N813
from anyio import to_thread
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from monailabel.utils.others.generic import get_mime_type
from pydantic import ValidationError
from requests_toolbelt import MultipartEncoder

from monailabel_app.api.axes import AxisSaid, SpacingSaid, said
from monailabel_app.api.dicom import check_series, segmentation_reply
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.sessions import own_session
from monailabel_app.api.waiting import ended
from monailabel_app.app import UncertaintySegApp, conditioning
from monailabel_app.app.infer_task import InferParams
from monailabel_app.folders import all_without_folders
from monailabel_app.intake.received import received_scan
from monailabel_app.jobs import InferJob
from monailabel_app.store import strict
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

router = APIRouter(tags=["Infer"])

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
    request: Request,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    channels: Annotated[list[UploadFile] | None, File()] = None,
    output: ResultType = ResultType.all,
    axis: AxisSaid = None,
    spacing: SpacingSaid = None,
) -> Response:
    """Infer an image of the datastore, of a session or of the request; answer with label and `params.risk`.

    Points in `params`, as MONAI Label names them (`foreground`, `background`, or a structure's own name), and the same
    under `scribbles`, correct the result before it is answered with. Of a scan of several channels that comes with the
    request, `file` is the first and `channels` are the others, in order; `axis` and `spacing` say of such a scan
    what its file does not, and are refused of any other.
    """
    if output is ResultType.dicom_seg:
        check_series(app, image if file is None and not session_id else "")
    _check_said(file, session_id, {"axis": axis, "spacing": spacing})
    options = parse_params(params)
    # of what the client wrote into params only this counts: it never decides which file is read
    asked = {"model": model, **InferParams.read(options).model_dump()}
    with ExitStack() as stack:
        upload = None
        if file is not None and not session_id:
            received = received_scan(file, channels or [], said(axis, spacing))
            upload = (await to_thread.run_sync(stack.enter_context, received)).path
        job = await to_thread.run_sync(_submit, app, asked, image, session_id, upload)
        result = await ended(job, app.queue, request)
        if corrections := _corrections(options, result["label_names"]):
            job = await to_thread.run_sync(conditioning.submit, app, result["risk"]["result"], corrections)
            result = await ended(job, app.queue, request)
        result = app.answer(model, result)
        result["params"] = all_without_folders(result["params"])  # a part of a form is no JSON answer
    if output is ResultType.json:
        return JSONResponse(result["params"])
    if output is ResultType.dicom_seg:
        return await to_thread.run_sync(segmentation_reply, app, image, result["params"]["risk"]["result"])
    suffix = options.get("result_extension", ".nii.gz")
    return await to_thread.run_sync(_reply, result, suffix, output)


def parse_params(params: str, field: str = "params") -> dict[str, Any]:
    """Return the JSON object of a form field. Raises `InputError` naming the field when it is none."""
    values = strict.read(params or "{}", field)
    if not isinstance(values, dict):
        raise InputError(f"{field}: must be a JSON object")
    return values


def _submit(
    app: UncertaintySegApp, request: dict[str, Any], image: str, session_id: str, upload: Path | None
) -> InferJob:
    if session_id:
        return app.submit_request({**request, "upload": _session_image(app, session_id)})
    if upload is not None:
        return app.submit_request({**request, "upload": upload})
    if not image:
        raise InputError("image: give the id of an image, a session_id or a file")
    return app.submit_request({**request, "image": image})


def _check_said(file: UploadFile | None, session_id: str, given: dict[str, str | None]) -> None:
    """Refuse what a client says of a scan that is here already: it was said, or not, when that came."""
    if name := next((name for name, value in given.items() if value and (file is None or session_id)), None):
        where = "PUT /session/" if session_id else "PUT /datastore/image"
        raise InputError(
            f"{name}: is said of a scan that comes with the request; of one that is here already, {where} says it"
        )


def _corrections(options: dict[str, Any], names: Iterable[str]) -> wire.ConditionRequest | None:
    """The points and scribbles of a request, None without any. Raises `InputError` naming a field that is wrong."""
    given = {name: options[name] for name in ("foreground", "background", "scribbles", *names) if options.get(name)}
    if not given:
        return None
    if "foreground" in given and isinstance(options.get("label"), str):
        given["label"] = options["label"]
    try:
        return wire.ConditionRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"params.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _session_image(app: UncertaintySegApp, session_id: str) -> Path:
    return Path(own_session(app, session_id).image)


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
