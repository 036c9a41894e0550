"""What a person should know before a model runs on a scan."""

from __future__ import annotations

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.app.infer_task import find_task
from uncertaintyseg import wire
from uncertaintyseg.data.doubts import read_doubts

router = APIRouter(tags=["Uncertainty"])


@router.post("/uncertainty/v1/check", summary="Look at a scan before a model runs on it")
def check(asked: wire.CheckRequest, app: AppInstance) -> wire.Check:
    """Say whether the scan looks like what the model was trained on; nothing is refused for it.

    4xx for an unknown model or image, and for a scan that no model can read.
    """
    bundle = find_task(app.infers, asked.model).bundle
    doubts = read_doubts(app.datastore().image_path(asked.image), bundle.modality, bundle.channels)
    return wire.Check(warnings=[f"{asked.image} {doubt}" for doubt in doubts])
