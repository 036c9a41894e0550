"""What a person should know before a model runs on a scan."""

from __future__ import annotations

import functools
from pathlib import Path

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.app.infer_task import find_task
from uncertaintyseg import wire
from uncertaintyseg.data.doubts import read_doubts
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.inference.content import content_hash

router = APIRouter(tags=["Uncertainty"])


@router.post("/uncertainty/v1/check", summary="Look at a scan before a model runs on it")
def check(asked: wire.CheckRequest, app: AppInstance) -> wire.Check:
    """Say whether the scan looks like what the model was trained on; nothing is refused for it.

    4xx for an unknown model or image, and for a scan that no model can read.
    """
    bundle, path = find_task(app.infers, asked.model).bundle, app.datastore().image_path(asked.image)
    doubts = _doubts(path, content_hash(*scan_files(path)), bundle.modality, len(bundle.channels))
    return wire.Check(warnings=[f"{asked.image} {doubt}" for doubt in doubts])


@functools.lru_cache(maxsize=4096)
def _doubts(path: Path, _content: str, modality: str | None, channels: int) -> list[str]:
    """The same of a scan that has not changed: reading a large one takes seconds."""
    return read_doubts(path, modality, channels)
