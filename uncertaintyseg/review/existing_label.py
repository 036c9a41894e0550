"""How far a label that someone else made may be from the truth, by a model's probabilities: nothing is run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uncertaintyseg.review.anomaly import anomaly_score, expected_mismatch
from uncertaintyseg.review.boxes import box_of
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import possible_box, structure_table
from uncertaintyseg.wire import Label, LabelledStructure, Region, Structure

NO_INTERVAL = "none: this label is not the model's"


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
    limit: int = 20,
) -> LabelReview:
    """Structure table and regions of a label, with the errors that a model expects in it.

    Args:
        label: the model's class ids `[X, Y, Z]`.
        probabilities: E[p] of each structure by name, `[X, Y, Z]`.
        labels: the structures.
        affine: 4x4, voxel to RAS+ mm.
        own: the model's own label, `[X, Y, Z]`; without it there is no anomaly score.
        error_probability: of this label, where it is known better than as 1 - p[label].
        valid: where the model saw the scan, `[X, Y, Z]`; what is labelled elsewhere is not reviewed.
        limit: regions at most.
    """
    seen = label if valid is None else np.where(valid > 0, label, 0)
    error = label_error(seen, probabilities, labels) if error_probability is None else error_probability
    voxel_ml = abs(float(np.linalg.det(np.asarray(affine)[:3, :3]))) / 1000
    table = structure_table(seen, probabilities, error, labels, voxel_ml, None, NO_INTERVAL, valid=valid)
    labelled = box_of(seen > 0 if own is None else (seen > 0) | (own > 0))
    rows = []
    for row in table:
        inside, probability = seen == row.id, probabilities[row.name]
        box = possible_box(inside, probability)
        excess = round(excess_error(inside[box], probability[box]) * voxel_ml, 4)
        score = None if own is None else _anomaly(own[labelled] == row.id, inside[labelled])
        rows.append(LabelledStructure(**row.model_dump(), excess_error_ml=excess, anomaly_score=score))
    return LabelReview(rows, regions(seen, error, probabilities, labels, affine, limit=limit), error)


def with_decisions(
    probabilities: Mapping[str, np.ndarray], label: np.ndarray, structures: Sequence[Label], right: np.ndarray
) -> dict[str, np.ndarray]:
    """Probabilities by name, 0 or 1 in the voxels whose label a person has found `right` (bool `[*S]`)."""
    if not right.any():
        return dict(probabilities)
    found = {}
    for item in structures:
        found[item.name] = np.array(probabilities[item.name])
        found[item.name][right] = label[right] == item.id
    return found


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
        probabilities: E[p] of each structure by name, `[*S]`.
        structures: their names and ids.
        differs: where the two differ, bool `[*S]`; elsewhere it is 0.
    """
    there = {item.name: probabilities[item.name][differs] for item in structures}
    surer = label_error(label[differs], there, structures) - label_error(own[differs], there, structures)
    found = np.zeros(label.shape, np.float32)
    found[differs] = np.maximum(surer, 0)
    return found


def label_error(
    label: np.ndarray, probabilities: Mapping[str, np.ndarray], structures: Sequence[Label | Structure]
) -> np.ndarray:
    """1 - p[label], float32 `[*S]`; of the background that is the sum of p over the structures.

    Args:
        label: class ids `[*S]`.
        probabilities: E[p] of each structure by name, `[*S]`.
        structures: their names and ids.
    """
    error = np.zeros(label.shape, np.float32)
    for item in structures:
        error += probabilities[item.name]
    np.clip(error, 0, 1, out=error)
    for item in structures:
        inside = label == item.id
        error[inside] = 1 - probabilities[item.name][inside]
    return error


def excess_error(inside: np.ndarray, probability: np.ndarray) -> float:
    """Expected number of wrong voxels beyond those of the model's own best guess: sum of max(0, 2 q - 1).

    With q the probability to be on the wrong side, the best guess is wrong with min(q, 1 - q). Unlike the expected
    error it does not grow with what is hard to see, only with what the model would have labelled otherwise.

    Args:
        inside: mask of the structure as labelled, `[*S]`.
        probability: of the structure, `[*S]`.
    """
    wrong = expected_mismatch(inside, probability)
    return float(np.sum(2 * wrong - 1, where=wrong > 0.5, dtype=np.float64))


def _anomaly(own: np.ndarray, label: np.ndarray) -> float | None:
    score = anomaly_score(own, label)
    return round(score, 4) if np.isfinite(score) else None
