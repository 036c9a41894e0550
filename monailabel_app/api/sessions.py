"""The /session routes: what is uploaded is checked as an image of the datastore is, and no archive is unpacked."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse
from monailabel.utils.sessions import Sessions

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.uploads import check_slices, check_volume, keep
from monailabel_app.app import UncertaintySegApp
from monailabel_app.errors import NotFoundError, UnavailableError
from uncertaintyseg.errors import InputError, UncertaintySegError

router = APIRouter(prefix="/session", tags=["Session"])


@router.put("/", summary="Create a session with the files of one scan")
def create(
    app: AppInstance,
    files: Annotated[list[UploadFile], File()],
    expiry: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    uncompress: bool = False,
) -> dict[str, Any]:
    """Answer with the id under which the scan is kept for `expiry` seconds; one volume, or the slices of a series."""
    if uncompress:  # members of an archive can name files anywhere on this machine
        raise UnavailableError("uncompress is not available: send the files of the series as they are")
    sessions = _sessions(app)
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "series"
        scan.mkdir()
        paths = [keep(file, scan) for file in files]
        try:
            _check(paths)
        except UncertaintySegError as error:
            raise type(error)(str(error).replace(f"{scan}/", "")) from error
        upload = scan if len(paths) > 1 else paths[0]
        session_id, info = sessions.add_session(str(upload), expiry, session_id=str(uuid.uuid4()))
    return {"session_id": session_id, "session_info": info.to_json()}


@router.get("/{session_id}", summary="A session, or the scan in it", response_model=None)
def describe(
    session_id: str, app: AppInstance, update_ts: bool = False, image: bool = False
) -> FileResponse | dict[str, Any]:
    """`image=true` answers with the scan itself, unless it is a series of files. 404 when there is no such session."""
    info = _sessions(app).get_session(session_id, update_ts=update_ts)
    if info is None:
        raise NotFoundError(f"no session {session_id!r}; it may have expired: upload the image again")
    if not image:
        return info.to_json()
    if not Path(info.image).is_file():
        raise InputError("this session holds a series of files, which cannot be downloaded as one")
    return FileResponse(info.image, filename=Path(info.image).name)


def _sessions(app: UncertaintySegApp) -> Sessions:
    sessions = app.sessions()
    if sessions is None:
        raise UnavailableError("sessions are switched off on this server (MONAI_LABEL_SESSIONS)")
    return sessions


def _check(paths: list[Path]) -> None:
    if len(paths) > 1 or not paths[0].suffix or paths[0].suffix.lower() == ".dcm":
        check_slices(paths)
    else:
        check_volume(paths[0])
