"""PUT /session/ in front of the stock one: upload names are checked, and no archive is unpacked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, File, UploadFile
from monailabel.endpoints.session import create_session

from monailabel_app.api.uploads import upload_name
from monailabel_app.errors import UnavailableError

router = APIRouter(prefix="/session", tags=["Session"])


@router.put("/", summary="Create a session with the files of one scan")
def create(
    background_tasks: BackgroundTasks,
    files: Annotated[list[UploadFile], File()],
    expiry: int = 0,
    uncompress: bool = False,
) -> dict[str, Any]:
    """Answer with the id under which the scan is kept for `expiry` seconds."""
    if uncompress:  # members of an archive can name files anywhere on this machine
        raise UnavailableError("uncompress is not available: send the files of the series as they are")
    for file in files:
        file.filename = upload_name(file)
    return create_session(background_tasks, uncompress=False, expiry=expiry, files=files)
