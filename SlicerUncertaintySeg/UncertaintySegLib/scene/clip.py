"""A clip as Slicer has moving pictures: its frames and those of the map as sequences, and a browser that plays both.

The scan of the case stays one volume whose third axis is time: that is drawn on, counted and sent, and its slices are
what the views show. They turn to the frame that the browser plays, and whoever scrolls them takes the browser along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import slicer
import vtk

from UncertaintySegLib.scene import flat, navigation, nodes

ROLE, RISK_ROLE = "clip", "clip of the map"
_INDEX = "frame"
_FRAMES_A_SECOND = 10.0  # that Slicer plays; files do not say how many there were


class Clip:
    """Keeps sequences of the scan and of the map that is over it.

    Args:
        scene: Where they go.
        moved: Called with another frame, from 0, that is shown now.

    Attributes:
        browser: Plays the sequences; None without a clip.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, moved: Callable[[int], None] = lambda _frame: None) -> None:
        self.scene = scene
        self.browser: slicer.vtkMRMLSequenceBrowserNode | None = None
        self._moved = moved
        self._scan: slicer.vtkMRMLScalarVolumeNode | None = None
        self._risk: slicer.vtkMRMLSequenceNode | None = None
        self._watched: list[tuple[vtk.vtkObject, int]] = []
        self._frame, self._is_turning = 0, False

    @property
    def is_there(self) -> bool:
        """Whether the clip and its browser are in the scene."""
        return all(node is not None and node.GetScene() is self.scene for node in (self.browser, self._scan))

    @property
    def count(self) -> int:
        """How many frames it has."""
        return flat.slices(self._scan) if self.is_there else 0

    @property
    def frame(self) -> int:
        """Which one is shown, from 0."""
        return self.browser.GetSelectedItemNumber() if self.is_there else 0

    def show(self, case: str, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Make sequence and browser of a clip, in place of those before, and turn to its first frame.

        Args:
            case: Whose clip it is.
            scan: Its slices are the frames.
        """
        self.clear()
        self._scan = scan
        sequence = self._sequence(case, scan, ROLE)
        self.browser = self.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{case} clip")
        nodes.mark(self.browser, case, ROLE)
        self.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        self.browser.SetPlaybackRateFps(_FRAMES_A_SECOND)
        self._proxy(sequence)
        self._watch(self.browser, self._on_browser)
        self._watch_views()
        self._frame = -1
        self.go_to(0)
        _offer(self.browser)

    def show_map(self, case: str, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Play the frames of a map beside those of the clip, in place of the map before; None plays none."""
        if not self.is_there:
            return
        if self._risk is not None and self._risk.GetScene() is self.scene:
            self.browser.RemoveSynchronizedSequenceNode(self._risk.GetID())
        self._risk = None
        _remove(self.scene, RISK_ROLE)
        if volume is None or flat.slices(volume) != self.count:
            return
        self._risk = self._sequence(case, volume, RISK_ROLE)
        self.browser.AddSynchronizedSequenceNode(self._risk)
        proxy = self._proxy(self._risk)
        if proxy is not None and proxy.GetDisplayNode() is not None:
            shown, display = volume.GetScalarVolumeDisplayNode(), proxy.GetScalarVolumeDisplayNode()
            display.AutoWindowLevelOff()
            display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
            display.SetAndObserveColorNodeID(shown.GetColorNodeID())

    def go_to(self, frame: int) -> None:
        """Show a frame, from 0, in every slice view and in the browser."""
        if self.count:
            self.browser.SetSelectedItemNumber(min(max(frame, 0), self.count - 1))
            self._turn()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Keep the frame while views come, go and turn; those that are new then show it too."""
        before, self._is_turning = self._is_turning, True
        try:
            yield
        finally:
            self._is_turning = before
            if self.is_there:
                self._watch_views()
                self._turn()

    def clear(self) -> None:
        """Remove sequences and browser from the scene; the clip itself stays."""
        for watched, tag in self._watched:
            watched.RemoveObserver(tag)
        self._watched = []
        for role in (RISK_ROLE, ROLE):
            _remove(self.scene, role)
        self.browser = self._scan = self._risk = None
        self._frame = 0

    def _sequence(self, case: str, volume: slicer.vtkMRMLScalarVolumeNode, role: str) -> slicer.vtkMRMLSequenceNode:
        sequence = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{volume.GetName()} frames")
        nodes.mark(sequence, case, role)
        sequence.SetIndexName(_INDEX)
        sequence.SetIndexUnit("")
        sequence.SetIndexTypeFromString("numeric")
        for number, frame in enumerate(_frames(volume), start=1):
            nodes.mark(frame, case, role)  # which the node that shows it copies
            sequence.SetDataNodeAtValue(frame, str(number))
        return sequence

    def _proxy(self, sequence: slicer.vtkMRMLSequenceNode) -> slicer.vtkMRMLScalarVolumeNode | None:
        """Make the node that shows the browser's frame; no list offers it, for it is another picture in each."""
        self._update()
        proxy = self.browser.GetProxyNode(sequence)
        if proxy is not None:
            proxy.SetHideFromEditors(True)
        return proxy

    def _watch(self, node: slicer.vtkMRMLNode, act: Callable[..., None]) -> None:
        self._watched.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, act)))

    def _watch_views(self) -> None:
        known = [node for node, _tag in self._watched]
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", self.scene):
            if view not in known:
                self._watch(view, self._on_view)

    def _update(self) -> None:
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)

    def _on_browser(self, *_event: object) -> None:
        if self.is_there and not self._is_turning and self.frame != self._frame:
            self._turn()

    def _on_view(self, view: slicer.vtkMRMLSliceNode, _event: object) -> None:
        if self._is_turning or not self.is_there or not view.IsMappedInLayout():
            return
        frame = self._frame_in(view)
        if frame is not None and frame != self.frame:
            self.browser.SetSelectedItemNumber(frame)
            self._turn()

    def _frame_in(self, view: slicer.vtkMRMLSliceNode) -> int | None:
        """Return the frame that a view shows; None where it cuts across the frames, or is beyond them."""
        to_file = np.linalg.inv(navigation.file_to_ras(self._scan))
        to_ras = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        normal = to_file[:3, :3] @ to_ras[:3, 2]
        if np.abs(normal[:2]).max() > 1e-3 * np.abs(normal).max():
            return None
        number = round(float((to_file @ to_ras[:, 3])[2]))
        return number if 0 <= number < self.count else None

    def _turn(self) -> None:
        """Have all views show the browser's frame."""
        if self._is_turning:
            return
        self._is_turning = True
        try:
            if self.frame != self._frame:
                self._frame = self.frame
                self._update()
            dimensions = self._scan.GetImageData().GetDimensions()
            middle = [(dimensions[0] - 1) / 2, (dimensions[1] - 1) / 2, float(self._frame), 1.0]
            place = (navigation.file_to_ras(self._scan) @ middle)[:3].tolist()
            for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", self.scene):
                if view.IsMappedInLayout() and self._frame_in(view) != self._frame:
                    view.JumpSliceByOffsetting(*place)
        finally:
            self._is_turning = False
        self._moved(self._frame)


