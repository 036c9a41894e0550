"""What a saved label tells the audit trail: how long it took, what was looked at, how much a person changed."""

from __future__ import annotations

import time
from typing import Any

import nibabel as nib
import numpy as np

from monailabel_app.api.audit import last_results
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.reviews import reviewed_result
from monailabel_app.errors import NotFoundError


def about_save(app: UncertaintySegApp, image: str, label: np.ndarray, info: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail says of a save.

    Args:
        app: The app.
        image: Case id.
        label: What was saved, `[X, Y, Z]` on the scan's grid.
        info: The client's `params`; `result` (key of the result that was corrected) and `seconds_open` count. Without
            them the case's last result and the time since it was served as next sample are taken, null where unknown.
            `looked_at` is passed on.
    """
    seconds = info.get("seconds_open")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = _seconds_since_served(app, image)
    result = info.get("result") or last_results.of(image)
    looked_at = {"looked_at": info["looked_at"]} if info.get("looked_at") is not None else {}
    return {"case": image, "seconds_open": seconds, **looked_at, **_compared(app, result, label)}


def _seconds_since_served(app: UncertaintySegApp, image: str) -> float | None:
    served = app.datastore().get_image_info(image).get("strategy")
    notes = served.values() if isinstance(served, dict) else ()  # clients may write records
    times = [note["ts"] for note in notes if isinstance(note, dict) and isinstance(note.get("ts"), int | float)]
    return max(time.time() - max(times), 0.0) if times else None


def _compared(app: UncertaintySegApp, result: Any, label: np.ndarray) -> dict[str, Any]:
    unknown = {"result": None, "voxels_changed": None}
    try:
        report = app.results.report(result) if isinstance(result, str) else None
        if report is None:
            return unknown
        result = reviewed_result(report.risk.provenance.params, result)
        predicted = np.asarray(nib.load(app.results.label_path(result)).dataobj)
    except NotFoundError:  # no key at all, or evicted meanwhile
        return unknown
    made_with = report.risk.provenance
    return {
        "result": result,
        "voxels_changed": int(np.count_nonzero(predicted != label)) if predicted.shape == label.shape else None,
        "model": made_with.model,
        "head": made_with.head,
        "checksum": made_with.weights_checksum,
        "seed": made_with.seed,
    }
