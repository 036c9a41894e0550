"""POST /activelearning/{strategy}: the next image to label, and why."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance

router = APIRouter(tags=["ActiveLearning"])


@router.post("/activelearning/{strategy}", summary="Next image to label")
def next_sample(strategy: str, app: AppInstance, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Answer with id, strategy, score, reason and remaining counts; without id when every image has its label.

    The stock fields of the image's record (path, name, ts...) come with them.
    """
    params = params or {}
    sample = app.next_sample({**params, "strategy": strategy})
    if "id" not in sample:
        return sample
    datastore = app.datastore()
    with datastore.lock:
        info = datastore.get_image_info(sample["id"])
        served = {"ts": int(time.time()), "client_id": params.get("client_id")}
        datastore.update_image_info(sample["id"], {"strategy": {**info.get("strategy", {}), strategy: served}})
    return {**info, **sample}
