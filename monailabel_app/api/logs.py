"""GET /logs/ as MONAI Label has it, of so many lines as it can hold in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response
from monailabel.config import settings
from monailabel.endpoints import logs as stock

router = APIRouter(tags=["Others"])


@router.get("/logs/", summary="The last lines of the server's log", response_model=None)
def newest(
    lines: Annotated[int, Query(ge=0, le=100_000)] = 300,
    html: bool = True,
    text: bool = False,
    refresh: Annotated[int, Query(ge=0, le=3600, description="Seconds between two looks of the page.")] = 0,
) -> Response:
    """As a page, or as text."""
    return stock.get_logs(str(Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"), lines, html, text, refresh)
