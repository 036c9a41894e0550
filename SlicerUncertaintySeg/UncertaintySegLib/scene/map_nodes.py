"""The maps of a case as volume nodes: the files of all that were loaded are known, a few nodes are in the scene."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import slicer

from UncertaintySegLib.scene import nodes, overlay
from UncertaintySegLib.server.results import InferResult, MapInfo

URL = "UncertaintySeg.Url"  # attribute of a map: where the server has it
_MOST_MAPS = 3  # a map of a large CT takes 0.3 GB
_UCUM_UNITS = {"1": ("1", "UCUM", "no units")}


class MapNodes:
    """Loads maps, and lets those go that nobody has used for long.

    Args:
        scene: Where the nodes go.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._nodes: dict[str, slicer.vtkMRMLScalarVolumeNode] = {}  # the one used last at the end
        self._maxima: dict[str, float] = {}
        self._thresholds: dict[str, float] = {}  # of maps that are not in the scene now
        self._files: dict[str | None, Path] = {}

    @property
    def loaded(self) -> dict[str, slicer.vtkMRMLScalarVolumeNode]:
        """The nodes by name, less those that the user took from the scene, or their display."""
        return {
            name: volume
            for name, volume in self._nodes.items()
            if self._in_scene(volume) and volume.GetDisplayNode() is not None
        }

    def load(
        self, name: str, path: Path, info: MapInfo, case: str | None, scale: str
    ) -> slicer.vtkMRMLScalarVolumeNode:
        """Load a map; one of that name that is there keeps its node and looks.

        Args:
            name: Of the map.
            path: Of its voxels.
            info: What it is.
            case: Whose it is.
            scale: Its colours, one of `colors.SCALES`.

        Raises:
            SceneError: If the file is not an image.
        """
        if (volume := self.loaded.get(name)) is None:
            volume = nodes.read_volume(self._scene, path, f"{case} {name}", window=False)
            self._maxima[name] = overlay.style(volume, name, info.unit, info.range[1])
            overlay.color(volume, name, info.unit, self._maxima[name], scale)
            if name in self._thresholds:
                overlay.set_threshold(volume, self._thresholds.pop(name))
        else:
            nodes.reread_volume(volume, path)
            overlay.set_threshold(volume, self.threshold(name))
        overlay.entitle(volume, overlay.title(name, info.unit, info.driven_by))
        for key, value in {"Map": name, "Unit": info.unit, "Source": info.source, "Url": info.url or ""}.items():
            volume.SetAttribute(f"UncertaintySeg.{key}", value)
        unit = slicer.vtkCodedEntry()
        unit.SetValueSchemeMeaning(*_UCUM_UNITS.get(info.unit, (info.unit, "99UNCERTAINTYSEG", info.unit)))
        volume.SetVoxelValueUnits(unit)
        self._nodes[name], self._files[info.url] = volume, path
        return volume

    def use(self, name: str | None, needed: Collection[str | None]) -> None:
        """Count a map as the one used last; beyond a few, those go that were used longest ago and are not `needed`."""
        if name in self._nodes:
            self._nodes[name] = self._nodes.pop(name)
        spare = [other for other in self.loaded if other != name and other not in needed]
        for other in spare[: max(0, len(self.loaded) - _MOST_MAPS)]:
            self._thresholds[other] = self.threshold(other)
            self.remove(other)

    def outdated(self, result: InferResult, paths: Collection[str]) -> list[str]:
        """Return the names of maps that are not in the scene, or are none of a result's and not in `paths`."""

        def stays(name: str, volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
            same = name in result.maps and result.maps[name].url == volume.GetAttribute(URL) != ""
            return self._in_scene(volume) and (name in paths or same)

        return [name for name, volume in self._nodes.items() if not stays(name, volume)]

    def remove(self, name: str) -> None:
        """Take a map from the scene."""
        volume = self._nodes.pop(name)
        self._maxima.pop(name, None)
        if self._in_scene(volume):
            nodes.remove(self._scene, volume)

    def file_of(self, info: MapInfo) -> Path | None:
        """Return the file of a map that was loaded once; None where there is none any more."""
        path = self._files.get(info.url)
        return path if path is not None and path.is_file() else None

    def maximum(self, name: str) -> float:
        """Return the top of a loaded map's colour scale."""
        return self._maxima[name]

    def threshold(self, name: str) -> float:
        """Return the value below which a loaded map is invisible."""
        return self.loaded[name].GetScalarVolumeDisplayNode().GetLowerThreshold()

    def clear(self) -> None:
        """Take all maps from the scene; their files stay known."""
        for node in nodes.marked(self._scene, "map"):
            nodes.remove(self._scene, node)
        for known in (self._nodes, self._maxima, self._thresholds):
            known.clear()

    def forget_files(self) -> None:
        """Know no file any more."""
        self._files.clear()

    def _in_scene(self, node: slicer.vtkMRMLNode) -> bool:
        return node.GetScene() is self._scene
