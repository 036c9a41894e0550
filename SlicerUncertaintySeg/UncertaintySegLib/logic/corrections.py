"""Clicks as the server takes them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import slicer

from UncertaintySegLib.scene import clicks
from UncertaintySegLib.scene.clicks import Mark
from UncertaintySegLib.scene.navigation import Ijk, file_to_ras
from UncertaintySegLib.server.replies import Label

BACKGROUND = 0
_BACKGROUND, _SCRIBBLES = "background", "scribbles"


def to_json(marks: Iterable[Mark], labels: Sequence[Label], scan: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """Return marks as the request `condition` takes them: IJK of the scan's file, by the name of the structure.

    Of marks on one voxel the last counts, as in drawing.
    """
    names = {BACKGROUND: _BACKGROUND} | {label.id: label.name for label in labels}
    points: dict[str, Any] = {}
    strokes: dict[str, Any] = {}
    drawn = [(mark, [tuple(v) for v in clicks.voxels(mark, scan)]) for mark in marks if mark.label_id in names]
    last = {voxel: mark.label_id for mark, voxels in drawn for voxel in voxels}
    for mark, voxels in drawn:
        found = [list(voxel) for voxel in voxels if last[voxel] == mark.label_id]
        if found:
            part = strokes if mark.is_stroke else points
            part.setdefault(names[mark.label_id], []).extend(found)
    return {**points, _SCRIBBLES: strokes} if strokes else points


def to_marks(
    corrections: dict[str, Any], labels: Sequence[Label], scan: slicer.vtkMRMLScalarVolumeNode
) -> tuple[Mark, ...]:
    """Return the marks that `to_json` made this of, in the middle of their voxels."""
    ids = {_BACKGROUND: BACKGROUND} | {label.name: label.id for label in labels}
    found = [
        _mark(ids[name], False, voxels, scan)
        for name, voxels in corrections.items()
        if name != _SCRIBBLES and name in ids and voxels
    ]
    for name, voxels in corrections.get(_SCRIBBLES, {}).items():
        if name in ids:
            found += [_mark(ids[name], True, stroke, scan) for stroke in _strokes(voxels)]
    return tuple(found)


def _mark(label_id: int, is_stroke: bool, voxels: Sequence[Ijk], scan: slicer.vtkMRMLScalarVolumeNode) -> Mark:
    ras = (np.c_[np.array(voxels), np.ones(len(voxels))] @ file_to_ras(scan).T)[:, :3]
    return Mark(label_id, is_stroke, tuple(tuple(point) for point in ras.tolist()))


def _strokes(voxels: Sequence[Ijk]) -> list[Sequence[Ijk]]:
    """Split voxels where one does not touch the next: there a stroke ended."""
    if not voxels:
        return []
    steps = np.abs(np.diff(np.array(voxels), axis=0)).max(axis=1)
    ends = [0, *(np.flatnonzero(steps > 1) + 1).tolist(), len(voxels)]
    return [voxels[start:stop] for start, stop in zip(ends[:-1], ends[1:])]  # noqa: RUF007 - Python 3.9
