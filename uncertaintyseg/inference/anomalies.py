"""The heat map of a structure's expected anomaly, as one of the maps of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.volumes import BoxVolume
from uncertaintyseg.review.anomaly import expected_mismatch
from uncertaintyseg.review.boxes import parts, slabs
from uncertaintyseg.wire import Label

MISMATCH = "expected_mismatch"


def mismatch_map(
    structure: Label, label: np.ndarray, maps: Mapping[str, np.ndarray | BoxVolume], store: Scratch
) -> np.ndarray:
    """Chance of each voxel to be on the wrong side of a structure (`review.anomaly.expected_mismatch`), float32 `[*S]`.

    Args:
        structure: one that has a map of its probability.
        label: class ids `[*S]`.
        maps: by name.
        store: for the map.
    """
    found = store.zeros(MISMATCH, label.shape, np.float32)
    for slab in slabs(label.shape):
        found[slab] = label[slab] == structure.id  # where its probability is 0
    for box, p in parts(maps[f"probability_{structure.name}"]):
        found[box] = expected_mismatch(label[box] == structure.id, p)
    return found


def mismatch_note(structure: Label) -> str:
    """What the map shows."""
    return (
        f"Chance that a voxel is on the wrong side of {structure.name}: 1 - p inside of it, p elsewhere. Its sum over "
        "the structure's size is the expected anomaly."
    )
