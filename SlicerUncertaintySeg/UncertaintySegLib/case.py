"""One case in a scene: its scan, its segmentation, its risk maps, and where they came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from UncertaintySegLib import nodes, overlay, segments
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.replies import Label, MapInfo

_AIR_HU = -900  # only CT goes this low
_SOFT_TISSUE = (400.0, 40.0)
_UCUM_UNITS = {"1": ("1", "UCUM", "no units")}


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
        opacity: How opaque that map is, 0 to 1.
        edited: Whether somebody changed a segment since it came, or since this was last set to False.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.case: str | None = None
        self.scan: slicer.vtkMRMLScalarVolumeNode | None = None
        self.segmentation: slicer.vtkMRMLSegmentationNode | None = None
        self.shown: str | None = None
        self.edited = False
        self.opacity = 0.6
        self._maps: dict[str, slicer.vtkMRMLScalarVolumeNode] = {}
        self._maxima: dict[str, float] = {}

    @property
    def maps(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
        """The loaded risk maps by name, less those that the user took from the scene."""
        return {name: volume for name, volume in self._maps.items() if self._in_scene(volume)}

    def show_scan(self, case: str, path: Path) -> slicer.vtkMRMLScalarVolumeNode:
        """Show a scan as the background of every slice view, in place of the case before.

        Raises:
            SceneError: If the file is not an image; the case before then stays.
        """
        scan = nodes.read_volume(self.scene, path, case)
        self.clear()
        nodes.mark(scan, case, "scan")
        self.case, self.scan = case, scan
        if slicer.util.arrayFromVolume(scan).min() <= _AIR_HU:
            scan.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
            scan.GetScalarVolumeDisplayNode().SetWindowLevel(*_SOFT_TISSUE)
        # Through the selection node, so that views opened later show the scan as well.
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveVolumeID(scan.GetID())
        logic.PropagateBackgroundVolumeSelection(1)
        return scan

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
        self._describe(segmentation, "segmentation", provenance)
        display = segmentation.GetDisplayNode()
        display.SetOpacity2DFill(0.0)  # the fill belongs to the risk map
        display.SetOpacity2DOutline(1.0)
        display.SetSliceIntersectionThickness(2)
        contents = segmentation.GetSegmentation()
        contents.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, self._on_edited)
        self.segmentation = segmentation
        return segmentation

    def add_map(
        self, name: str, path: Path, info: MapInfo, provenance: dict[str, Any]
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """Load a risk map, ready for `show_map`.

        Raises:
            SceneError: If the file is not an image.
        """
        volume = nodes.read_volume(self.scene, path, f"{self.case} {name}")
        self._describe(volume, "map", provenance)
        for key, value in {"Map": name, "Unit": info.unit, "Source": info.source}.items():
            volume.SetAttribute(f"UncertaintySeg.{key}", value)
        unit = slicer.vtkCodedEntry()
        unit.SetValueSchemeMeaning(*_UCUM_UNITS.get(info.unit, (info.unit, "99UNCERTAINTYSEG", info.unit)))
        volume.SetVoxelValueUnits(unit)
        self._maxima[name] = overlay.style(volume, name, info.unit, info.range[1])
        self._maps[name] = volume
        return volume

    def show_map(self, name: str | None) -> None:
        """Lay one of the loaded maps over the scan; None takes the overlay away."""
        overlay.show(self.scene, list(self.maps.values()), self.maps[name] if name else None)
        overlay.set_opacity(self.scene, self.opacity)
        self.shown = name

    def maximum(self, name: str) -> float:
        """Return the top of a loaded map's colour scale."""
        return self._maxima[name]

    def threshold(self, name: str) -> float:
        """Return the value below which a loaded map is invisible."""
        return self.maps[name].GetScalarVolumeDisplayNode().GetLowerThreshold()

    def set_threshold(self, threshold: float) -> None:
        """Make the shown map invisible below `threshold`, in the map's own unit."""
        if self.shown in self.maps:
            overlay.set_threshold(self.maps[self.shown], threshold)

    def set_opacity(self, opacity: float) -> None:
        """Set how opaque maps are over the scan, 0 to 1."""
        self.opacity = opacity
        if self.shown:
            overlay.set_opacity(self.scene, opacity)

    def riskiest_position(self, name: str) -> tuple[float, float, float]:
        """Return the centre, in mm (RAS), of the voxel where a loaded map is highest."""
        volume = self.maps[name]
        values = slicer.util.arrayFromVolume(volume)
        k, j, i = np.unravel_index(int(values.argmax()), values.shape)
        ijk_to_ras = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(ijk_to_ras)
        return tuple(ijk_to_ras.MultiplyPoint((float(i), float(j), float(k), 1.0))[:3])

    def paint(self, labels: np.ndarray) -> None:
        """Redraw the segments from label ids `[I, J, K]` in the voxel order of the scan's file, as an edit would."""
        segments.paint(self.segmentation, self.scan, labels)

    def write_label(self, path: Path) -> list[str]:
        """Write the segmentation as it now is, see `segments.write_label`; returns the names left out.

        Raises:
            SceneError: If the segmentation or the scan is gone, or cannot be written.
        """
        if not (self._in_scene(self.segmentation) and self._in_scene(self.scan)):
            raise SceneError("The segmentation or its scan is no longer in the scene: run the model again.")
        return segments.write_label(self.segmentation, self.scan, path)

    def structure_colors(self) -> dict[int, tuple[float, float, float]]:
        """Return the colour of each label id in the segmentation, in [0, 1]."""
        return segments.colors_by_id(self.segmentation) if self._in_scene(self.segmentation) else {}

    def clear(self) -> None:
        """Remove the case from the scene, and nothing else."""
        self._clear_result()
        for node in nodes.marked(self.scene):
            nodes.remove(self.scene, node)
        self.case = self.scan = None

    def _clear_result(self) -> None:
        self.show_map(None)
        for role in ("segmentation", "map"):
            for node in nodes.marked(self.scene, role):
                nodes.remove(self.scene, node)
        self.segmentation, self.edited = None, False
        self._maps.clear()
        self._maxima.clear()

    def _in_scene(self, node: slicer.vtkMRMLNode | None) -> bool:
        return node is not None and node.GetScene() is self.scene

    def _on_edited(self, *_: object) -> None:
        self.edited = True

    def _describe(self, node: slicer.vtkMRMLNode, role: str, provenance: dict[str, Any]) -> None:
        nodes.mark(node, self.case, role)
        node.SetAttribute("UncertaintySeg.Provenance", json.dumps(provenance, sort_keys=True))
        for key, field in {
            "Model": "model",
            "Head": "head",
            "WeightsChecksum": "weights_checksum",
            "Seed": "seed",
        }.items():
            if field in provenance:
                node.SetAttribute(f"UncertaintySeg.{key}", str(provenance[field]))
