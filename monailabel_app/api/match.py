"""Which labels of a model the segments of somebody's segmentation are."""

from __future__ import annotations

from fastapi import APIRouter

from monailabel_app.api.instance import AppInstance
from monailabel_app.app.infer_task import find_task
from uncertaintyseg import wire
from uncertaintyseg.data import anatomy
from uncertaintyseg.errors import InputError

router = APIRouter(tags=["Uncertainty"])


@router.post("/uncertainty/v1/match", summary="Match segments to a model's labels")
def match(asked: wire.MatchRequest, app: AppInstance) -> wire.MatchResult:
    """Match by SNOMED CT code and side, then by name; what is left is told with the models that know it."""
    keys = {part.key for part in asked.parts}
    if len(keys) < len(asked.parts):
        raise InputError("parts: two have the same key; give each its own")
    parts = [anatomy.Part(**part.model_dump()) for part in asked.parts]
    matched = anatomy.match(parts, find_task(app.infers, asked.model).bundle.labels)
    left = [part for part in parts if part.key not in matched]
    knowing = {name: anatomy.match(left, task.bundle.labels) for name, task in sorted(app.infers.items())}
    unmatched = [
        wire.Unmatched(key=part.key, models=[name for name, found in knowing.items() if part.key in found])
        for part in left
    ]
    return wire.MatchResult(matched=matched, unmatched=unmatched)
