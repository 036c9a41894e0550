"""Overlap of a label with a reference, structure by structure and over all classes.

What is undefined is NaN and left out of means over cases; this table is the whole rule:

| measure               | both empty | only label empty | only reference empty |
| --------------------- | ---------- | ---------------- | -------------------- |
| Dice, F1, IoU         | NaN        | 0                | 0                    |
| precision             | NaN        | NaN              | 0                    |
| recall                | NaN        | 0                | NaN                  |
| accuracy              | 1          | as defined       | as defined           |
| HD95                  | NaN        | NaN              | NaN                  |
| surface Dice          | NaN        | 0                | 0                    |
| absolute volume error | 0          | reference volume | label volume         |
| relative volume error | NaN        | -1               | NaN                  |

A mean HD95 is therefore one over the structures that both sides have: read it beside the number of those missed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import blocks, bounding_box, check_shapes
from uncertaintyseg.metrics.frames import frames
from uncertaintyseg.metrics.intervals import mean_of_defined

TOLERANCE_MM = 1.0
"""How far a border may be off for surface Dice: a voxel of the finest scans here."""


class Overlap(NamedTuple):
    """Agreement of two masks."""

    dice: float
    iou: float
    precision: float
    recall: float
    f1: float
    """Harmonic mean of precision and recall, which for masks is Dice; under both names as papers use both."""
    accuracy: float
    """Share of all voxels on which the masks agree; near 1 for any small structure."""
    hd95_mm: float
    """95th percentile of the distances between surfaces, the larger of the two directions."""
    surface_dice: float
    """Share of both surfaces that lies within the tolerance of the other."""
    absolute_volume_error_ml: float
    relative_volume_error: float
    """(label - reference) / reference, signed."""


def dice(label: np.ndarray, reference: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two masks `[*S]`; NaN where both are empty."""
    total = int(label.sum()) + int(reference.sum())
    return 2 * int((label & reference).sum()) / total if total else float("nan")


def overlap(
    label: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    tolerance_mm: float = TOLERANCE_MM,
    *,
    clip: bool = False,
    voxel_ml: float | None = None,
) -> Overlap:
    """Every measure of agreement between two masks; the module says what an empty one gives.

    Surfaces are the voxels of a mask with a face neighbour outside it, and distances run between their centres (MONAI).
    A volume of one slice is measured in its plane.

    Args:
        label: bool `[*S]`.
        reference: bool `[*S]`.
        spacing: voxel size along each axis in mm; the axes are taken as perpendicular.
        tolerance_mm: of surface Dice.
        clip: the third axis is time: distances are means over the frames that have them.
        voxel_ml: how large a voxel counts, where that is not its volume in mL.

    Raises:
        InputError: when the shapes differ, or `spacing` is not a positive number an axis.
    """
    check_shapes("the label", label.shape, reference.shape)
    if len(spacing) != label.ndim or not all(step > 0 for step in spacing):
        raise InputError(f"spacing {tuple(spacing)}: give one positive voxel size in mm for each of {label.ndim} axes.")
    both, mine, theirs = (int(np.count_nonzero(mask)) for mask in (label & reference, label, reference))
    either = mine + theirs - both
    pairs = list(frames(label, reference)) if clip else [(label, reference)]
    found = [_surfaces(*pair, spacing, tolerance_mm) for pair in pairs]
    hd95, surface = (mean_of_defined(values) for values in zip(*found, strict=True)) if clip else found[0]
    # In this order: another rounds differently.
    volume = abs(mine - theirs) * float(np.prod(spacing)) / 1000 if voxel_ml is None else abs(mine - theirs) * voxel_ml
    dsc = _ratio(2 * both, mine + theirs)
    return Overlap(
        dice=dsc,
        iou=_ratio(both, either),
        precision=_ratio(both, mine),
        recall=_ratio(both, theirs),
        f1=dsc,
        accuracy=_ratio(label.size - either + both, label.size),
        hd95_mm=hd95,
        surface_dice=surface,
        absolute_volume_error_ml=volume,
        relative_volume_error=_ratio(mine - theirs, theirs),
    )


def class_voxels(label: np.ndarray) -> np.ndarray:
    """Count the voxels of each class id of a label `[*S]`: int64 `[largest id + 1]`, without a copy of the label."""
    flat = label.ravel(order="K")
    size = int(flat.max(initial=0)) + 1
    counts = np.zeros(size, np.int64)
    for part in blocks(flat.size):
        counts += np.bincount(flat[part], minlength=size)
    return counts


def confusion_matrix(label: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    """Voxels by reference class (row) and label class (column), int64 `[C, C]`, from class ids `[*S]`.

    Raises:
        InputError: when the shapes differ or a class id is not below `classes`.
    """
    check_shapes("the label", label.shape, reference.shape)
    largest = max((int(array.max()) for array in (label, reference) if array.size), default=0)
    if largest >= classes:
        raise InputError(f"class id {largest} in a label, but the model knows 0 to {classes - 1}: check the ids.")
    mine, theirs = label.ravel(), reference.ravel()
    counts = np.zeros(classes * classes, np.int64)
    for part in blocks(mine.size):
        counts += np.bincount(theirs[part].astype(np.intp) * classes + mine[part], minlength=counts.size)
    return counts.reshape(classes, classes)


def class_averages(confusion: np.ndarray) -> dict[str, float]:
    """Averages over classes of a confusion matrix `[C, C]`.

    `accuracy` is over all voxels. `frequency_weighted_iou` sums IoU times share of the reference over all classes,
    background included. `micro_*` pools the counts of the structures, `macro_*` averages over structures where the
    measure is defined; both leave the background out. F1 is Dice.
    """
    both, mine, theirs = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    with np.errstate(invalid="ignore"):
        iou = both / (mine + theirs - both)
        averages = {
            "accuracy": _ratio(float(both.sum()), float(confusion.sum())),
            "frequency_weighted_iou": _ratio(float(np.nansum(iou * theirs)), float(theirs.sum())),
        }
        for kind, (hit, found, wanted) in {
            "micro": [counts[1:].sum(keepdims=True) for counts in (both, mine, theirs)],
            "macro": [counts[1:] for counts in (both, mine, theirs)],
        }.items():
            averages |= {
                f"{kind}_dice": mean_of_defined(2 * hit / (found + wanted)),
                f"{kind}_iou": mean_of_defined(hit / (found + wanted - hit)),
                f"{kind}_precision": mean_of_defined(hit / found),
                f"{kind}_recall": mean_of_defined(hit / wanted),
            }
    return averages


def _surfaces(
    label: np.ndarray, reference: np.ndarray, spacing: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """HD95 in mm and surface Dice."""
    if not (label.any() and reference.any()):
        return float("nan"), 0.0 if label.any() or reference.any() else float("nan")
    box = bounding_box(label | reference, spacing)
    # Along an axis of one voxel everything would be surface; MONAI wants two axes at least.
    thin = [axis for axis, size in enumerate(label.shape) if size == 1][: max(0, label.ndim - 2)]
    step = [size for axis, size in enumerate(spacing) if axis not in thin]
    mine, theirs = (torch.from_numpy(mask[box].squeeze(tuple(thin)))[None, None] for mask in (label, reference))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*always_return_as_numpy")  # MONAI 1.6 warns of its own call
        hd95 = compute_hausdorff_distance(mine, theirs, include_background=True, percentile=95, spacing=step)
        surface = compute_surface_dice(mine, theirs, [tolerance_mm], include_background=True, spacing=step)
    return float(hd95), float(surface)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
