"""Clicks as the server takes them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.scene import clicks
from UncertaintySegLib.scene.clicks import Mark
from UncertaintySegLib.scene.navigation import Ijk, file_to_ras
from UncertaintySegLib.server.replies import Label

BACKGROUND = 0
_BACKGROUND, _SCRIBBLES, _LASSOS, _BOXES = "background", "scribbles", "lassos", "boxes"
_CORNERS = 500  # of a lasso, at most


def to_json(marks: Iterable[Mark], labels: Sequence[Label], scan: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """Return marks as the request `condition` takes them: IJK of the scan's file, by the name of the structure.

    Of marks on one voxel the last counts, as in drawing.
    """
    names = {BACKGROUND: _BACKGROUND} | {label.id: label.name for label in labels}
    points: dict[str, Any] = {}
    strokes: dict[str, Any] = {}
    marks = [mark for mark in marks if mark.label_id in names]
    drawn = [(mark, clicks.voxels(mark, scan)) for mark in marks if mark.kind in (clicks.POINTS, clicks.STROKE)]
    last = {voxel: mark.label_id for mark, voxels in drawn for voxel in voxels}
    for mark, voxels in drawn:
        found = [list(voxel) for voxel in voxels if last[voxel] == mark.label_id]
        if found:
            part = strokes if mark.kind == clicks.STROKE else points
            part.setdefault(names[mark.label_id], []).extend(found)
    lassos = [
        {"structure": names[mark.label_id], "corners": _corners(mark, scan)}
        for mark in marks
        if mark.kind == clicks.LASSO and clicks.voxels(mark, scan)
    ]
    boxes = [
        {"structure": names[mark.label_id], **box}
        for mark in marks
        if mark.kind == clicks.BOX and mark.label_id != BACKGROUND and (box := _box(mark, scan))
    ]
    more = {_SCRIBBLES: strokes, _LASSOS: lassos, _BOXES: boxes}
    return {**points, **{name: part for name, part in more.items() if part}}


def to_marks(
    corrections: dict[str, Any], labels: Sequence[Label], scan: slicer.vtkMRMLScalarVolumeNode
) -> tuple[Mark, ...]:
    """Return the marks that `to_json` made this of, in the middle of their voxels."""
    ids = {_BACKGROUND: BACKGROUND} | {label.name: label.id for label in labels}
    found = [
        _mark(ids[name], clicks.POINTS, voxels, scan)
        for name, voxels in corrections.items()
        if name not in (_SCRIBBLES, _LASSOS, _BOXES) and name in ids and voxels
    ]
    for name, voxels in corrections.get(_SCRIBBLES, {}).items():
        if name in ids:
            found += [_mark(ids[name], clicks.STROKE, stroke, scan) for stroke in _strokes(voxels)]
    for lasso in corrections.get(_LASSOS, ()):
        if lasso["structure"] in ids:
            found.append(_mark(ids[lasso["structure"]], clicks.LASSO, lasso["corners"], scan))
    for box in corrections.get(_BOXES, ()):
        if box["structure"] in ids:
            found.append(_mark(ids[box["structure"]], clicks.BOX, [box["first"], box["last"]], scan))
    return tuple(found)


def described(before: Iterable[Mark], after: Iterable[Mark], labels: Sequence[Label]) -> str:
    """Return in words what somebody did to the marks."""
    kinds = {clicks.POINTS: _("click"), clicks.STROKE: _("scribble"), clicks.LASSO: _("lasso"), clicks.BOX: _("box")}
    names = {label.id: label.name for label in labels}
    old, new = _one_by_one(before), _one_by_one(after)
    added, gone = [mark for mark in new if mark not in old], [mark for mark in old if mark not in new]
    if not (added or gone):
        return _("click that was taken back at once")
    label_id, kind, _points = (added or gone)[-1]
    mark = _("{mark} for {structure}").format(mark=kinds[kind], structure=names.get(label_id, _("background")))
    if len(added or gone) > 1:
        mark = _("{mark} and {count} more").format(mark=mark, count=len(added or gone) - 1)
    if not added:
        return _("removal of {mark}").format(mark=mark)
    return _("move of {mark}").format(mark=mark) if len(gone) == len(added) else mark


def _one_by_one(marks: Iterable[Mark]) -> list[Mark]:
    """Return marks so that each point is one of its own."""
    found = []
    for mark in marks:
        points = [(point,) for point in mark.points] if mark.kind == clicks.POINTS else [mark.points]
        found += [Mark(mark.label_id, mark.kind, each) for each in points]
    return found


def _mark(label_id: int, kind: str, voxels: Sequence[Ijk], scan: slicer.vtkMRMLScalarVolumeNode) -> Mark:
    ras = (np.c_[np.array(voxels), np.ones(len(voxels))] @ file_to_ras(scan).T)[:, :3]
    return Mark(label_id, kind, tuple(tuple(point) for point in ras.tolist()))


def _corners(mark: Mark, scan: slicer.vtkMRMLScalarVolumeNode) -> list[list[float]]:
    """Return the corners of a lasso within the scan, no more than the server takes."""
    ijk = clicks.file_ijk(mark, scan)
    kept = np.unique(np.linspace(0, len(ijk) - 1, min(len(ijk), _CORNERS)).round().astype(int))
    highest = np.array(scan.GetImageData().GetDimensions()) - 0.5
    return ijk[kept].clip(-0.5, highest).round(3).tolist()


def _box(mark: Mark, scan: slicer.vtkMRMLScalarVolumeNode) -> dict[str, list[int]] | None:
    """Return first and last voxel of a box; None where nothing of it is in the scan."""
    ijk = np.floor(np.sort(clicks.file_ijk(mark, scan), axis=0) + 0.5).astype(int)
    highest = np.array(scan.GetImageData().GetDimensions()) - 1
    if (ijk[0] > highest).any() or (ijk[1] < 0).any():
        return None
    first, last = ijk.clip(0, highest).tolist()
    return {"first": first, "last": last}


def _strokes(voxels: Sequence[Ijk]) -> list[Sequence[Ijk]]:
    """Split voxels where one does not touch the next: there a stroke ended."""
    if not voxels:
        return []
    steps = np.abs(np.diff(np.array(voxels), axis=0)).max(axis=1)
    ends = [0, *(np.flatnonzero(steps > 1) + 1).tolist(), len(voxels)]
    return [voxels[start:stop] for start, stop in zip(ends[:-1], ends[1:])]  # noqa: RUF007 - Python 3.9
