"""Which part of a label a person has looked at: boxes that come with it; outside of them it counts for nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydantic import TypeAdapter, ValidationError

from monailabel_app.store.review_status import APPROVED, review_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.wire import Box

VERIFIED = "verified"
"""Key in `params` of a save, and in the notes of the label's version."""
MOST = 500
"""Boxes of one label; a list of regions has 20, and grows by those that are decided."""

Boxes = tuple[Box, ...]
"""First and last voxel of each, IJK on the grid of the stored scan."""
_BOXES = TypeAdapter(Boxes)


def checked_verified(told: Any, shape: Sequence[int]) -> Boxes | None:
    """Return the boxes that a client tells; None where it tells of none, so that the label counts as a whole.

    Args:
        told: `params.verified`.
        shape: Of the scan.

    Raises:
        InputError: It names the box that is none, or lies beyond the scan.
    """
    if told is None:
        return None
    boxes = _read(told)
    if not 0 < len(boxes) <= MOST:
        raise InputError(
            f"params.{VERIFIED}: {len(boxes)} boxes; give 1 to {MOST}, or leave it out where the whole label was seen"
        )
    for number, (first, last) in enumerate(boxes):
        if not all(0 <= low <= high < size for low, high, size in zip(first, last, shape, strict=True)):
            size = " x ".join(map(str, shape))
            raise InputError(
                f"params.{VERIFIED}.{number}: from {list(first)} to {list(last)} is no box of voxels in a scan of "
                f"{size}; give first and last voxel, IJK from 0"
            )
    return boxes


def kept_verified(info: Mapping[str, Any]) -> Boxes:
    """Return the boxes that are kept with a version; none where it counts as a whole, or its notes make no sense."""
    try:
        return () if info.get(VERIFIED) is None else _read(info[VERIFIED])
    except InputError:
        return ()


def counting_boxes(info: Mapping[str, Any]) -> Boxes:
    """Return where a label counts, by its record; none where it counts as a whole, as one that is approved does."""
    review = review_of(info)
    return () if review is not None and review.status == APPROVED else kept_verified(info)


def verified_mask(label: Path, boxes: Collection[Box]) -> tuple[np.ndarray, np.ndarray]:
    """Where a person has looked, uint8 `[X, Y, Z]` on the grid of a label's file, and its affine."""
    volume = nib.load(label)
    return in_boxes(boxes, volume.shape[:3]), volume.affine


def in_boxes(boxes: Collection[Box], shape: Sequence[int]) -> np.ndarray:
    """1 in the boxes and 0 elsewhere, uint8 of a shape."""
    mask = np.zeros(shape, np.uint8)
    for first, last in boxes:
        mask[tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))] = 1
    return mask


def _read(told: Any) -> Boxes:
    try:
        return _BOXES.validate_json(json.dumps(told), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (VERIFIED, *first["loc"])))
        raise InputError(f"params.{where}: {first['msg']}") from error
