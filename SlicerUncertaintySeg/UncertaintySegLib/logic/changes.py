"""What changed between two labels and their segments, small enough to keep all changes of a day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from slicer.i18n import tr as _

from UncertaintySegLib.scene.segment_list import Entry, SegmentList


class Change:
    """The voxels in which two labels of one shape differ, and what they are in both.

    Args:
        before, after: Label ids of the same shape and type.

    Attributes:
        voxels: How many differ.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray) -> None:
        self._where = np.flatnonzero(before.ravel() != after.ravel())
        self._before, self._after = before.ravel()[self._where], after.ravel()[self._where]
        self._shape = before.shape

    @property
    def voxels(self) -> int:
        return self._where.size

    @property
    def taken_from(self) -> frozenset[int]:
        """Ids of the structures that have fewer voxels now, or other ones."""
        return frozenset(np.unique(self._before).tolist()) - {0}

    @property
    def drawn(self) -> int:
        """Id of the structure that got most voxels; 0 where all were erased."""
        return _most(self._after[self._after > 0])

    @property
    def erased(self) -> int:
        """Id of the structure that lost most voxels; 0 where none did."""
        return _most(self._before[self._before > 0])

    def undone(self, ids: np.ndarray) -> np.ndarray:
        """Return a label with these voxels as they were before."""
        return self._with(ids, self._before)

    def redone(self, ids: np.ndarray) -> np.ndarray:
        """Return a label with these voxels as they were after."""
        return self._with(ids, self._after)

    def box(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return first and last voxel, K J I, of the box around all of them."""
        places = np.unravel_index(self._where, self._shape)
        return tuple(int(axis.min()) for axis in places), tuple(int(axis.max()) for axis in places)

    def _with(self, ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        changed = ids.copy()
        changed.ravel()[self._where] = values
        return changed


def described(change: Change, before: SegmentList, after: SegmentList, removed: Sequence[Entry]) -> str:
    """Return in words what somebody did to the segments.

    Args:
        change: Of the label.
        before: The segments.
        after: They as they are now.
        removed: Those of them that a person took away, although they are back now.
    """
    known, now = {entry.id: entry for entry in before}, {entry.id: entry for entry in after}
    gone = [*removed, *(entry for entry in before if entry.id not in now)]
    if gone:
        return _("removal of {name}").format(name=_names(gone))
    new = [entry for entry in after if entry.id not in known]
    if new:
        return _("new segment {name}").format(name=_names(new))
    others = [(known[entry.id], entry) for entry in after if entry != known[entry.id]]
    own = [entry for old, entry in others if old.drawn != entry.drawn]
    label_id = change.drawn or (0 if own else change.erased)
    edited = [entry for entry in after if entry.label_id == label_id][:1] if label_id else own
    if edited:
        return _("edit of {name}").format(name=_names(edited))
    if others:
        return _("new name or colour of {name}").format(name=_names([old for old, _entry in others]))
    return _("another order of the segments")


def _names(entries: Sequence[Entry]) -> str:
    first, *others = (entry.name for entry in entries)
    return _("{name} and {count} more").format(name=first, count=len(others)) if others else first


def _most(ids: np.ndarray) -> int:
    return int(np.bincount(ids).argmax()) if ids.size else 0
