"""One case in a scene: its scan, its segmentation, its risk maps, and where they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import flat, nodes, overlay, segments
from UncertaintySegLib.scene.map_nodes import URL, MapNodes
from UncertaintySegLib.scene.restriction import RestrictedMap
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import InferResult, MapInfo
from UncertaintySegLib.server.sizes import TIME

_AIR_HU = -900  # only CT goes this low
_SOFT_TISSUE = (400.0, 40.0)


class CaseScene:
    """Shows one case at a time in an MRML scene.

    A new case takes the place of the one before: its nodes go, and nothing else in the scene does. The nodes carry
    attributes that start with `UncertaintySeg.`, so what a number came from travels with a saved scene.

    Args:
        scene: The scene to show cases in, e.g. `slicer.mrmlScene`.

    Attributes:
        case: Id of the case, or None.
        scan, segmentation: The nodes that show it, or None.
        shown: Name of the map over the scan, or None.
        wanted: Name of the map that the next result is to show, or None for none: the one that was chosen last.
        pinned: Names of maps that stay in the scene while others are shown.
        opacity: How opaque that map is, 0 to 1.
        overlay_visible, legend_visible: Whether the views show the map, and its legend.
        scale: The colours of the maps, one of `colors.SCALES`.
        edited: Whether somebody changed a segment since it came, or since this was last set to False.
        redrawing: Whether the segments change at this moment because `redraw` draws them, and not by hand.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.case: str | None = None
        self.scan: slicer.vtkMRMLScalarVolumeNode | None = None
        self.segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self.shown: str | None = None
        self.wanted: str | None = overlay.FIRST_MAP
        self.pinned: set[str] = set()
        self.edited = self.redrawing = False
        self.opacity = 0.6
        self.overlay_visible, self.legend_visible = True, False
        self.scale = "heat"
        self._restricted = RestrictedMap(scene)
        self._place: np.ndarray | None = None
        self._maps = MapNodes(scene)

    @property
    def maps(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
        """The loaded risk maps by name, less those that the user took from the scene, or their display."""
        return self._maps.loaded

    @property
    def is_segmented(self) -> bool:
        """Whether scan and segmentation are both in the scene."""
        return self._in_scene(self.segmentation) and self._in_scene(self.scan)

    @property
    def is_clip(self) -> bool:
        """Whether there is a scan, whose third axis is time."""
        return self._in_scene(self.scan) and flat.is_clip(self.scan)

    @property
    def is_flat(self) -> bool:
        """Whether there is a scan that is an image or a clip, and no volume."""
        return self._in_scene(self.scan) and flat.is_flat(self.scan)

    def show_scan(
        self, case: str, path: Path, leaving: Callable[[], None] = lambda: None, axis: str = ""
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """Show a scan as the background of every slice view, in place of the case before.

        Args:
            case: Id of the case.
            path: Of an image.
            leaving: Called just before the case before goes.
            axis: "time" of a clip.

        Raises:
            SceneError: If the file is not an image; the case before then stays.
        """
        scan = nodes.read_volume(self.scene, path, case)
        leaving()
        self.clear()
        nodes.mark(scan, case, "scan")
        flat.set_clip(scan, axis == TIME)
        self.case, self.scan = case, scan
        if slicer.util.arrayFromVolume(scan).min() <= _AIR_HU:
            scan.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
            scan.GetScalarVolumeDisplayNode().SetWindowLevel(*_SOFT_TISSUE)
        self._show_in_background(scan)
        return scan

    def use_scan(self, case: str, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Work on a volume of the user's own, in place of the case before.

        It stays theirs: it keeps its voxels and its colours, and does not go with the case.
        """
        self.clear()
        self.case, self.scan = case, scan
        self._show_in_background(scan)

    def set_axis(self, axis: str) -> None:
        """Take the scan for a clip, if `axis` is "time": some servers know only with a result."""
        if axis == TIME and self._in_scene(self.scan):
            flat.set_clip(self.scan, True)

    def show_segmentation(
        self, path: Path, labels: Sequence[Label], provenance: dict[str, Any]
    ) -> slicer.vtkMRMLSegmentationNode:
        """Show the model's label as outlined segments, in place of the segmentation and the maps before.

        Raises:
            SceneError: If the file is not a label of these structures, or the scan is gone; what was shown then stays.
        """
        if not self._in_scene(self.scan):
            raise SceneError("The scan is no longer in the scene: take the case again.")
        segmentation = segments.read_segmentation(self.scene, path, labels, f"{self.case} segmentation", self.scan)
        self._clear_result()
        nodes.describe(segmentation, self.case, "segmentation", provenance)
        display = segmentation.GetDisplayNode()
        display.SetOpacity2DFill(0.0)  # the fill belongs to the risk map
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(2)
        contents = segmentation.GetSegmentation()
        contents.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, self._on_edited)
        self.segmentation = segmentation
        return segmentation

    def redraw(self, path: Path) -> None:
        """Redraw the segments from another label file on the scan's grid, at once and in the same node.

        Raises:
            SceneError: If the segmentation or the scan is gone, or the file is not a label of these structures on this
                grid; the segments then stay as they are.
        """
        self._require_segmentation()
        self.redrawing = True
        try:
            segments.redraw(self.segmentation, self.scan, path)
        finally:
            self.redrawing = False
        self.edited = True

    def label_ids(self) -> np.ndarray:
        """Return the label id of each voxel as now drawn, see `segments.label_ids`.

        Raises:
            SceneError: If the segmentation or the scan is gone.
        """
        self._require_segmentation()
        return segments.label_ids(self.segmentation, self.scan)

    def draw(self, ids: np.ndarray) -> None:
        """Redraw the segments from what `label_ids` returned, with other values; at once and in the same node.

        Raises:
            SceneError: If the segmentation or the scan is gone.
        """
        self._require_segmentation()
        self.redrawing = True
        try:
            segments.draw(self.segmentation, self.scan, ids)
        finally:
            self.redrawing = False
        self.edited = True

    def show_result_maps(self, result: InferResult, paths: Mapping[str, Path]) -> None:
        """Make the maps in the scene those of a result.

        A map that was there before keeps its node and looks. One that the result has elsewhere, but whose file is not
        given, leaves the scene, to be fetched when somebody wants to see it. The map that was chosen last is shown.

        Args:
            result: Says what the maps are.
            paths: Files of some of its maps.

        Raises:
            SceneError: If a file is not an image.
        """
        for name in self._maps.outdated(result, paths):
            if name == self.shown:
                self._lay_over(None)
            self._maps.remove(name)
        for name, path in paths.items():
            self.add_map(name, path, result.maps[name], result.provenance)
        if self.wanted in self.maps or self.wanted is None:
            self.show_map(self.wanted)
        else:
            self._lay_over(next(iter(self.maps), None))

    def add_map(
        self, name: str, path: Path, info: MapInfo, provenance: dict[str, Any]
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """Load a risk map, ready for `show_map`; one of that name that is there keeps its node and looks.

        Only the maps that were shown or loaded last stay: the others leave the scene, and are read again when wanted.

        Raises:
            SceneError: If the file is not an image.
        """
        volume = self._maps.load(name, path, info, self.case, self.scale)
        nodes.describe(volume, self.case, "map", provenance)
        self._use(name)
        return volume

    def file_of(self, info: MapInfo) -> Path | None:
        """Return the file of a map that was loaded once; None where there is none any more."""
        return self._maps.file_of(info)

    def files_of(self, result: InferResult) -> dict[str, Path]:
        """Return the files of those maps of a result that were loaded once, and that are or shall be in the scene."""
        found = {}
        for name, info in result.maps.items():
            volume, path = self.maps.get(name), self.file_of(info)
            is_there = volume is not None and volume.GetAttribute(URL) == info.url
            if path is not None and not is_there and (volume is not None or name == self.wanted):
                found[name] = path
        return found

    def show_map(self, name: str | None) -> None:
        """Lay one of the loaded maps over the scan, and those of later results; None takes the overlay away."""
        self.wanted = name
        self._use(name)
        self._lay_over(name)

    @property
    def drawn(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The node over the scan: that of the shown map, or its copy where `restrict` keeps it to a place."""
        if self.shown not in self.maps:
            return None
        return self._restricted.volume if self._restricted.is_there else self.maps[self.shown]

    def restrict(self, place: np.ndarray | None) -> None:
        """Show maps only where `place`, bool `[K, J, I]` on the scan's grid, is true; None shows them everywhere."""
        self._place = place
        self._lay_over(self.shown)

    def set_overlay_visible(self, visible: bool) -> None:
        """Show or hide the map in the views; which map it is stays as it was."""
        self.overlay_visible = visible
        self._lay_over(self.shown)

    def set_legend_visible(self, visible: bool) -> None:
        """Show or hide the legend."""
        self.legend_visible = visible
        self._lay_over(self.shown)

    def set_scale(self, scale: str) -> None:
        """Change the colours of all maps; `scale` is one of `colors.SCALES`."""
        self.scale = scale
        for name, volume in self.maps.items():
            self._color(name, volume)
        self._lay_over(self.shown)

    def maximum(self, name: str) -> float:
        """Return the top of a loaded map's colour scale."""
        return self._maps.maximum(name)

    def threshold(self, name: str) -> float:
        """Return the value below which a loaded map is invisible."""
        return self._maps.threshold(name)

    def set_threshold(self, threshold: float) -> None:
        """Make the shown map invisible below `threshold`, in the map's own unit."""
        if self.shown in self.maps:
            overlay.set_threshold(self.maps[self.shown], threshold)
            if self._restricted.is_there:
                overlay.set_threshold(self._restricted.volume, threshold)

    def set_opacity(self, opacity: float) -> None:
        """Set how opaque maps are over the scan, 0 to 1."""
        self.opacity = opacity
        if self.shown:
            overlay.set_opacity(self.scene, opacity)

    def write_label(self, path: Path) -> list[str]:
        """Write the segmentation as it now is, see `segments.write_label`; returns the names left out.

        Raises:
            SceneError: If the segmentation or the scan is gone, or cannot be written.
        """
        self._require_segmentation()
        return segments.write_label(self.segmentation, self.scan, path)

    def unnamed_segments(self) -> list[str]:
        """Return the names of segments that a label of the case leaves out."""
        return segments.unnamed(self.segmentation) if self._in_scene(self.segmentation) else []

    def structure_colors(self) -> dict[int, tuple[float, float, float]]:
        """Return the colour of each label id in the segmentation, in [0, 1]."""
        return segments.colors_by_id(self.segmentation) if self._in_scene(self.segmentation) else {}

    def clear(self) -> None:
        """Remove the case from the scene, and nothing else."""
        self._clear_result()
        self.case = self.scan = None
        for node in nodes.marked(self.scene):
            nodes.remove(self.scene, node)
        self._maps.forget_files()

    @property
    def moved_by(self) -> str:
        """Name of a transform on the scan or the segmentation; empty where there is none."""
        there = [node for node in (self.scan, self.segmentation) if self._in_scene(node)]
        transforms = [node.GetParentTransformNode() for node in there]
        return next((transform.GetName() for transform in transforms if transform is not None), "")

    def _require_segmentation(self) -> None:
        if not self.is_segmented:
            raise SceneError("The segmentation or its scan is no longer in the scene: run the model again.")

    def _lay_over(self, name: str | None) -> None:
        self.shown = name
        self._update_restricted()
        for loaded, volume in self.maps.items():
            if volume.GetDisplayNode().GetColorNode() is None:  # somebody has deleted the table
                self._color(loaded, volume)
        volumes = list(self.maps.values())
        if self._restricted.is_there:
            volumes.append(self._restricted.volume)
        overlay.show(self.scene, volumes, self.drawn if self.overlay_visible else None, self.legend_visible)
        overlay.set_opacity(self.scene, self.opacity)

    def _update_restricted(self) -> None:
        if self._place is None or self.shown not in self.maps:
            self._restricted.clear()
            return
        risk = self.maps[self.shown]
        volume = self._restricted.update(risk, self._place)
        self._color(self.shown, volume, risk)
        overlay.set_threshold(volume, self.threshold(self.shown))

    def _color(
        self,
        name: str,
        volume: slicer.vtkMRMLScalarVolumeNode,
        risk: slicer.vtkMRMLScalarVolumeNode | None = None,
    ) -> None:
        """Give a map, or a copy of `risk`, the colours of the scale."""
        unit = (risk or volume).GetAttribute("UncertaintySeg.Unit")
        overlay.color(volume, name, unit, self.maximum(name), self.scale)

    def _use(self, name: str | None) -> None:
        """Count a map as the one used last; the scene keeps few of them."""
        self._maps.use(name, {self.shown, *self.pinned})

    def _clear_result(self) -> None:
        self._lay_over(None)
        self.segmentation, self.edited, self._place = None, False, None  # first: it is not the user who takes it away
        for node in nodes.marked(self.scene, "segmentation"):
            nodes.remove(self.scene, node)
        self._maps.clear()

    def _show_in_background(self, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        # Through the selection node, so that views opened later show the scan as well.
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveVolumeID(scan.GetID())
        logic.PropagateBackgroundVolumeSelection(1)

    def _in_scene(self, node: slicer.vtkMRMLNode | None) -> bool:
        return node is not None and node.GetScene() is self.scene

    def _on_edited(self, *_: object) -> None:
        self.edited = self.edited or not self.redrawing
