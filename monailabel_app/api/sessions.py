"""The /session routes: what is uploaded becomes a NIfTI file of the server's own; no archive is unpacked."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from monailabel.utils.sessions import SessionInfo

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.axes import AxisSaid, SpacingSaid, said
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.ownership import is_admin
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.sessions import OWNER, CheckedSessions
from monailabel_app.errors import NotFoundError, UnavailableError
from monailabel_app.intake.form import Received, received_files
from monailabel_app.intake.received import write_session

router = APIRouter(prefix="/session", tags=["Session"])


_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FIELDS = {"files": _FILES, "channels": _FILES}
_FORM = {"multipart/form-data": {"schema": {"type": "object", "properties": _FIELDS, "required": ["files"]}}}


@router.put(
    "/",
    summary="Create a session with the files of one scan",
    openapi_extra={"requestBody": {"content": _FORM, "required": True}},
)
async def create(
    app: AppInstance,
    request: Request,
    expiry: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    uncompress: bool = False,
    axis: AxisSaid = None,
    spacing: SpacingSaid = None,
) -> dict[str, Any]:
    """Answer with the id under which the scan is kept for `expiry` seconds.

    It is one volume, or the slices of a series; of a scan of several channels the first is the volume under `files`,
    and the others are under `channels`, in order, each a volume on the same grid.
    An image is a volume of one slice; pictures are decoded by the client.
    """
    if uncompress:  # members of an archive can name files anywhere on this machine
        raise UnavailableError("uncompress is not available: send the files of the series as they are")
    sessions = _sessions(app)
    with tempfile.TemporaryDirectory() as folder:
        received = await received_files(request, Path(folder))
        return await to_thread.run_sync(_add, sessions, received, expiry, said(axis, spacing))


def _add(sessions: CheckedSessions, received: Received, expiry: int, about: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        scan, *channels = write_session(received.files, Path(folder), received.channels, about)
        session_id, info = sessions.add_session(
            str(scan), expiry, owner=caller.get()[0].name, session_id=str(uuid.uuid4()), channels=channels
        )
    audit("add_session", session=session_id, **({"channels": 1 + len(channels)} if channels else {}))
    return {"session_id": session_id, "session_info": info.to_json()}


@router.get("/{session_id}", summary="A session, or the scan in it", response_model=None)
def describe(
    session_id: str, app: AppInstance, update_ts: bool = False, image: bool = False
) -> FileResponse | dict[str, Any]:
    """`image=true` answers with the scan itself. 404 when the caller has no such session."""
    info = own_session(app, session_id, update_ts=update_ts)
    if not image:
        return info.to_json()
    return FileResponse(info.image, filename=Path(info.image).name)


@router.delete("/{session_id}", summary="Remove a session")
def remove(session_id: str, app: AppInstance) -> dict[str, Any]:
    """404 when the caller has no such session."""
    own_session(app, session_id)
    audit("remove_session", session=session_id)
    _sessions(app).remove_session(session_id)
    return {}


def own_session(app: UncertaintySegApp, session_id: str, *, update_ts: bool = True) -> SessionInfo:
    """Return a session of the caller's; an admin's are all. Raises `NotFoundError`, for another's as for none."""
    info = _sessions(app).get_session(session_id, update_ts=update_ts)
    if info is None or not (is_admin() or info.meta.get(OWNER) == caller.get()[0].name):
        raise NotFoundError(f"no session {session_id!r}; it may have expired: upload the image again")
    return info


def _sessions(app: UncertaintySegApp) -> CheckedSessions:
    sessions = app.sessions()
    if sessions is None:
        raise UnavailableError("sessions are switched off on this server (MONAI_LABEL_SESSIONS)")
    return sessions
