"""A label that a person has edited, or that somebody else made, beside what an inference says of its scan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.ellipses import with_forms
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.metrics.overlap import class_voxels
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.existing_label import doubted_difference, label_error, review_label
from uncertaintyseg.wire import Label, MapInfo, Source

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
MAPS = {
    "error_probability": "Chance that this label is wrong; 0 where a person found it right.",
    "anomaly": "Where this label is not the model's: how much surer the model is of its own, p[own] - p[this].",
}
"""Of a review, and what they show."""
EDITED = "a person has edited the label, and a promise is of the model's own"
ANOTHERS = "the label was there before, and a promise is of the model's own"
KEPT = 0.1
"""Whoever leaves less than this share of a structure's voxels has removed it, and not corrected it."""


def probabilities_of(base: Prediction, labels: Sequence[Label]) -> dict[str, np.ndarray]:
    """E[p] of each structure by name, `[*S]`; arrays or maps of boxes.

    Raises:
        InputError: The prediction was made for some of the structures only.
    """
    missing = [item.name for item in labels if f"probability_{item.name}" not in base.maps]
    if missing:
        raise InputError(
            f"this result has no map of {missing[0]}: it was made for some structures only. Infer the scan without "
            "'structures' first."
        )
    return {item.name: base.maps[f"probability_{item.name}"] for item in labels}


def reviewed(
    base: Prediction, labels: Sequence[Label], label: np.ndarray, *, edited: bool, accepted: Sequence[Box] = ()
) -> Prediction:
    """The risk of a label by the probabilities of a prediction; nothing is run again.

    Args:
        base: of the model, for this scan.
        labels: the structures.
        label: class ids, uint8 `[X, Y, Z]`.
        edited: it is the model's label after a person's edits: these are right, and elsewhere it is as doubtful as
            before. But where a structure was that is gone (`KEPT`), the model is asked as of a label by somebody else:
            an edit that takes away a whole structure may be a slip. Otherwise the label is somebody else's, and may be
            wrong wherever the model says so.
        accepted: boxes, first and last voxel, in which a person found it right.

    Returns:
        A prediction with the two maps of `MAPS`; `map_info` names those of the base as well.

    Raises:
        InputError: An accepted box is not in the scan, or the base was made for some structures only.
    """
    started = time.perf_counter()
    differs = label != base.label
    gone = differs & np.isin(base.label, _removed(base.label, label)) if edited else np.zeros(label.shape, bool)
    right = differs & ~gone if edited else gone.copy()
    for number, box in enumerate(accepted):
        right[_slices(number, box, label.shape)] = True
    probabilities = probabilities_of(base, labels)
    valid = base.maps.get("valid")
    seen = differs if valid is None else differs & (valid > 0)
    anomaly = doubted_difference(label, base.label, probabilities, labels, seen)
    error = np.where(right, np.float32(0), base.maps["error_probability"]) if edited else None
    gone &= seen & ~right
    if gone.any():
        error[gone] = np.maximum(error[gone], label_error(label, probabilities, labels)[gone])
    sizes = base.measure
    found = review_label(
        label, probabilities, labels, base.affine, own=base.label, error_probability=error, valid=valid, right=right,
        clip=sizes.clip, voxel_ml=sizes.voxel, place_ml=sizes.place,
    )  # fmt: skip
    curve = review_curve(found.error_probability, sizes.voxel, None, valid=valid, clip=sizes.clip)
    structures = found.structures
    if not right.any() and not differs.any():  # the model's own label: what was drawn for it holds still
        said = {row.id: row for row in base.structures}
        as_drawn = [(row, said.get(row.id, row)) for row in structures]
        structures = [
            row.model_copy(update={"expected_dice": own.expected_dice, "dice_method": own.dice_method})
            for row, own in as_drawn
        ]
    if any(row.shape or row.ellipse for row in base.structures):
        seen_label = label if valid is None else np.where(valid > 0, label, 0)
        structures = with_forms(structures, seen_label, base.affine, sizes)
    seconds = {"review": round(time.perf_counter() - started, 4)}
    return replace(
        base,
        label=label,
        maps={"error_probability": found.error_probability, "anomaly": anomaly},
        map_info=base.map_info | _map_info(base.map_info["error_probability"].source),
        structures=structures,
        regions=found.regions,
        risk_coverage=curve,
        guarantee=None,
        guarantee_reason=EDITED if edited else ANOTHERS,
        driven_by=base.driven_by if edited else MEASURE,
        case_scores={},
        state=None,
        provenance=base.provenance.model_copy(update={"samples": None, "seconds": seconds}),
    )


def _removed(own: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Ids of the structures of one label that are gone in another, see `KEPT`."""
    before, now = class_voxels(own), class_voxels(label)
    now = np.pad(now, (0, max(len(before) - len(now), 0)))[: len(before)]
    ids = np.flatnonzero(now < KEPT * before)
    return ids[ids > 0]


def _map_info(source: Source) -> dict[str, MapInfo]:
    return {name: MapInfo(unit="1", range=(0.0, 1.0), source=source, description=MAPS[name]) for name in MAPS}


def _slices(number: int, box: Box, shape: Sequence[int]) -> tuple[slice, ...]:
    if not all(0 <= first <= last < size for first, last, size in zip(*box, shape, strict=True)):
        raise InputError(
            f"accepted[{number}]: {[list(corner) for corner in box]} is no box in the scan of "
            f"{' x '.join(map(str, shape))} voxels; give its first and its last voxel as IJK, from 0"
        )
    return tuple(slice(first, last + 1) for first, last in zip(*box, strict=True))
