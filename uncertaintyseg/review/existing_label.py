"""How far a label that someone else made may be from the truth, by a model's probabilities: nothing is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uncertaintyseg.metrics.overlap import confusion_matrix
from uncertaintyseg.review.agreement import size_of
from uncertaintyseg.review.boxes import Box, MaskedMap, box_of, moved, parts, slabs
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import Drawn, rows_with_agreement
from uncertaintyseg.wire import Label, LabelledStructure, Region, Structure

NOT_DRAWN = Drawn("none: this label is not the model's")


@dataclass(frozen=True)
class LabelReview:
    """What a model makes of a label.

    Attributes:
        structures: the structure table of the label.
        regions: where the model doubts it, worst first.
        error_probability: 1 - p[label] `[X, Y, Z]`; 0 where the model did not see the scan.
    """

    structures: list[LabelledStructure]
    regions: list[Region]
    error_probability: np.ndarray


def review_label(
    label: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    labels: Sequence[Label],
    affine: np.ndarray,
    *,
    own: np.ndarray | None = None,
    error_probability: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    right: np.ndarray | None = None,
    known: np.ndarray | None = None,
    limit: int = 20,
    clip: bool = False,
    voxel_ml: float | None = None,
    place_ml: float | None = None,
) -> LabelReview:
    """Structure table and regions of a label, with the errors that a model expects in it.

    Args:
        label: the model's class ids `[X, Y, Z]`.
        probabilities: E[p] of each structure by name, `[X, Y, Z]`; arrays or maps of boxes.
        labels: the structures.
        affine: 4x4, voxel to RAS+ mm.
        own: the model's own label, `[X, Y, Z]`; without it there is no anomaly score.
        error_probability: of this label, where it is known better than as 1 - p[label].
        valid: where the model saw the scan, `[X, Y, Z]`; what is labelled elsewhere is not reviewed.
        right: bool `[X, Y, Z]`, where a person found the label right: no error is expected there.
        known: bool `[X, Y, Z]`, where the label says what a voxel is; the others count nowhere. None: everywhere.
        limit: regions at most.
        clip: the third axis is time (`metrics.frames`).
        voxel_ml: how large a voxel counts in the table, where that is not its volume in mL.
        place_ml: the same of regions.
    """
    if known is not None:  # as if there were nothing, on either side
        label, own = np.where(known, label, 0), None if own is None else np.where(known, own, 0)
        probabilities = {name: MaskedMap(values, known) for name, values in probabilities.items()}
    seen = label if valid is None else np.where(valid > 0, label, 0)
    error = label_error(seen, probabilities, labels) if error_probability is None else error_probability
    if right is not None and error_probability is None:
        error[right] = 0
    voxel_ml = abs(float(np.linalg.det(np.asarray(affine)[:3, :3]))) / 1000 if voxel_ml is None else voxel_ml
    table = rows_with_agreement(
        seen, probabilities, error, labels, voxel_ml, NOT_DRAWN, valid=valid, right=right, clip=clip
    )
    unknown = [(None, None)] * size_of([item.id for item in labels])
    scores = unknown if own is None else _anomalies(own, seen, labels)
    rows = [
        LabelledStructure(
            **row.model_dump(),
            excess_error_ml=round(said.excess * voxel_ml, 4),
            anomaly_score=scores[row.id][0],
            anomaly_symmetric=scores[row.id][1],
        )
        for row, said in table
    ]
    places = regions(seen, error, probabilities, labels, affine, limit=limit, clip=clip, voxel_ml=place_ml)
    return LabelReview(rows, places, error)


def doubted_difference(
    label: np.ndarray,
    own: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    structures: Sequence[Label],
    differs: np.ndarray,
) -> np.ndarray:
    """How much surer a model is of its own label than of another: p[own] - p[label], float32 `[*S]`.

    The heat map of `anomaly.mismatch` between the two, weighed, and 0 where they agree. With one structure it sums up
    to `excess_error`.

    Args:
        label: class ids `[*S]`.
        own: those of the model, `[*S]`.
        probabilities: E[p] of each structure by name, `[*S]`; arrays or maps of boxes.
        structures: their names and ids.
        differs: where the two differ, bool `[*S]`; elsewhere it is 0.
    """
    found = np.zeros(label.shape, np.float32)
    for slab in slabs(label.shape):
        box = moved(box_of(differs[slab]), slab)
        if found[box].size:
            of_label, of_own = (_error_in(box, ids, probabilities, structures) for ids in (label, own))
            np.copyto(found[box], np.maximum(of_label - of_own, 0), where=differs[box])
    return found


def label_error(
    label: np.ndarray, probabilities: Mapping[str, np.ndarray], structures: Sequence[Label | Structure]
) -> np.ndarray:
    """1 - p[label], float32 `[*S]`; of the background that is the sum of p over the structures.

    Args:
        label: class ids `[*S]`.
        probabilities: E[p] of each structure by name, `[*S]`; arrays or maps of boxes.
        structures: their names and ids.
    """
    error = np.zeros(label.shape, np.float32)
    for slab in slabs(label.shape):
        error[slab] = _error_in(slab, label, probabilities, structures)
    return error


def _error_in(
    box: Box, label: np.ndarray, probabilities: Mapping[str, np.ndarray], structures: Sequence[Label | Structure]
) -> np.ndarray:
    """`label_error` of a box."""
    ids = label[box]
    error = np.zeros(ids.shape, np.float32)
    for item in structures:
        for here, p in parts(probabilities[item.name], box):
            error[here] += p
    np.clip(error, 0, 1, out=error)
    error[ids > 0] = 1  # unless the label's own structure is possible there
    for item in structures:
        for here, p in parts(probabilities[item.name], box):
            np.copyto(error[here], 1 - p, where=ids[here] == item.id, casting="same_kind")
    return error


def _anomalies(own: np.ndarray, label: np.ndarray, labels: Sequence[Label]) -> list[tuple[float | None, float | None]]:
    """By class id `anomaly.anomaly_score` in both modes, with the label as reference; None where it is not defined."""
    pairs = confusion_matrix(own, label, max(size_of([item.id for item in labels]), int(label.max()) + 1))
    both, mine, theirs = pairs.diagonal(), pairs.sum(0), pairs.sum(1)
    wrong = mine + theirs - 2 * both
    return [
        tuple(round(int(count) / float(size), 4) if size else None for size in sizes)
        for count, *sizes in zip(wrong, theirs, (mine + theirs) / 2, strict=True)
    ]
