"""GET /ohif/...: the files of the viewer that MONAI Label brings, and no others."""

from __future__ import annotations

from pathlib import Path

import monailabel.endpoints
from fastapi import APIRouter
from fastapi.responses import FileResponse

from monailabel_app.errors import NotFoundError

router = APIRouter(include_in_schema=False)

_FOLDER = (Path(monailabel.endpoints.__file__).parent / "static" / "ohif").resolve()


@router.get("/ohif/{path:path}")
def viewer(path: str) -> FileResponse:
    """Answer with a file of the viewer; its first page for the addresses that the viewer makes up itself."""
    try:
        file = (_FOLDER / path).resolve()
        found = file if file.is_relative_to(_FOLDER) and file.is_file() else _FOLDER / "index.html"
    except (OSError, ValueError):  # no name that this system can have
        found = _FOLDER / "index.html"
    if not found.is_file():
        raise NotFoundError("this installation of MONAI Label brings no OHIF viewer")
    return FileResponse(found)
