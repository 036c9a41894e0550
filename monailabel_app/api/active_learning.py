"""POST /activelearning/{strategy}: the next images to label, and why."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from monailabel_app.api.audit import audit
from monailabel_app.api.auth import acting_as
from monailabel_app.api.instance import AppInstance
from monailabel_app.app.sampling import SampleParams

router = APIRouter(tags=["ActiveLearning"])

_OURS = ("scores", "lease", "skipped")


@router.post("/activelearning/{strategy}", summary="Next images to label")
def next_sample(strategy: str, app: AppInstance, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Answer with id, strategy, score, reason and remaining counts, and `samples` where more than one is asked for.

    `params` may hold `model`, `count` (or `k`), `skip` (ids to pass over from now on), `exclude` (ids not to serve this
    time), `lease_minutes`, `seed` and, where nobody logs in, `client_id`: who asks. With `peek` it only says what it
    would serve: no lease, no note, and the `seed` of the answer makes it serve the same. There is no id when nothing is
    left. The stock fields of the image's record (path, name, ts...) come with the first.
    """
    params = params or {}
    asked = {**params, "strategy": strategy, "annotator": acting_as(params.get("client_id"))}
    with app.datastore().transaction():
        sample = app.next_sample(asked)
        if not SampleParams.read(params).peek:
            audit("serve", strategy=strategy, cases=[one["id"] for one in sample["samples"]], skip=params.get("skip"))
    if "id" not in sample:
        return sample
    info = app.datastore().get_image_info(sample["id"])
    return {**{name: value for name, value in info.items() if name not in _OURS}, **sample}
