"""Drawing on the segments: where it is allowed, what it changed, and what is then still expected to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.changes import Change
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import Box
from UncertaintySegLib.scene import editing, masks, nodes

RISK = "error_probability"


class Editing:
    """Watches the segments of the case, and keeps edits where they belong.

    Slicer's effects keep to a segment that they are confined to, but for the eraser: that one takes voxels of the
    selected segment everywhere, and gives them to the segment that confines it. So after each stroke `settle` puts back
    what lies outside.

    Args:
        session: Whose case is edited.

    Attributes:
        confined: Whether only the uncertain part may be edited.
        uncertain_ml, uncertain_share: How much that is, in mL and of the scan (0 to 1); None where no map tells.
        ids: The label as it was after the last edit, `[K, J, I]`; None without one.
        touched: Somebody draws: call `settle` when the stroke has ended.
        earlier_voxels: How many had changed already when the case began with a draft.
        edited: The label is another one now: its risk is out of date, and so is its draft.
        redrawn: The label is another one now, by a click or an undo; the risk that is shown is of that one.
        changed: Anything of the above is another one now.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.confined = bool(settings.value("editInsideRisk"))
        self.uncertain_ml: float | None = None
        self.uncertain_share: float | None = None
        self.ids: np.ndarray | None = None
        self.earlier_voxels = 0
        self.touched, self.edited, self.redrawn, self.changed = (Signal() for _number in range(4))
        self._first: np.ndarray | None = None
        self._mask: np.ndarray | None = None
        self._watched: tuple[slicer.vtkSegmentation, int] | None = None
        self._keep_label = False
        session.result_changed.connect(self.follow)
        session.threshold_rested.connect(self.confine)
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)
        session.history.stepping.connect(self.settle)

    @property
    def is_possible(self) -> bool:
        """Whether there is a label, that may be edited."""
        session = self.session
        may = not (session.state.read_only or session.obstacle)
        return may and self.ids is not None and session.scene.is_segmented

    @property
    def is_lost(self) -> bool:
        """Whether there was a label, whose nodes somebody has deleted."""
        scene = self.session.scene
        nodes = (scene.segmentation, scene.scan)
        return self.ids is not None and any(node is not None and node.GetScene() is None for node in nodes)

    @property
    def changed_voxels(self) -> int:
        """How many voxels are another structure than in the label that the case began with."""
        if self.ids is None or self._first is None:
            return 0
        return self.earlier_voxels + int(np.count_nonzero(self.ids != self._first))

    def volume_ml(self, voxels: int) -> float:
        """Return the volume of so many voxels of the scan."""
        return voxels * masks.voxel_ml(self.session.scene.scan)

    def follow(self) -> None:
        """Take what is drawn now for what there is to edit."""
        segmentation = self.session.scene.segmentation
        if segmentation is None:
            return
        try:
            if self._watched is None or self._watched[0] is not segmentation.GetSegmentation():
                self._watch(segmentation)
                self._first = self.ids = self.session.scene.label_ids()
            elif not self._keep_label:
                self.ids = self.session.scene.label_ids()
                self.redrawn.emit()
        except SceneError as error:
            self.forget()
            self.session.fail(error)
            return
        self.confine()

    def keep_label(self, result: Any, maps: dict[str, Path]) -> None:
        """Show the review of the present label; a stroke that has begun meanwhile stays one."""
        self._keep_label = True
        try:
            self.session.show_result(result, None, maps, base=self.session.state.base)
        finally:
            self._keep_label = False

    def settle(self) -> bool:
        """Take the stroke that has ended for an edit; returns whether it changed anything that it may change."""
        if not self.is_possible:
            return False
        ids = self.session.scene.label_ids()
        if self._mask is not None:
            stray = (ids != self.ids) & ~self._mask
            if stray.any():
                ids[stray] = self.ids[stray]
                self.session.scene.draw(ids)
            self._show_mask()
        change = Change(self.ids, ids)
        if not change.voxels:
            return False
        steps = (partial(self._redraw, change.undone), partial(self._redraw, change.redone))
        self.session.history.note_edit(*steps, self._file_box(change.box()))
        self._became(ids)
        return True

    def set_confined(self, confined: bool) -> None:
        """Let the tools change only the uncertain part, or everything."""
        self.confined = confined
        self.confine()

    def confine(self) -> None:
        """Make the uncertain part that of the present map and threshold."""
        if not self.is_possible:
            return
        self._mask = self.uncertain_ml = self.uncertain_share = None
        risky = self._risky() if self.confined else None
        if risky is None:
            editing.free(self.session.scene.segmentation)
        else:
            # What was drawn by hand is certain now, but whoever drew it may want to mend it.
            self._mask = editing.grown(risky) | (self.ids != self._first)
            voxels = int(np.count_nonzero(self._mask))
            self.uncertain_ml, self.uncertain_share = self.volume_ml(voxels), voxels / self._mask.size
            self._show_mask()
        self.changed.emit()

    def remove_helpers(self) -> None:
        """Take away from the scene what is there for editing only."""
        segmentation = self.session.scene.segmentation
        if segmentation is not None and segmentation.GetScene() is not None:
            editing.free(segmentation)

    def forget(self) -> None:
        """Let go of the case."""
        if self._watched is not None:
            contents, tag = self._watched
            contents.RemoveObserver(tag)
        self._watched = self.ids = self._first = self._mask = None
        self.uncertain_ml = self.uncertain_share = None
        self.earlier_voxels = 0
        self.changed.emit()

    def structure_ml(self, label_id: int) -> float:
        """Return the volume of a structure as it is drawn now."""
        return self.volume_ml(int(np.count_nonzero(self.ids == label_id)))

    def _watch(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        self.forget()
        editing.set_up(segmentation.GetScene())
        contents = segmentation.GetSegmentation()
        tag = contents.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, self._on_modified)
        self._watched = contents, tag

    def _on_modified(self, *_event: object) -> None:
        if not self.session.scene.redrawing:
            self.touched.emit()

    def _became(self, ids: np.ndarray) -> None:
        self.ids = ids
        self.edited.emit()
        self.changed.emit()

    def _file_box(self, box: Box) -> Box:
        """Return a box of the node's voxels, K J I, as one of the file's, I J K."""
        (first, *low), (last, *high) = box
        scan = self.session.scene.scan
        if scan.GetAttribute(nodes.LEFT_HANDED):
            top = scan.GetImageData().GetDimensions()[2] - 1
            first, last = top - last, top - first
        return (low[1], low[0], first), (high[1], high[0], last)

    def _redraw(self, changed: Callable[[np.ndarray], np.ndarray]) -> None:
        ids = changed(self.session.scene.label_ids())
        self.session.scene.draw(ids)
        self._became(ids)

    def _show_mask(self) -> None:
        scene = self.session.scene
        editing.confine(scene.segmentation, scene.scan, self._mask, _("Uncertain"))

    def _risky(self) -> np.ndarray | None:
        """Return where the chosen map is above the chosen threshold; None where there is none."""
        scene, threshold = self.session.scene, self.session.state.review_threshold
        name = RISK
        if threshold is not None and RISK not in scene.maps:
            self.session.maps.fetch(RISK, self.confine)
        if threshold is None or RISK not in scene.maps:
            name, threshold = scene.shown, None
        if name not in scene.maps:
            return None
        risk = slicer.util.arrayFromVolume(scene.maps[name])
        if risk.shape != self.ids.shape:
            return None
        # The server counts what is above a threshold; the views show a map from its own on.
        return risk > threshold if threshold is not None else risk >= scene.threshold(name)
