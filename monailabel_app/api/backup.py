"""A copy of the records while the server runs; `uncertaintyseg backup` asks for it and copies the files beside."""

from __future__ import annotations

import os

from fastapi import APIRouter

from monailabel_app.api.audit import audit
from monailabel_app.api.instance import AppInstance
from monailabel_app.backup import SNAPSHOT
from uncertaintyseg import wire

router = APIRouter(tags=["Admin"])


@router.post("/uncertainty/v1/backup", summary="Copy the records as they are now")
def snapshot(app: AppInstance) -> wire.Backup:
    """Into the studies folder, in place of the last such copy; every file that they name is there and stays."""
    datastore = app.datastore()
    path = datastore.folder / SNAPSHOT
    new = path.with_name(f".{SNAPSHOT}.new")
    new.unlink(missing_ok=True)
    try:
        datastore.backup(new)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    audit("backup")
    return wire.Backup(file=SNAPSHOT, id=datastore.store.meta("id"))