def _frames(volume: slicer.vtkMRMLScalarVolumeNode) -> Iterator[slicer.vtkMRMLScalarVolumeNode]:
    """Yield each frame as a volume of one slice, where it lies in the clip; in the order of the file."""
    ijk_to_ras = nodes.ijk_to_ras(volume)
    order = range(flat.slices(volume))
    for k in reversed(order) if volume.GetAttribute(nodes.LEFT_HANDED) else order:
        cut = vtk.vtkExtractVOI()
        cut.SetInputData(volume.GetImageData())
        width, height, _depth = volume.GetImageData().GetDimensions()
        cut.SetVOI(0, width - 1, 0, height - 1, k, k)
        cut.Update()
        image = vtk.vtkImageData()
        image.DeepCopy(cut.GetOutput())
        image.SetExtent(0, width - 1, 0, height - 1, 0, 0)
        frame = slicer.vtkMRMLScalarVolumeNode()
        frame.SetName(f"{volume.GetName()} frame")
        frame.SetAndObserveImageData(image)
        place = ijk_to_ras.copy()
        place[:3, 3] += k * ijk_to_ras[:3, 2]
        frame.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(place))
        yield frame


def _offer(browser: slicer.vtkMRMLSequenceBrowserNode) -> None:
    """Let Slicer's own tool bar play a browser; it is there only with a window."""
    if hasattr(slicer.modules.sequences, "setToolBarActiveBrowserNode"):
        slicer.modules.sequences.setToolBarActiveBrowserNode(browser)
        slicer.modules.sequences.setToolBarVisible(True)


def _remove(scene: slicer.vtkMRMLScene, role: str) -> None:
    """Remove all of a role: browsers first, which would make proxies anew."""
    found = nodes.marked(scene, role)
    for node in sorted(found, key=lambda node: not node.IsA("vtkMRMLSequenceBrowserNode")):
        if node.GetScene() is scene:
            nodes.remove(scene, node)
