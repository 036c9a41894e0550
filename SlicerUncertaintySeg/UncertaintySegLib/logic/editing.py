"""Drawing on the segments: where it is allowed, what it changed, and what is then still expected to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.changes import Change, described
from UncertaintySegLib.logic.losses import Loss
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.scene import editing, masks, navigation, segment_list
from UncertaintySegLib.scene.segment_list import SegmentList
from UncertaintySegLib.server.replies import RISK

_CONTENTS = slicer.vtkSegmentation
_EVENTS = (
    *(_CONTENTS.SourceRepresentationModified, _CONTENTS.SegmentAdded, _CONTENTS.SegmentRemoved),
    *(_CONTENTS.SegmentModified, _CONTENTS.SegmentsOrderModified, _CONTENTS.RepresentationModified),
)
"""Whatever may have changed the segments; who clears one in the editor's table sends only the last."""


class Editing:
    """Watches the segments of the case, and keeps edits where they belong.

    Slicer's effects keep to a segment that they are confined to, but for the eraser: that one takes voxels of the
    selected segment everywhere, and gives them to the segment that confines it. So after each stroke `settle` puts back
    what lies outside.

    A structure of the model keeps its segment, for clicks, drafts and labels hold all of them: one that was removed is
    there again at once, empty, and undo draws it.

    Args:
        session: Whose case is edited.

    Attributes:
        confined: Whether only the uncertain part may be edited.
        uncertain_ml, uncertain_share: How much that is, in the unit of the case, and of the scan (0 to 1); None
            where no map tells.
        ids: The label as it was after the last edit, `[K, J, I]`; None without one.
        touched: Somebody draws: call `settle` when the stroke has ended.
        earlier_voxels: How many had changed already when the case began with a draft.
        model_ml: Sizes in the model's last answer, by label id.
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
        self.model_ml: dict[int, float] = {}
        self.touched, self.edited, self.redrawn, self.changed = (Signal() for _number in range(4))
        self._first: np.ndarray | None = None
        self._mask: np.ndarray | None = None
        self._segments: SegmentList = ()
        self._watched: tuple[slicer.vtkSegmentation, list[int]] | None = None
        self._keep_label = self._is_own = self._is_touched = False
        session.result_changed.connect(self.follow)
        session.threshold_rested.connect(self.confine)
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)
        session.history.stepping.connect(self._settle_touched)

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
        """Return the size of so many voxels of the scan."""
        return voxels * masks.voxel_size(self.session.scene.scan, self.session.state.size_unit)

    def follow(self) -> None:
        """Take what is drawn now for what there is to edit."""
        segmentation = self.session.scene.segmentation
        if segmentation is None:
            return
        try:
            if self._watched is None or self._watched[0] is not segmentation.GetSegmentation():
                self._watch(segmentation)
                self._first = self.ids = self.session.scene.label_ids()
                self._segments = self._read_segments()
            elif not self._keep_label:
                self.ids = self.session.scene.label_ids()
                self.redrawn.emit()
        except SceneError as error:
            self.forget()
            self.session.fail(error)
            return
        answer = self.session.state.model_result
        if answer is not None:
            self.model_ml = {row.id: row.volume_ml for row in answer.structures}
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
        scene, before = self.session.scene, self._segments
        self._is_touched = False
        ids = scene.label_ids()
        with self._unwatched():
            removed = segment_list.put_back(scene.segmentation, before)
        after = self._read_segments()
        is_stray = False
        if self._mask is not None:
            stray = (ids != self.ids) & ~self._mask
            is_stray = bool(stray.any())
            ids[stray] = self.ids[stray]
            self._show_mask()
        if is_stray or removed:
            scene.draw(ids)
        if removed:
            part = _("{name} is empty now where it is risky; it stays elsewhere. Undo draws it again.")
            text = part if is_stray else _("{name} is empty now. Undo draws it again.")
            self.session.say(text.format(name=", ".join(entry.name for entry in removed)))
        change = Change(self.ids, ids)
        if not change.voxels and after == before:
            return False
        undo = partial(self._redraw, change.undone, before if after != before else None)
        redo = partial(self._redraw, change.redone, after if after != before else None)
        box = navigation.file_box(scene.scan, *change.box()) if change.voxels else None
        self.session.history.add(described(change, before, after, removed), undo, redo, box, change.taken_from)
        self._became(ids, after)
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
            with self._unwatched():
                editing.free(self.session.scene.segmentation)
        else:
            # What was drawn by hand is certain now, but whoever drew it may want to mend it.
            self._mask = editing.grown(risky, self.session.scene.is_clip) | (self.ids != self._first)
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
            contents, tags = self._watched
            for tag in tags:
                contents.RemoveObserver(tag)
        self._watched = self.ids = self._first = self._mask = None
        self._segments = ()
        self.uncertain_ml = self.uncertain_share = None
        self.earlier_voxels, self.model_ml = 0, {}
        self.changed.emit()

    def structure_ml(self, label_id: int) -> float:
        """Return the size of a structure as it is drawn now."""
        return self.volume_ml(int(np.count_nonzero(self.ids == label_id)))

    def losses(self, kept: float) -> list[Loss]:
        """Return the structures that have less than the share `kept` of their size in the model's answer.

        A label that came from elsewhere is compared with how it was at first: the model's differs from the start.
        """
        scan, unit = self.session.scene.scan, self.session.state.size_unit
        is_models = self.session.state.trusted == "edits" and bool(self.model_ml)
        before = self.model_ml if is_models else masks.sizes(self._first, scan, unit)
        now = masks.sizes(self.ids, scan, unit)
        found = [
            Loss(entry.label_id, entry.name, before.get(entry.label_id, 0.0), now.get(entry.label_id, 0.0))
            for entry in self._segments
        ]
        return [loss for loss in found if loss.now_ml < kept * loss.before_ml]

    def _watch(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        self.forget()
        editing.set_up(segmentation.GetScene())
        contents = segmentation.GetSegmentation()
        self._watched = contents, [contents.AddObserver(event, self._on_modified) for event in _EVENTS]

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        """While this lasts, the segments are changed by the module itself."""
        self._is_own = True
        try:
            yield
        finally:
            self._is_own = False

    def _on_modified(self, *_event: object) -> None:
        if not (self._is_own or self.session.scene.redrawing):
            self._is_touched = True
            self.touched.emit()

    def _settle_touched(self) -> None:
        """Settle before another step, but do not read a whole label on every key where nobody has drawn."""
        if self._is_touched:
            self.settle()

    def _read_segments(self) -> SegmentList:
        scene = self.session.scene
        return segment_list.read(scene.segmentation, scene.scan, self._segments)

    def _became(self, ids: np.ndarray, listed: SegmentList) -> None:
        self.ids, self._segments, self.session.scene.edited = ids, listed, True
        self.edited.emit()
        self.changed.emit()

    def _redraw(self, changed: Callable[[np.ndarray], np.ndarray], listed: SegmentList | None) -> None:
        scene = self.session.scene
        ids = changed(scene.label_ids())
        if listed is not None:
            with self._unwatched():
                segment_list.restore(scene.segmentation, scene.scan, listed)
        scene.draw(ids)
        self._became(ids, self._read_segments())

    def _show_mask(self) -> None:
        scene = self.session.scene
        with self._unwatched():
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
